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

  /** A stream of the messages that come on a topic. */
  getInputPipe(topic) {
    const { Readable } = require("stream");
    const pipe = new Readable({
      objectMode: true,
      read: () => {},
      destroy: (error, done) => {
        this.handlers[topic] = (this.handlers[topic] ?? []).filter((one) => one !== take);
        const isLast = this.handlers[topic].length === 0;
        (isLast ? this.unsubscribe(topic) : Promise.resolve()).then(() => done(error), done);
      },
    });
    // `null` would be the end of the stream.
    const take = (message) => pipe.push(message ?? undefined);
    this.subscribe(topic, take).catch((error) => pipe.destroy(error));
    return pipe;
  }

  /** A stream whose objects are published, one after the other. */
  getOutputPipe(topic) {
    const { Writable } = require("stream");
    return new Writable({
      objectMode: true,
      write: (message, encoding, done) => {
        this.publish(topic, message).then(() => done(), done);
      },
    });
  }
}

/** `fs` on the fleet's files: its paths begin at /fleet. With or without `new`, and with the URL of a database that is
 * not asked. */
function GFS() {
  const gfs = {};
  const there = (path) => {
    if (typeof path !== "string") throw new TypeError("path must be a string");
    return path.startsWith("/fleet/") || path === "/fleet" ? path : `/fleet/${path.replace(/^\/+/, "")}`;
  };
  for (const name of ["readFile", "writeFile", "appendFile", "unlink", "mkdir", "rmdir", "readdir", "stat", "access"]) {
    gfs[name] = (path, ...args) => fs[name](there(path), ...args);
  }
  gfs.rename = (from, to, callback) => fs.rename(there(from), there(to), callback);
  gfs.exists = (path, callback) => fs.exists(there(path), callback);
  return gfs;
}

module.exports = { Pubsub, GFS, gfs: GFS };
