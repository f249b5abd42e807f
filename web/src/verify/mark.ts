// A mark: who tested which device type with which firmware, how far, until when, and what was not tested. Said in the words
// of `meterseal verify`, and a test compares both.

import { type Value, PairList, Unreadable, asArray, asBytes, asSigned, asText, asUnsigned, decode, equal, hex } from './cbor';
import { EnvelopeError, type SealKey, open, sealKey } from './envelope';
import { Report, moment } from './report';
import { type CertificationKey, ChainError, certificationKey } from './x509';

export const MARK = 'application/vnd.meterseal.mark+cbor';
const REVOCATIONS = 'application/vnd.meterseal.mark-revocations+cbor';

/** What whoever checks a mark knows and holds. */
export interface KnownOfMarks {
  /** Certification keys that they believe, as SubjectPublicKeyInfo. */
  keys: Uint8Array[];
  /** The same with certificates. */
  certified: CertificationKey[];
  /** Signed lists of revoked marks. */
  revocations: Uint8Array[];
  /** `results.cbor` and `report.json`, if they hold them. */
  results: Uint8Array | null;
  report: Uint8Array | null;
  /** The moment for which it is judged, milliseconds since 1970. */
  now: bigint;
}

export const NOTHING_KNOWN_OF_MARKS: KnownOfMarks = {
  keys: [],
  certified: [],
  revocations: [],
  results: null,
  report: null,
  now: 0n,
};

interface Coverage {
  requirement: string;
  tested: bigint;
  notTested: string[];
}

interface Mark {
  deviceType: string;
  hardware: string;
  firmware: string;
  catalogueVersion: string;
  catalogue: Uint8Array | null;
  results: Uint8Array | null;
  report: Uint8Array | null;
  scope: 'development' | 'virtual' | 'laboratory';
  coverage: Coverage[];
  issued: bigint;
  validFrom: bigint;
  renewFrom: bigint;
  validUntil: bigint;
  signatory: string;
}

const SCOPES = ['development', 'virtual', 'laboratory'] as const;

/** Whether anybody is believed in what they sign of marks. */
export const knowsKeys = (known: KnownOfMarks): boolean => known.keys.length + known.certified.length > 0;

/** Keys in PEM files: bare, or in certificates that say that theirs signs marks. A root among them vouches for those. */
export async function readKeys(
  texts: string[],
  certificates: Uint8Array[],
): Promise<Pick<KnownOfMarks, 'keys' | 'certified'>> {
  const bare = texts.flatMap((text) =>
    Array.from(text.matchAll(/-----BEGIN PUBLIC KEY-----([\sA-Za-z0-9+/=]+)-----END PUBLIC KEY-----/g), ([, body]) =>
      Uint8Array.from(atob((body as string).replace(/\s/g, '')), (character) => character.charCodeAt(0)),
    ),
  );
  const certified: CertificationKey[] = [];
  const errors: { der: Uint8Array; error: ChainError }[] = [];
  for (const der of certificates) {
    try {
      certified.push(await certificationKey(der, certificates));
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      errors.push({ der, error });
    }
  }
  for (const { der, error } of errors) if (!(await vouches(der, certificates))) throw error;
  return { keys: bare, certified };
}

async function vouches(authority: Uint8Array, all: Uint8Array[]): Promise<boolean> {
  for (const der of all) {
    const issuer = await certificationKey(der, [authority]).then(
      (key) => key.issuer,
      () => null,
    );
    if (issuer !== null) return true;
  }
  return false;
}

export async function verifyMark(signed: Uint8Array, known: KnownOfMarks): Promise<Report> {
  const report = new Report();
  const keys = await Promise.all([...known.keys, ...known.certified.map(({ key }) => key)].map((key) => sealKey(key)));
  let mark: Mark;
  let signer: Uint8Array;
  try {
    const opened = await open(signed, MARK, keys);
    signer = opened.signer;
    mark = readMark(opened.payload);
  } catch (error) {
    report.broken('mark', `The mark does not hold: ${words(error, 'a mark')}.`);
    return report;
  }
  report.proven(
    'mark',
    `It is a ${mark.scope} mark for device type "${mark.deviceType}" (${mark.hardware}) with the firmware whose SHA-384 is ${mark.firmware}.`,
  );
  const place = keys.findIndex(({ id }, place) => place >= known.keys.length && equal(id, signer));
  const certified = known.certified[place - known.keys.length];
  if (certified) judgeKey(mark, certified, report);
  else report.proven('signer', `It was signed with key ${hex(signer)}, which you named, for "${mark.signatory}".`);
  judgeTime(mark, known.now, report);
  await judgeRevocation(await sha384(signed), signer, keys, known.revocations, report);
  judgeScope(mark, report);
  judgeCoverage(mark, report);
  await judgeEvidence(mark, known, report);
  report.notProven(
    'authority',
    `Whether "${mark.signatory}" was entitled to test such meters: that is for you to know.`,
  );
  report.notProven(
    'meter',
    'Whether the meter before you runs this firmware: its head-end asks its boot stage for a signed answer.',
  );
  return report;
}

class ContentError extends Error {}

function words(error: unknown, what: string): string {
  if (error instanceof EnvelopeError) {
    return error.unknownKey
      ? `it was signed with key ${hex(error.unknownKey)}, which is none of those that you named`
      : error.message;
  }
  if (error instanceof ContentError) return error.message;
  if (error instanceof Unreadable) return `the sealed content is not ${what}`;
  throw error;
}

/** A mark lies within its key's time: so it never outlives the certificate, and an expired key signs nothing. */
function judgeKey(mark: Mark, certified: CertificationKey, report: Report): void {
  const { name, issuer } = certified;
  const [from, to] = [BigInt(certified.notBefore), BigInt(certified.notAfter)];
  if (mark.issued < from || mark.validUntil > to) {
    report.broken(
      'key-time',
      `The certificate of "${name}" is valid from ${moment(from)} to ${moment(to)}; the mark was signed at ${moment(mark.issued)} and claims to be valid until ${moment(mark.validUntil)}.`,
    );
    return;
  }
  const vouched = issuer === null ? '' : `; "${issuer}" certified that key for signing marks`;
  report.proven('signer', `It was signed with the key of "${name}", for "${mark.signatory}"${vouched}.`);
}

function judgeTime(mark: Mark, now: bigint, report: Report): void {
  if (now < mark.validFrom) report.broken('validity', `The mark is valid only from ${moment(mark.validFrom)} on.`);
  else if (now >= mark.validUntil) report.broken('validity', `The mark expired at ${moment(mark.validUntil)}.`);
  else {
    const due = now >= mark.renewFrom ? 'has been due since' : 'is due from';
    report.proven(
      'validity',
      `It is valid from ${moment(mark.validFrom)} until ${moment(mark.validUntil)}; its renewal ${due} ${moment(mark.renewFrom)}.`,
    );
  }
}

interface Revocations {
  number: bigint;
  issued: bigint;
  entries: { mark: Uint8Array; at: bigint; reason: string }[];
}

async function judgeRevocation(
  name: Uint8Array,
  signer: Uint8Array,
  keys: SealKey[],
  lists: Uint8Array[],
  report: Report,
): Promise<void> {
  let newest: Revocations | null = null;
  for (const bytes of lists) {
    let list: Revocations;
    try {
      const opened = await open(bytes, REVOCATIONS, keys);
      list = readRevocations(opened.payload);
      if (!equal(opened.signer, signer)) continue;
    } catch (error) {
      report.broken('revocations', `A list of revoked marks does not hold: ${words(error, 'a mark')}.`);
      return;
    }
    const revoked = list.entries.find(({ mark }) => equal(mark, name));
    if (revoked) {
      report.broken('revoked', `The mark was revoked at ${moment(revoked.at)}: ${revoked.reason}.`);
      return;
    }
    if (newest === null || list.number > newest.number) newest = list;
  }
  if (newest) {
    report.proven(
      'revoked',
      `It is not among the marks that were revoked up to ${moment(newest.issued)} (list ${newest.number}).`,
    );
  } else {
    report.notProven('revoked', "Whether it was revoked since: the signatory's list of revoked marks shows it.");
  }
}

function judgeScope(mark: Mark, report: Report): void {
  if (mark.scope === 'development') {
    report.notProven(
      'scope',
      "That anybody but the developer tested anything: a development mark is for the developer's own meters.",
    );
  } else if (mark.scope === 'virtual') {
    report.notProven(
      'scope',
      'That a meter of hardware was tested: a virtual one was, with this firmware, in a program.',
    );
  } else {
    report.proven(
      'scope',
      'A meter of hardware was tested, with instruments whose calibration the signatory says is traceable.',
    );
  }
}

const isWhole = ({ tested, notTested }: Coverage): boolean => tested > 0n && notTested.length === 0;

const nameOf = ({ requirement }: Coverage): string =>
  requirement === 'BEYOND' ? "requirements beyond the scheme's" : requirement;

function judgeCoverage(mark: Mark, report: Report): void {
  const whole = mark.coverage.filter(isWhole).map((one) => `${nameOf(one)} (${one.tested})`);
  const inPart = mark.coverage
    .filter((one) => one.tested > 0n && !isWhole(one))
    .map((one) => `${nameOf(one)} (${one.tested} of ${one.tested + BigInt(one.notTested.length)})`);
  if (whole.length > 0) report.proven('tested', `Tested, with nothing failed: ${whole.join(', ')}.`);
  if (inPart.length > 0) report.proven('tested-in-part', `Tested in part, with nothing failed: ${inPart.join(', ')}.`);
  const notAtAll = mark.coverage.filter(({ tested }) => tested === 0n).map(nameOf);
  if (notAtAll.length > 0) report.notProven('not-tested', `Not tested at all: ${notAtAll.join(', ')}.`);
  for (const one of mark.coverage) {
    if (one.notTested.length > 0) {
      report.notProven('not-tested-in-part', `Not tested of ${nameOf(one)}: ${one.notTested.join(', ')}.`);
    }
  }
}

async function judgeEvidence(mark: Mark, known: KnownOfMarks, report: Report): Promise<void> {
  const digest = mark.catalogue ? ` (SHA-384 ${hex(mark.catalogue)})` : '';
  report.proven('catalogue', `Requirements are those of catalogue ${mark.catalogueVersion}${digest}.`);
  const files = [
    ['results', 'results.cbor', mark.results, known.results],
    ['report', 'report.json', mark.report, known.report],
  ] as const;
  for (const [code, file, wanted, held] of files) {
    if (wanted && held && equal(await sha384(held), wanted)) {
      report.proven(code, `${file} is the file that the mark rests upon, to the last bit.`);
    } else if (wanted && held) {
      report.broken(code, `${file} is not the file that the mark rests upon: it was altered, or is another's.`);
    } else if (wanted) {
      report.notProven(code, `What was found in detail: ${file} with SHA-384 ${hex(wanted)} shows it.`);
    } else if (held) {
      report.broken(code, `The mark rests upon no ${file}; the one beside it says nothing about it.`);
    } else if (code === 'results') {
      report.notProven(code, 'What was found in detail: the mark names no results.');
    }
  }
}

async function sha384(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-384', bytes as Uint8Array<ArrayBuffer>));
}

function readMark(payload: Uint8Array): Mark {
  const map = decode(payload, 5);
  if (!(map instanceof PairList)) throw new Unreadable('no map');
  const keys = map.pairs.map(([key]) => asUnsigned(key));
  const fields = new Map<bigint, Value>(map.pairs.map(([key, value]) => [asUnsigned(key), value]));
  checkVersion(asUnsigned(fields.get(0n)));
  const wanted = Array.from({ length: 15 }, (_, key) => BigInt(key));
  // In ascending order, each once; digests of catalogue, results and report may be missing.
  const present = wanted.filter((key) => fields.has(key) || key < 5n || key > 7n);
  if (keys.join() !== present.join()) throw new Unreadable('other fields');
  const digest = (key: bigint): Uint8Array | null => (fields.has(key) ? asBytes(fields.get(key), 48) : null);
  const time = (key: bigint): bigint => asSigned(fields.get(key)) * 1000n;
  const scope = SCOPES[Number(asUnsigned(fields.get(8n), 255n))];
  if (!scope) throw content('scope');
  const mark = {
    deviceType: asText(fields.get(1n)),
    hardware: asText(fields.get(2n)),
    firmware: hex(asBytes(fields.get(3n), 48)),
    catalogueVersion: asText(fields.get(4n)),
    catalogue: digest(5n),
    results: digest(6n),
    report: digest(7n),
    scope,
    coverage: asArray(fields.get(9n)).map(readCoverage),
    issued: time(10n),
    validFrom: time(11n),
    renewFrom: time(12n),
    validUntil: time(13n),
    signatory: asText(fields.get(14n)),
  };
  checkContent(mark);
  return mark;
}

function checkVersion(version: bigint): void {
  if (version === 2n) return;
  throw new ContentError(
    version < 2n
      ? `the mark has format version ${version}, which says less than a mark must say today; have it made anew (version 2)`
      : `the mark has format version ${version}, this program reads version 2; update it`,
  );
}

const content = (field: string): ContentError =>
  new ContentError(`the mark's field "${field}" is missing, too long or contradictory`);

const isText = (text: string): boolean =>
  text !== '' && new TextEncoder().encode(text).length <= 128 && !/\p{Cc}/u.test(text);

const isId = (text: string): boolean => /^[A-Z0-9-]{1,16}$/.test(text);

function readCoverage(value: Value): Coverage {
  const [requirement, tested, notTested] = asArray(value, 3);
  return {
    requirement: asText(requirement),
    tested: asUnsigned(tested, 0xffff_ffffn),
    notTested: asArray(notTested).map((id) => asText(id)),
  };
}

function checkContent(mark: Mark): void {
  const texts = [
    ['device type', mark.deviceType],
    ['hardware', mark.hardware],
    ['catalogue version', mark.catalogueVersion],
    ['signatory', mark.signatory],
  ] as const;
  for (const [field, text] of texts) if (!isText(text)) throw content(field);
  const { coverage } = mark;
  const names = coverage.map(({ requirement }) => requirement);
  if (coverage.length === 0 || coverage.length > 32 || !names.every(isId) || new Set(names).size < names.length) {
    throw content('coverage');
  }
  const ids = coverage.flatMap(({ notTested }) => notTested);
  const ordered = coverage.every(({ notTested }) => notTested.every((id, place) => place === 0 || (notTested[place - 1] as string) < id));
  if (ids.length > 512 || !ids.every(isId) || !ordered || coverage.some((one) => one.tested === 0n && one.notTested.length > 0)) {
    throw content('not tested');
  }
  const tested = coverage.some((one) => one.tested > 0n);
  if ((tested || mark.scope !== 'development') && !mark.results) throw content('results digest');
  if ((mark.results === null) !== (mark.catalogue === null) || (mark.report && !mark.results)) {
    throw content('catalogue digest');
  }
  if (mark.validFrom >= mark.validUntil) throw content('validity');
  if (mark.renewFrom < mark.validFrom || mark.renewFrom > mark.validUntil) throw content('renewal');
}

function readRevocations(payload: Uint8Array): Revocations {
  const [version, number, issued, entries] = asArray(decode(payload, 3), 4);
  checkListVersion(asUnsigned(version));
  const list = {
    number: asUnsigned(number),
    issued: asSigned(issued) * 1000n,
    entries: asArray(entries).map((entry) => {
      const [mark, at, reason] = asArray(entry, 3);
      return { mark: asBytes(mark, 48), at: asSigned(at) * 1000n, reason: asText(reason) };
    }),
  };
  const ordered = list.entries.every(({ mark }, place) => place === 0 || hex((list.entries[place - 1] as { mark: Uint8Array }).mark) < hex(mark));
  if (list.number === 0n || list.entries.length > 300) throw content('number');
  if (!ordered) throw content('order');
  if (!list.entries.every(({ reason }) => isText(reason))) throw content('reason');
  return list;
}

function checkListVersion(version: bigint): void {
  if (version !== 1n) throw new ContentError(`the list has format version ${version}, this program reads version 1; update it`);
}

const PREFIX = 'MSEAL2:';
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:';

/** The signed mark in the text of a QR code (base 45, RFC 9285); null when it is no such text. */
export function readCode(text: string): Uint8Array | null {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX) || trimmed.length > 4296) return null;
  const letters = Array.from(trimmed.slice(PREFIX.length), (letter) => ALPHABET.indexOf(letter));
  if (letters.includes(-1) || letters.length % 3 === 1) return null;
  const bytes: number[] = [];
  for (let place = 0; place < letters.length; place += 3) {
    const [first, second, third] = letters.slice(place, place + 3) as [number, number, number | undefined];
    const value = first + 45 * second + 2025 * (third ?? 0);
    if (value > (third === undefined ? 0xff : 0xffff)) return null;
    bytes.push(...(third === undefined ? [value] : [value >> 8, value & 0xff]));
  }
  return Uint8Array.from(bytes);
}
