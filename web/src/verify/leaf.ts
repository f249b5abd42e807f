// An entry of the log: which log, which place in it, a salt, and what it says.

import { Unreadable, type Value, asArray, asBytes, asSigned, asUnsigned, decode, hex } from './cbor';

export const KINDS = ['void', 'event', 'interval', 'reading', 'billing', 'boot'] as const;
export type Kind = (typeof KINDS)[number];

export interface Leaf {
  log: string;
  sequence: bigint;
  kind: Kind;
  /** The number of the record in its own ring. */
  row: bigint | null;
  time: bigint | null;
  /** The event's number. */
  event: bigint | null;
  reading: Reading | null;
}

export interface Reading {
  row: bigint;
  time: bigint;
  registers: Register[];
}

/** A register, thousandths of its unit. */
export interface Register {
  obis: string;
  name: string;
  unit: 'Wh' | 'varh';
  value: bigint;
}

/** Why bytes are no entry, in words. */
export class LeafError extends Error {}

const MALFORMED = 'the entry is damaged or was not written by a meter';

export function readLeaf(bytes: Uint8Array): Leaf {
  if (bytes.length > 512) {
    throw new LeafError(`an entry of ${bytes.length} bytes is longer than any that a meter writes (512)`);
  }
  try {
    const fields = asArray(decode(bytes, 1), 6);
    const version = asUnsigned(fields[0]);
    if (version !== 1n) {
      throw new LeafError(`the entry has format version ${version}, this program reads version 1; update it`);
    }
    const number = asUnsigned(fields[1], 255n);
    const kind = KINDS[Number(number)];
    if (!kind) throw new LeafError(`the entry is of kind ${number}, which this program does not know; update it`);
    const log = hex(asBytes(fields[2], 16));
    const sequence = asUnsigned(fields[3]);
    const salt = asBytes(fields[4], 16);
    const body = asBytes(fields[5]);
    if (kind === 'void') {
      if (body.length > 0 || salt.some((byte) => byte !== 0)) throw new LeafError(MALFORMED);
      return { log, sequence, kind, row: null, time: null, event: null, reading: null };
    }
    return { log, sequence, kind, ...readBody(kind, asArray(decode(body, 2))) };
  } catch (error) {
    if (error instanceof Unreadable) throw new LeafError(MALFORMED);
    throw error;
  }
}

type Body = Pick<Leaf, 'row' | 'time' | 'event' | 'reading'>;

function readBody(kind: Exclude<Kind, 'void'>, fields: Value[]): Body {
  const row = asUnsigned(fields[0]);
  const body = (time: Value | undefined, more: Partial<Body> = {}): Body => ({
    row,
    time: asSigned(time),
    event: null,
    reading: null,
    ...more,
  });
  switch (kind) {
    case 'event':
      asArray(fields, 6);
      asUnsigned(fields[3]);
      asSigned(fields[4]);
      asUnsigned(fields[5]);
      return body(fields[2], { event: asUnsigned(fields[1], 255n) });
    case 'interval':
      asArray(fields, 5);
      asUnsigned(fields[2], 255n);
      unsigned(fields[3], 4);
      unsigned(fields[4], 3, 0xffffn);
      return body(fields[1]);
    case 'reading':
      return body(fields[1], { reading: readReading(fields) });
    case 'billing':
      asArray(fields, 6);
      unsigned(fields[2], 4);
      unsigned(fields[3], 4);
      unsigned(fields[4], 4);
      for (const [place, value] of asArray(fields[5], 4).entries()) place % 2 === 0 ? asUnsigned(value) : asSigned(value);
      return body(fields[1]);
    case 'boot':
      asArray(fields, 3);
      if (fields[2] !== null) asBytes(fields[2], 48);
      return body(fields[1]);
  }
}

function readReading(fields: Value[]): Reading {
  asArray(fields, 13);
  asUnsigned(fields[2]);
  asUnsigned(fields[3]);
  asUnsigned(fields[4], 3n);
  const [totals, rateImport, rateExport, quadrants] = [5, 6, 7, 8].map((place) => unsigned(fields[place], 4));
  const [phaseImport, phaseExport] = [9, 10].map((place) => unsigned(fields[place], 3));
  asUnsigned(fields[11]);
  asUnsigned(fields[12]);
  const values = [totals, rateImport, rateExport, quadrants, phaseImport, phaseExport].flatMap((some) => some ?? []);
  return {
    row: asUnsigned(fields[0]),
    time: asSigned(fields[1]),
    registers: REGISTERS.map(([obis, name, unit], place) => ({ obis, name, unit, value: values[place] as bigint })),
  };
}

function unsigned(value: Value | undefined, length: number, most?: bigint): bigint[] {
  return asArray(value, length).map((one) => asUnsigned(one, most));
}

const REGISTERS: [string, string, 'Wh' | 'varh'][] = [
  ['1-0:1.8.0*255', 'active energy import', 'Wh'],
  ['1-0:2.8.0*255', 'active energy export', 'Wh'],
  ['1-0:3.8.0*255', 'reactive energy import', 'varh'],
  ['1-0:4.8.0*255', 'reactive energy export', 'varh'],
  ...[1, 2, 3, 4].map((rate): [string, string, 'Wh'] => [`1-0:1.8.${rate}*255`, `import at rate ${rate}`, 'Wh']),
  ...[1, 2, 3, 4].map((rate): [string, string, 'Wh'] => [`1-0:2.8.${rate}*255`, `export at rate ${rate}`, 'Wh']),
  ...['I', 'II', 'III', 'IV'].map((quadrant, place): [string, string, 'varh'] => [
    `1-0:${5 + place}.8.0*255`,
    `reactive energy, quadrant ${quadrant}`,
    'varh',
  ]),
  ...[1, 2, 3].map((phase): [string, string, 'Wh'] => [`1-0:${1 + 20 * phase}.8.0*255`, `import of L${phase}`, 'Wh']),
  ...[1, 2, 3].map((phase): [string, string, 'Wh'] => [`1-0:${2 + 20 * phase}.8.0*255`, `export of L${phase}`, 'Wh']),
];

/** Thousandths of a unit as thousands of it, to the last digit. */
export const kilo = (thousandths: bigint): string =>
  `${thousandths / 1_000_000n}.${String(thousandths % 1_000_000n).padStart(6, '0')}`;
