//! `wayfare fs`, as people use it: in a folder of the dispatcher's, and on a server that speaks like S3.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/s3.rs"]
mod s3;
mod support;

use std::path::Path;
use std::process::Stdio;

use s3::{BUCKET, S3};
use serde_json::Value;
use support::{Process, Ran, command, run};
use wayfare_link::{BrokerOptions, EmbeddedBroker};

fn dispatcher(broker: &str, data: &Path, more: &[&str], variables: &[(&str, String)]) -> Process {
    let arguments = ["dispatcher", "--lease", "2s", "--data", data.to_str().unwrap()];
    let mut command = command(broker, &[&arguments, more].concat());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Process(command.stderr(Stdio::null()).spawn().unwrap())
}

struct User {
    broker: String,
    folder: tempfile::TempDir,
}

impl User {
    fn fs(&self, arguments: &[&str]) -> Ran {
        run(
            &self.broker,
            &[&["fs"], arguments, &["--timeout", "60s"]].concat(),
        )
    }

    /// The documents that a command answers.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.fs(&[arguments, &["--json"]].concat());
        assert_eq!(ran.exit, 0, "{arguments:?}: {}", ran.stderr);
        ran.documents()
    }

    /// The kind of the error that a command ends with.
    fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.fs(&[arguments, &["--json"]].concat());
        assert_eq!(ran.exit, 1, "{arguments:?}: {}", ran.stdout);
        ran.error()["error"].as_str().unwrap().to_owned()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let listed = self.json(&["ls", folder]);
        let names = listed[0].as_array().unwrap().iter();
        names
            .map(|file| file["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Not the same in any two of its blocks.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (at * at % 251) as u8).collect()
}

/// Every verb, with a dispatcher that is killed and replaced in between.
async fn every_verb_does_what_it_says(more: &[&str], variables: &[(&str, String)]) {
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let url = format!("mqtt://{}", broker.local_addr());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("dispatcher");
    let start = || dispatcher(&url, &data, more, variables);
    let first = start();
    let user = User {
        broker: url.clone(),
        folder: tempfile::tempdir().unwrap(),
    };

    let (large, later) = (content(300_000), content(70_000));
    let file = user.file("city.csv", &large);
    assert_eq!(
        user.json(&["mkdir", "-p", "/fleet/in/deep"])[0]["path"],
        "/fleet/in/deep"
    );
    user.json(&["mkdir", "-p", "/fleet/in/deep"]);
    let put = user.json(&["put", &file, "/fleet/in"]);
    assert_eq!(put[0]["path"], "/fleet/in/city.csv");
    assert_eq!(put[0]["stat"]["bytes"], 300_000);
    user.file("city.csv", &later);
    assert_eq!(
        user.json(&["put", &file, "/fleet/in/city.csv"])[0]["stat"]["version"],
        2
    );

    // Whatever was answered is there for whoever takes over.
    drop(first);
    let second = start();
    let history = user.json(&["history", "/fleet/in/city.csv"]);
    let lengths: Vec<&Value> = history[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["bytes"])
        .collect();
    assert_eq!(lengths, [300_000, 70_000]);
    let back = user.folder.path().join("back");
    let back_text = back.to_str().unwrap();
    user.json(&["get", "/fleet/in/city.csv", back_text, "--version", "1"]);
    assert!(std::fs::read(&back).unwrap() == large);
    user.json(&["get", "/fleet/in/city.csv", back_text]);
    assert!(std::fs::read(&back).unwrap() == later);
    let plain = user.file("plain", b"0123456789");
    user.json(&["put", &plain, "/fleet"]);
    let part = user.fs(&["cat", "/fleet/plain", "--offset", "3", "--bytes", "4"]);
    assert_eq!(part.stdout, "3456");
    assert_eq!(user.json(&["cat", "/fleet/plain"])[0]["text"], "0123456789");

    user.json(&["cp", "--version", "1", "/fleet/in/city.csv", "/fleet/old"]);
    user.json(&["mv", "/fleet/plain", "/fleet/in/deep"]);
    assert_eq!(user.names("/fleet"), ["in", "old"]);
    assert_eq!(user.names("/fleet/in"), ["city.csv", "deep"]);
    assert_eq!(user.names("/fleet/in/deep"), ["plain"]);
    let shown = user.fs(&["ls", "/fleet"]).stdout;
    assert!(shown.contains("NAME") && shown.contains("in/"), "{shown}");

    assert_eq!(user.refused(&["cat", "/fleet/none"]), "no-file");
    assert_eq!(
        user.refused(&["get", "/fleet/old", back_text, "--version", "9"]),
        "no-version"
    );
    assert!(std::fs::read(&back).unwrap() == later, "what was there stays");
    assert_eq!(user.refused(&["rm", "/fleet/in"]), "not-empty");
    assert_eq!(user.refused(&["rm", "-r", "/fleet"]), "impossible");
    assert_eq!(user.names("/fleet"), ["in", "old"]);
    let removed = user.json(&["rm", "-r", "/fleet/in", "/fleet/old"]);
    let removed: Vec<&str> = removed
        .iter()
        .map(|one| one["removed"].as_str().unwrap())
        .collect();
    let mut sorted = removed.clone();
    sorted.sort_unstable();
    let expected = [
        "/fleet/in",
        "/fleet/in/city.csv",
        "/fleet/in/deep",
        "/fleet/in/deep/plain",
        "/fleet/old",
    ];
    assert_eq!(sorted, expected);
    let at = |path: &str| removed.iter().position(|one| *one == path);
    assert!(at("/fleet/in/deep/plain") < at("/fleet/in/deep") && at("/fleet/in/deep") < at("/fleet/in"));
    assert!(user.names("/fleet").is_empty());
    drop(second);
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_does_what_it_says_in_a_folder() {
    every_verb_does_what_it_says(&[], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_does_what_it_says_on_s3() {
    let Some(server) = S3::start() else {
        return;
    };
    let location = format!("s3://{BUCKET}/verbs");
    every_verb_does_what_it_says(&["--files", &location], &server.variables()).await;
}

/// Two fleets were given one place, perhaps by mistake: each gives way to the other, and nothing that was
/// answered is overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_fleets_on_one_bucket_overwrite_nothing() {
    let Some(server) = S3::start() else {
        return;
    };
    let location = format!("s3://{BUCKET}/shared");
    let folder = tempfile::tempdir().unwrap();
    let mut fleets = Vec::new();
    for name in ["first", "second"] {
        let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
        let url = format!("mqtt://{}", broker.local_addr());
        let data = folder.path().join(name);
        let process = dispatcher(&url, &data, &["--files", &location], &server.variables());
        let user = User {
            broker: url,
            folder: tempfile::tempdir().unwrap(),
        };
        fleets.push((user, process, broker));
    }
    let names = ["a", "b", "c", "d", "e"];
    for (user, name) in fleets.iter().map(|(user, ..)| user).cycle().zip(names) {
        let file = user.file(name, name.as_bytes());
        user.json(&["put", &file, "/fleet"]);
    }
    let (last, ..) = &fleets[0];
    assert_eq!(last.names("/fleet"), names);
    for name in names {
        assert_eq!(last.fs(&["cat", &format!("/fleet/{name}")]).stdout, name);
    }
}
