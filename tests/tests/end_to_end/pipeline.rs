//! The sample `pipeline`, ten programs that talk: its final table is the one that was computed without them,
//! whatever is moved or killed while the stream runs.

use std::collections::BTreeMap;

use wayfare_client::app::manifest::{self, Resolved};
use wayfare_client::{Order, Run};
use wayfare_link::{Link, LinkOptions, Message};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::stream::order;
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;

const ENGINES: [&str; 2] = ["a", "b"];
const ROWS: u64 = 2400;

/// The ten programs, and whoever says how many rows are to go.
struct Pipeline {
    stages: BTreeMap<String, Watched>,
    places: BTreeMap<String, &'static str>,
    link: Link,
    sender: ProgramId,
    said: u64,
}

fn application() -> Resolved {
    let file = |name: &str| match name {
        "city.csv" => Ok(wayfare_samples::PIPELINE_CSV.to_vec()),
        name => wayfare_samples::find_talker(name)
            .map(|talker| talker.wasm.to_vec())
            .ok_or_else(|| name.to_owned()),
    };
    let make = |name: &str| file(name).map(manifest::Made::from);
    manifest::resolve(wayfare_samples::PIPELINE_APP, make, file).unwrap_or_else(|error| panic!("{error}"))
}

impl Pipeline {
    /// As its manifest has it, but for the source, which waits to be told.
    async fn start(fleet: &Fleet) -> Self {
        let Resolved { spec, blobs } = application();
        let (mut stages, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (at, (name, component)) in spec.components.into_iter().enumerate() {
            let mut args = component.args;
            if name == "source" {
                args.push("go".into());
            }
            let engine = ENGINES[at % ENGINES.len()];
            let run = Run {
                name: name.clone(),
                module: blobs[&component.module.digest].clone(),
                args,
                stdin: component.stdin.map(|stdin| blobs[&stdin.digest].clone()),
                on: Some(engine.into()),
                grants: component.grants,
                ..Run::default()
            };
            let run = fleet.apply(Order::run(run)).await;
            let Outcome::Running { program, .. } = done(run).await.outcome else {
                panic!("{name} does not run");
            };
            stages.insert(name.clone(), Watched::follow(&fleet.client, program).await);
            places.insert(name, engine);
        }
        let (link, _events) =
            wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "controls")).expect("sound options");
        // All others are there, in whatever order they were started.
        stages["source"].printed(1).await;
        Self {
            stages,
            places,
            link,
            sender: ProgramId::random(),
            said: 0,
        }
    }

    /// So many more rows, told under an id of their own: a crash must not tell the source twice.
    async fn go(&mut self, rows: u64) {
        let stamp = Stamp {
            sender: self.sender,
            number: self.said,
            purpose: Purpose::Message,
        };
        self.said += 1;
        let message = Message::new("city/go", stamp.put_on(rows.to_string().as_bytes()));
        let told = within("a publish", self.link.publish_acknowledged(message)).await;
        told.expect("the link is open");
    }

    async fn moves(&mut self, fleet: &Fleet, stage: &str) {
        let to = ENGINES
            .into_iter()
            .find(|engine| *engine != self.places[stage])
            .expect("two");
        fleet.moves(self.stages[stage].program, to).await;
        self.places.insert(stage.to_owned(), to);
    }

    /// Waits for the end of all, and holds the table against the one that was computed. Answers with what
    /// each said on standard error.
    async fn must_end_well(mut self) -> BTreeMap<String, String> {
        let sink = self.stages.remove("sink").expect("a sink");
        let mut said = BTreeMap::new();
        for (name, stage) in self.stages {
            let finished = stage.finish().await;
            said.insert(name, String::from_utf8_lossy(&finished.stderr).into_owned());
        }
        let finished = sink.finish().await;
        wayfare_tests::watched::must_equal(&finished.stdout, wayfare_samples::PIPELINE_TABLE.as_bytes());
        said.insert(
            "sink".into(),
            String::from_utf8_lossy(&finished.stderr).into_owned(),
        );
        self.link.close().await;
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipeline_prints_the_table_that_was_computed_without_it() {
    let fleet = fleet(Kind::Embedded).engines(&ENGINES).start().await;
    let mut pipeline = Pipeline::start(&fleet).await;
    pipeline.go(ROWS).await;
    pipeline.must_end_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_the_same_when_every_stage_is_moved_while_the_stream_runs() {
    let fleet = fleet(Kind::Mosquitto).engines(&ENGINES).start().await;
    let mut pipeline = Pipeline::start(&fleet).await;
    let stages: Vec<String> = pipeline.stages.keys().cloned().collect();
    let step = ROWS / (stages.len() as u64 + 1);
    for stage in &stages {
        pipeline.go(step).await;
        pipeline.moves(&fleet, stage).await;
    }
    pipeline.go(ROWS).await;
    for (stage, said) in pipeline.must_end_well().await {
        // Said at the first message after the move.
        assert!(said.contains("now on"), "{stage}: {said}");
    }
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_the_same_when_the_engines_are_killed_in_the_stream() {
    let checkpoint = ["--checkpoint", "1"];
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &checkpoint)
        .engine("b", &checkpoint)
        .start()
        .await;
    // Checkpoints are made from the first second on: they do not wait for code.
    let alone = |engine: &str| order("pipeline", &["sink", "alone"], engine, &["alone/#"], &["alone/#"]);
    fleet.loads_for(&ENGINES, alone).await;
    let mut pipeline = Pipeline::start(&fleet).await;
    for engine in ENGINES {
        pipeline.go(ROWS / 4).await;
        fleet.start_again(&[engine]).await;
    }
    pipeline.go(ROWS).await;
    pipeline.must_end_well().await;
    fleet.spy.check_history();
}
