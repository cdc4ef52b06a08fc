"use strict";
// Node's `os`: what can be known of a host that may be another one soon.

const host = () => require("wayfare").me().engine;

module.exports = {
  EOL: "\n",
  arch: () => "wasm32",
  cpus: () => [],
  endianness: () => "LE",
  freemem: () => 0,
  homedir: () => "/tmp",
  hostname: host,
  loadavg: () => [0, 0, 0],
  networkInterfaces: () => ({}),
  platform: () => "wasi",
  release: () => "",
  tmpdir: () => "/tmp",
  totalmem: () => native.memory(),
  type: () => "WASI",
  uptime: () => native.now() / 1e3,
  userInfo: () => ({ username: "program", uid: 0, gid: 0, homedir: "/tmp", shell: null }),
};
