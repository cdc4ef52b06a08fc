/*things.meta
inputs:
  - { topic: camera/frames, type: image/x-portable-graymap }
outputs:
  - { topic: camera/motion, type: application/json }
*/
// motion [threshold=40] [least=12]: finds what moves in a camera's frames. A pixel has changed if it differs from the background by
// the threshold; the background follows slowly. Where at least so many have changed, says where.
const wayfare = require('wayfare');

const [threshold, least] = [Number(process.argv[2] ?? 40), Number(process.argv[3] ?? 12)];
/** How fast the background follows. */
const RATE = 0.05;

/** A picture in the format PGM, binary. */
function decode(bytes) {
  const header = /^P5\s+(?:#.*\s+)*(\d+)\s+(\d+)\s+(\d+)\s/.exec(bytes.toString('latin1', 0, 256));
  if (header === null) throw new Error('not a picture in the format PGM');
  const [width, height] = [Number(header[1]), Number(header[2])];
  const pixels = bytes.subarray(header[0].length);
  if (pixels.length !== width * height) throw new Error(`${width} x ${height} pixels are expected, and ${pixels.length} came`);
  return { width, height, pixels };
}

let background;
function changes({ width, height, pixels }) {
  if (background?.length !== pixels.length) background = Float32Array.from(pixels);
  const box = { left: width, top: height, right: -1, bottom: -1 };
  let count = 0;
  for (let at = 0; at < pixels.length; at++) {
    const difference = pixels[at] - background[at];
    background[at] += RATE * difference;
    if (Math.abs(difference) < threshold) continue;
    const [x, y] = [at % width, Math.floor(at / width)];
    count += 1;
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  return { count, ...box };
}

(async () => {
  let [frame, moving] = [0, 0];
  const frames = wayfare.subscribe('camera/frames');
  await frames.ready;
  console.error('watches');
  for await (const message of frames) {
    if (message.payload.length === 0) break;
    const { count, left, top, right, bottom } = changes(decode(message.payload));
    if (count >= least) {
      moving += 1;
      await wayfare.publish('camera/motion', JSON.stringify({ frame, count, left, top, right, bottom }));
      console.log(`frame ${frame}: ${count} pixels changed, from ${left},${top} to ${right},${bottom}`);
    }
    frame += 1;
  }
  console.log(`${moving} of ${frame} frames with motion`);
})();
