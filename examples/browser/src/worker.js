// Runs one model. Every model has a worker of its own, so that one that fails takes nothing along.

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from '@litertjs/core';

let liteRt;
let signature;

async function start({ wasm, runtime }) {
  // Without relaxed SIMD there is no build with threads; without the server's two headers there is no shared memory.
  const threads = self.crossOriginIsolated && (await supportsFeature('relaxedSimd'));
  // This worker started from a blob, so LiteRT cannot tell where its files lie from the worker's address. Its threads
  // start from a blob too: they inherit the page's Content-Security-Policy.
  self.Module = { locateFile: (name) => wasm + name, mainScriptUrlOrBlob: threads ? runtime : undefined };
  liteRt = await loadLiteRt(wasm, { threads });
}

async function load({ bytes }) {
  const model = await loadAndCompile(bytes, { accelerator: 'wasm' });
  signature = model.signatures.serving_default;
  return {
    inputs: signature ? described(signature.getInputDetails()) : [],
    outputs: signature ? described(signature.getOutputDetails()) : [],
    threads: liteRt.liteRtWasm.getThreadCount(),
  };
}

function described(details) {
  return details.map(({ name, dtype, shape }) => ({ name, dtype, shape: [...shape] }));
}

async function run({ images, shape }) {
  const started = performance.now();
  const input = new Tensor(images, shape);
  let outputs;
  try {
    outputs = await signature.run({ images: input });
  } finally {
    input.delete();
  }
  const classIds = outputs.class_ids.toTypedArray();
  const all = outputs.probabilities.toTypedArray();
  for (const output of Object.values(outputs)) {
    output.delete();
  }
  const milliseconds = performance.now() - started;
  // Of all classes' probabilities the page shows one a pixel, and copies no more.
  const classes = all.length / classIds.length;
  const probabilities = new Float32Array(classIds.length);
  for (let pixel = 0; pixel < classIds.length; pixel++) {
    probabilities[pixel] = all[pixel * classes + classIds[pixel]];
  }
  return { classIds, probabilities, milliseconds };
}

const TASKS = { start, load, run };

self.onmessage = async ({ data: { task, ...values } }) => {
  try {
    self.postMessage({ answer: await TASKS[task](values) });
  } catch (error) {
    self.postMessage({ failure: error?.message ?? String(error) });
  }
};
