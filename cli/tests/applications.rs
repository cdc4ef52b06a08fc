//! `wayfare app`, `events` and `engine drain`, as people type them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Ran, Up, run};

fn manifest(folder: &Path, count: u32, heap_kib: u32) -> String {
    let path = folder.join("app.toml");
    let text = format!(
        r#"
        name = "shop"
        [component.web]
        module = "counter"
        args = ["1000000", "50", "{heap_kib}"]
        count = {count}
        checkpoint = "2s"
        update = {{ healthy-after = "200ms" }}
        "#
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn asks(up: &Up, exit: i32, arguments: &[&str]) -> Ran {
    let ran = run(&up.broker, &[&["--json"], arguments].concat());
    assert_eq!(ran.exit, exit, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

fn one(up: &Up, exit: i32, arguments: &[&str]) -> Value {
    asks(up, exit, arguments).documents().remove(0)
}

fn engines(status: &Value) -> Vec<String> {
    let instances = status[0]["instances"].as_array().unwrap();
    instances
        .iter()
        .map(|i| i["engine"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_application_is_planned_applied_drained_reverted_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 2);
    let path = manifest(folder.path(), 2, 64);
    let plan = folder.path().join("plan.json");
    let plan = plan.to_str().unwrap();

    let planned = one(&up, 1, &["app", "plan", &path, "-o", plan]);
    assert_eq!(planned["changes"].as_array().unwrap().len(), 1);
    asks(&up, 1, &["app", "status", "shop"]);
    let applied = one(
        &up,
        0,
        &[
            "app",
            "apply",
            &path,
            "--plan",
            plan,
            "--wait",
            "--timeout",
            "90s",
        ],
    );
    assert_eq!(
        (&applied["version"], &applied["changed"]),
        (&1.into(), &true.into())
    );
    let planned = one(&up, 0, &["app", "plan", &path]);
    assert!(planned["changes"].as_array().unwrap().is_empty());

    // What the plan was made for is not what is there any more.
    let larger = manifest(folder.path(), 3, 64);
    let refused = asks(&up, 1, &["app", "apply", &larger, "--plan", plan]);
    assert!(refused.stderr.contains("plan again"), "{}", refused.stderr);
    asks(&up, 0, &["app", "apply", &larger, "--wait", "--timeout", "90s"]);
    let status = one(&up, 0, &["app", "status", "shop"]);
    assert_eq!(engines(&status).len(), 3);

    let modules = one(&up, 0, &["modules", "--where", "apps ~ shop"]);
    assert_eq!(
        (&modules[0]["programs"], &modules[0]["applications"]),
        (&3.into(), &serde_json::json!(["shop"])),
        "{modules}"
    );
    let begun = Instant::now();
    let kept = loop {
        let kept = one(
            &up,
            0,
            &[
                "snapshots",
                "--where",
                "app = shop and length > 1K",
                "--sort",
                "instance",
            ],
        );
        if kept.as_array().unwrap().len() == 3 {
            break kept;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "no checkpoints: {kept}"
        );
    };
    assert_eq!(kept[2]["instance"], "shop/web/2");
    let names = run(&up.broker, &["snapshots", "-q", "--limit", "1"]);
    assert_eq!(names.stdout, "shop/web/0\n");

    let drained = one(&up, 0, &["engine", "drain", "local-1", "--deadline", "90s"]);
    assert_eq!(drained["engine"], "local-1");
    let status = one(&up, 0, &["app", "status"]);
    assert_eq!(engines(&status), ["local-2"; 3]);
    let marked = one(&up, 0, &["engines"]);
    assert_eq!(
        (&marked[0]["mark"], &marked[1]["mark"]),
        (&"draining".into(), &Value::Null)
    );
    let shown = asks(&up, 0, &["status", "--json"]).documents();
    assert_eq!(shown[0]["engines"][0]["mark"], "draining");
    let refused = asks(&up, 1, &["run", "primes", "--on", "local-1", "--", "100"]);
    assert_eq!(refused.error()["error"], "engine-closed");
    assert!(refused.stderr.contains("--even-cordoned"), "{}", refused.stderr);
    let chosen = one(&up, 0, &["run", "primes", "--", "100"]);
    assert_eq!(
        chosen["engine"], "local-2",
        "that it has fewer programs is no reason"
    );
    one(
        &up,
        0,
        &["run", "primes", "--on", "local-1", "--even-cordoned", "--", "100"],
    );
    let refused = asks(&up, 1, &["engine", "uncordon", "local"]);
    assert_eq!(refused.error()["error"], "ambiguous-engine");
    asks(&up, 0, &["engine", "uncordon", "local-1"]);

    let reverted = one(&up, 0, &["app", "revert", "shop"]);
    assert_eq!((&reverted["version"], &reverted["of"]), (&3.into(), &1.into()));
    let history = one(&up, 0, &["app", "history", "shop"]);
    assert_eq!(history.as_array().unwrap().len(), 3);
    let refused = asks(&up, 1, &["app", "revert", "shop", "9"]);
    assert!(
        refused.stderr.contains("there are: 1, 2, 3"),
        "{}",
        refused.stderr
    );
    asks(&up, 0, &["app", "rm", "shop"]);

    // What a schedule begins is there, and rests until then.
    let nightly = folder.path().join("nightly.toml");
    let text = r#"
        name = "nightly"
        [component.report]
        module = "primes"
        cron = { schedule = "30 3 29 feb *", zone = "Europe/Berlin" }
    "#;
    std::fs::write(&nightly, text).unwrap();
    let nightly = nightly.to_str().unwrap();
    asks(&up, 0, &["app", "apply", nightly, "--wait", "--timeout", "90s"]);
    let status = one(&up, 0, &["app", "status", "nightly"]);
    let report = &status[0]["instances"][0];
    assert_eq!(
        (&report["state"], &report["program"]),
        (&"scheduled".into(), &Value::Null)
    );
    // 2028-02-29T02:30:00Z.
    assert_eq!(report["next_ms"], 1_835_404_200_000_u64);
    asks(&up, 0, &["app", "rm", "nightly"]);

    let events = asks(&up, 0, &["events", "--since", "10m"]).documents();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    for kind in [
        "applied", "start", "runs", "drain", "moved", "uncordon", "reverted", "removing",
    ] {
        assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
    }
}

#[test]
fn without_a_dispatcher_the_way_out_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start_with(&folder.path().join("up"), 0, &["--no-dispatcher"]);
    let ran = asks(&up, 3, &["app", "status", "--timeout", "1500ms"]);
    assert_eq!(ran.error()["error"], "no-answer");
    assert!(ran.stderr.contains("wayfare dispatcher"), "{}", ran.stderr);
}

#[test]
fn a_manifest_that_is_wrong_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.toml");
    std::fs::write(&path, "name = 'shop'\n[component.web]\nmodule = 'nothing.wasm'").unwrap();
    let ran = run("mqtt://127.0.0.1:1", &["app", "plan", path.to_str().unwrap()]);
    assert_eq!(ran.exit, 1);
    assert!(ran.stderr.contains("component 'web'"), "{}", ran.stderr);
    let text = "name = 'shop'\n[component.web]\nmodule = 'primes'\ncron = { schedule = 'daily' }";
    std::fs::write(&path, text).unwrap();
    let ran = run("mqtt://127.0.0.1:1", &["app", "plan", path.to_str().unwrap()]);
    assert!(
        ran.stderr
            .contains("component 'web': cron: the schedule 'daily' has 1 fields"),
        "{}",
        ran.stderr
    );
}
