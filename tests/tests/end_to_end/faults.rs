//! Killed in mid-move: source, target and broker, each at every step of a move. Whatever the move's answer
//! is, it is true, and the program runs exactly once, where the answer says, and prints what an unmoved run
//! prints.

use wayfare_client::{Finished, Operation};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{Digest, OperationId};
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;

/// A step of a move, as the broker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The source asks.
    Prepare,
    /// The target answers.
    Want,
    /// The module is on its way, which the target does not have yet.
    Module,
    /// The program's memory is on its way while it runs.
    Base,
    /// The program stands still, and only the target may decide from here on.
    Commit,
    /// The target has decided.
    Adopted,
}

impl Step {
    pub(crate) fn is(self, heard: &Heard, operation: OperationId, module: Digest) -> bool {
        let Heard::Peer { envelope, .. } = heard else {
            return false;
        };
        if envelope.operation != operation {
            return false;
        }
        match (&envelope.message, self) {
            (PeerMessage::Prepare { .. }, Self::Prepare)
            | (PeerMessage::Want { .. }, Self::Want)
            | (PeerMessage::Commit { .. }, Self::Commit)
            | (PeerMessage::Adopted { .. }, Self::Adopted) => true,
            (PeerMessage::Chunk { blob, .. }, Self::Module) => blob.digest == module,
            (PeerMessage::Chunk { blob, .. }, Self::Base) => blob.digest != module,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Source,
    Target,
    Broker,
}

impl Victim {
    /// Killed at once, and started again. The source is engine `a`, the target `b`.
    pub(crate) async fn dies_and_returns(self, fleet: &mut Fleet) {
        match self {
            Self::Source => fleet.start_again(&["a"]).await,
            Self::Target => fleet.start_again(&["b"]).await,
            Self::Broker => {
                fleet.broker.kill().await;
                fleet.broker.start_again().await;
                fleet.all_online().await;
            }
        }
    }
}

/// Starts a move from `a` to `b`, kills the victim at `step`, and starts it again.
async fn killed_in_mid_move(broker: Kind, victim: Victim, step: Step) {
    let setup = fleet(broker)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &["--checkpoint", "1"]);
    let mut fleet = setup.start().await;
    let job = Job::endless(128);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(5).await;
    let operation = move_until(&fleet, &watched, &job, step).await;
    victim.dies_and_returns(&mut fleet).await;
    let answer = within("the move's final answer", operation.wait()).await;
    let expected_on = match answer {
        Ok(Finished {
            outcome: Outcome::Moved { .. },
            ..
        }) => "b",
        Ok(other) => panic!("a move was answered with {:?}", other.outcome),
        Err(error) => {
            eprintln!("{victim:?} killed at {step:?}: the move failed: {error}");
            "a"
        }
    };
    let runs_on = fleet.runs_once(&watched, &expected).await;
    assert_eq!(runs_on, expected_on, "the answer was not true");
    fleet.kills(watched).await;
}

/// Begins a move and returns as soon as `step` is heard.
async fn move_until(fleet: &Fleet, watched: &Watched, job: &Job, step: Step) -> Operation {
    let mark = fleet.spy.mark();
    let operation = fleet
        .start_move(watched.program, "b")
        .await
        .expect("both engines are there");
    let (id, module) = (operation.id(), Digest::of(&job.module));
    let is_step = |heard: &Heard| step.is(heard, id, module).then_some(());
    fleet.spy.hears(&format!("{step:?}"), mark, is_step).await;
    operation
}

/// The answer says that it moved, and that is true.
async fn moved_to_b(fleet: &Fleet, operation: Operation, watched: Watched, expected: &[u8]) {
    let answer = within("the move's final answer", operation.wait()).await;
    assert!(matches!(
        answer.map(|finished| finished.outcome),
        Ok(Outcome::Moved { .. })
    ));
    assert_eq!(fleet.runs_once(&watched, expected).await, "b");
    fleet.kills(watched).await;
}

/// The target falls silent between the offer and its verdict, long enough to be noticed, and then comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn target_hangs_when_the_source_has_committed() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let job = Job::endless(128);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    let operation = move_until(&fleet, &watched, &job, Step::Commit).await;
    fleet.engine("b").signal("-STOP");
    let (program, id, module) = (watched.program, operation.id(), Digest::of(&job.module));
    let in_doubt = |heard: &Heard| {
        matches!(heard, Heard::Program(status)
            if status.program == program && matches!(status.state, ProgramState::InDoubt { .. }))
    };
    let is_noticed = |all: &[Heard]| {
        all.iter()
            .any(|heard| in_doubt(heard) || Step::Adopted.is(heard, id, module))
    };
    fleet
        .spy
        .sees("doubt, or a verdict that came before", is_noticed)
        .await;
    fleet.engine("b").signal("-CONT");
    moved_to_b(&fleet, operation, watched, &expected).await;
}

/// The source does not hear the verdict until the target has run for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn source_hangs_when_the_target_has_adopted() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let job = Job::endless(128);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    let operation = move_until(&fleet, &watched, &job, Step::Adopted).await;
    fleet.engine("a").signal("-STOP");
    watched.goes_on().await;
    fleet.engine("a").signal("-CONT");
    moved_to_b(&fleet, operation, watched, &expected).await;
}

macro_rules! killed {
    ($($name:ident: $broker:ident $victim:ident $step:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            killed_in_mid_move(Kind::$broker, Victim::$victim, Step::$step).await;
        }
    )*};
}

killed! {
    source_killed_when_it_asks: Mosquitto Source Prepare;
    source_killed_when_the_target_answers: Mosquitto Source Want;
    source_killed_while_the_module_is_sent: Mosquitto Source Module;
    source_killed_while_memory_is_sent: Mosquitto Source Base;
    source_killed_when_it_has_committed: Mosquitto Source Commit;
    source_killed_when_the_target_has_adopted: Mosquitto Source Adopted;
    source_killed_when_it_has_committed_embedded: Embedded Source Commit;

    target_killed_when_it_is_asked: Mosquitto Target Prepare;
    target_killed_when_it_answers: Mosquitto Target Want;
    target_killed_while_the_module_is_sent: Mosquitto Target Module;
    target_killed_while_memory_is_sent: Mosquitto Target Base;
    target_killed_when_the_source_has_committed: Mosquitto Target Commit;
    target_killed_when_it_has_adopted: Mosquitto Target Adopted;
    target_killed_when_the_source_has_committed_embedded: Embedded Target Commit;

    broker_killed_when_the_source_asks: Mosquitto Broker Prepare;
    broker_killed_when_the_target_answers: Mosquitto Broker Want;
    broker_killed_while_the_module_is_sent: Mosquitto Broker Module;
    broker_killed_while_memory_is_sent: Mosquitto Broker Base;
    broker_killed_when_the_source_has_committed: Mosquitto Broker Commit;
    broker_killed_when_the_target_has_adopted: Mosquitto Broker Adopted;
    broker_stopped_when_the_source_has_committed_embedded: Embedded Broker Commit;
}
