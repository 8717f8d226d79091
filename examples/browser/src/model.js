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
      await model.#start();
      const signature = await model.#read(bytes, file);
      requireExport(signature, file);
      [, model.height, model.width] = signature.inputs[0].shape;
      model.threads = signature.threads;
      model.file = file;
      const { shape } = signature.outputs.find(({ name }) => name === 'probabilities');
      model.classes = readClasses(bytes, shape[3], file);
      return model;
    } catch (error) {
      model.close();
      throw error;
    }
  }

  async #start() {
    const wasm = new URL('wasm/', document.baseURI).href;
    try {
      const runtime = self.crossOriginIsolated ? await fetched(`${wasm}litert_wasm_threaded_internal.js`) : undefined;
      this.#worker = new Worker(WORKER);
      await this.#ask({ task: 'start', wasm, runtime });
    } catch (error) {
      throw new PageError(
        `LiteRT.js does not start: copy the whole of dist/ to the server, with ${wasm}, or take a newer browser ` +
          `(${error.message})`,
      );
    }
  }

  async #read(bytes, file) {
    try {
      return await this.#ask({ task: 'load', bytes });
    } catch (error) {
      throw new PageError(
        `${file} cannot be run: it is damaged, or no export of keras-cacnet. Copy it anew, or write it by ` +
          `${EXPORT} (LiteRT.js: ${error.message})`,
      );
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
  const response = await fetch(address);
  if (!response.ok) {
    throw new Error(`${address}: ${response.status}`);
  }
  return response.blob();
}

function requireExport({ inputs, outputs }, file) {
  const all = [...inputs, ...outputs];
  const has = (name, dtype, rank) =>
    all.some((tensor) => tensor.name === name && tensor.dtype === dtype && tensor.shape.length === rank);
  const ours = inputs.length === 1 && has('images', 'uint8', 4) && has('class_ids', 'int32', 3);
  const listed = all.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join(', ')}]`).join(', ');
  if (!ours || !has('probabilities', 'float32', 4)) {
    throw new PageError(
      `${file} is no export of keras-cacnet: it has ${listed || 'no signature serving_default'}, and this page runs ` +
        `images uint8 [1, H, W, 3] to class_ids and probabilities. Write one by ${EXPORT}`,
    );
  }
  if (inputs[0].shape.some((side) => side < 1)) {
    throw new PageError(
      `${file} takes images of any size, and LiteRT.js runs files of one size only: export it with --size 512x512.`,
    );
  }
}
