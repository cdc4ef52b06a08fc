//! Engines that crash, and engines that are stopped: their programs go on from what was stored last. And a
//! dispatcher that has forgotten what there was.

use std::collections::BTreeMap;

use wayfare_client::app::ask::{AppStatus, Ask};
use wayfare_client::{CommandOptions, Order, ResumeMode};
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::job::Job;
use wayfare_tests::registry::Registry;
use wayfare_tests::spy::Heard;
use wayfare_tests::{WAIT_MAX, within};

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
        fleet.loads(&job, &["a"]).await;
        all.push((fleet.run(&job, "a").await, expected));
    }
    let (counter, paused) = (&all[0].0, &all[3].0);
    let (paused_id, options) = (paused.id(), CommandOptions::default());
    paused.printed(5).await;
    done(fleet.client.apply(Order::pause(&paused_id), &options).await).await;
    // Past the first checkpoint; then before any.
    for lines in [80, 90] {
        counter.printed(lines).await;
        fleet.start_again(&["a"]).await;
    }
    assert_eq!(fleet.settled(paused.program).await.1, ProgramState::Paused);
    let resumed = fleet
        .client
        .apply(Order::resume(&paused_id, ResumeMode::Normal), &options)
        .await;
    done(resumed).await;
    for (watched, expected) in all {
        watched.must_print(&expected).await;
    }
    fleet.spy.check_history();
}

/// What made the engine need more memory than there is would do so again, and with it take down all programs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_an_engine_that_the_kernel_ends_twice_for_want_of_memory_come_back_paused() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--checkpoint", "1"])
        .start()
        .await;
    let job = Job::counter(120, 20, 64);
    let expected = fleet.expected(&job, "a").await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(5).await;
    // Once may be chance; and the second time it had run in between.
    for (lines, state) in [(10, ProgramState::Running), (20, ProgramState::Paused)] {
        fleet.engine("a").kill_for_want_of_memory();
        fleet.start_again(&["a"]).await;
        assert_eq!(fleet.settled(watched.program).await.1, state);
        if state == ProgramState::Running {
            watched.printed(lines).await;
        }
    }
    // It stays so, whoever restarts the engine.
    fleet.engine("a").stop().await;
    fleet.start_again(&["a"]).await;
    assert_eq!(fleet.settled(watched.program).await.1, ProgramState::Paused);
    let (id, options) = (watched.id(), CommandOptions::default());
    done(
        fleet
            .client
            .apply(Order::resume(&id, ResumeMode::Normal), &options)
            .await,
    )
    .await;
    watched.must_print(&expected).await;
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

/// The term of whoever acts.
async fn term(fleet: &Fleet) -> u64 {
    let about = fleet.client.ask("about", serde_json::json!({}), WAIT_MAX).await;
    about.expect("a dispatcher acts")["term"]
        .as_u64()
        .expect("a term")
}

/// Waits until the only instance of an application runs.
async fn instance_runs(fleet: &Fleet, application: &str) {
    let runs = async {
        let mut seen = 0;
        loop {
            let application = Some(application.to_owned());
            let status = fleet
                .client
                .ask_apps(&Ask::Status { application }, WAIT_MAX)
                .await;
            let status: Vec<AppStatus> = status.expect("a dispatcher acts");
            if status[0].instances[0].state == "running" {
                return;
            }
            fleet.client.changed(&mut seen).await.expect("open");
        }
    };
    within("an instance to run", runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_has_forgotten_its_terms_learns_them_from_engines() {
    let mut fleet = fleet(Kind::Embedded).engines(&["a"]).start().await;
    let applies = async |fleet: &Fleet, name: &str| {
        let text = format!(
            "name = \"{name}\"\n[component.c]\nmodule = \"counter\"\nargs = [\"1000000\", \"20\", \"64\"]\n"
        );
        let counter = |_: &str| Ok(wayfare_samples::find("counter").expect("a sample").wasm.to_vec());
        fleet.applies(&text, counter).await;
        instance_runs(fleet, name).await;
    };
    let kept = fleet.folder().join("kept");
    let first = Registry::start(fleet.broker.url(), kept.clone());
    let known = term(&fleet).await;
    first.stop().await;
    let second = Registry::start(fleet.broker.url(), kept);
    applies(&fleet, "one").await;
    assert!(term(&fleet).await > known, "each time to act is a term");
    second.stop().await;
    // Neither the broker nor the dispatcher's folder knows that there were two terms.
    fleet.broker.kill().await;
    fleet.broker.start_again().await;
    let forgetful = Registry::start(fleet.broker.url(), fleet.folder().join("empty"));
    applies(&fleet, "two").await;
    let about = fleet.client.ask("about", serde_json::json!({}), WAIT_MAX).await;
    let term = about.expect("a dispatcher acts")["term"]
        .as_u64()
        .expect("a term");
    assert!(term > 2, "it acts in term {term}");
    forgetful.stop().await;
}
