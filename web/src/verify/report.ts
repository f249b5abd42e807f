// What checking a file found, in words: what is proven, what is not, and what is broken. Codes and sentences are those
// of `meterseal verify`, and a test compares both.

export type Outcome = 'proven' | 'not-proven' | 'broken';

export interface Finding {
  outcome: Outcome;
  /** A short name, stable, for programs. */
  code: string;
  text: string;
}

/** How much that is broken is listed. */
const MAX_BROKEN = 20;

export class Report {
  meter: string | null = null;
  /** The key that signed, as it is printed on the meter. */
  fingerprint: string | null = null;
  readonly findings: Finding[] = [];

  get holds(): boolean {
    return this.findings.every((finding) => finding.outcome !== 'broken');
  }

  of(outcome: Outcome): Finding[] {
    return this.findings.filter((finding) => finding.outcome === outcome);
  }

  proven(code: string, text: string): void {
    this.findings.push({ outcome: 'proven', code, text });
  }

  notProven(code: string, text: string): void {
    this.findings.push({ outcome: 'not-proven', code, text });
  }

  broken(code: string, text: string): void {
    const found = this.of('broken').length;
    if (found < MAX_BROKEN) this.findings.push({ outcome: 'broken', code, text });
    else if (found === MAX_BROKEN) {
      this.findings.push({ outcome: 'broken', code: 'more', text: 'There is more that does not hold.' });
    }
  }
}

/** A moment of the meter's clock (milliseconds since 1970) in RFC 3339. */
export function moment(millis: bigint): string {
  const date = new Date(Number(millis));
  return Number.isNaN(date.getTime()) ? `${millis} ms` : date.toISOString().replace('.000Z', 'Z');
}
