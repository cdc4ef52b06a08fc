"use strict";
// Node's `fs`: calls that wait, callbacks and promises. What it needs of the host are single calls; below /fleet each is
// one for all who write there.

const loop = require("internal/loop");

const constants = { F_OK: 0, X_OK: 1, W_OK: 2, R_OK: 4, COPYFILE_EXCL: 1 };

/** Makes Node's error of the host's. */
function failing(syscall, path, call) {
  try {
    return call();
  } catch (error) {
    const [, code, meaning] = /^(E[A-Z0-9]+): (.*)$/.exec(error?.message) ?? [];
    if (code === undefined) throw error;
    throw failure(code, meaning, syscall, path);
  }
}

function failure(code, meaning, syscall, path) {
  const error = new Error(`${code}: ${meaning}, ${syscall}${path === undefined ? "" : ` '${path}'`}`);
  return Object.assign(error, { code, syscall, ...(path === undefined ? {} : { path }) });
}

function full(path) {
  if (typeof path === "object" && path !== null && path.href !== undefined) path = decodeURIComponent(path.pathname);
  if (path instanceof Uint8Array) path = native.decode(path);
  if (typeof path !== "string") throw new TypeError('The "path" argument must be of type string');
  if (path === "/dev/stdin") return path;
  return path.startsWith("/") ? path : `${process.cwd()}/${path}`;
}

const encodingOf = (options) => (typeof options === "string" ? options : options?.encoding);
const bytesOf = (data, options) => {
  if (typeof data === "string") {
    const encoding = encodingOf(options);
    return encoding === undefined || /^utf-?8$/i.test(encoding) ? data : Buffer.from(data, encoding);
  }
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError('The "data" argument must be of type string or an instance of Buffer, TypedArray, or DataView');
};
const asked = (bytes, options) => {
  const encoding = encodingOf(options);
  if (encoding === undefined || encoding === null || encoding === "buffer") return Buffer.from(bytes.buffer);
  return /^utf-?8$/i.test(encoding) ? native.decode(bytes) : Buffer.from(bytes.buffer).toString(encoding);
};

class Stats {
  #kind;
  constructor({ kind, size, mtimeMs }) {
    this.#kind = kind;
    this.size = size;
    this.mode = kind === "dir" ? 0o40755 : 0o100644;
    this.mtimeMs = this.atimeMs = this.ctimeMs = this.birthtimeMs = mtimeMs;
    this.mtime = this.atime = this.ctime = this.birthtime = new Date(mtimeMs);
  }
  isFile = () => this.#kind === "file";
  isDirectory = () => this.#kind === "dir";
  isSymbolicLink = () => this.#kind === "link";
}

class Dirent {
  #kind;
  constructor(folder, [name, kind]) {
    this.name = name;
    this.path = this.parentPath = folder;
    this.#kind = kind;
  }
  isFile = () => this.#kind === "file";
  isDirectory = () => this.#kind === "dir";
  isSymbolicLink = () => this.#kind === "link";
}

function everything(fd) {
  const pieces = [];
  for (;;) {
    const piece = native.read(fd, 65536);
    if (piece.length === 0) break;
    pieces.push(piece);
  }
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function withFile(path, flags, call) {
  const fd = native.open(path, flags);
  try {
    return call(fd);
  } finally {
    native.close(fd);
  }
}

function walk(path, options) {
  const found = [];
  for (const entry of native.readdir(path)) {
    found.push(new Dirent(path, entry));
    if (options.recursive && entry[1] === "dir") found.push(...walk(`${path}/${entry[0]}`, options));
  }
  return found;
}

function stat(syscall, path, options) {
  const about = failing(syscall, path, () => native.stat(full(path)));
  if (about) return new Stats(about);
  if (options?.throwIfNoEntry === false) return undefined;
  throw failure("ENOENT", "no such file or directory", syscall, path);
}

const sync = {
  access: (path) => void stat("access", path),
  appendFile: (path, data, options) => sync.writeFile(path, data, { flag: "a", ...(typeof options === "string" ? { encoding: options } : options) }),
  close: (fd) => native.close(fd),
  copyFile: (from, to, mode = 0) => {
    const content = sync.readFile(from);
    sync.writeFile(to, content, { flag: mode & constants.COPYFILE_EXCL ? "wx" : "w" });
  },
  lstat: (path, options) => stat("lstat", path, options),
  mkdir: (path, options) => {
    if (!options?.recursive) return failing("mkdir", path, () => native.mkdir(full(path)));
    const missing = [];
    let at = full(path);
    for (; !native.stat(at); at = at.slice(0, at.lastIndexOf("/")) || "/") missing.unshift(at);
    for (const folder of missing) failing("mkdir", folder, () => native.mkdir(folder));
    return missing[0];
  },
  mkdtemp: (prefix) => {
    const name = `${prefix}${Buffer.from(native.random(4)).toString("hex").slice(0, 6)}`;
    sync.mkdir(name);
    return name;
  },
  open: (path, flags = "r") => failing("open", path, () => native.open(full(path), flags)),
  read: (fd, buffer, offset = 0, length = buffer.byteLength - offset, position = null) => {
    if (typeof offset === "object") ({ offset = 0, length = buffer.byteLength - offset, position = null } = offset ?? {});
    const got = failing("read", undefined, () => native.read(fd, length, position === null ? -1 : Number(position)));
    new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength).set(got, offset);
    return got.length;
  },
  readFile: (path, options) => {
    const read = () => {
      if (typeof path === "number" || path === "/dev/stdin") return everything(path === "/dev/stdin" ? 0 : path);
      return native.readFile(full(path));
    };
    return asked(failing("open", path, read), options);
  },
  readdir: (path, options = {}) => {
    const found = failing("scandir", path, () => walk(full(path), options));
    if (options.withFileTypes) return found;
    const base = full(path).replace(/\/$/, "").length + 1;
    return found.map((entry) => `${entry.path}/${entry.name}`.replace(/\/\//g, "/").slice(base));
  },
  realpath: (path) => (stat("realpath", path), require("path").normalize(full(path))),
  rename: (from, to) => failing("rename", from, () => native.rename(full(from), full(to))),
  rm: (path, { recursive = false, force = false } = {}) => {
    const about = stat("rm", path, { throwIfNoEntry: !force });
    if (about === undefined) return;
    if (!about.isDirectory()) return sync.unlink(path);
    if (!recursive) throw failure("ERR_FS_EISDIR", "is a directory", "rm", path);
    for (const name of sync.readdir(path)) sync.rm(`${path}/${name}`, { recursive, force });
    sync.rmdir(path);
  },
  rmdir: (path) => failing("rmdir", path, () => native.rmdir(full(path))),
  stat: (path, options) => stat("stat", path, options),
  truncate: (path, length = 0) => failing("truncate", path, () => native.truncate(full(path), length)),
  unlink: (path) => failing("unlink", path, () => native.unlink(full(path))),
  write: (fd, data, offset, length, position) => {
    if (typeof data === "string") {
      failing("write", undefined, () => native.write(fd, data, offset ?? -1));
      return Buffer.byteLength(data);
    }
    const bytes = bytesOf(data).subarray(offset ?? 0, length === undefined ? undefined : (offset ?? 0) + length);
    failing("write", undefined, () => native.write(fd, bytes, position ?? -1));
    return bytes.length;
  },
  writeFile: (path, data, options) => {
    const content = bytesOf(data, options);
    if (typeof path === "number") return failing("write", undefined, () => native.write(path, content));
    failing("open", path, () => withFile(full(path), options?.flag ?? "w", (fd) => native.write(fd, content)));
  },
};

const fs = { constants, Stats, Dirent, promises: { constants } };
for (const [name, call] of Object.entries(sync)) {
  fs[`${name}Sync`] = call;
  fs.promises[name] = async (...args) => call(...args);
  // The callback comes after what runs now, whatever the call did.
  fs[name] = (...args) => {
    const callback = args.pop();
    if (typeof callback !== "function") throw new TypeError('The "cb" argument must be of type function');
    later(() => call(...args), callback);
  };
}

/** Does it now, and calls back with what came of it after what runs now. */
function later(call, callback) {
  const done = (...values) => loop.nextTick(callback, ...values);
  try {
    const value = call();
    if (value === undefined) done(null);
    else done(null, value);
  } catch (error) {
    done(error);
  }
}

fs.exists = (path, callback) => loop.nextTick(callback, fs.existsSync(path));
fs.existsSync = (path) => {
  try {
    return Boolean(native.stat(full(path)));
  } catch {
    return false;
  }
};

fs.read = (fd, buffer, ...args) => {
  const callback = args.pop();
  later(() => sync.read(fd, buffer, ...args), (error, got) => callback(error, got, buffer));
};
fs.write = (fd, data, ...args) => {
  const callback = args.pop();
  later(() => sync.write(fd, data, ...args), (error, count) => callback(error, count, data));
};

/** A file that is opened when the stream is made, and closed when it ends. */
function opened(path, options, flags, start) {
  let at = start;
  let fd = options.fd;
  return {
    construct(done) {
      try {
        fd ??= sync.open(path, options.flags ?? flags);
        this.fd = fd;
        this.path = path;
        done();
        this.emit("open", fd);
        this.emit("ready");
      } catch (error) {
        done(error);
      }
    },
    destroy(error, done) {
      if (fd !== undefined && options.autoClose !== false) native.close(fd);
      fd = undefined;
      done(error);
    },
    /** Calls with the descriptor and where it is read or written, `undefined` where it stands. */
    at(call) {
      const count = call(fd, at);
      if (at !== undefined) at += count;
      return count;
    },
  };
}
const optionsOf = (options) => (typeof options === "string" ? { encoding: options } : (options ?? {}));

fs.createReadStream = (path, given) => {
  const { Readable } = require("stream");
  const options = optionsOf(given);
  const { start, end = Infinity, highWaterMark = 65536, encoding } = options;
  const file = opened(path, options, "r", start);
  let left = end - (start ?? 0) + 1;
  const stream = new Readable({
    highWaterMark,
    encoding,
    signal: options.signal,
    construct: file.construct,
    destroy: file.destroy,
    read(size) {
      try {
        let piece;
        file.at((fd, at) => {
          piece = failing("read", path, () => native.read(fd, Math.min(size, left), at ?? -1));
          return piece.length;
        });
        left -= piece.length;
        stream.bytesRead += piece.length;
        this.push(piece.length === 0 ? null : Buffer.from(piece.buffer));
      } catch (error) {
        this.destroy(error);
      }
    },
  });
  return Object.assign(stream, { bytesRead: 0, path });
};

fs.createWriteStream = (path, given) => {
  const { Writable } = require("stream");
  const options = optionsOf(given);
  const file = opened(path, options, "w", options.start);
  const stream = new Writable({
    highWaterMark: options.highWaterMark ?? 16384,
    defaultEncoding: options.encoding ?? "utf8",
    signal: options.signal,
    construct: file.construct,
    destroy: file.destroy,
    write(chunk, encoding, done) {
      try {
        const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
        file.at((fd, at) => {
          failing("write", path, () => native.write(fd, bytes, at ?? -1));
          return bytes.length;
        });
        stream.bytesWritten += bytes.length;
        done();
      } catch (error) {
        done(error);
      }
    },
  });
  return Object.assign(stream, { bytesWritten: 0, path });
};

class FileHandle {
  constructor(fd, path) {
    this.fd = fd;
    this.path = path;
  }
  async read(buffer, ...args) {
    if (!ArrayBuffer.isView(buffer)) {
      const { buffer: own = Buffer.alloc(16384), ...rest } = buffer ?? {};
      [buffer, args] = [own, [rest]];
    }
    return { bytesRead: sync.read(this.fd, buffer, ...args), buffer };
  }
  write = async (data, ...args) => ({ bytesWritten: sync.write(this.fd, data, ...args), buffer: data });
  readFile = async (options) => sync.readFile(this.fd, options);
  writeFile = async (data, options) => sync.writeFile(this.fd, data, options);
  appendFile = async (data, options) => sync.writeFile(this.fd, data, options);
  stat = async () => sync.stat(this.path);
  createReadStream = (options) => this.#stream(fs.createReadStream, options);
  createWriteStream = (options) => this.#stream(fs.createWriteStream, options);
  /** The file is closed by its handle alone, once. */
  #stream(make, given) {
    const options = optionsOf(given);
    const stream = make(this.path, { ...options, fd: this.fd, autoClose: false });
    return options.autoClose === false ? stream : stream.on("close", () => this.close());
  }
  readLines = (options) => require("readline").createInterface({ input: this.createReadStream(options) });
  async close() {
    if (this.fd >= 0) native.close(this.fd);
    this.fd = -1;
  }
  [Symbol.asyncDispose]() {
    return this.close();
  }
}
fs.promises.open = async (path, flags) => new FileHandle(sync.open(path, flags), path);
delete fs.promises.close;
delete fs.promises.read;
delete fs.promises.write;

for (const name of ["watch", "watchFile", "symlink", "link", "chmod", "chown"]) {
  fs[name] = fs[`${name}Sync`] = () => {
    throw new Error(`'fs.${name}' is not there: this runtime lacks it`);
  };
}
module.exports = fs;
