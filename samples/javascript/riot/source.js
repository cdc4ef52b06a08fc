// source [pause_ms=0] < city.csv: publishes each row as SenML (RFC 8428), the format of sensors.
import { createInterface } from 'node:readline';
import { end, listening, publish } from './flow.js';

const UNITS = { temperature: 'Cel', humidity: '%RH', light: 'lx', dust: 'ug/m3', airquality: '' };
const pause = Number(process.argv[2] ?? 0);

await listening('source');
let names;
let rows = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const fields = line.split(',');
  if (names === undefined) {
    names = fields;
    continue;
  }
  const [time, sensor, ...values] = fields;
  const base = { bt: Number(time), bn: `${sensor}/` };
  const records = values.flatMap((text, at) => {
    const name = names[at + 2];
    return text === '' ? [] : [{ n: name, u: UNITS[name], v: Number(text) }];
  });
  await publish('riot/rows', [{ ...base, ...records[0] }, ...records.slice(1)]);
  rows += 1;
  if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
}
await end('riot/rows');
console.log(`${rows} rows`);
