// Operations, events and alarms: what was ordered, decided and is wrong, as it happens.

import { get, part, post } from "./api.js";
import { order } from "./dialog.js";
import { h, table } from "./dom.js";
import { model } from "./model.js";
import { age, micros, moment, short, time } from "./words.js";

const ROWS_MAX = 100;
// Changes of this time are asked for together.
const PAUSE_MS = 300;

export function show(main, args, signal) {
  const state = h("select", { "aria-label": "State" }, ["", "waiting", "running", "done", "failed", "cancelled"].map((value) => h("option", { value }, value || "Any state")));
  const about = h("input", { type: "search", placeholder: "Events about an engine, program or application", "aria-label": "Events about", class: "grow" });
  const alarms = h("div");
  const operations = h("div", {}, h("p", { class: "hint" }, "Asking…"));
  const events = h("div", {}, h("p", { class: "hint" }, "Asking…"));
  main.append(
    h("div", { class: "head" }, h("h1", {}, "Operations")), alarms,
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Orders"), h("span", { class: "grow" }), state), operations),
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Events"), about), events));
  let asked = 0;
  let drawn = "";
  const draw = async () => {
    const number = ++asked;
    alarms.replaceChildren(...alarmParts());
    const [found, happened] = await Promise.allSettled([get("ops", { state: state.value, limit: ROWS_MAX }), get("events", { since: "1d", about: about.value.trim(), limit: ROWS_MAX })]);
    if (signal.aborted || number !== asked) return;
    // What is the same is left alone, so that a button keeps the focus.
    const text = JSON.stringify([found, happened].map((one) => one.value ?? one.reason?.text ?? String(one.reason)));
    if (text === drawn) return;
    drawn = text;
    operations.replaceChildren(found.status === "rejected" ? refused(found.reason) : table(["Operation", "Begun", "By", "What", "Took", "State"], found.value.map(row), "No such orders are kept."));
    events.replaceChildren(happened.status === "rejected" ? refused(happened.reason) : table(["At", "Kind", "What"], happened.value.reverse().map((event) => [tight(moment(event.at_ms)), tight(event.kind), event.text]), "Nothing has happened in the last day."));
  };
  let waiting = 0;
  const soon = () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      draw();
    }, PAUSE_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(waiting));
  state.addEventListener("change", draw, { signal });
  about.addEventListener("input", soon, { signal });
  for (const name of ["operation", "decision"]) model.on(name, soon, signal);
  model.on("change", (change) => change.all && soon(), signal);
  draw();
}

function tight(text) {
  return h("td", { class: "tight" }, text);
}

function refused(problem) {
  return h("p", { class: "error" }, problem.text ?? String(problem));
}

function alarmParts() {
  if (!model.alarms.length) return [h("p", { class: "hint" }, "No alarm stands.")];
  return [h("section", { class: "panel alarm" }, h("h2", {}, "Alarms"), h("ul", {}, model.alarms.map((alarm) => h("li", {}, `${alarm.text} (${alarm.kind}, since ${age(Date.now() - alarm.since_ms)})`))))];
}

const BADGES = { done: "ok", failed: "bad", running: "move", waiting: "warn" };

function row(record) {
  const places = [record.engine, record.target].filter(Boolean).join(" → ");
  const still = record.result?.report ? ` (stood still ${micros(record.result.report.downtime_us)})` : "";
  const cancel = record.state === "waiting" && h("button", { onclick: () => order(`Cancel ${short(record.operation)}`, () => post(`ops/${part(record.operation)}/cancel`)) }, "Cancel");
  return [
    h("td", { class: "tight mono", title: record.operation }, short(record.operation)), tight(time(record.begun_ms)), record.by ?? "–",
    `${record.verb} ${record.name ?? (record.program ? short(record.program) : "")} ${places}${still}`,
    tight(record.ended_ms ? micros((record.ended_ms - record.begun_ms) * 1000) : "–"),
    h("td", {}, h("span", { class: `badge ${BADGES[record.state] ?? ""}` }, record.state), record.reason ? ` ${record.reason}` : "", " ", cancel),
  ];
}
