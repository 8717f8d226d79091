// The camera, frame after frame: the next one is taken when the last is done, and none waits.

import { PageError } from './errors.js';

const REASONS = {
  NotAllowedError: 'The camera was refused: allow it for this page in the browser and start it again.',
  NotFoundError: 'This machine has no camera that the browser knows: connect one, or choose a photograph.',
  NotReadableError: 'The camera does not start, as when another program uses it: close that, and start it again.',
};

export class Camera {
  #run;

  /** Calls `onFrame(video)` for frame after frame; ends by `stop()`, by a frame that fails, or without a camera. */
  async run(onFrame) {
    const run = {};
    this.#run = run;
    const stream = await opened();
    const video = document.createElement('video');
    try {
      video.muted = true;
      video.playsInline = true;
      video.srcObject = stream;
      await video.play();
      while (this.#run === run && stream.active) {
        await onFrame(video);
        // Browsers call back in visible tabs alone, so a hidden one costs nothing.
        await new Promise(requestAnimationFrame);
      }
    } finally {
      stream.getTracks().forEach((track) => track.stop());
    }
  }

  /** Also while the visitor is still asked for permission. */
  stop() {
    this.#run = undefined;
  }
}

async function opened() {
  if (!navigator.mediaDevices) {
    throw new PageError('Browsers give the camera to pages from https:// or localhost only: serve this page so.');
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' }, audio: false });
  } catch (error) {
    throw new PageError(REASONS[error.name] ?? `The camera does not start (${error}): choose a photograph.`);
  }
}
