// One meter as the page knows it: its facts, its newest reading, when that was heard, and its chart's points.

import type { Live, Meter } from '../api/types';
import { SeriesWindow, spanFor } from './series';
import { SpeedEstimate } from './speed';

/** Readings come each second; a meter that has been silent for this long, milliseconds, is not live. */
const SILENT = 5000;
/** Between two readings that are further apart than this, milliseconds of wall time, the chart draws no line. */
const GAP = 10_000;

export class MeterView {
  readonly id: string;
  facts: Meter;
  live: Live | null;
  /** When the newest reading reached this page, by this computer's clock. */
  heard = $state(0);
  /** How fast its clock runs against the wall's; null until known, and for meters on wall time. */
  speed: number | null = $state(null);
  /** Counts the changes of `series`, which is too long to be watched point by point. */
  revision = $state(0);
  readonly series = new SeriesWindow();
  private readonly estimate = new SpeedEstimate();

  constructor(facts: Meter) {
    this.id = facts.id;
    this.facts = $state.raw(facts);
    this.live = $state.raw(facts.live);
    if (facts.live) this.heard = Date.now();
  }

  /** Takes the head-end's facts. An older reading never replaces a newer one. */
  describe(facts: Meter): void {
    this.facts = facts;
    if (facts.live) this.read(facts.live);
  }

  /** Takes a reading; gives whether the chart's span changed, so that older points must be fetched. */
  read(live: Live): boolean {
    const received = Date.parse(live.received_at);
    const silence = this.live === null ? 0 : received - Date.parse(this.live.received_at);
    if (this.live !== null && silence <= 0) return false;
    this.live = live;
    this.heard = Date.now();
    this.series.push(Date.parse(live.at) / 1000, live.p_w, silence > GAP);
    this.revision += 1;
    if (this.facts.time_base !== 'simulated') return false;
    this.speed = this.estimate.add(Date.parse(live.at), received) ?? this.speed;
    const span = spanFor(this.speed);
    if (span === this.series.span) return false;
    this.series.span = span;
    return true;
  }

  /** Takes the points that the head-end had stored. */
  recall(seconds: readonly number[], watts: readonly (number | null)[]): void {
    this.series.replace(seconds, watts);
    this.revision += 1;
  }

  /** Whether its numbers are what it measures now, given the time and whether the head-end is heard. */
  isLive(now: number, connected: boolean): boolean {
    return connected && this.facts.state === 'online' && this.live !== null && now - this.heard < SILENT;
  }
}
