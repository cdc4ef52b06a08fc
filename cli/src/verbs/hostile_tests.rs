//! Foreign text on its way through every printer that shows some: it stays on its line, and steers nothing.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wayfare_client::{CommandError, EngineView, LookupError, Presence, ProgramView};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{BootId, Digest, OperationId, ProgramId};

use super::*;
use crate::args::query::Form;
use crate::fail::Fail;
use crate::output::Text;

/// A title, clearing the screen in two ways, an override of direction, and a row of its own.
const EVIL: &str = "x\u{1b}]0;pwned\u{7}\u{9b}2J\u{1b}[2J\u{202e}\nfake  running\r";

fn of<T: DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).unwrap()
}

fn is_harmless(what: &str, text: impl Into<Text>, lines: usize) {
    let text = text.into().to_string();
    let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(steers), "{what}: {text:?}");
    assert_eq!(text.lines().count(), lines, "{what}: {text:?}");
    assert!(text.contains("\\nfake  running\\r"), "{what} shows it: {text:?}");
}

fn program() -> ProgramView {
    ProgramView {
        status: of(json!({
            "program": ProgramId::from_random([1; 16]), "name": EVIL, "engine": "e",
            "boot": BootId::from_random([2; 16]), "generation": 1, "sequence": 1, "memory_bytes": 1,
            "state": "failed", "reason": EVIL, "module": Digest::of(b"m"),
            "ports": { "inputs": [{ "topic": EVIL, "media_type": EVIL }] },
        })),
        presence: Presence::Known,
    }
}

fn engine() -> EngineView {
    EngineView {
        engine: "e".parse().unwrap(),
        online: true,
        stopped: false,
        mark: None,
        leaving: None,
        messages: 1,
        offline_for_ms: None,
        load: None,
        identity: None,
        boot: None,
        about: Some(of(json!({
            "version": EVIL, "platform": EVIL, "host": EVIL, "labels": {},
            "code": { "architecture": EVIL, "wasmtime": EVIL, "abi": EVIL }, "compiles": true,
            "processors": 1, "memory_bytes": 1, "programs_max": 1, "program_memory_bytes_max": 1,
            "devices": {
                "a": { "kind": "adc", "backend": "linux" }, "b": { "kind": "adc", "backend": "simulated" },
            },
        }))),
        programs: 0,
        heard: wayfare_client::Heard::Live,
        rival: Some(of(json!({ "boot": BootId::from_random([2; 16]), "host": EVIL }))),
    }
}

#[test]
fn foreign_text_neither_steers_the_terminal_nor_forges_a_line() {
    // With the reason below.
    is_harmless(
        "ps",
        fleet::programs_table(&[fleet::tests::unknown(program())], Some(Form::Wide), 0),
        3,
    );
    is_harmless(
        "engines",
        fleet::engines_table(&fleet::with_numbers(vec![engine()], Default::default())),
        4,
    );
    let modules = wayfare_client::rows::modules(&[fleet::tests::unknown(program())]);
    is_harmless("modules", lists::modules_table(&modules), 2);
    is_harmless(
        "inspect a program",
        inspect::program_page(&fleet::tests::unknown(program()), &[], 0),
        8,
    );
    let calls = of(json!({
        "clock_ms": 1, "made_count": 1, "received_count": 1,
        "made": [{ "number": 1, "address": "service/a", "provider": ProgramId::from_bytes([1; 16]), "function": EVIL, "left_ms": 1 }],
        "received": [{ "number": 1, "caller": ProgramId::from_bytes([1; 16]), "function": EVIL }],
    }));
    let names = open_calls::Names::from([(ProgramId::from_bytes([1; 16]), EVIL.to_owned())]);
    is_harmless(
        "open calls",
        open_calls::program_text(Text::new(), Some(&Ok(calls)), &names),
        8,
    );
    is_harmless(
        "inspect an engine",
        inspect::engine_page(&fleet::with_numbers(vec![engine()], Default::default())[0], &[]),
        15,
    );
    let module = module::Module {
        name: EVIL.into(),
        wasm: Vec::new(),
        stdin: None,
    };
    let report = wayfare_compiler::Report {
        imports: vec![(EVIL.into(), EVIL.into())],
        ..Default::default()
    };
    is_harmless(
        "inspect a module",
        inspect::module_page(&module, Digest::of(b"m"), &report, Some(EVIL)),
        8,
    );
    let files = [of(json!({ "name": EVIL, "stat": {
        "node": 1, "kind": "file", "bytes": 1, "version": 1, "modified_ms": 0,
    } }))];
    is_harmless("fs ls", fs::files_table(&files), 2);
    let versions = [of(
        json!({ "version": 1, "bytes": 1, "modified_ms": 0, "by": EVIL }),
    )];
    is_harmless("fs history", fs::versions_table(&versions), 2);
    let decision = of(json!({ "at_ms": 0, "term": 1, "sequence": 1, "kind": EVIL, "text": EVIL }));
    is_harmless("events", events::sentence(&decision), 1);
    let plan = of(json!({
        "application": EVIL, "serial": 1, "changes": [EVIL, EVIL], "actions": [EVIL], "unplaced": [EVIL],
    }));
    is_harmless("app plan", app::plan_text(&plan), 8);
    let instance = json!({ "instance": EVIL, "state": EVIL, "current": true, "healthy": true });
    let status = of(json!({
        "application": EVIL, "version": 1, "serial": 1, "state": EVIL, "instances": [instance],
        "unplaced": [EVIL],
    }));
    is_harmless("app status", app::status_text(&[status]), 4);
    let kept = json!({ "instance": EVIL, "state": "running", "current": true, "healthy": true,
        "program": ProgramId::from_random([1; 16]), "checkpoint_at_ms": 1 });
    let status = of(json!({
        "application": "a", "version": 1, "serial": 1, "state": "running", "instances": [kept], "unplaced": [],
    }));
    let kept = wayfare_client::rows::snapshots(&[status]);
    is_harmless("snapshots", lists::snapshots_table(&kept), 2);
    let versions = [of(
        json!({ "version": 1, "at_ms": 0, "note": EVIL, "current": true, "modules": [] }),
    )];
    is_harmless("app history", app::history_table(&versions), 2);
    let failed = of(json!({
        "operation": OperationId::from_random([1; 16]), "engine": "e", "verb": EVIL, "program": null,
        "boot": BootId::from_random([2; 16]), "event": "failed",
        "failure": Failure::Internal { reason: EVIL.into() },
    }));
    is_harmless("up", up::sentence(&failed).unwrap(), 1);
    is_harmless(
        "the end of a followed program",
        logs::badly(&program().status.state).unwrap(),
        1,
    );
}

#[test]
fn an_error_shows_foreign_text_harmlessly() {
    let errors = [
        Fail::from(CommandError::Refused(Failure::Internal { reason: EVIL.into() })),
        Fail::from(CommandError::from(LookupError::NoProgram {
            wanted: EVIL.into(),
            there: vec![EVIL.into()],
        })),
        Fail::new("module", EVIL).hint(EVIL),
    ];
    for error in errors {
        let text = error.text().to_string();
        let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(steers), "{text:?}");
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("error: "), "{text:?}");
        assert!(lines.all(|line| line.starts_with("  ")), "{text:?}");
    }
}
