"use strict";
// What packages know as `process/`.

module.exports = process;
