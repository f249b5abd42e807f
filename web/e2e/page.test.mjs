// The page of a running `meterseal up`, as a person meets it (issue 2, items 3 and 4; CPA-TAMP: alarmed at once).

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mkdir } from 'node:fs/promises';
import { browser, pressAndWait, up } from './harness.mjs';

const METERS = ['MSL0000000001', 'MSL0000000002', 'MSL0000000003'];
const FACTORY = METERS[0];
const SHOTS = process.env.SHOTS;

let program;
let chromium;
let context;
let page;
const complaints = [];

before(async () => {
  program = await up();
  chromium = await browser();
  context = await chromium.newContext({ viewport: { width: 1280, height: 900 } });
  page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(program.link);
});

after(async () => {
  await chromium?.close();
  assert.equal(await program?.stop(), 0, 'Ctrl-C ends the program cleanly');
});

/** The number shown; what follows it is for screen readers. */
const openAlarms = async () => Number.parseInt(await text('alarm-count'), 10) || 0;
const text = (id) => page.getByTestId(id).innerText();

test('three meters are live and their numbers move', async () => {
  for (const meter of METERS) {
    await page.getByTestId(`meter-${meter}`).waitFor({ timeout: 5000 });
    await page.getByTestId(`power-${meter}`).waitFor({ timeout: 5000 });
  }
  const numbers = () => Promise.all(METERS.flatMap((meter) => [text(`power-${meter}`), text(`v-${meter}-L1`), text(`import-${meter}`)]));
  const first = await numbers();
  await page.waitForTimeout(3000);
  const later = await numbers();
  for (const [k, meter] of METERS.entries()) {
    assert.notDeepEqual(later.slice(3 * k, 3 * k + 2), first.slice(3 * k, 3 * k + 2), `${meter} stands still`);
  }
  assert.notEqual(later[2], first[2], 'the factory consumes');
  assert.equal(await page.locator('canvas').count(), 3, 'a chart each');
});

test('a development mark is visibly untested', async () => {
  const mark = page.getByTestId(`meter-${FACTORY}`).getByTestId('mark');
  assert.match(await mark.innerText(), /development.*untested/i);
  assert.equal(await mark.getAttribute('data-scope'), 'development');
});

test('the button raises the alarm within a second, without a reload', async () => {
  let loads = 0;
  page.on('load', () => (loads += 1));
  const taken = await pressAndWait(page, FACTORY, 'open_cover', 'alarm-banner');
  console.log(`button to alarm: ${taken.toFixed(0)} ms`);
  assert.ok(taken < 1000, `${taken} ms`);
  assert.match(await text('alarm-banner'), /cover was opened/);
  for (const kind of ['bring_magnet', 'voltage_spike']) await pressAndWait(page, METERS[1], kind);
  const told = (await page.getByTestId('event-row').allInnerTexts()).join('\n');
  for (const what of [/cover was opened/, /strong magnetic field/, /voltage spike/]) assert.match(told, what);
  assert.equal(loads, 0);
});

test('an acknowledged alarm stays acknowledged after a reload', async () => {
  for (let tries = 0; tries < 250 && (await openAlarms()) < 3; tries += 1) await page.waitForTimeout(20);
  const open = await openAlarms();
  assert.equal(open, 3);
  await page.locator('[data-testid^="acknowledge-"]').first().click();
  for (let tries = 0; tries < 250 && (await openAlarms()) === open; tries += 1) await page.waitForTimeout(20);
  assert.equal(await openAlarms(), open - 1);
  await page.reload();
  await page.getByTestId(`power-${FACTORY}`).waitFor();
  await page.getByTestId('alarm-banner').waitFor();
  assert.equal(await openAlarms(), open - 1);
});

test('a storm is one line; it is acknowledged with a name and a comment, ends by itself, and its history tells so', async () => {
  const alarms = page.getByTestId('alarms');
  for (const meter of [METERS[1], METERS[2]]) await pressAndWait(page, meter, 'open_cover');
  const group = alarms.locator('[data-testid="alarm-group"][data-cause="meter_cover_removed"]');
  // Each alarm of the storm arrives on its own.
  await group.filter({ hasText: /3\s+meters/ }).waitFor();
  assert.match(await group.innerText(), /3\s+meters:\s+The meter's cover was opened/);
  await group.getByRole('button', { name: /each/ }).click();
  await group.getByTestId('alarm-row').nth(2).waitFor();
  await page.getByTestId('acknowledge-group-meter_cover_removed').last().click();
  await page.getByLabel('Your name').fill('Ann');
  await page.getByTestId('comment-group-meter_cover_removed').fill('the fitters are there');
  await page.keyboard.press('Enter');
  for (const meter of METERS) await pressAndWait(page, meter, 'close_cover');
  await group.waitFor({ state: 'detached' });
  await page.getByTestId('alarm-history').check();
  const past = alarms.locator(`[data-testid="alarm-row"][data-meter="${METERS[2]}"][data-cause="meter_cover_removed"]`);
  await past.waitFor();
  assert.match(await past.innerText(), /over since .*acknowledged by Ann: “the fitters are there”/s);
  await past.getByRole('button', { name: 'History' }).click();
  await past.getByText('Acknowledged by Ann', { exact: true }).waitFor();
  assert.match(await past.innerText(), /Raised.*Acknowledged by Ann.*Over/s);
  await page.getByTestId('alarm-history').uncheck();
});

test('readable at 1280 and at 390 pixels, light and dark, without scrolling sideways', async () => {
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(300);
      const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
      assert.ok(needed <= given, `${needed} pixels needed at ${width}`);
      if (SHOTS) {
        await mkdir(SHOTS, { recursive: true });
        await page.screenshot({ path: `${SHOTS}/${width}-${colorScheme}.png`, fullPage: width === 390 });
      }
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
});

test('there is no page without the link, and the link works once', async () => {
  const stranger = await chromium.newContext();
  const visit = await stranger.newPage();
  const home = await visit.goto(new URL('/', program.link).href);
  assert.equal(home.status(), 401);
  assert.match(await visit.innerText('body'), /link/i);
  assert.equal((await visit.goto(program.link)).status(), 401);
  assert.equal((await stranger.request.get(new URL('/api/v1/meters', program.link).href)).status(), 401);
  await stranger.close();
});

test('the browser has nothing to complain about', () => {
  assert.deepEqual(complaints, []);
});
