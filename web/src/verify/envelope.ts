// The envelope of whatever is signed: COSE_Sign1 (RFC 9052) with ES384, and nothing optional.

import { PairList, Tagged, Unreadable, asArray, asBytes, asSigned, asText, decode, encode, equal, hex } from './cbor';
import { verifies } from './x509';

/** A key that may have signed: SubjectPublicKeyInfo, and the name that seals give it. */
export interface SealKey {
  spki: Uint8Array;
  id: Uint8Array;
}

export interface Opened {
  payload: Uint8Array;
  signer: Uint8Array;
}

/** Why a sealed file does not hold, in words. */
export class EnvelopeError extends Error {
  constructor(
    message: string,
    /** The key that it names, where that is what is wrong. */
    readonly unknownKey: Uint8Array | null = null,
  ) {
    super(message);
  }
}

const NO_FILE = 'this is not a sealed file, or it was damaged';
const MAX_LENGTH = 65_536;

export async function sealKey(spki: Uint8Array): Promise<SealKey> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-384', spki as Uint8Array<ArrayBuffer>));
  return { spki, id: digest.subarray(0, 16) };
}

/** Verifies an envelope that must be of this content type and signed by one of these keys. */
export async function open(bytes: Uint8Array, contentType: string, keys: SealKey[]): Promise<Opened> {
  if (bytes.length > MAX_LENGTH) throw new EnvelopeError(`the sealed file is longer than ${MAX_LENGTH} bytes`);
  const sealed = readable(() => read(bytes));
  if (sealed.algorithm !== -35n) throw new EnvelopeError('the seal uses another signature algorithm than ES384');
  if (sealed.contentType !== contentType) throw new EnvelopeError('the sealed file is of another kind than expected');
  const key = keys.find(({ id }) => equal(id, sealed.keyId));
  if (!key) {
    throw new EnvelopeError(`the seal was made with key ${hex(sealed.keyId)}, which is not trusted here`, sealed.keyId);
  }
  const message = encode(['Signature1', sealed.header, new Uint8Array(), sealed.payload]);
  if (!(await verifies(key.spki, message, sealed.signature))) {
    throw new EnvelopeError('the seal is broken: the content is not what was signed');
  }
  return { payload: sealed.payload, signer: sealed.keyId };
}

/** The content type that a sealed file claims to have; null when it is none. */
export function claimedType(bytes: Uint8Array): string | null {
  try {
    const sealed = read(bytes);
    return sealed.algorithm === -35n ? sealed.contentType : null;
  } catch (error) {
    if (error instanceof Unreadable) return null;
    throw error;
  }
}

function read(bytes: Uint8Array) {
  const tagged = decode(bytes, 3);
  if (!(tagged instanceof Tagged) || tagged.tag !== 18n) throw new Unreadable(NO_FILE);
  const [first, empty, second, third] = asArray(tagged.value, 4);
  if (!(empty instanceof PairList) || empty.pairs.length > 0) throw new Unreadable(NO_FILE);
  const header = asBytes(first);
  const map = decode(header, 2);
  if (!(map instanceof PairList) || map.pairs.map(([key]) => key).join() !== '1,3,4') throw new Unreadable(NO_FILE);
  const [algorithm, contentType, keyId] = map.pairs.map(([, value]) => value);
  return {
    header,
    payload: asBytes(second),
    signature: asBytes(third, 96),
    algorithm: asSigned(algorithm),
    contentType: asText(contentType),
    keyId: asBytes(keyId, 16),
  };
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Unreadable) throw new EnvelopeError(NO_FILE);
    throw error;
  }
}
