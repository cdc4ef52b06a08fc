//! What clients do with a fleet: all orders, at once and from two sides, logs and status polls.

use std::time::Duration;

use wayfare_client::{CommandOptions, Follow, LogItem, Order, ResumeMode, Run};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::job::Job;
use wayfare_tests::spy::name;
use wayfare_tests::watched::{Watched, must_equal};
use wayfare_tests::within;

use crate::fleet;

async fn apply(fleet: &Fleet, orders: Vec<Order>) -> Vec<Outcome> {
    let options = CommandOptions::default();
    let results = within(
        "all orders to be answered",
        fleet.client.apply_actions(orders, &options),
    )
    .await;
    let outcome = |result: Result<wayfare_client::Finished, _>| match result {
        Ok(finished) => finished.outcome,
        Err(error) => panic!("{error}"),
    };
    results.into_iter().map(outcome).collect()
}

async fn orders_at_once(broker: Kind) {
    let fleet = fleet(broker).engines(&["a", "b"]).start().await;
    let job = Job::counter(300, 20, 64);
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a", "b"]).await;
    let run = |number: usize| {
        let named = job.clone().named(&format!("counter-{number}"));
        Order::Run(Box::new(named.order(["a", "b"][number % 2])))
    };
    let mut all = Vec::new();
    for outcome in apply(&fleet, (0..6).map(run).collect()).await {
        let Outcome::Running { program, .. } = outcome else {
            panic!("{outcome:?}")
        };
        all.push(Watched::follow(&fleet.client, program).await);
    }
    let each = |order: fn(String, usize) -> Order| {
        all.iter()
            .enumerate()
            .map(|(n, watched)| order(watched.id(), n))
            .collect::<Vec<_>>()
    };
    let to_the_other = each(|program, number| Order::Move {
        program,
        to: ["b", "a"][number % 2].into(),
    });
    for outcome in apply(&fleet, to_the_other).await {
        assert!(matches!(outcome, Outcome::Moved { .. }), "{outcome:?}");
    }
    for outcome in apply(&fleet, each(|program, _| Order::Pause { program })).await {
        assert!(matches!(outcome, Outcome::Paused { .. }), "{outcome:?}");
    }
    for (number, watched) in all.iter().enumerate() {
        let settled = fleet.settled(watched.program).await;
        assert_eq!(settled, (["b", "a"][number % 2].to_owned(), ProgramState::Paused));
    }
    // Also what stands still can be moved, and stands still there.
    fleet.moves(all[0].program, "a").await;
    assert_eq!(
        fleet.settled(all[0].program).await,
        ("a".to_owned(), ProgramState::Paused)
    );
    let resume = each(|program, _| Order::Resume {
        program,
        mode: ResumeMode::Normal,
    });
    apply(&fleet, resume).await;
    let last = all.pop().expect("six");
    fleet.kills(last).await;
    for watched in all {
        watched.must_print(&expected).await;
    }
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_are_applied_at_once() {
    orders_at_once(Kind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_are_applied_at_once_on_the_embedded_broker() {
    orders_at_once(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_goes_its_own_way_and_prints_the_same() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b", "c"]).start().await;
    let job = Job::counter(250, 20, 256);
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a", "b", "c"]).await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(20).await;
    let spawn = |to: &str| Order::Spawn {
        program: watched.id(),
        to: to.into(),
        name: None,
    };
    // A copy for another engine, and one beside the original.
    let mut copies = Vec::new();
    for outcome in apply(&fleet, vec![spawn("b")])
        .await
        .into_iter()
        .chain(apply(&fleet, vec![spawn("a")]).await)
    {
        let Outcome::Spawned { copy, .. } = outcome else {
            panic!("{outcome:?}")
        };
        copies.push(Watched::follow(&fleet.client, copy).await);
    }
    fleet.moves(copies[0].program, "c").await;
    watched.must_print(&expected).await;
    for copy in copies {
        let collected = copy.finish().await;
        assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
        let skipped = usize::try_from(collected.missing).expect("few");
        let lines: Vec<&[u8]> = expected.split_inclusive(|byte| *byte == b'\n').collect();
        must_equal(&collected.stdout, &lines[skipped..].concat());
    }
    fleet.spy.check_history();
}

/// All lines of a program as another client sees them that comes late.
async fn late_follower(fleet: &Fleet, program: ProgramId) -> (wayfare_client::Client, Watched) {
    let client = fleet.client().await;
    let watched = Watched::follow(&client, program).await;
    (client, watched)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_command_one_program_and_both_see_all_it_prints() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b", "c"]).start().await;
    let job = Job::counter(300, 20, 64);
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &["a", "b"]).await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(10).await;
    let (other, seen_by_other) = late_follower(&fleet, watched.program).await;
    let options = CommandOptions::default();
    let id = watched.id();
    let mut succeeded = 0;
    for (first, second) in [("b", "c"), ("c", "a"), ("a", "b"), ("b", "c")] {
        let attempts = async {
            let by = |client: wayfare_client::Client, to: &'static str| {
                let (id, options) = (id.clone(), options.clone());
                async move {
                    client
                        .apply(Order::move_to(&id, to), &options)
                        .await?
                        .wait()
                        .await
                }
            };
            tokio::join!(by(fleet.client.clone(), first), by(other.clone(), second))
        };
        let (one, two) = within("both moves to be answered", attempts).await;
        succeeded += [&one, &two].iter().filter(|result| result.is_ok()).count();
        let (engine, _) = fleet.settled(watched.program).await;
        assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
        assert!(
            (one.is_ok() && engine == first) || (two.is_ok() && engine == second),
            "it is on {engine}: {one:?} {two:?}"
        );
    }
    eprintln!("{succeeded} of 8 moves were carried out");
    watched.must_print(&expected).await;
    seen_by_other.must_print(&expected).await;
    other.close().await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_read_from_any_line_on() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let job = Job::counter(150, 20, 64);
    fleet.loads(&job, &["a", "b"]).await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(10).await;
    fleet.moves(watched.program, "b").await;
    let program = watched.program;
    let whole = watched.finish().await.stdout;
    let whole: Vec<&str> = std::str::from_utf8(&whole).expect("text").lines().collect();
    for since in [0, 1, 17, 150, 151, 1000] {
        let logs = fleet.client.logs(program, since as u64, Follow::No).await;
        let mut logs = logs.expect("a log");
        let mut lines = Vec::new();
        while let Some(item) = within("a line", logs.next()).await {
            match item.expect("a line") {
                LogItem::Line(line) => lines.push(String::from_utf8_lossy(line.text.as_bytes()).into_owned()),
                LogItem::Gap { from, to } => panic!("lines {from} to {to} are missing"),
            }
        }
        assert_eq!(lines, whole[since.min(whole.len())..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_far_ahead_of_its_reader_is_moved_and_no_line_is_lost() {
    const LINES: u64 = 60_000;
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let follower = OperationId::random();
    let order = Run {
        follower: Some(follower),
        ..Job::counter(LINES as u32, 0, 1).order("a")
    };
    let run = fleet.apply(Order::run(order)).await;
    let Outcome::Running { program, .. } = done(run).await.outcome else {
        panic!("run was answered with something else");
    };
    let stream = fleet.client.follow(program, follower).await;
    let mut stream = stream.expect("a log");
    let mut next = async || match within("a line", stream.next()).await? {
        Ok(LogItem::Line(line)) => {
            let text = String::from_utf8_lossy(line.text.as_bytes()).into_owned();
            text.split(' ').next().and_then(|number| number.parse().ok())
        }
        other => panic!("no line: {other:?}"),
    };
    let mut numbers: Vec<u64> = Vec::new();
    // It waits for its reader, and goes on elsewhere until that has made itself known there.
    for target in ["b", "a"] {
        for _ in 0..10 {
            numbers.extend(next().await);
        }
        fleet.moves(program, target).await;
    }
    while let Some(number) = next().await {
        numbers.push(number);
    }
    let all: Vec<u64> = (1..=LINES).chain([LINES]).collect();
    assert!(
        numbers == all,
        "{} lines of {LINES} and a last one",
        numbers.len()
    );
    assert_eq!(stream.ended(), Some(&ProgramState::Exited { code: 0 }));
    assert_eq!(stream.missing(), 0);
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_poll_names_who_answers_and_who_is_silent() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a", "b", "c"]).start().await;
    let poll = |fleet: &Fleet, limit| {
        let client = fleet.client.clone();
        async move { client.request_status_reports(limit).await.expect("open") }
    };
    let answered = |report: &wayfare_client::Report| {
        let names = report.answered.keys().map(ToString::to_string);
        names.collect::<Vec<_>>()
    };
    let report = within("a report", poll(&fleet, Duration::from_secs(60))).await;
    assert_eq!(answered(&report), ["a", "b", "c"]);
    assert!(report.silent.is_empty());
    // One that is gone is not waited for.
    fleet.engine("b").kill();
    fleet.all_online().await;
    let report = within("a report", poll(&fleet, Duration::from_secs(60))).await;
    assert_eq!(answered(&report), ["a", "c"]);
    assert!(report.silent.is_empty());
    // One that hangs is named.
    fleet.engine("c").signal("-STOP");
    let report = poll(&fleet, Duration::from_secs(2)).await;
    assert_eq!(answered(&report), ["a"]);
    assert_eq!(report.silent, [name("c")]);
    fleet.engine("c").signal("-CONT");
    fleet.start_again(&["b"]).await;
    let report = within("a report", poll(&fleet, Duration::from_secs(60))).await;
    assert_eq!(answered(&report), ["a", "b", "c"]);
}
