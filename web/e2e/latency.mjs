// Button to alarm on the page, many times: `METERSEAL_BIN=… PRESSES=100 node latency.mjs` (part of `cargo xtask bench chain`).

import { browser, pressAndWait, up } from './harness.mjs';

const presses = Number(process.env.PRESSES ?? 40);
const meter = 'MSL0000000001';
const program = await up();
const chromium = await browser();
try {
  const page = await (await chromium.newContext()).newPage();
  await page.goto(program.link);
  await page.getByTestId(`power-${meter}`).waitFor();
  const taken = [];
  for (let k = 0; k < presses; k += 1) {
    taken.push(await pressAndWait(page, meter, 'open_cover', 'alarm-banner'));
    await pressAndWait(page, meter, 'close_cover');
    // Not in step with the once-a-second readings.
    await page.waitForTimeout(100 + 37 * (k % 10));
  }
  taken.sort((a, b) => a - b);
  const at = (share) => taken[Math.min(taken.length - 1, Math.ceil(share * taken.length) - 1)].toFixed(0);
  console.log(`| button to alarm on the page, ${presses} presses | p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${at(1)} ms |`);
} finally {
  await chromium.close();
  await program.stop();
}
