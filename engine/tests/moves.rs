//! Programs that move between engines, over the wire.

mod common;

use common::{Broker, Client, Engine, on, sample};
use wayfare_protocol::command::Action;
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{EventBody, MoveReport, Outcome};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::ProgramState;

const COUNTER: &[&str] = &["120", "10", "64"];
/// Lives long enough to be caught several times on a machine that has other things to do.
const LONG_COUNTER: &[&str] = &["600", "10", "64"];

/// Has the module compiled on `engine`, which on a busy machine takes longer than the program that is to move
/// there.
async fn warm(client: &mut Client, engine: &Engine) {
    client
        .loads(engine, sample("counter").wasm, &["1000000", "10", "64"])
        .await;
}

async fn move_to(client: &mut Client, program: ProgramId, from: &Engine, to: &Engine) -> MoveReport {
    let action = Action::Move {
        on: on(program),
        target: to.id.clone(),
    };
    match client.done(from, action).await {
        Outcome::Moved { report, target, .. } => {
            assert_eq!(target, to.id);
            report
        }
        other => panic!("{other:?}"),
    }
}

/// What the program prints when nobody moves it.
async fn unmoved(client: &mut Client, engine: &Engine, wasm: &[u8], args: &[&str]) -> String {
    let program = client.run(engine, wasm, args).await;
    assert_eq!(
        client.until_ended(program).await,
        ProgramState::Exited { code: 0 }
    );
    client.until_published(program, engine).await;
    client.output(program)
}

#[tokio::test]
async fn a_program_moved_there_and_back_prints_what_an_unmoved_one_prints() {
    let broker = Broker::start().await;
    let (a, b) = (broker.engine("a"), broker.engine("b"));
    let mut client = broker.client().await;
    let wasm = sample("counter").wasm;
    warm(&mut client, &a).await;
    warm(&mut client, &b).await;
    let expected = unmoved(&mut client, &a, wasm, LONG_COUNTER).await;
    let program = client.run(&a, wasm, LONG_COUNTER).await;
    for (turn, (from, to)) in [(&a, &b), (&b, &a), (&a, &b)].into_iter().enumerate() {
        client
            .until("it prints", |client| client.line_count(program) > 10 * (turn + 1))
            .await;
        move_to(&mut client, program, from, to).await;
    }
    assert_eq!(
        client.until_ended(program).await,
        ProgramState::Exited { code: 0 }
    );
    client.until_published(program, &b).await;
    assert_eq!(client.output(program), expected);
    assert_eq!(client.programs[&program].engine, b.id);
}

#[tokio::test]
async fn a_program_that_reads_its_input_moves_in_mid_file() {
    let broker = Broker::start().await;
    let (a, b) = (broker.engine("a"), broker.engine("b"));
    let mut client = broker.client().await;
    client.until_online(&b).await;
    let sample = sample("wordfreq");
    let mut spec = client.spec(sample.wasm, sample.quick_args);
    spec.stdin = sample.stdin.map(|stdin| client.add_blob(stdin));
    let program = client.run_spec(&a, spec).await;
    let action = Action::Move {
        on: on(program),
        target: b.id.clone(),
    };
    // It may be done before it is caught: then it must say so, and have printed everything.
    match client.ask(&a, action).await {
        EventBody::Done {
            outcome: Outcome::Moved { .. },
        } => {}
        EventBody::Failed {
            failure: Failure::Ended { .. } | Failure::WrongState { .. },
        } => {}
        other => panic!("{other:?}"),
    }
    client.until_ended(program).await;
    let lines = sample.quick_stdout.lines().count();
    client
        .until("all printed", |client| client.line_count(program) >= lines)
        .await;
    assert_eq!(client.output(program), sample.quick_stdout);
}

#[tokio::test]
async fn a_copy_runs_elsewhere_and_the_original_runs_on() {
    let broker = Broker::start().await;
    let (a, b) = (broker.engine("a"), broker.engine("b"));
    let mut client = broker.client().await;
    warm(&mut client, &a).await;
    warm(&mut client, &b).await;
    let program = client.run(&a, sample("counter").wasm, LONG_COUNTER).await;
    client
        .until("it prints", |client| client.line_count(program) > 10)
        .await;
    let copy = ProgramId::random();
    let spawn = Action::Spawn {
        on: on(program),
        target: b.id.clone(),
        copy,
        copy_name: "copy".into(),
    };
    match client.done(&a, spawn).await {
        Outcome::Spawned { copy: made, target } => assert_eq!((made, target), (copy, b.id.clone())),
        other => panic!("{other:?}"),
    }
    client.until_ended(program).await;
    client.until_ended(copy).await;
    client.until_published(program, &a).await;
    client.until_published(copy, &b).await;
    let output = client.output(program);
    let last = output.lines().last().unwrap();
    let copied = client.lines[&copy].last_key_value().unwrap().1;
    assert_eq!(copied.text.as_bytes(), last.as_bytes());
}

#[tokio::test]
async fn a_target_that_is_not_there_leaves_the_program_running_where_it_was() {
    let broker = Broker::start().await;
    let a = broker.engine("a");
    let mut client = broker.client().await;
    let program = client
        .run(&a, sample("counter").wasm, &["100000", "10", "64"])
        .await;
    let mut command = client.command_for(Action::Move {
        on: on(program),
        target: "nobody".parse().unwrap(),
    });
    command.time_limit_ms = 500;
    match client.ask_with(&a, &command).await {
        EventBody::Failed {
            failure: Failure::Silent { .. },
        } => {}
        other => panic!("{other:?}"),
    }
    let before = client.line_count(program);
    client
        .until("it goes on", |client| client.line_count(program) > before + 3)
        .await;
}

#[tokio::test]
async fn a_source_killed_while_it_moves_a_program_leaves_exactly_one() {
    let broker = Broker::start().await;
    let (mut a, b) = (broker.engine("a"), broker.engine("b"));
    let mut client = broker.client().await;
    let wasm = sample("counter").wasm;
    let expected = unmoved(&mut client, &a, wasm, COUNTER).await;
    warm(&mut client, &a).await;
    warm(&mut client, &b).await;
    for wait_ms in [0, 1, 2, 4, 8, 16, 32] {
        let program = client.run(&a, wasm, COUNTER).await;
        client
            .until("it prints", |client| client.line_count(program) > 5)
            .await;
        let command = client.command_for(Action::Move {
            on: on(program),
            target: b.id.clone(),
        });
        client.send(&a.id, &command).await;
        client
            .wait_for(std::time::Duration::from_millis(wait_ms), |_| None::<()>)
            .await;
        a.kill();
        a.restart();
        // Accepted or not, the command sent again is answered, and the program ends where it is then.
        client.ask_with(&a, &command).await;
        assert_eq!(
            client.until_ended(program).await,
            ProgramState::Exited { code: 0 },
            "after {wait_ms} ms"
        );
        let lines = expected.lines().count();
        client
            .until("all printed", |client| client.line_count(program) >= lines)
            .await;
        assert_eq!(client.output(program), expected, "after {wait_ms} ms");
    }
}
