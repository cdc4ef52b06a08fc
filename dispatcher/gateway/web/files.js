// The files of /fleet: folders, versions, an editor for text, and files that are dropped on the page.

import { Problem } from "./api.js";
import { confirmed, dialog, order } from "./dialog.js";
import { h, table, toast } from "./dom.js";
import { moment, size } from "./words.js";

// Longer ones are shown by downloading them.
const TEXT_BYTES_MAX = 512 * 1024;

async function call(method, path, { query = "", body, headers = {} } = {}) {
  const address = `/files${path.split("/").map(encodeURIComponent).join("/")}${query}`;
  const response = await fetch(address, { method, body, headers });
  if (response.ok) return response;
  throw new Problem(await response.json().catch(() => ({})), response.status);
}

export function show(main, args, signal) {
  const path = args.filter(Boolean).length ? `/${args.filter(Boolean).join("/")}` : "";
  const box = h("div", {}, h("p", { class: "hint" }, "Asking…"));
  const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to upload", onchange: () => upload([...picker.files]) });
  main.append(
    h("div", { class: "head" }, h("div", {}, h("h1", {}, "Files"), crumbs(path)), h("span", { class: "grow" }),
      h("button", { onclick: () => picker.click() }, "Upload…"), picker, h("button", { onclick: newFile }, "New file"), h("button", { onclick: newFolder }, "New folder")),
    h("section", { class: "panel drop-here" }, box, h("p", { class: "hint" }, "Files that are dropped here are uploaded. Every change makes a version.")));
  const draw = async () => {
    const found = await call("GET", path).then((response) => response.json(), (problem) => problem);
    if (signal.aborted) return;
    if (!Array.isArray(found)) return box.replaceChildren(h("p", { class: "error" }, found.text ?? "it is a file"));
    box.replaceChildren(table(["Name", "Size", "Changed", ""], found.map(row), "The folder is empty."));
  };
  const row = (file) => {
    const there = `${path}/${file.name}`;
    const isFolder = file.stat.kind === "folder";
    const name = isFolder ? h("a", { href: `#/files${there.split("/").map(encodeURIComponent).join("/")}` }, `${file.name}/`) : h("button", { class: "plain", onclick: () => open(there, file.stat) }, file.name);
    const end = () => confirmed(`Remove ${file.name}?`, isFolder ? "With all that is in it." : "Its versions go too.", "Remove", async () => {
      await order(`Remove ${file.name}`, () => call("DELETE", there, { query: isFolder ? "?recursive" : "" }));
      draw();
    });
    return [h("td", {}, name), isFolder ? "–" : size(file.stat.bytes), moment(file.stat.modified_ms),
      h("td", { class: "tight" }, !isFolder && h("button", { onclick: () => versions(there) }, "Versions"), " ", h("button", { class: "danger", onclick: end }, "Remove"))];
  };
  async function upload(files) {
    for (const file of files) await order(`Upload ${file.name}`, () => call("PUT", `${path}/${file.name}`, { body: file }));
    draw();
  }
  function ask(title, act) {
    dialog(title, (inner, close) => {
      const input = h("input", { type: "text", "aria-label": "Name", required: true });
      inner.append(h("form", { onsubmit: (event) => { event.preventDefault(); close(); act(input.value.trim()); } }, input, h("div", { class: "row" }, h("button", { class: "primary" }, "Make it"))));
    });
  }
  function newFile() {
    ask("Name of the file", (name) => edit(`${path}/${name}`, "", null, draw));
  }
  function newFolder() {
    ask("Name of the folder", async (name) => {
      await order(`Make ${name}`, () => call("POST", `${path}/${name}`, { query: "?mkdir" }));
      draw();
    });
  }
  async function open(there, stat) {
    if (stat.bytes > TEXT_BYTES_MAX) return download(there);
    const response = await call("GET", there).catch((problem) => toast(problem.text, "bad"));
    if (!response) return;
    const bytes = await response.arrayBuffer();
    try {
      edit(there, new TextDecoder("utf-8", { fatal: true }).decode(bytes), response.headers.get("etag"), draw);
    } catch {
      download(there);
    }
  }
  function versions(there) {
    dialog(`Versions of ${there.slice(1)}`, async (inner, close) => {
      const found = await call("GET", there, { query: "?history" }).then((response) => response.json(), () => []);
      const back = (version) => async () => {
        close();
        await order(`Go back to version ${version}`, () => call("POST", there, { query: `?cp=${encodeURIComponent(`/fleet${there}`)}&version=${version}` }));
        draw();
      };
      inner.append(table(["Version", "Size", "Since", "By", ""], found.reverse().map((one) => [String(one.version), size(one.bytes), moment(one.modified_ms), one.by,
        h("td", {}, h("button", { onclick: back(one.version) }, "Go back"))]), "No versions are kept."));
    });
  }
  for (const name of ["dragover", "drop"]) {
    main.addEventListener(name, (event) => {
      event.preventDefault();
      if (name === "drop") upload([...event.dataTransfer.files]);
    }, { signal });
  }
  draw();
}

function download(there) {
  h("a", { href: `/files${there.split("/").map(encodeURIComponent).join("/")}`, download: there.split("/").pop() }).click();
}

// Saved only if nobody else has changed it meanwhile.
function edit(there, content, etag, saved) {
  dialog(there.slice(1), (box, close) => {
    box.classList.add("wide");
    const text = h("textarea", { class: "mono", spellcheck: "false", "aria-label": "Content" });
    text.value = content;
    box.addEventListener("cancel", (event) => text.value !== content && event.preventDefault());
    const save = async () => {
      const headers = etag ? { "if-match": etag } : { "if-none-match": "*" };
      if (await order(`Save ${there.slice(1)}`, () => call("PUT", there, { body: text.value, headers }))) {
        close();
        saved();
      }
    };
    text.addEventListener("keydown", (event) => {
      if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        save();
      }
    });
    box.append(text, h("div", { class: "row" }, h("button", { class: "primary", onclick: save }, "Save"), h("button", { onclick: () => download(there) }, "Download"), h("button", { onclick: close }, "Close")));
  });
}

function crumbs(path) {
  const parts = path.split("/").filter(Boolean);
  const links = parts.map((name, place) => h("a", { href: `#/files/${parts.slice(0, place + 1).map(encodeURIComponent).join("/")}` }, name));
  return h("p", { class: "facts" }, h("a", { href: "#/files" }, "/fleet"), links.flatMap((link) => [" / ", link]));
}
