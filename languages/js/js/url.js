"use strict";
// Node's `url`: the standard's URLs, and those before them, which a package reads.

const { URL, URLSearchParams } = require("internal/url");
const legacy = require("internal/packages/url");

function fileURLToPath(url) {
  if (typeof url === "string") url = new URL(url);
  if (url.protocol !== "file:") throw Object.assign(new TypeError("The URL must be of scheme file"), { code: "ERR_INVALID_URL_SCHEME" });
  return decodeURIComponent(url.pathname);
}

function pathToFileURL(path) {
  const url = new URL("file:///");
  const full = require("path").resolve(path) + (path.endsWith("/") && path !== "/" ? "/" : "");
  url.pathname = full.replace(/[%\\\n\r\t?#]/g, encodeURIComponent);
  return url;
}

function format(url, options) {
  if (!(url instanceof URL)) return legacy.format(url);
  const { auth = true, fragment = true, search = true } = options ?? {};
  const copy = new URL(url.href);
  if (!auth) copy.username = copy.password = "";
  if (!fragment) copy.hash = "";
  if (!search) copy.search = "";
  return copy.href;
}

module.exports = {
  URL,
  URLSearchParams,
  Url: legacy.Url,
  domainToASCII: (name) => native.urlDomain(String(name), false),
  domainToUnicode: (name) => native.urlDomain(String(name), true),
  fileURLToPath,
  format,
  parse: legacy.parse,
  pathToFileURL,
  resolve: legacy.resolve,
  resolveObject: legacy.resolveObject,
  urlToHttpOptions: ({ protocol, hostname, hash, search, pathname, href, port, username, password }) => ({
    protocol,
    hostname: hostname.replace(/^\[|\]$/g, ""),
    hash,
    search,
    pathname,
    path: pathname + search,
    href,
    ...(port === "" ? {} : { port: Number(port) }),
    ...(username || password ? { auth: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` } : {}),
  }),
};
