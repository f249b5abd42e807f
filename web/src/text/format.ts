// Numbers, times and directions as the page shows them. Every clock time is UTC, as in the meters' own records,
// so that two people who look at one event in two places read the same digits.

/** U+202F: groups of three without a decimal-looking sign, and no line break inside a number. */
const GROUP = '\u202f';
/** U+2212: as wide as a plus or a digit in most fonts, which a hyphen is not. */
const MINUS = '\u2212';

/** Below this a flow is the noise of a standing house, and the page calls it none. */
export const IDLE_WATTS = 0.5;

/** A moment: RFC 3339 as in the API, or milliseconds since 1970. */
export type Moment = string | number;

export type Direction = 'import' | 'export' | 'idle';

/** Which way active power flows; positive is import from the grid (IEC 62053-23 quadrants). */
export function direction(watts: number): Direction {
  if (Math.abs(watts) < IDLE_WATTS) return 'idle';
  return watts > 0 ? 'import' : 'export';
}

/** A number with a fixed count of decimals, grouped, with a true minus; never "−0". */
export function fixed(value: number, decimals: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Math.abs(value).toFixed(decimals);
  const [whole = '0', fraction] = digits.split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, GROUP);
  const sign = value < 0 && Number(digits) !== 0 ? MINUS : '';
  return sign + grouped + (fraction === undefined ? '' : `.${fraction}`);
}

/** A number with three significant digits at least, and never fewer than its whole part has: `0.312`, `48.6`, `4 021`. */
export function significant(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return fixed(value, 0);
  return fixed(value, Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))));
}

/** Watt-hours as kilowatt-hours, cut (never rounded up: a register shows what has passed) to 0.1 Wh. */
export function kilowattHours(wattHours: number): { whole: string; fraction: string } {
  if (!Number.isFinite(wattHours)) return { whole: '–', fraction: '' };
  // The small share undoes what division leaves in the last binary digit, 1234.5 × 10 = 12344.999… for example.
  const tenths = Math.floor(wattHours * 10 + 1e-6);
  const whole = Math.floor(tenths / 10_000);
  return { whole: fixed(whole, 0), fraction: `.${String(tenths - whole * 10_000).padStart(4, '0')}` };
}

/** `14:03:22` */
export function clock(moment: Moment): string {
  return iso(moment).slice(11, 19);
}

/** `14:03` */
export function hourMinute(moment: Moment): string {
  return iso(moment).slice(11, 16);
}

/** `22 Nov` */
export function day(moment: Moment): string {
  const date = new Date(moment);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()] ?? ''}`;
}

/** `2026-11-22 14:03:22` */
export function stamp(moment: Moment): string {
  return iso(moment).slice(0, 19).replace('T', ' ');
}

/** A time of day, with the day before it when that is not the reference's day. */
export function clockOrStamp(moment: Moment, reference: Moment): string {
  const sameDay = iso(moment).slice(0, 10) === iso(reference).slice(0, 10);
  return sameDay ? clock(moment) : `${day(moment)} ${clock(moment)}`;
}

/** How long, in the one unit that a person would use: `12 s`, `3 min`, `5 h`, `2 d`. */
export function span(millis: number): string {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (seconds < 60) return `${seconds}\u00a0s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}\u00a0min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}\u00a0h`;
  return `${Math.floor(seconds / 86_400)}\u00a0d`;
}

/** `one alarm`, `3 alarms` */
export function count(n: number, singular: string, plural = `${singular}s`): string {
  return `${fixed(n, 0)}\u00a0${n === 1 ? singular : plural}`;
}

function iso(moment: Moment): string {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? '----------T--:--:--' : date.toISOString();
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
