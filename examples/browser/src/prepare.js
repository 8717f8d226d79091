// From a photograph to what the model takes: RGB bytes of its size.

import { PageError } from './errors.js';

const MEGAPIXELS = 100;

/** Decodes a file as it is: turned by its EXIF orientation, without colour management. */
export async function decode(file) {
  const { name } = file;
  const { width, height } = await measured(file, name);
  if (width * height > MEGAPIXELS * 1e6) {
    throw new PageError(
      `${name} has ${width} x ${height} pixels, and this page takes up to ${MEGAPIXELS} million: make it smaller.`,
    );
  }
  try {
    return await createImageBitmap(file, {
      imageOrientation: 'from-image',
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
    });
  } catch {
    throw new PageError(
      `${name} cannot be decoded, it is damaged or cut off: copy it anew, or save it again as JPEG or PNG.`,
    );
  }
}

// An <img> reads the header and does not decode yet, so that a huge image is refused before it takes the memory.
async function measured(file, name) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
    });
  } catch {
    throw new PageError(`${name} is no image that this browser reads: choose a JPEG, PNG or WebP file.`);
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return { width: image.naturalWidth, height: image.naturalHeight };
}

/** The part of the model's image that a photograph fills: the largest of its own aspect ratio. */
export function region(photograph, model) {
  const scale = Math.min(model.width / photograph.width, model.height / photograph.height);
  const side = (length, limit) => Math.min(limit, Math.max(1, Math.round(length * scale)));
  return { width: side(photograph.width, model.width), height: side(photograph.height, model.height) };
}

/**
 * Draws a source (bitmap or video) of `photograph`'s size into the upper left corner of an image of the model's size
 * and repeats its last column and row over the rest, as the library pads. Transparent parts become white.
 */
export function pixels(source, photograph, model) {
  const filled = region(photograph, model);
  const canvas = new OffscreenCanvas(filled.width, filled.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = 'white';
  context.fillRect(0, 0, filled.width, filled.height);
  context.imageSmoothingEnabled = filled.width !== photograph.width || filled.height !== photograph.height;
  // Chromium's "high" shrinks the same and enlarges sharper; "medium" is next to the bilinear resizing of the library.
  context.imageSmoothingQuality = 'medium';
  context.drawImage(source, 0, 0, filled.width, filled.height);
  const rgba = context.getImageData(0, 0, filled.width, filled.height).data;
  const rgb = new Uint8Array(model.width * model.height * 3);
  let to = 0;
  for (let y = 0; y < model.height; y++) {
    const row = Math.min(y, filled.height - 1) * filled.width;
    for (let x = 0; x < model.width; x++) {
      const from = (row + Math.min(x, filled.width - 1)) * 4;
      rgb[to++] = rgba[from];
      rgb[to++] = rgba[from + 1];
      rgb[to++] = rgba[from + 2];
    }
  }
  return { rgb, filled };
}

/** Cuts what the model gave for its whole image back to the photograph's part. */
export function cut(values, filled, model) {
  const kept = new values.constructor(filled.width * filled.height);
  for (let y = 0; y < filled.height; y++) {
    const start = y * model.width;
    kept.set(values.subarray(start, start + filled.width), y * filled.width);
  }
  return kept;
}
