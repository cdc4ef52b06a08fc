//! Orders, what is looked at, applications and engines.

use serde_json::Value;

use super::super::parts::{
    alarm, changed_app, ended_order, engine, event, failures, health, history, hold, log_line, made_call,
    operation, program, provider, pruned, received_call, would_ask, would_order,
};
use super::super::{
    Printed, all_of, any_of, anything, count, digest, flag, id, integer, list, map, object, or_null, text,
    word,
};
use super::{lines, one, rows};

pub(super) fn orders() -> Vec<Printed> {
    let order = || any_of(&[ended_order(), would_order()]);
    let held = object(&[
        ("application", text()),
        ("begun", flag()),
        ("holders", list(text())),
        ("program", or_null(id())),
    ]);
    // With --follow its lines come after it.
    let run = any_of(&[ended_order(), would_order(), held, would_ask(), log_item()]);
    let captured = object(&[
        ("operation", id()),
        ("engine", text()),
        ("program", id()),
        ("file", text()),
        ("bytes", count()),
    ]);
    let batch = object(&[
        ("batch", id()),
        ("done", count()),
        ("failed", count()),
        ("not_begun", count()),
        (
            "orders",
            list(object(&[
                ("order", count()),
                ("do", text()),
                ("state", word(&["done", "failed", "not-begun"])),
                ("error?", text()),
            ])),
        ),
    ]);
    let pruned = object(&[("removed", pruned()), ("left", pruned()), ("dry_run", flag())]);
    vec![
        lines("run", run),
        lines("move", order()),
        lines("spawn", order()),
        lines("pause", order()),
        lines("resume", order()),
        lines("kill", order()),
        lines("restore", order()),
        one("snapshot", any_of(&[captured, would_order()])),
        one("prune", pruned),
        // After what its orders print.
        lines("batch", any_of(&[batch, anything()])),
        one("hold", any_of(&[hold(), would_ask()])),
        one("release", any_of(&[object(&[("changed", flag())]), would_ask()])),
    ]
}

/// A line of a program, or that lines are kept nowhere any more.
fn log_item() -> Value {
    let gap = object(&[("from", count()), ("to", count())]);
    any_of(&[
        object(&[("line", log_line()), ("name?", text())]),
        object(&[("gap", gap), ("name?", text())]),
    ])
}

pub(super) fn looking() -> Vec<Printed> {
    let status = object(&[
        ("engines", list(engine())),
        ("programs", list(program())),
        ("answered_ms", map(count())),
        ("silent", list(text())),
        ("alarms", list(alarm())),
        ("hold", or_null(hold())),
    ]);
    let top = object(&[("engines", list(engine())), ("programs", list(program()))]);
    let over_time = || object(&[("history", history())]);
    let calls = object(&[
        ("clock_ms", count()),
        ("made", list(made_call())),
        ("made_count", count()),
        ("received", list(received_call())),
        ("received_count", count()),
    ]);
    let of_provider = object(&[
        ("program", id()),
        ("clock_ms", or_null(count())),
        ("why?", text()),
        ("received", list(received_call())),
        ("received_count", count()),
    ]);
    let imports = list(object(&[("module", text()), ("name", text())]));
    let sites = object(&[
        ("loop_polls", count()),
        ("entry_polls", count()),
        ("calls", count()),
        ("blocking_calls", count()),
    ]);
    let module = object(&[
        ("module", digest()),
        ("name", text()),
        ("imports", imports),
        ("refusal", or_null(text())),
        ("functions", count()),
        ("functions_rewritten", count()),
        ("sites", sites),
        ("bytes_before", count()),
        ("bytes_after", count()),
        ("bytes_twins", count()),
    ]);
    let inspect = any_of(&[
        all_of(&[program(), over_time(), object(&[("calls", or_null(calls))])]),
        all_of(&[engine(), over_time()]),
        module,
        object(&[
            ("service", text()),
            ("providers", list(provider())),
            ("schema", anything()),
            ("calls", list(of_provider)),
        ]),
    ]);
    let module_row = object(&[
        ("module", digest()),
        ("name", text()),
        ("programs", count()),
        ("ended", count()),
        ("engines", list(text())),
        ("applications", list(text())),
    ]);
    let snapshot_row = object(&[
        ("instance", text()),
        ("program", id()),
        ("engine", or_null(text())),
        ("at_ms", count()),
        ("bytes", or_null(count())),
    ]);
    let bundle = object(&[
        ("file", text()),
        ("bytes", count()),
        ("parts", count()),
        ("missing", list(text())),
    ]);
    vec![
        one("ps", rows(program())),
        one("engines", rows(engine())),
        one("modules", rows(module_row)),
        one("snapshots", rows(snapshot_row)),
        lines("top", top),
        lines("status", status),
        one("inspect", inspect),
        lines("logs", log_item()),
        lines("events", any_of(&[event(), rows(event())])),
        one("ops", rows(operation())),
        one("ops show", operation()),
        one("ops wait", operation()),
        one("ops cancel", operation()),
        one("support-bundle", bundle),
    ]
}

pub(super) fn applications() -> Vec<Printed> {
    let plan = object(&[
        ("application", text()),
        ("serial", count()),
        ("changes", list(text())),
        ("actions", list(text())),
        ("unplaced", list(text())),
        ("warnings?", list(text())),
    ]);
    let version = object(&[("version", count()), ("of?", count()), ("changes?", list(text()))]);
    let changed = any_of(&[all_of(&[changed_app(), version]), would_ask()]);
    let instance = object(&[
        ("instance", text()),
        ("state", text()),
        ("program", or_null(id())),
        ("engine", or_null(text())),
        ("generation", or_null(count())),
        ("current", flag()),
        ("healthy", flag()),
        ("away?", flag()),
        ("health?", health()),
        ("hold?", text()),
        ("checkpoint_at_ms", or_null(count())),
        ("checkpoint_bytes?", count()),
        ("next_ms?", count()),
    ]);
    let status = object(&[
        ("application", text()),
        ("version", count()),
        ("serial", count()),
        ("state", text()),
        ("roll_out?", text()),
        ("instances", list(instance)),
        ("unplaced", list(text())),
        ("holders?", list(text())),
        ("failures?", failures()),
    ]);
    let history = object(&[
        ("version", count()),
        ("at_ms", count()),
        ("note", text()),
        ("by?", text()),
        ("current", flag()),
        // Pairs of a component and its module.
        ("modules", list(list(text()))),
        ("failures?", failures()),
    ]);
    let standing = || any_of(&[changed_app(), would_ask()]);
    vec![
        one("app plan", plan),
        one("app apply", changed.clone()),
        one("app scale", changed.clone()),
        one("app restart", changed.clone()),
        one("app revert", changed),
        one("app status", list(status)),
        one("app history", list(history)),
        one("app promote", standing()),
        one("app halt", standing()),
        one("app fail", standing()),
        one("app pause", standing()),
        one("app resume", standing()),
        one("app rm", standing()),
    ]
}

pub(super) fn engines() -> Vec<Printed> {
    let mark = || or_null(word(&["cordoned", "draining"]));
    let marked = || {
        let marked = object(&[("engine", text()), ("mark", mark()), ("changed", flag())]);
        any_of(&[marked, would_ask()])
    };
    let left = object(&[
        ("engine", text()),
        ("mark?", mark()),
        ("instances?", list(text())),
        ("programs?", list(text())),
        ("why?", list(text())),
    ]);
    let forgot = object(&[("engine", text()), ("programs", pruned()), ("dry_run", flag())]);
    // What is set, or would be, of a device's kind.
    let level = |name: &str, words: &[&str]| object(&[(name, word(words)), ("active", flag())]);
    let reading = any_of(&[
        level("is", &["level"]),
        object(&[
            ("is", word(&["output"])),
            ("active", or_null(flag())),
            ("changes", count()),
            ("last", list(or_null(flag()))),
        ]),
        object(&[
            ("is", word(&["sample"])),
            ("raw", integer()),
            ("scaled", serde_json::json!({ "type": "number" })),
        ]),
        object(&[("is", word(&["bytes"])), ("bytes", list(count()))]),
    ]);
    let would_set = object(&[
        ("would", word(&["set"])),
        ("engine", text()),
        ("device", text()),
        ("setting", anything()),
    ]);
    let device = object(&[
        ("engine", text()),
        ("device", text()),
        ("kind", text()),
        ("backend", word(&["simulated", "linux"])),
        ("online", flag()),
    ]);
    vec![
        one("engine ls", rows(engine())),
        one("engine init", object(&[("file", text()), ("written", flag())])),
        one("engine drain", any_of(&[left, would_ask()])),
        one("engine cordon", marked()),
        one("engine uncordon", marked()),
        one("engine forget", forgot),
        one("device ls", rows(device)),
        one("device get", reading.clone()),
        one("device set", any_of(&[reading, would_set])),
    ]
}
