// The fleet: a card for each engine, its programs as chips. A chip glides to its new card when its program moves, and says for how long that stood still.

import { post, send } from "./api.js";
import { confirmed, dialog, moveTo, order } from "./dialog.js";
import { draggable } from "./drag.js";
import { facts, h, reducedMotion, setClass, setText, toast } from "./dom.js";
import { model } from "./model.js";
import { age, count, describe, engineBadge, engineState, inOrder, isEnded, micros, programMark, programState, size } from "./words.js";

const GLIDE_MS = 650;
// How long a chip says for how long it stood still.
const STILL_MS = 12000;
// More are found by search or in their group: a page of thousands helps nobody.
const CARDS_MAX = 120;
const CHIPS_MAX = 60;

export function show(main, args, signal) {
  new Fleet(main, signal);
}

class Fleet {
  constructor(main, signal) {
    this.signal = signal;
    this.cards = new Map();
    this.chips = new Map();
    this.more = false;
    this.search = h("input", { type: "search", placeholder: "Search engines and programs", "aria-label": "Search engines and programs", class: "grow", oninput: () => this.draw() });
    this.grouping = h("select", { "aria-label": "Group engines by", onchange: () => this.draw() }, h("option", { value: "" }, "No groups"));
    this.ended = h("input", { type: "checkbox", onchange: () => this.draw() });
    this.facts = h("p", { class: "facts" });
    this.notices = h("div");
    this.list = h("div");
    main.append(
      h("div", { class: "head" }, h("div", {}, h("h1", {}, "Fleet"), this.facts), this.search, this.grouping, h("label", { class: "inline" }, this.ended, "Ended programs")),
      this.notices, this.list);
    draggable(this.list, signal);
    model.on("change", () => this.soon(), signal);
    model.on("operation", (operation) => this.operation(operation), signal);
    const clock = setInterval(() => this.soon(), 5000);
    signal.addEventListener("abort", () => clearInterval(clock));
    this.draw();
  }

  // Once for all changes of a frame.
  soon() {
    if (this.frame || this.signal.aborted) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
    // A page that is not seen has no frames: it is drawn when it is seen again.
  }

  operation(event) {
    if (event.event !== "done" || event.outcome?.result !== "moved") return;
    const chip = this.chips.get(event.program);
    const text = micros(event.outcome.report.downtime_us);
    this.still ??= new Map();
    this.still.set(event.program, { text, until: performance.now() + STILL_MS });
    if (chip) this.soon();
  }

  draw() {
    if (!model.isComplete) {
      this.list.replaceChildren(h("p", { class: "hint" }, "Waiting for the fleet…"));
      return;
    }
    const before = this.places();
    const wanted = this.search.value.trim().toLowerCase();
    const byEngine = this.byEngine(wanted);
    const engines = [...model.engines.values()].sort((a, b) => inOrder(a.engine, b.engine));
    const found = engines.filter((engine) => !wanted || byEngine.get(engine.engine)?.length || matchesEngine(engine, wanted));
    const groups = this.groups(found);
    this.headline(engines);
    this.drawNotices(engines);
    let room = this.more ? Infinity : CARDS_MAX;
    const parts = [];
    for (const [name, members] of groups) {
      const shown = members.slice(0, Math.max(0, room));
      room -= shown.length;
      if (name !== null) parts.push(this.groupHead(name, members, byEngine));
      if (shown.length) parts.push(this.gridOf(name, shown, byEngine));
    }
    const left = this.more ? 0 : Math.max(0, found.length - CARDS_MAX);
    if (left) parts.push(h("p", { class: "row" }, h("button", { onclick: () => { this.more = true; this.draw(); } }, `Show ${left.toLocaleString()} more engines`)));
    if (engines.length && !found.length) parts.push(h("p", { class: "hint" }, `Nothing in the fleet is called like “${wanted}”.`));
    replace(this.list, parts);
    this.glide(before);
  }

  // Programs to be shown, by engine.
  byEngine(wanted) {
    const byEngine = new Map();
    for (const program of model.programs.values()) {
      if (isEnded(program) && !this.ended.checked && program.state !== "failed") continue;
      if (wanted && !matchesProgram(program, wanted) && !program.engine.toLowerCase().includes(wanted)) continue;
      if (!byEngine.has(program.engine)) byEngine.set(program.engine, []);
      byEngine.get(program.engine).push(program);
    }
    for (const programs of byEngine.values()) programs.sort((a, b) => inOrder(a.name, b.name) || (a.program < b.program ? -1 : 1));
    return byEngine;
  }

  groups(engines) {
    this.offerGroups();
    const key = this.grouping.value;
    if (!key) return new Map([[null, engines]]);
    const groups = new Map();
    for (const engine of engines) {
      const name = key === "state" ? engineState(engine) : key === "host" ? engine.about?.host ?? "unknown host" : engine.about?.labels?.[key.slice(6)] ?? "none";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(engine);
    }
    return new Map([...groups].sort(([a], [b]) => a.localeCompare(b)));
  }

  offerGroups() {
    const labels = new Set();
    for (const engine of model.engines.values()) for (const label of Object.keys(engine.about?.labels ?? {})) labels.add(label);
    const offers = [["", "No groups"], ["state", "By state"], ["host", "By host"], ...[...labels].sort().map((label) => [`label:${label}`, `By ${label}`])];
    const known = offers.map(([value]) => value).join();
    if (this.known === known) return;
    this.known = known;
    const chosen = this.grouping.value;
    this.grouping.replaceChildren(...offers.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  }

  groupHead(name, members, byEngine) {
    const programs = members.reduce((sum, engine) => sum + (byEngine.get(engine.engine)?.length ?? 0), 0);
    return h("div", { class: "group" }, h("h2", {}, name), h("span", { class: "hint" }, `${count(members.length, "engine")}, ${count(programs, "program")}`));
  }

  gridOf(name, engines, byEngine) {
    this.grids ??= new Map();
    if (!this.grids.has(name)) this.grids.set(name, h("div", { class: "cards" }));
    const grid = this.grids.get(name);
    replace(grid, engines.map((engine) => this.card(engine, byEngine.get(engine.engine) ?? [])));
    return grid;
  }

  headline(engines) {
    const online = engines.filter((engine) => engine.online).length;
    const states = { running: 0, paused: 0 };
    let failed = 0;
    for (const program of model.programs.values()) {
      const state = programState(program);
      if (state in states) states[state] += 1;
      if (state === "failed" || state === "lost") failed += 1;
    }
    setText(this.facts, [
      `${online} of ${count(engines.length, "engine")} online`, `${count(states.running, "program")} running`,
      states.paused && `${states.paused} paused`, failed && `${failed} failed or lost`, !model.acts && "no dispatcher",
    ].filter(Boolean).join(" · "));
  }

  drawNotices(engines) {
    const parts = [];
    if (model.hold) {
      const why = model.hold.reason ? `: ${model.hold.reason}` : "";
      parts.push(h("section", { class: "panel held" }, h("span", {}, `The fleet is held by ${model.hold.by ?? "somebody"}${why}. Nothing is decided, and no order is taken.`),
        h("button", { onclick: () => order("Release", () => post("release")) }, "Release")));
    }
    if (model.alarms.length) {
      parts.push(h("section", { class: "panel alarm", "aria-label": "Alarms" }, h("h2", {}, count(model.alarms.length, "alarm")),
        h("ul", {}, model.alarms.slice(0, 20).map((alarm) => h("li", {}, `${alarm.text} (since ${age(Date.now() - alarm.since_ms)})`)))));
    }
    const lively = [...model.programs.values()].some((program) => !isEnded(program));
    if (!lively) parts.push(this.welcome(engines.filter((engine) => engine.online)));
    // Drawn again only if it says something else, so that a button keeps the focus.
    const text = parts.map((part) => part.textContent).join("\n");
    if (text === this.noticed) return;
    this.noticed = text;
    this.notices.replaceChildren(...parts);
  }

  // A first visit: what there is to see, in one press.
  welcome(online) {
    if (!online.length) {
      return h("section", { class: "panel welcome" }, h("h2", {}, "No engine is online"),
        h("p", {}, "Start two on this machine with ", h("code", {}, "wayfare up --engines 2"), ", or one on a board with ", h("code", {}, "wayfare engine start"), "."));
    }
    const start = async (event) => {
      const button = event.currentTarget;
      button.disabled = true;
      const result = await order("Run primes", () => send("programs", { sample: "primes", arg: ["80000000"], name: "primes", on: online[0].engine }, ""));
      button.disabled = result !== null;
    };
    return h("section", { class: "panel welcome" }, h("h2", {}, "Nothing runs yet"),
      h("p", {}, "Run the sample ", h("b", {}, "primes"), ", which counts in nested loops that never yield, and then ",
        online.length > 1 ? "drag it to another engine: it goes on in the middle of its loop." : "start a second engine to move it to: wayfare up --engines 2."),
      h("div", { class: "row" }, h("button", { class: "primary", onclick: start }, `Run it on ${online[0].engine}`)));
  }

  card(engine, programs) {
    let card = this.cards.get(engine.engine);
    if (!card) {
      card = newCard(engine.engine, this.signal);
      this.cards.set(engine.engine, card);
    }
    const about = engine.about;
    const state = engineState(engine);
    setText(card.state, state);
    setClass(card.state, `badge ${engineBadge(engine)}`);
    card.root.classList.toggle("away", !engine.online);
    const ago = engine.offline_since ? `last seen ${age(Date.now() - engine.offline_since)} ago` : null;
    const devices = Object.keys(about?.devices ?? {});
    setText(card.sub, [!engine.online && ago, about?.platform, about?.host, devices.length && count(devices.length, "device"), engine.rival && "two engines have this name"].filter(Boolean).join(" · "));
    drawBars(card, engine);
    const shown = programs.slice(0, CHIPS_MAX);
    const items = shown.map((program) => this.chip(program));
    if (programs.length > shown.length) items.push(h("li", { class: "none" }, `and ${programs.length - shown.length} more`));
    if (!items.length) items.push(card.none);
    replace(card.chips, items);
    return card.root;
  }

  chip(program) {
    let chip = this.chips.get(program.program);
    if (!chip) {
      chip = newChip(program.program);
      this.chips.set(program.program, chip);
    }
    const state = programState(program);
    if (chip.button.dataset.state !== state) chip.button.dataset.state = state;
    setText(chip.mark, programMark(state));
    setText(chip.name, program.instance ?? program.name);
    setText(chip.word, state === "running" ? "" : state);
    const still = this.still?.get(program.program);
    const isStill = still && still.until > performance.now();
    setText(chip.still, isStill ? `stood still ${still.text}` : "");
    chip.still.hidden = !isStill;
    chip.button.setAttribute("aria-label", `${program.instance ?? program.name}, ${describe(program)}, on ${program.engine}${isStill ? `, stood still ${still.text}` : ""}`);
    chip.engine = program.engine;
    return chip.item;
  }

  // Where chips are, before anything is drawn.
  places() {
    const places = new Map();
    for (const [id, chip] of this.chips) {
      if (!model.programs.has(id)) {
        this.chips.delete(id);
        continue;
      }
      const engine = model.programs.get(id).engine;
      if (chip.engine !== engine && chip.item.isConnected) places.set(id, chip.item.getBoundingClientRect());
    }
    for (const id of this.cards.keys()) if (!model.engines.has(id)) this.cards.delete(id);
    return places;
  }

  // Each that is on another card now comes from where it was.
  glide(before) {
    for (const [id, from] of before) {
      const chip = this.chips.get(id);
      if (!chip?.item.isConnected || reducedMotion.matches) continue;
      const to = chip.item.getBoundingClientRect();
      const way = `translate(${from.left - to.left}px, ${from.top - to.top}px)`;
      chip.item.style.zIndex = "5";
      chip.item.style.position = "relative";
      chip.button.classList.add("landed");
      const animation = chip.item.animate([{ transform: way }, { transform: "none" }], { duration: GLIDE_MS, easing: "cubic-bezier(.3,.7,.2,1)" });
      const end = () => {
        chip.item.style.zIndex = chip.item.style.position = "";
        setTimeout(() => chip.button.classList.remove("landed"), 1500);
      };
      animation.finished.then(end, end);
    }
  }
}

function newCard(id, signal) {
  const card = {
    state: h("span", { class: "badge" }), sub: h("p", { class: "sub" }), bars: h("div", { class: "bars" }),
    chips: h("ul", { class: "chips", "aria-label": `Programs on ${id}` }), none: h("li", { class: "none" }, "no programs"), why: h("p", { class: "why", role: "note" }),
  };
  const menu = h("button", { class: "plain", "aria-label": `What to do with ${id}`, onclick: () => engineMenu(id) }, "⋯");
  const title = h("h2", { title: id }, id);
  card.root = h("article", { class: "card", dataset: { engine: id }, "aria-label": `Engine ${id}` }, h("header", {}, title, card.state, menu), card.sub, card.bars, card.chips, card.why);
  signal.addEventListener("abort", () => card.root.remove(), { once: true });
  return card;
}

function newChip(id) {
  const chip = { mark: h("span", { class: "mark", "aria-hidden": "true" }), name: h("span", { class: "name" }), word: h("span", { class: "word" }), still: h("span", { class: "still", hidden: true }) };
  chip.button = h("button", { class: "chip", dataset: { program: id } }, chip.mark, chip.name, chip.word, chip.still);
  chip.item = h("li", {}, chip.button);
  return chip;
}

function drawBars(card, engine) {
  const { about, load } = engine;
  const rows = [];
  if (about && load) {
    const used = Math.max(0, about.memory_bytes - load.memory_available_bytes);
    rows.push(["Memory", used / about.memory_bytes, `${size(used)} of ${size(about.memory_bytes)}`]);
    const most = about.processors * 1000;
    rows.push(["CPU", Math.min(1, load.processor_millicores / most), `${Math.round((100 * load.processor_millicores) / most)} % of ${about.processors}`]);
  }
  if (about) rows.push(["Programs", engine.programs / about.programs_max, `${engine.programs} of ${about.programs_max}`]);
  const text = rows.map((row) => row.join()).join();
  if (card.barText === text) return;
  card.barText = text;
  card.bars.replaceChildren(...rows.flatMap(([name, share, words]) => [
    h("span", {}, name), h("meter", { min: 0, max: 1, low: 0.75, high: 0.9, optimum: 0, value: share, "aria-label": `${name}: ${words}` }), h("span", {}, words),
  ]));
}

function engineMenu(id) {
  const engine = model.engines.get(id);
  if (!engine) return;
  dialog(id, (box, close) => {
    const { about } = engine;
    box.append(facts([
      ["State", engineState(engine)], ["Host", about?.host], ["Platform", about?.platform], ["Version", about?.version],
      ["Labels", Object.entries(about?.labels ?? {}).map((pair) => pair.join("=")).join(" ")],
      ["Devices", Object.entries(about?.devices ?? {}).map(([alias, device]) => `${alias}: ${device.kind}`).join(", ")],
      ["Takes", about && (about.compiles ? "WebAssembly" : "compiled code only")],
    ]));
    const path = `engines/${encodeURIComponent(id)}`;
    const act = (text, verb) => h("button", { onclick: () => { close(); order(`${text} ${id}`, () => post(`${path}/${verb}`)); } }, text);
    const drain = () => confirmed(`Drain ${id}?`, "What it has goes to other engines, and it gets nothing new.", "Drain", () => order(`Drain ${id}`, () => post(`${path}/drain`)));
    box.append(h("div", { class: "row" }, engine.mark ? act("Uncordon", "uncordon") : act("Cordon", "cordon"), h("button", { onclick: () => { close(); drain(); } }, "Drain")));
  });
}

// Puts these in the place of what is there, and leaves those alone that are where they should be.
function replace(parent, children) {
  children.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  while (parent.children.length > children.length) parent.lastChild.remove();
}

function matchesProgram(program, wanted) {
  return [program.name, program.instance, program.program, programState(program)].some((text) => text?.toLowerCase().includes(wanted));
}

function matchesEngine(engine, wanted) {
  const labels = Object.entries(engine.about?.labels ?? {}).map((pair) => pair.join("="));
  return [engine.engine, engine.about?.host, engineState(engine), ...labels].some((text) => text?.toLowerCase().includes(wanted));
}
