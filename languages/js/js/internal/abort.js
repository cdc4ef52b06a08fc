"use strict";
// `AbortController` and `AbortSignal`, over the package's events.

const { Event, EventTarget, defineEventAttribute } = require("internal/packages/event-target");

const failure = (name, message) => Object.assign(new Error(message), { name, code: name === "AbortError" ? "ABORT_ERR" : 23 });

const secret = Symbol("made by the runtime");

class AbortSignal extends EventTarget {
  #isAborted = false;
  #reason;
  constructor(from) {
    if (from !== secret) throw new TypeError("Illegal constructor");
    super();
  }
  static abort(reason) {
    const signal = new AbortSignal(secret);
    signal[secret](reason);
    return signal;
  }
  static timeout(delay) {
    const signal = new AbortSignal(secret);
    const late = () => failure("TimeoutError", "The operation was aborted due to timeout");
    setTimeout(() => signal[secret](late()), delay).unref();
    return signal;
  }
  static any(signals) {
    const whole = new AbortSignal(secret);
    for (const signal of signals) {
      if (signal.aborted) whole[secret](signal.reason);
      else signal.addEventListener("abort", () => whole[secret](signal.reason), { once: true });
    }
    return whole;
  }
  get aborted() {
    return this.#isAborted;
  }
  get reason() {
    return this.#reason;
  }
  throwIfAborted() {
    if (this.#isAborted) throw this.#reason;
  }
  [secret](reason = failure("AbortError", "This operation was aborted")) {
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#reason = reason;
    this.dispatchEvent(new Event("abort"));
  }
  get [Symbol.toStringTag]() {
    return "AbortSignal";
  }
}
defineEventAttribute(AbortSignal.prototype, "abort");

class AbortController {
  signal = new AbortSignal(secret);
  abort(reason) {
    this.signal[secret](reason);
  }
}

module.exports = { AbortController, AbortSignal, Event, EventTarget };
