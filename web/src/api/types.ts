// The API's words under short names. They come from `schema.d.ts`, which `npm run types` makes from the
// head-end's own description of its API: a field that changes there fails `npm run check` here.

import type { components } from './schema';

type Schemas = components['schemas'];

export type Alarm = Schemas['Alarm'];
export type AlarmGroup = Schemas['AlarmGroup'];
export type AlarmMoment = Schemas['AlarmMoment'];
export type AlarmWithHistory = Schemas['AlarmWithHistory'];
export type Campaign = Schemas['Campaign'];
export type CampaignMeter = Schemas['CampaignMeter'];
export type DeadLetter = Schemas['DeadLetter'];
export type ReceiverQueue = Schemas['ReceiverQueue'];
export type Meter = Schemas['Meter'];
export type MeterEvent = Schemas['Event'];
export type MeterRequest = Schemas['MeterRequest'];
export type SealedReading = Schemas['SealedReading'];
export type SealedReadings = Schemas['SealedReadings'];
export type Live = Schemas['Live'];
export type Mark = Schemas['Mark'];
export type OtherMeter = Schemas['OtherMeter'];
export type Phase = Schemas['PhaseReading'];
export type Problem = Schemas['Problem'];
export type ProfileRow = Schemas['ProfileRow'];
export type Series = Schemas['Series'];
export type Severity = Schemas['Severity'];

/** What the event stream says: the name of each message, and its data. */
export interface StreamMessages {
  meter: Meter;
  live: Schemas['LiveUpdate'];
  event: MeterEvent;
  alarm: Schemas['AlarmUpdate'];
  /** A firmware campaign as it stands now. */
  campaign: Campaign;
  /** Messages were dropped because this page was too slow: fetch everything anew. */
  resync: unknown;
}
