//! What one version of a component leaves for the next: the values under its own keys. And what a version has
//! to say to be kept.

use std::time::Duration;

use wayfare_client::app::ask::{AppStatus, Ask};
use wayfare_protocol::health::Health;
use wayfare_protocol::ids::ProgramId;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::watched::Watched;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;

/// Between two looks at the application.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Counts so many times, `period_ms` apart, under a key of its own.
async fn apply(fleet: &Fleet, times: u64, period_ms: u64) {
    let text = format!(
        r#"
        name = "house"
        [component.meter]
        module = "tally"
        args = ["count", "{times}", "{period_ms}"]
        restart = {{ when = "never" }}
        update = {{ healthy-after = "100ms" }}
        "#
    );
    let file = |sample: &str| {
        let sample = wayfare_samples::find_talker(sample).expect("a sample");
        Ok(sample.wasm.to_vec())
    };
    fleet.applies(&text, file).await;
}

/// Waits until the only instance is as the current version says, and its status is here.
async fn current(fleet: &Fleet) -> ProgramId {
    let look = async {
        loop {
            let ask = Ask::Status { application: None };
            let answer = fleet.client.ask_apps(&ask, WAIT_MAX).await;
            let status: Vec<AppStatus> = answer.unwrap_or_else(|error| panic!("{error}"));
            let programs = fleet.client.programs().await.expect("it is connected");
            if let Some(instance) = status[0].instances.first()
                && let Some(program) = instance.program.filter(|_| instance.current)
                && programs.iter().any(|view| view.status.program == program)
            {
                return program;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    };
    within("an instance of the current version", look).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_on_from_what_the_one_before_kept_under_its_keys() {
    let fleet = fleet(Kind::Mosquitto)
        .engines(&["a", "b"])
        .registry()
        .start()
        .await;
    apply(&fleet, 1_000_000, 1).await;
    let before = current(&fleet).await;
    let watched = Watched::follow(&fleet.client, before).await;
    // It says each tenth.
    watched.printed(3).await;
    let counted = 10 * watched.lines() as u64;

    apply(&fleet, 20, 100).await;
    let after = current(&fleet).await;
    assert_ne!(before, after);
    let finished = Watched::follow(&fleet.client, after).await.finish().await;
    let printed = String::from_utf8(finished.stdout).expect("text");
    let all = printed
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("done: 20 counted, "))
        .and_then(|line| line.strip_suffix(" by all"))
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or_else(|| panic!("it printed {printed}"));
    assert!(all >= counted + 20, "{all} after {counted}");
}

/// A program that says this of itself, and then waits for ever.
async fn applies_one_that_says(fleet: &Fleet, says: &str, within: &str) {
    let text = format!(
        r#"
        name = "house"
        [component.meter]
        module = "talk"
        args = ["say", '''{says}
''', "hear", "9"]
        health = {{ within = "{within}" }}
        "#
    );
    fleet
        .applies(&text, |_: &str| Ok(wayfare_samples::TALK.to_vec()))
        .await;
}

/// Waits until the application is as it is to be.
async fn house(fleet: &Fleet, what: &str, is_so: impl Fn(&AppStatus) -> bool) -> AppStatus {
    let find = |status: &AppStatus| is_so(status).then(|| status.clone());
    fleet.application(what, find).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_kept_that_says_it_is_ready_and_one_that_does_not_is_rolled_back() {
    let fleet = fleet(Kind::Mosquitto)
        .engines(&["a", "b"])
        .registry()
        .start()
        .await;
    applies_one_that_says(&fleet, r#"{"do":"ready"}"#, "10m").await;
    let is_ready = |status: &AppStatus| {
        status.state == "running" && status.instances.iter().all(|one| one.healthy && one.current)
    };
    let before = house(&fleet, "the first version", is_ready).await;
    assert_eq!(before.instances[0].health, Some(Health::Ready));
    // It goes where the program goes.
    let program = before.instances[0].program.expect("it runs");
    let at = before.instances[0].engine.clone().expect("it runs");
    let to = if at.as_str() == "a" { "b" } else { "a" };
    fleet.moves(program, to).await;
    // It is there before its engine has been told of what it had said.
    let is_ready_there = |status: &AppStatus| {
        let instance = &status.instances[0];
        let engine = instance.engine.as_ref().map(|engine| engine.as_str());
        engine == Some(to) && instance.health == Some(Health::Ready)
    };
    house(&fleet, "the program at the other engine, ready", is_ready_there).await;

    applies_one_that_says(&fleet, r#"{"do":"release"}"#, "100ms").await;
    let is_back = |status: &AppStatus| status.version == 1 && is_ready(status);
    let status = house(&fleet, "the first version again", is_back).await;
    assert_eq!(status.instances[0].health, Some(Health::Ready));
}

/// One on every engine, that says that it is ready, and comes first to canaries.
async fn applies_in_stages(fleet: &Fleet, messages: u32) {
    let text = format!(
        r#"
        name = "house"
        [update]
        stages = [{{ labels = "stage=canary" }}]
        [component.meter]
        module = "talk"
        args = ["say", '''{{"do":"ready"}}
''', "hear", "{messages}"]
        on = "every-engine"
        health = {{ within = "10m" }}
        "#
    );
    fleet
        .applies(&text, |_: &str| Ok(wayfare_samples::TALK.to_vec()))
        .await;
}

/// What the instances on a and b are: of the current version, and healthy.
fn on_both(status: &AppStatus) -> Vec<(&str, bool, bool)> {
    let mut on: Vec<_> = status
        .instances
        .iter()
        .filter_map(|one| Some((one.engine.as_ref()?.as_str(), one.current, one.healthy)))
        .collect();
    on.sort_unstable();
    on
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_comes_first_to_canaries_and_goes_on_or_back_as_people_say() {
    let fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--label", "stage=canary"])
        .engine("b", &[])
        .registry()
        .start()
        .await;
    let asks = async |ask: Ask| -> serde_json::Value {
        let answer = fleet.client.ask_apps(&ask, WAIT_MAX).await;
        answer.unwrap_or_else(|error| panic!("{error}"))
    };
    let application = || "house".to_owned();
    let is_all_well = |status: &AppStatus| {
        status.state == "running" && on_both(status) == [("a", true, true), ("b", true, true)]
    };
    applies_in_stages(&fleet, 1).await;
    let first = house(&fleet, "one on each engine", is_all_well).await;

    let is_canary_well =
        |status: &AppStatus| status.roll_out.as_deref() == Some("stage 1 of 2, well, waits to be promoted");
    applies_in_stages(&fleet, 2).await;
    let status = house(&fleet, "the canary of version 2", is_canary_well).await;
    assert_eq!(on_both(&status), [("a", true, true), ("b", false, true)]);
    let untouched = |status: &AppStatus| {
        let on_b = status
            .instances
            .iter()
            .find(|one| one.engine.as_ref().is_some_and(|on| on.as_str() == "b"));
        on_b.and_then(|one| one.program)
    };
    assert_eq!(untouched(&status), untouched(&first));
    asks(Ask::Promote {
        application: application(),
    })
    .await;
    let second = house(&fleet, "version 2 on both", is_all_well).await;
    assert_eq!((second.version, second.roll_out.as_ref()), (2, None));

    applies_in_stages(&fleet, 3).await;
    house(&fleet, "the canary of version 3", is_canary_well).await;
    asks(Ask::Fail {
        application: application(),
    })
    .await;
    let is_back = |status: &AppStatus| status.version == 2 && is_all_well(status);
    let back = house(&fleet, "version 2 on both again", is_back).await;
    assert_eq!(untouched(&back), untouched(&second), "it was not replaced");
}
