//! What one version of a component leaves for the next: the values under its own keys.

use std::time::Duration;

use wayfare_client::app::ask::{AppStatus, Ask};
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
