//! `wayfare logs` of programs that are no more, as people type it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Ran, Up, run};

/// Longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs it again until what it shows is as it should be.
fn until(up: &Up, arguments: &[&str], is_so: impl Fn(&Ran) -> bool) -> Ran {
    let deadline = Instant::now() + LIMIT;
    loop {
        let ran = run(&up.broker, arguments);
        if is_so(&ran) {
            return ran;
        }
        assert!(
            Instant::now() < deadline,
            "{arguments:?}: {} {}{}",
            ran.exit,
            ran.stdout,
            ran.stderr
        );
    }
}

fn good(up: &Up, arguments: &[&str]) -> String {
    let ran = run(&up.broker, arguments);
    assert_eq!(ran.exit, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn numbers(documents: &[Value]) -> Vec<u64> {
    documents
        .iter()
        .map(|item| item["line"]["line"].as_u64().unwrap())
        .collect()
}

#[test]
fn what_a_killed_program_printed_is_read_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("up");
    let up = Up::start(&data, 1);
    good(
        &up,
        &[
            "run",
            "counter",
            "--name",
            "p",
            "--wait-for-engine",
            "--",
            "1000000",
            "5",
        ],
    );
    let has = |count: usize| move |ran: &Ran| ran.stdout.lines().count() >= count;
    until(&up, &["logs", "p"], has(5));
    good(&up, &["kill", "p"]);

    let all = until(&up, &["logs", "p"], |ran| {
        ran.exit == 0 && has(5)(ran) && ran.stderr.contains("killed")
    });
    let lines: Vec<&str> = all.stdout.lines().collect();
    let first: String = lines[..5].iter().map(|line| format!("{line}\n")).collect();
    let last = good(&up, &["logs", "p", "-n", "2"]);
    assert_eq!(last.lines().collect::<Vec<_>>(), lines[lines.len() - 2..]);
    let stamped = good(&up, &["logs", "p", "-t", "--since", "1h", "-n", "1"]);
    assert!(
        stamped.starts_with("20") && stamped.trim_end().ends_with(lines[lines.len() - 1]),
        "{stamped}"
    );
    assert_eq!(good(&up, &["logs", "p", "--until", "1h"]), "");
    assert_eq!(good(&up, &["logs", "p", "--stderr"]), "");
    let found = good(&up, &["logs", "p", "--grep", &format!("^{}$", lines[3])]);
    assert_eq!(found, format!("{}\n", lines[3]));
    let documents = run(&up.broker, &["--json", "logs", "p", "--from-line", "3"]).documents();
    assert_eq!(numbers(&documents)[..2], [3, 4]);
    // Nothing comes any more, and it did not end well.
    let followed = run(&up.broker, &["logs", "-f", "p"]);
    assert_eq!(followed.exit, 1);
    assert!(followed.stderr.contains("killed"), "{}", followed.stderr);
    assert!(followed.stdout.starts_with(&first), "{}", followed.stdout);

    // Another of the same name does not hide it.
    good(&up, &["run", "primes", "--name", "p", "--", "30"]);
    until(&up, &["logs", "p", "--previous"], |ran| ran.stdout == all.stdout);
    assert_eq!(up.terminate().0, 0);
    let up = Up::start(&data, 0);
    until(&up, &["logs", "p", "--previous"], |ran| ran.stdout == all.stdout);
}

#[test]
fn the_log_of_a_failed_version_is_there_when_it_was_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 1);
    let manifest = |arguments: &str| {
        let path = folder.path().join("app.toml");
        let text = format!(
            "name = \"shop\"\n[component.web]\nmodule = \"counter\"\nargs = {arguments}\n\
             restart = {{ when = \"never\" }}\nupdate = {{ healthy-after = \"200ms\" }}\n"
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let apply = |path: &str| run(&up.broker, &["app", "apply", path, "--wait", "--timeout", "60s"]);
    let applied = apply(&manifest("[\"1000000\", \"20\"]"));
    assert_eq!(applied.exit, 0, "{}", applied.stderr);
    let broken = apply(&manifest("[\"nonsense\"]"));
    assert_eq!(broken.exit, 1, "{}{}", broken.stdout, broken.stderr);
    assert!(
        broken.stderr.contains("superseded") || broken.stderr.contains("succeeded"),
        "{}",
        broken.stderr
    );
    assert!(
        broken.stderr.contains("shop/web/0 (program "),
        "{}",
        broken.stderr
    );

    until(&up, &["logs", "shop/web/0"], |ran| {
        ran.exit == 0 && !ran.stdout.is_empty()
    });
    let failed = until(&up, &["logs", "shop", "--previous"], |ran| {
        // Roll-backs may be quicker than the news of how it ended.
        !ran.stdout.is_empty() && ran.stderr.contains("(shop/web/0 ")
    });
    assert!(!failed.stdout.is_empty(), "what it said of its argument");
    let history = good(&up, &["app", "history", "shop"]);
    let said = failed.stdout.lines().next().unwrap();
    assert!(
        history.contains("version 2:\n") && history.contains(said),
        "{history}"
    );
}
