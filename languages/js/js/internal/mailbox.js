"use strict";
// Rules that sort what comes into queues, from which the program takes what it handles next: `Mailbox` of `wayfare.d.ts`.

/** Of more that are undelivered and not taken the newest are kept. */
const UNDELIVERED_MAX = 64;
/** The list that rules begin with. */
const MAIN = "main";

/** What JSON has at a place (a JSON pointer, RFC 6901), or undefined. */
function at(content, pointer) {
  if (pointer !== "" && !pointer.startsWith("/")) return undefined;
  for (const step of pointer.split("/").slice(1)) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof content !== "object" || content === null) return undefined;
    if (Array.isArray(content) && !/^(0|[1-9][0-9]*)$/.test(name)) return undefined;
    if (!Object.hasOwn(content, name)) return undefined;
    content = content[name];
  }
  return content;
}

function isSame(one, other) {
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]));
}

const isCall = (message) => message.function !== undefined;

/** A payload, read once and only if a rule asks for it. */
function contentOf(message) {
  let read;
  return () => {
    if (read === undefined) {
      try {
        read = { json: message.json() };
      } catch {
        read = {};
      }
    }
    return read.json;
  };
}

function named(message) {
  if (isCall(message)) return `call of '${message.function}' at ${message.address}`;
  return `message${message.type === undefined ? "" : ` '${message.type}'`} to ${message.topic}`;
}

/** `matches`: of a filter and a topic. */
module.exports = ({ matches, WayfareError, open }) => {
  const fits = (rule, message, content) =>
    (rule.type === undefined || message.type === rule.type) &&
    (rule.function === undefined || (isCall(message) && (rule.function === "+" || rule.function === message.function))) &&
    (rule.sender === undefined || rule.sender === message.sender) &&
    (rule.address === undefined || matches(rule.address, isCall(message) ? message.address : message.topic)) &&
    Object.entries(rule.fields ?? {}).every(([pointer, value]) => isSame(at(content(), pointer), value));

  return class Mailbox {
    rules = { [MAIN]: [] };
    otherwise = undefined;
    messagesMax = 256;
    bytesMax = 1 << 20;
    #queues = new Map();
    #came = 0;
    #waiters = [];
    #undelivered = [];
    #last;
    /** For `serve`, `listen` and `subscribe`. */
    handler;

    constructor() {
      this.handler = (message) => (isCall(message) ? this.#answered(message) : this.sort(message));
      // While nobody waits, messages wait outside.
      this.handler.isHungry = () => this.#waiters.length > 0;
    }

    receive(queues, { timeout } = {}) {
      const names = [queues].flat();
      const taken = this.take(names);
      if (taken !== undefined) return Promise.resolve(taken);
      open();
      return new Promise((resolve, reject) => {
        const waiter = { names, resolve };
        this.#waiters.push(waiter);
        if (timeout === undefined) return;
        waiter.timer = setTimeout(() => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          reject(new WayfareError({ kind: "timeout", reason: `no message for ${names.join(", ")} within ${timeout} ms` }));
        }, timeout);
      });
    }

    take(queues) {
      const names = [queues].flat().filter((name) => this.waiting(name) > 0);
      const first = (name) => this.#queues.get(name)[0].number;
      if (names.length === 0) return undefined;
      const queue = names.reduce((one, other) => (first(other) < first(one) ? other : one));
      return { queue, message: this.#queues.get(queue).shift().message };
    }

    waiting(queue) {
      const waiting = this.#queues.get(queue);
      if (waiting === undefined) return 0;
      const left = waiting.filter(({ message }) => !message.isCancelled);
      if (left.length === waiting.length) return left.length;
      this.#queues.set(queue, left);
      // Nobody waits for its end any more, which forgets it here.
      for (const { message } of waiting) if (message.isCancelled) message.answer();
      return left.length;
    }

    takeUndelivered() {
      return this.#undelivered.shift();
    }

    sortAgain() {
      const all = [...this.#queues.values()].flat().sort((one, other) => one.number - other.number);
      this.#queues.clear();
      for (const { number, message } of all) this.#put(number, message);
      this.#serve();
    }

    sort(message) {
      // What several subscriptions match is one message.
      if (message === this.#last) return;
      this.#last = message;
      this.#put(++this.#came, message);
      this.#serve();
    }

    /** Settled when the program has answered the call. */
    #answered(call) {
      return new Promise((resolve, reject) => {
        const handOn = call.handOn.bind(call);
        call.answer = resolve;
        call.fail = (kind, reason) => reject({ kind, reason });
        call.handOn = (...where) => handOn(...where).then(() => resolve());
        this.sort(call);
      });
    }

    /** Those who wait are given what they wait for. */
    #serve() {
      for (const waiter of [...this.#waiters]) {
        const taken = this.take(waiter.names);
        if (taken === undefined) continue;
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        clearTimeout(waiter.timer);
        waiter.resolve(taken);
      }
    }

    #put(number, message) {
      const { name, why } = this.#queueOf(message);
      if (why !== undefined) return this.#refuse(message, why);
      const count = this.waiting(name);
      if (count === 0) this.#queues.set(name, []);
      const queue = this.#queues.get(name);
      const bytes = queue.reduce((sum, one) => sum + one.bytes, message.payload.length);
      if (count > 0 && (count >= this.messagesMax || bytes > this.bytesMax)) {
        return this.#refuse(message, `queue '${name}' of the mailbox is full`);
      }
      queue.push({ number, message, bytes: message.payload.length });
    }

    #queueOf(message) {
      const content = contentOf(message);
      const passed = new Set();
      for (let list = MAIN; ; ) {
        if (passed.has(list) || !Object.hasOwn(this.rules, list)) {
          return { why: `its rules lead to the list '${list}', which is not there or was passed` };
        }
        passed.add(list);
        const rule = this.rules[list].find((one) => fits(one, message, content));
        if (rule?.queue !== undefined) return { name: rule.queue };
        if (rule?.list === undefined) {
          return this.otherwise === undefined ? { why: "no rule of the mailbox fits it" } : { name: this.otherwise };
        }
        list = rule.list;
      }
    }

    /** Reports it to whoever waits for it, and to people. */
    #refuse(message, why) {
      console.error(`wayfare: undelivered: ${why}: ${named(message)}`);
      if (isCall(message)) message.fail?.("refused", why);
      // One has no key that is attended to.
      else if (message.order !== undefined) message.handled().catch(() => {});
      this.#undelivered.push({ why, message });
      if (this.#undelivered.length > UNDELIVERED_MAX) this.#undelivered.shift();
    }
  };
};
