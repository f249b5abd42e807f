// How the page is built: one script, one style sheet, nothing inline and nothing from elsewhere, so that it
// runs under `default-src 'self'`; and the same bytes wherever it is built, so that CI can compare them.

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** Where `npm run dev` finds a running head-end. */
const headend = process.env['METERSEAL'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: true,
  },
  server: { proxy: { '/api': headend, '/open': headend } },
});
