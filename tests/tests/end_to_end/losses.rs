//! Engines that are lost, engines that only seem to be, and engines that say goodbye.

use std::collections::BTreeMap;

use wayfare_client::app::ask::{AppStatus, Ask, Decision, EventsWanted};
use wayfare_client::calls::CallError;
use wayfare_protocol::call::FailureKind;
use wayfare_protocol::ids::ProgramId;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::{WAIT_MAX, within};

use crate::calls::{calc, caller, calls};
use crate::fleet;

async fn apply(fleet: &Fleet, count: u32) {
    let text = format!(
        r#"
        name = "shop"
        [component.web]
        module = "counter"
        args = ["1000000", "50", "64"]
        count = {count}
        update = {{ healthy-after = "100ms" }}
        "#
    );
    let file = |sample: &str| {
        let sample = wayfare_samples::find(sample).expect("a sample");
        Ok(sample.wasm.to_vec())
    };
    fleet.applies(&text, file).await;
}

/// By instance: its program, generation and engine.
type Places = BTreeMap<String, (ProgramId, u64, String)>;

/// Waits until so many run and are healthy, and none where it may not be.
async fn places(fleet: &Fleet, count: usize, not_on: &str) -> Places {
    let find = |status: &AppStatus| {
        let well = status
            .instances
            .iter()
            .filter(|i| i.healthy && i.state == "running");
        let place = |i: &wayfare_client::app::ask::InstanceStatus| {
            let place = (i.program?, i.generation?, i.engine.as_ref()?.to_string());
            (place.2 != not_on).then(|| (i.instance.clone(), place))
        };
        let places: Places = well.filter_map(place).collect();
        (places.len() == count).then_some(places)
    };
    fleet.application("the application's instances", find).await
}

async fn told(fleet: &Fleet) -> Vec<Decision> {
    let ask = Ask::Events {
        since_ms: 0,
        after: None,
        wanted: EventsWanted::default(),
    };
    let answer = fleet.client.ask_apps(&ask, WAIT_MAX).await;
    answer.unwrap_or_else(|error| panic!("{error}"))
}

/// It publishes everybody's last will; and one engine does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_in_good_order_costs_nothing_but_what_died_meanwhile() {
    let mut fleet = fleet(Kind::MosquittoWithFolder)
        .engines(&["a", "b", "c"])
        .registry()
        .start()
        .await;
    apply(&fleet, 3).await;
    let before = places(&fleet, 3, "").await;
    let (dead, on_dead) = before
        .iter()
        .find(|(_, place)| place.2 == "c")
        .expect("one on each");
    let provider = fleet.runs(calc("hall", &["serve", "calc"], "c")).await;
    provider.printed(1).await;
    if !fleet.broker.stop().await {
        return;
    }
    fleet.engine("c").kill();
    fleet.broker.start_again().await;
    let after = places(&fleet, 3, "c").await;
    for (instance, place) in &before {
        if instance != dead {
            assert_eq!(after.get(instance), Some(place), "{instance} was left alone");
        }
    }
    assert_eq!(after[dead].0, on_dead.0);
    assert!(after[dead].1 >= on_dead.1 + 1_000, "{after:?}");
    let lost: Vec<Decision> = told(&fleet).await;
    let lost: Vec<_> = lost
        .iter()
        .filter(|d| d.kind == "engine-lost")
        .map(|d| &d.text)
        .collect();
    assert!(
        matches!(lost.as_slice(), [one] if one.contains("engine c is lost")),
        "{lost:?}"
    );
    for (program, ..) in after.values() {
        fleet.settled(*program).await;
    }
    // Nothing starts the program elsewhere: who calls it is told, until it is back.
    let mut asks = caller(&fleet, &[]).await;
    let refused = within("a call of what is lost", async {
        while asks.providers().iter().any(|one| !one.announcement.gone) {
            asks.listen().await.expect("open");
        }
        calls(&mut asks, "count").await
    })
    .await;
    let kind = FailureKind::Unavailable;
    assert!(
        matches!(&refused, Err(CallError::Failed { kind: found, .. }) if *found == kind),
        "{refused:?}"
    );
    fleet.start_again(&["c"]).await;
    within("the provider to be back", async {
        while asks.providers().iter().any(|one| one.announcement.gone) {
            asks.listen().await.expect("open");
        }
    })
    .await;
    assert_eq!(calls(&mut asks, "count").await.expect("an answer"), "0");
    asks.close().await;
    fleet.kills(provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_told_to_stop_hands_over_live_and_comes_back_open() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engines(&["a", "b"])
        .registry()
        .start()
        .await;
    apply(&fleet, 2).await;
    let before = places(&fleet, 2, "").await;
    let (moved, place) = before
        .iter()
        .find(|(_, place)| place.2 == "a")
        .expect("one on each");
    fleet.engine("a").stop().await;
    let after = places(&fleet, 2, "a").await;
    assert_eq!(
        after[moved],
        (place.0, place.1 + 1, "b".to_owned()),
        "it moved live"
    );
    fleet.spy.check_history();
    fleet.start_again(&["a"]).await;
    apply(&fleet, 6).await;
    let all = places(&fleet, 6, "").await;
    assert!(all.values().any(|place| place.2 == "a"), "{all:?}");
}
