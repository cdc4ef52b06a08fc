//! Calling programs' services from the command line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Up, run};

#[test]
fn a_service_is_listed_called_and_missed_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let command = |arguments: &[&str]| run(&up.broker, arguments);
    let none = command(&["services"]);
    assert!(none.stdout.starts_with("no services"), "{}", none.stdout);
    let running = command(&[
        "run",
        "calc",
        "--name",
        "hall",
        "--on",
        "local-1",
        "--wait-for-engine",
        "--allow-serve",
        "calc",
        "--",
        "serve",
        "calc",
    ]);
    assert_eq!(running.exit, 0, "{}", running.stderr);
    let mut log = support::command(&up.broker, &["logs", "-f", "hall"]);
    let mut log = support::Process(log.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(log.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    assert_eq!(line, "serves calc\n");

    let listed = command(&["services", "--json"]).documents();
    let only = &listed[0][0];
    assert_eq!(
        (&only["address"], &only["name"], &only["state"]),
        (&"service/calc".into(), &"hall".into(), &"running".into())
    );
    let called = command(&["call", "service/calc", "double", "21"]);
    assert_eq!(
        (called.exit, called.stdout.as_str()),
        (0, "42\n"),
        "{}",
        called.stderr
    );
    let json = command(&["call", "program/hall", "double", "21", "--json"]).documents();
    assert_eq!(json[0]["result"], 42);
    let refused = command(&["call", "service/calc", "double", "\"x\"", "--json"]);
    assert_eq!((refused.exit, &refused.error()["error"]), (1, &"refused".into()));
    let usage = command(&["call", "service/calc", "double", "x"]);
    assert_eq!(usage.exit, 2, "{}", usage.stderr);
    let sent = command(&["send", "service/calc", "hello"]);
    assert_eq!(sent.exit, 0, "{}", sent.stderr);
    line.clear();
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    assert_eq!(line, "somebody says: hello\n");
    let streamed = command(&["call", "service/calc", "slow", "2", "--stream"]);
    assert_eq!(
        streamed.stdout, "\"1 of 2\"\n\"2 of 2\"\n2\n",
        "{}",
        streamed.stderr
    );
    let taken = command(&[
        "send",
        "engine/local-1",
        "hi",
        "--type",
        "note",
        "--wait",
        "30s",
        "--json",
    ]);
    assert_eq!(taken.exit, 0, "{}", taken.stderr);
    assert_eq!(taken.documents()[0]["programs"].as_array().unwrap().len(), 1);

    let paused = command(&["pause", "hall"]);
    assert_eq!(paused.exit, 0, "{}", paused.stderr);
    let late = command(&["call", "service/calc", "count", "--deadline", "100ms"]);
    assert_eq!(late.exit, 3, "{}", late.stderr);
    assert_eq!(command(&["kill", "hall"]).exit, 0);
    let gone = command(&["call", "service/calc", "count"]);
    assert_eq!(gone.exit, 1);
    assert!(
        gone.stderr.contains("nobody serves 'service/calc'"),
        "{}",
        gone.stderr
    );
}
