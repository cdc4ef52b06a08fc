"use strict";
// Node's `stream`, as its own package has it.

module.exports = require("internal/packages/stream");
