//! Programs are moved again and again while the dispatcher and engines are killed at random: each order ends
//! once, and the list of operations says how, as the engines do.
//!
//! `WAYFARE_ENDS_MOVES` and `WAYFARE_ENDS_SEED` ask for more moves, or for the same victims again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wayfare_client::operations::{OperationRecord, OperationState, OperationsWanted};
use wayfare_client::{Client, CommandOptions, Order};
use wayfare_protocol::command::Action;
use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_tests::broker::Kind;
use wayfare_tests::dispatcher::DispatcherProcess;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::job::Job;
use wayfare_tests::spy::Heard;
use wayfare_tests::{WAIT_MAX, within};

use crate::chaos::{Random, setting};
use crate::fleet;

const ENGINES: [&str; 3] = ["a", "b", "c"];
const PROGRAMS: u64 = 3;
/// Who is killed next is one of these.
const VICTIMS: [&str; 5] = ["dispatcher", "dispatcher", "a", "b", "c"];
/// Of all programs together.
const MOVES: u64 = 24;
/// A victim is killed after at most so many messages.
const MESSAGES: u64 = 150;
/// One order in so many is given by a client that leaves when it is given: nobody repeats it to hear its
/// answer.
const LEAVING: u64 = 3;
/// Time limits are for clients that are away; a move that an engine's end interrupts goes on when that is
/// back.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Moves a program again and again.
async fn moves(fleet: (Client, Client), program: ProgramId, count: u64, mut random: Random) {
    let (client, leaves) = fleet;
    let options = CommandOptions {
        time_limit: TIME_LIMIT,
        ..CommandOptions::default()
    };
    let mut given = 0;
    while given < count {
        let mut seen = 0;
        client.changed(&mut seen).await.expect("open");
        let to = ENGINES[random.below(3) as usize];
        let by = if random.below(LEAVING) == 0 {
            &leaves
        } else {
            &client
        };
        let Ok(mut operation) = by.apply(Order::move_to(&program.to_string(), to), &options).await else {
            // An engine is away: it is not given.
            client.changed(&mut seen).await.expect("open");
            continue;
        };
        given += 1;
        // However it ends.
        let _ = match std::ptr::eq(by, &leaves) {
            true => operation.delivered().await,
            false => operation.wait().await.map(drop),
        };
    }
}

/// Every move that was ordered, and the final answers that engines gave to it.
fn ordered(all: &[Heard]) -> BTreeMap<OperationId, Vec<OperationState>> {
    let mut orders: BTreeMap<OperationId, Vec<OperationState>> = BTreeMap::new();
    for heard in all {
        match heard {
            Heard::Command { command } if matches!(command.action, Action::Move { .. }) => {
                orders.entry(command.operation).or_default();
            }
            Heard::Reply { event, .. } if event.verb == "move" && event.body.is_final() => {
                let state = match &event.body {
                    EventBody::Done { .. } => OperationState::Done,
                    _ => OperationState::Failed,
                };
                orders.entry(event.operation).or_default().push(state);
            }
            _ => {}
        }
    }
    orders
}

async fn listed(fleet: &Fleet) -> BTreeMap<OperationId, OperationRecord> {
    let wanted = OperationsWanted::default();
    let all = fleet.client.operations(&wanted, WAIT_MAX).await;
    let all = all.unwrap_or_else(|error| panic!("{error}")).into_iter();
    all.map(|record| (record.operation, record)).collect()
}

/// Waits until every order is listed with its end.
async fn all_ended(
    fleet: &Fleet,
) -> (
    BTreeMap<OperationId, Vec<OperationState>>,
    BTreeMap<OperationId, OperationRecord>,
) {
    let begun = Instant::now();
    loop {
        let (orders, list) = (fleet.spy.with(ordered), listed(fleet).await);
        let has_ended = |id| {
            list.get(id)
                .is_some_and(|record: &OperationRecord| record.state.is_final())
        };
        let open: Vec<_> = orders.keys().filter(|id| !has_ended(*id)).collect();
        if open.is_empty() {
            return (orders, list);
        }
        if begun.elapsed() > WAIT_MAX {
            let records: Vec<_> = open.iter().map(|id| list.get(id)).collect();
            panic!("without an end: {open:?}, of which is listed: {records:?}");
        }
        // What the dispatcher finds out by asking engines gives no sign of its own.
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_order_ends_once_and_is_listed_so_whoever_is_killed() {
    let seed = setting("WAYFARE_ENDS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let wanted = setting("WAYFARE_ENDS_MOVES").unwrap_or(MOVES);
    eprintln!("WAYFARE_ENDS_SEED={seed}");
    let setup = ENGINES.iter().fold(fleet(Kind::Mosquitto), |setup, name| {
        setup.engine(name, &["--checkpoint", "1"])
    });
    let mut fleet = setup.start().await;
    let binary = env!("CARGO_BIN_EXE_wayfare-test-dispatcher");
    let mut dispatcher = DispatcherProcess::start(binary, &fleet.broker.url(), fleet.folder());
    let mut random = Random::new(seed);
    let job = Job::endless(64);
    fleet.loads(&job, &ENGINES).await;
    let (mut programs, mut movers) = (Vec::new(), tokio::task::JoinSet::new());
    for number in 0..PROGRAMS {
        let order = job
            .clone()
            .named(&format!("p-{number}"))
            .order(ENGINES[number as usize % ENGINES.len()]);
        let ran = done(fleet.apply(Order::run(order)).await).await;
        let Outcome::Running { program, .. } = ran.outcome else {
            panic!("run was answered with {ran:?}");
        };
        programs.push(program);
        let clients = (fleet.client.clone(), fleet.client().await);
        movers.spawn(moves(
            clients,
            program,
            wanted / PROGRAMS,
            Random::new(seed ^ (number + 1)),
        ));
    }
    let mut kills = BTreeMap::<&str, u32>::new();
    while !movers.is_empty() {
        let enough = fleet.spy.mark() + random.below(MESSAGES) as usize;
        tokio::select! {
            () = fleet.spy.sees("messages, of polls at least", |all| all.len() > enough) => {}
            Some(moved) = movers.join_next() => {
                moved.expect("a mover does not panic");
                continue;
            }
        }
        let victim = VICTIMS[random.below(VICTIMS.len() as u64) as usize];
        *kills.entry(victim).or_default() += 1;
        match victim {
            "dispatcher" => dispatcher.start_again(),
            engine => fleet.start_again(&[engine]).await,
        }
    }
    // Whoever acts now has nothing but what was kept, and what engines remember.
    dispatcher.start_again();
    for program in programs {
        fleet.settled(program).await;
    }
    fleet.spy.check_history();
    let (orders, list) = all_ended(&fleet).await;
    let mut ends = BTreeMap::<String, u32>::new();
    for (id, answers) in &orders {
        let record = &list[id];
        let told = answers.first().copied().unwrap_or(record.state);
        assert!(
            answers.iter().all(|answer| *answer == told),
            "operation {id} was answered in two ways: {answers:?}"
        );
        assert_eq!(
            record.state, told,
            "operation {id} is listed otherwise: {record:?}"
        );
        let how = if record.is_inferred { ", as seen" } else { "" };
        *ends.entry(format!("{}{how}", record.word())).or_default() += 1;
    }
    eprintln!("{} moves ordered, {kills:?} killed: {ends:?}", orders.len());
    assert!(
        orders.len() as u64 >= wanted / PROGRAMS * PROGRAMS,
        "all were given"
    );
    // And they stay so.
    dispatcher.start_again();
    let again = within("the next dispatcher's list", listed(&fleet)).await;
    // When, it knows a little otherwise of what was not stored yet.
    let end = |record: &OperationRecord| (record.state, record.error.clone(), record.reason.clone());
    for id in orders.keys() {
        let (earlier, later) = (list.get(id).map(end), again.get(id).map(end));
        assert_eq!(later, earlier, "operation {id} has another end");
    }
}
