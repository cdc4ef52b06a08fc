// etl: extract, transform, load, in the manner of RIoTBench's ETL. SenML is parsed, values out of their range are dropped,
// unknown sensors filtered out by a Bloom filter, gaps interpolated, and what is known of the sensor added.
import { createHash } from 'node:crypto';
import { done, end, publish, stream } from './flow.js';

const RANGES = { temperature: [-12.5, 43.1], humidity: [10.7, 95.2], light: [0, 26_282], dust: [83.36, 3322.67], airquality: [12, 49] };
const SENSORS = Array.from({ length: 10 }, (_, at) => `s${String(at + 1).padStart(2, '0')}`);

/** Says of what was added that it is there, and of other things seldom so. */
class Bloom {
  #bits = new Uint8Array(512);
  #places(text) {
    const hash = createHash('sha256').update(text).digest();
    return [0, 2, 4].map((at) => hash.readUInt16LE(at) % (this.#bits.length * 8));
  }
  add(text) {
    for (const place of this.#places(text)) this.#bits[place >> 3] |= 1 << (place & 7);
  }
  has(text) {
    return this.#places(text).every((place) => this.#bits[place >> 3] & (1 << (place & 7)));
  }
}

/** Gives the mean of the last values where one is missing. */
class Interpolation {
  #last = new Map();
  fill(key, value) {
    const last = this.#last.get(key) ?? [];
    this.#last.set(key, last);
    if (value === undefined) {
      if (last.length === 0) return undefined;
      return last.reduce((sum, one) => sum + one, 0) / last.length;
    }
    last.push(value);
    if (last.length > 5) last.shift();
    return value;
  }
}

const known = new Bloom();
for (const sensor of SENSORS) known.add(sensor);
const gaps = new Interpolation();
const counts = { rows: 0, unknown: 0, outOfRange: 0, filled: 0 };

for await (const pack of stream('etl', 'riot/rows')) {
  counts.rows += 1;
  const [{ bn, bt }] = pack;
  const sensor = bn.slice(0, -1);
  if (!known.has(sensor)) {
    counts.unknown += 1;
    continue;
  }
  const values = {};
  for (const { n, v } of pack) {
    const [least, most] = RANGES[n];
    if (v >= least && v <= most) values[n] = v;
    else counts.outOfRange += 1;
  }
  const row = { time: bt, sensor, zone: Number(sensor.slice(1)) % 2 === 0 ? 'south' : 'north' };
  for (const name of Object.keys(RANGES)) {
    const value = gaps.fill(`${sensor}/${name}`, values[name]);
    if (value !== undefined && values[name] === undefined) counts.filled += 1;
    if (value !== undefined) row[name] = value;
  }
  await publish('riot/clean', row);
}
await end('riot/clean');
console.log('etl', counts);
done();
