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

// Nobody is let in without the token, which the address that was printed has, or the login.
async function door() {
  shown?.abort();
  const by = await entrance();
  const field = (name, label, more) => h("label", {}, label, h("input", { name, required: true, ...more }));
  const refusal = h("p", { class: "error", role: "alert" });
  const fields = by === "password"
    ? [field("user", "User", { type: "text", autocomplete: "username" }), field("password", "Password", { type: "password", autocomplete: "current-password" })]
    : [field("token", "Token", { type: "password", autocomplete: "current-password" })];
  const form = h("form", { class: "door" }, ...fields, h("button", { class: "primary" }, "Sign in"), refusal);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = JSON.stringify(Object.fromEntries(new FormData(form)));
    const answer = await fetch("/login", { method: "POST", headers: { "content-type": "application/json" }, body }).catch(() => null);
    if (answer?.ok) return location.reload();
    const problem = await answer?.json().catch(() => null);
    setText(refusal, !answer ? "the gateway cannot be reached" : answer.status === 429 ? `${problem?.message}: ${problem?.hint}` : by === "password" ? "the user or the password is another one" : "the token is another one");
  });
  document.getElementById("main").replaceChildren(h("section", { class: "panel welcome" },
    h("h2", {}, "Sign in"),
    form,
    h("p", { class: "hint" }, "Or open the address that ", h("code", {}, "wayfare up"), " or ", h("code", {}, "wayfare ui"), " has printed: it ends with ", h("code", {}, "?token=…"), ". The token of a dispatcher is in the file http-token of its data folder.")));
  form.querySelector("input").focus();
}

// What there is to be let in by.
async function entrance() {
  const about = await fetch("/login").then((answer) => answer.json()).catch(() => ({}));
  return about.login;
}

async function leave() {
  await fetch("/logout", { method: "POST" }).catch(() => null);
  location.reload();
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
  entrance().then((by) => {
    const out = document.getElementById("leave");
    out.addEventListener("click", leave);
    out.hidden = by !== "password";
  });
  model.start();
  await route();
}

start();
