//! What one engine does with programs, over the wire.

mod common;

use common::{Broker, on, sample};
use wayfare_protocol::command::{Action, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{Generation, OperationId, ProgramId};
use wayfare_protocol::limits::{FOLLOW_LEASE_MS, LOG_WINDOW_LINES};
use wayfare_protocol::log::Follower;
use wayfare_protocol::status::{EngineState, ProgramState};
use wayfare_protocol::topics::Topic;
use wayfare_protocol::wire;

#[tokio::test]
async fn every_sample_runs_and_prints_what_it_should() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    client.until_online(&engine).await;
    for sample in wayfare_samples::ALL {
        let mut spec = client.spec(sample.wasm, sample.quick_args);
        spec.stdin = sample.stdin.map(|stdin| client.add_blob(stdin));
        let program = client.run_spec(&engine, spec).await;
        let ended = client.until_ended(program).await;
        assert_eq!(ended, ProgramState::Exited { code: 0 }, "{}", sample.name);
        let lines = sample.quick_stdout.lines().count();
        client
            .until("all printed", |client| client.line_count(program) >= lines)
            .await;
        assert_eq!(client.output(program), sample.quick_stdout, "{}", sample.name);
    }
}

#[tokio::test]
async fn a_program_is_paused_resumed_and_killed() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    let program = client
        .run(&engine, sample("counter").wasm, &["100000", "20", "64"])
        .await;
    client
        .until("it prints", |client| client.line_count(program) > 3)
        .await;
    assert_eq!(
        client.done(&engine, Action::Pause { on: on(program) }).await,
        Outcome::Paused { program }
    );
    client
        .until("paused", |client| {
            client.state(program) == Some(&ProgramState::Paused)
        })
        .await;
    let stale = Target {
        program,
        generation: Some(Generation(9)),
    };
    match client.ask(&engine, Action::Kill { on: stale }).await {
        EventBody::Failed {
            failure: Failure::StaleGeneration { actual, .. },
        } => {
            assert_eq!(actual, Generation::FIRST);
        }
        other => panic!("{other:?}"),
    }
    let before = client.line_count(program);
    let resume = Action::Resume {
        on: on(program),
        force: false,
    };
    assert_eq!(client.done(&engine, resume).await, Outcome::Resumed { program });
    client
        .until("it goes on", |client| client.line_count(program) > before + 3)
        .await;
    let outcome = client
        .done(
            &engine,
            Action::Logs {
                on: on(program),
                since: 2,
                follower: None,
            },
        )
        .await;
    let Outcome::Logs { lines, next } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(lines[0].line, 2);
    assert_eq!(lines.last().unwrap().line + 1, next);
    assert_eq!(
        client.done(&engine, Action::Kill { on: on(program) }).await,
        Outcome::Killed { program }
    );
    client
        .until("forgotten", |client| client.state(program).is_none())
        .await;
}

/// Prints 6,000 empty lines, and ends.
const CHATTERBOX: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (data (i32.const 16) "\n")
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const 6000))
    (loop $more
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#;

#[tokio::test]
async fn a_followed_program_waits_until_its_lines_are_received_and_can_be_captured_meanwhile() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    client.until_online(&engine).await;
    let spec = client.spec(&wat::parse_str(CHATTERBOX).unwrap(), &[]);
    let (program, id) = (ProgramId::random(), OperationId::random());
    let follower = |received_below, lease_ms| Follower {
        id,
        received_below,
        lease_ms,
    };
    let run = Action::Run {
        program,
        spec,
        snapshot: None,
        generation: None,
        follower: Some(Box::new(follower(0, FOLLOW_LEASE_MS))),
    };
    client.done(&engine, run).await;
    let window = LOG_WINDOW_LINES as usize;
    client
        .until("all that it may print", |client| {
            client.line_count(program) == window
        })
        .await;
    let logs = |since, follower| Action::Logs {
        on: on(program),
        since,
        follower: Some(follower),
    };
    // The broker has had all lines, and they are kept all the same.
    let Outcome::Logs { lines, next } = client.done(&engine, logs(0, follower(0, FOLLOW_LEASE_MS))).await
    else {
        panic!("no logs")
    };
    assert_eq!((lines[0].line, next), (0, LOG_WINDOW_LINES));
    // It can be stopped where it waits, and goes on from there.
    client.done(&engine, Action::Pause { on: on(program) }).await;
    let resume = Action::Resume {
        on: on(program),
        force: false,
    };
    client.done(&engine, resume).await;

    client
        .done(&engine, logs(u64::MAX, follower(1000, FOLLOW_LEASE_MS)))
        .await;
    client
        .until("as many more", |client| {
            client.line_count(program) == window + 1000
        })
        .await;
    assert_eq!(client.state(program), Some(&ProgramState::Running));
    // Whoever follows no more holds nobody up.
    client.done(&engine, logs(u64::MAX, follower(1000, 0))).await;
    assert_eq!(
        client.until_ended(program).await,
        ProgramState::Exited { code: 0 }
    );
    client
        .until("all printed", |client| client.line_count(program) == 6000)
        .await;
}

#[tokio::test]
async fn bad_modules_and_unknown_programs_get_a_clear_answer() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    let foreign =
        wat::parse_str(r#"(module (import "nobody" "offers" (func)) (func (export "_start")))"#).unwrap();
    let whole = sample("fib").wasm;
    for (wasm, words) in [
        (&b"#!/bin/sh"[..], "WebAssembly"),
        (&whole[..whole.len() / 2], ""),
        (&foreign, "offers"),
    ] {
        let spec = client.spec(wasm, &[]);
        let program = ProgramId::random();
        let action = Action::Run {
            program,
            spec,
            snapshot: None,
            generation: None,
            follower: None,
        };
        match client.ask(&engine, action).await {
            EventBody::Failed {
                failure: failure @ Failure::Module { .. },
            } => {
                assert!(failure.to_string().contains(words), "{failure}");
            }
            other => panic!("{other:?}"),
        }
    }
    let program = ProgramId::random();
    match client.ask(&engine, Action::Pause { on: on(program) }).await {
        EventBody::Failed {
            failure: Failure::UnknownProgram { .. },
        } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_sent_twice_runs_one_program_and_is_answered_twice() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    let spec = client.spec(sample("counter").wasm, &["100000", "10", "1"]);
    let command = client.command_for(Action::Run {
        program: ProgramId::random(),
        spec,
        snapshot: None,
        generation: None,
        follower: None,
    });
    client.send(&engine.id, &command).await;
    client.send(&engine.id, &command).await;
    let first = client.ask_with(&engine, &command).await;
    assert!(matches!(first, EventBody::Done { .. }), "{first:?}");
    client.said.clear();
    assert_eq!(client.ask_with(&engine, &command).await, first);
    client.until_online(&engine).await;
    client
        .until("one program", |client| {
            client.engines[&engine.id].programs.len() == 1
        })
        .await;
}

#[tokio::test]
async fn a_copy_that_another_engine_has_overtaken_ends() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    let program = client
        .run(&engine, sample("counter").wasm, &["100000", "10", "1"])
        .await;
    let id = engine.id.clone();
    client
        .until("it runs, and the engine's status has it", |client| {
            client.state(program) == Some(&ProgramState::Running)
                && client
                    .engines
                    .get(&id)
                    .is_some_and(|engine| engine.programs.len() == 1)
        })
        .await;
    let mut newer = client.programs[&program].clone();
    newer.engine = "elsewhere".parse().unwrap();
    newer.generation = newer.generation.next();
    client
        .publish_retained(&Topic::ProgramStatus(program), wire::encode(&newer))
        .await;
    client
        .until("given up", |client| client.engines[&id].programs.is_empty())
        .await;
    match client.ask(&engine, Action::Pause { on: on(program) }).await {
        EventBody::Failed {
            failure: Failure::UnknownProgram { .. },
        } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn malformed_commands_are_answered_where_they_can_be() {
    let broker = Broker::start().await;
    let engine = broker.engine("a");
    let mut client = broker.client().await;
    client.until_online(&engine).await;
    let to = Topic::EngineCommand(engine.id.clone());
    for noise in [&b""[..], b"{}", b"\xff\xfe", &[b'['; 100_000]] {
        client.publish(&to, noise.to_vec()).await;
    }
    let operation = wayfare_protocol::ids::OperationId::random();
    let name = client.name.clone();
    let later = format!(r#"{{"operation":"{operation}","client":"{name}","action":{{"do":"fly"}}}}"#);
    client.publish(&to, later.into_bytes()).await;
    client
        .until("refused", |client| client.answer(operation).is_some())
        .await;
    let answer = client.answer(operation).unwrap();
    assert!(
        matches!(
            answer,
            EventBody::Failed {
                failure: Failure::BadRequest { .. }
            }
        ),
        "{answer:?}"
    );
}

/// Restarted, with its cache whole and with a damaged one.
#[tokio::test]
async fn what_was_compiled_once_is_not_compiled_again() {
    const FOUND: &str = "compiled code found in the cache";
    const DAMAGED: &str = "cached code removed";
    let broker = Broker::start().await;
    let mut engine = broker.engine("a");
    let mut client = broker.client().await;
    let sample = sample("fib");
    for (found, damaged) in [(0, 0), (1, 0), (1, 1), (2, 1)] {
        client.until_online(&engine).await;
        let program = client.run(&engine, sample.wasm, sample.quick_args).await;
        let ended = client.until_ended(program).await;
        assert_eq!(ended, ProgramState::Exited { code: 0 });
        let lines = sample.quick_stdout.lines().count();
        client
            .until("all printed", |client| client.line_count(program) >= lines)
            .await;
        assert_eq!(client.output(program), sample.quick_stdout);
        assert_eq!(engine.log().matches(FOUND).count(), found);
        assert_eq!(engine.log().matches(DAMAGED).count(), damaged);
        assert_eq!(engine.terminate(), Some(0));
        let files = std::fs::read_dir(engine.data().join("compiled")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        if (found, damaged) == (1, 0) {
            let bytes = std::fs::read(&files[0]).unwrap();
            std::fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
        }
        engine.restart();
    }
}

#[tokio::test]
async fn engines_say_when_they_go_and_the_broker_says_when_they_are_gone() {
    let broker = Broker::start().await;
    let mut engine = broker.engine("a");
    let mut client = broker.client().await;
    client.until_online(&engine).await;
    let about = client.engines[&engine.id].about.clone().unwrap();
    assert!(about.compiles && about.memory_bytes > 0);
    let id = engine.id.clone();
    assert_eq!(engine.terminate(), Some(0));
    client
        .until("offline", |client| {
            client.engine_state(&id) == Some(EngineState::Offline)
        })
        .await;
    engine.restart();
    client.until_online(&engine).await;
    engine.kill();
    client
        .until("offline", |client| {
            client.engine_state(&id) == Some(EngineState::Offline)
        })
        .await;
}
