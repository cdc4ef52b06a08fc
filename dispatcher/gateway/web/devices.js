// Devices of engines: what they give, as it changes, and what simulated ones are set to.

import { get, part, post } from "./api.js";
import { order } from "./dialog.js";
import { h, setClass, setText } from "./dom.js";
import { model } from "./model.js";
import { count, engineBadge, engineState, inOrder } from "./words.js";

// Each is asked by itself, while the page is looked at.
const ENGINES_MAX = 8;
const PERIOD_MS = 1000;
const LEVELS_MAX = 16;

export function show(main, args, signal) {
  const search = h("input", { type: "search", placeholder: "Engines or devices…", "aria-label": "Engines or devices called", value: args[0] ?? "", class: "grow" });
  const facts = h("p", { class: "facts" });
  const box = h("div");
  const panels = new Map();
  main.append(h("div", { class: "head" }, h("div", {}, h("h1", {}, "Devices"), facts), search), box);
  const choose = () => {
    const wanted = search.value.trim().toLowerCase();
    const found = [...model.engines.values()].filter((engine) => Object.keys(engine.about?.devices ?? {}).some((alias) => `${engine.engine} ${alias}`.toLowerCase().includes(wanted)));
    found.sort((a, b) => inOrder(a.engine, b.engine));
    const shown = found.slice(0, ENGINES_MAX);
    setText(facts, found.length > shown.length ? `${shown.length} of ${found.length} engines with devices: say more of the name for others` : `${count(found.length, "engine")} with devices`);
    for (const [name, panel] of panels) {
      if (shown.some((engine) => engine.engine === name)) continue;
      panel.end();
      panels.delete(name);
    }
    for (const engine of shown) {
      if (panels.has(engine.engine)) panels.get(engine.engine).about(engine);
      else panels.set(engine.engine, new Panel(engine));
    }
    const elements = shown.map((engine) => panels.get(engine.engine).element);
    // What is the same is left alone, so that an input keeps the focus.
    if (elements.length === 0) box.replaceChildren(none(wanted));
    else if (elements.length !== box.children.length || elements.some((element, place) => box.children[place] !== element)) box.replaceChildren(...elements);
  };
  search.addEventListener("input", choose, { signal });
  model.on("change", choose, signal);
  signal.addEventListener("abort", () => panels.forEach((panel) => panel.end()));
  choose();
}

function none(wanted) {
  if (wanted) return h("p", { class: "hint" }, "No engine or device is called like that.");
  return h("section", { class: "panel" }, h("p", {}, "No engine offers a device. An engine's settings name them, real ones and simulated ones:"),
    h("pre", {}, "[devices.button]\nkind = \"gpio-in\"\nbackend = \"simulated\""));
}

class Panel {
  constructor(engine) {
    this.name = engine.engine;
    this.rows = new Map();
    this.badge = h("span", { class: "badge" });
    this.problem = h("p", { class: "error", role: "status", hidden: true });
    this.body = h("tbody");
    this.element = h("section", { class: "panel", dataset: { engine: engine.engine } },
      h("div", { class: "head" }, h("h2", {}, engine.engine), this.badge), this.problem,
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Devices of ${engine.engine}` }, h("table", {},
        h("thead", {}, h("tr", {}, ["Device", "Kind", "Is", "Gives", "Set"].map((text) => h("th", { scope: "col" }, text)))), this.body)));
    this.about(engine);
    this.loop();
  }

  about(engine) {
    this.isOnline = engine.online;
    setText(this.badge, engineState(engine));
    setClass(this.badge, `badge ${engineBadge(engine)}`);
    this.element.classList.toggle("away", !engine.online);
    this.draw(Object.entries(engine.about.devices).map(([device, about]) => ({ device, ...about, is_unknown: !engine.online })));
  }

  end() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.element.remove();
  }

  async loop() {
    if (!document.hidden && this.isOnline) await this.look();
    if (this.isOver) return;
    this.timer = setTimeout(() => this.loop(), PERIOD_MS);
  }

  async look() {
    const found = await get(`engines/${part(this.name)}/devices`, { timeout: "5s" }).catch((problem) => problem);
    if (this.isOver) return;
    this.problem.hidden = Array.isArray(found);
    if (Array.isArray(found)) this.draw(found);
    else setText(this.problem, found.text ?? String(found));
  }

  draw(found) {
    for (const one of found) {
      if (!this.rows.has(one.device)) this.add(one);
      this.rows.get(one.device)(one);
    }
    this.body.querySelectorAll("tr").forEach((row) => {
      if (found.some((one) => one.device === row.dataset.device)) return;
      this.rows.delete(row.dataset.device);
      row.remove();
    });
  }

  add(one) {
    const gives = h("td", { class: "gives" });
    this.body.append(h("tr", { dataset: { device: one.device } }, h("td", { class: "mono" }, one.device), h("td", {}, one.kind),
      h("td", {}, one.backend === "simulated" ? "simulated" : "real"), gives, h("td", {}, this.control(one))));
    let drawn = "";
    this.rows.set(one.device, (now) => {
      // What its engine says of itself has no readings.
      if (!now.reading && !now.problem && !now.is_unknown && drawn) return;
      const text = JSON.stringify(now.reading ?? now.problem ?? now.is_unknown);
      if (text === drawn) return;
      drawn = text;
      gives.replaceChildren(...(now.reading ? reading(now.reading) : [h("span", { class: "hint" }, now.problem?.message ?? (now.is_unknown ? "not known: the engine is away" : "asking…"))]));
    });
  }

  control(one) {
    if (one.backend !== "simulated") return "–";
    const set = async (value) => {
      const path = `engines/${part(this.name)}/devices/${part(one.device)}`;
      if (await order(`Set ${one.device} to ${value}`, () => post(path, { value }))) this.look();
    };
    if (one.kind === "gpio-in") return h("div", { class: "row" }, ["on", "off"].map((value) => h("button", { "aria-label": `Set ${one.device} ${value}`, onclick: () => set(value) }, value)));
    if (one.kind !== "adc" && one.kind !== "serial") return "–";
    const input = h("input", { type: one.kind === "adc" ? "number" : "text", step: "any", required: true, "aria-label": one.kind === "adc" ? `Value of ${one.device}` : `Text that ${one.device} receives` });
    return h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); set(input.value); } }, input, h("button", { "aria-label": `Set ${one.device}` }, one.kind === "adc" ? "Set" : "Send"));
  }
}

function level(active) {
  return active === null ? "released" : active ? "on" : "off";
}

function lamp(active) {
  return h("span", { class: `lamp ${active ? "on" : ""}`, "aria-hidden": "true" });
}

function reading(one) {
  if (one.is === "level") return [lamp(one.active), level(one.active)];
  if (one.is === "sample") return [h("strong", {}, String(one.scaled)), h("span", { class: "hint" }, ` (raw ${one.raw})`)];
  if (one.is === "bytes") return [one.bytes.length ? h("code", {}, escaped(one.bytes)) : h("span", { class: "hint" }, "nothing")];
  if (one.is !== "output") return [JSON.stringify(one)];
  if (one.changes === 0) return [lamp(false), h("span", { class: "hint" }, "never driven")];
  const last = one.last.slice(-LEVELS_MAX);
  return [lamp(one.active), `${level(one.active)} after ${count(one.changes, "change")}`,
    h("span", { class: "levels", role: "img", "aria-label": `The last: ${last.map(level).join(" ")}` }, last.map((active) => h("i", { class: level(active) })))];
}

function escaped(bytes) {
  const shown = bytes.slice(0, 256).map((byte) => (byte >= 32 && byte < 127 && byte !== 92 ? String.fromCharCode(byte) : byte === 10 ? "\\n" : `\\x${byte.toString(16).padStart(2, "0")}`)).join("");
  return bytes.length > 256 ? `${shown}…` : shown;
}
