// Elements from data: what comes from the fleet is always text, never markup.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Leaves what is the same already, so that nothing flickers and a selection stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

export function toast(text, kind = "") {
  const box = document.getElementById("toasts");
  const element = h("div", { class: `toast ${kind}` }, text);
  box.append(element);
  while (box.children.length > 4) box.firstChild.remove();
  setTimeout(() => element.remove(), kind === "bad" ? 9000 : 5000);
}

export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return h("dl", { class: "facts-list" }, known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function table(head, rows, none) {
  if (rows.length === 0) return h("p", { class: "hint" }, none);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : h("td", {}, cell))))))));
}

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
