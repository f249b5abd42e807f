// A checkpoint: the meter's signed word on how many entries its log has and what they are. COSE_Sign1 (RFC 9052) with
// ES384, and nothing optional.

import { PairList, Reader, Tagged, Unreadable, asArray, asBytes, asSigned, asText, asUnsigned, decode, encode, equal, hex } from './cbor';
import { type Hash, sha256 } from './tree';
import { verifies } from './x509';

export interface Checkpoint {
  meter: string;
  log: string;
  number: bigint;
  size: bigint;
  root: Hash;
  time: bigint;
  boot: bigint;
  previous: Hash | null;
  /** SHA-256 of its content, which names it in the next one. */
  digest: Hash;
}

/** Why a checkpoint does not hold, in words. */
export class CheckpointError extends Error {}

const CONTENT_TYPE = 'application/vnd.meterseal.checkpoint+cbor';
const NO_FILE = 'this is not a sealed file, or it was damaged';
const NO_CHECKPOINT = 'the sealed content is not a checkpoint of a log';

/** Verifies a signed checkpoint with the key (SubjectPublicKeyInfo) that must have signed it. */
export async function verifyCheckpoint(bytes: Uint8Array, key: Uint8Array, keyId: Uint8Array): Promise<Checkpoint> {
  if (bytes.length > 512) throw new CheckpointError('the sealed file is longer than 65536 bytes');
  const sealed = readable(NO_FILE, () => readEnvelope(bytes));
  if (sealed.algorithm !== -35n) throw new CheckpointError('the seal uses another signature algorithm than ES384');
  if (sealed.contentType !== CONTENT_TYPE) throw new CheckpointError('the sealed file is of another kind than expected');
  if (!equal(sealed.keyId, keyId)) {
    throw new CheckpointError(`the seal was made with key ${hex(sealed.keyId)}, which is not trusted here`);
  }
  const message = encode(['Signature1', sealed.header, new Uint8Array(), sealed.payload]);
  if (!(await verifies(key, message, sealed.signature))) {
    throw new CheckpointError('the seal is broken: the content is not what was signed');
  }
  const checkpoint = readable(NO_CHECKPOINT, () => readPayload(sealed.payload));
  return { ...checkpoint, digest: await sha256(sealed.payload) };
}

function readEnvelope(bytes: Uint8Array) {
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

function readPayload(payload: Uint8Array): Omit<Checkpoint, 'digest'> {
  const fields = asArray(decode(payload, 2), 11);
  const version = asUnsigned(fields[0]);
  if (version !== 1n) {
    throw new CheckpointError(`the checkpoint has format version ${version}, this program reads version 1; update it`);
  }
  const meter = asText(fields[1]);
  if (!isMeter(meter)) throw new Unreadable(NO_CHECKPOINT);
  asArray(fields[9], 4).forEach((row) => asUnsigned(row));
  asUnsigned(fields[7]);
  return {
    meter,
    log: hex(asBytes(fields[2], 16)),
    number: asUnsigned(fields[3]),
    size: asUnsigned(fields[4]),
    root: asBytes(fields[5], 32),
    time: asSigned(fields[6]),
    boot: asUnsigned(fields[8]),
    previous: fields[10] === null ? null : asBytes(fields[10], 32),
  };
}

/** Three capital letters and ten digits. */
export const isMeter = (text: string): boolean => /^[A-Z]{3}\d{10}$/.test(text);

/** Whether a checkpoint is of a later state than another. */
export const isAfter = (after: Checkpoint, before: Checkpoint): boolean =>
  after.number >= before.number && after.size >= before.size && after.boot >= before.boot;

/** What `read` gives; what cannot be read is an error in these words. */
function readable<T>(words: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Unreadable) throw new CheckpointError(words);
    throw error;
  }
}

/** The bytes of the value that a reader is at, whole. */
export function skip(reader: Reader): Uint8Array {
  const start = reader.place;
  reader.value(3);
  return reader.bytes.subarray(start, reader.place);
}

