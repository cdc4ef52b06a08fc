//! What survives: crashes, stops in good order, damaged files, brokers that come and go.

mod common;

use std::time::Duration;

use common::{Broker, Client, Engine, on, only_file_in, sample};
use wayfare_protocol::command::Action;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::status::{EngineState, ProgramState};

const COUNTER: &[&str] = &["150", "10", "64"];
const ENDLESS: &[&str] = &["1000000", "10", "64"];

async fn run_counter(client: &mut Client, engine: &Engine) -> ProgramId {
    let program = client.run(engine, sample("counter").wasm, COUNTER).await;
    client
        .until("it prints", |client| client.line_count(program) > 5)
        .await;
    program
}

async fn whole_output(client: &mut Client, engine: &Engine, program: ProgramId) -> String {
    assert_eq!(
        client.until_ended(program).await,
        ProgramState::Exited { code: 0 }
    );
    client.until_published(program, engine).await;
    client.output(program)
}

#[tokio::test]
async fn killed_and_started_again_an_engine_has_its_programs_again() {
    let broker = Broker::start().await;
    let mut engine = broker.engine_with("a", &["--checkpoint", "1"]);
    let mut client = broker.client().await;
    client.loads(&engine, sample("counter").wasm, ENDLESS).await;
    let program = run_counter(&mut client, &engine).await;
    let expected = whole_output(&mut client, &engine, program).await;

    let running = run_counter(&mut client, &engine).await;
    let paused = run_counter(&mut client, &engine).await;
    client.done(&engine, Action::Pause { on: on(paused) }).await;
    // Long enough for a checkpoint, so that not everything is done again.
    client.wait_for(Duration::from_millis(1100), |_| None::<()>).await;
    let boot = client.engines[&engine.id].boot;
    engine.kill();
    engine.restart();
    client
        .until("a new boot", |client| client.engines[&engine.id].boot != boot)
        .await;
    client.until_online(&engine).await;
    assert_eq!(whole_output(&mut client, &engine, running).await, expected);
    client
        .until("still paused", |client| {
            client.state(paused) == Some(&ProgramState::Paused)
        })
        .await;
    let resume = Action::Resume {
        on: on(paused),
        force: false,
    };
    assert_eq!(
        client.done(&engine, resume).await,
        Outcome::Resumed { program: paused }
    );
    assert_eq!(whole_output(&mut client, &engine, paused).await, expected);
}

#[tokio::test]
async fn stopped_in_good_order_nothing_is_done_twice() {
    let broker = Broker::start().await;
    let mut engine = broker.engine_with("a", &["--checkpoint", "0"]);
    let mut client = broker.client().await;
    let program = run_counter(&mut client, &engine).await;
    assert_eq!(engine.terminate(), Some(0));
    let id = engine.id.clone();
    client
        .until("offline", |client| {
            client.engine_state(&id) == Some(EngineState::Offline)
        })
        .await;
    let before = client.line_count(program);
    client.lines.clear();
    engine.restart();
    client
        .until("it goes on", |client| client.line_count(program) > 0)
        .await;
    let (first, _) = client.lines[&program].first_key_value().unwrap();
    assert_eq!(*first, before as u64);
    assert_eq!(
        client.until_ended(program).await,
        ProgramState::Exited { code: 0 }
    );
}

#[tokio::test]
async fn logs_of_ended_programs_are_there_after_a_restart() {
    let broker = Broker::start().await;
    let mut engine = broker.engine("a");
    let mut client = broker.client().await;
    let program = run_counter(&mut client, &engine).await;
    let printed = whole_output(&mut client, &engine, program).await;
    engine.kill();
    engine.restart();
    let logs = Action::Logs {
        on: on(program),
        since: 0,
        follower: None,
    };
    match client.done(&engine, logs).await {
        Outcome::Logs { lines, next } => {
            let mut text = Vec::new();
            lines.iter().for_each(|line| line.write_to(&mut text));
            assert_eq!(String::from_utf8(text).unwrap(), printed);
            assert_eq!(next, lines.len() as u64);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_record_is_moved_aside_and_the_other_programs_run() {
    let broker = Broker::start().await;
    let mut engine = broker.engine("a");
    let mut client = broker.client().await;
    let damaged = run_counter(&mut client, &engine).await;
    let sound = run_counter(&mut client, &engine).await;
    engine.kill();
    let journal = engine.data().join("journal");
    let mut content = std::fs::read(&journal).unwrap();
    let key = format!("program {damaged}");
    let line = content
        .windows(key.len())
        .rposition(|part| part == key.as_bytes())
        .unwrap();
    content[line + 150] ^= 1;
    // And a crash in the middle of a write.
    content.extend_from_slice(b"program 0123456789abcdef");
    std::fs::write(&journal, content).unwrap();
    engine.restart();
    client.lines.remove(&sound);
    client
        .until("the sound one prints again", |client| {
            client.line_count(sound) > 5
        })
        .await;
    assert!(engine.log().contains("DAMAGED RECORD"));
    let aside = only_file_in(&engine.data().join("damaged"));
    assert!(String::from_utf8_lossy(&std::fs::read(aside).unwrap()).contains(&damaged.to_string()));
    let programs: Vec<ProgramId> = client.engines[&engine.id]
        .programs
        .iter()
        .map(|status| status.program)
        .collect();
    assert_eq!(programs, [sound]);
}

#[tokio::test]
async fn a_damaged_snapshot_fails_its_program_with_a_reason_and_no_other() {
    let broker = Broker::start().await;
    let mut engine = broker.engine("a");
    let mut client = broker.client().await;
    client.loads(&engine, sample("counter").wasm, ENDLESS).await;
    let sound = run_counter(&mut client, &engine).await;
    let paused = run_counter(&mut client, &engine).await;
    client.done(&engine, Action::Pause { on: on(paused) }).await;
    engine.kill();
    for entry in std::fs::read_dir(engine.data().join("blobs")).unwrap() {
        let path = entry.unwrap().path();
        let mut content = std::fs::read(&path).unwrap();
        if content.starts_with(b"WAYFSNAP") {
            let middle = content.len() / 2;
            content[middle] ^= 1;
            std::fs::write(&path, content).unwrap();
        }
    }
    engine.restart();
    match client.until_ended(paused).await {
        ProgramState::Failed { reason } => assert!(reason.contains("damaged"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.until_ended(sound).await, ProgramState::Exited { code: 0 });
}

#[tokio::test]
async fn programs_run_on_without_a_broker_and_nothing_they_print_is_lost() {
    let mut broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    let program = run_counter(&mut client, &engine).await;
    let Broker::Mosquitto(mosquitto) = &mut broker else {
        return;
    };
    mosquitto.kill();
    client.wait_for(Duration::from_millis(300), |_| None::<()>).await;
    mosquitto.restart().unwrap();
    assert_eq!(
        client.until_ended(program).await,
        ProgramState::Exited { code: 0 }
    );
    // What reached the broker before the client was there again, the client asks for, as every reader does.
    client.fetch_lines(&engine, program).await;
    let output = client.output(program);
    let again = run_counter(&mut client, &engine).await;
    assert_eq!(output, whole_output(&mut client, &engine, again).await);
}

#[tokio::test]
async fn what_an_ended_program_printed_without_a_broker_is_published_after_a_crash() {
    let Broker::Mosquitto(mut mosquitto) = Broker::start().await else {
        return;
    };
    let address = mosquitto.local_addr();
    let mut engine = Engine::start("a", address, &[]);
    let mut client = Client::connect(address).await;
    let program = client
        .run(&engine, sample("counter").wasm, &["30", "20", "1"])
        .await;
    mosquitto.kill();
    let tails = engine.data().join("tails");
    while !std::fs::read_dir(&tails).is_ok_and(|mut tails| tails.next().is_some()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    engine.kill();
    mosquitto.restart().unwrap();
    let mut client = Client::connect(address).await;
    engine.restart();
    client
        .until("ended", |client| client.state(program).is_some())
        .await;
    client.until_published(program, &engine).await;
    assert!(client.line_count(program) > 5);
}

#[tokio::test]
async fn an_engine_that_begins_without_a_broker_waits_for_it() {
    let Broker::Mosquitto(mut mosquitto) = Broker::start().await else {
        return;
    };
    let address = mosquitto.local_addr();
    mosquitto.kill();
    let engine = Engine::start("a", address, &[]);
    while !engine.log().contains("no broker yet") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mosquitto.restart().unwrap();
    let mut client = Client::connect(address).await;
    client.until_online(&engine).await;
}

#[test]
fn what_an_engine_cannot_begin_with_is_said_with_an_exit_code() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let first = Engine::start("a", nowhere, &[]);
    while !first.log().contains("engine begins") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = first.command().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("another engine uses"), "{error}");
    let bad = first.command().args(["--broker", "nonsense"]).output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
}
