// A real `meterseal up` on free ports and a browser on its page.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const BINARY = process.env.METERSEAL_BIN ?? '../../target/debug/meterseal';

/** Starts the program; gives its one-time link and a way to end it. */
export async function up(...options) {
  const folder = await mkdtemp(join(tmpdir(), 'meterseal-e2e-'));
  const arguments_ = ['up', '--data', join(folder, 'data'), '--listen', '127.0.0.1:0', '--gateway', '127.0.0.1:0', ...options];
  const child = spawn(BINARY, arguments_, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal ?? code)));
  const link = await new Promise((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
      const found = /http:\/\/127\.0\.0\.1:\d+\/open\?token=\S+/.exec(said);
      if (found) resolve(found[0]);
    });
    child.on('error', reject);
    ended.then((code) => reject(new Error(`meterseal ended with ${code} before it printed a link: ${said}`)));
  });
  return {
    link,
    /** Ctrl-C; gives the exit code. */
    async stop() {
      child.kill('SIGINT');
      const code = await ended;
      await rm(folder, { recursive: true, force: true });
      return code;
    },
  };
}

/** Debian's Chromium, or the one that CHROMIUM names. */
export function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
}

/** In the page: presses a button and gives the milliseconds until a new event of the meter stands in the list, or,
    with `place` "alarm-banner", until its alarm is in the banner. */
export function pressAndWait(page, meter, kind, place = 'event-row') {
  return page.evaluate(
    ({ meter, kind, place }) =>
      new Promise((resolve, reject) => {
        const rows = () => new Set([...document.querySelectorAll(`[data-testid="${place}"]`)].map((row) => row.dataset.event));
        const before = rows();
        const began = performance.now();
        const watch = new MutationObserver(() => {
          if ([...rows()].some((row) => !before.has(row) && row.startsWith(meter))) done(performance.now() - began);
        });
        const limit = setTimeout(() => done(null), 10_000);
        const done = (taken) => {
          clearTimeout(limit);
          watch.disconnect();
          taken === null ? reject(new Error(`no event of ${meter} within 10 s of ${kind}`)) : resolve(taken);
        };
        watch.observe(document.body, { childList: true, subtree: true, attributes: true });
        document.querySelector(`[data-testid="stimulus-${meter}-${kind}"]`).click();
      }),
    { meter, kind, place },
  );
}
