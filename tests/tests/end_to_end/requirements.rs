//! Where an application's components may run: engines say what they are, and those without a compiler get
//! code from the dispatcher that acts.

use std::collections::BTreeMap;

use wayfare_client::app::ask::AppStatus;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::registry::registry_key;

use crate::fleet;

const MANIFEST: &str = r#"
    name = "house"
    [component.labelled]
    module = "counter"
    args = ["1000000", "20", "64"]
    labels = ["zone in (attic, cellar)", "loud!=yes"]
    [component.hosted]
    module = "counter"
    args = ["1000000", "20", "64"]
    hosts = ["shelf"]
    [component.named]
    module = "counter"
    args = ["1000000", "20", "64"]
    engines = ["board"]
    [component.stranger]
    module = "counter"
    args = ["1000000", "20", "64"]
    engines = ["stranger"]
    [component.glowing]
    module = "counter"
    args = ["1000000", "20", "64"]
    grants = { devices = ["led"] }
    [component.lit]
    module = "counter"
    devices = ["lantern"]
"#;

async fn apply(fleet: &Fleet, text: &str) {
    let file = |sample: &str| Ok(wayfare_samples::find(sample).expect("a sample").wasm.to_vec());
    fleet.applies(text, file).await;
}

/// Waits for so many instances that run.
async fn running(fleet: &Fleet, count: usize) -> AppStatus {
    let find = |status: &AppStatus| {
        let runs = status.instances.iter().filter(|i| i.state == "running");
        (runs.count() == count).then(|| status.clone())
    };
    fleet
        .application(&format!("{count} running instances"), find)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_run_where_labels_host_name_and_code_allow() {
    let key = registry_key();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let led = "[devices.led]\nkind = 'gpio-out'\nbackend = 'simulated'";
    std::fs::write(file.path(), led).expect("it can be written");
    let devices = file.path().display().to_string();
    let fleet = fleet(Kind::Mosquitto)
        .engine("up", &["--label", "zone=attic", "--label", "loud=yes"])
        .engine("down", &["--label", "zone=cellar"])
        .engine("other", &["--host", "shelf", "--config", &devices])
        .engine("board", &["--signed-only", "--trust", &key, "--host", "box"])
        .engine("stranger", &["--signed-only", "--host", "box"])
        .registry()
        .start()
        .await;
    let engines = fleet.client.engines().await.expect("they are there");
    let about = |name: &str| {
        let view = engines.iter().find(|view| view.engine.as_str() == name);
        view.and_then(|view| view.about.clone()).expect("it has told")
    };
    assert_eq!(
        about("down").labels,
        BTreeMap::from([("zone".into(), "cellar".into())])
    );
    assert_eq!(about("other").host, "shelf");
    assert!(!about("up").host.is_empty(), "the system tells");

    apply(&fleet, MANIFEST).await;
    let status = running(&fleet, 4).await;
    let on = |component: &str| {
        let id = format!("house/{component}/0");
        let instance = status.instances.iter().find(|instance| instance.instance == id);
        instance
            .and_then(|instance| instance.engine.clone())
            .map(|engine| engine.to_string())
    };
    assert_eq!(on("labelled").as_deref(), Some("down"));
    assert_eq!(on("hosted").as_deref(), Some("other"));
    assert_eq!(
        on("named").as_deref(),
        Some("board"),
        "with code that the dispatcher has signed"
    );
    assert_eq!(on("glowing").as_deref(), Some("other"));
    assert_eq!((on("stranger"), on("lit")), (None, None));
    let why = status.unplaced.join("\n");
    assert!(
        why.contains("house/stranger/0") && why.contains("trust the fleet's key"),
        "{why}"
    );
    assert!(why.contains("5 lack device 'lantern'"), "{why}");
}
