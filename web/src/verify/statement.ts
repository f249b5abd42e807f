// The statement that a bill rests upon: readings, each proven to be in the log that the meter signed.

import { Reader, Unreadable, type Value, asArray, asBytes, asUnsigned, equal } from './cbor';
import { type Checkpoint, isAfter } from './checkpoint';
import { LeafError, type Reading, type Register, readLeaf } from './leaf';
import { type Earlier, Origin, type Trust } from './origin';
import { Report, moment } from './report';
import { type Hash, leafHash, verifyConsistency, verifyInclusion } from './tree';

export const STATEMENT = 'meterseal.statement';
const MAX_LENGTH = 8 * 1024 * 1024;

interface Proven {
  bytes: Uint8Array;
  path: Hash[];
}

/** A register at both ends of the period. */
export interface Quantity extends Register {
  opening: bigint;
}

export interface VerifiedStatement {
  report: Report;
  /** Empty when anything is broken, like all that follows. */
  quantities: Quantity[];
  readings: Reading[];
  earlier: Earlier | null;
}

export async function verifyStatement(file: Uint8Array, trust: Trust): Promise<VerifiedStatement> {
  if (file.length > MAX_LENGTH) throw new Unreadable('longer than a statement may be');
  const reader = new Reader(file);
  const fields = asArray(reader.value(), 6);
  if (!reader.atEnd) throw new Unreadable('something follows the end');
  const version = asUnsigned(fields[1]);
  if (version !== 1n) throw new Unreadable(`format version ${version}, which this page does not know`);
  const origin = await Origin.read(fields[2]);
  const signed = asBytes(fields[3]);
  const proven = asArray(fields[4]).map(readProven);
  const previous = fields[5] === null ? null : readProven(fields[5] as Value);

  const report = new Report();
  report.meter = origin.meter;
  const broken: VerifiedStatement = { report, quantities: [], readings: [], earlier: null };
  const checkpoint = await origin.checkpoint(signed, report);
  if (!checkpoint) return broken;
  report.proven(
    'signature',
    `Meter ${checkpoint.meter} signed, at ${moment(checkpoint.time)} by its clock, that its log has ${checkpoint.size} entries and what they are.`,
  );
  await origin.judge(trust, checkpoint.time, report);
  const { readings, closing } = await verifyReadings(proven, origin, checkpoint, report);
  const before = await verifyPrevious(previous, origin, checkpoint, report);
  if (trust.earlier) await verifyEarlier(trust.earlier, proven[0], origin, checkpoint, before, report);
  report.notProven('prices', 'Prices, taxes and amounts of money: the meter knows none of them.');
  report.notProven(
    'accuracy',
    'That the meter measures correctly: that is what its mark and its verification seal stand for.',
  );
  const [opening, last] = [readings[0], readings.at(-1)];
  if (!report.holds || !opening || !last) return broken;
  const { meter, log, size, root } = checkpoint;
  return {
    report,
    quantities: last.registers.map((register, place) => ({
      ...register,
      opening: (opening.registers[place] as Register).value,
    })),
    readings,
    earlier: { meter, log, size, root, closing },
  };
}

function readProven(value: Value): Proven {
  const [bytes, path] = asArray(value, 2);
  const hashes = asBytes(path);
  if (hashes.length % 32 !== 0 || hashes.length > 65 * 32) throw new Unreadable('not of this kind');
  return {
    bytes: asBytes(bytes),
    path: Array.from({ length: hashes.length / 32 }, (_, place) => hashes.subarray(32 * place, 32 * place + 32)),
  };
}

async function verifyReadings(proven: Proven[], origin: Origin, checkpoint: Checkpoint, report: Report) {
  const readings: Reading[] = [];
  let last: { sequence: bigint; hash: Hash } | null = null;
  for (const [place, { bytes, path }] of proven.entries()) {
    const number = place + 1;
    const hash = await leafHash(bytes);
    let leaf;
    try {
      leaf = readLeaf(bytes);
    } catch (error) {
      if (!(error instanceof LeafError)) throw error;
      report.broken('leaf', `Reading ${number} of the file: ${error.message}.`);
      continue;
    }
    const { reading } = leaf;
    if (!reading) {
      report.broken('leaf', `Reading ${number} of the file is no reading.`);
      continue;
    }
    if (leaf.log !== origin.log) report.broken('other-log', `Reading ${number} of the file is of another log.`);
    if (!(await verifyInclusion(hash, leaf.sequence, checkpoint.size, path, checkpoint.root))) {
      report.broken(
        'inclusion',
        `The reading of ${moment(reading.time)} is not in the log that the meter signed: it was altered, or its proof is of another log.`,
      );
    }
    const before = readings.at(-1);
    if (before && last) compare(before, reading, last.sequence < leaf.sequence, report);
    last = { sequence: leaf.sequence, hash };
    readings.push(reading);
  }
  const [opening, closing] = [readings[0], readings.at(-1)];
  if (readings.length < 2 || !opening || !closing) {
    report.broken('period', 'The file lacks an opening or a closing reading.');
  } else if (report.holds) {
    report.proven(
      'readings',
      `All ${readings.length} readings that the meter took from ${moment(opening.time)} to ${moment(closing.time)} are in that log, unaltered, and none between them is left out.`,
    );
  }
  return { readings, closing: last?.hash ?? null };
}

/** What may not differ between a reading and the one before it. */
function compare(before: Reading, after: Reading, inOrder: boolean, report: Report): void {
  if (!inOrder || after.row !== before.row + 1n) {
    report.broken(
      'left-out',
      `After reading number ${before.row} comes number ${after.row}: readings are left out, doubled or out of order.`,
    );
  }
  for (const [place, register] of after.registers.entries()) {
    if (register.value < (before.registers[place] as Register).value) {
      report.broken(
        'backwards',
        `Register ${register.obis} stands lower at ${moment(after.time)} than at ${moment(before.time)}.`,
      );
    }
  }
}

async function verifyPrevious(
  previous: Proven | null,
  origin: Origin,
  checkpoint: Checkpoint,
  report: Report,
): Promise<Checkpoint | null> {
  if (!previous) {
    report.notProven(
      'previous',
      'That the log is the one that an earlier statement saw: this statement names none before it.',
    );
    return null;
  }
  const old = await origin.checkpoint(previous.bytes, report);
  if (!old) return null;
  const grown = await verifyConsistency(old.size, old.root, checkpoint.size, checkpoint.root, previous.path);
  if (!isAfter(checkpoint, old) || !grown) {
    report.broken(
      'previous',
      `The log did not grow out of the one that the meter signed at ${moment(old.time)} for the statement before: entries of it were altered or removed, or an old state was put back.`,
    );
  } else {
    report.proven(
      'previous',
      `The log begins with all ${old.size} entries that the meter signed at ${moment(old.time)}.`,
    );
  }
  return old;
}

async function verifyEarlier(
  earlier: Earlier,
  opening: Proven | undefined,
  origin: Origin,
  checkpoint: Checkpoint,
  named: Checkpoint | null,
  report: Report,
): Promise<void> {
  if (!origin.continues(earlier, report)) return;
  const same = (one: Checkpoint | null) => one !== null && one.size === earlier.size && equal(one.root, earlier.root);
  if (!same(named) && !same(checkpoint)) {
    return report.broken('earlier', 'This statement does not continue the earlier one that you gave.');
  }
  if (!earlier.closing) return;
  if (opening && equal(await leafHash(opening.bytes), earlier.closing)) {
    report.proven(
      'continues',
      'It begins with the very reading with which the earlier statement ended: nothing is billed twice, and nothing is left out between them.',
    );
  } else {
    report.broken('continues', 'It does not begin with the reading with which the earlier statement ended.');
  }
}
