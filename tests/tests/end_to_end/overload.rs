//! Overload never looks like loss: two hundred engines that only pretend, and a dispatcher that stands still
//! for longer than its grace.

use std::time::Duration;

use wayfare_client::app::ask::{Ask, Decision, EventsWanted};
use wayfare_tests::broker::Kind;
use wayfare_tests::dispatcher::DispatcherProcess;
use wayfare_tests::fakes::{FakeFleet, Fakes};
use wayfare_tests::fleet::Fleet;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;

const ENGINES: usize = 200;
/// Twice the grace.
const STANDS_STILL: Duration = Duration::from_secs(2);

/// Events of this kind, from the first on.
async fn told(fleet: &Fleet, kind: &str) -> Vec<Decision> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let ask = Ask::Events {
            since_ms: 0,
            after,
            wanted: EventsWanted {
                kind: Some(kind.to_owned()),
                ..EventsWanted::default()
            },
        };
        let page: Vec<Decision> = match fleet.client.ask_apps(&ask, WAIT_MAX).await {
            Ok(page) => page,
            Err(error) => panic!("{error}"),
        };
        let Some(last) = page.last() else { return all };
        after = Some((last.term, last.sequence));
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_stands_still_and_a_broker_that_restarts_lose_no_engine() {
    let mut fleet = fleet(Kind::MosquittoWithFolder).start().await;
    let many = FakeFleet {
        engines: ENGINES,
        programs: 2,
        clock_ahead_ms: 0,
    };
    let fakes = Fakes::start(&many, &fleet.broker.url()).expect("the fakes start");
    let mut ordered = fakes.ordered();
    let all_run = async |ordered: &mut tokio::sync::watch::Receiver<usize>| {
        let reached = ordered.wait_for(|count| *count == ENGINES);
        within("every instance to run", reached)
            .await
            .expect("the fakes are there");
    };
    let binary = env!("CARGO_BIN_EXE_wayfare-test-dispatcher");
    let dispatcher = DispatcherProcess::start(binary, &fleet.broker.url(), fleet.folder());
    let text = format!("name = \"many\"\n[component.one]\nmodule = \"counter\"\ncount = {ENGINES}\n");
    let counter = wayfare_samples::find("counter").expect("a sample");
    fleet.applies(&text, |_| Ok(counter.wasm.to_vec())).await;
    all_run(&mut ordered).await;
    for _ in 0..2 {
        dispatcher.signal("-STOP");
        tokio::time::sleep(STANDS_STILL).await;
        dispatcher.signal("-CONT");
        assert!(told(&fleet, "engine-lost").await.is_empty());
    }
    if fleet.broker.stop().await {
        fleet.broker.start_again().await;
    }
    // Whoever acts now has asked everybody, and has read what they answered.
    let here = async {
        let mut seen = 0;
        loop {
            let engines = fleet.client.engines().await.expect("the client is there");
            if engines.iter().filter(|engine| engine.online).count() == ENGINES {
                return;
            }
            fleet
                .client
                .changed(&mut seen)
                .await
                .expect("the client is there");
        }
    };
    within("every engine to be back", here).await;
    assert!(told(&fleet, "engine-lost").await.is_empty());
    let starts = told(&fleet, "start").await;
    assert_eq!(starts.len(), ENGINES, "each was started once");
    all_run(&mut ordered).await;
    drop(fakes);
}
