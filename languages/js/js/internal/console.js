"use strict";
// `console`: to standard output, and what is wrong to standard error.

const { format, inspect } = require("internal/inspect");

let indent = "";
const counts = new Map();
const times = new Map();

function print(fd, args) {
  const text = format(...args);
  native.write(fd, `${indent === "" ? text : indent + text.replaceAll("\n", `\n${indent}`)}\n`);
}

const log = (...args) => print(1, args);
const error = (...args) => print(2, args);

function elapsed(label) {
  const from = times.get(label);
  if (from === undefined) return error(`No such label '${label}' for console.time()`);
  const ms = native.now() - from;
  return ms < 1000 ? `${ms.toFixed(3)}ms` : `${(ms / 1000).toFixed(3)}s`;
}

function table(data) {
  if (data === null || typeof data !== "object") return log(data);
  const rows = Object.entries(data);
  const isPlain = (row) => row === null || typeof row !== "object";
  const columns = [...new Set(rows.flatMap(([, row]) => (isPlain(row) ? [] : Object.keys(row))))];
  const head = ["(index)", ...columns];
  if (rows.some(([, row]) => isPlain(row))) head.push("Values");
  const cells = rows.map(([index, row]) => {
    const cell = (value) => (value === undefined ? "" : inspect(value));
    const own = columns.map((column) => (isPlain(row) ? "" : cell(row[column])));
    return [index, ...own, ...(head.at(-1) === "Values" ? [isPlain(row) ? cell(row) : ""] : [])];
  });
  const widths = head.map((name, at) => Math.max(name.length, ...cells.map((row) => row[at].length)) + 2);
  const line = (row) => `│${row.map((cell, at) => ` ${cell.padEnd(widths[at] - 1)}`).join("│")}│`;
  const rule = (left, middle, right) => left + widths.map((width) => "─".repeat(width)).join(middle) + right;
  log([rule("┌", "┬", "┐"), line(head), rule("├", "┼", "┤"), ...cells.map(line), rule("└", "┴", "┘")].join("\n"));
}

module.exports = {
  log,
  info: log,
  debug: log,
  error,
  warn: error,
  trace: (...args) => error(`Trace: ${format(...args)}\n${new Error().stack}`),
  dir: (value, options) => log(inspect(value, options)),
  dirxml: log,
  assert: (condition, ...args) => {
    if (condition) return;
    if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
    else args.unshift("Assertion failed");
    error(...args);
  },
  count: (label = "default") => {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    log(`${label}: ${counts.get(label)}`);
  },
  countReset: (label = "default") => counts.delete(label),
  group: (...args) => {
    if (args.length > 0) log(...args);
    indent += "  ";
  },
  groupCollapsed: (...args) => module.exports.group(...args),
  groupEnd: () => {
    indent = indent.slice(2);
  },
  table,
  time: (label = "default") => times.set(label, native.now()),
  timeEnd: (label = "default") => {
    log(`${label}: ${elapsed(label)}`);
    times.delete(label);
  },
  timeLog: (label = "default", ...args) => log(`${label}: ${elapsed(label)}`, ...args),
};
