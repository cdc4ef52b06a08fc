"use strict";
// Node's `http`, as far as a server goes: requests come as calls of the service `http`, from the fleet's gateway, and are answered
// whole. There are no connections here, and nothing is asked of other servers.

const EventEmitter = require("events");
const { Readable, Writable } = require("stream");
const wayfare = require("wayfare");

const METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
const STATUS_CODES = {
  200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 302: "Found",
  303: "See Other", 304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request",
  401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 410: "Gone",
  412: "Precondition Failed", 413: "Payload Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Entity",
  429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
  504: "Gateway Timeout",
};
const SERVICE = "http";
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Of these Node keeps the first. */
const SINGLE = [
  "age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since",
  "if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer", "retry-after", "server",
  "user-agent",
];

function coded(code, message, Kind = Error) {
  return Object.assign(new Kind(message), { code });
}

/** The request's bytes, as HTTP/1.1 has them. */
function parse(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  const [line, ...fields] = bytes.subarray(0, Math.max(end, 0)).toString("latin1").split("\r\n");
  const start = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP\/1\.1$/.exec(line);
  if (end < 0 || start === null) throw coded("HPE_INVALID_CONSTANT", "it is no request of HTTP/1.1");
  const rawHeaders = [];
  for (const field of fields) {
    const at = field.indexOf(":");
    if (!TOKEN.test(field.slice(0, Math.max(at, 0)))) throw coded("HPE_INVALID_HEADER_TOKEN", "a header has no name");
    rawHeaders.push(field.slice(0, at), field.slice(at + 1).trim());
  }
  return { method: start[1], url: start[2], rawHeaders, body: bytes.subarray(end + 4) };
}

class IncomingMessage extends Readable {
  constructor({ method, url, rawHeaders, body }) {
    super();
    Object.assign(this, { method, url, rawHeaders, httpVersion: "1.1", complete: true, aborted: false });
    this.headers = Object.create(null);
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const [name, value] = [rawHeaders[at].toLowerCase(), rawHeaders[at + 1]];
      if (this.headers[name] === undefined) this.headers[name] = value;
      else if (!SINGLE.includes(name)) this.headers[name] += name === "cookie" ? `; ${value}` : `, ${value}`;
    }
    // There is no connection that an address could be of.
    this.socket = this.connection = { remoteAddress: undefined, encrypted: false };
    if (body.length > 0) this.push(Buffer.from(body));
    this.push(null);
  }
  _read() {}
}

class ServerResponse extends Writable {
  #headers = new Map();
  #pieces = [];
  #isHead;
  statusCode = 200;
  statusMessage = undefined;
  headersSent = false;

  constructor(request, done) {
    super({ decodeStrings: true });
    this.req = request;
    this.#isHead = request.method === "HEAD";
    this.done = done;
  }
  setHeader(name, value) {
    if (this.headersSent) throw coded("ERR_HTTP_HEADERS_SENT", "Cannot set headers after they are sent to the client");
    if (!TOKEN.test(name)) throw coded("ERR_INVALID_HTTP_TOKEN", `Header name must be a valid HTTP token ["${name}"]`, TypeError);
    for (const one of [value].flat()) {
      // eslint-disable-next-line no-control-regex
      if (one === undefined || /[^\t\x20-\x7e\x80-\xff]/.test(String(one))) {
        throw coded("ERR_INVALID_CHAR", `Invalid character in header content ["${name}"]`, TypeError);
      }
    }
    this.#headers.set(name.toLowerCase(), [name, value]);
    return this;
  }
  getHeader(name) {
    return this.#headers.get(name.toLowerCase())?.[1];
  }
  hasHeader(name) {
    return this.#headers.has(name.toLowerCase());
  }
  removeHeader(name) {
    this.#headers.delete(name.toLowerCase());
  }
  getHeaderNames() {
    return [...this.#headers.keys()];
  }
  getHeaders() {
    return Object.fromEntries([...this.#headers].map(([name, [, value]]) => [name, value]));
  }
  writeHead(status, message, headers = {}) {
    if (typeof message !== "string") [message, headers] = [undefined, message ?? headers];
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw coded("ERR_HTTP_INVALID_STATUS_CODE", `Invalid status code: ${status}`, RangeError);
    }
    const pairs = Array.isArray(headers)
      ? headers.flatMap((_, at) => (at % 2 === 0 ? [[headers[at], headers[at + 1]]] : []))
      : Object.entries(headers);
    for (const [name, value] of pairs) this.setHeader(name, value);
    this.statusCode = status;
    this.statusMessage = message;
    this.headersSent = true;
    return this;
  }
  flushHeaders() {
    this.headersSent = true;
  }
  writeContinue() {}
  setTimeout() {
    return this;
  }
  _write(chunk, _encoding, next) {
    this.headersSent = true;
    this.#pieces.push(chunk);
    next();
  }
  _final(next) {
    this.headersSent = true;
    const message = this.statusMessage ?? STATUS_CODES[this.statusCode] ?? "";
    let head = `HTTP/1.1 ${this.statusCode} ${message.replace(/[^\t\x20-\x7e]/g, " ")}\r\n`;
    for (const [name, value] of this.#headers.values()) for (const one of [value].flat()) head += `${name}: ${one}\r\n`;
    const body = this.#isHead ? [] : this.#pieces;
    this.done(Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), ...body]));
    next();
  }
}

/** The one whose requests come. */
let listening;

class Server extends EventEmitter {
  listening = false;

  constructor(options, listener) {
    super();
    if (typeof options === "function") listener = options;
    if (listener !== undefined) this.on("request", listener);
  }
  /** Whatever port is named: the fleet's gateway has it at /r/NAME/. */
  listen(...args) {
    const callback = args.find((one) => typeof one === "function");
    if (callback !== undefined) this.once("listening", callback);
    if (listening !== undefined) throw coded("ERR_SERVER_ALREADY_LISTEN", "a program has one server");
    listening = this;
    wayfare.serve(SERVICE, (call) => listening.#answer(call)).then(
      () => {
        this.listening = true;
        this.emit("listening");
      },
      (error) => {
        listening = undefined;
        if (!this.emit("error", Object.assign(error, { code: error.code ?? "EACCES", syscall: "listen" }))) throw error;
      },
    );
    return this;
  }
  #answer(call) {
    if (call.function !== "http") {
      return Promise.reject(new wayfare.WayfareError({ kind: "not-found", reason: "there is the function http" }));
    }
    let parsed;
    try {
      parsed = parse(call.payload);
    } catch (error) {
      return Promise.reject(new wayfare.WayfareError({ kind: "refused", reason: error.message }));
    }
    return new Promise((resolve, reject) => {
      const request = new IncomingMessage(parsed);
      const response = new ServerResponse(request, resolve);
      response.on("error", reject);
      call.onCancel(() => {
        request.aborted = true;
        request.emit("aborted");
        response.emit("close");
      });
      if (!this.emit("request", request, response)) {
        response.writeHead(404).end();
      }
    });
  }
  address() {
    return this.listening ? { address: "127.0.0.1", family: "IPv4", port: 0 } : null;
  }
  /** Requests that come from now on are answered as if nobody were here. */
  close(callback) {
    if (callback !== undefined) this.once("close", callback);
    this.listening = false;
    this.removeAllListeners("request");
    process.nextTick(() => this.emit("close"));
    return this;
  }
}

const createServer = (options, listener) => new Server(options, listener);

function outside() {
  throw coded("ENOSYS", "programs do not ask other servers yet: http.request and http.get are not there");
}

module.exports = {
  METHODS, STATUS_CODES, IncomingMessage, Server, ServerResponse, createServer, get: outside, request: outside,
};
