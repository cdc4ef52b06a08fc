// pred: predicts the temperature from humidity, light and dust by linear regression, learns from how wrong it was, and
// classifies the air by a small decision tree, in the manner of RIoTBench's PRED.
import { done, publish, stream } from './flow.js';

const INPUTS = ['humidity', 'light', 'dust'];
const RATE = 0.05;

/** Linear regression by stochastic gradient descent over inputs brought to a like size. */
class Regression {
  #weights = new Float64Array(INPUTS.length + 1);
  #scale = { humidity: 100, light: 5000, dust: 1000 };
  #inputs(row) {
    return [1, ...INPUTS.map((name) => row[name] / this.#scale[name])];
  }
  predict(row) {
    return this.#inputs(row).reduce((sum, input, at) => sum + input * this.#weights[at], 0);
  }
  learn(row, error) {
    const inputs = this.#inputs(row);
    const length = inputs.reduce((sum, input) => sum + input * input, 0);
    for (const [at, input] of inputs.entries()) this.#weights[at] += (RATE * error * input) / length;
  }
}

/** Leaves are words; others ask whether a value is below a bound. */
const TREE = {
  ask: 'airquality', below: 20, yes: 'good',
  no: { ask: 'dust', below: 600, yes: 'fair', no: { ask: 'humidity', below: 60, yes: 'dusty', no: 'bad' } },
};
const classify = (row, node = TREE) =>
  typeof node === 'string' ? node : classify(row, row[node.ask] < node.below ? node.yes : node.no);

const regression = new Regression();
const classes = {};
let [count, errors] = [0, 0];
for await (const row of stream('pred', 'riot/clean')) {
  if ([...INPUTS, 'temperature', 'airquality'].some((name) => row[name] === undefined)) continue;
  const predicted = regression.predict(row);
  const error = row.temperature - predicted;
  regression.learn(row, error);
  const air = classify(row);
  classes[air] = (classes[air] ?? 0) + 1;
  count += 1;
  errors += Math.abs(error);
  if (count % 100 === 0) {
    const { sensor, time, temperature } = row;
    await publish('riot/predictions', { time, sensor, temperature, predicted: Number(predicted.toFixed(3)), air });
    console.log(count, 'mean error', (errors / count).toFixed(4));
  }
}
console.log('air', Object.fromEntries(Object.entries(classes).sort()));
done();
