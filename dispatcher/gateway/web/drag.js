// Dragging a chip to a card moves its program there; with Ctrl or Alt held it is copied. Cards that cannot take it go grey and say why. One that is
// refused, or let go elsewhere, glides back. The same can be done by keys: Enter on a chip, then "Move…".

import { h, reducedMotion, toast } from "./dom.js";
import { moveTo, programMenu, refusal } from "./dialog.js";
import { model } from "./model.js";

// A press becomes a drag after this many pixels.
const SLACK = 6;
const GLIDE_MS = 260;
// More cards are not asked: those further down are asked when they are dropped on.
const ASKED_MAX = 60;

export function draggable(container, signal) {
  container.addEventListener("pointerdown", (event) => {
    const chip = event.target.closest?.(".chip[data-program]");
    if (!chip || event.button !== 0) return;
    press(container, chip, event);
  }, { signal });
  // By keys; a click of a pointer is seen at its end.
  container.addEventListener("click", (event) => {
    const chip = event.target.closest?.(".chip[data-program]");
    if (chip && event.detail === 0) programMenu(chip.dataset.program);
  }, { signal });
}

function press(container, chip, down) {
  let drag = null;
  const ended = new AbortController();
  const { signal } = ended;
  const isCopy = (event) => event.ctrlKey || event.altKey;
  addEventListener("pointermove", (event) => {
    if (event.pointerId !== down.pointerId) return;
    if (!drag && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < SLACK) return;
    drag ??= new Drag(container, chip, down);
    drag.follow(event, isCopy(event));
  }, { signal });
  addEventListener("pointerup", (event) => {
    if (event.pointerId !== down.pointerId) return;
    ended.abort();
    if (drag) drag.drop(isCopy(event));
    else programMenu(chip.dataset.program);
  }, { signal });
  const giveUp = () => {
    ended.abort();
    drag?.back();
  };
  addEventListener("pointercancel", giveUp, { signal });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") giveUp();
    else drag?.copies(isCopy(event));
  }, { signal });
  addEventListener("keyup", (event) => drag?.copies(isCopy(event)), { signal });
}

class Drag {
  constructor(container, chip, down) {
    this.chip = chip;
    this.program = model.programs.get(chip.dataset.program);
    this.home = chip.getBoundingClientRect();
    this.offset = { x: down.clientX - this.home.left, y: down.clientY - this.home.top };
    this.copy = h("span", { class: "copy", hidden: true }, "+ copy");
    this.ghost = h("div", { class: "chip ghost", "aria-hidden": "true" }, h("span", { class: "name" }, this.program?.name ?? ""), this.copy);
    document.body.append(this.ghost);
    chip.classList.add("lifted");
    this.cards = [...container.querySelectorAll(".card[data-engine]")];
    this.reasons = new Map();
    this.over = null;
    this.isCopy = false;
    this.ask();
  }

  // What each card would say to it.
  ask() {
    this.reasons = new Map();
    const asked = this.isCopy;
    const seen = this.cards.filter((card) => {
      const box = card.getBoundingClientRect();
      return box.bottom > 0 && box.top < innerHeight;
    });
    for (const card of seen.slice(0, ASKED_MAX)) {
      const engine = model.engines.get(card.dataset.engine);
      card.classList.remove("refuses", "takes");
      if (!engine || !this.program) continue;
      refusal(this.program, engine, asked).then((reason) => {
        if (asked !== this.isCopy || !this.ghost.isConnected) return;
        this.reasons.set(engine.engine, reason);
        const isHome = engine.engine === this.program.engine && !asked;
        card.classList.toggle("takes", reason === null);
        card.classList.toggle("refuses", reason !== null && !isHome);
        card.querySelector(".why").textContent = reason === null ? "" : `cannot take it: ${reason}`;
      });
    }
  }

  copies(isCopy) {
    if (isCopy === this.isCopy) return;
    this.isCopy = isCopy;
    this.copy.hidden = !isCopy;
    this.ask();
  }

  follow(event, isCopy) {
    this.copies(isCopy);
    this.at = { x: event.clientX - this.offset.x, y: event.clientY - this.offset.y };
    this.ghost.style.transform = `translate(${this.at.x}px, ${this.at.y}px)`;
    const card = document.elementFromPoint(event.clientX, event.clientY)?.closest?.(".card[data-engine]") ?? null;
    if (card === this.over) return;
    this.over?.classList.remove("over");
    this.over = card;
    card?.classList.add("over");
  }

  async drop(isCopy) {
    const to = this.over?.dataset.engine;
    const isHome = !to || (to === this.program?.engine && !isCopy);
    const engine = model.engines.get(to);
    if (isHome || !this.program || !engine) return this.back();
    const reason = this.reasons.has(to) ? this.reasons.get(to) : await refusal(this.program, engine, isCopy);
    if (reason !== null) {
      toast(`${to} cannot take ${this.program.name}: ${reason}`, "bad");
      return this.back();
    }
    this.finish();
    if (!(await moveTo(this.program, to, isCopy))) shake(this.chip);
  }

  // To where it came from.
  back() {
    const { left, top } = this.chip.isConnected ? this.chip.getBoundingClientRect() : this.home;
    const from = this.ghost.style.transform;
    if (!from || reducedMotion.matches) return this.finish();
    const glide = this.ghost.animate([{ transform: from }, { transform: `translate(${left}px, ${top}px)` }], { duration: GLIDE_MS, easing: "ease-in-out" });
    glide.finished.then(() => this.finish(), () => this.finish());
  }

  finish() {
    this.ghost.remove();
    this.chip.classList.remove("lifted");
    for (const card of this.cards) card.classList.remove("takes", "refuses", "over");
  }
}

function shake(chip) {
  if (reducedMotion.matches || !chip.isConnected) return;
  chip.animate([{ transform: "translateX(0)" }, { transform: "translateX(-5px)" }, { transform: "translateX(5px)" }, { transform: "translateX(0)" }], { duration: 240 });
}
