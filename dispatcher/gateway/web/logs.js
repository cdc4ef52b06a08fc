// Logs of many programs together, by time, with search.

import { h } from "./dom.js";
import { LogView } from "./loglines.js";
import { model } from "./model.js";
import { count, isEnded } from "./words.js";

// Each is asked by itself.
const PROGRAMS_MAX = 12;

export function show(main, args, signal) {
  const search = h("input", { type: "search", placeholder: "Lines with…", "aria-label": "Show lines with", class: "grow" });
  const names = h("input", { type: "search", placeholder: "Programs called…", "aria-label": "Programs called", value: args[0] ?? "" });
  const list = h("p", { class: "facts" });
  const box = h("div");
  main.append(h("div", { class: "head" }, h("div", {}, h("h1", {}, "Logs"), list), names, search), box);
  const view = new LogView(box, [], signal);
  let chosen = "";
  const choose = () => {
    const wanted = names.value.trim().toLowerCase();
    const found = [...model.programs.values()]
      .filter((program) => !wanted || (program.instance ?? program.name).toLowerCase().includes(wanted))
      .sort((a, b) => isEnded(a) - isEnded(b) || a.name.localeCompare(b.name));
    const shown = found.slice(0, PROGRAMS_MAX).map((program) => program.program);
    list.textContent = found.length > shown.length ? `${shown.length} of ${found.length} programs: say more of the name for others` : count(shown.length, "program");
    const key = `${shown.join()} ${search.value}`;
    if (key === chosen) return;
    chosen = key;
    const text = search.value.toLowerCase();
    view.filter = (line) => !text || (typeof line.text === "string" && line.text.toLowerCase().includes(text));
    view.choose(shown);
    view.empty.textContent = shown.length ? "Asking for lines…" : "No program is called like that.";
  };
  names.addEventListener("input", choose, { signal });
  search.addEventListener("input", choose, { signal });
  model.on("change", choose, signal);
  choose();
}
