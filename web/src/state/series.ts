// The points of one meter's chart: what the head-end had, then every live reading, on the meter's own time base.

import type { ProfileRow } from '../api/types';

/** Columns as uPlot takes them: seconds since 1970, and watts, where null breaks the line. */
export interface Columns {
  t: number[];
  p: (number | null)[];
}

const HOUR = 3600;
/** The charts' spans, seconds: an hour, and longer ones for clocks that run so fast that an hour is a blink. */
const SPANS = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 48 * HOUR, 168 * HOUR];

/** The span of a chart, seconds: an hour, or what passes at `speed` in a minute of the viewer's time. */
export function spanFor(speed: number | null): number {
  const wanted = (speed ?? 1) * 60;
  return SPANS.find((span) => span >= wanted) ?? 168 * HOUR;
}

/** A window of points that moves with the newest one. */
export class SeriesWindow {
  readonly t: number[] = [];
  readonly p: (number | null)[] = [];

  constructor(public span: number = HOUR) {}

  /** The newest point's time, seconds. */
  get newest(): number | undefined {
    return this.t[this.t.length - 1];
  }

  /** Puts the head-end's points, which mark gaps with null, in place of older ones, and keeps what is newer. */
  replace(seconds: readonly number[], watts: readonly (number | null)[]): void {
    const lastGiven = seconds[seconds.length - 1] ?? -Infinity;
    const newer: [number, number | null][] = [];
    this.t.forEach((t, k) => {
      if (t > lastGiven) newer.push([t, this.p[k] ?? null]);
    });
    this.clear();
    seconds.forEach((t, k) => this.append(t, watts[k] ?? null));
    newer.forEach(([t, p]) => this.append(t, p));
    this.trim();
  }

  /** Adds a live reading, with no line to it across a gap. One that is not newer than the last is dropped; a clock
      that was set far back starts anew. */
  push(t: number, watts: number, afterGap: boolean): void {
    const last = this.newest;
    if (last !== undefined) {
      if (t < last - this.span) this.clear();
      else if (t <= last) return;
      else if (afterGap) this.append((t + last) / 2, null);
    }
    this.append(t, watts);
    this.trim();
  }

  /** Copies, because uPlot keeps what it is given. */
  columns(): Columns {
    return { t: this.t.slice(), p: this.p.slice() };
  }

  private append(t: number, p: number | null): void {
    const last = this.newest;
    if (!Number.isFinite(t) || (last !== undefined && t <= last)) return;
    this.t.push(t);
    this.p.push(p);
  }

  private clear(): void {
    this.t.length = 0;
    this.p.length = 0;
  }

  private trim(): void {
    const last = this.newest;
    if (last === undefined) return;
    const first = this.t.findIndex((t) => t >= last - this.span);
    if (first > 0) {
      this.t.splice(0, first);
      this.p.splice(0, first);
    }
  }
}

/** Mean power between the rows of a load profile, in the middle of each interval: from registers, so without gaps. */
export function powerFromProfile(rows: readonly ProfileRow[]): { t: number[]; p: number[] } {
  const t: number[] = [];
  const p: number[] = [];
  for (let k = 1; k < rows.length; k++) {
    const [before, after] = [rows[k - 1], rows[k]];
    if (!before || !after) continue;
    const [from, to] = [Date.parse(before.at) / 1000, Date.parse(after.at) / 1000];
    if (!(to > from)) continue;
    const wattHours = after.import_wh - before.import_wh - (after.export_wh - before.export_wh);
    t.push((from + to) / 2);
    p.push((wattHours * 3600) / (to - from));
  }
  return { t, p };
}
