//! The whole command line against real engines, as a newcomer would try it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Ran, Up, run};
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker, LinkOptions, Message};
use wayfare_protocol::ids::{BootId, EngineId};
use wayfare_protocol::status::{EngineState, EngineStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

/// Runs long enough to be still there at the end of a test.
const LONG: &str = "400000000";

fn json(up: &Up, arguments: &[&str]) -> Ran {
    let ran = run(&up.broker, &[&["--json"], arguments].concat());
    assert_eq!(ran.exit, 0, "{arguments:?}: {}", ran.stderr);
    ran
}

fn one(up: &Up, arguments: &[&str]) -> Value {
    let mut documents = json(up, arguments).documents();
    assert_eq!(documents.len(), 1, "{arguments:?}");
    documents.remove(0)
}

fn programs(up: &Up) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed = one(up, &["ps"]);
    let row = |p: &Value| (text(&p["name"]), text(&p["engine"]), text(&p["state"]));
    let mut rows: Vec<_> = listed.as_array().unwrap().iter().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn a_program_is_run_moved_copied_held_saved_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 2);
    let running = one(
        &up,
        &[
            "run",
            "primes",
            "--on",
            "local-1",
            "--wait-for-engine",
            "--name",
            "p",
            "--",
            LONG,
        ],
    );
    assert_eq!(
        (&running["result"], &running["engine"]),
        (&"running".into(), &"local-1".into())
    );
    let id = running["program"].as_str().unwrap();

    let moved = one(&up, &["move", "p", "--to", "local-2", "--wait-for-engine"]);
    assert_eq!(
        (&moved["result"], &moved["target"]),
        (&"moved".into(), &"local-2".into())
    );
    assert!(moved["report"]["downtime_us"].as_u64().unwrap() > 0);
    let again = run(&up.broker, &["move", "p", "--to", "local-2"]);
    assert_eq!(again.exit, 1);
    assert!(
        again.stderr.contains("is on 'local-2' already"),
        "{}",
        again.stderr
    );

    // By the beginning of its id, to both engines.
    let copies = json(&up, &["spawn", &id[..8], "--to", "local-1,local-2"]).documents();
    assert_eq!(copies.len(), 2);
    let expected = [("p", "local-2"), ("p-copy", "local-1"), ("p-copy", "local-2")];
    let expected = expected.map(|(name, engine)| (name.to_owned(), engine.to_owned(), "running".to_owned()));
    assert_eq!(programs(&up), expected);
    for copy in &copies {
        one(&up, &["kill", copy["copy"].as_str().unwrap()]);
    }

    one(&up, &["pause", "p"]);
    assert_eq!(programs(&up), [("p".into(), "local-2".into(), "paused".into())]);
    one(&up, &["resume", "p"]);

    let file = folder.path().join("p.snapshot");
    let file = file.to_str().unwrap();
    let saved = one(&up, &["snapshot", "p", "-o", file]);
    assert_eq!(
        saved["bytes"].as_u64().unwrap(),
        std::fs::metadata(file).unwrap().len()
    );
    one(&up, &["kill", "p"]);
    let restored = one(&up, &["restore", file, "--on", "local-1", "--name", "back"]);
    assert_ne!(restored["program"], running["program"]);
    assert_eq!(
        programs(&up),
        [("back".into(), "local-1".into(), "running".into())]
    );
    one(&up, &["kill", "back"]);
    assert_eq!(programs(&up), []);

    let (exit, told) = up.terminate();
    assert_eq!(exit, 0);
    assert!(told.contains("\"verb\":\"move\""), "{told}");
}

#[test]
fn what_a_program_prints_and_how_it_ends_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let primes = wayfare_samples::find("primes").unwrap();
    let arguments = ["run", "primes", "--wait-for-engine", "--follow", "--"];
    let ran = run(&up.broker, &[&arguments[..], primes.quick_args].concat());
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let printed = ran.stdout.split_once('\n').unwrap().1;
    assert_eq!(printed, primes.quick_stdout);

    // Its log is there after its end, from any line.
    let count = primes.quick_stdout.lines().count();
    let since = (count - 2).to_string();
    let last = run(&up.broker, &["logs", "primes", "--from-line", &since]);
    assert_eq!(
        last.stdout.lines().collect::<Vec<_>>(),
        primes.quick_stdout.lines().skip(count - 2).collect::<Vec<_>>()
    );
    assert_eq!(json(&up, &["logs", "primes", "-f"]).documents().len(), count);

    // A sample that reads gets its book; a program's failure is the command's.
    let wordfreq = wayfare_samples::find("wordfreq").unwrap();
    let ran = run(
        &up.broker,
        &[&["run", "wordfreq", "--follow", "--"], wordfreq.quick_args].concat(),
    );
    assert!(ran.stdout.ends_with(wordfreq.quick_stdout), "{}", ran.stdout);
    let bad = ["run", "primes", "--name", "bad", "--follow", "--", "nonsense"];
    let ran = run(&up.broker, &bad);
    assert_eq!(ran.exit, 1);
    assert!(ran.stderr.contains("exited with code 2"), "{}", ran.stderr);
    // So it is of one that traps below functions with very long names: their places are cut, and it has
    // ended.
    let long = folder.path().join("long.wasm");
    std::fs::write(&long, traps_under_a_long_name()).unwrap();
    let long = ["run", long.to_str().unwrap(), "--name", "long", "--follow"];
    let trapped = run(&up.broker, &long);
    assert_eq!(trapped.exit, 1, "{}", trapped.stderr.len());
    assert!(trapped.stderr.contains("unreachable"), "{}", trapped.stderr);
    // As if it ran here: what it says of its arguments is on standard error. Its log is one.
    let usage = ran.stderr.lines().next().unwrap();
    for (stream, shows) in [("all", true), ("stderr", true), ("stdout", false)] {
        let log = run(&up.broker, &["logs", "bad", "--stream", stream]);
        assert_eq!(log.stdout.contains(usage), shows, "{stream}: {}", log.stdout);
    }

    refusals(&up, folder.path());
    let status = one(&up, &["status"]);
    assert!(status["answered_ms"]["local-1"].is_u64());
    assert_eq!(one(&up, &["inspect", "local-1"])["online"], true);
    up.terminate();
}

fn traps_under_a_long_name() -> Vec<u8> {
    let name = "x".repeat(20_000);
    let text = format!(
        r#"(module (memory (export "memory") 1) (func ${name} unreachable) (func (export "_start") call ${name}))"#
    );
    wat::parse_str(text).unwrap()
}

/// Bad input gets an error that says what to do, and nothing comes of it.
fn refusals(up: &Up, folder: &Path) {
    let before = programs(up);
    let file = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let primes = wayfare_samples::find("primes").unwrap().wasm;
    let text = file("text.wasm", b"hello");
    let cut = file("cut.wasm", &primes[..primes.len() / 2]);
    let large = folder.join("large.wasm");
    std::fs::File::create(&large).unwrap().set_len(200 << 20).unwrap();
    let damaged = file("damaged.snapshot", b"WAYFPROG\x10\0\0\0");
    for (arguments, says) in [
        (vec!["run", &text], "not a WebAssembly module"),
        (vec!["run", &cut], "cannot run"),
        (vec!["run", large.to_str().unwrap()], "the limit is 67108864"),
        (vec!["run", "nosuch"], "the samples are: counter"),
        (
            vec!["run", "primes", "--on", "pi-9"],
            "no engine 'pi-9'; there are: local-1",
        ),
        (vec!["move", "nosuch", "--to", "local-1"], "no program 'nosuch'"),
        (vec!["restore", &damaged], "truncated"),
        (vec!["restore", &text], "not a wayfare snapshot file"),
        (vec!["inspect", &cut], "cannot run"),
        (
            vec!["inspect", "nosuch"],
            "no program, engine, file or sample 'nosuch'",
        ),
    ] {
        let ran = run(&up.broker, &arguments);
        assert_eq!(ran.exit, 1, "{arguments:?}");
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(says),
            "{arguments:?}: {}",
            ran.stderr
        );
        let ran = run(&up.broker, &[&["--json"], &arguments[..]].concat());
        assert_eq!(ran.error()["exit"], 1, "{arguments:?}");
    }
    let live =
        |rows: Vec<(String, String, String)>| rows.into_iter().filter(|row| row.2 == "running").count();
    assert_eq!(live(programs(up)), live(before));
}

#[test]
fn bad_usage_is_two_and_no_broker_is_one() {
    // A port on which nobody can listen for long enough to matter.
    let nowhere = "mqtt://127.0.0.1:1";
    let ran = run(nowhere, &["ps"]);
    assert_eq!(ran.exit, 1);
    assert_eq!(
        ran.stderr,
        "error: no broker at 127.0.0.1:1: start one with `wayfare up`, or give --broker\n"
    );
    assert_eq!(run(nowhere, &["ps", "--json"]).error()["error"], "no-broker");
    for arguments in [&["fly"][..], &["move", "p"], &["ps", "--broker", "http://x"]] {
        assert_eq!(run(nowhere, arguments).exit, 2, "{arguments:?}");
        let ran = run(nowhere, &[arguments, &["--json"]].concat());
        assert_eq!(
            (ran.exit, ran.error()["exit"].as_u64()),
            (2, Some(2)),
            "{arguments:?}"
        );
    }
}

#[test]
fn what_needs_no_fleet_works_without_one() {
    let nowhere = "mqtt://127.0.0.1:1";
    let help = run(nowhere, &["--help"]);
    assert_eq!(help.exit, 0);
    assert!(
        help.stdout
            .contains("Exit codes: 0 done, 1 failed, 2 bad usage, 3 no answer in time, 4 an alarm stands")
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            run(nowhere, &["completion", shell]).stdout.contains("wayfare"),
            "{shell}"
        );
    }
    let home = tempfile::tempdir().unwrap();
    let installed = support::command(nowhere, &["completion", "--install", "--json"])
        .env("HOME", home.path())
        .env("SHELL", "/usr/bin/bash")
        .env_remove("XDG_DATA_HOME")
        .output()
        .unwrap();
    let file: serde_json::Value = serde_json::from_slice(&installed.stdout).unwrap();
    let script = std::fs::read_to_string(file["file"].as_str().unwrap()).unwrap();
    assert_eq!(script, run(nowhere, &["completion", "bash"]).stdout);
    let unknown = support::command(nowhere, &["completion"])
        .env("SHELL", "/bin/nosh")
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let page = run(nowhere, &["inspect", "primes"]).stdout;
    assert!(
        page.contains("take it") && page.contains("wasi_snapshot_preview1: "),
        "{page}"
    );
    let document = &run(nowhere, &["inspect", "primes", "--json"]).documents()[0];
    assert!(document["sites"]["loop_polls"].as_u64() > Some(0));
    assert!(document["refusal"].is_null());
}

#[test]
fn values_that_a_program_keeps_are_listed_read_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let counts = run(
        &up.broker,
        &[
            "run",
            "tally",
            "--wait-for-engine",
            "--name",
            "t",
            "--allow-state",
            "/counters/",
            "--follow",
            "--",
            "/counters/visits",
            "20",
        ],
    );
    assert_eq!(counts.exit, 0, "{}", counts.stderr);
    assert!(
        counts.stdout.ends_with("done: 20 counted, 20 by all\n"),
        "{}",
        counts.stdout
    );

    let listed = one(&up, &["state", "ls"]);
    let (key, bytes) = (&listed[0]["key"], &listed[0]["bytes"]);
    assert_eq!((key, bytes), (&"/counters/visits".into(), &2.into()));
    assert_eq!(one(&up, &["state", "ls", "t/"]), Value::Array(vec![]));
    assert_eq!(
        run(&up.broker, &["state", "get", "/counters/visits"]).stdout,
        "20"
    );
    let value = one(&up, &["state", "get", "/counters/visits"]);
    assert_eq!(
        (&value["text"], &value["version"]),
        (&"20".into(), &listed[0]["version"])
    );

    assert_eq!(
        one(&up, &["state", "rm", "/counters/visits"])["removed"],
        "/counters/visits"
    );
    assert_eq!(one(&up, &["state", "ls"]), Value::Array(vec![]));
    let gone = run(&up.broker, &["--json", "state", "get", "/counters/visits"]);
    assert_eq!((gone.exit, &gone.error()["error"]), (1, &"no-value".into()));

    // Several at once, watched, and back from what was exported.
    for (lamp, level) in [("a", "1"), ("b", "2")] {
        let set = run(
            &up.broker,
            &["state", "set", &format!("/lamps/{lamp}/level"), level],
        );
        assert_eq!(set.exit, 0, "{}", set.stderr);
    }
    let taken = run(
        &up.broker,
        &["--json", "state", "set", "/lamps/a/level", "3", "--expect", "0"],
    );
    assert_eq!((taken.exit, &taken.error()["error"]), (1, &"conflict".into()));
    let exported = folder.path().join("lamps");
    let lamps = || run(&up.broker, &["state", "export", "/lamps/#"]).stdout;
    let before = lamps();
    std::fs::write(&exported, &before).unwrap();
    let mut watch = support::command(&up.broker, &["state", "watch", "/lamps/a/#"]);
    let mut watch = support::Process(watch.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.0.stdout.take().unwrap()));
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["text"], "1");
    let all = one(&up, &["state", "set", "--pattern", "/lamps/+/level", "0"]);
    assert_eq!(all["count"], 2);
    assert_eq!(next()["text"], "0");
    let imported = one(&up, &["state", "import", exported.to_str().unwrap()]);
    assert_eq!(imported["set"], 2);
    assert_eq!(next()["text"], "1");
    let texts = |exported: &str| -> Vec<Value> {
        let lines = exported
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|one| one["text"].clone()).collect()
    };
    assert_eq!(texts(&lamps()), texts(&before));
    assert_eq!(
        one(&up, &["state", "rm", "/lamps/a/level"])["removed"],
        "/lamps/a/level"
    );
    let removed = next();
    assert_eq!(
        (removed.get("text"), &removed["key"]),
        (None, &"/lamps/a/level".into())
    );
}

/// What a shell asks when TAB is pressed behind this line.
fn completed(up: &str, line: &[&str]) -> Vec<String> {
    let asked = ["--"].iter().chain(line).copied().collect::<Vec<_>>();
    let answer = support::command(up, &asked)
        .env("WAYFARE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (line.len() - 1).to_string())
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", "\n")
        .output()
        .unwrap();
    assert!(
        answer.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    let words = String::from_utf8(answer.stdout).unwrap();
    words.lines().map(str::to_owned).collect()
}

#[test]
fn names_are_completed_as_the_fleet_has_them_and_in_silence_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let run = [
        "run",
        "counter",
        "--name",
        "tick",
        "--wait-for-engine",
        "--",
        "100000000",
        "1000",
    ];
    one(&up, &run);
    // A busy machine may take longer than anybody waits for names.
    let until = |line: &[&str], word: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !completed(&up.broker, line).contains(&word.to_owned()) {
            assert!(
                std::time::Instant::now() < deadline,
                "{line:?}: {:?}",
                completed(&up.broker, line)
            );
        }
    };
    until(&["wayfare", "kill", "t"], "tick");
    until(&["wayfare", "move", "tick", "--to", ""], "local-1");
    assert_eq!(completed(&up.broker, &["wayfare", "kill", "zz"]), [""; 0]);
    let nowhere = "mqtt://127.0.0.1:1";
    assert_eq!(completed(nowhere, &["wayfare", "kill", "t"]), [""; 0]);
    assert!(completed(nowhere, &["wayfare", "mo"]).contains(&"move".to_owned()));
}

#[test]
fn fleets_have_names_and_one_is_used_where_none_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let wayfare = |arguments: &[&str]| {
        let ran = support::command("", arguments)
            .env("XDG_CONFIG_HOME", folder.path().join("config"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            exit: ran.status.code().unwrap(),
            stdout: text(ran.stdout),
            stderr: text(ran.stderr),
        }
    };
    for (name, broker) in [("here", up.broker.as_str()), ("nowhere", "mqtt://127.0.0.1:1")] {
        assert_eq!(wayfare(&["context", "add", name, "--broker", broker]).exit, 0);
    }
    let listed = wayfare(&["--json", "context", "ls"]).documents().remove(0);
    let current = |number: usize| (&listed[number]["context"], listed[number]["current"].as_bool());
    assert_eq!(current(0), (&"here".into(), Some(true)));
    assert_eq!(current(1), (&"nowhere".into(), Some(false)));
    assert_eq!(wayfare(&["engines"]).exit, 0);
    assert_eq!(
        wayfare(&["--json", "engines", "--context", "nowhere"]).error()["error"],
        "no-broker"
    );
    assert_eq!(wayfare(&["context", "use", "nowhere"]).exit, 0);
    assert_eq!(wayfare(&["engines"]).exit, 1);
    assert_eq!(wayfare(&["engines", "--context", "here"]).exit, 0);
    assert_eq!(wayfare(&["engines", "--broker", &up.broker]).exit, 0);
    assert_eq!(wayfare(&["context", "rm", "nowhere"]).exit, 0);
    let unknown = wayfare(&["--json", "engines", "--context", "nowhere"]);
    assert_eq!(
        (unknown.exit, &unknown.error()["error"]),
        (2, &"bad-usage".into())
    );
}

/// A broker that was stopped together with a board keeps a status that says for ever that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_answer_is_named_while_it_is_asked_and_at_the_end() {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = BrokerUrl::from(broker.local_addr());
    let (link, _events) = wayfare_link::connect(LinkOptions::new(url.clone(), "what-is-left")).unwrap();
    let ghost: EngineId = "pi-1".parse().unwrap();
    let status = EngineStatus::new(ghost.clone(), BootId::random(), EngineState::Online);
    let topic = Topics::default().topic(&Topic::EngineStatus(ghost));
    let retained = Message::new(topic, wire::encode(&status)).retained();
    link.publish_acknowledged(retained).await.unwrap();
    let order = ["run", "--on", "pi-1", "--timeout", "5s", "counter"];
    let ran = tokio::task::spawn_blocking(move || run(&url.to_string(), &order))
        .await
        .unwrap();
    assert_eq!(ran.exit, 3, "{}", ran.stderr);
    let told: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        told.len() == 2 && told[0].starts_with("no answer from pi-1 yet: "),
        "{told:?}"
    );
    assert!(told[1].contains("pi-1"), "{told:?}");
    // Which looks the same where the broker drops what this login may not publish.
    assert!(told[1].contains("access list"), "{told:?}");
    broker.shutdown().await.unwrap();
}
