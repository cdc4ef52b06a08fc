"use strict";
// What a program finds, and how it is begun. `native` is what the host offers: only the runtime's own modules get it.

const modules = new Map();

/** The runtime's own modules, each made when it is first asked for. */
function builtin(name) {
  let module = modules.get(name);
  if (module === undefined) {
    const source = native.source(name);
    if (source === undefined) throw new Error(`the runtime has no module '${name}'`);
    module = { exports: {}, id: name, filename: `wayfare:${name}`, loaded: false };
    modules.set(name, module);
    const body = native.compile("(function (exports, require, module, native) {", source, module.filename);
    body.call(module.exports, module.exports, builtin, module, native);
    module.loaded = true;
  }
  return module.exports;
}

builtin("internal/globals").install(globalThis, builtin);
const loop = builtin("internal/loop");
const { begin, resolve, load } = builtin("internal/modules");
native.hooks(resolve, load, loop.rejected);
loop.run(() => begin(native.args[1]));
