//! Programs that call each other, wherever they are.

use std::time::Duration;

use wayfare_client::Run;
use wayfare_client::calls::{CallError, CallOptions, Caller};
use wayfare_client::order::CommandOptions;
use wayfare_link::{Event, LinkOptions, Message, Qos};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{About, FailureKind};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::stream::order;
use wayfare_tests::within;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];
const LIMIT: Duration = Duration::from_secs(60);

/// Both are granted all of it: neither does more than its arguments say.
pub(crate) fn calc(name: &str, args: &[&str], on: &str) -> Run {
    Run {
        name: name.into(),
        grants: Grants {
            call: vec!["#".into()],
            serve: vec!["calc".into()],
            ..Grants::default()
        },
        ..order("calc", args, on, &[], &[])
    }
}

fn service() -> Address {
    "service/calc".parse().expect("an address")
}

pub(crate) async fn caller(fleet: &Fleet, providers: &[ProgramId]) -> Caller {
    caller_of(fleet, &service(), providers).await
}

/// Returns when each of these is announced: a program says that it serves a moment before.
pub(crate) async fn caller_of(fleet: &Fleet, service: &Address, providers: &[ProgramId]) -> Caller {
    let connected = Caller::connect(fleet.broker.url(), Topics::default(), None, LIMIT);
    let mut caller = connected.await.expect("a broker");
    // What it serves is the last of its addresses.
    let is_there = |caller: &Caller, program: &ProgramId| {
        let all = caller.providers();
        all.iter()
            .any(|one| one.announcement.program == *program && one.address == *service)
    };
    within("what serves to be announced", async {
        while !providers.iter().all(|program| is_there(&caller, program)) {
            caller.listen().await.expect("open");
        }
    })
    .await;
    caller
}

fn addresses(caller: &Caller) -> Vec<String> {
    let providers = caller.providers();
    providers.iter().map(|one| one.address.to_string()).collect()
}

pub(crate) async fn calls(caller: &mut Caller, function: &str) -> Result<String, CallError> {
    let result = within("a call", caller.call(&service(), function, b"", LIMIT)).await;
    result.map(|bytes| String::from_utf8(bytes).expect("a text"))
}

fn is_unavailable(result: &Result<Vec<u8>, CallError>) -> bool {
    let kind = FailureKind::Unavailable;
    matches!(result, Err(CallError::Failed { kind: found, .. }) if *found == kind)
}

/// By hand there can be more: `CALLS=10000 MOVES=100`.
fn count(variable: &str, otherwise: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What the caller prints, wherever it was.
fn doubled(calls: usize) -> String {
    lines_of(calls) + &format!("{calls} were doubled\n")
}

fn lines_of(calls: usize) -> String {
    let lines = (1..=calls).map(|number| format!("twice {number} is {}\n", 2 * number));
    lines.collect()
}

async fn calls_while_both_move(broker: Kind, calls: usize, moves: usize) {
    let fleet = fleet(broker).engines(&RING).start().await;
    let serves = |on: &str| calc("hall", &["serve", "calc"], on);
    fleet.loads_for(&RING, serves).await;
    let provider = fleet.runs(serves("a")).await;
    provider.printed(1).await;
    let asks = ["call", "service/calc", &calls.to_string(), "10"];
    let asks = fleet.runs(calc("ann", &asks, "b")).await;
    for number in 1..=moves {
        asks.printed(calls * number / (moves + 1)).await;
        tokio::join!(
            fleet.moves(provider.program, RING[number % 3]),
            fleet.moves(asks.program, RING[(number + 1) % 3])
        );
    }
    asks.must_print(doubled(calls).as_bytes()).await;
    fleet.kills(provider).await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_answered_once_while_caller_and_provider_move() {
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        calls_while_both_move(broker, count("CALLS", 250), count("MOVES", 10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_answered_once_while_the_engines_of_caller_and_provider_are_killed() {
    let (calls, kills) = (count("CALLS", 250), count("KILLS", 2));
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        let mut fleet = fleet(broker).engines(&RING).start().await;
        let serves = |on: &str| calc("hall", &["serve", "calc"], on);
        fleet.loads_for(&["a"], serves).await;
        let provider = fleet.runs(serves("a")).await;
        provider.printed(1).await;
        let asks = ["call", "service/calc", &calls.to_string(), "10"];
        let asks = fleet.runs(calc("ann", &asks, "b")).await;
        for number in 1..=kills {
            asks.printed(calls * number / (kills + 1)).await;
            let engine = ["a", "b"][number % 2];
            fleet.engine(engine).kill();
            fleet.start_again(&[engine]).await;
        }
        asks.must_print(doubled(calls).as_bytes()).await;
        fleet.kills(provider).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_have_progress_are_cancelled_and_handed_on_and_sets_are_sent_messages() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let hall = fleet.runs(calc("shop-hall-0", &["serve", "calc"], "a")).await;
    let attic = fleet.runs(calc("shop-hall-1", &["serve", "calc"], "b")).await;
    tokio::join!(hall.printed(1), attic.printed(1));
    let mut asks = caller(&fleet, &[hall.program, attic.program]).await;
    let one: Address = "app/shop/hall/0".parse().expect("an address");
    let options = CallOptions {
        progress: true,
        ..CallOptions::default()
    };
    let begin = asks.begin_with(&one, ("slow", b"3"), LIMIT, &options);
    let open = begin.await.expect("it is announced");
    let mut parts = Vec::new();
    let end = asks.end(&open, |part| {
        parts.push(String::from_utf8_lossy(part).into_owned())
    });
    assert_eq!(within("the end of a call", end).await.expect("an answer"), b"3");
    assert_eq!(parts, ["\"1 of 3\"", "\"2 of 3\"", "\"3 of 3\""]);

    let begin = asks.begin(&one, "slow", b"1000000", LIMIT);
    let open = begin.await.expect("it is announced");
    asks.cancel(open).await.expect("the broker takes it");
    hall.printed(2).await;

    // The other one doubles it, and the answer comes from where it was asked.
    let pass = format!("program/{} 21", attic.program);
    let passed = Run {
        name: "between".into(),
        ..calc("between", &["serve", "calc"], "a")
    };
    let between = fleet.runs(passed).await;
    between.printed(1).await;
    let mut late = caller(&fleet, &[between.program]).await;
    let to = format!("program/{}", between.program)
        .parse()
        .expect("an address");
    let result = within("a call", late.call(&to, "pass", pass.as_bytes(), LIMIT)).await;
    assert_eq!(result.expect("an answer"), b"42");

    let all: Address = "app/shop".parse().expect("an address");
    let about = About {
        receipt: true,
        ..About::default()
    };
    let sent = late.send(&all, b"hello", &about).await.expect("they are there");
    assert_eq!(sent.to.len(), 2);
    let failed = within("the receipts", late.delivered(&sent, LIMIT)).await;
    assert_eq!(failed.expect("open"), []);
    let says = fleet.runs(calc("says", &["say", "engine/b", "hi"], "b")).await;
    says.must_print(b"delivered\n").await;
    for (provider, lines) in [(hall, 3), (attic, 3)] {
        provider.printed(lines).await;
        fleet.kills(provider).await;
    }
    fleet.kills(between).await;
    asks.close().await;
    late.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_announced_while_it_serves_and_a_call_of_one_that_ends_or_is_killed_fails() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a", "b"]).start().await;
    let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    provider.printed(1).await;
    let mut asks = caller(&fleet, &[provider.program]).await;
    let id = provider.id();
    let on = |engine: &str| {
        [
            format!("engine/{engine}"),
            format!("program/{id}"),
            "program/hall".into(),
            "service/calc".into(),
        ]
    };
    assert_eq!(addresses(&asks), on("a"));
    assert_eq!(calls(&mut asks, "count").await.expect("an answer"), "0");
    fleet.moves(provider.program, "b").await;
    within("the addresses of the other engine", async {
        while addresses(&asks) != on("b") {
            asks.listen().await.expect("open");
        }
    })
    .await;
    assert_eq!(calls(&mut asks, "count").await.expect("an answer"), "0");
    let unknown = calls(&mut asks, "dance").await;
    assert!(
        matches!(
            &unknown,
            Err(CallError::Failed {
                kind: FailureKind::NotFound,
                ..
            })
        ),
        "{unknown:?}"
    );
    // Paused, it answers nothing; killed, it fails who waits.
    let client = fleet.client().await;
    done(client.pause(&id, &CommandOptions::default()).await).await;
    let open = asks
        .begin(&service(), "count", b"", LIMIT)
        .await
        .expect("it is announced");
    fleet.kills(provider).await;
    let failed = within("the end of a call", asks.end(&open, |_| {})).await;
    assert!(is_unavailable(&failed), "{failed:?}");
    assert!(addresses(&asks).iter().all(|address| address != "service/calc"));
    client.close().await;
    asks.close().await;

    let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    provider.printed(1).await;
    let mut asks = caller(&fleet, &[provider.program]).await;
    let last = calls(&mut asks, "stop")
        .await
        .expect("its last answer comes before it is gone");
    assert_eq!(last, "\"stops after 0\"");
    // It may be announced until its last words are with the broker.
    let gone = calls(&mut asks, "count").await.map(String::into_bytes);
    assert!(
        is_unavailable(&gone) || matches!(gone, Err(CallError::Nobody(_))),
        "{gone:?}"
    );
    provider.finish().await;
    asks.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_engine_left_announced_of_a_program_that_has_ended_is_withdrawn() {
    let mut fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
    provider.printed(1).await;
    let mut asks = caller(&fleet, &[provider.program]).await;
    let left = asks.providers();
    calls(&mut asks, "stop").await.expect("an answer");
    asks.close().await;
    let id = provider.program;
    provider.finish().await;
    fleet.engine("a").kill();
    // As if it had died before it withdrew it.
    let (link, mut events) =
        wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "left")).expect("sound");
    let topic = Topics::default().topic(&Topic::Address(service(), id));
    let announcement = wire::encode(&left.first().expect("it was announced").announcement);
    let message = Message::new(topic.clone(), announcement).retained();
    link.publish_acknowledged(message).await.expect("open");
    link.subscribe(&topic, Qos::AtLeastOnce).await.expect("granted");
    fleet.start_again(&["a"]).await;
    within("it to be withdrawn", async {
        loop {
            match events.next().await.expect("open") {
                Event::Received(incoming) if incoming.payload.is_empty() => break,
                _ => {}
            }
        }
    })
    .await;
    link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_services_that_are_not_granted_are_refused_and_the_log_says_what_grants_them() {
    let fleet = fleet(Kind::Mosquitto).engines(&["a"]).start().await;
    for (args, expected) in [
        (&["serve", "calc"][..], "not granted: serve 'calc'; --allow-serve"),
        (
            &["call", "service/calc", "1"],
            "not granted: call 'service/calc'; --allow-call",
        ),
    ] {
        let watched = fleet.runs(order("calc", args, "a", &[], &[])).await;
        let log = String::from_utf8_lossy(&watched.finish().await.stderr).into_owned();
        assert!(log.contains(expected), "{log}");
    }
}

async fn measures_heat(fleet: &Fleet, asks: &Caller) -> bool {
    let choose = "service/coolest".parse().expect("a choice");
    let ask = asks.asks(&service(), &choose).expect("it is measured for it");
    let loads = fleet.client.loads(&ask, LIMIT).await.expect("an answer");
    loads.values().any(|load| load.temperature_millidegrees.is_some())
}

/// Calls of programs that are moved meanwhile, and from outside, each told by what the providers have counted
/// since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_where_their_callers_choose() {
    let fleet = fleet(Kind::Mosquitto)
        .registry()
        .engine("a", &["--label", "zone=attic"])
        .engine("b", &["--host", "shelf"])
        .start()
        .await;
    let serves = |on: &str| calc("up", &["serve", "calc"], on);
    fleet.loads_for(&["a", "b"], serves).await;
    let up = fleet.runs(serves("a")).await;
    let down = fleet.runs(calc("down", &["serve", "calc"], "b")).await;
    let picks = Run {
        grants: Grants {
            serve: vec!["coolest".into()],
            ..Grants::default()
        },
        ..calc("picks", &["pick", "coolest"], "a")
    };
    let picks = fleet.runs(picks).await;
    tokio::join!(up.printed(1), down.printed(1), picks.printed(1));
    let mut asks = caller(&fleet, &[up.program, down.program]).await;
    within("who picks to be announced", async {
        let picker = "service/coolest".parse().expect("an address");
        while !asks.providers().iter().any(|one| one.address == picker) {
            asks.listen().await.expect("open");
        }
    })
    .await;
    let mut counted = [0, 0];
    let mut since = async |asks: &mut Caller| {
        let mut now = [0, 0];
        for (count, program) in now.iter_mut().zip([up.program, down.program]) {
            let to = format!("program/{program}").parse().expect("an address");
            let text = within("a call", asks.call(&to, "count", b"", LIMIT))
                .await
                .expect("an answer");
            *count = String::from_utf8_lossy(&text).parse::<i32>().expect("a number");
        }
        let more = [now[0] - counted[0], now[1] - counted[1]];
        counted = now;
        more
    };
    // Of equals, as both engines of a machine without sensors are, the last is picked. One that has some is hotter now than then.
    let last = if up.program < down.program { [0, 1] } else { [1, 0] };
    let measures = measures_heat(&fleet, &asks).await;
    let times = |each: [i32; 2], count: i32| (!measures).then(|| each.map(|one| one * count));
    let all_of = |found: [i32; 2], count: i32| found.iter().sum::<i32>() == count;
    for (choice, expected) in [
        ("engine=b", Some([0, 10])),
        ("host=shelf", Some([0, 10])),
        ("label=zone=attic,least-cpu", Some([10, 0])),
        ("round-robin", Some([5, 5])),
        ("service/coolest", times(last, 10)),
    ] {
        let asks_so = ["call", "service/calc", "10", "0", choice];
        let asks_so = fleet.runs(calc("ann", &asks_so, "b")).await;
        asks_so.must_print(lines_of(10).as_bytes()).await;
        let found = since(&mut asks).await;
        assert!(
            expected.is_none_or(|expected| found == expected) && all_of(found, 10),
            "{choice}: {found:?}"
        );
    }
    for (choice, expected) in [
        ("same-engine", None),
        ("round-robin", Some([20, 20])),
        ("service/coolest", times(last, 40)),
    ] {
        let asks_so = ["call", "service/calc", "40", "50", choice];
        let asks_so = fleet.runs(calc("ann", &asks_so, "b")).await;
        asks_so.printed(1).await;
        fleet.moves(asks_so.program, "a").await;
        asks_so.must_print(lines_of(40).as_bytes()).await;
        let found = since(&mut asks).await;
        match expected {
            Some(expected) => assert_eq!(found, expected, "{choice}"),
            None => assert!(all_of(found, 40), "{choice}: {found:?}"),
        }
        assert!(choice != "same-engine" || !found.contains(&0), "{found:?}");
    }
    for (choice, expected) in [
        ("engine=a", Some([1, 0])),
        ("host=shelf,most-free-memory", Some([0, 1])),
        ("service/coolest", times(last, 1)),
    ] {
        let choose = choice.parse().expect("a choice");
        let loads = match asks.asks(&service(), &choose) {
            Some(ask) => fleet.client.loads(&ask, LIMIT).await.expect("an answer"),
            None => Default::default(),
        };
        let options = CallOptions {
            choose,
            loads,
            ..CallOptions::default()
        };
        let to = service();
        let begin = asks.begin_with(&to, ("double", b"21"), LIMIT, &options);
        let open = within("a call", begin).await.expect("one fits");
        let result = within("its end", asks.end(&open, |_| {})).await;
        assert_eq!(result.expect("an answer"), b"42");
        let found = since(&mut asks).await;
        assert!(
            expected.is_none_or(|expected| found == expected) && all_of(found, 1),
            "{choice}: {found:?}"
        );
    }
    let choose = "label=zone=cellar".parse().expect("a choice");
    let options = CallOptions {
        choose,
        ..CallOptions::default()
    };
    let none = asks
        .begin_with(&service(), ("double", b"21"), LIMIT, &options)
        .await;
    assert!(matches!(none, Err(CallError::NoneFits(_))), "{none:?}");
    asks.close().await;
    for program in [up, down, picks] {
        fleet.kills(program).await;
    }
}
