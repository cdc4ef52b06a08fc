//! Two boards with copies of one card: one of them holds still, and everybody can see why.

use std::path::Path;
use std::process::Command;

use wayfare_protocol::status::{EngineState, EngineStatus};
use wayfare_tests::broker::Kind;
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;
use wayfare_tests::within;

use crate::fleet;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.expect("cp runs").success());
}

/// Whether the engine is online from that host, and says whose copy holds still.
fn shows(heard: &Heard, here: &str, still: &str) -> bool {
    let shown = |status: &EngineStatus| {
        let host = status.about.as_ref().map(|about| about.host.as_str());
        let rival = status.rival.as_ref().and_then(|rival| rival.host.as_deref());
        status.state == EngineState::Online && host == Some(here) && rival == Some(still)
    };
    matches!(heard, Heard::Engine(status) if shown(status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_boards_with_one_card_the_older_holds_still_and_says_whose_the_id_is() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--host", "one"])
        .start()
        .await;
    let watched = fleet.run(&Job::counter(100_000, 20, 64), "a").await;
    let program = watched.program;
    fleet.engine("a").stop().await;
    let folder = fleet.folder().join("copied");
    copy(&fleet.folder().join("a"), &folder);
    fleet.start_again(&["a"]).await;

    let mut twin = fleet.engine("a").twin(&folder, &["--host", "two"]);
    let is_shown = |all: &[Heard]| all.iter().any(|heard| shows(heard, "two", "one"));
    fleet.spy.sees("whose copy holds still", is_shown).await;
    let shown_to_people = async {
        loop {
            // The client has a connection of its own, and may read the status later.
            let view = fleet.client.engine("a").await.expect("it is there");
            let still = view.rival.and_then(|rival| rival.host);
            if view.online && still.as_deref() == Some("one") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("the client to see whose copy holds still", shown_to_people).await;
    let one_thread = async {
        // As elsewhere: nothing tells that a thread of another process has ended, except looking.
        while fleet.engine("a").threads_of(program) > 0 || twin.threads_of(program) != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("one thread for the program, on the newer", one_thread).await;
    let log = fleet.engine("a").log();
    assert!(
        log.contains("host 'two'") && log.contains("this one holds still"),
        "{log}"
    );

    // The one that stays can crash and come back: nobody takes that for a third.
    let boots = |all: &[Heard]| {
        let online = all.iter().filter_map(|heard| match heard {
            Heard::Engine(status) if status.state == EngineState::Online => Some(status.boot),
            _ => None,
        });
        online.collect::<std::collections::BTreeSet<_>>().len()
    };
    let before = fleet.spy.with(boots);
    twin.start_again();
    fleet
        .spy
        .sees("it to be back", |all| boots(all) == before + 1)
        .await;
    within("its program", async {
        while twin.threads_of(program) != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(!twin.log().contains("this one holds still"), "{}", twin.log());
}
