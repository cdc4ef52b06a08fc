"use strict";
// TypeScript: its types are taken away, and lines stay where they are.

const EXTENSIONS = [".ts", ".mts", ".cts"];

exports.EXTENSIONS = EXTENSIONS;
exports.is = (path) => EXTENSIONS.some((extension) => path.endsWith(extension));

exports.stripped = (path, source) => {
  const { transform } = require("internal/packages/typescript");
  try {
    return transform(source, { transforms: ["typescript"], disableESTransforms: true, filePath: path }).code;
  } catch (error) {
    const [, what, line, column] = /^(?:Error transforming .*?: )?(.*?)(?: \((\d+):(\d+)\))?$/s.exec(error.message) ?? [];
    const failure = new SyntaxError(what ?? error.message);
    failure.stack = `    at ${path}${line === undefined ? "" : `:${line}:${column}`}\n`;
    throw failure;
  }
};
