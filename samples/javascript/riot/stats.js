// stats: block averages, a Kalman filter, second moments and an estimate of how many values differ, in the manner of
// RIoTBench's STATS.
import { createHash } from 'node:crypto';
import { done, publish, stream } from './flow.js';

const BLOCK = 20;

class Kalman {
  #estimate;
  #error = 1;
  next(value) {
    if (this.#estimate === undefined) return (this.#estimate = value);
    this.#error += 0.125;
    const gain = this.#error / (this.#error + 0.32);
    this.#estimate += gain * (value - this.#estimate);
    this.#error *= 1 - gain;
    return this.#estimate;
  }
}

/** Mean and variance as values come, by Welford. */
class Moments {
  count = 0;
  mean = 0;
  #squares = 0;
  add(value) {
    this.count += 1;
    const before = value - this.mean;
    this.mean += before / this.count;
    this.#squares += before * (value - this.mean);
  }
  get variance() {
    return this.count < 2 ? 0 : this.#squares / (this.count - 1);
  }
}

/** How many different texts there were, about, as Durand and Flajolet count. */
class Distinct {
  #most = new Uint8Array(64);
  add(text) {
    const hash = createHash('sha1').update(text).digest();
    const bucket = hash[0] & 63;
    const rank = Math.clz32(hash.readUInt32BE(4)) + 1;
    this.#most[bucket] = Math.max(this.#most[bucket], rank);
  }
  get estimate() {
    const mean = this.#most.reduce((sum, rank) => sum + rank, 0) / this.#most.length;
    return Math.round(0.39701 * this.#most.length * 2 ** mean);
  }
}

const sensors = new Map();
const distinct = new Distinct();
for await (const { sensor, temperature, time } of stream('stats', 'riot/clean')) {
  if (temperature === undefined) continue;
  let one = sensors.get(sensor);
  if (one === undefined) sensors.set(sensor, (one = { kalman: new Kalman(), moments: new Moments(), block: [], blocks: 0 }));
  one.smooth = one.kalman.next(temperature);
  one.moments.add(temperature);
  distinct.add(temperature.toFixed(1));
  one.block.push(temperature);
  if (one.block.length === BLOCK) {
    const mean = one.block.reduce((sum, value) => sum + value, 0) / BLOCK;
    one.block = [];
    one.blocks += 1;
    await publish('riot/stats', { time, sensor, mean: Number(mean.toFixed(3)), smooth: Number(one.smooth.toFixed(3)) });
  }
}
for (const [sensor, { moments, smooth, blocks }] of [...sensors].sort()) {
  console.log(sensor, moments.count, moments.mean.toFixed(3), moments.variance.toFixed(3), smooth.toFixed(3), blocks);
}
console.log('different temperatures, about:', distinct.estimate);
done();
