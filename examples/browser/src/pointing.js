// Mouse, finger, pen and arrow keys over the picture.

import { pointAt, pointNowhere } from './view.js';

const STEP = 1 / 50;
const KEYS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export function followPointer(stage) {
  let place = [0.5, 0.5];
  const to = (across, down) => {
    place = [across, down].map((value) => Math.min(1, Math.max(0, value)));
    pointAt(...place);
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    to((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  stage.addEventListener('pointerdown', follow);
  stage.addEventListener('pointermove', follow);
  stage.addEventListener('pointerleave', (event) => {
    // A finger that is lifted leaves the label to be read.
    if (event.pointerType === 'mouse') {
      pointNowhere();
    }
  });
  stage.addEventListener('keydown', (event) => {
    if (event.key in KEYS) {
      event.preventDefault();
      const [across, down] = KEYS[event.key];
      to(place[0] + across, place[1] + down);
    } else if (event.key === 'Escape') {
      pointNowhere();
    }
  });
}
