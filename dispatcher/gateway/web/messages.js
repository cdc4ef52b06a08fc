// Messages as they come, drawn by what they are: pictures, JSON, text. Publishing, and asking programs by their services.

import { get, send } from "./api.js";
import { order } from "./dialog.js";
import { h, setText } from "./dom.js";
import { model } from "./model.js";
import { count, size, time } from "./words.js";

// Of messages, in the page: the oldest go.
const SHOWN_MAX = 200;
const TOPICS_MAX = 60;
// Longer texts are cut.
const TEXT_MAX = 4000;
// What comes within this is drawn together.
const PAUSE_MS = 100;
const PICTURES = [["\x89PNG", "png"], ["\xff\xd8\xff", "jpeg"], ["GIF8", "gif"], ["RIFF", "webp"]];

export function show(main, args, signal) {
  const filter = h("input", { type: "text", name: "filter", "aria-label": "Topics", value: args.join("/") || "#", class: "grow mono", required: true, spellcheck: "false", autocapitalize: "off" });
  const manner = h("select", { "aria-label": "Show" }, h("option", { value: "all" }, "Every message"), h("option", { value: "latest" }, "The latest of each topic"));
  const state = h("p", { class: "facts", role: "status" });
  const pause = h("button", { type: "button", onclick: () => feed.hold(!feed.isHeld) }, "Pause");
  const list = h("div", { class: "messages", role: "log", "aria-live": "off", tabindex: "0", "aria-label": "Messages" });
  const feed = new Feed(list, state, pause, manner);
  main.append(
    h("div", { class: "head" }, h("div", {}, h("h1", {}, "Messages"), state)),
    h("div", { class: "columns listening" },
      h("section", { class: "panel" },
        h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); feed.listen(filter.value.trim()); } }, filter, h("button", { class: "primary" }, "Listen"), manner, pause, h("button", { type: "button", onclick: () => feed.clear() }, "Clear")),
        h("p", { class: "hint" }, "+ stands for one level, # for all that follow. What engines and dispatcher say to each other is left out."), list),
      h("div", {}, publishing(), asking(signal))));
  manner.addEventListener("change", () => feed.clear(), { signal });
  signal.addEventListener("abort", () => feed.close());
  feed.listen(filter.value);
}

class Feed {
  constructor(list, state, pause, manner) {
    Object.assign(this, { list, state, pause, manner, isHeld: false, waiting: [], topics: new Map(), came: 0, missed: 0 });
  }

  listen(filter) {
    this.close();
    this.clear();
    this.filter = filter;
    this.say("Connecting…");
    const source = new EventSource(`/api/v1/messages?filter=${encodeURIComponent(filter)}`);
    this.source = source;
    source.onopen = () => this.say(`Listening to ${filter}`);
    source.onerror = () => source.readyState === EventSource.CLOSED ? this.refused(filter, source) : this.say("Connection lost, trying again…");
    source.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    source.addEventListener("missed", (event) => {
      this.missed += JSON.parse(event.data).count;
      this.count();
    });
  }

  // A stream that is refused does not say why; an answer does.
  async refused(filter, source) {
    const ended = new AbortController();
    const answer = await fetch(`/api/v1/messages?filter=${encodeURIComponent(filter)}`, { signal: ended.signal }).catch(() => null);
    if (this.source !== source) return ended.abort();
    if (answer?.ok) {
      ended.abort();
      return this.listen(filter);
    }
    const problem = await answer?.json().catch(() => null);
    this.say(problem ? problem.message : "The gateway cannot be reached.");
  }

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
    this.timer = 0;
    this.waiting = [];
  }

  clear() {
    this.list.replaceChildren();
    this.topics.clear();
    this.waiting = [];
    this.came = this.missed = 0;
    this.count();
  }

  hold(isHeld) {
    this.isHeld = isHeld;
    this.pause.textContent = isHeld ? "Go on" : "Pause";
    this.count();
    if (!isHeld) this.draw();
  }

  take(message) {
    this.came += 1;
    this.waiting.push(message);
    if (this.waiting.length > SHOWN_MAX) this.waiting.shift();
    this.timer ||= setTimeout(() => {
      this.timer = 0;
      this.count();
      if (!this.isHeld) this.draw();
    }, PAUSE_MS);
  }

  draw() {
    const isLatest = this.manner.value === "latest";
    for (const message of this.waiting.splice(0)) {
      const item = drawn(message);
      if (!isLatest) this.list.prepend(item);
      else if (this.topics.has(message.topic)) this.topics.get(message.topic).replaceWith(item);
      else if (this.topics.size < TOPICS_MAX) this.list.append(item);
      if (isLatest && (this.topics.has(message.topic) || this.topics.size < TOPICS_MAX)) this.topics.set(message.topic, item);
    }
    while (this.list.children.length > SHOWN_MAX) this.list.lastChild.remove();
  }

  say(text) {
    this.text = text;
    this.count();
  }

  count() {
    const missed = this.missed ? `, ${count(this.missed, "message")} missed: they came too fast` : "";
    setText(this.state, `${this.text ?? ""}: ${count(this.came, "message")}${missed}${this.isHeld ? ", paused" : ""}`);
  }
}

function drawn(message) {
  const sender = message.sender && (model.programs.get(message.sender)?.name ?? message.sender.slice(0, 8));
  return h("article", { class: "message" },
    h("header", {}, h("code", {}, message.topic), message.retained && h("span", { class: "badge" }, "retained"), h("span", { class: "hint" }, sender ? `${time(message.at_ms)} by ${sender}` : time(message.at_ms))),
    content(message));
}

function content(message) {
  if (message.base64 !== undefined) {
    const kind = picture(message.base64);
    return kind ? image(`data:image/${kind};base64,${message.base64}`, message) : h("p", { class: "hint" }, `${size(message.bytes)} that are neither text nor a picture`);
  }
  if (message.text === undefined) return h("p", { class: "hint" }, `${size(message.bytes)}: too large to be shown`);
  // As ThingsJS's programs send frames.
  if (/^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/.test(message.text)) return image(message.text, message);
  if (message.text === "") return h("p", { class: "hint" }, "empty");
  const text = pretty(message.text);
  return h("pre", {}, text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}\n… ${size(message.bytes)} in all` : text);
}

function picture(base64) {
  const start = atob(base64.slice(0, 24));
  return PICTURES.find(([magic, kind]) => start.startsWith(magic) && (kind !== "webp" || start.slice(8, 12) === "WEBP"))?.[1];
}

function image(src, message) {
  return h("img", { src, alt: `A picture of ${size(message.bytes)}` });
}

function pretty(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    const value = JSON.parse(text);
    const line = JSON.stringify(value);
    if (line.length < 80) return line;
    // Lists of numbers and words stay in a line.
    return JSON.stringify(value, null, 2).replace(/\[\n\s+([^[\]{}]*?)\n\s*\]/g, (_, inside) => `[${inside.replace(/\n\s+/g, " ")}]`);
  } catch {
    return text;
  }
}

function field(text, control) {
  return h("label", { class: "field" }, text, control);
}

function publishing() {
  const topic = h("input", { type: "text", class: "mono", required: true, placeholder: "site/hall/light" });
  const payload = h("textarea", { class: "small mono", spellcheck: "false" });
  const retain = h("input", { type: "checkbox" });
  const publish = (event) => {
    event.preventDefault();
    order(`Publish to ${topic.value}`, () => send("messages", { topic: topic.value.trim(), retain: retain.checked || undefined }, payload.value));
  };
  return h("form", { class: "panel form", onsubmit: publish }, h("h2", {}, "Publish"), field("Topic", topic), field("Payload", payload),
    h("div", { class: "row" }, h("button", { class: "primary" }, "Publish"), h("label", { class: "inline" }, retain, "kept for those who come later")));
}

// A call of a service, and its answer.
function asking(signal) {
  const known = h("datalist", { id: "addresses" });
  const address = h("input", { type: "text", class: "mono", list: "addresses", required: true, placeholder: "service/calc" });
  const name = h("input", { type: "text", class: "mono", placeholder: "add" });
  const text = h("textarea", { class: "small mono", spellcheck: "false", placeholder: "[1, 2]" });
  const result = h("pre", { hidden: true, "aria-live": "polite" });
  const hint = h("p", { class: "hint" }, "Asking who can be called…");
  const ask = async (event) => {
    event.preventDefault();
    const isCall = event.submitter?.value !== "send";
    result.hidden = true;
    const params = isCall ? { address: address.value.trim(), function: name.value.trim() } : { address: address.value.trim() };
    const found = await order(isCall ? `Call ${params.function}` : "Send", () => send(isCall ? "call" : "send", params, text.value));
    if (signal.aborted || !found) return;
    result.hidden = false;
    result.textContent = isCall ? JSON.stringify(found.result, null, 2) : `sent to ${count(found.programs.length, "program")}`;
  };
  let isLooking = false;
  const look = async () => {
    if (isLooking) return;
    isLooking = true;
    const found = await get("services", { all: true }).catch((problem) => problem);
    isLooking = false;
    if (signal.aborted) return;
    if (!Array.isArray(found)) return setText(hint, found.text ?? String(found));
    const addresses = [...new Set(found.map((one) => one.address))].sort();
    known.replaceChildren(...addresses.map((value) => h("option", { value })));
    const services = addresses.filter((one) => one.startsWith("service/"));
    setText(hint, services.length ? `There are: ${services.slice(0, 12).join(", ")}` : "No program provides a service now. The sample calc does: run it with the grant to provide calc.");
  };
  address.addEventListener("focus", look, { signal });
  look();
  return h("form", { class: "panel form", onsubmit: ask }, h("h2", {}, "Ask a program"), hint, known,
    h("div", { class: "fields" }, field("Address", address), field("Function", name)), field("Arguments as JSON, or a message", text),
    h("div", { class: "row" }, h("button", { class: "primary", value: "call" }, "Call"), h("button", { value: "send" }, "Send a message")), result);
}
