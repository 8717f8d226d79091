// Writes dist/: the page, its scripts and LiteRT's WebAssembly, for any server of files.

import { copyFile, cp, mkdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const output = join(root, 'dist');
// Plain, with threads, and for browsers without relaxed SIMD. LiteRT.js' fourth, for WebNN and WebGPU, is not used.
const RUNTIMES = ['litert_wasm', 'litert_wasm_threaded', 'litert_wasm_compat'];
const PAGE = ['index.html', 'style.css'];
const MODEL = 'cacnet.tflite';

await rm(output, { recursive: true, force: true });
await mkdir(join(output, 'wasm'), { recursive: true });
await build({
  absWorkingDir: root,
  entryPoints: ['src/page.js', 'src/worker.js'],
  outdir: output,
  bundle: true,
  minify: true,
  // Classic scripts: LiteRT.js loads its runtime by importScripts, which module workers lack.
  format: 'iife',
  target: 'es2022',
  logLevel: 'warning',
});
for (const name of PAGE) {
  await copyFile(join(root, name), join(output, name));
}
const wasm = join(root, 'node_modules', '@litertjs', 'core', 'wasm');
for (const runtime of RUNTIMES) {
  for (const suffix of ['js', 'wasm']) {
    const name = `${runtime}_internal.${suffix}`;
    await cp(join(wasm, name), join(output, 'wasm', name));
  }
}
const hasModel = await stat(join(root, MODEL)).then(() => true, () => false);
if (hasModel) {
  await copyFile(join(root, MODEL), join(output, MODEL));
}
console.log(`dist/ is ready, ${hasModel ? 'with' : 'without'} ${MODEL}`);
