//! One message or part for each kind that the protocol has, as JSON: what a release writes down for those
//! after it.

use serde_json::{Value, json};

const OPERATION: &str = "65f1460792fb4a55abd5df7cbc7fd9ff";
const PROGRAM: &str = "4d913814b0f24e0c8a52b6a1d3c1f9aa";
const COPY: &str = "0b0c380d1a574c0a9c8d0bb1c3bc3a11";
const BOOT: &str = "e8269aefd627461e854082249ad0eb85";
const DIGEST: &str = "79e705092096b43eb3a4069941570baf1f01e746ba50d1e437b61489f9a3dbee";
const KEY: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

/// By the name of the file that they go to, which is that of their type.
pub(crate) fn all() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("Command", actions().map(command).collect()),
        (
            "ReportRequest",
            vec![json!({ "operation": OPERATION, "client": "c", "engines": ["pi-1"] })],
        ),
        ("Event", events().collect()),
        ("EngineStatus", engine_statuses()),
        ("ProgramStatus", program_statuses().collect()),
        ("Announcement", vec![announcement()]),
        ("LogBatch", vec![log_batch()]),
        ("ValueChanged", vec![value_changed()]),
        ("Envelope", peer_messages().map(envelope).collect()),
        ("Lease", ["held", "free"].map(lease).into()),
        ("Request", requests().collect()),
        ("Answer", answers()),
        (
            "ValueRequest",
            value_asks().map(|ask| by_program(&ask, false)).collect(),
        ),
        ("ValueAnswer", value_answers()),
        (
            "FileRequest",
            file_asks().map(|ask| by_program(&ask, true)).collect(),
        ),
        ("FileAnswer", file_answers()),
        ("DeviceAsk", device_asks()),
        ("Reading", readings()),
    ]
}

fn announcement() -> Value {
    json!({ "program": PROGRAM, "name": "hall", "engine": "pi-1", "generation": 3 })
}

fn value_changed() -> Value {
    json!({ "key": "p/count", "version": 2, "value": "MQ==" })
}

fn blob() -> Value {
    json!({ "digest": DIGEST, "bytes": 58163 })
}

fn target() -> Value {
    json!({ "architecture": "pulley32", "wasmtime": "48.0.8", "abi": "2 blocking" })
}

fn spec() -> Value {
    json!({
        "name": "p",
        "module": blob(),
        "args": ["50000000"],
        "env": { "LEVEL": "3" },
        "stdin": blob(),
        "memory_bytes_max": 67_108_864,
        "health_every_ms": 10_000,
        "grants": {
            "pub": ["home/heating"], "sub": ["home/#"], "publishes_per_second_max": 10, "state": ["/counters/"],
            "fs": ["/fleet/data:rw", "/fleet/models:ro"], "env": ["TZ"], "devices": ["led"],
        },
    })
}

fn command(action: Value) -> Value {
    json!({
        "operation": OPERATION, "client": "wayfare-7f3a", "time_limit_ms": 30_000, "action": action, "term": 7,
        "boot": BOOT,
    })
}

fn actions() -> impl Iterator<Item = Value> {
    let on = json!({ "program": PROGRAM, "generation": 2 });
    let any = json!({ "program": PROGRAM, "generation": null });
    let follower = json!({ "id": OPERATION, "received_below": 5, "lease_ms": 20_000 });
    [
        json!({ "do": "run", "program": PROGRAM, "spec": spec(), "snapshot": null, "generation": null, "follower": follower }),
        json!({ "do": "run", "program": PROGRAM, "spec": spec(), "snapshot": blob(), "generation": 1001 }),
        json!({ "do": "move", "on": on, "target": "pi-2" }),
        json!({ "do": "spawn", "on": any, "target": "pi-2", "copy": COPY, "copy_name": "q" }),
        json!({ "do": "pause", "on": on }),
        json!({ "do": "resume", "on": on, "force": true }),
        json!({ "do": "kill", "on": on }),
        json!({ "do": "snapshot", "on": on }),
        json!({ "do": "logs", "on": on, "since": 7, "follower": follower }),
    ]
    .into_iter()
}

fn event(body: &Value) -> Value {
    let mut event = json!({
        "operation": OPERATION, "engine": "pi-1", "boot": BOOT, "verb": "move", "program": PROGRAM,
    });
    let fields = body.as_object().expect("a body has fields").clone();
    event.as_object_mut().expect("it is one").extend(fields);
    event
}

fn events() -> impl Iterator<Item = Value> {
    let phases = ["transfer", "compile", "precopy", "handover", "in-doubt"];
    let progress = phases
        .map(|phase| json!({ "event": "progress", "phase": phase, "done_bytes": 65_536, "total_bytes": 1_048_576 }));
    let done = outcomes().map(|outcome| json!({ "event": "done", "outcome": outcome }));
    let failed = failures().map(|failure| json!({ "event": "failed", "failure": failure }));
    let bodies = [json!({ "event": "accepted" })].into_iter();
    bodies
        .chain(progress)
        .chain(done)
        .chain(failed)
        .map(|body| event(&body))
}

fn log_line() -> Value {
    json!({ "line": 376, "stream": "stdout", "text": "up to 3760000: 267384 primes", "at_ms": 1_795_907_175_898_u64 })
}

fn log_batch() -> Value {
    let open = json!({ "line": 377, "stream": "stderr", "text": [255, 254], "open": true, "at_ms": 1_795_907_175_899_u64 });
    json!({ "program": PROGRAM, "generation": 2, "engine": "pi-1", "lines": [log_line(), open] })
}

pub(crate) fn outcomes() -> impl Iterator<Item = Value> {
    let report =
        json!({ "total_us": 65_700, "downtime_us": 4_700, "precopied_bytes": 6_451, "final_bytes": 6_451 });
    [
        json!({ "result": "running", "program": PROGRAM, "generation": 1 }),
        json!({ "result": "moved", "program": PROGRAM, "generation": 3, "target": "pi-2", "report": report }),
        json!({ "result": "spawned", "copy": COPY, "target": "pi-2" }),
        json!({ "result": "paused", "program": PROGRAM }),
        json!({ "result": "resumed", "program": PROGRAM }),
        json!({ "result": "killed", "program": PROGRAM }),
        json!({ "result": "captured", "program": PROGRAM, "generation": 3, "spec": spec(), "snapshot": blob() }),
        json!({ "result": "logs", "lines": [log_line()], "next": 377 }),
        json!({ "result": "reported" }),
    ]
    .into_iter()
}

pub(crate) fn failures() -> impl Iterator<Item = Value> {
    let no_room = json!({ "error": "no-room", "engine": "pi-2", "reason": "16 programs are here already" });
    [
        json!({ "error": "bad-request", "reason": "'' cannot name a program" }),
        json!({ "error": "too-large", "what": "module", "bytes": 70_000_000, "bytes_max": 67_108_864 }),
        json!({ "error": "module", "module": DIGEST, "reason": "threads" }),
        json!({ "error": "no-code", "engine": "bone", "module": DIGEST, "reason": "no dispatcher" }),
        json!({ "error": "unknown-program", "engine": "pi-1", "program": PROGRAM }),
        json!({ "error": "stale-generation", "program": PROGRAM, "expected": 2, "actual": 3 }),
        json!({ "error": "wrong-state", "program": PROGRAM, "state": "paused", "verb": "pause" }),
        json!({ "error": "busy", "program": PROGRAM, "operation": OPERATION }),
        json!({ "error": "already-here", "program": PROGRAM }),
        no_room.clone(),
        json!({ "error": "no-device", "engine": "pi-2", "alias": "led" }),
        json!({ "error": "wrong-device", "engine": "pi-2", "alias": "led", "actual": "serial", "expected": "gpio-out" }),
        json!({ "error": "device-taken", "engine": "pi-2", "alias": "led", "program": PROGRAM }),
        json!({ "error": "silent", "peer": "pi-2", "waited_ms": 30_000 }),
        json!({ "error": "damaged", "what": "blob", "reason": "its digest" }),
        json!({ "error": "snapshot", "reason": "its checksum does not match" }),
        json!({ "error": "cancelled" }),
        json!({ "error": "interrupted", "engine": "pi-1" }),
        json!({ "error": "forgotten", "engine": "pi-1" }),
        json!({ "error": "storage", "engine": "pi-1", "reason": "no space left on device" }),
        json!({ "error": "ended", "program": PROGRAM, "state": "exited with 0" }),
        json!({ "error": "refused", "engine": "pi-2", "failure": no_room }),
        json!({ "error": "unknown-service", "service": "valuse" }),
        json!({ "error": "not-permitted", "engine": "a", "reason": "nobody of the roster has signed it" }),
        json!({ "error": "stale-term", "engine": "pi-1", "term": 6, "actual": 7 }),
        json!({ "error": "internal", "reason": "a thread has panicked" }),
    ]
    .into_iter()
}

fn engine_statuses() -> Vec<Value> {
    let kinds = ["gpio-in", "gpio-out", "i2c", "spi", "adc", "serial"];
    let devices: serde_json::Map<_, _> = kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({ "kind": kind, "backend": "linux" })))
        .collect();
    let about = json!({
        "version": "0.1.0", "platform": "arm-linux", "code": target(), "compiles": false, "processors": 1,
        "tells_health": true, "memory_bytes": 536_870_912, "programs_max": 16, "program_memory_bytes_max": 67_108_864, "host": "rack-2",
        "labels": { "zone": "attic" }, "trusts": [KEY], "devices": devices,
    });
    let load = json!({
        "memory_available_bytes": 402_653_184, "processor_millicores": 120,
        "disk": { "written_bytes": 5_557_452, "seconds": 120 },
    });
    vec![
        json!({
            "engine": "pi-1", "boot": BOOT, "sequence": 90, "state": "online", "leaving": OPERATION, "about": about,
            "load": load, "live_programs": 1, "statuses_after": 84, "rival": { "boot": BOOT, "host": "rack-3" },
            "programs": [program_status(&json!({ "state": "running" }))],
        }),
        json!({ "engine": "pi-1", "boot": BOOT, "sequence": 91, "state": "offline", "stopped": true, "programs": [] }),
    ]
}

fn program_status(state: &Value) -> Value {
    let mut status = json!({
        "program": PROGRAM, "name": "p", "engine": "pi-1", "boot": BOOT, "generation": 2, "sequence": 12,
        "module": DIGEST, "memory_bytes": 1_114_112, "health": "ready", "hold": "flashing",
    });
    let fields = state.as_object().expect("a state has fields").clone();
    status.as_object_mut().expect("it is one").extend(fields);
    status
}

fn program_statuses() -> impl Iterator<Item = Value> {
    program_states().map(|state| program_status(&state))
}

pub(crate) fn program_states() -> impl Iterator<Item = Value> {
    [
        json!({ "state": "starting" }),
        json!({ "state": "running" }),
        json!({ "state": "paused" }),
        json!({ "state": "moving", "target": "pi-2" }),
        json!({ "state": "in-doubt", "target": "pi-2" }),
        json!({ "state": "exited", "code": 3 }),
        json!({ "state": "failed", "reason": "unreachable" }),
    ]
    .into_iter()
}

fn envelope(message: Value) -> Value {
    json!({ "operation": OPERATION, "from": "pi-1", "message": message })
}

pub(crate) fn peer_messages() -> impl Iterator<Item = Value> {
    let failure = json!({ "error": "cancelled" });
    [
        json!({
            "peer": "prepare", "program": PROGRAM, "generation": 3, "spec": spec(), "memory_bytes": 1_114_112,
            "paused": true, "devices": { "led": "gpio-out" }, "blobs": [blob()],
        }),
        json!({ "peer": "want", "missing": [DIGEST] }),
        json!({ "peer": "chunk", "blob": blob(), "offset": 0 }),
        json!({ "peer": "ack", "digest": DIGEST, "received": 58_163 }),
        json!({ "peer": "commit", "snapshot": blob(), "base": blob() }),
        json!({ "peer": "adopted", "generation": 3 }),
        json!({ "peer": "refused", "failure": failure }),
        json!({ "peer": "query" }),
        json!({ "peer": "cancel" }),
        json!({ "peer": "code-wanted", "module": blob(), "target": target(), "keys": [KEY] }),
        json!({ "peer": "code-under-way" }),
        json!({ "peer": "code-made", "code": blob() }),
        json!({ "peer": "pull", "blob": blob(), "offset": 65_536, "chunks": 4 }),
    ]
    .into_iter()
}

fn lease(state: &str) -> Value {
    json!({ "term": 7, "dispatcher": "dispatcher-1f2e3d4c", "state": state, "lease_ms": 10_000 })
}

fn requests() -> impl Iterator<Item = Value> {
    let body = by_program(&json!({ "do": "get", "key": "p/count" }), false);
    [json!({ "request": OPERATION, "client": "pi-1", "body": body, "reads": 1 })].into_iter()
}

fn answers() -> Vec<Value> {
    vec![
        json!({ "request": OPERATION, "term": 7, "answer": { "done": { "is": "set", "version": 2000 } } }),
        json!({ "request": OPERATION, "term": 7, "answer": { "failed": { "error": "unknown-service", "service": "x" } } }),
        json!({ "request": OPERATION, "term": 7, "answer": { "sign-again": { "challenge": OPERATION } } }),
    ]
}

fn by_program(what: &Value, is_named: bool) -> Value {
    let mut request = json!({ "program": PROGRAM, "generation": 2, "number": 41, "what": what });
    if is_named {
        request["by"] = json!("p");
    }
    request
}

pub(crate) fn value_asks() -> impl Iterator<Item = Value> {
    [
        json!({ "do": "get", "key": "p/count" }),
        json!({ "do": "set", "key": "/counters/visits", "value": "MQ==" }),
        json!({ "do": "compare-and-set", "key": "/counters/visits", "expected": 1999, "value": "MjAwMA==" }),
        json!({ "do": "remove", "key": "p/count" }),
        json!({ "do": "list", "prefix": "/counters/", "after": "/counters/visits" }),
        json!({ "do": "matching", "pattern": "/counters/+", "after": "/counters/visits" }),
        json!({ "do": "set-many", "changes": [
            { "key": "/counters/visits", "value": "MQ==", "expected": 2 },
            { "key": "p/count" },
        ] }),
        json!({ "do": "set-matching", "pattern": "/lamps/#", "value": "MQ==" }),
    ]
    .into_iter()
}

pub(crate) fn value_answers() -> Vec<Value> {
    vec![
        json!({ "is": "value", "version": 2, "value": "MQ==" }),
        json!({ "is": "absent" }),
        json!({ "is": "set", "version": 3 }),
        json!({ "is": "removed" }),
        json!({ "is": "listed", "values": [{ "key": "p/count", "version": 2, "bytes": 1 }] }),
        json!({ "is": "matching", "values": [value_changed()], "is_all": true }),
        json!({ "is": "set-many", "count": 2, "version": 5 }),
        json!({ "is": "conflict", "version": 2 }),
        json!({ "is": "conflict-at", "key": "p/count", "version": 2 }),
        json!({ "is": "full" }),
        json!({ "is": "stale" }),
    ]
}

pub(crate) fn file_asks() -> impl Iterator<Item = Value> {
    let opening =
        json!({ "create": true, "exclusive": true, "truncate": false, "folder": false, "write": true });
    let path = "/fleet/data/a";
    [
        json!({ "do": "open", "path": path, "opening": opening }),
        json!({ "do": "stat", "path": path }),
        json!({ "do": "stat-node", "node": 7 }),
        json!({ "do": "list", "path": "/fleet/data", "after": 0 }),
        json!({ "do": "history", "path": path }),
        json!({ "do": "read", "node": 7, "version": 2, "offset": 0, "bytes": 100 }),
        json!({ "do": "write", "node": 7, "writer": 41, "place": { "at": { "offset": 0, "basis": 3 } }, "data": "aGVsbG8K" }),
        json!({ "do": "write", "node": 7, "writer": 41, "place": { "end": { "basis": 3 } }, "data": "aGVsbG8K" }),
        json!({ "do": "set-length", "node": 7, "writer": 41, "basis": 3, "length": 9 }),
        json!({ "do": "make-folder", "path": "/fleet/data/b" }),
        json!({ "do": "remove-folder", "path": "/fleet/data/b" }),
        json!({ "do": "unlink", "path": path }),
        json!({ "do": "rename", "from": path, "to": "/fleet/data/c" }),
        json!({ "do": "copy", "from": path, "version": 2, "to": "/fleet/data/c" }),
        json!({ "do": "unlink", "path": path, "expects": "present" }),
        json!({ "do": "copy", "from": path, "version": 2, "to": "/fleet/data/c", "expects": "absent" }),
        json!({ "do": "copy", "from": path, "version": 2, "to": "/fleet/data/c",
            "expects": { "unchanged": { "node": 7, "version": 2, "modified_ms": 1 } } }),
    ]
    .into_iter()
}

pub(crate) fn file_answers() -> Vec<Value> {
    let stat = json!({ "node": 7, "kind": "file", "bytes": 6, "modified_ms": 1_795_907_175_898_u64, "version": 2, "removed": true });
    let folder = json!({ "node": 8, "kind": "folder", "bytes": 0, "modified_ms": 1, "version": 0 });
    let version = json!({ "version": 1, "bytes": 6, "modified_ms": 1, "by": "p" });
    let whys = [
        "absent",
        "exists",
        "not-folder",
        "is-folder",
        "not-empty",
        "impossible",
        "changed",
        "gone",
        "no-version",
        "full",
        "too-long",
        "stale",
    ];
    let mut answers = vec![
        json!({ "is": "opened", "stat": stat, "basis": 3, "writer": 41 }),
        json!({ "is": "stat", "stat": stat }),
        json!({ "is": "listed", "files": [{ "name": "b", "stat": folder }] }),
        json!({ "is": "history", "versions": [version] }),
        json!({ "is": "data", "data": "aGVsbG8K" }),
        json!({ "is": "written", "end": 6, "basis": 4 }),
        json!({ "is": "done" }),
    ];
    answers.extend(whys.map(|why| json!({ "is": "refused", "why": why })));
    answers
}

pub(crate) fn device_asks() -> Vec<Value> {
    let settings = [
        json!({ "to": "level", "active": true }),
        json!({ "to": "sample", "scaled": 21.5 }),
        json!({ "to": "received", "bytes": [104, 105] }),
    ];
    let sets = settings.map(|setting| json!({ "ask": "set", "alias": "button", "setting": setting }));
    [json!({ "ask": "get", "alias": "led" })]
        .into_iter()
        .chain(sets)
        .collect()
}

pub(crate) fn readings() -> Vec<Value> {
    vec![
        json!({ "is": "level", "active": true }),
        json!({ "is": "output", "active": null, "changes": 12, "last": [true, null, false] }),
        json!({ "is": "sample", "raw": 2150, "scaled": 21.5 }),
        json!({ "is": "bytes", "bytes": [104, 105] }),
    ]
}
