// The Merkle tree of RFC 9162, 2.1, with SHA-256 by the browser's own cryptography.

import { concat, equal } from './cbor';

export type Hash = Uint8Array;

const digest = async (bytes: Uint8Array): Promise<Hash> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));

export const sha256 = digest;

export const leafHash = (leaf: Uint8Array): Promise<Hash> => digest(concat(Uint8Array.of(0), leaf));

const nodeHash = (left: Hash, right: Hash): Promise<Hash> => digest(concat(Uint8Array.of(1), left, right));

/** Whether `path` proves that `leaf` is number `index` of the tree of `size` leaves with this root (2.1.3.2). */
export async function verifyInclusion(leaf: Hash, index: bigint, size: bigint, path: Hash[], root: Hash): Promise<boolean> {
  if (index >= size) return false;
  let node = index;
  let last = size - 1n;
  let hash = leaf;
  for (const sibling of path) {
    if (last === 0n) return false;
    if ((node & 1n) === 1n || node === last) {
      hash = await nodeHash(sibling, hash);
      while (node !== 0n && (node & 1n) === 0n) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(hash, root);
}

/** Whether `path` proves that a tree of `newSize` leaves begins with the tree of `oldSize` leaves (2.1.4.2). */
export async function verifyConsistency(
  oldSize: bigint,
  oldRoot: Hash,
  newSize: bigint,
  newRoot: Hash,
  path: Hash[],
): Promise<boolean> {
  if (oldSize > newSize) return false;
  if (oldSize === newSize) return path.length === 0 && equal(oldRoot, newRoot);
  if (oldSize === 0n) return path.length === 0 && equal(oldRoot, await digest(new Uint8Array()));
  let node = oldSize - 1n;
  let last = newSize - 1n;
  while ((node & 1n) === 1n) {
    node >>= 1n;
    last >>= 1n;
  }
  const complete = (oldSize & (oldSize - 1n)) === 0n;
  const start = complete ? oldRoot : path[0];
  if (!start) return false;
  let before = start;
  let after = start;
  for (const hash of complete ? path : path.slice(1)) {
    if (last === 0n) return false;
    if ((node & 1n) === 1n || node === last) {
      before = await nodeHash(hash, before);
      after = await nodeHash(hash, after);
      while (node !== 0n && (node & 1n) === 0n) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      after = await nodeHash(after, hash);
    }
    node >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(before, oldRoot) && equal(after, newRoot);
}

/** All that appending to a tree needs: one hash for each bit that is set in its size, largest subtree first. */
export class Peaks {
  constructor(
    public size: bigint = 0n,
    readonly hashes: Hash[] = [],
  ) {}

  async append(leaf: Hash): Promise<void> {
    let hash = leaf;
    for (let rest = this.size; (rest & 1n) === 1n; rest >>= 1n) {
      const left = this.hashes.pop();
      if (left) hash = await nodeHash(left, hash);
    }
    this.hashes.push(hash);
    this.size += 1n;
  }

  async root(): Promise<Hash> {
    let root = this.hashes.at(-1);
    if (!root) return digest(new Uint8Array());
    for (let place = this.hashes.length - 2; place >= 0; place -= 1) {
      root = await nodeHash(this.hashes[place] as Hash, root);
    }
    return root;
  }
}
