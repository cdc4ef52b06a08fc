// Questions, and what can be done with one program.

import { bytes, part, post, remove } from "./api.js";
import { h, toast } from "./dom.js";
import { model } from "./model.js";
import { describe, isEnded, micros, programState, short } from "./words.js";

// Shows a dialog; `close` ends it. It gives the focus back by itself. A press outside of it ends it too, unless something is written there.
export function dialog(title, fill) {
  const box = h("dialog", { "aria-label": title });
  const close = () => box.close();
  box.append(h("header", {}, h("h2", {}, title), h("button", { class: "plain", "aria-label": "Close", onclick: close }, "✕")));
  box.addEventListener("close", () => box.remove());
  box.addEventListener("pointerdown", (event) => {
    const { left, right, top, bottom } = box.getBoundingClientRect();
    const isInside = event.clientX >= left && event.clientX <= right && event.clientY >= top && event.clientY <= bottom;
    if (event.target === box && !isInside && !box.querySelector("textarea")) close();
  });
  document.body.append(box);
  fill(box, close);
  box.showModal();
  return close;
}

// Gives an order, and says what became of it.
export async function order(what, give) {
  try {
    const result = await give();
    toast(sentence(what, result), "ok");
    return result;
  } catch (problem) {
    toast(`${what}: ${problem.text ?? problem.message}`, "bad");
    return null;
  }
}

function sentence(what, result) {
  if (result?.result === "moved") return `${what}: done in ${micros(result.report.total_us)}, stood still for ${micros(result.report.downtime_us)}`;
  return `${what}: done`;
}

export function moveTo(program, to, isCopy = false) {
  const verb = isCopy ? "spawn" : "move";
  const what = `${isCopy ? "Copy" : "Move"} ${program.name} to ${to}`;
  return order(what, () => post(`programs/${part(program.program)}/${verb}`, { to }));
}

// Why an engine would not take a program, in the planner's words; null: it would.
export async function refusal(program, engine, isCopy = false) {
  if (engine.engine === program.engine && !isCopy) return "it is here";
  if (!engine.online) return "it is not online";
  try {
    await post(`programs/${part(program.program)}/${isCopy ? "spawn" : "move"}`, { to: engine.engine, dry_run: true });
    return null;
  } catch (problem) {
    return problem.message;
  }
}

// A list of engines to choose from: those that refuse say why.
function choose(program, isCopy) {
  const title = `${isCopy ? "Copy" : "Move"} ${program.name} to…`;
  dialog(title, (box, close) => {
    const list = h("ul", { class: "choices" });
    const engines = [...model.engines.values()].filter((engine) => isCopy || engine.engine !== program.engine);
    for (const engine of engines.slice(0, 60)) {
      const why = h("small", {}, "asking…");
      const button = h("button", { disabled: true, onclick: () => { close(); moveTo(program, engine.engine, isCopy); } }, h("span", {}, engine.engine), why);
      list.append(h("li", {}, button));
      refusal(program, engine, isCopy).then((reason) => {
        button.disabled = reason !== null;
        why.textContent = reason ?? `${engine.programs} programs`;
      });
    }
    box.append(engines.length === 0 ? h("p", { class: "hint" }, "There is no other engine.") : list);
  });
}

export function confirmed(title, text, word, act) {
  dialog(title, (box, close) => {
    box.append(h("p", {}, text), h("div", { class: "row" },
      h("button", { class: "danger", onclick: () => { close(); act(); } }, word), h("button", { onclick: close }, "Cancel")));
  });
}

export async function snapshot(program) {
  await order(`Snapshot of ${program.name}`, async () => {
    const url = URL.createObjectURL(await bytes(`programs/${part(program.program)}/snapshot`));
    h("a", { href: url, download: `${program.name}.snapshot` }).click();
    // Not all browsers have begun with it yet.
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  });
}

// All that can be done with a program as it is now.
export function actions(program, close = () => {}) {
  const path = `programs/${part(program.program)}`;
  const state = programState(program);
  const isHere = state === "running" || state === "paused";
  const act = (text, run, kind = "") => h("button", { class: kind, onclick: () => { close(); run(); } }, text);
  return [
    isHere && act("Move…", () => choose(program, false), "primary"),
    isHere && act("Copy…", () => choose(program, true)),
    state === "running" && act("Pause", () => order(`Pause ${program.name}`, () => post(`${path}/pause`))),
    state === "paused" && act("Resume", () => order(`Resume ${program.name}`, () => post(`${path}/resume`))),
    isHere && act("Snapshot", () => snapshot(program)),
    act(isEnded(program) || state === "lost" ? "Remove" : "Kill", () => {
      const kill = () => order(`Kill ${program.name}`, () => remove(path));
      if (isEnded(program)) return kill();
      confirmed(`Kill ${program.name}?`, "It ends, and what it has in memory is gone.", "Kill", kill);
    }, "danger"),
  ].filter(Boolean);
}

export function programMenu(id) {
  const program = model.programs.get(id);
  if (!program) return;
  dialog(program.instance ?? program.name, (box, close) => {
    box.append(h("p", { class: "hint" }, `${describe(program)}, on ${program.engine} (${short(program.program)})`));
    box.append(h("div", { class: "row" }, h("a", { class: "button", href: `#/program/${program.program}`, onclick: close }, "Open"), actions(program, close)));
  });
}
