// What the visitor sees of a result: the picture, the overlay, the legend, the label, the time.

const element = (id) => document.getElementById(id);

// A larger picture would only cost time: no screen shows more of it.
const LONGEST_SIDE = 2048;
const SHARE_STEPS = 1000;

let shown;
let place;

/** Shows a source (bitmap or video) of `photograph`'s size with its result. */
export function show(source, photograph, result, classes) {
  drawPhotograph(source, photograph);
  drawOverlay(result, classes.colors);
  drawLegend(result.classIds, classes);
  shown = { result, classes };
  element('hint').hidden = true;
  element('result').hidden = false;
  if (place) {
    pointAt(...place);
  }
}

export function showTime(milliseconds, total) {
  element('time').textContent = `Network ${rounded(milliseconds)} ms, with decoding and drawing ${rounded(total)} ms`;
}

function rounded(milliseconds) {
  return milliseconds < 100 ? milliseconds.toFixed(1) : milliseconds.toFixed(0);
}

function drawPhotograph(source, { width, height }) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const canvas = element('photograph');
  resize(canvas, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  // As large as the window allows, small photographs too.
  const stage = element('stage');
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.setProperty('--widest', `${(70 * width) / height}vh`);
}

function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
}

function drawOverlay({ classIds, width, height }, colors) {
  const canvas = element('overlay');
  resize(canvas, width, height);
  // Four bytes of a colour at once, in whichever order this machine has them.
  const packed = new Uint32Array(Uint8Array.from(colors.flatMap((color) => [...color, 255])).buffer);
  const image = new ImageData(width, height);
  new Uint32Array(image.data.buffer).set(classIds.map((id) => packed[id]));
  canvas.getContext('2d').putImageData(image, 0, 0);
}

function drawLegend(classIds, { names, colors }) {
  const counts = new Array(names.length).fill(0);
  for (const id of classIds) {
    counts[id] += 1;
  }
  const present = [...counts.keys()].filter((id) => counts[id]).sort((one, other) => counts[other] - counts[one]);
  const steps = shares(present.map((id) => counts[id]));
  element('legend').replaceChildren(
    ...present.map((id, position) => {
      const item = document.createElement('li');
      const percent = (steps[position] * 100) / SHARE_STEPS;
      item.append(swatch(colors[id]), text('name', names[id]), text('share', `${percent.toFixed(1)} %`));
      return item;
    }),
  );
}

// Whole thousandths that add up: what rounding down leaves goes to the largest remainders.
function shares(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const exact = counts.map((count) => (count * SHARE_STEPS) / total);
  const steps = exact.map(Math.floor);
  const left = SHARE_STEPS - steps.reduce((sum, step) => sum + step, 0);
  const byRemainder = exact.map((value, index) => [value - steps[index], index]).sort(([one], [other]) => other - one);
  for (const [, index] of byRemainder.slice(0, left)) {
    steps[index] += 1;
  }
  return steps;
}

function swatch(color) {
  const canvas = document.createElement('canvas');
  canvas.width = 1;
  canvas.height = 1;
  canvas.setAttribute('aria-hidden', 'true');
  const context = canvas.getContext('2d');
  context.fillStyle = `rgb(${color.join(' ')})`;
  context.fillRect(0, 0, 1, 1);
  return canvas;
}

function text(name, content) {
  const span = document.createElement('span');
  span.className = name;
  span.textContent = content;
  return span;
}

/** Points at a place of the picture, given as fractions of its sides: its class and that class' probability. */
export function pointAt(across, down) {
  place = [across, down];
  const { result, classes } = shown;
  const x = Math.min(result.width - 1, Math.max(0, Math.floor(across * result.width)));
  const y = Math.min(result.height - 1, Math.max(0, Math.floor(down * result.height)));
  const pixel = y * result.width + x;
  const label = element('label');
  label.textContent = `${classes.names[result.classIds[pixel]]} ${(100 * result.probabilities[pixel]).toFixed(1)} %`;
  for (const [part, properties] of [
    [element('marker'), { left: `${100 * across}%`, top: `${100 * down}%` }],
    [label, beside(across, down)],
  ]) {
    Object.assign(part.style, properties);
    part.hidden = false;
  }
}

// On the side that has more room, and clear of the pointer.
function beside(across, down) {
  const gap = '14px';
  const horizontal = { left: 'auto', right: 'auto' };
  const vertical = { top: 'auto', bottom: 'auto' };
  horizontal[across < 0.5 ? 'left' : 'right'] = `calc(${100 * Math.min(across, 1 - across)}% + ${gap})`;
  vertical[down < 0.5 ? 'top' : 'bottom'] = `calc(${100 * Math.min(down, 1 - down)}% + ${gap})`;
  return { ...horizontal, ...vertical };
}

export function pointNowhere() {
  place = undefined;
  element('marker').hidden = true;
  element('label').hidden = true;
}
