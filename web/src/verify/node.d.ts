// The little of Node that the tests use, so that its types need not be a dependency.

declare module 'node:fs' {
  export function readFileSync(path: URL): Uint8Array;
}
