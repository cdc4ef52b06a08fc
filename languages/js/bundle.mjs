// Makes one file of each package that the runtime carries, in target/packages: `languages/build` runs it.
import { build } from "esbuild";

/** What `require` calls it, and the file of the package that it begins with. */
const PACKAGES = {
  buffer: "buffer/index.js",
  events: "events",
  path: "path-browserify",
  querystring: "querystring-es3",
  "internal/packages/stream": "readable-stream/lib/ours/browser.js",
  string_decoder: "string_decoder/lib/string_decoder.js",
  "internal/packages/url": "url",
  "internal/packages/event-target": "event-target-shim",
  "internal/packages/source-map": "@jridgewell/trace-mapping",
  "internal/packages/typescript": "sucrase",
};

/** What a package asks for and another one is. */
const alias = {
  "abort-controller": "internal/abort",
  "process/": "internal/global-process",
  qs: "querystring",
  "safe-buffer": "buffer",
  "string_decoder/": "string_decoder",
};

await build({
  entryPoints: Object.entries(PACKAGES).map(([out, entry]) => ({ in: entry, out })),
  outdir: "target/packages",
  bundle: true,
  format: "cjs",
  platform: "browser",
  mainFields: ["module", "main"],
  target: "es2022",
  minify: true,
  logLevel: "warning",
  plugins: [
    {
      name: "others",
      setup(build) {
        // A package that the runtime has once is not bundled into another.
        const shared = new Set([...Object.keys(PACKAGES), ...Object.keys(alias)]);
        build.onResolve({ filter: /.*/ }, ({ path, kind }) => {
          if (kind === "entry-point" || !shared.has(path)) return undefined;
          return { path: alias[path] ?? path, external: true };
        });
      },
    },
  ],
});
