"use strict";
// Node's `assert`.

const { inspect } = require("internal/inspect");

class AssertionError extends Error {
  constructor({ message, actual, expected, operator }) {
    super(message);
    Object.assign(this, { name: "AssertionError", code: "ERR_ASSERTION", actual, expected, operator });
    this.generatedMessage = false;
  }
}

function isPrimitive(value) {
  return (typeof value !== "object" && typeof value !== "function") || value === null;
}

/** Whether two values are alike in everything; `isStrict`: in their types as well. */
function deepEqual(one, other, isStrict, seen = new Map()) {
  if (Object.is(one, other)) return true;
  if (isPrimitive(one) || isPrimitive(other)) {
    // eslint-disable-next-line eqeqeq
    return !isStrict && isPrimitive(one) && isPrimitive(other) && (one == other || (one !== one && other !== other));
  }
  if (isStrict && Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
  if (Object.prototype.toString.call(one) !== Object.prototype.toString.call(other)) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  if (seen.get(one) === other) return true;
  seen.set(one, other);
  const alike = (a, b) => deepEqual(a, b, isStrict, seen);
  if (one instanceof Date && one.getTime() !== other.getTime()) return false;
  if (one instanceof RegExp && String(one) !== String(other)) return false;
  if (one instanceof Error && (one.message !== other.message || one.name !== other.name)) return false;
  if ([String, Number, Boolean].some((type) => one instanceof type) && !Object.is(one.valueOf(), other.valueOf())) return false;
  if (typeof one === "function") return false;
  if (one instanceof Set) {
    if (one.size !== other.size) return false;
    const rest = [...other];
    for (const value of one) {
      const at = rest.findIndex((candidate) => alike(value, candidate));
      if (at < 0) return false;
      rest.splice(at, 1);
    }
  }
  if (one instanceof Map) {
    if (one.size !== other.size) return false;
    for (const [name, value] of one) if (!other.has(name) || !alike(value, other.get(name))) return false;
  }
  const own = (value) => Reflect.ownKeys(value).filter((name) => Object.prototype.propertyIsEnumerable.call(value, name));
  const [names, others] = [own(one), own(other)];
  return names.length === others.length && names.every((name) => others.includes(name) && alike(one[name], other[name]));
}

function fail(message, otherwise, actual, expected, operator) {
  if (message instanceof Error) throw message;
  throw new AssertionError({ message: message ?? otherwise, actual, expected, operator });
}

function compare(operator, holds, words) {
  return (actual, expected, message) => {
    if (holds(actual, expected)) return;
    fail(message, `${words}:\n\n${inspect(actual)}\n\n${inspect(expected)}\n`, actual, expected, operator);
  };
}

function ok(value, message) {
  if (!value) fail(message, `The expression evaluated to a falsy value: ${inspect(value)}`, value, true, "==");
}
const assert = (value, message) => ok(value, message);

/** Whether what was thrown is what is expected. */
function check(error, expected, message) {
  if (expected === undefined) return;
  if (typeof expected === "function") {
    if (expected.prototype !== undefined && error instanceof expected) return;
    if (Error.isPrototypeOf(expected)) throw error;
    if (expected.call({}, error) === true) return;
  } else if (expected instanceof RegExp) {
    if (expected.test(String(error))) return;
  } else {
    const matches = ([name, value]) => (value instanceof RegExp ? value.test(error[name]) : deepEqual(error[name], value, true));
    if (Object.entries(expected).every(matches)) return;
  }
  fail(message, `The error is not as expected: ${inspect(error)}`, error, expected, "throws");
}

function texts(expected, message) {
  return typeof expected === "string" ? [undefined, expected] : [expected, message];
}

module.exports = Object.assign(assert, {
  AssertionError,
  ok,
  fail: (message = "Failed") => fail(message, undefined, undefined, undefined, "fail"),
  // eslint-disable-next-line eqeqeq
  equal: compare("==", (one, other) => one == other || (one !== one && other !== other), "Expected values to be equal"),
  // eslint-disable-next-line eqeqeq
  notEqual: compare("!=", (one, other) => one != other, "Expected values to differ"),
  strictEqual: compare("strictEqual", Object.is, "Expected values to be strictly equal"),
  notStrictEqual: compare("notStrictEqual", (one, other) => !Object.is(one, other), "Expected values to differ"),
  deepEqual: compare("deepEqual", (one, other) => deepEqual(one, other, false), "Expected values to be loosely deep-equal"),
  deepStrictEqual: compare("deepStrictEqual", (one, other) => deepEqual(one, other, true), "Expected values to be strictly deep-equal"),
  notDeepEqual: compare("notDeepEqual", (one, other) => !deepEqual(one, other, false), "Expected values to differ"),
  notDeepStrictEqual: compare("notDeepStrictEqual", (one, other) => !deepEqual(one, other, true), "Expected values to differ"),
  match: compare("match", (text, pattern) => pattern.test(text), "Expected the text to match"),
  doesNotMatch: compare("doesNotMatch", (text, pattern) => !pattern.test(text), "Expected the text not to match"),
  ifError: (error) => {
    if (error !== null && error !== undefined) throw error;
  },
  throws: (call, expected, message) => {
    [expected, message] = texts(expected, message);
    try {
      call();
    } catch (error) {
      return check(error, expected, message);
    }
    fail(message, "Missing expected exception.", undefined, expected, "throws");
  },
  doesNotThrow: (call) => call(),
  rejects: async (promise, expected, message) => {
    [expected, message] = texts(expected, message);
    try {
      await (typeof promise === "function" ? promise() : promise);
    } catch (error) {
      return check(error, expected, message);
    }
    fail(message, "Missing expected rejection.", undefined, expected, "rejects");
  },
  doesNotReject: async (promise) => {
    await (typeof promise === "function" ? promise() : promise);
  },
});
Object.defineProperty(assert, "internal", { value: { deepEqual } });
assert.strict = Object.assign((value, message) => ok(value, message), assert, {
  equal: assert.strictEqual,
  notEqual: assert.notStrictEqual,
  deepEqual: assert.deepStrictEqual,
  notDeepEqual: assert.notDeepStrictEqual,
});
assert.strict.strict = assert.strict;
