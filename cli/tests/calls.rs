//! Calling programs' services from the command line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

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
    let inspected = command(&["inspect", "service/calc"]);
    for expected in [
        "service/calc  ",
        "hall",
        "double(integer) -> integer",
        "How many it has doubled.",
    ] {
        assert!(
            inspected.stdout.contains(expected),
            "{expected}: {} {}",
            inspected.stdout,
            inspected.stderr
        );
    }
    let inspected = &command(&["inspect", "service/calc", "--json"]).documents()[0];
    assert_eq!(inspected["providers"][0]["name"], "hall");
    assert_eq!(
        inspected["schema"]["functions"]["slow"]["progress"]["type"],
        "string"
    );
    assert_eq!(inspected["calls"][0]["received_count"], 0);
    let slow = [
        "call",
        "service/calc",
        "slow",
        "--deadline",
        "60s",
        "--stream",
        "1000",
    ];
    let mut slow = support::command(&up.broker, &slow);
    let mut slow = support::Process(slow.stdout(Stdio::piped()).spawn().unwrap());
    let mut progress = BufReader::new(slow.0.stdout.take().unwrap());
    line.clear();
    progress.read_line(&mut line).unwrap();
    assert_eq!(line, "\"1 of 1000\"\n");
    let open = &command(&["inspect", "service/calc", "--json"]).documents()[0];
    let received = &open["calls"][0]["received"][0];
    assert_eq!(
        (&received["function"], &received["address"]),
        (&"slow".into(), &"service/calc".into())
    );
    assert_eq!(
        received["deadline_ms"].as_u64().unwrap() / 1_000,
        59,
        "{received}"
    );
    assert!(received["since_ms"].as_u64() <= open["calls"][0]["clock_ms"].as_u64());
    let hall = &command(&["inspect", "hall", "--json"]).documents()[0];
    assert_eq!(&hall["calls"]["received"][0], received);
    for of in ["service/calc", "hall"] {
        let page = command(&["inspect", of]).stdout;
        let row = page
            .lines()
            .find(|row| row.contains(" slow ") && row.ends_with("taken"));
        assert!(row.is_some(), "{page}");
    }
    // Its provider is told, and takes the next one.
    let interrupted = Command::new("kill")
        .args(["-INT", &slow.0.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    assert_eq!(slow.0.wait().unwrap().code(), Some(1));
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("cancelled"), "{line}");
    let stub = command(&["service", "stub", "service/calc", "--lang", "python"]);
    assert!(
        stub.stdout
            .contains("def double(self, payload: int, **options: Any) -> int:"),
        "{}",
        stub.stdout
    );
    let file = folder.path().join("calc.json");
    std::fs::write(&file, inspected["schema"].to_string()).unwrap();
    let file = file.to_str().unwrap();
    let again = command(&["service", "stub", "calc", "--lang", "python", "--schema", file]);
    assert_eq!(again.stdout, stub.stdout);
    std::fs::write(file, "[").unwrap();
    let refused = command(&[
        "service", "stub", "calc", "--lang", "ts", "--schema", file, "--json",
    ]);
    assert_eq!((refused.exit, &refused.error()["error"]), (1, &"schema".into()));
    let nobody = command(&["service", "stub", "other", "--lang", "ts", "--json"]);
    assert_eq!((nobody.exit, &nobody.error()["error"]), (1, &"not-found".into()));
    let called = command(&["call", "service/calc", "double", "21"]);
    assert_eq!(
        (called.exit, called.stdout.as_str()),
        (0, "42\n"),
        "{}",
        called.stderr
    );
    let json = command(&["call", "program/hall", "double", "21", "--json"]).documents();
    assert_eq!(json[0]["result"], 42);
    for choice in ["engine=local-1,least-cpu", "first", "most-free-memory"] {
        let chosen = command(&["call", "service/calc", "double", "21", "--choose", choice]);
        assert_eq!(chosen.stdout, "42\n", "{choice}: {}", chosen.stderr);
    }
    let none = command(&[
        "call",
        "service/calc",
        "double",
        "21",
        "--choose",
        "host=nowhere",
        "--json",
    ]);
    assert_eq!((none.exit, &none.error()["error"]), (1, &"not-found".into()));
    let usage = command(&["call", "service/calc", "double", "21", "--choose", "fastest"]);
    assert_eq!(usage.exit, 2, "{}", usage.stderr);
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
    let still = command(&["service", "stub", "calc", "--lang", "ts"]);
    assert_eq!(still.exit, 3, "{}", still.stderr);
    assert!(still.stderr.contains("it stands still"), "{}", still.stderr);
    assert_eq!(command(&["kill", "hall"]).exit, 0);
    let gone = command(&["call", "service/calc", "count"]);
    assert_eq!(gone.exit, 1);
    assert!(
        gone.stderr.contains("nobody serves 'service/calc'"),
        "{}",
        gone.stderr
    );
}

/// Two who follow it and one who does not; each is told what became of it when it has let go.
#[test]
fn a_program_that_several_hold_runs_once_and_ends_with_the_last_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let command = |arguments: &[&str]| run(&up.broker, arguments);
    let held = |service: &'static str, more: &[&'static str]| -> Vec<&'static str> {
        let run = [
            "run",
            "calc",
            "--if-absent",
            "--name",
            "desk",
            "--allow-serve",
            "+",
            "--timeout",
            "90s",
        ];
        [&run[..], more, &["--", "serve", service]].concat()
    };
    let follow = || {
        let mut one = support::command(&up.broker, &held("calc", &["--follow"]));
        let one = one.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut one = support::Process(one.spawn().unwrap());
        let mut lines = BufReader::new(one.0.stdout.take().unwrap()).lines();
        let said = lines.next().unwrap().unwrap();
        assert!(said.starts_with("desk/main/0 is program "), "{said}");
        assert_eq!(lines.next().unwrap().unwrap(), "serves calc");
        one
    };
    let leaves = |mut one: support::Process| {
        let pid = one.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut said = String::new();
        one.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(one.0.wait().unwrap().success(), "{said}");
        said
    };
    let (first, second) = (follow(), follow());
    let third = command(&held("calc", &["--json"]));
    assert_eq!(third.exit, 0, "{}", third.stderr);
    let third = third.documents().remove(0);
    assert_eq!(
        (&third["begun"], third["holders"].as_array().unwrap().len()),
        (&false.into(), 3)
    );
    let other = command(&held("other", &["--json"]));
    assert_eq!((other.exit, &other.error()["error"]), (1, &"refused".into()));
    assert!(other.stderr.contains("arguments changed"), "{}", other.stderr);
    let shown = command(&["ps", "--json"]).documents().remove(0);
    let all = shown.as_array().unwrap();
    assert_eq!((all.len(), &all[0]["holders"]), (1, &3.into()));
    assert!(leaves(first).contains("desk runs on, held by"));
    assert!(leaves(second).contains("desk runs on, held by"));
    let fourth = follow();
    let gone = command(&["app", "rm", "desk"]);
    assert_eq!(gone.exit, 0, "{}", gone.stderr);
    drop(fourth);
}
