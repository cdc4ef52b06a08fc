"use strict";
// `process`, as far as a program that is moved about has one.

const EventEmitter = require("events");
const loop = require("internal/loop");

const process = new EventEmitter();
let folder = native.args[1]?.startsWith("/") ? native.args[1].slice(0, native.args[1].lastIndexOf("/")) || "/" : "/";

/** Standard output or error. What is written to it is written at once. */
function writable(fd) {
  const { Writable } = require("stream");
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      const isText = typeof chunk === "string" && /^utf-?8$/i.test(encoding);
      native.write(fd, isText ? chunk : Uint8Array.from(typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk));
      done();
    },
  });
  return Object.assign(stream, { fd, isTTY: false, columns: 80, _isStdio: true });
}

/** Standard input, which is something to wait for while somebody reads it. */
function readable() {
  const { Readable } = require("stream");
  let isAsked = false;
  let isHeld = true;
  const stream = new Readable({
    read() {
      isAsked = true;
    },
  });
  stream.on("pause", () => {
    isHeld = false;
  });
  stream.on("resume", () => {
    isHeld = true;
  });
  loop.addSource({
    fd: 0,
    isActive: () => isAsked && isHeld && !stream.destroyed,
    onReadable: () => {
      isAsked = false;
      const got = native.read(0, 65536);
      stream.push(got.length === 0 ? null : Buffer.from(got.buffer));
    },
  });
  return Object.assign(stream, { fd: 0, isTTY: false });
}

/** Made when it is first asked for: many programs only have a console. */
function lazily(name, make) {
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get: () => {
      const value = make();
      Object.defineProperty(process, name, { value, configurable: true, enumerable: true });
      return value;
    },
  });
}
lazily("stdin", readable);
lazily("stdout", () => writable(1));
lazily("stderr", () => writable(2));

function hrtime(since) {
  const now = native.now() / 1e3;
  let [seconds, nanoseconds] = [Math.floor(now), Math.floor((now % 1) * 1e9)];
  if (since !== undefined) {
    seconds -= since[0];
    nanoseconds -= since[1];
    if (nanoseconds < 0) {
      seconds -= 1;
      nanoseconds += 1e9;
    }
  }
  return [seconds, nanoseconds];
}
hrtime.bigint = () => BigInt(Math.floor(native.now() * 1e6));

module.exports = Object.assign(process, {
  title: "wayfare",
  version: "v20.0.0",
  versions: { node: "20.0.0", quickjs: "ng" },
  release: { name: "wayfare" },
  platform: "wasi",
  arch: "wasm32",
  pid: 1,
  ppid: 0,
  execPath: "/wayfare/js",
  execArgv: [],
  argv: ["/wayfare/js", ...native.args.slice(1)],
  argv0: "wayfare",
  env: native.env,
  exitCode: undefined,
  config: {},
  features: {},
  nextTick: loop.nextTick,
  hrtime,
  uptime: () => native.now() / 1e3,
  exit: loop.exit,
  abort: () => loop.exit(134),
  cwd: () => folder,
  chdir: (path) => {
    if (!path.startsWith("/")) path = `${folder}/${path}`;
    if (native.stat(path)?.kind !== "dir") throw new Error(`ENOENT: no such folder, chdir '${path}'`);
    folder = path;
  },
  umask: () => 0o022,
  memoryUsage: Object.assign(() => ({ rss: native.memory(), heapTotal: native.memory(), heapUsed: native.memory() }), {
    rss: () => native.memory(),
  }),
  emitWarning: (warning) => native.write(2, `(wayfare) Warning: ${warning?.message ?? warning}\n`),
  getuid: () => 0,
  getgid: () => 0,
  kill: () => {
    throw new Error("'process.kill' is not there: `wayfare kill` ends programs");
  },
});
