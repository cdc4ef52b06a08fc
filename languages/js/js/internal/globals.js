"use strict";
// The names that every program has. Those that cost time are made when they are first used.

const LAZY = {
  Buffer: (builtin) => builtin("buffer").Buffer,
  TextDecoder: (builtin) => builtin("internal/encoding").TextDecoder,
  TextEncoder: (builtin) => builtin("internal/encoding").TextEncoder,
  structuredClone: (builtin) => builtin("internal/encoding").structuredClone,
  atob: (builtin) => builtin("internal/encoding").atob,
  btoa: (builtin) => builtin("internal/encoding").btoa,
  AbortController: (builtin) => builtin("internal/abort").AbortController,
  AbortSignal: (builtin) => builtin("internal/abort").AbortSignal,
  Event: (builtin) => builtin("internal/abort").Event,
  EventTarget: (builtin) => builtin("internal/abort").EventTarget,
  URL: (builtin) => builtin("internal/url").URL,
  URLSearchParams: (builtin) => builtin("internal/url").URLSearchParams,
  crypto: (builtin) => builtin("crypto").webcrypto,
  console: (builtin) => builtin("internal/console"),
  process: (builtin) => builtin("internal/process"),
};

/** What Node has and this runtime has not: using it says so. */
const MISSING = ["fetch", "WebSocket", "Worker", "XMLHttpRequest"];

exports.install = (global, builtin) => {
  global.global = global;
  const { timers } = builtin("internal/loop");
  for (const [name, value] of Object.entries(timers)) define(global, name, value);
  for (const [name, make] of Object.entries(LAZY)) {
    Object.defineProperty(global, name, {
      configurable: true,
      enumerable: false,
      get: () => {
        const value = make(builtin);
        // A package that looks for it while it is being made finds none.
        if (value === undefined) return undefined;
        define(global, name, value);
        return value;
      },
      set: (value) => define(global, name, value),
    });
  }
  for (const name of MISSING) {
    define(global, name, function () {
      throw new Error(`'${name}' is not there: programs have no sockets; publish and subscribe instead`);
    });
  }
  define(global, "performance", { now: () => native.now(), timeOrigin: Date.now() });
};

function define(global, name, value) {
  Object.defineProperty(global, name, { value, configurable: true, writable: true, enumerable: false });
}
