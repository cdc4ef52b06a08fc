"use strict";
// Node's `util`, as far as it is here.

const { format, inspect } = require("internal/inspect");
const { deepEqual } = require("assert").internal;
const { TextDecoder, TextEncoder } = require("internal/encoding");

const custom = Symbol.for("nodejs.util.promisify.custom");

function promisify(original) {
  if (typeof original !== "function") throw new TypeError('The "original" argument must be of type function');
  if (original[custom]) return original[custom];
  return function (...args) {
    return new Promise((resolve, reject) => {
      original.call(this, ...args, (error, value) => (error ? reject(error) : resolve(value)));
    });
  };
}
promisify.custom = custom;

function callbackify(original) {
  return function (...args) {
    const callback = args.pop();
    original.apply(this, args).then(
      (value) => process.nextTick(callback, null, value),
      (error) => process.nextTick(callback, error),
    );
  };
}

function inherits(type, base) {
  Object.defineProperty(type, "super_", { value: base, writable: true, configurable: true });
  Object.setPrototypeOf(type.prototype, base.prototype);
}

function deprecate(call, message) {
  let isTold = false;
  return function (...args) {
    if (!isTold) process.emitWarning(message);
    isTold = true;
    return call.apply(this, args);
  };
}

const is = (type) => (value) => value instanceof type;
const types = {
  isArrayBuffer: is(ArrayBuffer),
  isAsyncFunction: (value) => Object.prototype.toString.call(value) === "[object AsyncFunction]",
  isDate: is(Date),
  isMap: is(Map),
  isNativeError: is(Error),
  isPromise: is(Promise),
  isRegExp: is(RegExp),
  isSet: is(Set),
  isTypedArray: (value) => ArrayBuffer.isView(value) && !(value instanceof DataView),
  isUint8Array: is(Uint8Array),
  isWeakMap: is(WeakMap),
  isWeakSet: is(WeakSet),
};

module.exports = {
  TextDecoder,
  TextEncoder,
  callbackify,
  debuglog: () => () => {},
  deprecate,
  format,
  inherits,
  inspect,
  isArray: Array.isArray,
  isDeepStrictEqual: (one, other) => deepEqual(one, other, true),
  promisify,
  stripVTControlCharacters: (text) => text.replace(/\u001b\[[\d;]*[A-Za-z]/g, ""),
  types,
};
