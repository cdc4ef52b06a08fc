/*things.meta
outputs:
  - { topic: camera/frames, type: image/x-portable-graymap }
*/
// camera [period_ms=100] [rounds=1]: publishes the pictures in `frames`, one after the other, as a camera would; then an empty
// message. Begin `motion.js` first.
const { readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const wayfare = require('wayfare');

const [period, rounds] = [Number(process.argv[2] ?? 100), Number(process.argv[3] ?? 1)];
const folder = join(__dirname, 'frames');
const names = readdirSync(folder).sort();

(async () => {
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      await wayfare.publish('camera/frames', readFileSync(join(folder, name)));
      await sleep(period);
    }
  }
  await wayfare.publish('camera/frames', '');
  console.log(`${rounds * names.length} frames`);
})();
