"use strict";
// Node's `readline`: lines of a stream.

const EventEmitter = require("events");
const { StringDecoder } = require("string_decoder");

class Interface extends EventEmitter {
  #decoder = new StringDecoder("utf8");
  #rest = "";
  #prompt;
  #questions = [];
  #input;
  #output;
  closed = false;

  constructor(input, output) {
    super();
    const options = typeof input?.on === "function" ? { input, output } : input;
    this.#input = options.input;
    this.#output = options.output;
    this.#prompt = options.prompt ?? "> ";
    this.#input.on("data", (chunk) => this.#take(typeof chunk === "string" ? chunk : this.#decoder.write(Buffer.from(chunk))));
    this.#input.on("end", () => {
      const last = this.#rest + this.#decoder.end();
      this.#rest = "";
      if (last !== "" && !this.closed) this.#line(last.replace(/\r$/, ""));
      this.close();
    });
    this.#input.on("error", (error) => this.emit("error", error));
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
    this.#input.resume();
  }
  #take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) if (!this.closed) this.#line(line.replace(/\r$/, ""));
  }
  #line(line) {
    this.line = line;
    const question = this.#questions.shift();
    if (question === undefined) this.emit("line", line);
    else question(line);
  }
  getPrompt() {
    return this.#prompt;
  }
  setPrompt(prompt) {
    this.#prompt = prompt;
  }
  prompt() {
    this.#output?.write(this.#prompt);
  }
  question(query, options, callback = options) {
    if (this.closed) throw Object.assign(new Error("readline was closed"), { code: "ERR_USE_AFTER_CLOSE" });
    this.#output?.write(query);
    this.#questions.push(callback);
  }
  write(text) {
    if (typeof text === "string" || text instanceof Uint8Array) this.#take(String(text));
  }
  pause() {
    this.#input.pause();
    this.emit("pause");
    return this;
  }
  resume() {
    this.#input.resume();
    this.emit("resume");
    return this;
  }
  close() {
    if (this.closed) return;
    this.closed = true;
    this.#input.pause();
    this.emit("close");
  }
  [Symbol.dispose]() {
    this.close();
  }
  /** Lines in their order, as they are asked for. */
  async *[Symbol.asyncIterator]() {
    const lines = [];
    let wake;
    let failure;
    const woken = () => wake?.();
    this.on("line", (line) => {
      lines.push(line);
      if (lines.length > 1000) this.#input.pause();
      woken();
    });
    this.on("close", woken);
    this.on("error", (error) => {
      failure = error;
      woken();
    });
    try {
      for (;;) {
        while (lines.length > 0) {
          const line = lines.shift();
          if (lines.length === 0 && !this.closed) this.#input.resume();
          yield line;
        }
        if (failure !== undefined) throw failure;
        if (this.closed) return;
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.close();
    }
  }
}

const createInterface = (...args) => new Interface(...args);

class PromisesInterface extends Interface {
  question(query) {
    return new Promise((resolve) => super.question(query, resolve));
  }
}

const written = (code) => (stream, ...rest) => {
  const callback = rest.find((one) => typeof one === "function");
  return stream.write(typeof code === "string" ? code : code(...rest), callback);
};

module.exports = {
  Interface,
  createInterface,
  clearLine: written((direction) => `\u001b[${direction < 0 ? 1 : direction > 0 ? 0 : 2}K`),
  clearScreenDown: written("\u001b[0J"),
  cursorTo: written((x, y) => (typeof y === "number" ? `\u001b[${y + 1};${x + 1}H` : `\u001b[${x + 1}G`)),
  moveCursor: written((x, y) => (x < 0 ? `\u001b[${-x}D` : x > 0 ? `\u001b[${x}C` : "") + (y < 0 ? `\u001b[${-y}A` : y > 0 ? `\u001b[${y}B` : "")),
  emitKeypressEvents: () => {},
  promises: { Interface: PromisesInterface, createInterface: (...args) => new PromisesInterface(...args) },
};
