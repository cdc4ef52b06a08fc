"use strict";
// Source maps: stacks name the lines that people wrote. A map is read when the first stack asks for it.

const COMMENT = /^\/\/[#@] sourceMappingURL=(\S+)\s*$/m;
/** Where the map of a file is, by the file's path; and the maps themselves. */
const urls = new Map();
const maps = new Map();
/** Columns that the runtime has put before the first line of a file, by the file's path. */
const shifts = new Map();

/** Notes where the map of a file is, if it names one, and what stands before its first line. */
exports.note = (path, source, shift) => {
  shifts.set(path, shift);
  // The comment is at the end.
  const url = COMMENT.exec(source.slice(-Math.min(source.length, 4096)))?.[1] ?? long(source);
  if (url !== undefined) urls.set(path, url);
};

/** A map that stands in its file is longer than any end. */
function long(source) {
  const at = source.lastIndexOf("sourceMappingURL=data:");
  return at < 0 ? undefined : COMMENT.exec(source.slice(source.lastIndexOf("\n", at) + 1))?.[1];
}

function mapOf(path) {
  if (!maps.has(path)) maps.set(path, read(path, urls.get(path)));
  return maps.get(path);
}

function read(path, url) {
  if (url === undefined) return undefined;
  try {
    let text;
    if (url.startsWith("data:")) {
      const [head, body] = [url.slice(5, url.indexOf(",")), url.slice(url.indexOf(",") + 1)];
      text = head.endsWith(";base64") ? Buffer.from(body, "base64").toString() : decodeURIComponent(body);
    } else {
      text = require("fs").readFileSync(require("path").resolve(path, "..", decodeURIComponent(url)), "utf8");
    }
    const { TraceMap } = require("internal/packages/source-map");
    return new TraceMap(JSON.parse(text), path);
  } catch {
    // A map that cannot be read is none.
    return undefined;
  }
}

/** A stack with the places in the sources, where there are maps of them. */
exports.mapped = (stack) => {
  return stack.replace(/(\/[^\s():]+):(\d+):(\d+)/g, (whole, path, line, column) => {
    if (line === "1") column = Math.max(1, column - (shifts.get(path) ?? 0));
    const map = mapOf(path);
    if (map === undefined) return `${path}:${line}:${column}`;
    const { originalPositionFor } = require("internal/packages/source-map");
    const found = originalPositionFor(map, { line: Number(line), column: column - 1 });
    return found.source === null ? whole : `${found.source}:${found.line}:${found.column + 1}`;
  });
};
