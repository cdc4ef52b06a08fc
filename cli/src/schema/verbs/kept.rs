//! Values, messages, files and languages.

use serde_json::Value;

use super::super::parts::{file_stat, language, provider, value, would_files};
use super::super::{Printed, any_of, anything, count, id, list, object, or_null, text, word};
use super::{lines, one, rows};

pub(super) fn values_and_messages() -> Vec<Printed> {
    let listed = object(&[("key", text()), ("version", count()), ("bytes", count())]);
    let got = object(&[
        ("key", text()),
        ("version", count()),
        ("text", or_null(text())),
        ("base64", text()),
    ]);
    let removed = any_of(&[
        object(&[("removed", text())]),
        object(&[
            ("would", word(&["remove"])),
            ("key", text()),
            ("version", count()),
        ]),
        object(&[("would", serde_json::json!({ "type": "null" }))]),
    ]);
    let set = any_of(&[
        object(&[("key", text()), ("version", count())]),
        object(&[("pattern", text()), ("count", count()), ("version", count())]),
        object(&[
            ("would", word(&["set"])),
            ("key", text()),
            ("version", or_null(count())),
        ]),
        object(&[("would", word(&["set"])), ("pattern", text()), ("count", count())]),
    ]);
    // What a function says is its own: JSON, or else its text.
    let called = any_of(&[
        object(&[("result", anything())]),
        object(&[("progress", anything())]),
    ]);
    let sent = object(&[
        ("address", text()),
        ("program", or_null(id())),
        ("programs", list(id())),
    ]);
    let stub = object(&[
        ("service", text()),
        ("lang", word(&["ts", "python", "rust"])),
        ("source", text()),
    ]);
    vec![
        one("state ls", rows(listed)),
        lines("state get", any_of(&[got, value()])),
        one("state rm", removed),
        one("state set", set),
        lines("state watch", value()),
        lines("state export", value()),
        one("state import", object(&[("set", count())])),
        lines("call", called),
        one("send", sent),
        one("services", list(provider())),
        one("service stub", stub),
    ]
}

pub(super) fn files() -> Vec<Printed> {
    let listed = object(&[("name", text()), ("stat", file_stat())]);
    let content = object(&[
        ("path", text()),
        ("bytes", count()),
        ("text", or_null(text())),
        ("base64", text()),
    ]);
    let written = || {
        let written = object(&[("path", text()), ("stat", file_stat())]);
        any_of(&[written, would_files()])
    };
    let fetched = object(&[("path", text()), ("file", text()), ("bytes", count())]);
    let renamed = object(&[("from", text()), ("path", text())]);
    let version = object(&[
        ("version", count()),
        ("bytes", count()),
        ("modified_ms", count()),
        ("by", text()),
    ]);
    vec![
        one("fs ls", rows(listed)),
        one("fs cat", content),
        one("fs put", written()),
        one("fs get", fetched),
        lines("fs rm", any_of(&[object(&[("removed", text())]), would_files()])),
        one("fs mkdir", any_of(&[object(&[("path", text())]), would_files()])),
        one("fs mv", any_of(&[renamed, would_files()])),
        one("fs cp", written()),
        one("fs history", list(version)),
        one("language add", any_of(&[language(), would_language("add")])),
        one("language ls", list(language())),
        one(
            "language rm",
            any_of(&[object(&[("removed", text())]), would_language("remove")]),
        ),
    ]
}

fn would_language(what: &'static str) -> Value {
    object(&[("would", word(&[what])), ("language", text())])
}
