// A model in its worker: load, check that it is an export of this library, run.

import { readClasses } from './classes.js';
import { PageError } from './errors.js';

const EXPORT = 'keras-cacnet export RUN --format tflite --size 512x512 --output cacnet.tflite';

// A worker from a blob inherits the page's Content-Security-Policy, one from a file does not.
const SCRIPT = `importScripts(${JSON.stringify(new URL('worker.js', document.baseURI).href)})`;
const WORKER = URL.createObjectURL(new Blob([SCRIPT], { type: 'text/javascript' }));

export class Model {
  #worker;

  /** Loads the bytes of a file; the name is for messages. Throws a PageError where the file cannot be run. */
  static async load(bytes, file) {
    if (!isTflite(bytes)) {
      throw new PageError(`${file} is no TFLite file: choose one that this command wrote: ${EXPORT}`);
    }
    const model = new Model();
    try {
      const wasm = new URL('wasm/', document.baseURI).href;
      const threaded = new URL('litert_wasm_threaded_internal.js', wasm);
      const runtime = self.crossOriginIsolated ? await fetched(threaded) : undefined;
      model.#worker = new Worker(WORKER);
      let signature;
      try {
        signature = await model.#ask({ task: 'load', bytes, wasm, runtime });
      } catch (error) {
        throw new PageError(
          `${file} cannot be run: it is damaged, or no export of keras-cacnet. Copy it anew, or write it by ` +
            `${EXPORT} (LiteRT.js: ${error.message})`,
        );
      }
      requireExport(signature, file);
      [, model.height, model.width] = signature.inputs[0].shape;
      model.threads = signature.threads;
      model.file = file;
      model.classes = readClasses(bytes, output(signature, 'probabilities').shape[3], file);
      return model;
    } catch (error) {
      model.close();
      throw error;
    }
  }

  /** Takes RGB of the model's size; gives {classIds, probabilities, milliseconds}, a value a pixel. */
  async run(images) {
    try {
      const shape = [1, this.height, this.width, 3];
      return await this.#ask({ task: 'run', images, shape }, [images.buffer]);
    } catch (error) {
      throw new PageError(
        `${this.file} failed on this image: reload the page, or export it with a smaller --size (LiteRT.js: ` +
          `${error.message})`,
      );
    }
  }

  close() {
    this.#worker?.terminate();
  }

  // One question at a time: the page asks again after the answer.
  #ask(question, transfer = []) {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data: { answer, failure } }) => {
        if (failure === undefined) {
          resolve(answer);
        } else {
          reject(new Error(failure));
        }
      };
      this.#worker.onerror = (event) => reject(new Error(event.message ?? 'its worker did not start'));
      this.#worker.postMessage(question, transfer);
    });
  }
}

export function isTflite(bytes) {
  return String.fromCharCode(...bytes.subarray(4, 8)) === 'TFL3';
}

async function fetched(address) {
  const response = await fetch(address).catch(() => ({ ok: false }));
  if (!response.ok) {
    throw new PageError(`${address.href} could not be read: copy the whole of dist/ to the server.`);
  }
  return response.blob();
}

function output(signature, name) {
  return signature.outputs.find((tensor) => tensor.name === name);
}

function requireExport(signature, file) {
  const { inputs, outputs } = signature;
  const [images] = inputs;
  const kinds = [...inputs, ...outputs].map(({ name, dtype, shape }) => `${name} ${dtype} [${shape}]`).sort();
  const ours = /^class_ids int32 \[1,H,W\], images uint8 \[1,H,W,3\], probabilities float32 \[1,H,W,\d+\]$/;
  const size = images ? `[1,${images.shape[1]},${images.shape[2]}` : '';
  if (!ours.test(kinds.join(', ').replaceAll(size, '[1,H,W'))) {
    throw new PageError(
      `${file} is no export of keras-cacnet: it has ${kinds.join(', ') || 'no signature serving_default'}, and this ` +
        `page runs images uint8 [1,H,W,3] to class_ids and probabilities. Write one by ${EXPORT}`,
    );
  }
  if (images.shape.some((side) => side < 1)) {
    throw new PageError(
      `${file} takes images of any size, and LiteRT.js runs files of one size only: export it with --size 512x512.`,
    );
  }
}
