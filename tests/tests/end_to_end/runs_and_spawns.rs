//! Killed while a program is being started or copied: the answer is true, and there is one of it, or none.

use wayfare_client::{CommandOptions, Operation, Order};
use wayfare_protocol::event::{EventBody, Outcome, Phase};
use wayfare_protocol::ids::{Digest, OperationId};
use wayfare_protocol::peer::PeerMessage;
use wayfare_tests::broker::Kind;
use wayfare_tests::job::Job;
use wayfare_tests::spy::{Heard, Spy};
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::faults::{Step, Victim};
use crate::fleet;

async fn killed_in_mid_spawn(broker: Kind, victim: Victim, step: Step) {
    let setup = fleet(broker)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &["--checkpoint", "1"]);
    let mut fleet = setup.start().await;
    let job = Job::endless(128);
    let expected = fleet.expected(&job, "a").await;
    let original = fleet.run(&job, "a").await;
    original.printed(5).await;
    let (mark, options) = (fleet.spy.mark(), CommandOptions::default());
    let spawned = fleet
        .client
        .apply(Order::spawn(&original.id(), "b", Some("copy".into())), &options)
        .await;
    let operation = spawned.expect("both engines are there");
    let (id, module) = (operation.id(), Digest::of(&job.module));
    let is_step = |heard: &Heard| step.is(heard, id, module).then_some(());
    fleet.spy.hears(&format!("{step:?}"), mark, is_step).await;
    let copy = fleet
        .spy
        .hears("Prepare", mark, |heard| prepared(heard, id))
        .await;
    victim.dies_and_returns(&mut fleet).await;
    match within("the spawn's final answer", operation.wait())
        .await
        .map(|finished| finished.outcome)
    {
        Ok(Outcome::Spawned { copy: said, .. }) => {
            assert_eq!(said, copy);
            let copied = Watched::follow(&fleet.client, copy).await;
            assert_eq!(fleet.runs_once(&copied, &expected).await, "b");
            fleet.kills(copied).await;
        }
        Ok(other) => panic!("a spawn was answered with {other:?}"),
        Err(error) => {
            eprintln!("{victim:?} killed at {step:?}: the spawn failed: {error}");
            assert_eq!(
                fleet.spy.with(|all| Spy::owners(all, copy)),
                [],
                "the answer was not true"
            );
            fleet.gone(copy).await;
        }
    }
    assert_eq!(fleet.runs_once(&original, &expected).await, "a");
    fleet.kills(original).await;
}

fn prepared(heard: &Heard, operation: OperationId) -> Option<wayfare_protocol::ids::ProgramId> {
    match heard {
        Heard::Peer { envelope, .. } if envelope.operation == operation => match &envelope.message {
            PeerMessage::Prepare { program, .. } => Some(*program),
            _ => None,
        },
        _ => None,
    }
}

/// A step of a run, as the broker sees it.
#[derive(Debug, Clone, Copy)]
enum Begun {
    Accepted,
    /// The module is on its way from the client.
    Module,
    Compiling,
}

impl Begun {
    fn is(self, heard: &Heard, operation: OperationId) -> bool {
        match heard {
            Heard::Reply { event, .. } if event.operation == operation => match (&event.body, self) {
                (EventBody::Accepted, Self::Accepted) => true,
                (EventBody::Progress { phase, .. }, Self::Compiling) => *phase == Phase::Compile,
                _ => false,
            },
            Heard::Peer { envelope, .. } if envelope.operation == operation => {
                matches!(
                    (&envelope.message, self),
                    (PeerMessage::Chunk { .. }, Self::Module)
                )
            }
            _ => false,
        }
    }
}

async fn killed_in_mid_run(victim: Victim, step: Begun) {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &[])
        .start()
        .await;
    let job = Job::endless(128);
    let expected = fleet.expected(&job, "b").await;
    let run = fleet.apply(Order::run(job.order("a"))).await;
    let operation: Operation = run.expect("it is there");
    let id = operation.id();
    let is_step = |heard: &Heard| step.is(heard, id).then_some(());
    fleet.spy.hears(&format!("{step:?}"), 0, is_step).await;
    victim.dies_and_returns(&mut fleet).await;
    let answer = within("the run's final answer", operation.wait()).await;
    let Ok(Outcome::Running { program, .. }) = answer.map(|finished| finished.outcome) else {
        panic!("the client was there to give it all again");
    };
    let watched = Watched::follow(&fleet.client, program).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
    fleet.kills(watched).await;
}

macro_rules! killed {
    ($($name:ident: $scene:ident($($argument:expr),*);)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $scene($($argument),*).await;
        }
    )*};
}

killed! {
    source_of_a_copy_killed_while_the_module_is_sent: killed_in_mid_spawn(Kind::Mosquitto, Victim::Source, Step::Module);
    source_of_a_copy_killed_when_it_has_committed: killed_in_mid_spawn(Kind::Mosquitto, Victim::Source, Step::Commit);
    source_of_a_copy_killed_when_it_was_adopted: killed_in_mid_spawn(Kind::Mosquitto, Victim::Source, Step::Adopted);
    target_of_a_copy_killed_while_the_module_is_sent: killed_in_mid_spawn(Kind::Mosquitto, Victim::Target, Step::Module);
    target_of_a_copy_killed_when_the_source_has_committed: killed_in_mid_spawn(Kind::Mosquitto, Victim::Target, Step::Commit);
    target_of_a_copy_killed_when_it_has_adopted: killed_in_mid_spawn(Kind::Mosquitto, Victim::Target, Step::Adopted);
    broker_killed_in_mid_copy: killed_in_mid_spawn(Kind::Mosquitto, Victim::Broker, Step::Commit);
    broker_stopped_in_mid_copy_embedded: killed_in_mid_spawn(Kind::Embedded, Victim::Broker, Step::Base);

    engine_killed_when_it_has_accepted_a_run: killed_in_mid_run(Victim::Source, Begun::Accepted);
    engine_killed_while_a_module_comes: killed_in_mid_run(Victim::Source, Begun::Module);
    engine_killed_while_it_compiles: killed_in_mid_run(Victim::Source, Begun::Compiling);
    broker_killed_while_a_module_comes: killed_in_mid_run(Victim::Broker, Begun::Module);
}
