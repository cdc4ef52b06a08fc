"use strict";
// Values as texts for people, as `util.inspect` of Node makes them.

const { mapped } = require("internal/source-maps");

const CUSTOM = Symbol.for("nodejs.util.inspect.custom");
const WIDTH = 72;
const LINE = 76;
const ITEMS_MAX = 100;
const STRING_MAX = 10_000;
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

function quoted(text) {
  const quote = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes("`") ? "`" : "'";
  const escaped = text.replace(/[\\\n\r\t\b\f\v\0-\x1f\x7f]/g, (c) => {
    const short = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\v": "\\v" }[c];
    return short ?? `\\x${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  });
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}

function primitive(value) {
  if (typeof value === "string") {
    if (value.length <= STRING_MAX) return quoted(value);
    return `${quoted(value.slice(0, STRING_MAX))}... ${value.length - STRING_MAX} more characters`;
  }
  if (Object.is(value, -0)) return "-0";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

function nameOf(value) {
  for (let at = value; at !== null; at = Object.getPrototypeOf(at)) {
    const maker = Object.getOwnPropertyDescriptor(at, "constructor")?.value;
    if (typeof maker === "function" && maker.name !== "") return maker.name;
  }
  return null;
}

function key(name) {
  if (typeof name === "symbol") return `[${String(name)}]`;
  return IDENTIFIER.test(name) ? name : quoted(name);
}

/** An error's stack below its message, with its other properties. */
function errorText(error, context) {
  const head = Error.prototype.toString.call(error);
  const stack = typeof error.stack === "string" ? mapped(error.stack.trimEnd()) : "";
  const text = stack === "" ? `[${head}]` : stack.includes(head) ? stack : `${head}\n${stack}`;
  return context.depth === 0 ? text : text.replaceAll("\n", `\n${"  ".repeat(context.depth)}`);
}

function functionText(value) {
  const isClass = /^class\b/.test(Function.prototype.toString.call(value));
  const base = Object.getPrototypeOf(value)?.name;
  if (isClass) return `[class ${value.name || "(anonymous)"}${base ? ` extends ${base}` : ""}]`;
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return `[${kind}${value.name ? `: ${value.name}` : " (anonymous)"}]`;
}

/** What stands before the braces, and what is in them beside properties. */
function described(value, context) {
  const name = nameOf(value);
  const inner = (one) => formatted(one, { ...context, depth: context.depth + 1 });
  const more = (count) => (count > ITEMS_MAX ? [`... ${count - ITEMS_MAX} more item${count - ITEMS_MAX > 1 ? "s" : ""}`] : []);
  if (Array.isArray(value)) {
    const items = [];
    for (let at = 0; at < Math.min(value.length, ITEMS_MAX); at++) {
      if (at in value) items.push(inner(value[at]));
      else {
        let empty = at;
        while (empty < value.length && !(empty in value)) empty++;
        items.push(`<${empty - at} empty item${empty - at > 1 ? "s" : ""}>`);
        at = empty - 1;
      }
    }
    return { prefix: name === "Array" ? "" : `${name}(${value.length}) `, items: [...items, ...more(value.length)], isList: true };
  }
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    if (name === "Buffer") {
      const shown = [...value.subarray(0, 50)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      const rest = value.length > 50 ? ` ... ${value.length - 50} more bytes` : "";
      return { whole: `<Buffer${shown === "" ? "" : ` ${shown}`}${rest}>` };
    }
    const items = [...value.subarray(0, ITEMS_MAX)].map(primitive);
    return { prefix: `${name}(${value.length}) `, items: [...items, ...more(value.length)], isList: true };
  }
  if (value instanceof Map) {
    const items = [...value].map(([one, other]) => `${inner(one)} => ${inner(other)}`);
    return { prefix: `${name}(${value.size}) `, items };
  }
  if (value instanceof Set) return { prefix: `${name}(${value.size}) `, items: [...value].map(inner) };
  if (value instanceof Error) return { whole: errorText(value, context), isError: true };
  if (value instanceof Date) return { whole: Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString() };
  if (value instanceof RegExp) return { whole: RegExp.prototype.toString.call(value) };
  if (value instanceof Promise) return { prefix: `${name} `, items: [] };
  if (value instanceof ArrayBuffer) return { prefix: `${name} `, items: [`byteLength: ${value.byteLength}`] };
  if (typeof value === "function") return { whole: functionText(value) };
  for (const type of [String, Number, Boolean]) {
    if (value instanceof type) return { whole: `[${type.name}: ${primitive(value.valueOf())}]` };
  }
  const tag = value[Symbol.toStringTag];
  const tagText = typeof tag === "string" && tag !== "" && tag !== name ? `[${tag}] ` : "";
  if (name === null) return { prefix: `[Object: null prototype] ${tagText}`, items: [] };
  return { prefix: (name === "Object" ? "" : `${name} `) + tagText, items: [] };
}

function property(value, name, context) {
  const { get, set, value: own } = Object.getOwnPropertyDescriptor(value, name);
  if (get !== undefined) return `${key(name)}: ${set === undefined ? "[Getter]" : "[Getter/Setter]"}`;
  if (set !== undefined) return `${key(name)}: [Setter]`;
  return `${key(name)}: ${formatted(own, { ...context, depth: context.depth + 1 })}`;
}

function formatted(value, context) {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return primitive(value);
  const custom = value[CUSTOM];
  if (typeof custom === "function" && custom !== exports.inspect) {
    const shown = custom.call(value, context.depthMax - context.depth, context.options, exports.inspect);
    if (shown !== value) return typeof shown === "string" ? shown : formatted(shown, context);
  }
  if (context.seen.includes(value)) {
    if (!context.circular.includes(value)) context.circular.push(value);
    return `[Circular *${context.circular.indexOf(value) + 1}]`;
  }
  const inside = { ...context, seen: [...context.seen, value] };
  const isDeep = context.depth > context.depthMax;
  if (isDeep && !(value instanceof Error) && typeof value !== "function") {
    return Array.isArray(value) ? "[Array]" : `[${nameOf(value) ?? "Object: null prototype"}]`;
  }
  const { prefix = "", items = [], whole, isList, isError } = described(value, inside);
  const isIndex = (name) => isList && typeof name === "string" && /^\d+$/.test(name);
  const isShown = (name) => {
    if (isError && name === "cause") return true;
    return !(isError && ["message", "stack", "name"].includes(name)) && Object.prototype.propertyIsEnumerable.call(value, name);
  };
  const isText = value instanceof String;
  const names = Reflect.ownKeys(value).filter((name) => isShown(name) && !isIndex(name) && !(isText && /^\d+$/.test(String(name))));
  const all = [...items, ...(whole?.startsWith("<Buffer") ? [] : names.map((name) => property(value, name, inside)))];
  if (whole !== undefined && all.length === 0) return whole;
  const [open, close] = isList ? ["[", "]"] : ["{", "}"];
  const reference = context.circular.includes(value) ? `<ref *${context.circular.indexOf(value) + 1}> ` : "";
  const before = reference + (whole !== undefined ? `${whole} ${open}` : prefix + open);
  if (all.length === 0) return `${before}${close}`;
  return laidOut(before, all, close, isList && names.length === 0, context);
}

/** In one line if that is short, else in columns or one below the other. */
function laidOut(before, all, close, isList, { depth, compact }) {
  const pad = "  ".repeat(depth + 1);
  let rows = all;
  if (isList && all.length > 6 && all.every((item) => !item.includes("\n") && item.length <= 6 * 4)) rows = columns(all);
  const length = all.reduce((sum, item) => sum + item.length + 2, before.length + depth * 2);
  const isFlat = rows === all && all.every((item) => !item.includes("\n"));
  const nested = Math.max(0, ...all.map((item) => nesting(item)));
  if (isFlat && length <= WIDTH + 4 && (compact === false ? false : nested < 3)) return `${before} ${all.join(", ")} ${close}`;
  return `${before}\n${pad}${rows.join(`,\n${pad}`)}\n${"  ".repeat(depth)}${close}`;
}

/** How many braces are open at once in a text, at most. */
function nesting(item) {
  let open = 0;
  let most = 0;
  for (const c of item.replace(/'(?:[^'\\]|\\.)*'/g, "")) {
    if (c === "{" || c === "[") most = Math.max(most, ++open);
    else if (c === "}" || c === "]") open--;
  }
  return most;
}

function columns(items) {
  const isNumbers = items.every((item) => /^-?[\d.]+n?$/.test(item));
  const rest = items.at(-1).startsWith("... ") ? [items.at(-1)] : [];
  const body = rest.length > 0 ? items.slice(0, -1) : items;
  const total = body.reduce((sum, item) => sum + item.length + 2, 0);
  const longest = Math.max(...body.map((item) => item.length)) + 2;
  if (longest * 3 + 2 >= 80 && total / longest <= 5) return items;
  const bias = Math.sqrt(longest - total / items.length);
  const count = Math.min(
    Math.round(Math.sqrt(2.5 * Math.max(longest - 3 - 0, 1) * body.length) / Math.max(longest - 3, 1)) || 1,
    Math.floor((LINE + 4) / longest),
    12,
    15,
  );
  if (count <= 1 || Number.isNaN(bias)) return items;
  const widths = Array.from({ length: count }, (_, column) => {
    return Math.max(...body.filter((_, at) => at % count === column).map((item) => item.length));
  });
  const rows = [];
  for (let at = 0; at < body.length; at += count) {
    const row = body.slice(at, at + count);
    const isLast = (column) => column === row.length - 1;
    const cells = row.map((item, column) => {
      const cell = isLast(column) ? item : `${item}, `;
      if (isNumbers) return isLast(column) ? cell.padStart(widths[column]) : cell.padStart(widths[column] + 2);
      return isLast(column) ? cell : cell.padEnd(widths[column] + 2);
    });
    rows.push(cells.join(""));
  }
  return [...rows, ...rest];
}

exports.inspect = (value, options = {}) => {
  const { depth, compact } = typeof options === "object" && options !== null ? options : {};
  const depthMax = depth === null ? Infinity : (depth ?? 2);
  return formatted(value, { depth: 0, depthMax, compact, options, seen: [], circular: [] });
};
exports.inspect.custom = CUSTOM;
exports.inspect.defaultOptions = {};

const show = (value) => (typeof value === "string" ? value : exports.inspect(value));

function directive(kind, value) {
  switch (kind) {
    case "s":
      if (typeof value === "object" && value !== null) return exports.inspect(value, { depth: 0 });
      return typeof value === "string" ? value : primitive(value);
    case "d":
      return typeof value === "bigint" ? `${value}n` : typeof value === "object" ? "NaN" : primitive(Number(value));
    case "i":
      return typeof value === "bigint" ? `${value}n` : primitive(Number.parseInt(value, 10));
    case "f":
      return primitive(Number.parseFloat(value));
    case "j":
      return JSON.stringify(value);
    case "o":
    case "O":
      return exports.inspect(value, { depth: kind === "o" ? 4 : 2 });
    default:
      return "";
  }
}

exports.format = (...args) => {
  if (typeof args[0] !== "string" || args.length === 1) return args.map(show).join(" ");
  let at = 1;
  const text = args[0].replace(/%([sdifjoOc%])/g, (whole, kind) => {
    if (kind === "%") return "%";
    return at < args.length ? directive(kind, args[at++]) : whole;
  });
  return [text, ...args.slice(at).map(show)].join(" ");
};
