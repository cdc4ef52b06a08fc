//! What is this machine's, and whose orders count.

use serde_json::Value;

use super::super::parts::{code_target, move_report, port_list};
use super::super::{
    Printed, any_of, anything, count, digest, flag, id, list, map, object, open_object, or_null, text, word,
};
use super::{lines, one};

pub(super) fn of_this_machine() -> Vec<Printed> {
    let up = object(&[
        ("broker", text()),
        ("listening", text()),
        ("engines", list(text())),
        ("login", or_null(text())),
        ("http", or_null(text())),
    ]);
    // What engines say of orders.
    let happened = object(&[
        ("operation", id()),
        ("engine", text()),
        ("boot", id()),
        ("verb", text()),
        ("program", or_null(id())),
        ("event", word(&["accepted", "progress", "done", "failed"])),
        ("phase?", text()),
        ("done_bytes?", count()),
        ("total_bytes?", count()),
        ("outcome?", anything()),
        ("failure?", anything()),
    ]);
    let compiled = object(&[
        ("module", digest()),
        ("target", code_target()),
        ("compiler", text()),
        ("bytes", count()),
        ("ms", count()),
        ("output", or_null(text())),
    ]);
    let compiler = object(&[
        ("format", count()),
        ("compiler", text()),
        ("wasmtime", text()),
        ("abi", text()),
        ("architectures", list(text())),
    ]);
    let keys = || object(&[("keys", list(text())), ("file", text())]);
    let checked = object(&[
        ("main", text()),
        ("files", list(text())),
        ("bytes", count()),
        ("packages", list(text())),
        ("inputs", port_list()),
        ("outputs", port_list()),
        ("lacking", map(text())),
    ]);
    let made = object(&[("folder", text()), ("name", text()), ("files", list(text()))]);
    let pages = object(&[("folder", text()), ("pages", count())]);
    let context = || object(&[("context", text())]);
    let kept = object(&[
        ("context", text()),
        ("current", flag()),
        ("broker?", text()),
        ("broker-ca?", text()),
        ("broker-login?", text()),
        ("root?", text()),
    ]);
    let step = object(&[
        ("step", text()),
        ("at_ms", count()),
        ("text?", text()),
        ("name?", text()),
        ("program?", id()),
        ("engine?", text()),
        ("engines?", list(text())),
        ("broker?", text()),
        // Of a move, a copy, a pause,
        ("from?", text()),
        ("to?", text()),
        ("generation?", count()),
        ("report?", move_report()),
        ("copy?", id()),
        ("after?", text()),
        // and of the comparison.
        ("same?", flag()),
        ("bytes?", count()),
        ("first_line?", count()),
    ]);
    vec![
        lines("up", any_of(&[up, happened])),
        one("ui", object(&[("http", text())])),
        one("compile", any_of(&[compiled, compiler])),
        one("key init", keys()),
        one("key show", keys()),
        one("key rotate", keys()),
        one("js check", checked),
        one("man", pages),
        // With --install; what a shell reads is not JSON.
        one("completion", object(&[("file", text())])),
        one("new", made),
        one("context add", context()),
        one("context use", context()),
        one("context rm", context()),
        one("context ls", list(kept)),
        lines("demo", step),
        // Without a verb, their names.
        one(
            "schema",
            any_of(&[open_object(&[("$schema", text())]), list(text())]),
        ),
    ]
}

/// An engine, and whether somebody stands for it.
fn enrolled() -> Value {
    object(&[
        ("engine", text()),
        ("key", or_null(text())),
        (
            "state",
            word(&["approved", "other-key", "not-approved", "no-key"]),
        ),
        ("serial", or_null(count())),
        ("labels", map(text())),
        ("host", or_null(text())),
    ])
}

/// Whose orders count.
pub(super) fn operators() -> Vec<Printed> {
    let roles = [
        "operator",
        "deployer",
        "viewer",
        "dispatcher",
        "enroller",
        "unknown",
    ];
    let rules = ["open", "prefer", "require"];
    let member = object(&[("name", text()), ("key", text()), ("roles", list(word(&roles)))]);
    let roster = || {
        object(&[
            ("root", text()),
            ("version", count()),
            ("orders", word(&rules)),
            ("members", list(member.clone())),
            ("engines", word(&rules)),
            ("revoked", map(count())),
        ])
    };
    vec![
        one("operator init", roster()),
        one("operator key", object(&[("key", text()), ("file", text())])),
        one("operator add", roster()),
        one("operator rm", roster()),
        one("operator ls", roster()),
        one("operator orders", roster()),
        one("operator engines", roster()),
        one("operator publish", roster()),
        one("enroll ls", object(&[("engines", list(enrolled()))])),
        one("enroll approve", enrolled()),
        one("enroll rm", roster()),
    ]
}
