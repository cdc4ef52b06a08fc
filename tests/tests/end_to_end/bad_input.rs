//! Bad input gets a clear error, and a program that runs on the same engine does not notice.

use std::time::Duration;

use wayfare_client::{CommandError, CommandOptions, Order};
use wayfare_protocol::command::{Action, Command, ProgramSpec, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Blob, Digest, OperationId, ProgramId};
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, failed};
use wayfare_tests::job::Job;
use wayfare_tests::spy::name;
use wayfare_tests::watched::Watched;

use crate::fleet;

/// A program that runs while others are refused, and what it prints.
async fn bystander(fleet: &Fleet) -> (Watched, Vec<u8>) {
    counting(fleet, 150).await
}

/// A program that prints so many lines, 20 ms apart, and what it prints when nothing happens to it.
async fn counting(fleet: &Fleet, lines: u32) -> (Watched, Vec<u8>) {
    let job = Job::counter(lines, 20, 64);
    let expected = fleet.expected(&job, "a").await;
    (fleet.run(&job, "a").await, expected)
}

fn module(bytes: &[u8]) -> Job {
    Job {
        module: bytes.to_vec(),
        ..Job::sample("primes", &["1000"])
    }
}

async fn refused(fleet: &Fleet, job: &Job) -> String {
    let run = fleet.apply(Order::run(job.order("a"))).await;
    failed(run).await.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_sound_module_is_refused_with_a_reason() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let (bystander, expected) = bystander(&fleet).await;
    let primes = wayfare_samples::find("primes").unwrap().wasm;
    let mut flipped = primes.to_vec();
    flipped[primes.len() / 2] ^= 0xff;
    let nobodys_import = Job::text(
        "import",
        r#"(module (import "moon" "phase" (func (result i32))) (memory (export "memory") 1)
                   (func (export "_start")))"#,
    );
    let no_start = Job::text("no-start", r#"(module (memory (export "memory") 1))"#);
    for (job, says) in [
        (module(b"#!/bin/sh\necho hello\n"), "not a WebAssembly module"),
        (module(b""), "not a WebAssembly module"),
        (module(&primes[..6]), "truncated"),
        (module(&primes[..primes.len() / 2]), "cannot run"),
        (module(&primes[..primes.len() - 1]), "cannot run"),
        (module(b"\0asm\x01\0\0\0\x7fELF, or so"), "cannot run"),
        (nobodys_import, "'phase' from 'moon'"),
        (no_start, "_start"),
    ] {
        let error = refused(&fleet, &job).await;
        assert!(error.contains(says), "expected '{says}' in: {error}");
    }
    // Whatever one flipped byte means: it is refused or it runs, and nobody else suffers from it.
    let options = CommandOptions::default();
    if let Ok(operation) = fleet
        .client
        .apply(Order::run(module(&flipped).order("a")), &options)
        .await
    {
        let _ = operation.wait().await;
    }
    fleet.runs_once_to_its_end(bystander, &expected).await;
    let programs = fleet.client.programs().await.unwrap();
    let left: Vec<&str> = programs.iter().map(|view| view.status.name.as_str()).collect();
    assert!(
        !left.contains(&"import") && !left.contains(&"no-start"),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_of_200_megabytes_is_refused_before_a_byte_of_it_travels() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let mut large = b"\0asm\x01\0\0\0".to_vec();
    large.resize(200 << 20, 0);
    // It prints for longer than looking at so much takes on a busy machine.
    let (bystander, expected) = counting(&fleet, 400).await;
    let error = refused(&fleet, &module(&large)).await;
    assert_eq!(error, "module has 209715200 bytes, the limit is 67108864");
    // A client that does not look itself.
    let blob = Blob {
        digest: Digest::of(b"whatever"),
        bytes: 200 << 20,
    };
    let spec = ProgramSpec {
        name: "large".into(),
        module: blob,
        args: vec![],
        env: [].into(),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    };
    let command = command(Action::Run {
        program: ProgramId::random(),
        spec,
        snapshot: None,
        generation: None,
        follower: None,
    });
    fleet.spy.send("a", &command).await;
    let answer = fleet.spy.answer(command.operation, 0).await.body;
    let what = "module".to_owned();
    let failure = Failure::TooLarge {
        what,
        bytes: 200 << 20,
        bytes_max: 64 << 20,
    };
    assert_eq!(answer, EventBody::Failed { failure });
    fleet.runs_once_to_its_end(bystander, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_an_engine_that_nobody_knows_fails_and_changes_nothing() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let (watched, expected) = bystander(&fleet).await;
    let error = failed(fleet.start_move(watched.program, "pi-9").await).await;
    assert_eq!(error.to_string(), "no engine 'pi-9'; there are: a, b");
    let run = Job::counter(1, 0, 1).order("pi-9");
    let error = failed(fleet.apply(Order::run(run)).await).await;
    assert_eq!(error.to_string(), "no engine 'pi-9'; there are: a, b");
    // A client that does not look itself: the source asks in vain, and lets the program be.
    let failure = raw_move_fails(&fleet, &watched, "pi-9").await;
    assert!(
        matches!(&failure, Failure::Silent { peer, .. } if peer == "pi-9"),
        "{failure}"
    );
    assert_eq!(fleet.runs_once_to_its_end(watched, &expected).await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_an_engine_that_is_down_fails_and_changes_nothing() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    // An engine that seems to be offline is asked, and has some seconds to answer.
    let (watched, expected) = counting(&fleet, 450).await;
    fleet.engine("b").kill();
    // Nobody has noticed yet.
    let failure = raw_move_fails(&fleet, &watched, "b").await;
    assert!(
        matches!(&failure, Failure::Silent { peer, .. } if peer == "b"),
        "{failure}"
    );
    fleet.all_online().await;
    let error = failed(fleet.start_move(watched.program, "b").await).await;
    assert!(matches!(error, CommandError::EngineOffline { .. }), "{error}");
    assert_eq!(fleet.runs_once_to_its_end(watched, &expected).await, "a");
}

fn command(action: Action) -> Command {
    Command {
        operation: OperationId::random(),
        client: name("somebody"),
        time_limit_ms: 2_000,
        term: None,
        boot: None,
        action,
    }
}

async fn raw_move_fails(fleet: &Fleet, watched: &Watched, target: &str) -> Failure {
    let command = command(Action::Move {
        on: Target {
            program: watched.program,
            generation: None,
        },
        target: name(target),
    });
    fleet.spy.send("a", &command).await;
    let answer = fleet.spy.answer(command.operation, 0);
    match tokio::time::timeout(Duration::from_secs(20), answer).await {
        Ok(event) => match event.body {
            EventBody::Failed { failure } => failure,
            other => panic!("it should have failed: {other:?}"),
        },
        Err(_) => panic!("a limit of 2 s was not kept"),
    }
}

/// One function that calls another over and over, with numbers that live across each call: each call is a
/// place to be captured at. It takes seconds to compile, and hundreds of megabytes, and nothing tells that
/// beforehand.
fn bomb() -> Job {
    let calls = "(local.set 0 (i32.add (local.get 0) (call $g (local.get 0))))".repeat(20_000);
    let text = format!(
        "(module (memory (export \"memory\") 1)
          (func $g (param i32) (result i32)
            (if (local.get 0) (then (drop (call $g (i32.sub (local.get 0) (i32.const 1)))))) (local.get 0))
          (func $h (param i32) (result i32) (local i32 i64 i64 i64 i64 i64 i64 i64 i64) {calls} (local.get 0))
          (func (export \"_start\") (drop (call $h (i32.const 0)))))"
    );
    Job::text("bomb", &text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_takes_too_much_to_compile_costs_an_engine_nothing_but_a_refusal() {
    let fleet = fleet(Kind::Embedded)
        // The baseline tier takes such a module in one pass.
        .engine("a", &["--compiler-timeout", "1", "--tiered-compilation=false"])
        .start()
        .await;
    let loops = "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $l (br $l))))";
    let bystander = fleet.run(&Job::text("bystander", loops), "a").await;
    let refused = refused(&fleet, &bomb()).await;
    assert!(refused.contains("more than 1 s of processor time"), "{refused}");
    fleet.settled(bystander.program).await;
    fleet.kills(bystander).await;
}
