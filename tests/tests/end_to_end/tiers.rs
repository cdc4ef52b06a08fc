//! Programs that begin on the baseline tier: captured, moved and killed before, while and after they change
//! over.

use wayfare_client::{CommandOptions, IdChoice, Order, Restore, ResumeMode};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, Setup, done};
use wayfare_tests::job::Job;
use wayfare_tests::registry::registry_key;
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;

const TIERED: &str = "--tiered-compilation";

fn tiered(engines: &[&str]) -> Setup {
    engines.iter().fold(fleet(Kind::Mosquitto), |setup, name| {
        setup.engine(name, &[TIERED])
    })
}

/// Worth the baseline tier, and new to each engine that has not run a job of this number.
fn endless(number: usize) -> Job {
    Job::endless(64).padded(number)
}

/// Waits until it runs on optimised code on this engine, which it goes on to do.
async fn is_optimised(fleet: &Fleet, watched: &Watched, engine: &str) {
    let what = format!("program {} to run on optimised code", watched.program.short());
    within(&what, async {
        loop {
            let numbers = fleet.client.numbers().await.expect("open").unwrap_or_default();
            let load = numbers.programs.get(&watched.program);
            if load.is_some_and(|load| load.engine.as_str() == engine && !load.numbers.baseline) {
                return;
            }
        }
    })
    .await;
    watched.goes_on().await;
}

/// Each engine sees its module for the first time, so that all of this may come before, while and after it
/// changes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_began_on_the_baseline_tier_are_moved_stored_and_paused_as_others() {
    let key = registry_key();
    let setup = tiered(&["a", "b"]).engine("board", &["--signed-only", "--trust", &key]);
    let fleet = setup.registry().start().await;
    let job = endless(1);
    let expected = fleet.expected(&Job::endless(64), "a").await;
    let options = CommandOptions::default();
    let watched = fleet.run(&job, "a").await;
    watched.printed(1).await;
    let snapshot = done(fleet.client.apply(Order::snapshot(&watched.id()), &options).await).await;
    let file = snapshot.into_bundle().expect("a snapshot's bytes");
    fleet.moves(watched.program, "b").await;
    done(fleet.client.apply(Order::pause(&watched.id()), &options).await).await;
    assert_eq!(
        fleet.settled(watched.program).await,
        ("b".into(), ProgramState::Paused)
    );
    done(
        fleet
            .client
            .apply(Order::resume(&watched.id(), ResumeMode::Normal), &options)
            .await,
    )
    .await;
    is_optimised(&fleet, &watched, "b").await;
    fleet.moves(watched.program, "board").await;
    watched.goes_on().await;
    fleet.moves(watched.program, "a").await;
    assert_eq!(fleet.runs_once(&watched, &expected).await, "a");
    fleet.kills(watched).await;

    // What was stored on the baseline tier goes on wherever.
    for on in ["board", "b"] {
        let restore = Restore {
            file: file.clone(),
            on: Some(on.into()),
            name: None,
            id: IdChoice::New,
        };
        let Outcome::Running { program, .. } =
            done(fleet.client.apply(Order::Restore(restore), &options).await)
                .await
                .outcome
        else {
            panic!("it does not run");
        };
        let restored = Watched::follow(&fleet.client, program).await;
        restored.goes_on().await;
        fleet.kills(restored).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_killed_while_better_code_is_made_begins_anew_with_its_programs() {
    let mut fleet = tiered(&["a"]).registry().start().await;
    let expected = fleet.expected(&Job::endless(64), "a").await;
    let watched = fleet.run(&endless(2), "a").await;
    watched.printed(1).await;
    for _ in 0..2 {
        fleet.start_again(&["a"]).await;
        fleet.runs_once(&watched, &expected).await;
    }
    is_optimised(&fleet, &watched, "a").await;
    fleet.start_again(&["a"]).await;
    fleet.runs_once(&watched, &expected).await;
    fleet.kills(watched).await;
}
