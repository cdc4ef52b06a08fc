"use strict";
// The event loop, in Node's order: after each callback `process.nextTick`, then promises, until there are no more; then
// timers that are due, what can be read, and immediates. It ends when nothing is left to wait for.
//
//   callback -> ticks -> jobs -> ... -> due timers -> poll(sources, next timer) -> immediates -> again

const UNSETTLED = 13;

const ticks = [];
/** Timers by when they are due, and by when they were set. */
const timers = [];
let immediates = [];
let order = 0;
/** What is waited for beside timers: `{ fd, isActive(), onReadable() }`. */
const sources = [];
/** Promises that were rejected, with nobody who handles it yet. */
const rejections = new Map();
let onUncaught = [];
let main;

class Timer {
  constructor(callback, delay, args, isRepeated) {
    if (typeof callback !== "function") throw new TypeError('The "callback" argument must be of type function');
    delay = Number(delay);
    this._delay = delay >= 1 && delay <= 2 ** 31 - 1 ? Math.trunc(delay) : 1;
    this._callback = callback;
    this._args = args;
    this._isRepeated = isRepeated;
    this._isHeld = true;
    this._at = undefined;
    insert(this);
  }
  ref() {
    this._isHeld = true;
    return this;
  }
  unref() {
    this._isHeld = false;
    return this;
  }
  hasRef() {
    return this._isHeld;
  }
  refresh() {
    if (this._at !== undefined) remove(this);
    insert(this);
    return this;
  }
  close() {
    clear(this);
    return this;
  }
  [Symbol.toPrimitive]() {
    return this._number ?? (this._number = ++numbers), byNumber.set(this._number, this), this._number;
  }
  [Symbol.dispose]() {
    clear(this);
  }
}

let numbers = 0;
/** Those whose number the program has asked for. */
const byNumber = new Map();

function isBefore(one, other) {
  return one._at < other._at || (one._at === other._at && one._order < other._order);
}

function insert(timer) {
  timer._at = native.now() + timer._delay;
  timer._order = order++;
  let low = 0;
  let high = timers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(timers[middle], timer)) low = middle + 1;
    else high = middle;
  }
  timers.splice(low, 0, timer);
}

function remove(timer) {
  const at = timers.indexOf(timer);
  if (at >= 0) timers.splice(at, 1);
  timer._at = undefined;
}

function clear(timer) {
  if (typeof timer === "number" || typeof timer === "string") timer = byNumber.get(Number(timer));
  if (timer instanceof Immediate) timer._callback = undefined;
  if (!(timer instanceof Timer)) return;
  timer._isRepeated = false;
  byNumber.delete(timer._number);
  if (timer._at !== undefined) remove(timer);
}

class Immediate {
  constructor(callback, args) {
    if (typeof callback !== "function") throw new TypeError('The "callback" argument must be of type function');
    this._callback = callback;
    this._args = args;
    immediates.push(this);
  }
  [Symbol.dispose]() {
    clear(this);
  }
}

exports.timers = {
  setTimeout: (callback, delay, ...args) => new Timer(callback, delay, args, false),
  setInterval: (callback, delay, ...args) => new Timer(callback, delay, args, true),
  setImmediate: (callback, ...args) => new Immediate(callback, args),
  clearTimeout: clear,
  clearInterval: clear,
  clearImmediate: clear,
  queueMicrotask: (callback) => {
    Promise.resolve().then(() => guarded(callback, []));
  },
};

exports.nextTick = (callback, ...args) => {
  if (typeof callback !== "function") throw new TypeError('The "callback" argument must be of type function');
  ticks.push([callback, args]);
};

exports.addSource = (source) => sources.push(source);

exports.rejected = (promise, reason, isHandled) => {
  if (isHandled) rejections.delete(promise);
  else rejections.set(promise, reason);
};

/** Runs what the program has given, and ends the process with what it throws. */
function guarded(callback, args, self) {
  try {
    return callback.apply(self, args);
  } catch (error) {
    uncaught(error, "uncaughtException");
  }
}

function uncaught(error, kind) {
  const { process } = globalThis;
  if (kind === "unhandledRejection" && process.listenerCount(kind) > 0) {
    process.emit(kind, error, Promise.reject(error).catch(() => {}));
    return;
  }
  if (process.listenerCount("uncaughtException") > 0) {
    process.emit("uncaughtException", error, kind);
    return;
  }
  native.write(2, `Uncaught ${exports.described(error)}\n`);
  // QuickJS throws null where not even an error has room.
  if (error === null || (error instanceof Error && error.name === "InternalError" && error.message === "out of memory")) {
    const mib = Math.ceil(native.memory() / 2 ** 20);
    native.write(2, `the program has used ${mib} MiB: \`wayfare run --memory\` gives more, up to its engine's --memory-max\n`);
  }
  exports.exit(1);
}

exports.described = (error) => {
  try {
    // Where the runtime itself has called is of no use to anybody.
    return require("internal/inspect")
      .inspect(error)
      .replace(/\n +at [^\n]*\(wayfare:(internal\/|bootstrap)[^\n]*\)/g, "")
      .replace(/(\n +at [^\n]*\(native\))+(?=$| \{)/, "");
  } catch {
    return String(error);
  }
};

/** Ticks and promises, until there are none. */
function drain() {
  do {
    while (ticks.length > 0) {
      const [callback, args] = ticks.shift();
      guarded(callback, args);
      native.jobs();
    }
    native.jobs();
  } while (ticks.length > 0);
  for (const [promise, reason] of rejections) {
    rejections.delete(promise);
    uncaught(reason, "unhandledRejection");
  }
}

function call(callback, args, self) {
  guarded(callback, args, self);
  drain();
}

function runTimers() {
  const now = native.now();
  // One that is set by another is due the next time, even with no delay.
  const last = order;
  while (timers.length > 0 && timers[0]._at <= now && timers[0]._order < last) {
    const timer = timers.shift();
    timer._at = undefined;
    if (timer._isRepeated) insert(timer);
    else if (timer._number !== undefined) byNumber.delete(timer._number);
    call(timer._callback, timer._args, timer);
  }
}

function runImmediates() {
  const due = immediates;
  immediates = [];
  for (const immediate of due) {
    if (immediate._callback !== undefined) call(immediate._callback, immediate._args, immediate);
  }
}

/** Waits for the next event and runs what it is for. False: there is nothing to wait for. */
function turn() {
  runTimers();
  const active = sources.filter((source) => source.isActive());
  const isHeld = timers.some((timer) => timer._isHeld);
  if (active.length === 0 && !isHeld && immediates.length === 0) return false;
  let wait = -1;
  if (timers.length > 0) wait = Math.max(0, timers[0]._at - native.now());
  if (immediates.length > 0) wait = 0;
  if (active.length > 0 || wait > 0) {
    const ready = native.poll(active.map((source) => source.fd), wait);
    for (const source of active) {
      if (ready.includes(source.fd)) call(source.onReadable, [], source);
    }
  }
  runImmediates();
  return true;
}

/** Runs a program from `begin` to its end. */
exports.run = (begin) => {
  guarded(() => {
    main = begin();
  }, []);
  drain();
  do {
    while (turn());
    globalThis.process.emit("beforeExit", globalThis.process.exitCode ?? 0);
    drain();
  } while (timers.some((timer) => timer._isHeld) || immediates.length > 0 || sources.some((one) => one.isActive()));
  if (main !== undefined && !main.isSettled) {
    native.write(2, "the program waits for something that never comes: an await at its top is unsettled\n");
    exports.exit(UNSETTLED);
  }
  exports.exit();
};

let isEnding = false;
exports.exit = (code) => {
  const { process } = globalThis;
  if (code !== undefined) process.exitCode = code;
  if (!isEnding) {
    isEnding = true;
    guarded(() => process.emit("exit", process.exitCode ?? 0), []);
  }
  native.exit(Number(process.exitCode ?? 0) & 255);
};
