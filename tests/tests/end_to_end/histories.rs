//! What clients see of values that they change at once, while the dispatcher is killed and stands still: each
//! value's history is linearizable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wayfare_client::Client;
use wayfare_protocol::values::{Key, Value, ValueAnswer, ValueAsk};
use wayfare_tests::broker::Kind;
use wayfare_tests::dispatcher::DispatcherProcess;
use wayfare_tests::linearizable::{Answered, Asked, Operation, is_linearizable};
use wayfare_tests::within;

use crate::fleet;

const CLIENTS: usize = 4;
const KEYS: [&str; 2] = ["/first", "/second"];
const EACH: u64 = 120;
/// Answers between two faults.
const BETWEEN: u64 = 20;
const LIMIT: Duration = Duration::from_secs(60);

enum Progress {
    Began,
    Ended,
}

/// What one client does, one after the other, and sees of each value.
async fn asks(
    client: Client,
    number: u64,
    clock: Arc<AtomicU64>,
    progress: mpsc::UnboundedSender<Progress>,
) -> [Vec<Operation>; KEYS.len()] {
    let mut histories = [const { Vec::new() }; KEYS.len()];
    let mut versions = [0; KEYS.len()];
    for step in 0..EACH {
        let at = ((number + step / 3) % KEYS.len() as u64) as usize;
        let value = number * EACH + step;
        let asked = match (number + step) % 6 {
            0 | 3 => Asked::Get,
            1 => Asked::Set { value },
            5 if step % 4 == 0 => Asked::Remove,
            _ => Asked::CompareAndSet {
                expected: versions[at],
                value,
            },
        };
        let _ = progress.send(Progress::Began);
        let began = clock.fetch_add(1, Ordering::SeqCst);
        let answer = client.ask_values(request(KEYS[at], asked), LIMIT).await;
        let ended = clock.fetch_add(1, Ordering::SeqCst);
        let _ = progress.send(Progress::Ended);
        let answered = answer.ok().map(|answer| read(&answer));
        match answered {
            Some(
                Answered::Value { version, .. } | Answered::Set { version } | Answered::Conflict { version },
            ) => {
                versions[at] = version;
            }
            Some(Answered::Absent | Answered::Removed) => versions[at] = 0,
            None => {}
        }
        histories[at].push(Operation {
            asked,
            began,
            ended: answered.map(|answered| (ended, answered)),
        });
    }
    client.close().await;
    histories
}

fn request(key: &str, asked: Asked) -> ValueAsk {
    let key: Key = key.to_owned().try_into().expect("a key");
    let bytes = |value: u64| Value::new(value.to_string().into_bytes()).expect("it is short");
    match asked {
        Asked::Get => ValueAsk::Get { key },
        Asked::Set { value } => ValueAsk::Set {
            key,
            value: bytes(value),
        },
        Asked::CompareAndSet { expected, value } => ValueAsk::CompareAndSet {
            key,
            expected,
            value: bytes(value),
        },
        Asked::Remove => ValueAsk::Remove { key },
    }
}

fn read(answer: &ValueAnswer) -> Answered {
    match answer {
        ValueAnswer::Absent => Answered::Absent,
        ValueAnswer::Value { version, value } => {
            let text = std::str::from_utf8(value.as_bytes()).expect("text");
            Answered::Value {
                version: *version,
                value: text.parse().expect("a number"),
            }
        }
        ValueAnswer::Set { version } => Answered::Set { version: *version },
        ValueAnswer::Conflict { version } => Answered::Conflict { version: *version },
        ValueAnswer::Removed => Answered::Removed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_linearizable_while_the_dispatcher_is_killed_and_stands_still() {
    let fleet = fleet(Kind::Mosquitto).start().await;
    let binary = env!("CARGO_BIN_EXE_wayfare-test-dispatcher");
    let mut dispatcher = DispatcherProcess::start(binary, &fleet.broker.url(), fleet.folder());
    let (clock, (progress, mut news)) = (Arc::new(AtomicU64::new(0)), mpsc::unbounded_channel());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS as u64 {
        let client = fleet.client().await;
        clients.spawn(asks(client, number, clock.clone(), progress.clone()));
    }
    drop(progress);
    let (mut under_way, mut ended, mut faults) = (0, 0, 0);
    let mut is_still = false;
    while let Some(one) = within("an answer", news.recv()).await {
        match one {
            Progress::Began => under_way += 1,
            Progress::Ended => {
                (under_way, ended) = (under_way - 1, ended + 1);
                if ended % BETWEEN == 0 && !is_still {
                    faults += 1;
                    match faults % 2 {
                        1 => dispatcher.start_again(),
                        _ => {
                            dispatcher.signal("-STOP");
                            is_still = true;
                        }
                    }
                }
            }
        }
        // All wait for it.
        if is_still && under_way == CLIENTS {
            dispatcher.signal("-CONT");
            is_still = false;
        }
    }
    let mut histories = [const { Vec::new() }; KEYS.len()];
    while let Some(of_one) = clients.join_next().await {
        for (all, mut its) in histories.iter_mut().zip(of_one.expect("it has not panicked")) {
            all.append(&mut its);
        }
    }
    assert!(faults >= 4, "{faults} faults");
    for (key, history) in KEYS.into_iter().zip(histories) {
        let answered = history.iter().filter(|one| one.ended.is_some()).count();
        let all = history.len();
        eprintln!("{key}: {answered} of {all} answered, {faults} faults");
        assert!(2 * answered > all, "{answered} of {all} were answered");
        assert!(is_linearizable(&history), "{key}: {history:#?}");
    }
}
