"use strict";
// Node's `timers`, and `timers/promises`.

const { timers } = require("internal/loop");
const { setTimeout, setImmediate } = timers;

module.exports = {
  ...timers,
  promises: {
    setTimeout: (delay, value) => new Promise((resolve) => setTimeout(resolve, delay, value)),
    setImmediate: (value) => new Promise((resolve) => setImmediate(resolve, value)),
    setInterval: async function* (delay, value) {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, delay));
        yield value;
      }
    },
  },
};
