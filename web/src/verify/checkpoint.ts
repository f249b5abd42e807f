// A checkpoint: the meter's signed word on how many entries its log has and what they are.

import { Reader, Unreadable, asArray, asBytes, asSigned, asText, asUnsigned, decode, hex } from './cbor';
import { EnvelopeError, open } from './envelope';
import { type Hash, sha256 } from './tree';

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
const NO_CHECKPOINT = 'the sealed content is not a checkpoint of a log';

/** Verifies a signed checkpoint with the key (SubjectPublicKeyInfo) that must have signed it. */
export async function verifyCheckpoint(bytes: Uint8Array, key: Uint8Array, keyId: Uint8Array): Promise<Checkpoint> {
  if (bytes.length > 512) throw new CheckpointError('the sealed file is longer than 65536 bytes');
  const opened = await open(bytes, CONTENT_TYPE, [{ spki: key, id: keyId }]).catch((error: unknown) => {
    throw error instanceof EnvelopeError ? new CheckpointError(error.message) : error;
  });
  const checkpoint = readable(NO_CHECKPOINT, () => readPayload(opened.payload));
  return { ...checkpoint, digest: await sha256(opened.payload) };
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

