// Marks: the program's findings and the page's are the same, word for word, in whole and in altered marks.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Unreadable } from './cbor';
import { type KnownOfMarks, NOTHING_KNOWN_OF_MARKS, readCode, readKeys } from './mark';
import { NOTHING_KNOWN } from './origin';
import { readCertificates, verify } from './verify';

const FILES = new URL('../../../crates/seal/tests/files/', import.meta.url);
const file = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, FILES)));
const text = (name: string): string => new TextDecoder().decode(file(name));
const START = 1_790_812_800_000n;
const DAY = 86_400_000n;

async function known(words: string): Promise<KnownOfMarks> {
  const known: KnownOfMarks = { ...NOTHING_KNOWN_OF_MARKS, now: START + DAY };
  const certified = async (name: string) => (await readKeys([], readCertificates(file(name)))).certified;
  for (const word of words.split('+')) {
    if (word === 'key') known.keys = (await readKeys([text('certification.pub.pem')], [])).keys;
    else if (word === 'other-key') known.keys = [];
    else if (word === 'cert') known.certified = await certified('certification.pem');
    else if (word === 'expired') known.certified = await certified('certification-expired.pem');
    else if (word === 'revoked') known.revocations = [file('marks-revoked.cbor')];
    else if (word === 'others') known.revocations = [file('marks-revoked-others.cbor')];
    else if (word === 'results') known.results = file('mark-results.cbor');
    else if (word === 'wrong') known.results = new TextEncoder().encode('What was found');
    else if (word === 'early') known.now = START - 1n;
    else if (word === 'due') known.now = START + 300n * DAY;
    else if (word === 'late') known.now = START + 365n * DAY;
    else throw new Error(word);
  }
  return known;
}

async function findings(bytes: Uint8Array, mark: KnownOfMarks): Promise<string[]> {
  try {
    const { report } = await verify(bytes, { ...NOTHING_KNOWN, mark });
    return report.findings.map(({ outcome, code, text }) => [outcome, code, text].join('\t'));
  } catch (error) {
    if (error instanceof Unreadable) return ['unreadable\t-\t-'];
    throw error;
  }
}

describe('the program and the page', () => {
  it('say the same of marks', async () => {
    const expected = new Map<string, string[]>();
    for (const line of text('findings-marks.tsv').trimEnd().split('\n')) {
      const [name, altered, knows, ...finding] = line.split('\t');
      const key = [name, altered, knows].join('\t');
      expected.set(key, [...(expected.get(key) ?? []), finding.join('\t')]);
    }
    expect(expected.size).toBeGreaterThan(70);
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

describe('a mark', () => {
  it('holds no longer when any of its bytes is altered', async () => {
    const whole = file('mark.cbor');
    const key = await known('key');
    for (let place = 0; place < whole.length; place += 1) {
      const altered = whole.slice();
      altered[place] = (altered[place] as number) ^ (1 << (place % 8));
      const found = await findings(altered, key);
      expect(found.some((one) => /^(broken|unreadable)\t/.test(one)), `byte ${place}`).toBe(true);
    }
  }, 60_000);

  it('needs the certificate of a certification key', async () => {
    const root = readCertificates(file('maker-root.pem'));
    await expect(readKeys([], root)).rejects.toThrow('not that of a certification key');
    const both = await readKeys([], [...readCertificates(file('certification.pem')), ...root]);
    expect(both.certified.map(({ issuer }) => issuer)).toEqual(['Maker 20 root']);
  });
});

describe("a QR code's text", () => {
  it('is base 45 as others write it', () => {
    expect(readCode('MSEAL2:QED8WEX0\n')).toEqual(new TextEncoder().encode('ietf!'));
    expect(readCode('MSEAL2:%69 VD92EX0')).toEqual(new TextEncoder().encode('Hello!!'));
    for (const wrong of ['', 'BB8', 'MSEAL1:BB8', 'MSEAL2:B', 'MSEAL2:GGW', 'MSEAL2:bb8']) expect(readCode(wrong)).toBeNull();
  });
});
