"use strict";
// `URL` and `URLSearchParams`: the standard's rules are the host's.

const PARTS = ["protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
const text = (value) => String(value).toWellFormed();
const CUSTOM = Symbol.for("nodejs.util.inspect.custom");

class URLSearchParams {
  #pairs = [];
  #changed;

  constructor(init = "", changed = undefined) {
    this.#changed = typeof changed === "function" ? changed : undefined;
    if (typeof init === "object" && init !== null) {
      const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
      for (const pair of pairs) {
        const [name, value, ...more] = pair;
        if (value === undefined || more.length > 0) throw new TypeError("Each query pair must be an iterable [name, value] tuple");
        this.#pairs.push([text(name), text(value)]);
      }
    } else {
      this.#read(text(init));
    }
  }
  #read(query) {
    const flat = native.formParse(query.replace(/^\?/, ""));
    this.#pairs = Array.from({ length: flat.length / 2 }, (_, at) => [flat[at * 2], flat[at * 2 + 1]]);
  }
  /** For a URL: takes what stands in it now. */
  static reread(params, query) {
    params.#read(query);
  }
  append(name, value) {
    this.#pairs.push([text(name), text(value)]);
    this.#changed?.();
  }
  delete(name, value) {
    const is = (pair) => pair[0] === text(name) && (value === undefined || pair[1] === text(value));
    this.#pairs = this.#pairs.filter((pair) => !is(pair));
    this.#changed?.();
  }
  get(name) {
    return this.#pairs.find((pair) => pair[0] === text(name))?.[1] ?? null;
  }
  getAll(name) {
    return this.#pairs.filter((pair) => pair[0] === text(name)).map((pair) => pair[1]);
  }
  has(name, value) {
    return this.#pairs.some((pair) => pair[0] === text(name) && (value === undefined || pair[1] === text(value)));
  }
  set(name, value) {
    const first = this.#pairs.find((pair) => pair[0] === text(name));
    if (first === undefined) return this.append(name, value);
    first[1] = text(value);
    this.#pairs = this.#pairs.filter((pair) => pair === first || pair[0] !== first[0]);
    this.#changed?.();
  }
  sort() {
    this.#pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
    this.#changed?.();
  }
  forEach(callback, self) {
    for (const [name, value] of this) callback.call(self, value, name, this);
  }
  get size() {
    return this.#pairs.length;
  }
  *entries() {
    for (let at = 0; at < this.#pairs.length; at++) yield [...this.#pairs[at]];
  }
  *keys() {
    for (const [name] of this) yield name;
  }
  *values() {
    for (const [, value] of this) yield value;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
  toString() {
    return native.formText(this.#pairs.flat());
  }
  [CUSTOM](depth, options, inspect) {
    if (this.size === 0) return "URLSearchParams {}";
    return `URLSearchParams { ${this.#pairs.map(([name, value]) => `${inspect(name)} => ${inspect(value)}`).join(", ")} }`;
  }
}

class URL {
  #parts;
  #params;

  constructor(href, base) {
    const parts = native.url(text(href), base === undefined ? undefined : text(base));
    if (parts === undefined) throw Object.assign(new TypeError("Invalid URL"), { code: "ERR_INVALID_URL", input: String(href) });
    this.#parts = parts;
  }
  static canParse(href, base) {
    return native.url(text(href), base === undefined ? undefined : text(base)) !== undefined;
  }
  static parse(href, base) {
    return URL.canParse(href, base) ? new URL(href, base) : null;
  }
  get href() {
    return this.#parts.href;
  }
  set href(href) {
    this.#parts = new URL(href).#parts;
    this.#follow();
  }
  get origin() {
    return this.#parts.origin;
  }
  get searchParams() {
    this.#params ??= new URLSearchParams(this.search, () => this.#with("search", this.#params.toString()));
    return this.#params;
  }
  #with(part, value) {
    this.#parts = native.urlWith(this.#parts.href, part, text(value));
  }
  #follow() {
    if (this.#params !== undefined) URLSearchParams.reread(this.#params, this.search);
  }
  static {
    for (const part of PARTS) {
      Object.defineProperty(URL.prototype, part, {
        configurable: true,
        enumerable: true,
        get() {
          return this.#parts[part];
        },
        set(value) {
          this.#with(part, value);
          if (part === "search") this.#follow();
        },
      });
    }
  }
  toString() {
    return this.href;
  }
  toJSON() {
    return this.href;
  }
  [CUSTOM](depth, options, inspect) {
    const { href, origin } = this;
    const parts = Object.fromEntries(PARTS.map((part) => [part, this[part]]));
    const { hash, ...before } = parts;
    return `URL ${inspect({ href, origin, ...before, searchParams: this.searchParams, hash })}`;
  }
}

module.exports = { URL, URLSearchParams };
