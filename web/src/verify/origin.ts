// Whose log a file is about, with which key it is sealed, and who says so.

import { Unreadable, type Value, asArray, asBytes, asText, equal, hex } from './cbor';
import { type Checkpoint, CheckpointError, isMeter, verifyCheckpoint } from './checkpoint';
import { type KnownOfMarks, NOTHING_KNOWN_OF_MARKS } from './mark';
import { type Report, moment } from './report';
import type { Hash } from './tree';
import { ChainError, isP384, verifyLogKey } from './x509';

/** What whoever checks a file knows already. */
export interface Trust {
  /** Authorities whose word on log keys is believed: certificates in DER. */
  authorities: Uint8Array[];
  /** The fingerprint that is printed on the meter: its first 16 bytes, or all 48, as hexadecimal digits. */
  fingerprint: string | null;
  /** What an earlier file about the same log proved. */
  earlier: Earlier | null;
  /** What is known of marks. */
  mark: KnownOfMarks;
}

export const NOTHING_KNOWN: Trust = { authorities: [], fingerprint: null, earlier: null, mark: NOTHING_KNOWN_OF_MARKS };

/** What a file proved, for checking that a later one continues it. */
export interface Earlier {
  meter: string;
  log: string;
  size: bigint;
  root: Hash;
  /** In a statement: the hash of the closing reading. */
  closing: Hash | null;
}

export class Origin {
  private constructor(
    readonly meter: string,
    readonly log: string,
    readonly key: Uint8Array,
    readonly chain: Uint8Array[],
    /** SHA-384 of the key. */
    private readonly digest: Uint8Array,
  ) {}

  static async read(value: Value | undefined): Promise<Origin> {
    const [meter, log, key, certificates] = asArray(value, 4);
    const name = asText(meter);
    const spki = asBytes(key, 120);
    const chain = asArray(certificates).map((certificate) => asBytes(certificate));
    if (!isMeter(name) || !(await isP384(spki)) || chain.length > 4 || chain.some((one) => one.length > 4096)) {
      throw new Unreadable('not of this kind');
    }
    return new Origin(name, hex(asBytes(log, 16)), spki, chain, await sha384(spki));
  }

  /** Judges who stands behind the key, at a moment. */
  async judge(trust: Trust, at: bigint, report: Report): Promise<void> {
    const shown = printed(this.digest);
    await this.judgeChain(trust, at, report);
    if (trust.fingerprint === null) {
      report.notProven(
        'fingerprint',
        `Whether this is the key of the meter on your wall: compare ${shown} with the fingerprint that is printed on the meter.`,
      );
    } else if (hex(this.digest).startsWith(trust.fingerprint)) {
      report.proven('fingerprint', 'The key is the one whose fingerprint you gave.');
    } else {
      report.broken(
        'fingerprint',
        `The file was sealed with another key (${shown}) than the one whose fingerprint you gave.`,
      );
    }
    report.meter = this.meter;
    report.fingerprint = shown;
  }

  private async judgeChain(trust: Trust, at: bigint, report: Report): Promise<void> {
    const demanded = trust.authorities.length > 0;
    if (this.chain.length === 0) {
      const text = "Who made the key: the file holds no certificate of the meter's maker.";
      return demanded ? report.broken('authority', text) : report.notProven('authority', text);
    }
    let certified;
    try {
      certified = await verifyLogKey(this.chain, this.meter, { millis: Number(at), text: moment(at) }, trust.authorities);
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      return report.broken('chain', `The certificates do not hold: ${error.message}.`);
    }
    if (!equal(certified.key, this.key)) {
      return report.broken('chain', "The certificates are for another key than the file's.");
    }
    const { authority } = certified;
    report.proven('chain', `"${authority}" certified the key as the one that seals the log of meter ${this.meter}.`);
    if (certified.trusted) report.proven('authority', 'That authority is one that you named as trusted.');
    else if (demanded) report.broken('authority', `"${authority}" is none of the authorities that you named as trusted.`);
    else {
      const shown = printed(await sha384(certified.authorityKey));
      report.notProven(
        'authority',
        `Whether "${authority}" is who it says: its key has the fingerprint ${shown}; ask the meter's maker.`,
      );
    }
  }

  /** Verifies a checkpoint of this log. */
  async checkpoint(bytes: Uint8Array, report: Report): Promise<Checkpoint | null> {
    let checkpoint;
    try {
      checkpoint = await verifyCheckpoint(bytes, this.key, this.digest.subarray(0, 16));
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      report.broken('signature', `A checkpoint does not hold: ${error.message}.`);
      return null;
    }
    if (checkpoint.meter !== this.meter || checkpoint.log !== this.log) {
      report.broken(
        'other-log',
        `A checkpoint is of meter ${checkpoint.meter}, log ${checkpoint.log}, and not of meter ${this.meter}, log ${this.log}.`,
      );
      return null;
    }
    return checkpoint;
  }

  /** Whether what an earlier file proved is of the same log. */
  continues(earlier: Earlier, report: Report): boolean {
    if (earlier.meter === this.meter && earlier.log === this.log) return true;
    report.broken(
      'other-log',
      `The earlier file is of meter ${earlier.meter}, log ${earlier.log}: this one does not continue it.`,
    );
    return false;
  }
}

const sha384 = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-384', bytes as Uint8Array<ArrayBuffer>));

/** The first 16 bytes of a digest in eight groups of four digits, as they are printed on a meter. */
const printed = (digest: Uint8Array): string => hex(digest.subarray(0, 16)).match(/.{4}/g)?.join('-') ?? '';

/** A fingerprint that a person typed; null when it is none. */
export function readFingerprint(text: string): string | null {
  const digits = text.replace(/[\s:-]/g, '').toLowerCase();
  return /^([0-9a-f]{32}|[0-9a-f]{96})$/.test(digits) ? digits : null;
}
