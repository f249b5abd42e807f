// Certificates as evidence: does an authority say that this key seals the log of this meter? (RFC 5280, 6.1, for P-384
// with SHA-384 throughout.) Revocation is not looked at: evidence is read years later, and offline.

import { equal, hex } from './cbor';
import { moment } from './report';

export const LOG_KEY_URI = 'urn:meterseal:key:log';
export const CERTIFICATION_KEY_URI = 'urn:meterseal:key:certification';

/** Why a chain of certificates proves nothing, in words. */
export class ChainError extends Error {}

export interface CertifiedKey {
  /** The key, as SubjectPublicKeyInfo. */
  key: Uint8Array;
  authority: string;
  authorityKey: Uint8Array;
  /** Whether the chain leads to one of the authorities that the reader trusts. */
  trusted: boolean;
}

interface Certificate {
  signed: Uint8Array;
  signature: Uint8Array;
  issuer: Uint8Array;
  subject: Uint8Array;
  notBefore: number;
  notAfter: number;
  key: Uint8Array;
  isAuthority: boolean;
  pathLength: number | null;
  keyUsage: number | null;
  uris: string[];
  name: string;
}

/** Verifies a chain (DER, the log key's own certificate first) for `meter` at a moment (milliseconds since 1970). */
export async function verifyLogKey(
  chain: Uint8Array[],
  meter: string,
  at: { millis: number; text: string },
  trusted: Uint8Array[],
): Promise<CertifiedKey> {
  if (!chain[0] || chain.length > 4) throw new ChainError(`there are ${chain.length} certificates; a chain has one to 4`);
  // All are read before any is judged.
  const certificates: Certificate[] = [];
  for (const der of chain) certificates.push(await read(der));
  const own = certificates[0] as Certificate;
  isLogKeyOf(own, meter);
  isValid(own, at);
  let below = own;
  for (const [place, authority] of certificates.slice(1).entries()) {
    isValid(authority, at);
    mayIssue(authority, place);
    await isSignedBy(below, authority);
    below = authority;
  }
  let leads = false;
  for (const der of trusted) {
    const anchor = await read(der);
    const inChain = chain.slice(1).some((one) => equal(one, der));
    leads ||= inChain || (await issued(below, anchor, chain.length - 1, at));
  }
  return { key: own.key, authority: below.name, authorityKey: below.key, trusted: leads };
}

/** A key that signs marks, as its certificate says. */
export interface CertificationKey {
  /** SubjectPublicKeyInfo. */
  key: Uint8Array;
  name: string;
  notBefore: number;
  notAfter: number;
  /** Who issued it, where that certificate is among those that were given. */
  issuer: string | null;
}

/** Reads the certificate of a certification key; `others` may hold its issuer's, whose signature is checked then. */
export async function certificationKey(der: Uint8Array, others: Uint8Array[]): Promise<CertificationKey> {
  const own = await read(der);
  const ours = own.uris.filter((uri) => uri.startsWith('urn:meterseal:'));
  if (ours.length === 0 || ours.some((uri) => uri !== CERTIFICATION_KEY_URI)) {
    throw new ChainError(`the certificate of "${own.name}" is not that of a certification key: it may not sign marks`);
  }
  let issuer: string | null = null;
  for (const one of others) {
    if (equal(one, der)) continue;
    const other = await read(one);
    if (!equal(other.subject, own.issuer)) continue;
    await isSignedBy(own, other);
    mayIssue(other, own.isAuthority ? 1 : 0);
    isValid(other, { millis: own.notBefore, text: moment(BigInt(own.notBefore)) });
    issuer = other.name;
  }
  return { key: own.key, name: own.name, notBefore: own.notBefore, notAfter: own.notAfter, issuer };
}

async function issued(below: Certificate, anchor: Certificate, depth: number, at: { millis: number; text: string }): Promise<boolean> {
  try {
    mayIssue(anchor, depth);
    isValid(anchor, at);
    await isSignedBy(below, anchor);
    return true;
  } catch (error) {
    if (error instanceof ChainError) return false;
    throw error;
  }
}

function isLogKeyOf(certificate: Certificate, meter: string): void {
  const own = `urn:meterseal:meter:${meter}`;
  const ours = certificate.uris.filter((uri) => uri.startsWith('urn:meterseal:'));
  const names = ours.includes(own) && ours.includes(LOG_KEY_URI) && ours.every((uri) => uri === own || uri === LOG_KEY_URI);
  const signs = certificate.keyUsage === null || (certificate.keyUsage & 0x80) !== 0;
  if (!names || !signs || certificate.isAuthority) {
    throw new ChainError(`the certificate is not for this key of meter ${meter}`);
  }
}

function isValid(certificate: Certificate, at: { millis: number; text: string }): void {
  if (certificate.notBefore <= at.millis && at.millis <= certificate.notAfter) return;
  throw new ChainError(`the certificate of "${certificate.name}" was not valid at ${at.text}`);
}

function mayIssue(certificate: Certificate, below: number): void {
  const signs = certificate.keyUsage === null || (certificate.keyUsage & 0x04) !== 0;
  if (certificate.isAuthority && signs && (certificate.pathLength === null || below <= certificate.pathLength)) return;
  throw new ChainError(`"${certificate.name}" may not issue such certificates`);
}

async function isSignedBy(certificate: Certificate, authority: Certificate): Promise<void> {
  const named = equal(certificate.issuer, authority.subject);
  if (named && (await verifies(authority.key, certificate.signed, certificate.signature))) return;
  throw new ChainError(`the certificate of "${certificate.name}" was not signed by the authority that it names`);
}

/** Whether `signature` (r ‖ s) is the key's over SHA-384 of the message. `false` for a key that is none of P-384. */
export async function verifies(spki: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const key = await importKey(spki);
  if (!key) return false;
  const algorithm = { name: 'ECDSA', hash: 'SHA-384' };
  const [raw, signed] = [signature as Uint8Array<ArrayBuffer>, message as Uint8Array<ArrayBuffer>];
  return crypto.subtle.verify(algorithm, key, raw, signed);
}

const DAMAGED = 'a certificate is damaged, or is none';
const ECDSA_WITH_SHA384 = '06082a8648ce3d040303';
/** What a SubjectPublicKeyInfo of P-384 begins with (RFC 5480): the point, 97 bytes, follows. */
const SPKI_HEAD = '3076301006072a8648ce3d020106052b81040022036200';

/** Whether it is a SubjectPublicKeyInfo of P-384 whose point lies on the curve. */
export async function isP384(spki: Uint8Array): Promise<boolean> {
  if (spki.length !== 120 || hex(spki.subarray(0, 23)) !== SPKI_HEAD || spki[23] !== 4) return false;
  return (await importKey(spki)) !== null;
}

async function importKey(spki: Uint8Array): Promise<CryptoKey | null> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-384' };
  try {
    return await crypto.subtle.importKey('spki', spki as Uint8Array<ArrayBuffer>, algorithm, false, ['verify']);
  } catch {
    return null;
  }
}

async function read(der: Uint8Array): Promise<Certificate> {
  if (der.length > 4096) throw new ChainError(DAMAGED);
  const file = new Der(der);
  const outer = new Der(file.take(0x30).content);
  file.end();
  const body = outer.take(0x30);
  const algorithm = outer.take(0x30).content;
  const bits = outer.take(0x03).content;
  outer.end();
  const fields = new Der(body.content);
  // Version 3.
  if (hex(fields.take(0xa0).content) !== '020102') throw new ChainError(DAMAGED);
  fields.take(0x02);
  const inner = fields.take(0x30).content;
  if (hex(algorithm) !== ECDSA_WITH_SHA384 || hex(inner) !== ECDSA_WITH_SHA384) {
    throw new ChainError('a certificate is not of P-384 with SHA-384');
  }
  const issuer = fields.take(0x30).whole;
  const validity = new Der(fields.take(0x30).content);
  const [notBefore, notAfter] = [time(validity.any()), time(validity.any())];
  validity.end();
  const subject = fields.take(0x30);
  const key = fields.take(0x30).whole;
  if (!(await isP384(key))) throw new ChainError('a certificate is not of P-384 with SHA-384');
  const extensions = new Der(fields.take(0xa3).content);
  fields.end();
  return {
    signed: body.whole,
    signature: rawSignature(bits),
    issuer,
    subject: subject.whole,
    notBefore,
    notAfter,
    key,
    ...readExtensions(new Der(extensions.take(0x30).content)),
    name: commonName(subject.content) ?? '?',
  };
}

function readExtensions(list: Der): Pick<Certificate, 'isAuthority' | 'pathLength' | 'keyUsage' | 'uris'> {
  const found: Pick<Certificate, 'isAuthority' | 'pathLength' | 'keyUsage' | 'uris'> = {
    isAuthority: false,
    pathLength: null,
    keyUsage: null,
    uris: [],
  };
  while (!list.atEnd) {
    const extension = new Der(list.take(0x30).content);
    const id = hex(extension.take(0x06).content);
    let value = extension.any();
    const critical = value.tag === 0x01 && hex(value.content) === 'ff';
    if (value.tag === 0x01) value = extension.any();
    if (value.tag !== 0x04) throw new ChainError(DAMAGED);
    extension.end();
    const content = new Der(value.content);
    if (id === '551d13') {
      const constraints = new Der(content.take(0x30).content);
      while (!constraints.atEnd) {
        const field = constraints.any();
        const [first, ...more] = field.content;
        if (field.tag === 0x01 && first === 0xff && more.length === 0) found.isAuthority = true;
        else if (field.tag === 0x02 && first !== undefined && first < 0x80 && more.length === 0) found.pathLength = first;
        else throw new ChainError(DAMAGED);
      }
    } else if (id === '551d0f') {
      const usage = content.take(0x03).content[1];
      if (usage === undefined) throw new ChainError(DAMAGED);
      found.keyUsage = usage;
    } else if (id === '551d11') {
      const names = new Der(content.take(0x30).content);
      while (!names.atEnd) {
        const name = names.any();
        if (name.tag === 0x86) found.uris.push(String.fromCharCode(...name.content));
      }
    } else if (critical && !['551d0e', '551d23', '551d25'].includes(id)) {
      throw new ChainError('a certificate makes a condition that this program does not know');
    }
  }
  return found;
}

/** ECDSA's r ‖ s, 48 bytes each, from a BIT STRING with two INTEGERs (RFC 5480). */
function rawSignature(bits: Uint8Array): Uint8Array {
  if (bits[0] !== 0) throw new ChainError(DAMAGED);
  const outer = new Der(bits.subarray(1));
  const numbers = new Der(outer.take(0x30).content);
  outer.end();
  const raw = new Uint8Array(96);
  for (const end of [48, 96]) {
    let number = numbers.take(0x02).content;
    const padded = number[0] === 0;
    // A leading zero only before a first bit that would be a sign.
    if (padded ? ((number[1] ?? 0) & 0x80) === 0 : ((number[0] ?? 0x80) & 0x80) !== 0) throw new ChainError(DAMAGED);
    if (padded) number = number.subarray(1);
    if (number.length > 48) throw new ChainError(DAMAGED);
    raw.set(number, end - number.length);
  }
  numbers.end();
  return raw;
}

function commonName(name: Uint8Array): string | null {
  const parts = new Der(name);
  while (!parts.atEnd) {
    const pair = new Der(new Der(parts.any().content).any().content);
    if (hex(pair.any().content) === '550403') {
      const text = new TextDecoder().decode(pair.any().content);
      return Array.from(text.replace(/\p{Cc}/gu, '')).slice(0, 80).join('');
    }
  }
  return null;
}

function time(taken: Taken): number {
  const text = String.fromCharCode(...taken.content);
  const digits = taken.tag === 0x17 ? /^(\d\d)(\d{10})Z$/.exec(text) : /^(\d{4})(\d{10})Z$/.exec(text);
  if (!digits || (taken.tag !== 0x17 && taken.tag !== 0x18)) throw new ChainError(DAMAGED);
  const short = Number(digits[1]);
  const year = taken.tag === 0x18 ? short : short < 50 ? 2000 + short : 1900 + short;
  const [month, day, hour, minute, second] = (digits[2] as string).match(/\d\d/g)?.map(Number) as number[];
  const date = new Date(0);
  date.setUTCFullYear(year, (month as number) - 1, day);
  date.setUTCHours(hour as number, minute, second);
  if (!month || month > 12 || !day || day > 31 || (hour as number) > 23 || (minute as number) > 59 || (second as number) > 59) {
    throw new ChainError(DAMAGED);
  }
  return date.getTime();
}

interface Taken {
  tag: number;
  content: Uint8Array;
  whole: Uint8Array;
}

/** Values of DER (X.690), one after another; lengths are definite and minimal. */
class Der {
  private place = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get atEnd(): boolean {
    return this.place === this.bytes.length;
  }

  end(): void {
    if (!this.atEnd) throw new ChainError(DAMAGED);
  }

  take(tag: number): Taken {
    const taken = this.any();
    if (taken.tag !== tag) throw new ChainError(DAMAGED);
    return taken;
  }

  any(): Taken {
    const start = this.place;
    const [tag, first] = [this.byte(), this.byte()];
    let length = first;
    if ((tag & 0x1f) === 0x1f || first === 0x80 || first > 0x83) throw new ChainError(DAMAGED);
    if (first > 0x80) {
      length = 0;
      for (let rest = first & 0x7f; rest > 0; rest -= 1) length = length * 256 + this.byte();
      if (length < 0x80 || length < 256 ** ((first & 0x7f) - 1)) throw new ChainError(DAMAGED);
    }
    if (length > this.bytes.length - this.place) throw new ChainError(DAMAGED);
    const content = this.bytes.subarray(this.place, this.place + length);
    this.place += length;
    return { tag, content, whole: this.bytes.subarray(start, this.place) };
  }

  private byte(): number {
    const byte = this.bytes[this.place];
    if (byte === undefined) throw new ChainError(DAMAGED);
    this.place += 1;
    return byte;
  }
}
