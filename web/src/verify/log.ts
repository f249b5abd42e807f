// A meter's log in a file: a header, then every entry in order, and each checkpoint right after the last entry that it
// covers. Checking it appends entry by entry and compares roots.

import { Reader, Unreadable, asArray, asBytes, asUnsigned, decode, equal } from './cbor';
import { type Checkpoint, isAfter, skip } from './checkpoint';
import { KINDS, type Leaf, LeafError, readLeaf } from './leaf';
import { type Earlier, Origin, type Trust } from './origin';
import { Report, moment } from './report';
import { type Hash, Peaks, leafHash } from './tree';

export const EXPORT = 'meterseal.log';

/** The number of the event "the clock was adjusted; this is the time after". */
const CLOCK_AFTER = 5n;

export interface VerifiedLog {
  report: Report;
  entries: bigint;
  /** `null` when anything is broken. */
  earlier: Earlier | null;
}

export async function verifyLog(file: Uint8Array, trust: Trust): Promise<VerifiedLog> {
  const reader = new Reader(file);
  const fields = asArray(reader.value(), 5);
  const version = asUnsigned(fields[1]);
  if (version !== 1n) throw new Unreadable(`format version ${version}, which this page does not know`);
  const origin = await Origin.read(fields[2]);
  const check = new Check(origin, readPeaks(asBytes(fields[3])), asUnsigned(fields[4]), trust);
  await check.compareEarlier();
  while (!reader.atEnd) {
    const first = file[reader.place] as number;
    if (first >> 5 === 2) await check.leaf(asBytes(reader.value(0)));
    else if (first === 0x81) await check.withheld(asBytes(asArray(reader.value(1), 1)[0], 32));
    else if (first >> 5 === 6) await check.checkpoint(skip(reader));
    else throw new Unreadable('not of this kind');
  }
  return check.finish();
}

function readPeaks(bytes: Uint8Array): Peaks {
  const [first, second] = asArray(decode(bytes, 1), 2);
  const size = asUnsigned(first);
  const hashes = asBytes(second);
  const ones = size.toString(2).replaceAll('0', '').length;
  if (hashes.length !== 32 * ones) throw new Unreadable('not of this kind');
  return new Peaks(
    size,
    Array.from({ length: ones }, (_, place) => hashes.subarray(32 * place, 32 * place + 32)),
  );
}

/** What has been read so far. */
class Check {
  private readonly report = new Report();
  private readonly start: bigint;
  private newest: Checkpoint | null = null;
  /** The newest record of each kind, where no entry since is unknown. */
  private rows = new Map<string, bigint>();
  private readonly counts = new Map<string, bigint>();
  private withheldCount = 0n;
  private clockChanges = 0n;
  private sequenceBroken = false;
  private rootBroken = false;
  private continuesEarlier: boolean | null = null;

  constructor(
    private readonly origin: Origin,
    private readonly peaks: Peaks,
    private readonly count: bigint,
    private readonly trust: Trust,
  ) {
    this.start = peaks.size;
  }

  async leaf(bytes: Uint8Array): Promise<void> {
    const sequence = this.peaks.size;
    try {
      this.place(readLeaf(bytes), sequence);
    } catch (error) {
      if (!(error instanceof LeafError)) throw error;
      this.report.broken('leaf', `Entry ${sequence}: ${error.message}.`);
    }
    await this.append(await leafHash(bytes));
  }

  async withheld(hash: Hash): Promise<void> {
    this.withheldCount += 1n;
    this.rows.clear();
    await this.append(hash);
  }

  private async append(hash: Hash): Promise<void> {
    await this.peaks.append(hash);
    await this.compareEarlier();
  }

  /** Whether a leaf is where it says. */
  private place(leaf: Leaf, sequence: bigint): void {
    if (leaf.log !== this.origin.log) this.report.broken('other-log', `Entry ${sequence} is of another log (${leaf.log}).`);
    if (leaf.sequence !== sequence && !this.sequenceBroken) {
      this.sequenceBroken = true;
      this.report.broken(
        'sequence',
        `Where entry ${sequence} should be stands entry ${leaf.sequence}: entries were deleted, inserted or reordered.`,
      );
    }
    this.counts.set(leaf.kind, (this.counts.get(leaf.kind) ?? 0n) + 1n);
    // What a power cut tore may have been a record of any kind.
    if (leaf.row === null) this.rows.clear();
    else {
      const before = this.rows.get(leaf.kind);
      if (before !== undefined && leaf.row !== before + 1n && !this.sequenceBroken) {
        this.report.broken(
          'gap',
          `After ${leaf.kind} number ${before} comes number ${leaf.row}: records are missing or doubled.`,
        );
      }
      this.rows.set(leaf.kind, leaf.row);
    }
    if (leaf.event === CLOCK_AFTER) this.clockChanges += 1n;
  }

  async checkpoint(bytes: Uint8Array): Promise<void> {
    const checkpoint = await this.origin.checkpoint(bytes, this.report);
    if (!checkpoint) return;
    if (this.newest) {
      const next = checkpoint.number === this.newest.number + 1n;
      const follows = !next || (checkpoint.previous !== null && equal(checkpoint.previous, this.newest.digest));
      if (!isAfter(checkpoint, this.newest) || checkpoint.number === this.newest.number || !follows) {
        this.report.broken(
          'checkpoint-order',
          `Checkpoint ${checkpoint.number} does not follow checkpoint ${this.newest.number}: an old state was put back, or the log was forked.`,
        );
      }
    }
    if (checkpoint.size === this.peaks.size && equal(checkpoint.root, await this.peaks.root())) {
      this.newest = checkpoint;
      return;
    }
    if (this.rootBroken) return;
    this.rootBroken = true;
    const from = this.newest?.size ?? this.start;
    this.report.broken(
      'root',
      `The entries are not those that the meter signed at ${moment(checkpoint.time)}: between entry ${from} and entry ${checkpoint.size} something was edited, deleted, inserted or reordered.`,
    );
  }

  /** Looks at an earlier file's root when its size is reached. */
  async compareEarlier(): Promise<void> {
    const { earlier } = this.trust;
    if (earlier && earlier.size === this.peaks.size) {
      this.continuesEarlier = equal(earlier.root, await this.peaks.root());
    }
  }

  async finish(): Promise<VerifiedLog> {
    const { report, newest } = this;
    const { size } = this.peaks;
    const found = size - this.start;
    if (found !== this.count) {
      report.broken('count', `The file says that it has ${this.count} entries, and has ${found}.`);
    }
    if (!newest) report.broken('uncovered', 'No signature of the meter covers the entries.');
    else if (newest.size !== size) {
      report.broken('uncovered', `The last ${size - newest.size} entries are covered by no signature of the meter.`);
    }
    if (this.trust.earlier) this.judgeEarlier(this.trust.earlier, size);
    report.meter = this.origin.meter;
    if (newest) {
      await this.origin.judge(this.trust, newest.time, report);
      if (report.holds) {
        report.proven(
          'entries',
          `The file holds all ${this.count} entries of the log of meter ${newest.meter} from entry ${this.start} to entry ${size > 0n ? size - 1n : 0n}, exactly as the meter signed them at ${moment(newest.time)}: none was edited, deleted, inserted or reordered.`,
        );
        report.proven('order', this.order());
      }
      report.notProven(
        'newer',
        `Whether the meter has recorded anything after ${moment(newest.time)}: only a later checkpoint can show it.`,
      );
    }
    if (this.withheldCount > 0n) {
      report.notProven('withheld', `What ${this.withheldCount} entries say: they are in the file only as hashes.`);
    }
    report.notProven(
      'accuracy',
      'That the meter measures correctly: that is what its mark and its verification seal stand for.',
    );
    const { meter, log } = this.origin;
    const earlier = report.holds && newest ? { meter, log, size: newest.size, root: newest.root, closing: null } : null;
    return { report, entries: found, earlier };
  }

  private judgeEarlier(earlier: Earlier, size: bigint): void {
    const { report } = this;
    if (!this.origin.continues(earlier, report)) return;
    if (this.continuesEarlier === true) {
      report.proven('earlier', `The log begins with all ${earlier.size} entries that the earlier file saw.`);
    } else if (this.continuesEarlier === false) {
      report.broken(
        'earlier',
        `The first ${earlier.size} entries are not those that the earlier file saw: the log was forked.`,
      );
    } else if (size < earlier.size) {
      report.broken(
        'earlier',
        `The earlier file saw ${earlier.size} entries, this one ends at ${size}: the log was truncated or rolled back.`,
      );
    } else {
      report.notProven(
        'earlier',
        `That the log continues the earlier file: this one begins after its ${earlier.size} entries.`,
      );
    }
  }

  private order(): string {
    const parts = KINDS.filter((kind) => this.counts.has(kind)).map((kind) => `${kind}: ${this.counts.get(kind)}`);
    return `Their order does not depend on the clock, which was set ${this.clockChanges} times meanwhile. By kind: ${parts.join(', ')}.`;
  }
}
