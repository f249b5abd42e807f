// uPlot, set up for signed power: one line whose colour and filling change where it crosses zero. Colours come from
// the style sheet at every drawing, so that the chart follows the page's scheme.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { SeriesWindow } from '../state/series';
import { clock, day, fixed, hourMinute } from '../text/format';

const HEIGHT = 148;
/** A chart that has only begun is this wide, as a share of its span: a minute of an hour. */
const LEAST_SHARE = 1 / 60;
/** Watts between the chart's top and bottom at least: noise around nothing shall not look like a mountain range. */
const LEAST_RANGE = 100;

export class PowerPlot {
  private readonly plot: uPlot;
  private readonly resize: ResizeObserver;
  private readonly scheme = window.matchMedia('(prefers-color-scheme: dark)');
  private readonly repaint = () => this.plot.redraw(false, true);
  private span = 3600;
  private pending: SeriesWindow | null = null;

  constructor(
    private readonly place: HTMLElement,
    pointed: (point: { t: number; p: number } | null) => void,
  ) {
    this.plot = new uPlot(this.options(pointed), [[], []], place);
    this.resize = new ResizeObserver(() => this.plot.setSize({ width: place.clientWidth, height: HEIGHT }));
    this.resize.observe(place);
    this.scheme.addEventListener('change', this.repaint);
    document.addEventListener('visibilitychange', this.visible);
  }

  /** Draws the points, or, while nobody looks, keeps them for later. */
  show(series: SeriesWindow): void {
    this.pending = series;
    if (document.hidden) return;
    this.pending = null;
    this.span = series.span;
    const { t, p } = series.columns();
    this.plot.setData([t, p]);
  }

  end(): void {
    this.resize.disconnect();
    this.scheme.removeEventListener('change', this.repaint);
    document.removeEventListener('visibilitychange', this.visible);
    this.plot.destroy();
  }

  private readonly visible = () => {
    if (this.pending) this.show(this.pending);
  };

  private colour(name: string): string {
    return getComputedStyle(this.place).getPropertyValue(`--${name}`).trim();
  }

  private options(pointed: (point: { t: number; p: number } | null) => void): uPlot.Options {
    const font = '11px system-ui, sans-serif';
    const axis: uPlot.Axis = {
      font,
      stroke: () => this.colour('ink-soft'),
      grid: { stroke: () => this.colour('line'), width: 1 },
      ticks: { show: false },
    };
    return {
      width: this.place.clientWidth || 320,
      height: HEIGHT,
      padding: [8, 6, 0, 0],
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), 'Etc/UTC'),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { time: true, range: (_, low, high) => [Math.max(high - this.span, Math.min(low, high - this.span * LEAST_SHARE)), high] },
        y: { range: (_, low, high) => powerRange(low, high) },
      },
      axes: [
        { ...axis, space: 62, size: 24, gap: 4, values: (_, ticks) => ticks.map((t) => this.timeLabel(t * 1000, ticks)) },
        { ...axis, space: 30, size: 56, gap: 6, values: (_, ticks) => kilowattLabels(ticks) },
      ],
      series: [
        {},
        {
          width: 1.5,
          points: { show: false },
          stroke: (u) => this.split(u, 'import', 'export'),
          fill: (u) => this.split(u, 'import-fill', 'export-fill'),
          fillTo: 0,
        },
      ],
      hooks: {
        draw: [(u) => this.zeroLine(u)],
        setCursor: [
          (u) => {
            const k = u.cursor.idx;
            const t = k == null ? undefined : u.data[0][k];
            const p = k == null ? undefined : u.data[1]?.[k];
            pointed(t === undefined || p == null ? null : { t, p });
          },
        ],
      },
    };
  }

  /** As fine as the ticks stand: neighbours must not read the same. */
  private timeLabel(millis: number, ticks: readonly number[]): string {
    if (this.span > 48 * 3600) return day(millis);
    const step = (ticks[1] ?? 60) - (ticks[0] ?? 0);
    return step < 60 ? clock(millis) : hourMinute(millis);
  }

  /** A vertical gradient that changes at zero from one colour to the other, without a passage between them. */
  private split(u: uPlot, above: string, below: string): CanvasGradient | string {
    const { top, height } = u.bbox;
    const zero = (u.valToPos(0, 'y', true) - top) / height;
    if (!Number.isFinite(zero) || height <= 0) return this.colour(above);
    const at = Math.min(1, Math.max(0, zero));
    const gradient = u.ctx.createLinearGradient(0, top, 0, top + height);
    gradient.addColorStop(0, this.colour(above));
    gradient.addColorStop(at, this.colour(above));
    gradient.addColorStop(at, this.colour(below));
    gradient.addColorStop(1, this.colour(below));
    return gradient;
  }

  private zeroLine(u: uPlot): void {
    const { left, width, top, height } = u.bbox;
    const y = Math.round(u.valToPos(0, 'y', true)) + 0.5;
    if (!(y >= top && y <= top + height)) return;
    u.ctx.save();
    u.ctx.strokeStyle = this.colour('line-strong');
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.beginPath();
    u.ctx.moveTo(left, y);
    u.ctx.lineTo(left + width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }
}

/** The axis always holds zero, because import and export are told apart by it; a little air beyond the extremes. */
export function powerRange(low: number | null, high: number | null): [number, number] {
  const bottom = Math.min(0, low ?? 0);
  const top = Math.max(0, high ?? 0);
  const air = Math.max(LEAST_RANGE, top - bottom) * 0.08;
  return [bottom < 0 ? bottom - air : 0, bottom < 0 ? top + air : Math.max(top + air, LEAST_RANGE)];
}

/** Kilowatts with as many decimals as the steps between the ticks need; the unit stands at the uppermost. */
export function kilowattLabels(watts: readonly number[]): string[] {
  const step = Math.abs((watts[1] ?? 1000) - (watts[0] ?? 0)) / 1000;
  const decimals = step === 0 ? 0 : Math.min(3, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
  return watts.map((w, k) => fixed(w / 1000, decimals) + (k === watts.length - 1 ? ' kW' : ''));
}
