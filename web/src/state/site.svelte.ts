// Everything the page shows, kept true by the head-end's event stream. After every break the stream is opened first
// and everything is fetched anew behind it, so that nothing falls between the two.

import * as api from '../api/client';
import type { AlarmGroup, Campaign, MeterEvent, StreamMessages } from '../api/types';
import { count } from '../text/format';
import { Alarms } from './alarms.svelte';
import { MeterView } from './meter.svelte';
import { powerFromProfile } from './series';

/** The page and the head-end: not yet, now, not any more, or without the link that opens it. */
export type Connection = 'connecting' | 'live' | 'lost' | 'locked';

/** How far back readings can be asked for; what is older comes from the load profile. */
const SERIES_MINUTES = 120;
/** Events fetched at once, and kept at most. */
const EVENTS_PAGE = 200;
const EVENTS_KEPT = 5000;
/** Meters report each second; without a word for this long, milliseconds, the stream is opened anew. */
const SILENCE = 15_000;
/** Pauses before the first, second, … attempt to reconnect, milliseconds; the last one repeats. */
const PAUSES = [500, 1000, 2000, 4000];

export class Site {
  readonly alarms = new Alarms();
  meters: MeterView[] = $state.raw([]);
  events: MeterEvent[] = $state.raw([]);
  /** Firmware campaigns, the newest first. */
  campaigns: Campaign[] = $state.raw([]);
  connection: Connection = $state('connecting');
  /** When the connection broke, by this computer's clock. */
  lostAt: number | null = $state(null);
  now = $state(Date.now());

  /** Whether the head-end has events older than those here. */
  older = $state(false);

  /** Events whose alarm nobody has acknowledged, newest first. */
  raised: MeterEvent[] = $derived(this.events.filter((event) => event.alarm === 'raised'));
  online: number = $derived(this.meters.filter((meter) => meter.facts.state === 'online').length);

  private stream: EventSource | null = null;
  private heardAt = 0;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  /** What the stream said while everything was being fetched: newer than the answers, so taken again after them. */
  private meanwhile: (() => void)[] | null = null;

  /** Connects, and stays connected until the function it returns is called. */
  start(): () => void {
    const tick = setInterval(() => this.tick(), 1000);
    const reconnect = () => this.reconnect();
    window.addEventListener('online', reconnect);
    this.connect();
    return () => {
      clearInterval(tick);
      clearTimeout(this.retry);
      window.removeEventListener('online', reconnect);
      this.stream?.close();
    };
  }

  /** Tries at once, without waiting for the next attempt. */
  reconnect(): void {
    if (this.connection === 'live') return;
    clearTimeout(this.retry);
    this.connect();
  }

  meter(id: string): MeterView | undefined {
    return this.meters.find((meter) => meter.id === id);
  }

  /** Whose alarms a group holds: the meter's name, or how many meters. */
  whose(group: AlarmGroup): string {
    if (!group.only) return count(group.meters, 'meter');
    return group.only.meter === null ? 'Head-end' : (this.meter(group.only.meter)?.facts.name ?? group.only.meter);
  }

  async acknowledge(event: MeterEvent): Promise<void> {
    this.takeEvent(await api.acknowledge(event));
  }

  /** Fetches the events before the oldest one here. */
  async showOlder(): Promise<void> {
    const page = await api.events(EVENTS_PAGE, this.events[this.events.length - 1]?.id);
    this.older = page.length === EVENTS_PAGE;
    this.events = merged(this.events, page);
  }

  /** Takes a campaign as the head-end says it stands. */
  takeCampaign(campaign: Campaign): void {
    const others = this.campaigns.filter((known) => known.id !== campaign.id);
    this.campaigns = [campaign, ...others].sort((a, b) => b.id - a.id);
  }

  private connect(): void {
    this.stream?.close();
    this.meanwhile = null;
    const stream = new EventSource(api.STREAM);
    this.stream = stream;
    this.heardAt = Date.now();
    stream.onopen = () => void this.resync(stream);
    stream.onerror = () => void this.broken(stream);
    this.listen(stream, 'meter', (message) => this.takeMeter(message));
    this.listen(stream, 'live', (message) => this.takeLive(message));
    this.listen(stream, 'event', (message) => this.takeEvent(message));
    this.listen(stream, 'alarm', () => this.alarms.refresh());
    this.listen(stream, 'campaign', (message) => this.takeCampaign(message));
    this.listen(stream, 'resync', () => void this.resync(stream));
  }

  private listen<K extends keyof StreamMessages>(stream: EventSource, name: K, take: (m: StreamMessages[K]) => void): void {
    stream.addEventListener(name, (raw: MessageEvent<string>) => {
      if (stream !== this.stream) return;
      this.heardAt = Date.now();
      const message = (raw.data ? JSON.parse(raw.data) : null) as StreamMessages[K];
      if (name !== 'resync') this.meanwhile?.push(() => take(message));
      take(message);
    });
  }

  private async resync(stream: EventSource): Promise<void> {
    const meanwhile: (() => void)[] = [];
    this.meanwhile = meanwhile;
    try {
      const [meters, events, campaigns] = await Promise.all([api.meters(), api.events(EVENTS_PAGE), api.campaigns(), this.alarms.load()]);
      if (stream !== this.stream || meanwhile !== this.meanwhile) return;
      this.meters = meters.map((facts) => {
        const known = this.meter(facts.id) ?? new MeterView(facts);
        known.describe(facts);
        return known;
      });
      this.events = events;
      this.campaigns = campaigns;
      this.older = events.length === EVENTS_PAGE;
      this.meanwhile = null;
      meanwhile.forEach((take) => take());
      this.connection = 'live';
      this.lostAt = null;
      this.attempt = 0;
      await Promise.all(this.meters.map((meter) => this.recall(meter)));
    } catch (error) {
      if (stream === this.stream) this.lost(error);
    }
  }

  /** Fetches a chart's stored points. Without them the chart just starts later: that is no reason to disconnect. */
  private async recall(meter: MeterView): Promise<void> {
    try {
      const { t, p_w } = await api.series(meter.id, Math.min(meter.series.span / 60, SERIES_MINUTES));
      const [first, last] = [t[0], t[t.length - 1]];
      if (first === undefined || last === undefined || meter.series.span <= SERIES_MINUTES * 60) {
        meter.recall(t, p_w);
        return;
      }
      const older = powerFromProfile(await api.profile(meter.id, new Date((last - meter.series.span) * 1000)));
      const kept = older.t.filter((moment) => moment < first).length;
      meter.recall([...older.t.slice(0, kept), ...t], [...older.p.slice(0, kept), ...p_w]);
    } catch (error) {
      console.warn(`No stored readings for ${meter.id}:`, error);
    }
  }

  /** The stream does not tell why it broke; an ordinary request does. Meanwhile nothing here counts as live. */
  private async broken(stream: EventSource): Promise<void> {
    if (stream !== this.stream) return;
    this.lost(null);
    const error: unknown = await api.meters().then(() => null, (failure: unknown) => failure);
    if (isLocked(error) && this.connection === 'lost') this.lost(error);
  }

  private lost(error: unknown): void {
    this.stream?.close();
    this.stream = null;
    this.meanwhile = null;
    clearTimeout(this.retry);
    this.lostAt ??= Date.now();
    this.connection = isLocked(error) ? 'locked' : 'lost';
    if (this.connection === 'locked') return;
    const pause = PAUSES[Math.min(this.attempt, PAUSES.length - 1)] ?? 4000;
    this.attempt += 1;
    this.retry = setTimeout(() => this.connect(), pause);
  }

  private tick(): void {
    this.now = Date.now();
    if (this.connection === 'live' && this.now - this.heardAt > SILENCE) this.connect();
  }

  private takeMeter(facts: StreamMessages['meter']): void {
    const known = this.meter(facts.id);
    if (known) known.describe(facts);
    else this.meters = [...this.meters, new MeterView(facts)];
  }

  private takeLive({ meter: id, live }: StreamMessages['live']): void {
    const meter = this.meter(id);
    if (meter?.read(live)) void this.recall(meter);
  }

  private takeEvent(event: MeterEvent): void {
    this.events = merged([event], this.events).slice(0, EVENTS_KEPT);
  }
}

/** Whether the head-end does not know this browser, or not any more. */
function isLocked(error: unknown): boolean {
  return error instanceof api.ApiError && error.status === 401;
}

/** Newest first, in the order in which the head-end received them; of two versions of one event the former's. */
function merged(first: readonly MeterEvent[], second: readonly MeterEvent[]): MeterEvent[] {
  const known = new Set(first.map((event) => event.id));
  return [...first, ...second.filter((event) => !known.has(event.id))].sort((a, b) => b.id - a.id);
}
