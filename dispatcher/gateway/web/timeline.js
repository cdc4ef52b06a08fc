// The time line: a lane for each engine, a bar for each program where it was and when, which hops lanes when it moves; what was decided as marks below.
// Dragging pans, the wheel and the buttons zoom, the pointer reads the moment. Made of the orders and events that the dispatcher keeps: yesterday too.

import { get } from "./api.js";
import { h, setText } from "./dom.js";
import { model } from "./model.js";
import { inOrder, isEnded, micros, moment, time } from "./words.js";

const HOUR_MS = 3600000;
const SPAN_MIN_MS = 2000;
const SPAN_MAX_MS = 30 * 24 * HOUR_MS;
const ORDERS_MAX = 2000;
const EVENTS_MAX = 1000;
const LANE_PX = 26;
// Above the bars of a lane is its name.
const NAME_PX = 22;
// Bars of one lane lie below each other up to here.
const ROWS_MAX = 12;
const COLOURS = 6;
const LANES_MAX = 60;

export function show(main, args, signal) {
  new Timeline(main, signal);
}

class Timeline {
  constructor(main, signal) {
    this.signal = signal;
    this.to = Date.now();
    this.span = HOUR_MS / 6;
    this.isLive = true;
    this.bars = [];
    this.events = [];
    this.range = h("p", { class: "facts" });
    this.lanes = h("div", { class: "lanes", tabindex: "0", role: "group", "aria-label": "Time line: arrow keys pan, plus and minus zoom" });
    this.cursor = h("div", { class: "cursor", hidden: true });
    this.at = h("p", { class: "hint", role: "status" }, "Point at the time line to read a moment.");
    this.list = h("div");
    const button = (text, label, act) => h("button", { "aria-label": label, onclick: act }, text);
    main.append(
      h("div", { class: "head" }, h("div", {}, h("h1", {}, "Time line"), this.range), h("span", { class: "grow" }),
        button("◀", "Earlier", () => this.pan(-0.5)), button("▶", "Later", () => this.pan(0.5)), button("−", "Zoom out", () => this.zoom(2)), button("+", "Zoom in", () => this.zoom(0.5)),
        button("Yesterday", "Yesterday", () => this.go(Date.now() - 24 * HOUR_MS, 24 * HOUR_MS)), button("Now", "Now", () => this.live())),
      h("section", { class: "panel" }, this.lanes, this.at), h("section", { class: "panel" }, h("h2", {}, "Events in view"), this.list));
    this.listen();
    this.load();
  }

  listen() {
    const { signal } = this;
    const soon = () => this.loadSoon();
    model.on("operation", (operation) => (operation.event === "done" || operation.event === "failed") && soon(), signal);
    model.on("decision", soon, signal);
    model.on("change", () => this.draw(), signal);
    const clock = setInterval(() => this.isLive && !document.hidden && this.live(), 1000);
    signal.addEventListener("abort", () => {
      clearInterval(clock);
      clearTimeout(this.waiting);
    });
    this.lanes.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.share(event));
    }, { signal, passive: false });
    this.lanes.addEventListener("pointerdown", (event) => {
      this.lanes.setPointerCapture(event.pointerId);
      this.held = { x: event.clientX, to: this.to };
    }, { signal });
    this.lanes.addEventListener("pointermove", (event) => this.pointed(event), { signal });
    for (const name of ["pointerup", "pointercancel"]) this.lanes.addEventListener(name, () => (this.held = null), { signal });
    this.lanes.addEventListener("keydown", (event) => {
      const act = { ArrowLeft: () => this.pan(-0.1), ArrowRight: () => this.pan(0.1), "+": () => this.zoom(0.5), "-": () => this.zoom(2) }[event.key];
      if (act) {
        event.preventDefault();
        act();
      }
    }, { signal });
  }

  // Once for all that happens meanwhile: a drag asks with every pixel.
  loadSoon() {
    this.waiting ||= setTimeout(() => {
      this.waiting = 0;
      this.load();
    }, 500);
  }

  async load() {
    const from = this.to - Math.max(this.span * 2, HOUR_MS);
    const since = new Date(from).toISOString();
    const [orders, events] = await Promise.all([get("ops", { limit: ORDERS_MAX }).catch(() => []), get("events", { since, limit: EVENTS_MAX }).catch(() => [])]);
    if (this.signal.aborted) return;
    this.loaded = from;
    this.bars = bars(orders);
    this.events = events;
    this.draw();
  }

  go(to, span) {
    this.isLive = false;
    this.to = Math.min(to, Date.now() + span / 2);
    this.span = Math.max(SPAN_MIN_MS, Math.min(SPAN_MAX_MS, span));
    this.draw();
    if (this.to - this.span < this.loaded) this.loadSoon();
  }

  live() {
    this.isLive = true;
    this.to = Date.now();
    this.draw();
  }

  pan(part) {
    this.go(this.to + part * this.span, this.span);
  }

  zoom(factor, at = 1) {
    const span = Math.max(SPAN_MIN_MS, Math.min(SPAN_MAX_MS, this.span * factor));
    const stays = this.to - this.span * (1 - at);
    if (this.isLive && at === 1) {
      this.span = span;
      this.live();
    } else this.go(stays + span * (1 - at), span);
  }

  share(event) {
    const box = this.lanes.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  }

  pointed(event) {
    const box = this.lanes.getBoundingClientRect();
    if (this.held) this.go(this.held.to - ((event.clientX - this.held.x) / box.width) * this.span, this.span);
    const share = this.share(event);
    const at = this.to - this.span * (1 - share);
    this.cursor.hidden = false;
    this.cursor.style.left = `${share * 100}%`;
    const there = this.bars.filter((bar) => bar.from <= at && (bar.to ?? Date.now()) >= at).map((bar) => `${bar.name} on ${bar.engine}`);
    setText(this.at, `${moment(at)}: ${there.slice(0, 8).join(", ") || "no program that is known of"}${there.length > 8 ? ` and ${there.length - 8} more` : ""}`);
  }

  draw() {
    const [from, to] = [this.to - this.span, this.to];
    setText(this.range, `${moment(from)} to ${moment(to)}${this.isLive ? ", live" : ""}`);
    const place = (at) => `${((at - from) / this.span) * 100}%`;
    // Those where something was come first, if there are many.
    const names = new Set([...this.bars.filter((bar) => bar.from < to && (bar.to ?? Infinity) > from).map((bar) => bar.engine), ...model.engines.keys()]);
    const lanes = [...names].slice(0, LANES_MAX).sort(inOrder).map((engine) => {
      const shown = this.bars.filter((bar) => bar.engine === engine && bar.from < to && (bar.to ?? Date.now()) > from);
      const rows = [];
      const parts = shown.map((bar) => {
        let row = rows.findIndex((end) => end <= bar.from);
        if (row < 0) row = Math.min(rows.length, ROWS_MAX);
        rows[row] = bar.to ?? Infinity;
        const end = Math.min(bar.to ?? Date.now(), to);
        const element = h("div", { class: `bar hue${bar.hue}${bar.to ? "" : " open"}`, title: `${bar.name} on ${engine}, from ${moment(bar.from)}${bar.to ? ` to ${moment(bar.to)}` : ""}${bar.how ? `; ${bar.how}` : ""}` }, bar.name);
        element.style.left = place(Math.max(bar.from, from));
        element.style.width = `${Math.max(0.15, ((end - Math.max(bar.from, from)) / this.span) * 100)}%`;
        element.style.top = `${row * LANE_PX + NAME_PX}px`;
        return element;
      });
      const marks = this.events.filter((event) => event.engine === engine && event.at_ms > from && event.at_ms < to).map((event) => {
        const element = h("div", { class: "tick", title: `${moment(event.at_ms)}: ${event.text}` });
        element.style.left = place(event.at_ms);
        return element;
      });
      const lane = h("div", { class: "lane" }, h("span", { class: "lane-name" }, engine), parts, marks);
      lane.style.height = `${Math.max(1, rows.length) * LANE_PX + NAME_PX + 4}px`;
      return lane;
    });
    this.lanes.replaceChildren(...lanes, this.axis(from, to, place), this.cursor);
    const inView = this.events.filter((event) => event.at_ms >= from && event.at_ms <= to).reverse();
    const key = `${inView.length} ${inView[0]?.at_ms} ${inView[0]?.sequence}`;
    if (key === this.listed) return;
    this.listed = key;
    this.list.replaceChildren(inView.length ? h("ul", { class: "plain-list" }, inView.slice(0, 60).map((event) => h("li", {}, `${time(event.at_ms)}  ${event.text}`))) : h("p", { class: "hint" }, "Nothing was decided in this time."));
  }

  axis(from, to, place) {
    // As many as there is room for beside each other.
    const most = Math.min(8, Math.max(1, Math.floor((this.lanes.clientWidth || 900) / 100)));
    const step = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800].map((seconds) => seconds * 1000).find((ms) => this.span / ms <= most) ?? 604800000;
    const ticks = [];
    for (let at = Math.ceil(from / step) * step; at < to; at += step) {
      const tick = h("span", {}, step >= 86400000 ? new Date(at).toLocaleDateString() : time(at));
      tick.style.left = place(at);
      ticks.push(tick);
    }
    return h("div", { class: "axis", "aria-hidden": "true" }, ticks);
  }
}

// Where each program was, from the orders about it; what is there now ends the last one.
function bars(orders) {
  const found = [];
  const open = new Map();
  const begin = (program, name, engine, from, how) => {
    if (!engine) return;
    const bar = { program, name, engine, from, to: null, how, hue: hue(program) };
    open.set(program, bar);
    found.push(bar);
  };
  const end = (program, at) => {
    const bar = open.get(program);
    if (bar) bar.to = at;
    open.delete(program);
  };
  for (const order of [...orders].reverse()) {
    if (order.state !== "done" || !order.ended_ms) continue;
    const { program, ended_ms: at } = order;
    const name = order.name ?? model.programs.get(program)?.name ?? program?.slice(0, 8);
    if (order.verb === "run" || order.verb === "restore") begin(program, name, order.engine, at);
    if (order.verb === "spawn") begin(order.copy, `${name} (copy)`, order.target, at);
    if (order.verb === "kill") end(program, at);
    if (order.verb === "move") {
      if (!open.has(program)) begin(program, name, order.engine, order.begun_ms - HOUR_MS);
      end(program, at);
      const still = order.result?.report ? `moved here, stood still ${micros(order.result.report.downtime_us)}` : "moved here";
      begin(program, name, order.target, at, still);
    }
  }
  for (const [id, bar] of open) {
    const now = model.programs.get(id);
    if (!now || isEnded(now)) bar.to = now?.ended_ms ?? bar.from + 1000;
  }
  for (const program of model.programs.values()) {
    if (!open.has(program.program) && !isEnded(program) && program.since_ms) begin(program.program, program.name, program.engine, program.since_ms);
  }
  return found;
}

function hue(id = "") {
  return [...id].reduce((sum, digit) => sum + digit.charCodeAt(0), 0) % COLOURS;
}
