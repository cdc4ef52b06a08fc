"use strict";
// Texts and bytes, and copies of values.

const bytesOf = (input) => {
  if (input === undefined) return new Uint8Array(0);
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  return new Uint8Array(input);
};

exports.TextEncoder = class TextEncoder {
  get encoding() {
    return "utf-8";
  }
  encode(text = "") {
    return native.encode(String(text));
  }
  encodeInto(text, into) {
    let [read, written] = [0, 0];
    for (const c of text) {
      const bytes = native.encode(c);
      if (written + bytes.length > into.length) break;
      into.set(bytes, written);
      written += bytes.length;
      read += c.length;
    }
    return { read, written };
  }
};

/** How many bytes at the end of `bytes` begin a character that is not whole. */
function begun(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

exports.TextDecoder = class TextDecoder {
  #rest = new Uint8Array(0);
  #isBegun = false;
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`The "${label}" encoding is not supported`);
    Object.assign(this, { encoding: "utf-8", fatal, ignoreBOM });
  }
  decode(input, { stream = false } = {}) {
    const more = bytesOf(input);
    const bytes = new Uint8Array(this.#rest.length + more.length);
    bytes.set(this.#rest);
    bytes.set(more, this.#rest.length);
    const kept = stream ? begun(bytes) : 0;
    this.#rest = bytes.slice(bytes.length - kept);
    let text = native.decode(bytes.slice(0, bytes.length - kept), this.fatal);
    if (!this.#isBegun && !this.ignoreBOM && text.startsWith("\uFEFF")) text = text.slice(1);
    this.#isBegun = stream;
    return text;
  }
};

exports.btoa = (text) => {
  for (const c of String(text)) if (c.codePointAt(0) > 255) throw new Error("Invalid character");
  return Buffer.from(String(text), "latin1").toString("base64");
};
exports.atob = (text) => Buffer.from(String(text), "base64").toString("latin1");

function copied(value, seen) {
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`${String(value)} could not be cloned`);
  if (typeof value !== "object" || value === null) return value;
  if (seen.has(value)) return seen.get(value);
  const keep = (copy) => (seen.set(value, copy), copy);
  if (value instanceof Date) return keep(new Date(value));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (ArrayBuffer.isView(value)) {
    const buffer = copied(value.buffer, seen);
    const maker = value instanceof Buffer ? Uint8Array : value.constructor;
    return keep(new maker(buffer, value.byteOffset, value.length ?? value.byteLength));
  }
  if (value instanceof Map) {
    const copy = keep(new Map());
    for (const [one, other] of value) copy.set(copied(one, seen), copied(other, seen));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    for (const one of value) copy.add(copied(one, seen));
    return copy;
  }
  if (value instanceof Error) {
    const maker = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }[value.name] ?? Error;
    const copy = keep(new maker(value.message));
    copy.stack = value.stack;
    return copy;
  }
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) {
    throw new TypeError(`${value} could not be cloned`);
  }
  if (Object.getPrototypeOf(value) !== null && [String, Number, Boolean].some((type) => value instanceof type)) {
    return keep(Object(value.valueOf()));
  }
  const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
  for (const name of Object.keys(value)) copy[name] = copied(value[name], seen);
  return copy;
}

exports.structuredClone = (value) => copied(value, new Map());
