"use strict";
// Node's `crypto`: hashes, HMACs and random numbers. Ciphers, keys and signatures are not there.

const { Transform } = require("stream");

const bytesOf = (data, encoding) => {
  if (typeof data === "string") return Buffer.from(data, encoding === "buffer" ? "utf8" : encoding);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError('The "data" argument must be of type string or an instance of Buffer, TypedArray, or DataView');
};
// A Buffer is a Uint8Array, but not one of those that the host knows.
const plain = (bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const shown = (bytes, encoding) => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return encoding === undefined || encoding === "buffer" ? buffer : buffer.toString(encoding);
};

function hasher(name, key) {
  const made = native.hasher(String(name).toLowerCase().replace(/^(rsa-)?(md|sha)-?/, "$2"), key);
  if (made !== undefined) return made;
  throw Object.assign(new Error(`Digest method not supported: '${name}'; there are ${native.hashes.join(", ")}`), {
    code: "ERR_CRYPTO_INVALID_DIGEST",
  });
}

class Hash extends Transform {
  #hasher;
  #isDone = false;
  constructor(hasher, options) {
    super(options);
    this.#hasher = hasher;
  }
  update(data, encoding) {
    if (this.#isDone) throw Object.assign(new Error("Digest already called"), { code: "ERR_CRYPTO_HASH_FINALIZED" });
    this.#hasher.update(plain(bytesOf(data, encoding)));
    return this;
  }
  digest(encoding) {
    if (this.#isDone) throw Object.assign(new Error("Digest already called"), { code: "ERR_CRYPTO_HASH_FINALIZED" });
    this.#isDone = true;
    return shown(this.#hasher.digest(), encoding);
  }
  copy(options) {
    return new this.constructor(this.#hasher.copy(), options);
  }
  _transform(chunk, encoding, callback) {
    this.update(chunk, encoding);
    callback();
  }
  _flush(callback) {
    this.push(this.digest());
    callback();
  }
}
class Hmac extends Hash {}

function randomFillSync(buffer, offset = 0, size = buffer.byteLength - offset) {
  const bytes = new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
  bytes.set(native.random(size), offset);
  return buffer;
}

function randomBytes(size, callback) {
  if (!Number.isInteger(size) || size < 0) throw new RangeError(`The value of "size" is out of range: ${size}`);
  const bytes = shown(native.random(size));
  if (callback === undefined) return bytes;
  process.nextTick(callback, null, bytes);
}

/** From `min`, and below `max`, each as likely as any other. */
function randomInt(min, max, callback) {
  if (max === undefined || typeof max === "function") [min, max, callback] = [0, min, max];
  const range = max - min;
  if (!(range > 0 && range <= 2 ** 48)) throw new RangeError(`The value of "max" is out of range: ${max}`);
  const limit = 2 ** 48 - (2 ** 48 % range);
  let number;
  do {
    number = native.random(6).reduce((sum, byte) => sum * 256 + byte, 0);
  } while (number >= limit);
  const value = min + (number % range);
  if (callback === undefined) return value;
  process.nextTick(callback, null, value);
}

function randomUUID() {
  const bytes = native.random(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return shown(bytes, "hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function timingSafeEqual(one, other) {
  const [a, b] = [bytesOf(one), bytesOf(other)];
  if (a.length !== b.length) {
    throw Object.assign(new RangeError("Input buffers must have the same byte length"), {
      code: "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH",
    });
  }
  return a.reduce((difference, byte, at) => difference | (byte ^ b[at]), 0) === 0;
}

/** RFC 8018, 5.2. */
function pbkdf2Sync(password, salt, iterations, length, name) {
  const keyed = hasher(name, plain(bytesOf(password)));
  const start = plain(bytesOf(salt));
  const out = Buffer.alloc(length);
  for (let [block, at] = [1, 0]; at < length; block++) {
    const first = keyed.copy();
    first.update(start);
    first.update(Uint8Array.of(block >>> 24, block >>> 16, block >>> 8, block));
    let last = first.digest();
    const sum = last.slice();
    for (let round = 1; round < iterations; round++) {
      const next = keyed.copy();
      next.update(last);
      last = next.digest();
      for (let i = 0; i < sum.length; i++) sum[i] ^= last[i];
    }
    out.set(sum.subarray(0, length - at), at);
    at += sum.length;
  }
  return out;
}

const later = (call) => (...args) => {
  const callback = args.pop();
  let done;
  try {
    done = [null, call(...args)];
  } catch (error) {
    done = [error];
  }
  process.nextTick(callback, ...done);
};

const webcrypto = {
  getRandomValues: (array) => randomFillSync(array),
  randomUUID,
  get subtle() {
    throw new Error("'crypto.subtle' is not there: this runtime has hashes, HMACs and random numbers only");
  },
};

const crypto = {
  Hash,
  Hmac,
  createHash: (name, options) => new Hash(hasher(name), options),
  createHmac: (name, key, options) => new Hmac(hasher(name, plain(bytesOf(key))), options),
  getHashes: () => [...native.hashes],
  getRandomValues: webcrypto.getRandomValues,
  hash: (name, data, encoding = "hex") => new Hash(hasher(name)).update(data).digest(encoding),
  pbkdf2: later(pbkdf2Sync),
  pbkdf2Sync,
  randomBytes,
  randomFill: later(randomFillSync),
  randomFillSync,
  randomInt,
  randomUUID,
  timingSafeEqual,
  webcrypto,
};

const MISSING = [
  "createCipheriv", "createDecipheriv", "createSign", "createVerify", "createDiffieHellman", "createECDH", "createPublicKey",
  "createPrivateKey", "createSecretKey", "generateKeyPair", "generateKeyPairSync", "hkdf", "hkdfSync", "scrypt", "scryptSync",
  "sign", "verify", "publicEncrypt", "privateDecrypt",
];
for (const name of MISSING) {
  crypto[name] = () => {
    throw new Error(`'crypto.${name}' is not there: this runtime has hashes, HMACs and random numbers only`);
  };
}
module.exports = crypto;
