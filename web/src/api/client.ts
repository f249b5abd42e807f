// Requests to the head-end. Every failure becomes an `ApiError` whose text a person can act on.

import type {
  Alarm,
  AlarmGroup,
  AlarmWithHistory,
  Campaign,
  CampaignMeter,
  DeadLetter,
  Meter,
  MeterEvent,
  MeterRequest,
  Problem,
  ProfileRow,
  ReceiverQueue,
  SealedReadings,
  Series,
} from './types';

/** A loopback request that takes longer than this has failed, milliseconds. */
const TIMEOUT = 8000;

export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status, 0 where no answer came. */
    readonly status: number,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export const STREAM = '/api/v1/stream';

export const meters = (): Promise<Meter[]> => request('/api/v1/meters');

/** The newest events, or those received before the one with the id `before`, newest first; `limit` up to 500. */
export const events = (limit: number, before?: number): Promise<MeterEvent[]> =>
  request(`/api/v1/events?limit=${limit}${before === undefined ? '' : `&before=${before}`}`);

export const series = (meter: string, minutes: number): Promise<Series> =>
  request(`/api/v1/meters/${encodeURIComponent(meter)}/series?minutes=${minutes}`);

/** Load-profile rows from a time on, oldest first. */
export const profile = (meter: string, from: Date): Promise<ProfileRow[]> =>
  request(`/api/v1/meters/${encodeURIComponent(meter)}/profile?from=${from.toISOString()}&limit=5000`);

export const acknowledge = (event: MeterEvent): Promise<MeterEvent> =>
  post(`/api/v1/events/${encodeURIComponent(event.meter)}/${event.sequence}/acknowledge`);

/** Who does something about alarms, and why. */
export interface Note {
  by?: string;
  comment?: string;
}

/** Open alarms, by cause and time. */
export const alarmGroups = (): Promise<AlarmGroup[]> => request('/api/v1/alarms/groups');

/** Alarms, the one that changed last first; every part of the query is optional. */
export const alarms = (query: Record<string, string | number | undefined>): Promise<Alarm[]> => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  return request(`/api/v1/alarms?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`);
};

export const alarm = (id: number): Promise<AlarmWithHistory> => request(`/api/v1/alarms/${id}`);

/** Takes note of a group of alarms, or says that its cause is over. */
export const actOnGroup = (act: 'acknowledge' | 'clear', group: AlarmGroup, note: Note): Promise<unknown> =>
  post(`/api/v1/alarms/${act}`, { cause: group.cause, from: group.from, to: group.to, ...note });

export const actOnAlarm = (act: 'acknowledge' | 'clear', id: number, note: Note): Promise<Alarm> =>
  post(`/api/v1/alarms/${id}/${act}`, note);

export const receivers = (): Promise<ReceiverQueue[]> => request('/api/v1/deliveries');

export const deadLetters = (limit: number): Promise<DeadLetter[]> => request(`/api/v1/deliveries/dead?limit=${limit}`);

/** Has one dead letter, or all of them, delivered again. */
export const redeliver = (id?: number): Promise<unknown> =>
  post(`/api/v1/deliveries/dead/${id === undefined ? '' : `${id}/`}redeliver`);

export const discard = (id: number): Promise<unknown> => post(`/api/v1/deliveries/dead/${id}/discard`);

/** Firmware campaigns, the newest first. */
export const campaigns = (): Promise<Campaign[]> => request('/api/v1/campaigns');

/** Meters of a campaign that are in a state, in the order in which they are told. */
export const campaignMeters = (id: number, state: string, limit: number): Promise<CampaignMeter[]> =>
  request(`/api/v1/campaigns/${id}/meters?state=${state}&limit=${limit}`);

export const actOnCampaign = (act: 'pause' | 'resume' | 'abort', id: number, by?: string): Promise<Campaign> =>
  post(`/api/v1/campaigns/${id}/${act}`, { by });

/** The readings that a meter has signed, oldest first. */
export const sealedReadings = (meter: string): Promise<SealedReadings> => request(`${path(meter)}/readings`);

/** Asks the meter for a reading now, which it signs. */
export const readNow = (meter: string): Promise<MeterRequest> => post(`${path(meter)}/readings`);

/** How a request stands, once it is answered or a few seconds have passed. */
export const requestState = (meter: string, id: number): Promise<MeterRequest> =>
  request(`${path(meter)}/requests/${id}?wait_s=5`);

/** Where a meter's files are: a statement of a period, its sealed log, its consumption. */
export const statementFile = (meter: string, from: string, to: string): string =>
  `${path(meter)}/statement?${new URLSearchParams({ from, to })}`;
export const logFile = (meter: string): string => `${path(meter)}/log`;
export const consumptionFile = (meter: string): string => `${path(meter)}/profile.csv`;

const path = (meter: string): string => `/api/v1/meters/${encodeURIComponent(meter)}`;

export const stimulate = (meter: string, kind: string): Promise<unknown> =>
  post(`/api/v1/meters/${encodeURIComponent(meter)}/stimulus`, { kind });

/** The head-end takes nothing that is not declared as JSON, an empty body included: no form elsewhere can send it. */
function post<T>(path: string, body?: unknown): Promise<T> {
  const content = body === undefined ? null : JSON.stringify(body);
  return request(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: content });
}

async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, credentials: 'same-origin', signal: AbortSignal.timeout(TIMEOUT) });
  } catch {
    throw new ApiError('The head-end does not answer. Is it still running?', 0);
  }
  const text = await response.text().catch(() => '');
  if (!response.ok) throw new ApiError(reason(text) ?? `The head-end answered ${response.status} to ${path}.`, response.status);
  if (text === '') return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError(`The head-end's answer to ${path} is not JSON.`, response.status);
  }
}

/** The head-end's own sentences, where its answer holds them. */
function reason(text: string): string | undefined {
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    if (typeof problem.error !== 'string') return undefined;
    return [problem.error, problem.what_to_do].filter(Boolean).map(sentence).join(' ');
  } catch {
    return undefined;
  }
}

function sentence(text: string | undefined): string {
  if (!text) return '';
  return text[0]?.toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
