// The page's own checks against those of the program: the same files, the same findings, word for word; and whatever is
// altered is refused.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Unreadable } from './cbor';
import { kilo } from './leaf';
import { type Earlier, NOTHING_KNOWN, type Trust, readFingerprint } from './origin';
import { moment } from './report';
import { readCertificates, verify } from './verify';

const FILES = new URL('../../../crates/seal/tests/files/', import.meta.url);
const file = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, FILES)));
const trust = (more: Partial<Trust>): Trust => ({ ...NOTHING_KNOWN, ...more });

const root = trust({ authorities: readCertificates(file('maker-root.pem')) });

async function earlier(name: string): Promise<Earlier> {
  const found = (await verify(file(name))).earlier;
  if (!found) throw new Error(`${name} does not hold`);
  return found;
}

async function known(name: string): Promise<Trust> {
  if (name === '-') return NOTHING_KNOWN;
  if (name === 'root') return root;
  if (name === 'other-root') return trust({ authorities: readCertificates(file('other-maker-root.pem')) });
  return trust({ earlier: await earlier(name) });
}

async function findings(bytes: Uint8Array, with_: Trust): Promise<string[]> {
  try {
    const { report } = await verify(bytes, with_);
    return report.findings.map(({ outcome, code, text }) => [outcome, code, text].join('\t'));
  } catch (error) {
    if (error instanceof Unreadable) return ['unreadable\t-\t-'];
    throw error;
  }
}

describe('the program and the page', () => {
  const expected = new Map<string, string[]>();
  for (const line of new TextDecoder().decode(file('findings.tsv')).trimEnd().split('\n')) {
    const [name, altered, knows, ...finding] = line.split('\t');
    const key = [name, altered, knows].join('\t');
    expected.set(key, [...(expected.get(key) ?? []), finding.join('\t')]);
  }

  it('find the same in whole and in altered files', async () => {
    expect(expected.size).toBeGreaterThan(120);
    for (const [key, wanted] of expected) {
      const [name, altered, knows] = key.split('\t') as [string, string, string];
      const bytes = file(name);
      if (altered !== '-') {
        const [place, bits] = altered.split('^').map(Number) as [number, number];
        bytes[place] = (bytes[place] as number) ^ bits;
      }
      expect(await findings(bytes, await known(knows)), key).toEqual(wanted);
    }
  }, 60_000);
});

describe('a file', () => {
  it('holds no longer when any of its bytes is altered', async () => {
    for (const name of ['statement.cbor', 'log-before.cbor']) {
      const whole = file(name);
      for (let place = 0; place < whole.length; place += 23) {
        const altered = whole.slice();
        altered[place] = (altered[place] as number) ^ (1 << (place % 8));
        const held = await verify(altered, root).then(
          ({ report }) => report.holds,
          (error: unknown) => {
            if (error instanceof Unreadable) return false;
            throw error;
          },
        );
        expect(held, `byte ${place} of ${name}`).toBe(false);
      }
    }
  }, 120_000);

  it('holds no longer when it is cut anywhere', async () => {
    for (const name of ['statement.cbor', 'log-before.cbor']) {
      const whole = file(name);
      for (let end = 0; end < whole.length; end += 97) {
        const held = await verify(whole.subarray(0, end)).then(
          ({ report }) => report.holds,
          (error: unknown) => (error instanceof Unreadable ? false : Promise.reject(error)),
        );
        expect(held, `${name} cut at ${end}`).toBe(false);
      }
    }
  }, 60_000);

  it('of random bytes is refused and breaks nothing', async () => {
    let seed = 1;
    const random = () => (seed = (seed * 48_271) % 2_147_483_647);
    for (let round = 0; round < 2000; round += 1) {
      const bytes = Uint8Array.from({ length: random() % 200 }, () => random() % 256);
      await expect(verify(bytes)).rejects.toBeInstanceOf(Unreadable);
    }
  });
});

describe('a statement', () => {
  it('gives its quantities only when it holds', async () => {
    const whole = await verify(file('statement.cbor'));
    expect(whole.quantities[0]).toMatchObject({ obis: '1-0:1.8.0*255', opening: 15_000_000n, value: 30_000_000n });
    expect(whole.quantities.map(({ obis }) => obis).length).toBe(22);
    expect(whole.readings.length).toBe(3);
    const other = await verify(file('statement.cbor'), trust({ authorities: readCertificates(file('other-maker-root.pem')) }));
    expect(other.quantities).toEqual([]);
    expect(other.earlier).toBeNull();
  });

  it('is compared with the fingerprint that a person reads from the meter', async () => {
    const { report } = await verify(file('statement.cbor'));
    const printed = report.fingerprint as string;
    expect(printed).toMatch(/^([0-9a-f]{4}-){7}[0-9a-f]{4}$/);
    const right = await verify(file('statement.cbor'), trust({ fingerprint: readFingerprint(printed.toUpperCase()) }));
    expect(right.report.holds).toBe(true);
    const wrong = await verify(file('statement-other-meter.cbor'), trust({ fingerprint: readFingerprint(printed) }));
    expect(wrong.report.of('broken').map(({ code }) => code)).toEqual(['fingerprint']);
    for (const text of ['', '12', `${printed}0`, 'x'.repeat(32)]) expect(readFingerprint(text)).toBeNull();
  });
});

describe('numbers and times', () => {
  it('are shown to the last digit', () => {
    expect(kilo(0n)).toBe('0.000000');
    expect(kilo(18_446_744_073_709_551_615n)).toBe('18446744073709.551615');
    expect(moment(1_795_373_820_250n)).toBe('2026-11-22T18:57:00.250Z');
    expect(moment(0n)).toBe('1970-01-01T00:00:00Z');
  });
});
