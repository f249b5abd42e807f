// Checks a file that somebody handed over: which kind it is, and what it proves.

import { Reader, Unreadable, asArray, asText } from './cbor';
import { claimedType } from './envelope';
import { EXPORT, verifyLog } from './log';
import { MARK, verifyMark } from './mark';
import { type Earlier, NOTHING_KNOWN, type Trust } from './origin';
import type { Reading } from './leaf';
import type { Report } from './report';
import { type Quantity, STATEMENT, verifyStatement } from './statement';

export interface Verified {
  kind: 'statement' | 'log' | 'mark';
  report: Report;
  quantities: Quantity[];
  readings: Reading[];
  earlier: Earlier | null;
}

/** Checks a file; throws [`Unreadable`] when it is none of ours or its parts cannot be told apart. */
export async function verify(file: Uint8Array, trust: Trust = NOTHING_KNOWN): Promise<Verified> {
  if (claimedType(file) === MARK) {
    return { kind: 'mark', quantities: [], readings: [], earlier: null, report: await verifyMark(file, trust.mark) };
  }
  const kind = kindOf(file);
  if (kind === STATEMENT) return { kind: 'statement', ...(await verifyStatement(file, trust)) };
  if (kind === EXPORT) return { kind: 'log', quantities: [], readings: [], ...(await verifyLog(file, trust)) };
  throw new Unreadable('it is no statement for a bill, no export of a log and no mark');
}

function kindOf(file: Uint8Array): string {
  return asText(asArray(new Reader(file).value())[0]);
}

/** Certificates in PEM or DER. */
export function readCertificates(bytes: Uint8Array): Uint8Array[] {
  if (bytes[0] === 0x30) return [bytes];
  const text = new TextDecoder().decode(bytes);
  const found = text.matchAll(/-----BEGIN CERTIFICATE-----([\sA-Za-z0-9+/=]+)-----END CERTIFICATE-----/g);
  return Array.from(found, ([, body]) =>
    Uint8Array.from(atob((body as string).replace(/\s/g, '')), (character) => character.charCodeAt(0)),
  );
}
