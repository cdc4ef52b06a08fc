//! What the command prints, on streams of every kind: full, closed, without a reader, and with foreign text
//! on them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Process, Up, User, command, run};

/// A port on which nobody can listen for long enough to matter.
const NOWHERE: &str = "mqtt://127.0.0.1:1";

/// Longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(90);

/// With standard output on a full device, which takes nothing.
fn on_a_full_device(broker: &str, arguments: &[&str]) -> (i32, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    ended(command(broker, arguments).stdout(full))
}

fn ended(command: &mut Command) -> (i32, String) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let exit = output.status.code().unwrap();
    (exit, String::from_utf8(output.stderr).unwrap())
}

/// By way of a shell, which can close what a parent cannot.
fn by_shell(broker: &str, redirection: &str, arguments: &[&str]) -> (i32, String) {
    let command = command(broker, arguments);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}"));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    ended(shell.stdin(Stdio::null()).stdout(Stdio::null()))
}

/// Whose reader has gone away before the first byte.
fn without_a_reader(broker: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = command(broker, arguments);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let exit = output.status.code().unwrap();
    (exit, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn output_that_cannot_be_written_is_a_failure_of_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let first = [
        "run",
        "primes",
        "--wait-for-engine",
        "--name",
        "p",
        "--follow",
        "--",
        "20000",
    ];
    assert_eq!(run(&up.broker, &first).exit, 0);
    for arguments in [
        &["engines"][..],
        &["ps"],
        &["ps", "--json"],
        &["status"],
        &["logs", "p"],
        &["logs", "p", "-f"],
        &["fs", "ls"],
        &["state", "ls"],
        &["app", "status"],
        &["inspect", "p"],
        &["inspect", "local-1"],
        &["inspect", "primes"],
        &["run", "primes", "--follow", "--", "20000"],
        &["compile", "--about"],
        &["completion", "bash"],
        &["--help"],
        &["ps", "--help"],
    ] {
        let (exit, said) = on_a_full_device(&up.broker, arguments);
        assert_eq!(exit, 1, "{arguments:?}: {said}");
        assert!(
            said.contains("cannot write to standard output: No space left"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    }
    for arguments in [&["ps"][..], &["completion", "bash"], &["--version"]] {
        let (exit, said) = by_shell(&up.broker, ">&-", arguments);
        assert_eq!(exit, 1, "{arguments:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{said}");
        let (exit, said) = without_a_reader(&up.broker, arguments);
        assert_eq!((exit, said.as_str()), (141, ""), "{arguments:?}");
    }
    up.terminate();
}

#[test]
fn standard_error_that_nobody_reads_changes_nothing() {
    for arguments in [
        &["move", "nosuch", "--to", "a"][..],
        &["ps", "--json"],
        &[
            "engine",
            "--broker",
            NOWHERE,
            "--data",
            "/dev/null/no",
            "--log-level",
            "trace",
        ],
        &["dispatcher", "--data", "/dev/null/no", "--log-level", "trace"],
    ] {
        let mut with = command(NOWHERE, arguments);
        let expected = ended(with.stdout(Stdio::null())).0;
        assert_ne!(expected, 0, "{arguments:?}");
        let mut child = command(NOWHERE, arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(expected), "{arguments:?}");
        assert_eq!(by_shell(NOWHERE, "2>&-", arguments).0, expected, "{arguments:?}");
    }
    let bad_usage = by_shell(NOWHERE, "2>&-", &["fly"]);
    assert_eq!(bad_usage.0, 2);
}

#[test]
fn bad_usage_does_not_steer_the_terminal_either() {
    let ran = run(NOWHERE, &["fs", "cat", "\u{1b}]0;x\u{7}\u{9b}2J"]);
    assert_eq!(ran.exit, 2);
    let steers = |c: char| c != '\n' && c.is_control();
    assert!(!ran.stderr.contains(steers), "{:?}", ran.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_of_a_large_output_ends_it_quietly() {
    let mut command = command(NOWHERE, &["compile", "primes", "-o", "-"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(141), &b""[..])
    );
}

#[test]
fn a_file_name_is_one_row_and_steers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let name = "/fleet/a\u{1b}[31m\nfake  1 B  1  now";
    let mut put = command(&up.broker, &["fs", "put", "-", name]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    put.stdin
        .take()
        .unwrap()
        .write_all(b"\x1b]0;x\x07content")
        .unwrap();
    assert!(put.wait().unwrap().success());
    let listed = run(&up.broker, &["fs", "ls"]).stdout;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("a\\u{1b}[31m\\nfake  1 B"), "{listed}");
    let content = run(&up.broker, &["fs", "cat", name]).stdout;
    assert_eq!(content, "\u{1b}]0;x\u{7}content", "pipes get every byte");
    let missing = run(&up.broker, &["fs", "cat", "/fleet/\u{1b}c"]);
    assert_eq!(
        (missing.exit, missing.stderr.contains('\u{1b}')),
        (1, false),
        "{}",
        missing.stderr
    );
    up.terminate();
}

#[test]
fn every_line_of_a_program_that_prints_faster_than_it_is_read_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    for count in ["2000", "20000"] {
        let arguments = [
            "run",
            "counter",
            "--wait-for-engine",
            "--follow",
            "--",
            count,
            "0",
            "1",
        ];
        let ran = run(&up.broker, &arguments);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
        // The first line is the command's own, and the last one a summary.
        let numbers: Vec<u64> = ran.stdout.lines().skip(1).map(number).collect();
        let count: u64 = count.parse().unwrap();
        let all: Vec<u64> = (1..=count).chain([count]).collect();
        assert!(
            numbers == all,
            "{} lines of {count} and a last one",
            numbers.len()
        );
    }
    up.terminate();
    // What nobody read or keeps is gone, and that is said.
    let up = Up::start_with(&folder.path().join("alone"), 1, &["--no-dispatcher"]);
    let ran = run(
        &up.broker,
        &[
            "run",
            "counter",
            "--name",
            "unread",
            "--wait-for-engine",
            "--",
            "20000",
            "0",
            "1",
        ],
    );
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let ran = run(&up.broker, &["logs", "-f", "unread"]);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let missing = 20_001 - ran.stdout.lines().count();
    let said = format!("... {missing} lines are missing (0 to {})", missing - 1);
    assert_eq!(ran.stderr.trim_end(), said);
    up.terminate();
}

#[test]
fn logs_that_go_into_files_have_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for arguments in [
        &["engine", "start", "--id", "e", "--data", data][..],
        &["dispatcher", "--data", data],
        &["ps"],
    ] {
        let mut service = command(NOWHERE, arguments);
        service.env("RUST_LOG", "trace").stderr(Stdio::piped());
        let mut service = Process(service.spawn().unwrap());
        let log = BufReader::new(service.0.stderr.take().unwrap());
        let is_logged = |line: &String| {
            ["INFO", "DEBUG", "TRACE"]
                .iter()
                .any(|level| line.contains(level))
        };
        let line = log.lines().map(Result::unwrap).find(is_logged);
        let line = line.unwrap_or_else(|| panic!("{arguments:?} logs nothing"));
        assert!(!line.contains('\u{1b}'), "{arguments:?}: {line:?}");
    }
}

/// The number that each of the counter's lines begins with.
fn number(line: &str) -> u64 {
    let first = line.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Somebody looks for what takes the processor.
#[test]
fn what_programs_and_engines_use_is_seen() {
    let user = User::new();
    user.waits_for_engines();
    user.types(0, &["run", "primes", "--name", "hog", "--", "1000000000"]);
    let numbers = |what: &str| -> Option<Value> {
        let ran = user.types(0, &["ps", "--json", "--where", what, "--sort", "-cpu"]);
        ran.documents().remove(0).as_array()?.first().cloned()
    };
    let deadline = Instant::now() + LIMIT;
    let hog = loop {
        // The hog is found by what it uses, and by nothing else.
        if let Some(found) = numbers("cpu > 1% and state = running") {
            break found;
        }
        assert!(Instant::now() < deadline, "nothing is measured");
    };
    assert_eq!(hog["name"], "hog");
    assert!(hog["numbers"]["cpu_us"].as_u64() > Some(0), "{hog}");
    let engine = hog["engine"].as_str().unwrap();
    let table = user.types(0, &["ps"]).stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head[3..6], ["ENGINE", "CPU", "MEMORY"], "{table}");

    let top = user
        .types(0, &["top", "--once", "--json", "--every", "600ms"])
        .documents()
        .remove(0);
    assert_eq!(top["programs"][0]["name"], "hog");
    assert_eq!(top["engines"].as_array().map(Vec::len), Some(2));
    let refused = user.types(2, &["top"]);
    assert!(
        refused.stderr.contains("--once"),
        "it needs a terminal: {}",
        refused.stderr
    );
    let inspected = user.types(0, &["inspect", "hog"]).stdout;
    assert!(
        inspected.contains("of a processor") && inspected.contains("checkpoint"),
        "{inspected}"
    );
    let inspected = user.types(0, &["inspect", engine]).stdout;
    assert!(
        inspected.contains("disk free") && inspected.contains("memory in use"),
        "{inspected}"
    );
}
