//! Commands sent more than once do once what they do, and are answered the same each time; across a crash
//! too.

use wayfare_protocol::command::{Action, Command, ProgramSpec, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{Blob, OperationId, ProgramId};
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::job::Job;
use wayfare_tests::spy::{Heard, name};
use wayfare_tests::watched::Watched;

use crate::fleet;

fn command(action: Action) -> Command {
    Command {
        operation: OperationId::random(),
        client: name("somebody"),
        time_limit_ms: 30_000,
        term: None,
        boot: None,
        action,
    }
}

fn on(program: ProgramId) -> Target {
    Target {
        program,
        generation: None,
    }
}

fn final_answers(fleet: &Fleet, operation: OperationId) -> Vec<EventBody> {
    fleet.spy.with(|all| {
        let answers = all.iter().filter_map(|heard| match heard {
            Heard::Reply { event, .. } if event.operation == operation && event.body.is_final() => {
                Some(event.body.clone())
            }
            _ => None,
        });
        answers.collect()
    })
}

/// Sends it twice in a row, and once more when it has been answered. All final answers must be the same.
async fn thrice(fleet: &Fleet, engine: &str, action: Action) -> Outcome {
    let command = command(action);
    tokio::join!(fleet.spy.send(engine, &command), fleet.spy.send(engine, &command));
    fleet.spy.answer(command.operation, 0).await;
    let so_far = final_answers(fleet, command.operation).len();
    fleet.spy.send(engine, &command).await;
    fleet.spy.answer(command.operation, so_far).await;
    same_answers(fleet, &command)
}

fn same_answers(fleet: &Fleet, command: &Command) -> Outcome {
    let answers = final_answers(fleet, command.operation);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    match answers.into_iter().next() {
        Some(EventBody::Done { outcome }) => outcome,
        other => panic!("{} was answered with {other:?}", command.action.verb()),
    }
}

/// The spec of a program from a module that the engine has already.
fn spec(job: &Job) -> ProgramSpec {
    ProgramSpec {
        name: job.name.clone(),
        module: Blob::of(&job.module),
        args: job.args.clone(),
        env: [].into(),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    }
}

async fn every_command_thrice(broker: Kind) {
    let fleet = fleet(broker).engines(&["a", "b"]).start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a"]).await;
    let program = ProgramId::random();
    let run = Action::Run {
        program,
        spec: spec(&job),
        snapshot: None,
        generation: None,
        follower: None,
    };
    assert!(matches!(thrice(&fleet, "a", run).await, Outcome::Running { .. }));
    let watched = Watched::follow(&fleet.client, program).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");

    let on = on(program);
    let to_b = Action::Move {
        on,
        target: name("b"),
    };
    assert!(matches!(thrice(&fleet, "a", to_b).await, Outcome::Moved { .. }));
    assert_eq!(fleet.runs_once(&watched, &expected).await, "b");

    let copy = ProgramId::random();
    let spawn = Action::Spawn {
        on,
        target: name("a"),
        copy,
        copy_name: "copy".into(),
    };
    assert!(matches!(
        thrice(&fleet, "b", spawn).await,
        Outcome::Spawned { .. }
    ));
    let copied = Watched::follow(&fleet.client, copy).await;
    assert_eq!(fleet.runs_once(&copied, &expected).await, "a");

    assert!(matches!(
        thrice(&fleet, "b", Action::Pause { on }).await,
        Outcome::Paused { .. }
    ));
    assert_eq!(fleet.settled(program).await.1, ProgramState::Paused);
    let resume = Action::Resume { on, force: false };
    assert!(matches!(
        thrice(&fleet, "b", resume).await,
        Outcome::Resumed { .. }
    ));
    assert!(matches!(
        thrice(&fleet, "b", Action::Snapshot { on }).await,
        Outcome::Captured { .. }
    ));
    assert_eq!(fleet.runs_once(&watched, &expected).await, "b");
    assert!(matches!(
        thrice(&fleet, "b", Action::Kill { on }).await,
        Outcome::Killed { .. }
    ));
    fleet.gone(program).await;
    assert_eq!(fleet.runs_once(&copied, &expected).await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_sent_thrice_is_done_once() {
    every_command_thrice(Kind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_sent_thrice_is_done_once_on_the_embedded_broker() {
    every_command_thrice(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_s_id_is_good_for_one_command() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    let pause = command(Action::Pause {
        on: on(watched.program),
    });
    let kill = Command {
        action: Action::Kill {
            on: on(watched.program),
        },
        ..pause.clone()
    };
    let resume = command(Action::Resume {
        on: on(watched.program),
        force: false,
    });
    fleet.spy.send("a", &pause).await;
    fleet.spy.answer(pause.operation, 0).await;
    fleet.spy.send("a", &kill).await;
    let answer = fleet.spy.answer(pause.operation, 1).await.body;
    assert!(matches!(answer, EventBody::Failed { .. }), "{answer:?}");
    fleet.spy.send("a", &resume).await;
    fleet.spy.answer(resume.operation, 0).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
}

/// Whoever has heard no answer says it again; the engine that carried it out has lost its disk meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_repeated_to_an_engine_that_has_lost_its_disk_is_not_carried_out_again() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let job = Job::endless(64);
    fleet.loads(&job, &["a"]).await;
    let watched = fleet.run(&job, "a").await;
    let program = watched.program;
    let is_run_of_it = |heard: &Heard| match heard {
        Heard::Command { command } if command.action.program() == program => Some(command.clone()),
        _ => None,
    };
    let ordered = fleet.spy.hears("the order to run it", 0, is_run_of_it).await;
    assert!(
        ordered.boot.is_some(),
        "a client says which process it knew of: {ordered:?}"
    );
    let order = Command {
        operation: OperationId::random(),
        client: name("somebody"),
        ..ordered.clone()
    };
    let other = |order: &Command| {
        let Action::Run { spec, .. } = &order.action else {
            panic!("{order:?}");
        };
        Action::Run {
            program: ProgramId::random(),
            spec: spec.clone(),
            snapshot: None,
            generation: None,
            follower: None,
        }
    };
    // A process that goes on with the folder of the one that was known takes it.
    fleet.engine("a").kill();
    fleet.start_again(&["a"]).await;
    let taken = Command {
        action: other(&order),
        ..order.clone()
    };
    fleet.spy.send("a", &taken).await;
    let answer = fleet.spy.answer(taken.operation, 0).await.body;
    assert!(matches!(answer, EventBody::Done { .. }), "{answer:?}");

    fleet.engine("a").lose_disk();
    fleet.start_again(&["a"]).await;
    // So that nothing is missing for it.
    fleet.loads(&job, &["a"]).await;
    for repeated in [&ordered, &taken] {
        let so_far = final_answers(&fleet, repeated.operation).len();
        fleet.spy.send("a", repeated).await;
        let answer = fleet.spy.answer(repeated.operation, so_far).await.body;
        let failure = match answer {
            EventBody::Failed { failure } => failure,
            other => panic!("{other:?}"),
        };
        assert!(matches!(failure, Failure::Forgotten { .. }), "{failure:?}");
        assert_eq!(fleet.engine("a").threads_of(repeated.action.program()), 0);
    }
    let anew = command(other(&order));
    fleet.spy.send("a", &anew).await;
    let answer = fleet.spy.answer(anew.operation, 0).await.body;
    assert!(matches!(answer, EventBody::Done { .. }), "{answer:?}");
}

/// An engine keeps what it accepted and what it answered, whatever happens to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_operations_survive_a_crash() {
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &[]);
    let mut fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a"]).await;
    let program = ProgramId::random();
    let run = command(Action::Run {
        program,
        spec: spec(&job),
        snapshot: None,
        generation: None,
        follower: None,
    });
    fleet.spy.send("a", &run).await;
    fleet.spy.answer(run.operation, 0).await;
    // Accepted, and not to be answered soon: nobody is there.
    let nowhere = command(Action::Move {
        on: on(program),
        target: name("nobody"),
    });
    let nowhere = Command {
        time_limit_ms: 5_000,
        term: None,
        boot: None,
        ..nowhere
    };
    fleet.spy.send("a", &nowhere).await;
    let accepted = |heard: &Heard| {
        matches!(heard, Heard::Reply { event, .. }
            if event.operation == nowhere.operation && event.body == EventBody::Accepted)
        .then_some(())
    };
    fleet.spy.hears("Accepted", 0, accepted).await;
    fleet.start_again(&["a"]).await;
    // What was answered is answered again, and not done again.
    fleet.spy.send("a", &run).await;
    fleet.spy.answer(run.operation, 1).await;
    assert!(matches!(same_answers(&fleet, &run), Outcome::Running { .. }));
    // What was not, still is.
    let answer = fleet.spy.answer(nowhere.operation, 0).await.body;
    assert!(matches!(answer, EventBody::Failed { .. }), "{answer:?}");
    let watched = Watched::follow(&fleet.client, program).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
    fleet.kills(watched).await;
}
