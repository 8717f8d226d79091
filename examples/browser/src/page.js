// Wires the page: files that are chosen, dropped or pasted, the camera, and one action after the other.

import { Camera } from './camera.js';
import { inWords, PageError } from './errors.js';
import { isTflite, Model } from './model.js';
import { followPointer } from './pointing.js';
import { cut, decode, pixels } from './prepare.js';
import { show, showTime } from './view.js';

const MODEL = 'cacnet.tflite';
const NO_MODEL = 'There is no model yet: choose or drop a .tflite file.';

const element = (id) => document.getElementById(id);
const camera = new Camera();
let model;
let photograph;
let turn = Promise.resolve();

// For tests and the console: name, width and height of the part that the photograph fills, for every pixel of it the
// class and that class' probability, and the milliseconds that the network took.
window.cacnet = { lastResult: undefined };

// Actions run one after the other: a model is not exchanged while it runs.
function inTurn(action) {
  const done = turn.then(action);
  turn = done.catch(() => {});
  return done;
}

// What fails is told, and leaves the page as it was.
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    element('error').textContent = inWords(error);
    element('error').hidden = false;
  } finally {
    describe();
  }
}

function describe() {
  if (!model) {
    element('status').textContent = NO_MODEL;
    return;
  }
  const { height, width, threads, file, classes } = model;
  element('status').textContent =
    `${file}: ${height}x${width} (height x width), ${classes.names.length} classes, ` +
    `CPU, ${threads} thread${threads > 1 ? 's' : ''}. ${classes.notice ?? ''}`;
}

function busy(what) {
  element('status').textContent = what;
}

async function useModel(bytes, file) {
  busy(`Loading ${file} …`);
  const loaded = await Model.load(bytes, file);
  model?.close();
  model = loaded;
  if (photograph) {
    await segment(photograph.bitmap, photograph.bitmap, photograph.name, performance.now());
  }
}

async function usePhotograph(file) {
  requireModel();
  const started = performance.now();
  busy(`Segmenting ${file.name} …`);
  const bitmap = await decode(file);
  await segment(bitmap, bitmap, file.name, started);
  forgetPhotograph();
  photograph = { bitmap, name: file.name };
}

function forgetPhotograph() {
  photograph?.bitmap.close();
  photograph = undefined;
}

function requireModel() {
  if (!model) {
    throw new PageError(NO_MODEL);
  }
}

async function segment(source, size, name, started) {
  const { rgb, filled } = pixels(source, size, model);
  const { classIds, probabilities, milliseconds } = await model.run(rgb);
  const result = {
    name,
    milliseconds,
    ...filled,
    classIds: cut(classIds, filled, model),
    probabilities: cut(probabilities, filled, model),
  };
  show(source, size, result, model.classes);
  showTime(milliseconds, performance.now() - started);
  window.cacnet.lastResult = result;
  element('stage').dataset.photograph = name;
}

async function useFiles(files) {
  element('error').hidden = true;
  if (files.length === 0) {
    await attempt(() => {
      throw new PageError('That is no file: save the image first, and drop or choose the file.');
    });
  }
  for (const file of files) {
    await attempt(() => useFile(file));
  }
}

async function useFile(file) {
  const head = await bytesOf(file, 8);
  if (isTflite(head) || file.name.endsWith('.tflite')) {
    await inTurn(async () => useModel(await bytesOf(file), file.name));
  } else {
    camera.stop();
    await inTurn(() => usePhotograph(file));
  }
}

async function bytesOf(file, count) {
  try {
    return new Uint8Array(await file.slice(0, count).arrayBuffer());
  } catch {
    throw new PageError(`${file.name} cannot be read, as when it is a folder or was moved: choose a file.`);
  }
}

async function useModelBesideThePage() {
  busy(`Loading ${MODEL} …`);
  const response = await fetch(MODEL);
  if (response.ok) {
    await useModel(new Uint8Array(await response.arrayBuffer()), MODEL);
  }
}

async function startCamera() {
  element('error').hidden = true;
  showCamera(true);
  try {
    await inTurn(requireModel);
    forgetPhotograph();
    await camera.run((video) => {
      const size = { width: video.videoWidth, height: video.videoHeight };
      return inTurn(() => segment(video, size, 'camera', performance.now()));
    });
  } finally {
    showCamera(false);
  }
}

function showCamera(running) {
  element('camera').textContent = running ? 'Stop camera' : 'Start camera';
  element('camera').classList.toggle('running', running);
}

function applyOpacity() {
  const { value } = element('opacity');
  element('overlay').style.opacity = value / 100;
  element('opacity-value').textContent = `${value} %`;
}

function listen() {
  for (const id of ['photograph-file', 'model-file']) {
    element(id).addEventListener('change', ({ target }) => {
      const files = [...target.files];
      // So that the same file can be chosen again.
      target.value = '';
      useFiles(files);
    });
  }
  element('camera').addEventListener('click', ({ target }) => {
    if (target.classList.contains('running')) {
      camera.stop();
    } else {
      attempt(startCamera);
    }
  });
  element('opacity').addEventListener('input', applyOpacity);
  followPointer(element('stage'));
  window.addEventListener('paste', ({ clipboardData }) => useFiles([...clipboardData.files]));
  window.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  window.addEventListener('dragleave', () => document.body.classList.remove('dropping'));
  window.addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    useFiles([...event.dataTransfer.files]);
  });
}

listen();
applyOpacity();
attempt(() => inTurn(useModelBesideThePage));
