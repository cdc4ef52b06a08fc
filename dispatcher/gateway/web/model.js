// The fleet as this page has it: a snapshot and then changes, from the gateway's stream. Screens listen; nothing else asks again and again.

const RETRY_MS = 1000;
const RETRY_MS_MAX = 10000;

class Model extends EventTarget {
  constructor() {
    super();
    this.engines = new Map();
    this.programs = new Map();
    this.alarms = [];
    this.hold = null;
    this.acts = false;
    this.isComplete = false;
    this.link = "connecting";
    this.retry = RETRY_MS;
  }

  start() {
    const source = new EventSource("/api/v1/stream");
    let incoming = null;
    const on = (name, handle) => source.addEventListener(name, (event) => {
      this.retry = RETRY_MS;
      handle(JSON.parse(event.data));
    });
    on("snapshot", (part) => {
      // The first part has it: what came before the connection broke is forgotten.
      if ("acts" in part) incoming = { engines: new Map(), programs: new Map(), alarms: part.alarms, hold: part.hold, acts: part.acts };
      for (const engine of part.engines) incoming.engines.set(engine.engine, seen(engine));
      for (const program of part.programs) incoming.programs.set(program.program, program);
      if (part.more) return;
      Object.assign(this, incoming, { isComplete: true });
      incoming = null;
      this.say("link", { link: "live" });
      this.say("change", { all: true, engines: [...this.engines.keys()], programs: [...this.programs.keys()] });
    });
    on("change", (change) => this.change(change));
    on("operation", (operation) => this.say("operation", operation));
    on("decision", (decision) => this.say("decision", decision));
    on("reset", () => this.again(source, 0));
    source.onopen = () => this.say("link", { link: "live" });
    source.onerror = () => this.again(source, this.retry);
  }

  // A browser gives up for good when it is answered with an error: so this comes back by itself.
  again(source, after) {
    if (source.readyState !== EventSource.CLOSED && after > 0) {
      this.say("link", { link: "lost" });
      return;
    }
    source.close();
    this.say("link", { link: "lost" });
    this.retry = Math.min(this.retry * 2, RETRY_MS_MAX);
    setTimeout(async () => {
      const response = await fetch("/api/v1/alarms").catch(() => null);
      if (response?.status === 401) this.say("link", { link: "closed" });
      else this.start();
    }, after);
  }

  change(change) {
    const told = { engines: [], programs: [] };
    for (const engine of change.engines ?? []) {
      this.engines.set(engine.engine, seen(engine));
      told.engines.push(engine.engine);
    }
    for (const program of change.programs ?? []) {
      this.programs.set(program.program, program);
      told.programs.push(program.program);
    }
    for (const engine of change.gone_engines ?? []) {
      this.engines.delete(engine);
      told.engines.push(engine);
    }
    for (const program of change.gone_programs ?? []) {
      this.programs.delete(program);
      told.programs.push(program);
    }
    for (const name of ["alarms", "hold", "acts"]) if (name in change) this[name] = change[name];
    this.say("change", told);
  }

  say(name, detail) {
    if (name === "link") this.link = detail.link;
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // Until the signal ends it: a screen listens while it is shown.
  on(name, handle, signal) {
    this.addEventListener(name, (event) => handle(event.detail), { signal });
  }
}

// When it went away, by this page's clock.
function seen(engine) {
  return { ...engine, offline_since: engine.offline_for_ms === undefined ? null : Date.now() - engine.offline_for_ms };
}

export const model = new Model();
