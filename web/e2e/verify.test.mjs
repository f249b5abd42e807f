// The verifier of bills as a bill payer meets it (issue 5, item 5): from a saved file with the network off, and from a
// head-end without signing in. Whole files, altered ones, and nothing that ever leaves the page.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { browser, up } from './harness.mjs';

const FILES = fileURLToPath(new URL('../../crates/seal/tests/files/', import.meta.url));
const SAVED = pathToFileURL(fileURLToPath(new URL('../dist/verify.html', import.meta.url))).href;
const SHOTS = process.env.SHOTS;

let chromium;
let context;
let page;
let complaints;
let requests;

before(async () => {
  chromium = await browser();
});

after(async () => {
  await chromium?.close();
});

async function open(address, offline) {
  await context?.close();
  context = await chromium.newContext({ viewport: { width: 1100, height: 1000 } });
  await context.setOffline(offline);
  page = await context.newPage();
  [complaints, requests] = [[], []];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  return page.goto(address);
}

const given = async (name, alter = (bytes) => bytes) => ({
  name,
  mimeType: 'application/octet-stream',
  buffer: alter(await readFile(FILES + name)),
});

async function verdict(file, place = 'file') {
  await page.getByTestId(place).setInputFiles(file);
  return settled();
}

async function settled() {
  await page.waitForFunction(() => !document.body.innerText.includes('Checking…') && document.querySelector('[data-testid="verdict"]'));
  return page.getByTestId('verdict').getAttribute('data-verdict');
}

/** Changes one bit of the first place where these bytes stand. */
const digit = (wanted) => (bytes) => {
  const place = bytes.indexOf(Buffer.from(wanted, 'hex'));
  assert.ok(place > 0);
  const altered = Buffer.from(bytes);
  altered[place + wanted.length / 2 - 1] ^= 1;
  return altered;
};

test('a saved page checks a bill with the network off', async () => {
  await open(SAVED, true);
  assert.equal(await verdict(await given('statement.cbor')), 'holds');
  const row = page.getByTestId('quantity-1-0:1.8.0*255');
  assert.match(await row.innerText(), /15\.000000 kWh/);
  assert.match(await page.getByTestId('key').innerText(), /^([0-9a-f]{4}-){7}[0-9a-f]{4}$/);
  assert.match(await page.getByTestId('not-proven').innerText(), /Prices, taxes and amounts of money/);
  assert.match(await page.getByTestId('not-proven').innerText(), /compare .* with the fingerprint that is printed on the meter/);
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/verify.png`, fullPage: true });
  assert.deepEqual(complaints, []);
  assert.deepEqual(requests, [SAVED], 'nothing is asked of anybody');
});

test('a saved page checks a mark, as a file and as the text of its code, with the network off', async () => {
  await open(SAVED, true);
  // Marks have an end; the committed one lasts from October 2026 on for a year.
  await page.clock.setFixedTime(new Date('2026-10-02T00:00:00Z'));
  assert.equal(await verdict(await given('mark.cbor')), 'unreadable');
  assert.match(await page.getByTestId('verdict').innerText(), /does not hold its key/);
  assert.equal(await verdict(await given('certification.pem'), 'certification'), 'holds');
  assert.match(await page.getByTestId('proven').innerText(), /CPA-ACC \(30 of 32\)/);
  assert.match(await page.getByTestId('not-proven').innerText(), /Not tested at all: CPA-WIFI/);
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/verify-mark.png`, fullPage: true });
  assert.equal(await verdict(await given('marks-revoked.cbor'), 'revocations'), 'broken');
  assert.match(await page.getByTestId('broken').innerText(), /the clock drifts/);
  assert.deepEqual(complaints, []);
  assert.deepEqual(requests, [SAVED], 'nothing is asked of anybody');

  await open(SAVED, true);
  await page.clock.setFixedTime(new Date('2026-10-02T00:00:00Z'));
  await page.getByTestId('certification').setInputFiles(await given('certification.pub.pem'));
  await page.getByTestId('code').fill(base45(await readFile(FILES + 'mark.cbor')));
  assert.equal(await settled(), 'holds');
  await page.getByTestId('code').fill(base45(await readFile(FILES + 'mark.cbor')).slice(0, -1));
  await page.getByText('this is not the whole text of such a code').waitFor();
  assert.equal(await page.getByTestId('verdict').count(), 0);
});

function base45(bytes) {
  const letters = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:';
  let text = 'MSEAL2:';
  for (let place = 0; place < bytes.length; place += 2) {
    const two = place + 1 < bytes.length;
    let value = two ? bytes[place] * 256 + bytes[place + 1] : bytes[place];
    for (let digit = 0; digit < (two ? 3 : 2); digit += 1, value = Math.floor(value / 45)) text += letters[value % 45];
  }
  return text;
}

test('a bill with one digit changed does not hold, and shows no quantities', async () => {
  await open(SAVED, true);
  // 30 000 000 mWh, the closing reading's total.
  assert.equal(await verdict(await given('statement.cbor', digit('1a01c9c380'))), 'broken');
  assert.match(await page.getByTestId('verdict').innerText(), /does not hold/);
  assert.equal(await page.locator('[data-code="inclusion"]').count(), 1);
  assert.equal(await page.getByTestId('quantities').count(), 0);
  assert.equal(await page.getByTestId('proven').count(), 0);
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/verify-altered.png`, fullPage: true });
});

test('a log that was edited, cut or is none is refused', async () => {
  await open(SAVED, true);
  assert.equal(await verdict(await given('log.cbor')), 'holds');
  assert.equal(await verdict(await given('log.cbor', digit('1a01c9c380'))), 'broken');
  assert.equal(await page.locator('[data-code="root"]').count(), 1);
  assert.equal(await verdict(await given('log.cbor', (bytes) => bytes.subarray(0, -296))), 'broken');
  assert.equal(await verdict(await given('log.cbor', (bytes) => bytes.subarray(0, -1))), 'unreadable');
  assert.equal(await verdict(await given('maker-root.pem')), 'unreadable');
});

test('what a person knows already is compared', async () => {
  await open(SAVED, true);
  await verdict(await given('statement.cbor'));
  const printed = await page.getByTestId('key').innerText();
  await page.getByTestId('fingerprint').fill(printed.replaceAll('-', ' ').toUpperCase());
  await page.locator('[data-testid="proven"] [data-code="fingerprint"]').waitFor();
  await page.getByTestId('earlier').setInputFiles(await given('statement-before.cbor'));
  await page.locator('[data-testid="proven"] [data-code="continues"]').waitFor();
  await page.getByTestId('maker').setInputFiles(await given('maker-root.pem'));
  await page.locator('[data-testid="proven"] [data-code="authority"]').waitFor();
  assert.equal(await settled(), 'holds');
  // Another meter's statement is whole, but not this meter's.
  await page.getByTestId('file').setInputFiles(await given('statement-other-meter.cbor'));
  await page.locator('[data-testid="broken"] [data-code="fingerprint"]').waitFor();
  assert.equal(await page.locator('[data-testid="broken"] [data-code="other-log"]').count(), 1);
  assert.deepEqual(complaints, []);
});

test('a head-end serves it to anybody, and it can talk to nobody', async () => {
  const program = await up();
  try {
    const address = new URL('/verify', program.link).href;
    const answer = await open(address, false);
    assert.equal(answer.status(), 200);
    const policy = answer.headers()['content-security-policy'];
    assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; img-src data:;/);
    assert.match(policy, /frame-ancestors 'none'$/);
    assert.equal(await verdict(await given('statement.cbor')), 'holds');
    assert.deepEqual(complaints, []);
    assert.deepEqual(requests.filter((url) => url !== address && !url.startsWith('blob:')), []);
    // The policy is not only written there.
    const leaked = await page.evaluate(() => fetch('/').then(() => 'sent', () => 'blocked'));
    assert.equal(leaked, 'blocked');
  } finally {
    assert.equal(await program.stop(), 0);
  }
});
