"use strict";
// What programs of ThingsJS require: `Pubsub` and `GFS`, with the same calls, over Wayfare's messages and files.

const EventEmitter = require("events");
const fs = require("fs");
const wayfare = require("wayfare");

/** A message as a handler gets it: what JSON says, or the bytes where they are none. */
function parsed(raw) {
  try {
    return JSON.parse(raw);
  } catch {
    return raw;
  }
}

class Pubsub extends EventEmitter {
  #subscriptions = new Map();

  /** The URL is that of the fleet's broker, whatever it says. */
  constructor(url, options = {}) {
    super();
    this.url = url ?? "mqtt://localhost";
    this.id = wayfare.me().program;
    this.handlers = {};
    for (const [topic, handlers] of Object.entries(options.handlers ?? {})) {
      for (const handler of handlers) this.subscribe(topic, handler);
    }
    setImmediate(() => this.emit("ready"));
  }

  async subscribe(topic, handler) {
    (this.handlers[topic] ??= []).push(handler);
    let subscription = this.#subscriptions.get(topic);
    if (subscription === undefined) {
      subscription = wayfare.subscribe(topic, (message) => this.#take(topic, message));
      this.#subscriptions.set(topic, subscription);
    }
    await subscription.ready;
    return topic;
  }

  #take(filter, { topic, payload: rawBuffer }) {
    const message = parsed(rawBuffer);
    try {
      for (const handler of [...(this.handlers[filter] ?? [])]) handler(message, topic, rawBuffer);
      this.emit("messageReceived", { topic, message, rawBuffer });
    } catch (error) {
      // A handler that fails ends neither the others nor the program.
      console.log(error);
    }
  }

  async unsubscribe(topic) {
    delete this.handlers[topic];
    const subscription = this.#subscriptions.get(topic);
    this.#subscriptions.delete(topic);
    await subscription?.unsubscribe();
    return topic;
  }

  /** Bytes go as they are, everything else as JSON: a string in its quotes. */
  async publish(topic, message) {
    await wayfare.publish(topic, message instanceof Uint8Array ? message : JSON.stringify(message), { plain: true });
    return true;
  }

  async kill() {
    await Promise.all([...this.#subscriptions.keys()].map((topic) => this.unsubscribe(topic)));
    return true;
  }

  getInputPipe(topic) {
    return new Pubsub.InputStream(this, topic);
  }

  getOutputPipe(topic) {
    return new Pubsub.OutputStream(this, topic);
  }

  /** A stream of what comes on a topic, as the bytes that came. */
  static get InputStream() {
    return streams().InputStream;
  }

  /** A stream whose pieces are published as the bytes that they are, one after the other. */
  static get OutputStream() {
    return streams().OutputStream;
  }
}

/** Publishes on one topic what comes on another. */
Pubsub.Pipe = class {
  constructor(pubsub, from, to) {
    pubsub.subscribe(from, (message) => pubsub.publish(to, message));
  }
};

let made;
/** Made when they are first asked for: most programs have no pipes. */
function streams() {
  if (made !== undefined) return made;
  const { Readable, Writable } = require("stream");

  class InputStream extends Readable {
    #pubsub;
    #topic;
    #take = (message, topic, raw) => this.push(raw);

    constructor(pubsub, topic) {
      super();
      this.#pubsub = pubsub;
      this.#topic = topic;
      pubsub.subscribe(topic, this.#take).catch((error) => this.destroy(error));
    }

    _read() {}

    _destroy(error, done) {
      const { handlers } = this.#pubsub;
      handlers[this.#topic] = (handlers[this.#topic] ?? []).filter((one) => one !== this.#take);
      const isLast = handlers[this.#topic].length === 0;
      (isLast ? this.#pubsub.unsubscribe(this.#topic) : Promise.resolve()).then(() => done(error), done);
    }
  }

  class OutputStream extends Writable {
    #pubsub;
    #topic;

    constructor(pubsub, topic) {
      super();
      this.#pubsub = pubsub;
      this.#topic = topic;
    }

    _write(chunk, encoding, done) {
      this.#pubsub.publish(this.#topic, chunk).then(() => done(), done);
    }
  }

  made = { InputStream, OutputStream };
  return made;
}

/** `fs` on the fleet's files: its paths begin at /fleet. With or without `new`, and with the URL of a database that is
 * not asked. */
function GFS() {
  const gfs = {};
  const there = (path) => {
    if (typeof path !== "string") throw new TypeError("path must be a string");
    return path.startsWith("/fleet/") || path === "/fleet" ? path : `/fleet/${path.replace(/^\/+/, "")}`;
  };
  const calls = ["readFile", "writeFile", "appendFile", "unlink", "mkdir", "rmdir", "readdir", "stat", "access", "exists"];
  for (const name of [...calls, "createReadStream", "createWriteStream"]) {
    gfs[name] = (path, ...args) => fs[name](there(path), ...args);
  }
  for (const name of ["rename", "copyFile"]) {
    gfs[name] = (from, to, ...args) => fs[name](there(from), there(to), ...args);
  }
  return gfs;
}

module.exports = { Pubsub, GFS, gfs: GFS, addons: { gfs: GFS } };
