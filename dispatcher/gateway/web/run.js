// Running a program: a sample, or a module or source text that is dropped on the page, with its arguments and grants.

import { get, send } from "./api.js";
import { order } from "./dialog.js";
import { h, toast } from "./dom.js";
import { model } from "./model.js";
import { size } from "./words.js";

const GRANTS = [
  ["allow_pub", "Publish to topics", "site/+/temperature"], ["allow_sub", "Subscribe to topics", "site/#"],
  ["allow_fs", "Use files of the fleet", "/fleet/data:rw"], ["allow_state", "Share values", "/shared"],
  ["allow_device", "Use devices", "led"], ["allow_serve", "Provide services", "calc"], ["allow_call", "Call services", "calc"],
];

const DROP = "or drop a file here: .wasm, .js, .ts, .py, …";

export async function show(main, args, signal) {
  let file = null;
  const input = (name, props = {}) => h("input", { type: "text", name, ...props });
  const field = (text, control) => h("label", { class: "field" }, text, control);
  const chosen = h("p", { class: "hint" }, DROP);
  const choose = (found) => {
    file = found ?? null;
    chosen.textContent = file ? `${file.name}, ${size(file.size)}` : DROP;
    samples.disabled = Boolean(file);
  };
  const picker = h("input", { type: "file", "aria-label": "A file with the program", onchange: () => choose(picker.files[0]) });
  const samples = h("select", { name: "sample", "aria-label": "Sample" });
  const engines = h("select", { name: "on" });
  const grants = GRANTS.map(([name, text, example]) => field(text, input(name, { placeholder: example })));
  const button = h("button", { class: "primary" }, "Run");
  const form = h("form", { class: "panel form" },
    h("div", { class: "drop" }, field("Sample", samples), h("div", {}, picker, chosen)),
    h("div", { class: "fields" }, field("Name", input("name", { placeholder: "as the module" })), field("Engine", engines),
      field("Arguments, one a line", h("textarea", { name: "arg", class: "small" })), field("Memory", input("memory", { placeholder: "such as 16M" }))),
    h("details", {}, h("summary", {}, "Grants: what it may do beyond its own memory"), h("label", {}, h("input", { type: "checkbox", name: "allow_declared" }), " What the source text itself declares"), h("p", { class: "hint" }, "Several are separated by blanks."), h("div", { class: "fields" }, grants)),
    h("div", { class: "row" }, button));
  main.append(h("div", { class: "head" }, h("h1", {}, "Run a program")), form);
  for (const name of ["dragover", "drop"]) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      if (name === "drop") choose(event.dataTransfer.files[0]);
    }, { signal });
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    await run(new FormData(form), file);
    button.disabled = false;
  }, { signal });
  const listEngines = () => {
    const names = [...model.engines.values()].filter((engine) => engine.online).map((engine) => engine.engine).sort();
    if (engines.dataset.names === names.join()) return;
    engines.dataset.names = names.join();
    const before = engines.value;
    engines.replaceChildren(h("option", { value: "" }, "The best one"), ...names.map((name) => h("option", { value: name, selected: name === before }, name)));
  };
  model.on("change", listEngines, signal);
  listEngines();
  const found = await get("samples").catch(() => []);
  samples.replaceChildren(...found.map((sample) => h("option", { value: sample.name }, `${sample.name}: ${sample.about}`)));
}

async function run(data, file) {
  const params = { name: data.get("name").trim(), on: data.get("on"), memory: data.get("memory").trim(), arg: data.get("arg").split("\n").filter(Boolean) };
  for (const [name] of GRANTS) params[name] = data.get(name).split(/\s+/).filter(Boolean);
  if (file) {
    params.name ||= file.name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._-]/g, "-");
    params.file = file.name;
    if (data.has("allow_declared")) params.allow_declared = true;
  }
  else params.sample = data.get("sample");
  const result = await order(`Run ${params.name || params.sample}`, () => send("programs", params, file ?? ""));
  if (result?.program) location.hash = `#/program/${result.program}`;
  else if (result) toast(JSON.stringify(result));
}
