"use strict";
// `import wayfare from 'wayfare'`: messages, calls, values and devices, over the files of /wayfare. `wayfare.d.ts` has its types.

const loop = require("internal/loop");

class WayfareError extends Error {
  constructor({ kind = "malformed", reason = "", version }) {
    super(`${kind}: ${reason}`);
    this.name = "WayfareError";
    this.kind = kind;
    this.reason = reason;
    if (version !== undefined) this.version = version;
  }
}

const bytesOf = (event, name) => {
  if (event[name] !== undefined) return Buffer.from(event[name]);
  return Buffer.from(event[`${name}_base64`] ?? "", "base64");
};

/** As a text if it is one, so that lines can be read; otherwise in Base64. */
function field(name, content) {
  if (typeof content === "string") return { [name]: content };
  if (ArrayBuffer.isView(content)) content = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  else if (content instanceof ArrayBuffer) content = new Uint8Array(content);
  else throw new TypeError(`a ${name} is a string or bytes: use JSON.stringify for other things`);
  try {
    return { [name]: native.decode(content, true) };
  } catch {
    return { [`${name}_base64`]: Buffer.from(content).toString("base64") };
  }
}

class Message {
  #event;
  constructor(event) {
    this.#event = event;
    this.topic = event.topic;
    this.retained = event.retained ?? false;
    if (event.from !== undefined) this.sender = event.from;
    if (event.type !== undefined) this.type = event.type;
    if (event.order !== undefined) this.order = event.order;
  }
  get payload() {
    return bytesOf(this.#event, "payload");
  }
  get text() {
    return this.#event.payload ?? this.payload.toString();
  }
  json() {
    return JSON.parse(this.text);
  }
  /** Of the messages that are ordered by its key, the next may come. */
  handled() {
    if (this.order === undefined) return Promise.reject(new WayfareError({ kind: "gone", reason: "it has no key" }));
    return act({ do: "handled", order: this.order }).then(() => undefined);
  }
  get isRequest() {
    return this.#event.request !== undefined;
  }
  reply(payload) {
    if (!this.isRequest) return Promise.reject(new WayfareError({ kind: "not-repliable", reason: "it is no request" }));
    return act({ do: "reply", to: this.#event.request, ...field("payload", payload) }).then(() => undefined);
  }
}

/** A call of a service of this program's. */
class Call {
  #event;
  #state;
  constructor(event, state) {
    this.#event = event;
    this.#state = state;
    this.address = event.address;
    this.function = event.function;
    if (event.from !== undefined) this.sender = event.from;
  }
  get payload() {
    return bytesOf(this.#event, "payload");
  }
  get text() {
    return this.#event.payload ?? this.payload.toString();
  }
  json() {
    return JSON.parse(this.text);
  }
  get isCancelled() {
    return this.#state.isCancelled;
  }
  /** Reports to the caller how far the call is, if it takes that. */
  async progress(payload) {
    await act({ do: "progress", to: this.#event.request, ...field("payload", payload) });
  }
  /** Has a function at another address called in its place: the end of that is the end of the call, whatever the handler returns. */
  async handOn(address, name, payload = "", { timeout = 30_000 } = {}) {
    const deadline_ms = Math.max(1, Math.round(timeout));
    const action = { do: "hand_on", to: this.#event.request, address, function: name, deadline_ms };
    this.#state.isHandedOn = true;
    try {
      await act({ ...action, ...field("payload", payload) });
    } catch (error) {
      this.#state.isHandedOn = false;
      throw error;
    }
  }
  /** Calls `callback` when the caller has cancelled the call. */
  onCancel(callback) {
    if (this.isCancelled) callback();
    else this.#state.callbacks.push(callback);
  }
}

/** What calls of each service are answered by. */
const services = new Map();
/** State of the calls that are being handled, by their request. */
const handling = new Map();
const kindsOfFailure = ["not-found", "unavailable", "cancelled", "refused", "conflict", "too-large", "expired", "failed"];

/** A program that is called by its own name or id answers as its first service. */
const handlerOf = (address) => {
  if (!address.startsWith("service/")) return [...services.values()][0];
  return services.get(address.slice("service/".length));
};

async function handle(event) {
  const to = event.request;
  const state = { isCancelled: false, isHandedOn: false, callbacks: [] };
  handling.set(to, state);
  try {
    const result = await handlerOf(event.address)(new Call(event, state));
    if (!state.isHandedOn) await act({ do: "answer", to, ...field("payload", result ?? "") });
  } catch (error) {
    const kind = kindsOfFailure.includes(error?.kind) ? error.kind : "failed";
    await act({ do: "fail", to, kind, reason: String(error?.reason ?? error?.message ?? error) });
  } finally {
    handling.delete(to);
  }
}

/** The caller of a call that is being handled does not wait for its end any longer. */
function cancelled(event) {
  const state = handling.get(event.request);
  if (state === undefined) return;
  state.isCancelled = true;
  for (const callback of state.callbacks.splice(0)) callback();
}

/** What the program has asked to be told: of calls that are cancelled, and of ordered messages one of a key at a time. */
let attention = { cancels: false, order: false };
async function attend(change) {
  const before = attention;
  attention = { ...before, ...change };
  try {
    await act({ do: "attend", ...attention });
  } catch (error) {
    attention = before;
    throw error;
  }
}

/** Callbacks for messages to the program's own addresses. */
const listeners = new Set();
async function listen(callback, { order = false } = {}) {
  if (typeof callback !== "function") throw new TypeError("messages are handled by a function");
  const isNew = !listeners.has(callback);
  listeners.add(callback);
  try {
    if (order) await attend({ order: true });
    await act({ do: "listen" });
  } catch (error) {
    if (isNew) listeners.delete(callback);
    throw error;
  }
}

async function serve(name, handler, { schema } = {}) {
  if (typeof handler !== "function") throw new TypeError("a service has a function that handles its calls");
  const before = services.get(name);
  services.set(name, handler);
  try {
    // Engines of earlier releases tell of no cancelled calls.
    if (!attention.cancels) await attend({ cancels: true }).catch(() => {});
    try {
      await act({ do: "serve", name, schema });
    } catch (error) {
      // Engines of earlier releases know of no schemas.
      if (error.kind !== "malformed" || schema === undefined) throw error;
      await act({ do: "serve", name });
    }
  } catch (error) {
    if (before === undefined) services.delete(name);
    else services.set(name, before);
    throw error;
  }
}

function matches(filter, topic) {
  if (filter.startsWith("$share/")) filter = filter.split("/").slice(2).join("/");
  if (topic.startsWith("$") !== filter.startsWith("$")) return false;
  const [asked, given] = [filter.split("/"), topic.split("/")];
  for (const [at, level] of asked.entries()) {
    if (level === "#") return true;
    if (at >= given.length || (level !== "+" && level !== given[at])) return false;
  }
  return asked.length === given.length;
}

/** Messages in the order in which they came: for a callback, or for `for await`. */
class Subscription {
  #callback;
  #queue = [];
  #waiters = [];
  #isOpen = true;
  constructor(filter, qos, callback) {
    this.filter = filter;
    this.#callback = callback;
    subscriptions.add(this);
    this.ready = act({ do: "subscribe", filter, qos }).then(
      () => this,
      (error) => {
        subscriptions.delete(this);
        this.#isOpen = false;
        for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
        throw error;
      },
    );
  }
  /** Whether a message that comes now has somebody who takes it. */
  get _isHungry() {
    return this.#callback !== undefined ? isHungry(this.#callback) : this.#waiters.length > 0;
  }
  _give(message) {
    if (this.#callback !== undefined) this.#callback(message);
    else if (this.#waiters.length > 0) this.#waiters.shift().resolve({ value: message, done: false });
    else this.#queue.push(message);
  }
  next() {
    if (this.#queue.length > 0) return Promise.resolve({ value: this.#queue.shift(), done: false });
    if (!this.#isOpen) return this.ready.then(() => ({ value: undefined, done: true }));
    // What refused the subscription is told to who waits.
    this.ready.catch(() => {});
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }
  async return(value) {
    await this.unsubscribe();
    return { value, done: true };
  }
  async unsubscribe() {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    subscriptions.delete(this);
    for (const waiter of this.#waiters.splice(0)) waiter.resolve({ value: undefined, done: true });
    if (![...subscriptions].some((other) => other.filter === this.filter)) {
      await act({ do: "unsubscribe", filter: this.filter });
    }
  }
  [Symbol.asyncIterator]() {
    return this;
  }
  [Symbol.asyncDispose]() {
    return this.unsubscribe();
  }
}

/** A mailbox takes what comes only while somebody waits for it. */
const isHungry = (handler) => handler.isHungry?.() ?? true;

const subscriptions = new Set();
const moved = [];
/** Those who wait for the answer to an action, by its number. */
const answers = new Map();
let number = 0;
let output;

/** What the loop waits for. A line is taken only while somebody wants one, so that messages wait outside. */
const input = {
  fd: undefined,
  isActive: () =>
    answers.size > 0 || [...services.values(), ...listeners].some(isHungry) || [...subscriptions].some((one) => one._isHungry),
  onReadable: () => take(JSON.parse(native.readLine(input.fd))),
};

function open() {
  if (output !== undefined) return;
  input.fd = native.open("/wayfare/in", "r");
  output = native.open("/wayfare/out", "w");
  loop.addSource(input);
}

function take(event) {
  if (event.event === "answer" || event.event === "error") {
    const waiter = answers.get(event.id);
    answers.delete(event.id);
    if (event.event === "answer") waiter?.resolve(event);
    else waiter?.reject(new WayfareError(event));
  } else if (event.event === "call") {
    // Nobody waits for an answer that cannot be given.
    handle(event).catch(() => {});
  } else if (event.event === "cancelled") {
    cancelled(event);
  } else if (event.event === "progress") {
    answers.get(event.id)?.onProgress?.(bytesOf(event, "payload"));
  } else if (event.event === "message") {
    const message = new Message(event);
    if (event.address !== undefined) for (const callback of [...listeners]) callback(message);
    for (const one of [...subscriptions]) if (matches(one.filter, message.topic)) one._give(message);
  } else if (event.event === "moved") {
    for (const callback of moved) callback(event.engine);
  }
}

/** Actions whose answers other programs give. */
const OTHERS = ["call", "hand_on", "request", "send"];
const quick = () => [...answers.values()].filter((one) => !one.isOthers).length;

/** `begun` is called with the action's number, `onProgress` with each event `progress` of it. */
function act(action, { onProgress, begun } = {}) {
  return new Promise((resolve, reject) => {
    open();
    // Answers that nobody takes are kept by the host, up to a limit. Those of other programs may come late, and are few.
    if (answers.size >= 200) while (quick() > 50) take(JSON.parse(native.readLine(input.fd)));
    const id = ++number;
    const stack = new Error().stack;
    const rejected = (error) => {
      error.stack = stack;
      reject(error);
    };
    answers.set(id, { resolve, reject: rejected, isOthers: OTHERS.includes(action.do), onProgress });
    native.write(output, `${JSON.stringify({ ...action, id })}\n`);
    begun?.(id);
  });
}

/** The request that is under way: there is one at a time. */
let asking;

function request(topic, payload, { timeout = 30_000 } = {}) {
  const action = { do: "request", topic, timeout_ms: Math.max(1, Math.round(timeout)), ...field("payload", payload) };
  const before = asking ?? Promise.resolve();
  const reply = before.then(() => act(action)).then((answer) => bytesOf(answer, "payload"));
  const settled = reply.then(
    () => {},
    () => {},
  );
  asking = settled;
  settled.then(() => {
    if (asking === settled) asking = undefined;
  });
  return reply;
}

function device(alias) {
  const path = `/wayfare/device/${alias}`;
  const write = (value) => require("fs").writeFileSync(path, typeof value === "boolean" ? (value ? "1" : "0") : value);
  return {
    alias,
    /** What a converter measures, or 1 or 0 of a line. */
    read: () => Number(require("fs").readFileSync(path, "utf8")),
    write,
    on: () => write(true),
    off: () => write(false),
  };
}

async function call(address, name, payload = "", options = {}) {
  const { timeout = 30_000, onProgress, idempotent, coalesce, supersede, choose, signal } = options;
  if (signal?.aborted) throw new WayfareError({ kind: "cancelled", reason: "it was cancelled before it was made" });
  const deadline_ms = Math.max(1, Math.round(timeout));
  const progress = onProgress === undefined ? undefined : true;
  const action = { do: "call", address, function: name, deadline_ms, progress, idempotent, coalesce, supersede, choose };
  let cancel;
  const begun = (number) => {
    // The call itself ends as cancelled.
    cancel = () => act({ do: "cancel", call: number }).catch(() => {});
    signal?.addEventListener("abort", cancel);
  };
  try {
    return bytesOf(await act({ ...action, ...field("payload", payload) }, { onProgress, begun }), "payload");
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

const wayfare = {
  WayfareError,
  Mailbox: require("internal/mailbox")({ matches, WayfareError, open }),
  publish: async (topic, payload, { qos = 1, retain = false, plain = false } = {}) => {
    await act({ do: "publish", topic, qos, retain, plain, ...field("payload", payload) });
  },
  subscribe: (filter, options, callback) => {
    if (typeof options === "function") [options, callback] = [{}, options];
    return new Subscription(filter, options?.qos ?? 1, callback);
  },
  request,
  serve,
  call,
  listen,
  send: async (address, payload, { timeout = 30_000, type, order, expires, receipt } = {}) => {
    const timeout_ms = Math.max(1, Math.round(timeout));
    const expires_ms = expires === undefined ? undefined : Math.max(1, Math.round(expires));
    await act({ do: "send", address, timeout_ms, type, order, expires_ms, receipt, ...field("payload", payload) });
  },
  get: async (key) => {
    try {
      const answer = await act({ do: "get", key });
      return { value: bytesOf(answer, "value"), version: answer.version };
    } catch (error) {
      if (error.kind === "absent") return undefined;
      throw error;
    }
  },
  set: async (key, value) => (await act({ do: "set", key, ...field("value", value) })).version,
  compareAndSet: async (key, value, version) =>
    (await act({ do: "compare_and_set", key, version, ...field("value", value) })).version,
  remove: async (key) => {
    await act({ do: "remove", key });
  },
  /** It is ready for work. */
  ready: () => act({ do: "ready" }).then(() => {}),
  /** It is ready, and well for so many milliseconds: then it is to say so again. */
  healthy: (time) => act({ do: "healthy", for_ms: Math.max(1, Math.round(time)) }).then(() => {}),
  /** It is not to be moved or replaced, for so many milliseconds at most, or until `release`. */
  hold: (reason, time) => act({ do: "hold", reason, at_most_ms: Math.max(1, Math.round(time)) }).then(() => {}),
  release: () => act({ do: "release" }).then(() => {}),
  device,
  me: () => JSON.parse(native.decode(native.readFile("/wayfare/me"))),
  onMoved: (callback) => {
    open();
    moved.push(callback);
  },
};
module.exports = wayfare;
