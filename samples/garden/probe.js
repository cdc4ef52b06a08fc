/*things.meta
inputs:
  - { topic: garden/heating, type: text/plain }
outputs:
  - { topic: garden/raw, type: text/plain }
*/
// probe [readings=0] [period_ms=200]: a bed with a heating and a thermometer, both made up. It cools down by itself, and becomes warmer
// while the heating is on. Every 40th reading is wrong, as with a loose wire. 0 readings: for ever.
const wayfare = require('wayfare');

const [readings, period] = [Number(process.argv[2] ?? 0), Number(process.argv[3] ?? 200)];
const OUTSIDE = 8;
let [temperature, isHeated, number, seed] = [19, false, 0, 1];

const heating = wayfare.subscribe('garden/heating', (message) => {
  isHeated = message.text === 'on';
});

/** The same numbers in every run. */
function noise() {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32 - 0.5;
}

const timer = setInterval(async () => {
  // app.toml asks for it.
  await wayfare.healthy(30_000);
  number += 1;
  temperature += (OUTSIDE - temperature) * 0.01 + (isHeated ? 0.4 : 0);
  const reading = number % 40 === 0 ? 85 : temperature + noise() / 5;
  if (number !== readings) {
    await wayfare.publish('garden/raw', reading.toFixed(2));
    return;
  }
  clearInterval(timer);
  await heating.unsubscribe();
  await wayfare.publish('garden/raw', 'end');
  console.log(`${number} readings, ${temperature.toFixed(2)} degrees at the end`);
}, period);
