//! What several verbs print.

use serde_json::Value;

use super::{
    all_of, any_of, anything, count, digest, flag, id, integer, list, map, moment, object, optional, or_null,
    text, word,
};

fn blob() -> Value {
    object(&[("digest", digest()), ("bytes", count())])
}

/// Which compiled code an engine runs.
pub(super) fn code_target() -> Value {
    object(&[("architecture", text()), ("wasmtime", text()), ("abi", text())])
}

fn ports() -> Value {
    let port = || list(object(&[("topic", text()), ("media_type?", text())]));
    object(&[("inputs?", port()), ("outputs?", port())])
}

pub(super) fn port_list() -> Value {
    list(object(&[("topic", text()), ("media_type?", text())]))
}

/// As a program says itself.
pub(super) fn health() -> Value {
    word(&["ready", "unhealthy"])
}

/// A program's own status, and what the dispatcher knows of it.
pub(super) fn program() -> Value {
    let states = [
        "starting", "running", "paused", "moving", "in-doubt", "exited", "failed",
    ];
    object(&[
        ("program", id()),
        ("name", text()),
        ("engine", text()),
        ("boot", id()),
        ("generation", count()),
        ("sequence", count()),
        ("state", word(&states)),
        // Of one that is moving or in doubt,
        ("target?", text()),
        // has exited,
        ("code?", integer()),
        // or has failed.
        ("reason?", text()),
        ("module", digest()),
        ("memory_bytes", count()),
        ("ports?", ports()),
        ("health?", health()),
        ("hold?", text()),
        ("presence", word(&["known", "engine-offline", "lost"])),
        ("instance?", text()),
        ("since_ms?", count()),
        ("ended_ms?", count()),
        ("restarts?", count()),
        ("holders?", count()),
        ("moves?", count()),
        ("numbers?", program_numbers()),
    ])
}

fn program_numbers() -> Value {
    object(&[
        ("engine", text()),
        ("measured_ago_ms", count()),
        ("cpu_millicores?", count()),
        ("received_per_minute", count()),
        ("sent_per_minute", count()),
        ("program", id()),
        ("generation", count()),
        ("uptime_us", count()),
        ("cpu_us?", count()),
        ("memory_bytes", count()),
        ("received_messages", count()),
        ("received_bytes", count()),
        ("sent_messages", count()),
        ("sent_bytes", count()),
        ("waiting_messages", count()),
        ("log_lines", count()),
        ("checkpoint_age_ms?", count()),
        ("baseline?", flag()),
    ])
}

fn engine_numbers() -> Value {
    object(&[
        ("engine", text()),
        ("measured_ago_ms", count()),
        ("cpu_millicores?", count()),
        ("clock_ahead_ms?", integer()),
        ("uptime_us", count()),
        ("cpu_us?", count()),
        ("memory_bytes?", count()),
        ("machine_memory_available_bytes?", count()),
        ("machine_load_millicores?", count()),
        ("disk_free_bytes?", count()),
        ("disk_bytes?", count()),
        ("disk_written_bytes?", count()),
        ("temperature_millidegrees?", integer()),
        ("round_trip_us?", count()),
    ])
}

pub(super) fn engine() -> Value {
    let about = object(&[
        ("version", text()),
        ("platform", text()),
        ("code", code_target()),
        ("compiles", flag()),
        ("tells_health?", flag()),
        ("signs_statuses?", flag()),
        ("processors", count()),
        ("memory_bytes", count()),
        ("programs_max", count()),
        ("program_memory_bytes_max", count()),
        ("host", text()),
        ("labels?", map(text())),
        ("trusts?", list(text())),
        ("devices?", map(object(&[("kind", text()), ("backend", text())]))),
    ]);
    let disk = object(&[("written_bytes", count()), ("seconds", count())]);
    let load = object(&[
        ("memory_available_bytes", count()),
        ("processor_millicores", count()),
        ("disk?", disk),
    ]);
    object(&[
        ("engine", text()),
        ("online", flag()),
        ("heard", word(&["retained", "live", "silent"])),
        ("stopped?", flag()),
        ("leaving?", id()),
        ("mark?", word(&["cordoned", "draining"])),
        ("offline_for_ms?", count()),
        ("about", or_null(about)),
        ("load?", load),
        ("programs", count()),
        ("rival?", object(&[("boot", id()), ("host?", text())])),
        ("numbers?", engine_numbers()),
    ])
}

/// What was used over time, the oldest first.
pub(super) fn history() -> Value {
    list(object(&[
        ("at_ms", count()),
        ("cpu_millicores", or_null(count())),
        ("memory_bytes", count()),
    ]))
}

/// The end of an order, or with `--no-wait` that it was given.
pub(super) fn ended_order() -> Value {
    let about = object(&[
        ("operation", id()),
        ("engine?", or_null(text())),
        ("joined?", flag()),
        ("superseded?", count()),
        ("unanswered?", count()),
    ]);
    all_of(&[about, optional(&outcome())])
}

/// What a move cost.
pub(super) fn move_report() -> Value {
    object(&[
        ("total_us", count()),
        ("downtime_us", count()),
        ("precopied_bytes", count()),
        ("final_bytes", count()),
    ])
}

/// What an engine answered, without what is long.
fn outcome() -> Value {
    let results = [
        "running", "moved", "spawned", "paused", "resumed", "killed", "captured",
    ];
    object(&[
        ("result", word(&results)),
        ("program?", id()),
        ("generation?", count()),
        ("target?", text()),
        ("copy?", id()),
        ("report?", move_report()),
        ("snapshot?", blob()),
    ])
}

/// What an order would do.
pub(super) fn would_order() -> Value {
    object(&[
        ("verb", text()),
        ("program?", id()),
        ("name", text()),
        ("engine", text()),
        ("target?", text()),
    ])
}

/// What the dispatcher would answer and decide.
pub(super) fn would_ask() -> Value {
    object(&[("answer", anything()), ("would", list(text()))])
}

pub(super) fn operation() -> Value {
    let states = [
        "waiting",
        "running",
        "done",
        "failed",
        "cancelled",
        "superseded",
        "expired",
    ];
    // A batch has the sum of its parts.
    let parts = object(&[
        ("operations", count()),
        ("done", count()),
        ("failed", count()),
        ("open", count()),
    ]);
    object(&[
        ("operation", id()),
        ("verb", text()),
        ("program?", id()),
        ("name?", text()),
        ("engine?", text()),
        ("target?", text()),
        ("copy?", id()),
        ("by?", text()),
        ("batch?", id()),
        ("state", word(&states)),
        ("phase?", text()),
        ("done_bytes?", count()),
        ("total_bytes?", count()),
        ("result?", any_of(&[outcome(), parts])),
        ("error?", text()),
        ("reason?", text()),
        ("is_inferred?", flag()),
        ("begun", moment()),
        ("begun_ms", count()),
        ("ended?", moment()),
        ("ended_ms?", count()),
    ])
}

pub(super) fn event() -> Value {
    object(&[
        ("at", moment()),
        ("at_ms", count()),
        ("term", count()),
        ("sequence", count()),
        ("kind", text()),
        ("application?", text()),
        ("instance?", text()),
        ("engine?", text()),
        ("program?", id()),
        ("name?", text()),
        ("target?", text()),
        ("by?", text()),
        ("operation?", id()),
        ("alarm?", word(&["raised", "cleared"])),
        ("text", text()),
    ])
}

pub(super) fn hold() -> Value {
    object(&[
        ("by?", text()),
        ("reason?", text()),
        ("since_ms", count()),
        ("until_ms?", count()),
        ("left_ms?", count()),
    ])
}

pub(super) fn alarm() -> Value {
    object(&[
        ("kind", text()),
        ("subject", text()),
        ("since_ms", count()),
        ("text", text()),
    ])
}

pub(super) fn log_line() -> Value {
    object(&[
        ("line", count()),
        ("stream", word(&["stdout", "stderr"])),
        // Bytes, where a line is no text.
        ("text", any_of(&[text(), list(count())])),
        ("open?", flag()),
        ("at_ms", count()),
    ])
}

pub(super) fn failures() -> Value {
    list(object(&[
        ("instance", text()),
        ("program", id()),
        ("how", text()),
        ("lines", list(log_line())),
    ]))
}

/// A change of an application, or that there was none.
pub(super) fn changed_app() -> Value {
    object(&[("application", text()), ("changed", flag())])
}

pub(super) fn file_stat() -> Value {
    object(&[
        ("node", count()),
        ("kind", word(&["file", "folder"])),
        ("bytes", count()),
        ("modified_ms", count()),
        ("version", count()),
        ("removed?", flag()),
    ])
}

/// What would become of files.
pub(super) fn would_files() -> Value {
    list(object(&[
        ("would", text()),
        ("path", text()),
        ("from?", text()),
        ("version?", count()),
    ]))
}

pub(super) fn value() -> Value {
    object(&[
        ("key", text()),
        ("version", count()),
        ("text?", text()),
        ("base64?", text()),
    ])
}

/// Programs that were removed or forgotten.
pub(super) fn pruned() -> Value {
    list(object(&[
        ("program", id()),
        ("name", text()),
        ("engine", text()),
        ("why?", text()),
    ]))
}

pub(super) fn language() -> Value {
    object(&[
        ("name", text()),
        ("module", text()),
        ("extensions", list(text())),
        ("args", list(text())),
        ("library?", text()),
        ("env?", map(text())),
        ("memory?", text()),
    ])
}

/// A call that a program has made, whose end it has not taken.
pub(super) fn made_call() -> Value {
    object(&[
        ("number", count()),
        ("address", text()),
        ("provider", id()),
        ("function?", text()),
        ("since_ms?", count()),
        ("left_ms", count()),
        ("ended?", flag()),
    ])
}

/// A call that a program was sent and has not answered.
pub(super) fn received_call() -> Value {
    object(&[
        ("number", count()),
        ("caller", id()),
        ("address?", text()),
        ("function?", text()),
        ("since_ms?", count()),
        ("deadline_ms?", count()),
        ("queued?", flag()),
    ])
}

/// A program at an address, and what became of it.
pub(super) fn provider() -> Value {
    object(&[
        ("address", text()),
        ("program", id()),
        ("name", text()),
        ("engine", text()),
        ("generation", count()),
        ("gone?", flag()),
        ("state", text()),
    ])
}
