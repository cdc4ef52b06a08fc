// Lines of programs as they come: asked for while the page is looked at, from the number on that was there last.

import { get, part } from "./api.js";
import { h } from "./dom.js";
import { model } from "./model.js";
import { time } from "./words.js";

const PERIOD_MS = 1000;
const LINES_MAX = 2000;
const FIRST_LINES = 300;

export class LogView {
  constructor(main, programs, signal) {
    this.signal = signal;
    this.next = new Map();
    this.filter = () => true;
    this.box = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "Lines", "aria-live": "off" });
    this.empty = h("p", { class: "hint" }, "It has printed nothing yet.");
    main.append(this.empty, this.box);
    this.box.hidden = true;
    this.choose(programs);
    this.loop();
  }

  choose(programs) {
    this.programs = programs;
    this.next.clear();
    this.box.replaceChildren();
    this.box.hidden = true;
    this.empty.hidden = false;
    this.round = (this.round ?? 0) + 1;
  }

  async loop() {
    while (!this.signal.aborted) {
      if (!document.hidden) await this.look();
      await new Promise((done) => setTimeout(done, PERIOD_MS));
    }
  }

  async look() {
    const round = this.round;
    const found = await Promise.all(this.programs.map((id) => this.of(id)));
    if (round !== this.round || this.signal.aborted) return;
    const lines = found.flat().filter(this.filter).sort((a, b) => a.at_ms - b.at_ms);
    if (lines.length) this.add(lines);
    else if (this.box.hidden && this.programs.length) this.empty.textContent = "No such line yet.";
  }

  async of(id) {
    const from = this.next.get(id);
    const params = from === undefined ? { lines: FIRST_LINES } : { from_line: from };
    try {
      const lines = await get(`programs/${part(id)}/logs`, params);
      if (lines.length) this.next.set(id, lines[lines.length - 1].line + 1);
      return lines.map((line) => ({ ...line, program: id }));
    } catch (problem) {
      if (!this.next.size) this.empty.textContent = problem.message;
      return [];
    }
  }

  add(lines) {
    const isAtEnd = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 8;
    this.box.hidden = false;
    this.empty.hidden = true;
    const named = this.programs.length > 1;
    this.box.append(...lines.map((line) => h("div", { class: line.stream === "stderr" ? "stderr" : "" },
      h("span", { class: "at" }, time(line.at_ms)), named && h("span", { class: "from" }, model.programs.get(line.program)?.name ?? line.program.slice(0, 8)),
      typeof line.text === "string" ? line.text : "(bytes that are no text)")));
    while (this.box.children.length > LINES_MAX) this.box.firstChild.remove();
    if (isAtEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}
