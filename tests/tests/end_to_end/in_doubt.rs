//! A target that falls silent after it was offered a program. Here the test plays the target, so that it can
//! be silent at the very moment that matters: the program must stand still, whatever happens to its source,
//! until the target gives its verdict or somebody takes the program back by force.

use wayfare_client::{CommandOptions, Operation, Order, ResumeMode};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{BootId, Generation, OperationId, ProgramId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::status::{EngineState, EngineStatus, ProgramState};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done, failed};
use wayfare_tests::job::Job;
use wayfare_tests::spy::{Heard, Spy, name};
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;

const ABSENT: &str = "absent";

/// A fleet of `a` and the absent engine, with a program on its way from one to the other.
struct Scene {
    fleet: Fleet,
    watched: Watched,
    expected: Vec<u8>,
    operation: Operation,
}

/// Plays until the program was offered to the absent engine, which has said nothing since.
async fn offered(broker: Kind, options: CommandOptions) -> Scene {
    let fleet = fleet(broker).engine("a", &["--checkpoint", "1"]).start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(3).await;
    let boot = BootId::random();
    appears(&fleet, boot, EngineState::Online).await;
    let is_there = async {
        let mut seen = 0;
        while fleet.client.engine(ABSENT).await.is_err() {
            fleet.client.changed(&mut seen).await.expect("open");
        }
    };
    within("the absent engine to be seen", is_there).await;
    let move_program = fleet
        .client
        .apply(Order::move_to(&watched.id(), ABSENT), &options)
        .await;
    let operation = move_program.expect("the absent engine is there");
    let id = operation.id();
    for blobs_announced in [1, 2] {
        let prepare = |heard: &Heard| match to_absent(heard, id) {
            Some(PeerMessage::Prepare { blobs, .. }) if blobs.len() == blobs_announced => Some(blobs.clone()),
            _ => None,
        };
        for blob in fleet.spy.hears("Prepare", 0, prepare).await {
            let (digest, received) = (blob.digest, blob.bytes);
            say(&fleet, id, PeerMessage::Ack { digest, received }).await;
        }
    }
    let commit =
        |heard: &Heard| matches!(to_absent(heard, id), Some(PeerMessage::Commit { .. })).then_some(());
    fleet.spy.hears("Commit", 0, commit).await;
    appears(&fleet, boot, EngineState::Offline).await;
    Scene {
        fleet,
        watched,
        expected,
        operation,
    }
}

/// Others must not wait for its reports once it has fallen silent.
async fn appears(fleet: &Fleet, boot: BootId, state: EngineState) {
    let status = EngineStatus {
        sequence: 1,
        ..EngineStatus::new(name(ABSENT), boot, state)
    };
    let topic = Topics::default().topic(&Topic::EngineStatus(name(ABSENT)));
    fleet.spy.publish(topic, wire::encode(&status)).await;
}

fn to_absent(heard: &Heard, operation: OperationId) -> Option<&PeerMessage> {
    match heard {
        Heard::Peer { to, envelope } if to.as_str() == ABSENT && envelope.operation == operation => {
            Some(&envelope.message)
        }
        _ => None,
    }
}

async fn say(fleet: &Fleet, operation: OperationId, message: PeerMessage) {
    let envelope = Envelope {
        operation,
        from: name(ABSENT),
        message,
    };
    let topic = Topics::default().topic(&Topic::Peer(operation, name("a")));
    fleet.spy.publish(topic, envelope.encode(&[])).await;
}

async fn in_doubt(fleet: &Fleet, program: ProgramId) {
    let target = name(ABSENT);
    let owners = vec![(name("a"), ProgramState::InDoubt { target })];
    let is_so = |all: &[Heard]| Spy::owners(all, program) == owners;
    fleet
        .spy
        .sees("the program to be in doubt, on a alone", is_so)
        .await;
}

/// The highest line that anybody has published.
fn last_line(fleet: &Fleet, program: ProgramId) -> Option<u64> {
    fleet.spy.with(|all| {
        let batches = all.iter().filter_map(|heard| match heard {
            Heard::Log(batch) if batch.program == program => batch.lines.last(),
            _ => None,
        });
        batches.map(|line| line.line).max()
    })
}

fn options() -> CommandOptions {
    CommandOptions::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_target_leaves_it_standing_still_across_a_crash_of_the_source_until_it_refuses() {
    let mut scene = offered(Kind::Mosquitto, options()).await;
    let (program, id) = (scene.watched.program, scene.operation.id());
    in_doubt(&scene.fleet, program).await;
    let stood_at = last_line(&scene.fleet, program);
    for _ in 0..2 {
        scene.fleet.engine("a").kill();
        scene.fleet.all_online().await;
        let mark = scene.fleet.spy.mark();
        scene.fleet.start_again(&["a"]).await;
        in_doubt(&scene.fleet, program).await;
        let asks = |heard: &Heard| {
            let message = to_absent(heard, id);
            matches!(message, Some(PeerMessage::Commit { .. } | PeerMessage::Cancel)).then_some(())
        };
        scene.fleet.spy.hears("the source to ask again", mark, asks).await;
        assert_eq!(
            last_line(&scene.fleet, program),
            stood_at,
            "it ran although nobody had decided"
        );
    }
    let failure = Failure::Cancelled;
    say(&scene.fleet, id, PeerMessage::Refused { failure }).await;
    failed(Ok(scene.operation)).await;
    assert_eq!(scene.fleet.runs_once(&scene.watched, &scene.expected).await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_answers_late_that_it_has_it_is_believed() {
    let scene = offered(Kind::Mosquitto, options()).await;
    let (program, id) = (scene.watched.program, scene.operation.id());
    in_doubt(&scene.fleet, program).await;
    let generation = Generation(2);
    say(&scene.fleet, id, PeerMessage::Adopted { generation }).await;
    let outcome = done(Ok(scene.operation)).await.outcome;
    assert!(
        matches!(
            outcome,
            Outcome::Moved {
                generation: Generation(2),
                ..
            }
        ),
        "{outcome:?}"
    );
    scene.fleet.gone(program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_its_time_is_up_the_source_asks_the_target_to_refuse() {
    let time_limit = std::time::Duration::from_secs(4);
    let options = CommandOptions {
        time_limit,
        ..options()
    };
    let scene = offered(Kind::Mosquitto, options).await;
    let id = scene.operation.id();
    let cancel = |heard: &Heard| matches!(to_absent(heard, id), Some(PeerMessage::Cancel)).then_some(());
    scene.fleet.spy.hears("Cancel", 0, cancel).await;
    in_doubt(&scene.fleet, scene.watched.program).await;
    let failure = Failure::Cancelled;
    say(&scene.fleet, id, PeerMessage::Refused { failure }).await;
    let error = failed(Ok(scene.operation)).await.to_string();
    assert!(error.contains("no answer from"), "{error}");
    assert_eq!(scene.fleet.runs_once(&scene.watched, &scene.expected).await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_taken_back_by_force_runs_on_and_a_late_target_is_fenced_off() {
    let scene = offered(Kind::Mosquitto, options()).await;
    let (program, id) = (scene.watched.program, scene.operation.id());
    in_doubt(&scene.fleet, program).await;
    let (fleet, watched) = (&scene.fleet, &scene.watched);
    let normal = fleet
        .client
        .apply(Order::resume(&watched.id(), ResumeMode::Normal), &options())
        .await;
    failed(normal).await;
    in_doubt(fleet, program).await;
    let forced = fleet
        .client
        .apply(Order::resume(&watched.id(), ResumeMode::Force), &options())
        .await;
    assert_eq!(done(forced).await.outcome, Outcome::Resumed { program });
    failed(Ok(scene.operation)).await;
    assert_eq!(fleet.runs_once(watched, &scene.expected).await, "a");
    let generation = fleet
        .client
        .program(&watched.id())
        .await
        .expect("it runs")
        .status
        .generation;
    assert!(
        generation > Generation(2),
        "2 is the target's, and it has {generation}"
    );
    // The target lives after all, and says so.
    let late = PeerMessage::Adopted {
        generation: Generation(2),
    };
    say(fleet, id, late).await;
    assert_eq!(fleet.runs_once(watched, &scene.expected).await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_knows_nothing_refuses_for_good() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let operation = OperationId::random();
    let refused = |heard: &Heard| {
        matches!(to_absent(heard, operation), Some(PeerMessage::Refused { .. })).then_some(())
    };
    say(&fleet, operation, PeerMessage::Query).await;
    fleet.spy.hears("a refusal", 0, refused).await;
    // What was asked about comes now: too late.
    let job = Job::endless(64);
    let watched = fleet.run(&job, "a").await;
    let view = fleet.client.program(&watched.id()).await.expect("it runs");
    let mark = fleet.spy.mark();
    let late = PeerMessage::Prepare {
        program: ProgramId::random(),
        generation: Generation(2),
        spec: wayfare_protocol::command::ProgramSpec {
            name: "late".into(),
            module: wayfare_protocol::ids::Blob {
                digest: view.status.module,
                bytes: job.module.len() as u64,
            },
            args: Vec::new(),
            env: [].into(),
            stdin: None,
            memory_bytes_max: None,
            grants: Default::default(),
            ports: Default::default(),
            health_every_ms: None,
        },
        memory_bytes: 0,
        paused: false,
        devices: Default::default(),
        blobs: Vec::new(),
    };
    say(&fleet, operation, late).await;
    fleet.spy.hears("the same refusal", mark, refused).await;
}
