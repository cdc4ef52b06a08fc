//! An application through everything that goes wrong: five engines as processes and Mosquitto; an engine
//! killed, one cut off the network while it runs on, one drained, an update, an update that fails. After
//! each: the right number of instances, each alive exactly once, printing what it should, and events that say
//! why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wayfare_client::Policy;
use wayfare_client::app::ask::{AppStatus, Ask, Decision, EventsWanted};
use wayfare_client::app::manifest::{self, Resolved};
use wayfare_dispatcher::options::ServiceOptions;
use wayfare_dispatcher::service::{self, ServiceError};
use wayfare_protocol::ids::{Blob, Generation, OperationId, ProgramId};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::pull::Pull;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::job::Job;
use wayfare_tests::spy::{Heard, name};
use wayfare_tests::watched::Watched;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;

const ENGINES: [&str; 5] = ["e1", "e2", "e3", "e4", "e5"];
/// Between two looks at the application.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

/// The dispatcher's service, in this process.
struct Service {
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Service {
    fn start(fleet: &Fleet) -> Self {
        let mut options = ServiceOptions::new(
            fleet.broker.url(),
            name("service"),
            fleet.folder().join("service"),
        );
        options.poll = Duration::from_secs(1);
        // Nothing moves but for a reason that the test gives.
        options.policy = Policy::LeastMoves;
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(service::run(options, async { drop(ended.await) }));
        Self { end: Some(end), task }
    }

    async fn stop(mut self) {
        drop(self.end.take());
        let ended = within("the service to end", &mut self.task).await;
        ended.expect("it does not panic").expect("it ends in good order");
    }
}

/// The manifest of three components and seven instances; `second` is the module of the second.
fn manifest(second: &str) -> Resolved {
    let text = format!(
        r#"
        name = "shop"
        [component.front]
        module = "counter"
        args = ["1000000", "20", "64"]
        count = 3
        checkpoint = "1s"
        [component.middle]
        module = "{second}"
        args = ["1000000", "20", "128"]
        count = 2
        checkpoint = "1s"
        update = {{ healthy-after = "1s", within = "60s" }}
        [component.back]
        module = "counter"
        args = ["1000000", "20", "256"]
        count = 2
        checkpoint = "1s"
        "#
    );
    let file = |module: &str| match module {
        "trap" => Ok(wat::parse_str(
            r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#,
        )
        .expect("it is sound")),
        sample => Ok(wayfare_samples::find(sample).expect("a sample").wasm.to_vec()),
    };
    let make = |module: &str| file(module).map(manifest::Made::from);
    manifest::resolve(&text, make, file).unwrap_or_else(|error| panic!("{error}"))
}

struct Scene {
    fleet: Fleet,
    expected: BTreeMap<String, Vec<u8>>,
    watched: BTreeMap<ProgramId, Watched>,
}

impl Scene {
    async fn ask<T: serde::de::DeserializeOwned>(&self, ask: Ask) -> T {
        let answer = self.fleet.client.ask_apps(&ask, WAIT_MAX).await;
        answer.unwrap_or_else(|error| panic!("{ask:?}: {error}"))
    }

    async fn apply(&self, resolved: Resolved) -> u64 {
        let uploaded = self
            .fleet
            .client
            .upload(&resolved.blobs, WAIT_MAX, |_, _| {})
            .await;
        uploaded.expect("the dispatcher takes it");
        let spec = resolved.spec;
        let answer: serde_json::Value = self.ask(Ask::Apply { spec, expects: None }).await;
        answer["version"].as_u64().expect("a version")
    }

    /// Waits for an event of this kind that says this.
    async fn told(&self, kind: &str, says: &str) -> Vec<Decision> {
        let found = async {
            loop {
                let decisions: Vec<Decision> = self
                    .ask(Ask::Events {
                        since_ms: 0,
                        after: None,
                        wanted: EventsWanted::default(),
                    })
                    .await;
                if decisions.iter().any(|d| d.kind == kind && d.text.contains(says)) {
                    return decisions;
                }
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        within(&format!("event {kind}: {says}"), found).await
    }

    /// Waits until all seven run where they may, are healthy and of the current version; then looks closely.
    async fn all_well(&mut self, not_on: &[&str]) -> AppStatus {
        let well = async {
            loop {
                let status = self
                    .ask::<Vec<AppStatus>>(Ask::Status { application: None })
                    .await
                    .remove(0);
                let is_well = |i: &wayfare_client::app::ask::InstanceStatus| {
                    let engine = i.engine.as_ref().map(|engine| engine.as_str());
                    i.healthy
                        && i.current
                        && i.state == "running"
                        && engine.is_some_and(|on| !not_on.contains(&on))
                };
                if status.state == "running"
                    && status.instances.len() == 7
                    && status.instances.iter().all(is_well)
                {
                    return status;
                }
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        let status = within("seven healthy instances", well).await;
        let programs: BTreeSet<ProgramId> = status.instances.iter().filter_map(|i| i.program).collect();
        assert_eq!(programs.len(), 7, "each instance is a program of its own");
        for instance in &status.instances {
            let program = instance.program.expect("it is well");
            if !self.watched.contains_key(&program) {
                let watched = Watched::follow(&self.fleet.client, program).await;
                self.watched.insert(program, watched);
            }
            let component = instance
                .instance
                .split('/')
                .nth(1)
                .expect("application/component/ordinal");
            let watched = &self.watched[&program];
            watched.goes_on().await;
            wayfare_tests::watched::must_begin_like(&watched.stdout(), &self.expected[component]);
        }
        self.fleet.spy.check_history();
        status
    }

    /// Each has one live copy, by all reports and by the threads of all processes.
    async fn exactly_once(&self, status: &AppStatus) {
        for instance in &status.instances {
            let program = instance.program.expect("it is well");
            let (engine, _) = self.fleet.settled(program).await;
            assert_eq!(
                Some(engine.as_str()),
                instance.engine.as_ref().map(|e| e.as_str()),
                "{}",
                instance.instance
            );
        }
    }

    fn on(&self, status: &AppStatus, engine: &str) -> BTreeMap<String, (ProgramId, Generation)> {
        let there = status
            .instances
            .iter()
            .filter(|i| i.engine.as_ref().is_some_and(|e| e.as_str() == engine));
        let pair = |i: &wayfare_client::app::ask::InstanceStatus| {
            let generation = Generation(i.generation.expect("it is placed"));
            (i.instance.clone(), (i.program.expect("it is placed"), generation))
        };
        there.map(pair).collect()
    }
}

/// Those that were on a lost engine go on elsewhere as the same programs, from a checkpoint, out of reach of
/// what they were.
fn went_on_elsewhere(
    before: &BTreeMap<String, (ProgramId, Generation)>,
    after: &AppStatus,
    told: &[Decision],
) {
    assert!(!before.is_empty(), "the engine had something to lose");
    for (id, (program, generation)) in before {
        let now = after
            .instances
            .iter()
            .find(|i| i.instance == *id)
            .expect("it is wanted");
        assert_eq!(now.program, Some(*program));
        assert!(
            now.generation >= Some(generation.0 + 1_000),
            "{id} was {generation}, is {:?}",
            now.generation
        );
        let is_said = |d: &Decision| {
            d.kind == "start" && d.text.starts_with(id) && d.text.contains("from its last checkpoint")
        };
        assert!(
            told.iter().any(is_said),
            "nothing says that {id} went on from its checkpoint"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_goes_on_through_everything() {
    let fleet = fleet(Kind::Mosquitto)
        .engines(&ENGINES[..4])
        .behind_cable("e5")
        .start()
        .await;
    let mut expected = BTreeMap::new();
    for (component, heap_kib) in [("front", 64), ("middle", 128), ("back", 256)] {
        let job = Job::endless(heap_kib);
        expected.insert(component.to_owned(), fleet.expected(&job, "e1").await);
    }
    let service = Service::start(&fleet);
    let mut scene = Scene {
        fleet,
        expected,
        watched: BTreeMap::new(),
    };
    scene.apply(manifest("counter")).await;
    let status = scene.all_well(&[]).await;
    scene.exactly_once(&status).await;
    // Every instance's state has been copied to the dispatcher.
    let copied = async {
        loop {
            let status = scene
                .ask::<Vec<AppStatus>>(Ask::Status { application: None })
                .await
                .remove(0);
            if status.instances.iter().all(|i| i.checkpoint_at_ms.is_some()) {
                return status;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    };
    let status = within("a checkpoint of each", copied).await;

    // Killed.
    let lost = scene.on(&status, "e1");
    scene.fleet.engine("e1").kill();
    let told = scene.told("engine-lost", "engine e1 is lost").await;
    assert!(told.iter().any(|d| d.kind == "applied"));
    let status = scene.all_well(&["e1"]).await;
    scene.exactly_once(&status).await;
    let told = scene.told("start", "e1 is lost").await;
    went_on_elsewhere(&lost, &status, &told);
    // It has its copies on its disk when it comes back.
    scene.fleet.start_again(&["e1"]).await;
    scene.told("engine-back", "engine e1 is back").await;
    let status = scene.all_well(&[]).await;
    scene.exactly_once(&status).await;

    // Cut off: it runs on, and nobody hears it.
    let lost = scene.on(&status, "e5");
    scene.fleet.cable("e5").pull();
    scene.told("engine-lost", "engine e5 is lost").await;
    let status = scene.all_well(&["e5"]).await;
    let told = scene.told("start", "e5 is lost").await;
    went_on_elsewhere(&lost, &status, &told);
    for (program, _) in lost.values() {
        assert_eq!(
            scene.fleet.engine("e5").threads_of(*program),
            1,
            "its copy runs on"
        );
    }
    let mark = scene.fleet.spy.mark();
    scene.fleet.cable("e5").mend();
    scene.told("engine-back", "engine e5 is back").await;
    let status = scene.all_well(&[]).await;
    scene.exactly_once(&status).await;
    scene.fleet.spy.with(|all| {
        for heard in &all[mark..] {
            if let Heard::Log(batch) = heard
                && let Some((_, generation)) = lost.values().find(|(program, _)| *program == batch.program)
            {
                assert!(
                    batch.generation > *generation,
                    "a stale copy put something out: {batch:?}"
                );
            }
        }
    });

    // Drained, live.
    let before = scene.on(&status, "e2");
    let engine = name("e2");
    let _: serde_json::Value = scene
        .ask(Ask::Drain {
            engine: engine.clone(),
        })
        .await;
    let status = scene.all_well(&["e2"]).await;
    scene.exactly_once(&status).await;
    for (id, (program, generation)) in &before {
        let now = status
            .instances
            .iter()
            .find(|i| i.instance == *id)
            .expect("it is wanted");
        assert_eq!(now.program, Some(*program));
        assert!(
            now.generation > Some(generation.0) && now.generation < Some(generation.0 + 1_000),
            "{id} moved live"
        );
    }
    let _: serde_json::Value = scene.ask(Ask::Uncordon { engine }).await;

    // Rolled out, and rolled back.
    let version = scene.apply(manifest_with_heap(512)).await;
    scene.expected.insert(
        "middle".into(),
        scene.fleet.expected(&Job::endless(512), "e1").await,
    );
    let status = scene.all_well(&[]).await;
    assert_eq!(status.version, version);
    scene.exactly_once(&status).await;
    scene
        .told("rolled-out", &format!("version {version} of shop"))
        .await;
    let bad = scene.apply(manifest("trap")).await;
    scene
        .told(
            "rolled-back",
            &format!("version {bad} of shop is rolled back to {version}"),
        )
        .await;
    let status = scene.all_well(&[]).await;
    assert_eq!(status.version, version);
    scene.exactly_once(&status).await;

    // Another takes over the same folder: nothing is disturbed.
    let before: Vec<_> = status
        .instances
        .iter()
        .map(|i| (i.program, i.generation))
        .collect();
    service.stop().await;
    let service = Service::start(&scene.fleet);
    let status = scene.all_well(&[]).await;
    let after: Vec<_> = status
        .instances
        .iter()
        .map(|i| (i.program, i.generation))
        .collect();
    assert_eq!(before, after);

    let application = "shop".to_owned();
    let _: serde_json::Value = scene.ask(Ask::Remove { application }).await;
    for program in after.into_iter().filter_map(|(program, _)| program) {
        scene.fleet.gone(program).await;
    }
    service.stop().await;
    scene.fleet.spy.check_history();
}

/// The same, the second component with another heap.
fn manifest_with_heap(heap_kib: u32) -> Resolved {
    let mut resolved = manifest("counter");
    if let Some(middle) = resolved.spec.components.get_mut("middle") {
        middle.args[2] = heap_kib.to_string();
    }
    resolved
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_digest_says_is_refused_and_the_true_one_is_taken() {
    let fleet = fleet(Kind::Embedded).start().await;
    let service = Service::start(&fleet);
    let client = &fleet.client;
    let sound: Vec<u8> = (0..CHUNK_BYTES * 3 + 5).map(|i| (i % 251) as u8).collect();
    let blob = Blob::of(&sound);
    let transfer = OperationId::random();
    let mut peers = client.peers().await.expect("it is open");
    let take = Ask::Take {
        transfer,
        from: client.id().clone(),
        blobs: vec![blob],
    };
    let lacking: Vec<Blob> = client.ask_apps(&take, WAIT_MAX).await.expect("it answers");
    assert_eq!(lacking, [blob]);
    let lies = async {
        while let Some((envelope, _)) = peers.recv().await {
            match envelope.message {
                PeerMessage::Pull { blob, offset, chunks } if envelope.operation == transfer => {
                    for (offset, length) in (Pull { offset, chunks }).chunks_of(blob) {
                        let message = PeerMessage::Chunk { blob, offset };
                        client.say(&envelope.from, transfer, message, &vec![0; length]);
                    }
                }
                PeerMessage::Ack { received, .. } => return assert_eq!(received, 0),
                _ => {}
            }
        }
    };
    within("the dispatcher gives up", lies).await;
    let refused = client.ask_apps::<Vec<Blob>>(&take, WAIT_MAX).await;
    let refused = refused.expect_err("it was damaged").to_string();
    assert!(refused.contains("does not match its digest"), "{refused}");
    let blobs = BTreeMap::from([(blob.digest, sound)]);
    client
        .upload(&blobs, WAIT_MAX, |_, _| {})
        .await
        .expect("it is taken");
    let lacking: Vec<Blob> = client.ask_apps(&take, WAIT_MAX).await.expect("it answers");
    assert_eq!(lacking, []);
    service.stop().await;
}
