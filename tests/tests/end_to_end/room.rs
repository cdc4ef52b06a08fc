//! A target without room refuses, before or in mid-move, and the program runs on where it was.

use wayfare_client::{CommandError, CommandOptions, Order};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::Outcome;
use wayfare_protocol::peer::PeerMessage;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, failed};
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;

/// Why the target refused.
async fn refused(fleet: &Fleet, watched: &Watched, target: &str) -> Failure {
    match failed(fleet.start_move(watched.program, target).await).await {
        CommandError::Failed {
            failure: Failure::Refused { engine, failure },
            ..
        } if engine.as_str() == target => *failure,
        other => panic!("it failed otherwise: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_has_no_place_refuses_and_the_program_stays() {
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &[])
        .engine("b", &["--programs-max", "1"]);
    let fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let occupant = fleet.run(&job, "b").await;
    let watched = fleet.run(&job, "a").await;
    let failure = refused(&fleet, &watched, "b").await;
    assert!(matches!(failure, Failure::NoRoom { .. }), "{failure}");
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
    // With the place free again, it goes.
    fleet.kills(occupant).await;
    fleet.moves(watched.program, "b").await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_programs_that_race_for_the_last_place_one_gets_it() {
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &[])
        .engine("b", &["--programs-max", "1"]);
    let fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let both = [fleet.run(&job, "a").await, fleet.run(&job, "a").await];
    let to_b = |watched: &Watched| Order::Move {
        program: watched.id(),
        to: "b".into(),
    };
    let orders = both.iter().map(to_b).collect();
    let options = CommandOptions::default();
    let results = fleet.client.apply_actions(orders, &options);
    let results = within("two moves to be answered", results).await;
    let mut on_b = 0;
    for (watched, result) in both.iter().zip(&results) {
        let runs_on = fleet.runs_once(watched, &expected).await;
        match result {
            Ok(finished) => assert!(
                matches!(finished.outcome, Outcome::Moved { .. }) && runs_on == "b",
                "{finished:?}, and it runs on {runs_on}"
            ),
            Err(error) => assert_eq!(runs_on, "a", "{error}"),
        }
        on_b += usize::from(runs_on == "b");
    }
    assert_eq!(on_b, 1);
}

/// Every 20 ms a page of 64 KiB more, and a line.
const GROWING: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "grown\n")
  ;; A subscription to the monotonic clock, 20 ms from now.
  (data (i32.const 216) "\01\00\00\00")
  (data (i32.const 224) "\00\2d\31\01")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 100))
    (i32.store (i32.const 4) (i32.const 6))
    (loop $again
      (drop (memory.grow (i32.const 1)))
      ;; Touched, so that it counts.
      (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (memory.size))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (drop (call $poll_oneoff (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))
      (br $again))))
"#;

/// It fits when the target is asked, and has outgrown it when it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_outgrows_its_target_in_mid_move_stays() {
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &[])
        .engine("b", &["--memory-max", "1"]);
    let fleet = setup.start().await;
    let watched = fleet.run(&Job::text("growing", GROWING), "a").await;
    // 17 pages are more than 1 MiB. The source tells what it saw last, which is seconds old.
    watched.printed(20).await;
    let mark = fleet.spy.mark();
    let failure = refused(&fleet, &watched, "b").await;
    let asked_with = fleet.spy.with(|all| {
        all.iter().skip(mark).find_map(|heard| match heard {
            Heard::Peer { envelope, .. } => match &envelope.message {
                PeerMessage::Prepare { memory_bytes, .. } => Some(*memory_bytes),
                _ => None,
            },
            _ => None,
        })
    });
    eprintln!("asked with {asked_with:?} bytes: {failure}");
    let expected = "grown\n".repeat(10_000);
    assert_eq!(fleet.runs_once(&watched, expected.as_bytes()).await, "a");
    fleet.kills(watched).await;
}
