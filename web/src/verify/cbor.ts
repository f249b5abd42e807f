// Just enough CBOR (RFC 8949), in its one deterministic form (4.2.1): whatever is written otherwise is refused, so that
// two different files never say the same. Integers are bigint, because registers are wider than a number's 53 bits.

export type Value = bigint | string | Uint8Array | null | Value[] | Tagged | PairList;

/** A tagged value. */
export class Tagged {
  constructor(
    readonly tag: bigint,
    readonly value: Value,
  ) {}
}

/** A map, as the pairs that stand in it. */
export class PairList {
  constructor(readonly pairs: [Value, Value][]) {}
}

/** The file is not of the kind that was expected, or damaged so that its parts cannot be told apart. */
export class Unreadable extends Error {}

export class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public place = 0,
  ) {}

  get atEnd(): boolean {
    return this.place === this.bytes.length;
  }

  /** Reads one value, nested at most `depth` deep. */
  value(depth = 5): Value {
    const first = this.byte();
    const major = first >> 5;
    if (first === 0xf6) return null;
    const argument = this.argument(first & 0x1f);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return -1n - argument;
      case 2:
        return this.take(argument);
      case 3:
        return decodeText(this.take(argument));
      case 4:
      case 5:
      case 6: {
        if (depth === 0) throw new Unreadable('nested too deep');
        if (major === 6) return new Tagged(argument, this.value(depth - 1));
        // Each element takes a byte at least.
        if (argument > BigInt(this.bytes.length - this.place)) throw new Unreadable('cut short');
        if (major === 4) return Array.from({ length: Number(argument) }, () => this.value(depth - 1));
        return new PairList(
          Array.from({ length: Number(argument) }, () => [this.value(depth - 1), this.value(depth - 1)]),
        );
      }
      default:
        throw new Unreadable('not of this kind');
    }
  }

  private byte(): number {
    const byte = this.bytes[this.place];
    if (byte === undefined) throw new Unreadable('cut short');
    this.place += 1;
    return byte;
  }

  private argument(info: number): bigint {
    if (info < 24) return BigInt(info);
    if (info > 27) throw new Unreadable('not of this kind');
    const length = 1 << (info - 24);
    const value = this.take(BigInt(length)).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
    const least = info === 24 ? 24n : 1n << BigInt(length * 4);
    if (value < least) throw new Unreadable('a longer form than needed');
    return value;
  }

  private take(length: bigint): Uint8Array {
    if (length > BigInt(this.bytes.length - this.place)) throw new Unreadable('cut short');
    const end = this.place + Number(length);
    const taken = this.bytes.subarray(this.place, end);
    this.place = end;
    return taken;
  }
}

/** The one value that these bytes are. */
export function decode(bytes: Uint8Array, depth?: number): Value {
  const reader = new Reader(bytes);
  const value = reader.value(depth);
  if (!reader.atEnd) throw new Unreadable('something follows the end');
  return value;
}

export function asArray(value: Value | undefined, length?: number): Value[] {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) throw new Unreadable('not of this kind');
  return value;
}

export function asBytes(value: Value | undefined, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) {
    throw new Unreadable('not of this kind');
  }
  return value;
}

export function asText(value: Value | undefined): string {
  if (typeof value !== 'string') throw new Unreadable('not of this kind');
  return value;
}

/** An integer from 0 to `most`. */
export function asUnsigned(value: Value | undefined, most = (1n << 64n) - 1n): bigint {
  if (typeof value !== 'bigint' || value < 0n || value > most) throw new Unreadable('not of this kind');
  return value;
}

/** An integer of 64 bits with a sign. */
export function asSigned(value: Value | undefined): bigint {
  if (typeof value !== 'bigint' || value < -(1n << 63n) || value >= 1n << 63n) throw new Unreadable('not of this kind');
  return value;
}

/** Byte strings, texts and arrays of them: what a signature is made over. */
export function encode(value: string | Uint8Array | (string | Uint8Array)[]): Uint8Array {
  if (Array.isArray(value)) return concat(head(4, value.length), ...value.map((part) => encode(part)));
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return concat(head(typeof value === 'string' ? 3 : 2, bytes.length), bytes);
}

function head(major: number, length: number): Uint8Array {
  const top = major << 5;
  if (length < 24) return Uint8Array.of(top | length);
  if (length < 0x100) return Uint8Array.of(top | 24, length);
  if (length < 0x10000) return Uint8Array.of(top | 25, length >> 8, length & 0xff);
  return Uint8Array.of(top | 26, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, place) => byte === b[place]);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Unreadable('not a text');
  }
}
