//! Engines that crash, and engines that are stopped: their programs go on from what was stored last.

use std::collections::BTreeMap;

use wayfare_dispatcher::{CommandOptions, ResumeMode};
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::done;
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;

use crate::fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_a_crashed_engine_go_on_from_their_last_snapshot() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .start()
        .await;
    let jobs = [
        Job::counter(250, 20, 256),
        Job::sample("primes", &["4000000"]),
        Job::wordfreq(1),
        Job::counter(60, 20, 64).named("paused"),
    ];
    let mut all = Vec::new();
    for job in jobs {
        let expected = fleet.expected(&job, "a").await;
        all.push((fleet.run(&job, "a").await, expected));
    }
    let (counter, paused) = (&all[0].0, &all[3].0);
    let (paused_id, options) = (paused.id(), CommandOptions::default());
    paused.printed(5).await;
    done(fleet.dispatcher.pause(&paused_id, &options).await).await;
    // Past the first checkpoint; then before any.
    for lines in [80, 90] {
        counter.printed(lines).await;
        fleet.start_again(&["a"]).await;
    }
    assert_eq!(fleet.settled(paused.program).await.1, ProgramState::Paused);
    let resumed = fleet
        .dispatcher
        .resume(&paused_id, ResumeMode::Normal, &options)
        .await;
    done(resumed).await;
    for (watched, expected) in all {
        watched.must_print(&expected).await;
    }
    fleet.spy.check_history();
}

/// No line is computed twice: it would carry another time of day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_a_stopped_engine_go_on_exactly_where_they_were() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "0"])
        .start()
        .await;
    let job = Job::counter(150, 20, 256);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    let program = watched.program;
    for lines in [10, 60] {
        watched.printed(lines).await;
        fleet.engine("a").stop().await;
        fleet.all_online().await;
        fleet.start_again(&["a"]).await;
    }
    watched.must_print(&expected).await;
    let mut printed_at = BTreeMap::new();
    fleet.spy.with(|all| {
        for heard in all {
            if let Heard::Log(batch) = heard
                && batch.program == program
            {
                for line in &batch.lines {
                    let first = printed_at.entry(line.line).or_insert(line.at_ms);
                    assert_eq!(*first, line.at_ms, "line {} was computed twice", line.line);
                }
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_moved_away_does_not_come_back_with_its_old_engine() {
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &["--checkpoint", "1"]);
    let mut fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    // Long enough for a checkpoint to be there that could come back.
    watched.printed(70).await;
    fleet.moves(watched.program, "b").await;
    fleet.start_again(&["a"]).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "b");
    fleet.start_again(&["b"]).await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "b");
}

/// As after a power cut: everybody loses everything that is not on a disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_site_that_lost_power_goes_on() {
    let setup = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .engine("b", &["--checkpoint", "1"]);
    let mut fleet = setup.start().await;
    let job = Job::endless(64);
    let expected = fleet.expected(&job, "a").await;
    let (first, second) = (fleet.run(&job, "a").await, fleet.run(&job, "a").await);
    first.printed(70).await;
    fleet.moves(second.program, "b").await;
    let operation = fleet.start_move(first.program, "b").await.expect("it is there");
    for engine in ["a", "b"] {
        fleet.engine(engine).kill();
    }
    fleet.broker.kill().await;
    fleet.broker.start_again().await;
    fleet.start_again(&["b", "a"]).await;
    // Done or not: the answer is what the program does.
    let moved = wayfare_tests::within("the move's answer", operation.wait())
        .await
        .is_ok();
    let runs_on = fleet.runs_once(&first, &expected).await;
    assert_eq!(runs_on, if moved { "b" } else { "a" });
    assert_eq!(fleet.runs_once(&second, &expected).await, "b");
}
