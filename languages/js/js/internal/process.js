"use strict";
// `process`, as far as a program that is moved about has one.

const EventEmitter = require("events");
const loop = require("internal/loop");

const process = new EventEmitter();
let folder = native.args[1]?.startsWith("/") ? native.args[1].slice(0, native.args[1].lastIndexOf("/")) || "/" : "/";

function stream(fd) {
  const one = new EventEmitter();
  return Object.assign(one, {
    fd,
    isTTY: false,
    writable: true,
    columns: 80,
    write(chunk, encoding, callback) {
      native.write(fd, typeof chunk === "string" ? chunk : Uint8Array.from(chunk));
      const done = typeof encoding === "function" ? encoding : callback;
      if (done !== undefined) loop.nextTick(done);
      return true;
    },
    end(chunk, ...rest) {
      if (chunk !== undefined && typeof chunk !== "function") this.write(chunk, ...rest);
    },
  });
}

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
  stdout: stream(1),
  stderr: stream(2),
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
