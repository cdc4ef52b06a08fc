//! Programs that begin another life under their id: what they do in it counts, and nothing is taken for a
//! repeat of what they did before.

use wayfare_client::{CommandOptions, IdChoice, Order, Restore, Run};
use wayfare_link::{LinkOptions, Message};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::values::{Key, ValueAnswer, ValueAsk};
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::registry::Registry;
use wayfare_tests::stream::order;
use wayfare_tests::watched::Watched;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;
use crate::fleet_files::{content, files, path};

/// Without checkpoints: what is lost with an engine begins anew, from the beginning.
const APP: &str = r#"
    name = "talk"
    [component.tally]
    module = "tally"
    engines = ["a", "b"]
    args = ["/c/n", "100000", "10"]
    grants = { state = ["/c/"] }
    [component.hall]
    module = "chat"
    engines = ["a", "b"]
    args = ["answer", "talk"]
    grants = { sub = ["talk"] }
"#;

fn wasm(talker: &str) -> Vec<u8> {
    if talker == "talk" {
        return wayfare_samples::TALK.to_vec();
    }
    let sample = wayfare_samples::find_talker(talker).expect("a sample");
    sample.wasm.to_vec()
}

pub(crate) async fn id_of(fleet: &Fleet, name: &str) -> ProgramId {
    let mut seen = 0;
    let runs = async {
        loop {
            if let Ok(view) = fleet.client.program(name).await {
                return view.status.program;
            }
            fleet.client.changed(&mut seen).await.expect("it is open");
        }
    };
    within(&format!("{name} to run"), runs).await
}

async fn counted(fleet: &Fleet, key: &str) -> u64 {
    let key = Key::of_program("p", key).expect("a key");
    let answer = fleet.client.ask_values(ValueAsk::Get { key }, WAIT_MAX).await;
    let Ok(ValueAnswer::Value { value, .. }) = &answer else {
        panic!("{answer:?}");
    };
    let text = std::str::from_utf8(value.as_bytes()).expect("text");
    text.parse().expect("a number")
}

/// Each line of `tally` says that ten more were counted: and they were.
async fn counts_on(fleet: &Fleet, key: &str, tally: &Watched) {
    let (before, lines) = (counted(fleet, key).await, tally.lines());
    tally.printed(lines + 4).await;
    let after = counted(fleet, key).await;
    assert!(after >= before + 30, "{after} after {before}");
}

/// Their engines are lost, and at last their engines' disks. What the one counts is counted, the other's
/// replies arrive, and who follows them sees their lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_begins_anew_is_no_repeat_of_what_it_was() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a", "b", "c"]).start().await;
    let dispatcher = Registry::start(fleet.broker.url(), fleet.folder().join("service"));
    fleet.applies(APP, |module| Ok(wasm(module))).await;
    let [tally, hall] = ["talk-tally-0", "talk-hall-0"].map(|name| id_of(&fleet, name));
    let (tally, hall) = (tally.await, hall.await);
    let tally = Watched::follow(&fleet.client, tally).await;
    let hall = Watched::follow(&fleet.client, hall).await;
    hall.printed(1).await;
    let ann = &["ask", "talk", "ann", "100000", "20"];
    let ann = fleet.runs(order("chat", ann, "c", &["talk"], &[])).await;
    tally.printed(3).await;
    ann.printed(10).await;
    for lost in [&tally, &hall] {
        let (on, _) = fleet.settled(lost.program).await;
        let lines = lost.lines();
        fleet.engine(&on).kill();
        lost.printed(lines + 1).await;
        counts_on(&fleet, "/c/n", &tally).await;
        ann.printed(ann.lines() + 10).await;
        fleet.start_again(&[&on]).await;
    }
    let lines = [&tally, &hall].map(Watched::lines);
    for on in ["a", "b"] {
        fleet.engine(on).lose_disk();
    }
    fleet.start_again(&["a", "b"]).await;
    for (lost, lines) in [&tally, &hall].into_iter().zip(lines) {
        lost.printed(lines + 1).await;
    }
    counts_on(&fleet, "/c/n", &tally).await;
    ann.printed(ann.lines() + 10).await;
    dispatcher.stop().await;
}

/// As [`APP`], of what writes to files and publishes.
const WRITERS: &str = r#"
    name = "desk"
    [component.log]
    module = "ledger"
    engines = ["a", "b"]
    args = ["/fleet/log", "100000", "20"]
    grants = { fs = ["/fleet/log:rw"] }
    [component.page]
    module = "talk"
    engines = ["a", "b"]
    args = ["put", "/fleet/page", "ours\n", "cat", "/fleet/page", "poll", "1000000000"]
    grants = { fs = ["/fleet/page:rw"] }
    [component.hand]
    module = "relay"
    engines = ["a", "b"]
    args = ["in", "out"]
    grants = { sub = ["in"], pub = ["out"] }
"#;

/// The numbers of a ledger's lines.
async fn numbers(fleet: &Fleet, path: &str) -> Vec<u64> {
    let text = String::from_utf8(content(fleet, path).await).expect("text");
    let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok());
    text.lines().map(|line| number(line).expect("a number")).collect()
}

fn is_from_one(numbers: &[u64]) -> bool {
    numbers.iter().copied().eq(1..=numbers.len() as u64)
}

/// Their engines are lost. What they then append is there, what they begin anew has nothing else in it, and
/// what they publish arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_begins_anew_writes_and_publishes_as_one_that_never_was() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a", "b", "c"]).start().await;
    let dispatcher = Registry::start(fleet.broker.url(), fleet.folder().join("service"));
    let sink = fleet
        .runs(order("chat", &["answer", "out"], "c", &[], &["out"]))
        .await;
    sink.printed(1).await;
    fleet.applies(WRITERS, |module| Ok(wasm(module))).await;
    let mut all = Vec::new();
    for name in ["desk-log-0", "desk-page-0", "desk-hand-0"] {
        let program = id_of(&fleet, name).await;
        all.push((name, Watched::follow(&fleet.client, program).await));
    }
    let (link, _events) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "numbers")).expect("sound");
    let publish = async |count: usize| {
        for number in 0..count {
            let message = Message::new("in".to_owned(), number.to_string().into_bytes());
            let published = link.publish_acknowledged(message);
            within("a publish", published).await.expect("open");
        }
    };
    // Far more of everything than the lives that come have when they are looked at.
    for ((_, watched), lines) in all.iter().zip([5, 1, 1]) {
        watched.printed(lines).await;
    }
    let written = files(&fleet)
        .write(&path("/fleet/page"), &b"theirs, which is longer\n"[..], |_| {})
        .await;
    written.expect("it is written");
    publish(20).await;
    sink.printed(21).await;
    while let Some((_, first)) = all.first() {
        let lost = fleet.settled(first.program).await.0;
        let mut here = Vec::new();
        for (name, watched) in std::mem::take(&mut all) {
            match fleet.settled(watched.program).await.0 == lost {
                true => here.push((name, watched.lines(), watched)),
                false => all.push((name, watched)),
            }
        }
        fleet.engine(&lost).kill();
        for (name, before, watched) in here {
            watched.printed(before + 1).await;
            match name {
                "desk-log-0" => {
                    let numbers = numbers(&fleet, "/fleet/log").await;
                    let anew = numbers
                        .iter()
                        .rposition(|number| *number == 1)
                        .expect("a first line");
                    assert!(anew > 40 && numbers[anew..].len() >= 10, "{numbers:?}");
                    assert!(is_from_one(&numbers[anew..]), "{numbers:?}");
                }
                "desk-page-0" => {
                    let page = content(&fleet, "/fleet/page").await;
                    assert_eq!(String::from_utf8_lossy(&page), "ours\n");
                }
                _ => {
                    let before = sink.lines();
                    publish(5).await;
                    sink.printed(before + 5).await;
                }
            }
        }
        fleet.start_again(&[&lost]).await;
    }
    link.close().await;
    dispatcher.stop().await;
}

fn tally() -> Run {
    Run {
        name: "tally".into(),
        module: wasm("tally"),
        args: ["/count", "100000", "10"].map(str::to_owned).into(),
        on: Some("a".into()),
        grants: Grants {
            state: vec!["/count".into()],
            ..Grants::default()
        },
        ..Run::default()
    }
}

fn ledger() -> Run {
    Run {
        name: "ledger".into(),
        module: wasm("ledger"),
        args: ["/fleet/ledger", "100000", "20"].map(str::to_owned).into(),
        on: Some("a".into()),
        grants: Grants {
            fs: vec!["/fleet/ledger:rw".to_owned().try_into().expect("a grant")],
            ..Grants::default()
        },
        ..Run::default()
    }
}

/// What it says that it has appended is there.
async fn writes_on(fleet: &Fleet, ledger: &Watched) {
    let (before, lines) = (numbers(fleet, "/fleet/ledger").await.len(), ledger.lines());
    ledger.printed(lines + 5).await;
    let after = numbers(fleet, "/fleet/ledger").await;
    assert!(
        after.len() >= before + 40,
        "{after:?}, of which {before} were there"
    );
}

/// Old snapshots, of programs that were moved and went on; restored twice, first on an engine that never had
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_restored_under_its_id_after_it_went_on_counts_on() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b", "c"]).start().await;
    let dispatcher = Registry::start(fleet.broker.url(), fleet.folder().join("service"));
    let options = CommandOptions::default();
    let (tally, ledger) = (fleet.runs(tally()).await, fleet.runs(ledger()).await);
    let mut all = Vec::new();
    for watched in [&tally, &ledger] {
        watched.printed(2).await;
        fleet.moves(watched.program, "b").await;
        let captured = done(fleet.client.apply(Order::snapshot(&watched.id()), &options).await).await;
        let file = captured.into_bundle().expect("a snapshot's bytes");
        fleet.moves(watched.program, "a").await;
        all.push((watched.program, file));
    }
    counts_on(&fleet, "/count", &tally).await;
    writes_on(&fleet, &ledger).await;
    let before = [tally.lines(), ledger.lines()];
    for on in ["c", "a"] {
        let mut restored = Vec::new();
        for ((program, file), before) in all.iter().zip(before) {
            done(
                fleet
                    .client
                    .apply(Order::kill(&program.to_string()), &options)
                    .await,
            )
            .await;
            let restore = Restore {
                file: file.clone(),
                on: Some(on.into()),
                name: None,
                id: IdChoice::Kept,
            };
            let outcome = done(fleet.client.apply(Order::Restore(restore), &options).await)
                .await
                .outcome;
            assert!(
                matches!(outcome, Outcome::Running { program: runs, .. } if runs == *program),
                "{outcome:?}"
            );
            let watched = Watched::follow(&fleet.client, *program).await;
            // What it has of before, and more.
            watched.printed(before + 1).await;
            restored.push(watched);
        }
        counts_on(&fleet, "/count", &restored[0]).await;
        writes_on(&fleet, &restored[1]).await;
    }
    dispatcher.stop().await;
}

/// Whoever may publish on the topic can put a program's id and any number on a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_number_does_not_silence_the_program_whose_id_it_bears() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let answers = fleet
        .runs(order("chat", &["answer", "talk"], "a", &[], &["talk"]))
        .await;
    answers.printed(1).await;
    let ann = &["ask", "talk", "ann", "100000", "20"];
    let asks = fleet.runs(order("chat", ann, "a", &["talk"], &[])).await;
    asks.printed(3).await;
    let (link, _events) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "stranger")).expect("sound");
    for number in [u64::MAX, u64::MAX - 1, 1 << 40, 1 << 20, u64::MAX] {
        let stamp = Stamp {
            sender: asks.program,
            number,
            purpose: Purpose::Message,
        };
        let forged = Message::new("talk".to_owned(), stamp.put_on(b"forged"));
        within("a publish", link.publish_acknowledged(forged))
            .await
            .expect("open");
    }
    asks.printed(asks.lines() + 10).await;
    // Each is a message, once.
    answers.printed(5).await;
    assert_eq!(answers.lines(), 5);
    link.close().await;
    fleet.kills(asks).await;
    fleet.kills(answers).await;
}
