"use strict";
// What names of modules mean, and their text: CommonJS and ES modules, as in Node.

const typescript = require("internal/typescript");
const { note } = require("internal/source-maps");

const NODE = [
  "assert", "buffer", "crypto", "events", "fs", "http", "os", "path", "querystring", "readline", "stream", "string_decoder",
  "timers", "url", "util",
];
const OURS = ["things-js", "wayfare"];
const PARTS = {
  "assert/strict": () => require("assert").strict,
  "fs/promises": () => require("fs").promises,
  module: () => ({ builtinModules: [...NODE], createRequire: (from) => makeRequire(pathOf(from)), isBuiltin }),
  "path/posix": () => require("path"),
  perf_hooks: () => ({ performance }),
  "readline/promises": () => require("readline").promises,
  "stream/promises": () => require("stream").promises,
  console: () => console,
  process: () => process,
  "timers/promises": () => require("timers").promises,
  tty: () => ({ isatty: () => false }),
  "util/types": () => require("util").types,
};
/** Node's modules that are not there. */
const MISSING = [
  "async_hooks", "child_process", "cluster", "constants", "dgram", "diagnostics_channel", "dns", "domain", "http2",
  "https", "inspector", "net", "punycode", "repl", "sys", "tls", "v8", "vm", "wasi", "worker_threads", "zlib",
];
/** What a name is tried with, in this order: `wayfare js check` and `run` look the same way, before the program travels. */
const EXTENSIONS = [".js", ".cjs", ".mjs", ".json", ...typescript.EXTENSIONS];

/** CommonJS modules by path. */
const cache = Object.create(null);

function builtinName(name) {
  const bare = name.startsWith("node:") ? name.slice(5) : name;
  const base = bare.split("/")[0];
  if (OURS.includes(name) || NODE.includes(bare) || Object.hasOwn(PARTS, bare)) return bare;
  if (name.startsWith("node:") || MISSING.includes(base)) {
    const error = new Error(`the module '${name}' of Node is not there: this runtime lacks it`);
    error.code = "ERR_UNKNOWN_BUILTIN_MODULE";
    throw error;
  }
  return undefined;
}

const pathOf = (from) => (String(from).startsWith("file:") ? decodeURIComponent(new URL(from).pathname) : from);
const isBuiltin = (name) => {
  try {
    return builtinName(name) !== undefined;
  } catch {
    return false;
  }
};

const builtin = (name) => (Object.hasOwn(PARTS, name) ? PARTS[name]() : require(name));

const stat = (path) => {
  try {
    return native.stat(path)?.kind;
  } catch {
    // What may not be looked at is not there.
    return undefined;
  }
};
/** An error for which no memory was left for more, or that only says where in the runtime it arose. */
function placed(error, path) {
  if (error instanceof Error && (!error.stack || error.name === "InternalError")) error.stack = `    at ${path}\n`;
  return error;
}

/** What else a program has than UTF-8 would be a text that nobody wrote. Packages have old comments, which Node takes. */
function text(path) {
  let bytes;
  try {
    bytes = native.readFile(path);
    return native.decode(bytes, true);
  } catch (error) {
    if (!(error instanceof TypeError)) throw placed(error, path);
    if (path.includes("/node_modules/")) return native.decode(bytes);
    const wrong = new SyntaxError("the source is not UTF-8");
    wrong.stack = `    at ${path}:${lineOfOther(bytes)}\n`;
    throw wrong;
  }
}

/** The number of the first line that is no UTF-8. */
function lineOfOther(bytes) {
  for (let [line, from] = [1, 0]; ; line++) {
    const end = bytes.indexOf(10, from);
    try {
      native.decode(bytes.subarray(from, end < 0 ? bytes.length : end), true);
    } catch {
      return line;
    }
    if (end < 0) return line;
    from = end + 1;
  }
}

function join(folder, name) {
  const parts = [];
  for (const part of (name.startsWith("/") ? name : `${folder}/${name}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
const folderOf = (path) => path.slice(0, path.lastIndexOf("/")) || "/";

function packageOf(folder) {
  const path = join(folder, "package.json");
  if (stat(path) !== "file") return undefined;
  try {
    return JSON.parse(text(path));
  } catch (error) {
    throw new SyntaxError(`${path}: ${error.message}`);
  }
}

function file(path) {
  if (stat(path) === "file") return path;
  // What TypeScript compiles is imported by the name that it will have.
  const other = /\.[cm]?js$/.test(path) ? [path.replace(/js$/, "ts")] : [];
  return [...EXTENSIONS.map((extension) => path + extension), ...other].find((path) => stat(path) === "file");
}

function fileOrFolder(path) {
  const found = file(path);
  if (found !== undefined || stat(path) !== "dir") return found;
  const main = packageOf(path)?.main;
  return (main && (file(join(path, main)) ?? file(join(path, `${main}/index`)))) ?? file(`${path}/index`);
}

/** What of a package's `exports` is meant: the conditions that are true here, first come first. */
function exported(target, conditions) {
  if (typeof target === "string" || target === null || target === undefined) return target ?? undefined;
  if (Array.isArray(target)) return target.map((one) => exported(one, conditions)).find((one) => one !== undefined);
  for (const [condition, one] of Object.entries(target)) {
    if (conditions.includes(condition)) {
      const found = exported(one, conditions);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function inPackage(folder, part, conditions) {
  const map = packageOf(folder)?.exports;
  if (map === undefined || map === null) return fileOrFolder(join(folder, part));
  const isMap = typeof map === "object" && Object.keys(map).some((key) => key.startsWith("."));
  const paths = isMap ? map : { ".": map };
  let target = exported(paths[part], conditions);
  for (const [pattern, one] of Object.entries(paths)) {
    const [before, after] = pattern.split("*");
    if (target === undefined && after !== undefined && part.startsWith(before) && part.endsWith(after)) {
      const star = part.slice(before.length, part.length - after.length);
      target = exported(one, conditions)?.replaceAll("*", star);
    }
  }
  return target && file(join(folder, target));
}

function find(base, name, conditions) {
  const folder = folderOf(base);
  if (/^(\.{0,2}\/|\.{1,2}$)/.test(name)) return fileOrFolder(join(folder, name));
  if (name.startsWith("file://")) return file(decodeURIComponent(name.slice(7)));
  const [, packageName, part] = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(name);
  for (let at = folder; ; at = folderOf(at)) {
    const there = join(at, `node_modules/${packageName}`);
    if (stat(there) === "dir") {
      const found = inPackage(there, `.${part ?? ""}`, conditions);
      if (found !== undefined) return found;
    }
    if (at === "/") return undefined;
  }
}

function resolved(base, name, conditions) {
  const own = builtinName(name);
  if (own !== undefined) return `node:${own}`;
  const path = find(base, name, [...conditions, "node", "default"]);
  if (path === undefined) {
    const error = new Error(`Cannot find module '${name}', which ${base} requires`);
    error.code = "MODULE_NOT_FOUND";
    throw error;
  }
  if (path.endsWith(".node")) throw new Error(`'${path}' is a native add-on: those cannot be run here`);
  return path;
}

function makeRequire(base) {
  const require = (name) => {
    if (typeof name !== "string") throw new TypeError("the name of a module is a string");
    const path = resolved(base, name, ["require"]);
    if (path.startsWith("node:")) return builtin(path.slice(5));
    const module = loadCommon(path);
    return module.loaded ? module.exports : unfinished(module, base);
  };
  require.resolve = (name) => resolved(base, name, ["require"]).replace(/^node:/, "");
  require.cache = cache;
  require.main = mainModule;
  return require;
}

let mainModule;

/** What a module that is not loaded yet exports so far. In a circle of `require`s what is not there yet is easily taken for
 * what is never there, so asking for it says so, as in Node. */
function unfinished(module, base) {
  const { exports } = module;
  if (exports === null || typeof exports !== "object" || Object.getPrototypeOf(exports) !== Object.prototype) return exports;
  module.watch = new Proxy(Object.prototype, {
    get(target, name, receiver) {
      if (typeof name === "string" && name !== "__esModule" && !(name in target)) {
        const at = /[( ](\/[^()\n]+:\d+(?::\d+)?)\)?\n/.exec(`${new Error().stack}\n`)?.[1] ?? base;
        const circle = `${module.filename} exports no '${name}' yet, since it and ${base} require each other`;
        native.write(2, `Warning: ${circle}\n    at ${at}\n`);
      }
      return Reflect.get(target, name, receiver);
    },
  });
  Object.setPrototypeOf(exports, module.watch);
  return exports;
}

function finish(module) {
  module.loaded = true;
  const { exports, watch } = module;
  if (watch !== undefined && exports !== null && typeof exports === "object" && Object.getPrototypeOf(exports) === watch) {
    Object.setPrototypeOf(exports, Object.prototype);
  }
}

function loadCommon(path, isMain = false) {
  let module = cache[path];
  if (module !== undefined) return module;
  if (/\.m[jt]s$/.test(path)) throw new Error(`'${path}' is an ES module: 'import' it`);
  module = { exports: {}, id: isMain ? "." : path, filename: path, path: folderOf(path), loaded: false, children: [] };
  if (isMain) mainModule = module;
  const source = code(path);
  if (path.endsWith(".json")) {
    try {
      module.exports = JSON.parse(source);
    } catch (error) {
      throw new SyntaxError(`${path}: ${error.message}`);
    }
    cache[path] = module;
  } else {
    const body = compile(path, source);
    cache[path] = module;
    module.require = makeRequire(path);
    try {
      body.call(module.exports, module.exports, module.require, module, path, folderOf(path));
    } catch (error) {
      delete cache[path];
      throw error;
    }
  }
  finish(module);
  return module;
}

/** The text of a module, without the types of TypeScript. */
function code(path) {
  const source = text(path).replace(/^\uFEFF/, "").replace(/^#!.*/, "");
  return typescript.is(path) ? typescript.stripped(path, source) : source;
}

const BEFORE = "(function (exports, require, module, __filename, __dirname) {";

/** The first line stays the first: what stands before it is on it. */
function compile(path, source) {
  note(path, source, BEFORE.length);
  try {
    native.room(2 * (BEFORE.length + source.length));
    return native.compile(BEFORE, source, path);
  } catch (error) {
    throw placed(error, path);
  }
}

/** Whether a text with this error would be right as an ES module. */
function looksLikeModule(source) {
  return /^\s*(import\b(?!\s*\()|export\b)/m.test(source) || /\bawait\b|\bimport\.meta\b/.test(source);
}

function isModule(path, source) {
  if (/\.m[jt]s$/.test(path)) return true;
  if (/\.c[jt]s$/.test(path)) return false;
  for (let folder = folderOf(path); ; folder = folderOf(folder)) {
    const about = packageOf(folder);
    if (about?.type !== undefined) return about.type === "module";
    if (about !== undefined || folder === "/") break;
  }
  if (!looksLikeModule(source)) return false;
  try {
    compile(path, source);
    return false;
  } catch (error) {
    return error instanceof SyntaxError;
  }
}

/** For QuickJS: the path of what an ES module imports. */
exports.resolve = (base, name) => resolved(base, name, ["import"]);

/** For QuickJS: the text of an ES module. What is none is one that exports what is required. */
exports.load = (path) => {
  let value;
  if (path.startsWith("node:")) {
    value = builtin(path.slice(5));
  } else {
    if (!path.endsWith(".json")) {
      const source = code(path);
      if (isModule(path, source)) {
        note(path, source, 0);
        return source;
      }
    }
    value = loadCommon(path).exports;
  }
  const key = `wayfare:exports:${path}`;
  carried.set(key, value);
  const names = value !== null && ["object", "function"].includes(typeof value) ? Object.keys(value) : [];
  const fit = names.filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default");
  const lines = fit.map((name, at) => `const v${at} = m[${JSON.stringify(name)}]; export { v${at} as ${name} };`);
  const from = `globalThis[Symbol.for("wayfare.exports")](${JSON.stringify(key)})`;
  return `const m = ${from}; export default m; ${lines.join(" ")}`;
};

const carried = new Map();
Object.defineProperty(globalThis, Symbol.for("wayfare.exports"), { value: (key) => carried.get(key) });

/** Begins the program at `path`. Something with `isSettled`, where it may go on after its first turn. */
exports.begin = (path) => {
  if (path === undefined) throw new Error("javascript FILE: runs a program");
  path = join(process.cwd(), path);
  if (stat(path) !== "file") throw new Error(`there is no program ${path}`);
  if (!isModule(path, code(path))) {
    loadCommon(path, true);
    return undefined;
  }
  const main = { isSettled: false };
  native.import(path).then(
    () => {
      main.isSettled = true;
    },
    (error) => {
      main.isSettled = true;
      throw error;
    },
  );
  return main;
};
