// How states, sizes and times are said: the same words as the command's.

export function programState(program) {
  if (program.presence === "lost") return "lost";
  if (program.presence === "engine-offline" && !isEnded(program)) return "engine offline";
  return program.state.replace("-", " ");
}

export function isEnded(program) {
  return program.state === "exited" || program.state === "failed";
}

const MARKS = {
  running: "●", paused: "‖", moving: "➜", starting: "◌", "in doubt": "?", exited: "✓", failed: "✕", lost: "✕", "engine offline": "○",
};

export function programMark(state) {
  return MARKS[state] ?? "·";
}

export function describe(program) {
  const state = programState(program);
  if (state === "exited") return `exited with code ${program.code}`;
  if (state === "failed") return `failed: ${program.reason}`;
  if (state === "moving") return `moving to ${program.target}`;
  if (state === "in doubt") return `in doubt: ${program.target} has not said whether it took it`;
  return state;
}

export function engineState(engine) {
  if (engine.heard === "silent") return "silent";
  if (!engine.online) return engine.stopped ? "stopped" : "offline";
  return engine.mark ?? "online";
}

export function engineBadge(engine) {
  return { online: "ok", cordoned: "warn", draining: "warn", stopped: "" }[engineState(engine)] ?? "bad";
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1023.95 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

export function micros(us) {
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(1)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

export function time(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function moment(ms) {
  return new Date(ms).toLocaleString();
}

// In the order in which people look: 2 before 10. Made once, because it is asked for often.
export const inOrder = new Intl.Collator(undefined, { numeric: true }).compare;

export function short(id) {
  return id.slice(0, 8);
}

export function count(number, word) {
  return `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;
}
