//! Dispatchers on different hosts: they share a store that speaks like S3, and no folder.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/s3.rs"]
mod s3;
mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use s3::{BUCKET, S3};
use support::{Process, Ran, command, run};
use wayfare_client::{Client, ClientOptions};
use wayfare_link::{BrokerOptions, EmbeddedBroker};
use wayfare_protocol::ids::ProgramId;

struct Hosts<'a> {
    broker: String,
    folder: &'a Path,
    server: &'a S3,
}

impl Hosts<'_> {
    /// With a folder of its own.
    fn dispatcher(&self, name: &str) -> Process {
        let data = self.folder.join(name);
        let location = format!("s3://{BUCKET}/fleet");
        let mut command = command(&self.broker, &["dispatcher", "--lease", "2s", "--name", name]);
        command.args(["--store", &location, "--data", data.to_str().unwrap()]);
        command.envs(self.server.variables());
        Process(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn engine(&self, id: &str) -> Process {
        let data = self.folder.join(id);
        let mut command = command(&self.broker, &["engine", "--config", "/dev/null", "--id", id]);
        command.args(["--data", data.to_str().unwrap()]);
        Process(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn asks(&self, arguments: &[&str]) -> Ran {
        let ran = run(&self.broker, &[arguments, &["--timeout", "60s"]].concat());
        assert_eq!(ran.exit, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }
}

impl Hosts<'_> {
    /// As a program does it.
    async fn set(&self, key: &str, value: &str) {
        let client = Client::connect(ClientOptions::new(self.broker.parse().unwrap()));
        let client = client.await.unwrap();
        let request = serde_json::json!({
            "program": ProgramId::random(), "generation": 1, "number": 0,
            "what": { "do": "set", "key": key, "value": value },
        });
        let answer = client.ask("values", request, Duration::from_secs(60)).await;
        assert_eq!(answer.unwrap()["is"], "set");
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_on_another_host_takes_everything_over_from_the_store() {
    let Some(server) = S3::start() else {
        return;
    };
    let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hosts = Hosts {
        broker: format!("mqtt://{}", broker.local_addr()),
        folder: folder.path(),
        server: &server,
    };
    let manifest = folder.path().join("app.toml");
    let text =
        "name = 'shop'\n[component.web]\nmodule = 'counter'\nargs = ['1000000', '50']\nengines = ['late']\n";
    std::fs::write(&manifest, text).unwrap();
    let manifest = manifest.to_str().unwrap();
    let file = folder.path().join("f");
    std::fs::write(&file, "kept").unwrap();

    let first = hosts.dispatcher("first");
    hosts.set("/c/n", "NQ==").await;
    hosts.asks(&["fs", "put", file.to_str().unwrap(), "/fleet"]);
    hosts.asks(&["app", "apply", manifest]);
    // Killed; what its host holds is lost.
    drop(first);
    std::fs::remove_dir_all(folder.path().join("first")).unwrap();

    let _second = hosts.dispatcher("second");
    assert_eq!(hosts.asks(&["state", "get", "/c/n"]).stdout.trim(), "5");
    assert_eq!(hosts.asks(&["fs", "cat", "/fleet/f"]).stdout, "kept");
    let events = hosts.asks(&["events", "--since", "10m"]).stdout;
    assert!(events.contains("version 1 of shop"), "{events}");
    // Its module is in the store as well.
    let _engine = hosts.engine("late");
    hosts.asks(&["app", "apply", manifest, "--wait"]);
    let status = hosts.asks(&["app", "status", "shop"]).stdout;
    assert!(status.contains("running"), "{status}");
    for service in ["apps", "values", "files"] {
        assert!(!folder.path().join("second").join(service).exists(), "{service}");
    }
}
