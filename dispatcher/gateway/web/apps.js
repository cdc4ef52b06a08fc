// Applications: what should run and what does, why not, versions and the way back; a manifest's text with what it would change, live.

import { get, part, post, remove, send } from "./api.js";
import { confirmed, order } from "./dialog.js";
import { h, table } from "./dom.js";
import { model } from "./model.js";
import { moment, short } from "./words.js";

const PAUSE_MS = 400;
const EXAMPLE = `name = "shop"

[component.web]
module = "counter"      # a sample, or a file such as /fleet/web.wasm
count = 2
args = ["100000", "500", "16"]
`;

export function show(main, [name], signal) {
  const list = h("div", {}, h("p", { class: "hint" }, "Asking…"));
  main.append(h("div", { class: "head" }, name && h("a", { href: "#/apps" }, "Applications"), h("h1", {}, name ?? "Applications")), list);
  let waiting = 0;
  let drawn = "";
  const draw = async () => {
    const found = await get(name ? `apps/${part(name)}` : "apps").catch((problem) => problem);
    if (signal.aborted) return;
    // What is the same is left alone, so that a button keeps the focus.
    const text = Array.isArray(found) ? JSON.stringify(found) : found.text ?? String(found);
    if (text === drawn) return;
    drawn = text;
    if (!Array.isArray(found)) return list.replaceChildren(h("p", { class: "error" }, found.text ?? String(found)));
    list.replaceChildren(...(found.length ? found.map((status) => application(status, Boolean(name))) : [h("p", { class: "hint" }, "There are no applications. Write one below.")]));
  };
  const soon = () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      draw();
    }, PAUSE_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(waiting));
  model.on("decision", soon, signal);
  model.on("change", soon, signal);
  draw();
  if (name) versions(main, name);
  else editor(main, draw);
}

const BADGES = { running: "ok", healthy: "ok", paused: "warn", updating: "move", removing: "warn", failed: "bad" };

function application(status, isOpen) {
  const path = `apps/${part(status.application)}`;
  const change = (text, verb) => h("button", { onclick: () => order(`${text} ${status.application}`, () => post(`${path}/${verb}`)) }, text);
  const end = () => confirmed(`Remove ${status.application}?`, "Its programs end, and it is forgotten.", "Remove", () => order(`Remove ${status.application}`, () => remove(path)));
  const rows = status.instances.map((one) => [
    one.instance, h("td", {}, h("span", { class: `badge ${BADGES[one.state] ?? ""}` }, one.state), one.current ? "" : " (outdated)"), one.healthy ? "healthy" : "–", one.engine ?? "–",
    one.program ? h("td", {}, h("a", { href: `#/program/${one.program}`, class: "mono" }, short(one.program))) : "–",
  ]);
  return h("section", { class: "panel" },
    h("div", { class: "head" }, h("h2", {}, isOpen ? `Version ${status.version}` : h("a", { href: `#/apps/${part(status.application)}` }, status.application)),
      h("span", { class: `badge ${BADGES[status.state] ?? ""}` }, status.state), !isOpen && h("span", { class: "hint" }, `version ${status.version}`), h("span", { class: "grow" }),
      status.state === "paused" ? change("Resume", "resume") : change("Pause", "pause"), change("Roll back", "revert"), h("button", { class: "danger", onclick: end }, "Remove")),
    table(["Instance", "State", "Health", "Engine", "Program"], rows, "It has no instances."),
    status.unplaced.length > 0 && h("ul", { class: "error" }, status.unplaced.map((line) => h("li", {}, `Not placed: ${line}`))));
}

async function versions(main, name) {
  const found = await get(`apps/${part(name)}/history`).catch(() => []);
  const row = (version) => [String(version.version), moment(version.at_ms), version.by ?? "–",
    h("td", {}, h("button", { onclick: () => order(`Go back to version ${version.version}`, () => post(`apps/${part(name)}/revert`, { version: version.version })) }, "Go back to this"))];
  main.append(h("section", { class: "panel" }, h("h2", {}, "Versions"), table(["Version", "Since", "By", ""], found.reverse().map(row), "No versions are kept.")));
}

// The manifest as text, and beside it what applying it would change.
function editor(main, applied) {
  const text = h("textarea", { class: "mono", spellcheck: "false", "aria-label": "Manifest" });
  text.value = EXAMPLE;
  const plan = h("div", { "aria-live": "polite" }, h("p", { class: "hint" }, "What it would change is shown here as you write."));
  const apply = h("button", { class: "primary", disabled: true }, "Apply");
  let serial;
  let waiting = 0;
  let asked = 0;
  const look = async () => {
    apply.disabled = true;
    const number = ++asked;
    try {
      const found = await send("plan", {}, text.value);
      if (number !== asked) return;
      serial = found.serial;
      apply.disabled = found.changes.length === 0;
      const lists = [["Changes", found.changes], ["At once", found.actions], ["Not placed", found.unplaced]].filter(([, lines]) => lines.length);
      plan.replaceChildren(...(lists.length ? lists.flatMap(([title, lines]) => [h("h3", {}, title), h("ul", {}, lines.map((line) => h("li", {}, line)))]) : [h("p", { class: "hint" }, "Nothing would change.")]));
    } catch (problem) {
      if (number !== asked) return;
      plan.replaceChildren(h("p", { class: "error" }, problem.text));
    }
  };
  text.addEventListener("input", () => {
    // The plan that is shown, or on its way, is of another text.
    apply.disabled = true;
    asked += 1;
    clearTimeout(waiting);
    waiting = setTimeout(look, PAUSE_MS);
  });
  apply.addEventListener("click", async () => {
    if (await order("Apply", () => send("apps", { expects: serial }, text.value))) {
      applied();
      look();
    }
  });
  main.append(h("section", { class: "panel" }, h("h2", {}, "Write an application"), h("div", { class: "columns" }, text, h("div", {}, plan, h("div", { class: "row" }, apply)))));
  look();
}
