// Instruments programs as ThingsJS does, so that they run on its own runner: `node thingsjs.cjs THINGSJS OUT PROGRAM.js...`. What is written
// is run with `node -r thingsjs.cjs`, which stands in for the broker: nothing is published.
const Module = require("module");
const { basename, join } = require("path");
const load = Module._load;
const { EventEmitter } = require("events");
const nobody = () => Object.assign(new EventEmitter(), { publish() {}, subscribe() {}, end() {} });
Module._load = function (name, ...rest) {
  if (name === "mqtt") return { connect: nobody };
  if (["mosca", "mongoose", "express"].includes(name)) return {};
  return load.call(this, name, ...rest);
};
if (require.main === module) {
  const fs = require("fs");
  const [things, out, ...programs] = process.argv.slice(2);
  const Code = require(join(things, "lib/core/Code.js"));
  for (const path of programs) {
    const name = basename(path, ".js");
    const code = Code.instrument({ url: "mqtt://nowhere" }, name, fs.readFileSync(path, "utf8"));
    fs.writeFileSync(join(out, `${name}.js`), code.replace("things-js/lib/core/Code", join(things, "lib/core/Code.js")));
  }
}
