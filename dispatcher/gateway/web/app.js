// The page: its screens, by the address behind '#', and what stands on all of them.

import { h, setClass, setText } from "./dom.js";
import { model } from "./model.js";

// In the order of the navigation. Each gives `show(main, args, signal)`.
const SCREENS = {
  fleet: { title: "Fleet", load: () => import("./fleet.js") },
  timeline: { title: "Time line", load: () => import("./timeline.js") },
  apps: { title: "Applications", load: () => import("./apps.js") },
  logs: { title: "Logs", load: () => import("./logs.js") },
  operations: { title: "Operations", load: () => import("./operations.js") },
  files: { title: "Files", load: () => import("./files.js") },
  messages: { title: "Messages", load: () => import("./messages.js") },
  devices: { title: "Devices", load: () => import("./devices.js") },
  run: { title: "Run", load: () => import("./run.js") },
  program: { title: "Program", load: () => import("./program.js"), of: "fleet" },
};

let shown = null;

function address() {
  const [screen, ...args] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  return { name: Object.hasOwn(SCREENS, screen) ? screen : "fleet", args };
}

// Somebody may have typed it.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function route() {
  const { name, args } = address();
  shown?.abort();
  shown = new AbortController();
  const { signal } = shown;
  const screen = SCREENS[name];
  document.title = `${screen.title}: Wayfare`;
  for (const link of document.querySelectorAll("#nav a[href^='#']")) {
    const isShown = link.getAttribute("href") === `#/${screen.of ?? name}`;
    if (isShown) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    } else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  const module = await screen.load();
  if (signal.aborted) return;
  const fresh = h("div", { class: `screen-${name}` });
  main.replaceChildren(fresh);
  module.show(fresh, args, signal);
}

function navigation() {
  const nav = document.getElementById("nav");
  const listed = Object.entries(SCREENS).filter(([, screen]) => !screen.of);
  nav.replaceChildren(...listed.map(([name, screen]) => h("a", { href: `#/${name}` }, screen.title)), h("a", { href: "/api" }, "API"));
}

const LINK_WORDS = { live: "Live", connecting: "Connecting…", lost: "Connection lost, trying again…", closed: "Closed" };

function link() {
  const element = document.getElementById("link");
  setText(element, LINK_WORDS[model.link]);
  setClass(element, model.link === "lost" || model.link === "closed" ? "link lost" : "link");
  if (model.link === "closed") door();
}

// Nobody is let in without the token, which only the address that was printed has.
function door() {
  shown?.abort();
  document.getElementById("main").replaceChildren(h("section", { class: "panel welcome" },
    h("h2", {}, "This page needs its key"),
    h("p", {}, "Open the address that ", h("code", {}, "wayfare up"), " or ", h("code", {}, "wayfare ui"), " has printed: it ends with ", h("code", {}, "?token=…"), "."),
    h("p", { class: "hint" }, "The token of a dispatcher is in the file http-token of its data folder.")));
}

async function start() {
  navigation();
  model.addEventListener("link", link);
  addEventListener("hashchange", route);
  // What is behind '#' is a screen, and not a place in the page.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  const answer = await fetch("/api/v1/alarms").catch(() => null);
  if (answer?.status === 401) return model.say("link", { link: "closed" });
  model.start();
  await route();
}

start();
