import { expect, test } from 'vitest';
import { SeriesWindow, powerFromProfile, spanFor } from './series';
import { SpeedEstimate } from './speed';

test('a window holds its span, drops repeats, and breaks the line at a gap', () => {
  const series = new SeriesWindow(60);
  for (let t = 0; t <= 100; t += 10) series.push(t, t, false);
  expect(series.columns().t).toEqual([40, 50, 60, 70, 80, 90, 100]);
  series.push(100, 1, false);
  expect(series.newest).toBe(100);
  series.push(120, 5, true);
  expect(series.columns().p.slice(-3)).toEqual([100, null, 5]);
});

test('a clock that was set far back starts the chart anew', () => {
  const series = new SeriesWindow(60);
  series.push(1000, 1, false);
  series.push(100, 2, false);
  expect(series.columns()).toEqual({ t: [100], p: [2] });
});

test('what the head-end had goes before what came live meanwhile', () => {
  const series = new SeriesWindow(3600);
  series.push(50, 5, false);
  series.push(60, 6, false);
  series.replace([10, 20, 50], [1, null, 4]);
  expect(series.columns()).toEqual({ t: [10, 20, 50, 60], p: [1, null, 4, 6] });
});

test('mean power of an interval is the difference of its registers', () => {
  const row = (at: string, import_wh: number, export_wh: number) => ({ at, import_wh, export_wh }) as never;
  const rows = [row('2026-01-01T00:00:00Z', 100, 0), row('2026-01-01T00:15:00Z', 350, 0), row('2026-01-01T00:30:00Z', 350, 500)];
  expect(powerFromProfile(rows).p).toEqual([1000, -2000]);
});

test('a fast clock gets a longer chart', () => {
  expect([null, 1, 60, 600].map(spanFor)).toEqual([3600, 3600, 3600, 43_200]);
  const estimate = new SpeedEstimate();
  const speeds = [0, 1, 2, 3].map((k) => estimate.add(k * 60_000 + 7, k * 1000));
  expect(speeds).toEqual([null, null, 60, 60]);
});
