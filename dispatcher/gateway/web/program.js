// One program: what is known of it, its last lines as they come, its orders, and all that can be done with it.

import { get, part } from "./api.js";
import { actions } from "./dialog.js";
import { facts, h, setClass, setText } from "./dom.js";
import { LogView } from "./loglines.js";
import { model } from "./model.js";
import { age, describe, micros, programMark, programState, short, size, time } from "./words.js";

const SAMPLES_MAX = 120;

export function show(main, [id], signal) {
  if (model.programs.has(id)) {
    new Program(main, id, signal);
    return;
  }
  const { isComplete } = model;
  const waiting = new AbortController();
  const within = AbortSignal.any([signal, waiting.signal]);
  const gone = h("p", { class: "hint" }, isComplete ? "The fleet does not know this program. What is kept of its log:" : "Waiting for the fleet…");
  main.append(h("div", { class: "head" }, h("h1", {}, `Program ${short(id ?? "")}`)), gone);
  if (isComplete) new LogView(main, [id], within);
  // One that was started a moment ago is heard of soon.
  model.on("change", () => {
    if (!model.programs.has(id) && isComplete === model.isComplete) return;
    waiting.abort();
    main.replaceChildren();
    show(main, [id], signal);
  }, within);
}

class Program {
  constructor(main, id, signal) {
    this.id = id;
    this.title = h("h1");
    this.state = h("span", { class: "badge" });
    this.buttons = h("div", { class: "row" });
    this.facts = h("div");
    this.moves = h("ol", { class: "plain-list" });
    this.memory = [];
    this.graph = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.graph.setAttribute("class", "graph");
    this.graph.setAttribute("viewBox", "0 0 300 60");
    this.graph.setAttribute("preserveAspectRatio", "none");
    this.graph.setAttribute("role", "img");
    const log = h("section", { class: "panel" }, h("h2", {}, "Log"));
    main.append(
      h("div", { class: "head" }, h("a", { href: "#/fleet" }, "Fleet"), this.title, this.state, h("span", { class: "grow" }), this.buttons),
      h("div", { class: "columns" },
        h("section", { class: "panel" }, h("h2", {}, "What is known"), this.facts),
        h("section", { class: "panel" }, h("h2", {}, "Memory"), this.graph, h("h2", { class: "later" }, "Orders"), this.moves)),
      log);
    new LogView(log, [id], signal);
    model.on("change", (change) => (change.all || change.programs.includes(id)) && this.draw(), signal);
    model.on("operation", (operation) => operation.program === id && this.operation(operation), signal);
    this.services = [];
    this.draw();
    this.orders();
    this.provides();
  }

  draw() {
    const program = model.programs.get(this.id);
    if (!program) {
      setText(this.state, "gone");
      setClass(this.state, "badge bad");
      this.buttons.replaceChildren();
      return;
    }
    const state = programState(program);
    setText(this.title, program.instance ?? program.name);
    setText(this.state, `${programMark(state)} ${state}`);
    setClass(this.state, `badge ${{ running: "ok", paused: "warn", moving: "move", starting: "move", failed: "bad", lost: "bad", "in doubt": "bad" }[state] ?? ""}`);
    // What they do is about where it is now.
    const drawn = `${state} ${program.engine}`;
    if (this.drawn !== drawn) this.buttons.replaceChildren(...actions(program));
    this.drawn = drawn;
    this.facts.replaceChildren(facts([
      ["State", describe(program)], ["Engine", program.engine], ["Id", h("code", {}, program.program)], ["Name", program.name],
      ["Application", program.instance && h("a", { href: `#/apps/${part(program.instance.split("/")[0])}` }, program.instance)],
      ["Module", h("code", {}, program.module)], ["Memory", program.memory_bytes ? size(program.memory_bytes) : "not reported yet"],
      ["Generation", String(program.generation)],
      ["Runs since", program.since_ms && `${time(program.since_ms)}, for ${age(Date.now() - program.since_ms)}`], ["Restarts", program.restarts?.toString()],
      ["Services", this.services.join(", ")],
      ["Page", this.services.includes("http") ? h("a", { href: `/r/${part(this.id)}/`, target: "_blank", rel: "noopener" }, `/r/${program.name}/`) : null],
    ]));
    this.sample(program.memory_bytes);
  }

  sample(bytes) {
    if (!bytes) return;
    this.memory.push(bytes);
    if (this.memory.length > SAMPLES_MAX) this.memory.shift();
    const most = Math.max(...this.memory);
    const step = 300 / Math.max(1, this.memory.length - 1);
    const points = this.memory.length === 1 ? [[0, bytes], [300, bytes]] : this.memory.map((value, place) => [place * step, value]);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", points.map(([x, value]) => `${x.toFixed(1)},${(58 - 50 * (value / most)).toFixed(1)}`).join(" "));
    this.graph.setAttribute("aria-label", `Memory since this page was opened: now ${size(bytes)}, at most ${size(most)}`);
    this.graph.replaceChildren(line);
  }

  operation(event) {
    if (event.event === "done" || event.event === "failed") this.orders();
  }

  async provides() {
    const found = await get("services").catch(() => []);
    const mine = found.filter((one) => one.program === this.id && one.address.startsWith("service/"));
    this.services = mine.map((one) => one.address.slice("service/".length));
    this.draw();
  }

  async orders() {
    const found = await get("ops", { program: this.id, limit: 8 }).catch(() => []);
    const text = (record) => {
      const to = record.target ? ` to ${record.target}` : "";
      const still = record.result?.report ? `, stood still ${micros(record.result.report.downtime_us)}` : "";
      return `${time(record.begun_ms)} ${record.verb}${to}: ${record.state}${record.reason ? `, ${record.reason}` : ""}${still}${record.by ? ` (${record.by})` : ""}`;
    };
    this.moves.replaceChildren(...(found.length ? found.map((record) => h("li", {}, text(record))) : [h("li", { class: "hint" }, "no orders are kept")]));
  }
}
