// Makes one program of each of Octane's that ThingsJS's paper measured: `node octane.mjs OCTANE OUT`, the folder of
// https://github.com/chromium/octane and where they are put. Octane's own licence (BSD) holds for them; none of it is kept here.
// Each runs as often as its argument says, checks itself as Octane does, and prints the same whatever runs it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const [octane, out] = process.argv.slice(2);
export const NAMES = ["richards", "deltablue", "navier-stokes", "raytrace", "splay", "regexp", "crypto", "earley-boyer"];

/** What Octane's `base.js` offers, in as far as the programs use it; and chance that is the same each time. */
const BEFORE = `
var alert = function (text) { throw new Error(text); };
var seed = 49734321;
Math.random = function () {
  seed = ((seed + 0x7ed55d16) + (seed << 12)) & 0xffffffff;
  seed = ((seed ^ 0xc761c23c) ^ (seed >>> 19)) & 0xffffffff;
  seed = ((seed + 0x165667b1) + (seed << 5)) & 0xffffffff;
  seed = ((seed + 0xd3a2646c) ^ (seed << 9)) & 0xffffffff;
  seed = ((seed + 0xfd7046c5) + (seed << 3)) & 0xffffffff;
  seed = ((seed ^ 0xb55a4f09) ^ (seed >>> 16)) & 0xffffffff;
  return (seed & 0xfffffff) / 0x10000000;
};
var performance = { now: function () { return 0; } };
var suites = [];
function BenchmarkSuite(name, reference, benchmarks) { suites.push(benchmarks); }
BenchmarkSuite.RegisterSample = function () {};
function Benchmark(name, warmup, deterministic, iterations, run, setup, tearDown) {
  this.name = name;
  this.run = run;
  this.setup = setup || function () {};
  this.tearDown = tearDown || function () {};
}
`;
const AFTER = `
var words = typeof scriptArgs === "undefined" ? process.argv.slice(1) : scriptArgs;
var times = Number(words[1] || 1);
for (const benchmark of suites.flat()) {
  benchmark.setup();
  for (var at = 0; at < times; at++) {
    benchmark.run();
    if (at % Math.ceil(times / 10) === 0) console.log(benchmark.name, at, Math.floor(Math.random() * 1e6));
  }
  benchmark.tearDown();
}
console.log("done");
`;

mkdirSync(out, { recursive: true });
for (const name of NAMES) {
  const source = readFileSync(`${octane}/${name}.js`, "utf8");
  writeFileSync(`${out}/${name}.js`, `${BEFORE}\n${source}\n${AFTER}`);
}
