// Names and colours of the classes, out of the zip archive that an export carries at its end.

import { strFromU8, unzipSync } from 'fflate';

const FILE = 'classes.json';

/** Gives {names, colors} for `count` classes, and as `notice` why they are numbered, where they are. */
export function readClasses(bytes, count, file) {
  let rows;
  try {
    const files = unzipSync(bytes, { filter: ({ name }) => name === FILE });
    rows = files[FILE] && JSON.parse(strFromU8(files[FILE])).classes;
  } catch {
    rows = undefined;
  }
  if (!rows) {
    return numbered(count, `${file} has no names of classes: they are numbered.`);
  }
  if (rows.length !== count) {
    return numbered(count, `${file} names ${rows.length} classes and predicts ${count}: they are numbered.`);
  }
  return { names: rows.map(({ name }) => name), colors: rows.map(({ color }) => color) };
}

function numbered(count, notice) {
  const indices = Array.from({ length: count }, (_, index) => index);
  return { names: indices.map((index) => `class ${index}`), colors: indices.map(color), notice };
}

// Hues a golden angle apart: neighbours differ, and no number of classes has to be known.
function color(index) {
  const hue = (index * 137.508) % 360;
  const lightness = 0.45 + 0.15 * (index % 3);
  const reach = 0.65 * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((offset) => {
    const turn = (offset + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(turn - 3, 9 - turn, 1))));
  });
}
