//! Programs that call each other, wherever they are.

use std::time::Duration;

use wayfare_client::calls::{CallError, CallOptions, Caller};
use wayfare_client::order::CommandOptions;
use wayfare_client::{CommandError, Order, Run};
use wayfare_link::{Event, LinkOptions, Message, Qos};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::call::{About, FailureKind};
use wayfare_protocol::error::Failure;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::status::ProgramState;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, done};
use wayfare_tests::stream::order;
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;
use crate::lives::id_of;

const RING: [&str; 3] = ["a", "b", "c"];
const CALLERS: [&str; 4] = ["ann", "bob", "cid", "dot"];
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

/// Whether it was there to be moved.
pub(crate) async fn moves_unless_ended(fleet: &Fleet, program: ProgramId, to: &str) -> bool {
    let ended = match fleet.start_move(program, to).await {
        Ok(operation) => within("a move to end", operation.wait()).await.map(drop),
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => true,
        Err(CommandError::Lookup(_)) => false,
        Err(CommandError::Failed {
            failure: Failure::Ended { .. } | Failure::UnknownProgram { .. } | Failure::WrongState { .. },
            ..
        }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Each of the callers has up to eight calls open; with every round all of them and the provider are moved at
/// once, some to where the provider goes and some elsewhere.
async fn calls_while_all_move(broker: Kind, calls_in_all: usize, moves: usize) {
    let each = calls_in_all.div_ceil(CALLERS.len());
    let fleet = fleet(broker).engines(&RING).start().await;
    let serves = |on: &str| calc("hall", &["serve", "calc"], on);
    fleet.loads_for(&RING, serves).await;
    let provider = fleet.runs(serves("a")).await;
    provider.printed(1).await;
    let (number_of_calls, pause_ms) = (each.to_string(), "60");
    let args = ["call", "service/calc", &number_of_calls, pause_ms];
    let mut callers = Vec::new();
    for (at, name) in CALLERS.into_iter().enumerate() {
        callers.push(fleet.runs(calc(name, &args, RING[at % 3])).await);
    }
    let mut moved = 0;
    for number in 1..=moves {
        // Whoever is first: some may be done before the last moves are.
        let printed = callers
            .iter()
            .map(|one| Box::pin(one.printed(each * number / (moves + 1))));
        futures::future::select_all(printed).await;
        let to = |at: usize| RING[(number + at) % RING.len()];
        let all = callers.iter().enumerate();
        let all = all.map(|(at, one)| moves_unless_ended(&fleet, one.program, to(at + 1)));
        let (_, callers_moved) = tokio::join!(
            fleet.moves(provider.program, to(0)),
            futures::future::join_all(all)
        );
        moved += callers_moved.into_iter().filter(|moved| *moved).count();
    }
    eprintln!("{moves} moves of the provider, {moved} of its callers");
    for one in callers {
        let collected = one.finish().await;
        assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
        assert_eq!(collected.missing, 0);
        let printed = String::from_utf8_lossy(&collected.stdout);
        // How many were doubled by then, for whomever.
        let last = printed
            .strip_prefix(&lines_of(each))
            .unwrap_or_else(|| panic!("{printed}"));
        assert!(
            last.ends_with(" were doubled\n") && last.lines().count() == 1,
            "{last}"
        );
    }
    let mut asks = caller(&fleet, &[provider.program]).await;
    let count = calls(&mut asks, "count").await.expect("an answer");
    assert_eq!(count, (each * CALLERS.len()).to_string(), "each was done once");
    asks.close().await;
    fleet.kills(provider).await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_answered_once_while_caller_and_provider_move() {
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        calls_while_all_move(broker, count("CALLS", 1_000), count("MOVES", 20)).await;
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

/// Two providers: one goes on from a checkpoint where its engine is lost, the other begins anew.
const HOUSE: &str = r#"
    name = "house"
    [component.hall]
    module = "calc"
    engines = ["a", "b"]
    args = ["serve", "hall"]
    checkpoint = "1s"
    grants = { serve = ["hall"] }
    [component.attic]
    module = "calc"
    engines = ["a", "b"]
    args = ["serve", "attic"]
    grants = { serve = ["attic"] }
"#;
const PROVIDERS: [&str; 2] = ["hall", "attic"];
/// Calls of a round that are answered at once, and those of its last batch, in the midst of which the
/// provider's engine is lost: a slow one, which the provider has if it has answered what came behind it.
const AT_ONCE: u64 = 40;
const BATCH: u64 = 4;
/// Of the slow one, of 50 ms each.
const STEPS: u64 = 40;

fn line_of(id: u64, to: &str, function: &str, payload: u64) -> String {
    let call = serde_json::json!({
        "do": "call", "id": id, "address": format!("service/{to}"), "function": function, "payload": payload.to_string(),
        "deadline_ms": LIMIT.as_millis() as u64,
    });
    format!("{call}\n")
}

/// What the caller does: none of its calls may be done twice.
fn rounds_of_calls(rounds: u64) -> Vec<String> {
    let mut args = Vec::new();
    for round in 0..rounds {
        let to = PROVIDERS[round as usize % 2];
        let first = round * (AT_ONCE + BATCH);
        let hear = |args: &mut Vec<String>, count: u64| args.extend(["hear".into(), count.to_string()]);
        for batch in (first..first + AT_ONCE).step_by(BATCH as usize) {
            let lines = (batch..batch + BATCH).map(|id| line_of(id, to, "double", id));
            args.extend(["say".into(), lines.collect()]);
            hear(&mut args, BATCH);
        }
        let slow = first + AT_ONCE;
        let behind = (slow + 1..slow + BATCH).map(|id| line_of(id, to, "double", id));
        args.extend(["say".into(), line_of(slow, to, "slow", STEPS)]);
        args.extend(["say".into(), behind.collect()]);
        hear(&mut args, BATCH - 1);
        // By then the provider's engine has stored them, if it is not as slow as that: the broker does not
        // send them again.
        args.extend(["poll".into(), "300".into()]);
        hear(&mut args, 1);
    }
    args
}

async fn calls_while_providers_are_lost(broker: Kind, rounds: u64) {
    let mut fleet = fleet(broker).engines(&RING).registry().start().await;
    let calc = wayfare_samples::find_talker("calc").expect("a sample");
    fleet.applies(HOUSE, |_: &str| Ok(calc.wasm.to_vec())).await;
    let mut providers = Vec::new();
    for name in PROVIDERS {
        let program = id_of(&fleet, &format!("house-{name}-0")).await;
        let watched = Watched::follow(&fleet.client, program).await;
        watched.printed(1).await;
        providers.push(watched);
    }
    let asks = Run {
        name: "ann".into(),
        module: wayfare_samples::TALK.to_vec(),
        args: rounds_of_calls(rounds),
        on: Some("c".into()),
        grants: Grants {
            call: vec!["service/+".into()],
            ..Grants::default()
        },
        ..Run::default()
    };
    let asks = fleet.runs(asks).await;
    // And what it prints of having waited.
    let lines = (AT_ONCE + BATCH + 1) as usize;
    for round in 0..rounds {
        let before = round as usize * lines;
        asks.printed(before + lines - 1).await;
        let (on, _) = fleet.settled(providers[round as usize % 2].program).await;
        fleet.engine(&on).kill();
        asks.printed(before + lines).await;
        fleet.start_again(&[&on]).await;
    }
    let collected = asks.finish().await;
    assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
    let mut ends: Vec<serde_json::Value> = String::from_utf8_lossy(&collected.stdout)
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    ends.sort_by_key(|end| end["id"].as_u64());
    assert_eq!(ends.len() as u64, rounds * (AT_ONCE + BATCH));
    let mut unavailable = 0;
    for (id, end) in (0..).zip(&ends) {
        assert_eq!(end["id"], id, "each ends once: {ends:?}");
        let at = id % (AT_ONCE + BATCH);
        let payload = end["payload"].as_str().and_then(|text| text.parse().ok());
        let is_answered = |with: u64| end["event"] == "answer" && payload == Some(with);
        let failed_as = |kind: &str| end["event"] == "error" && end["kind"] == kind;
        unavailable += u64::from(failed_as("unavailable"));
        let is_as_expected = match at {
            // It is sent again where the engine was lost before it had stored the call, goes on where a
            // checkpoint has it, and is refused by a provider that goes on from before it had ended an
            // earlier one.
            AT_ONCE => is_answered(STEPS) || failed_as("unavailable") || failed_as("refused"),
            _ => is_answered(2 * id),
        };
        assert!(is_as_expected, "{end}");
    }
    eprintln!("{rounds} engines lost, {unavailable} calls failed as unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_answered_once_or_fails_as_unavailable_while_the_engines_of_providers_are_lost() {
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        calls_while_providers_are_lost(broker, count("KILLS", 4) as u64).await;
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
    done(client.apply(Order::pause(&id), &CommandOptions::default()).await).await;
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
    // Of equals, as both engines of a machine without sensors are, the last is picked. One that has some is
    // hotter now than then.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coalesced_calls_of_a_provider_whose_engine_is_away_are_done_once_and_all_are_answered() {
    const CALLS: u64 = 20;
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        let mut fleet = fleet(broker).engines(&["a", "b"]).start().await;
        let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
        provider.printed(1).await;
        let asks = caller(&fleet, &[provider.program]).await;
        asks.close().await;
        fleet.engine("a").kill();
        let one = |id: u64| {
            let call = serde_json::json!({
                "do": "call", "id": id, "address": "service/calc", "function": "double", "payload": "21",
                "coalesce": "all", "deadline_ms": LIMIT.as_millis() as u64,
            });
            format!("{call}\n")
        };
        let args = [
            "say".to_owned(),
            (0..CALLS).map(one).collect(),
            "poll".into(),
            "300".into(),
            "hear".into(),
            CALLS.to_string(),
        ];
        let asks = Run {
            name: "ann".into(),
            module: wayfare_samples::TALK.to_vec(),
            args: args.into(),
            on: Some("b".into()),
            grants: Grants {
                call: vec!["service/+".into()],
                ..Grants::default()
            },
            ..Run::default()
        };
        let asks = fleet.runs(asks).await;
        // By then it has made them all, and nothing has come.
        asks.printed(1).await;
        fleet.start_again(&["a"]).await;
        let collected = asks.finish().await;
        assert_eq!(collected.state, Some(ProgramState::Exited { code: 0 }));
        let printed = String::from_utf8_lossy(&collected.stdout).into_owned();
        assert!(printed.starts_with("nothing\n"), "{printed}");
        let ends: Vec<serde_json::Value> = printed
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|end: &serde_json::Value| end["id"].is_u64())
            .collect();
        let mut ids: Vec<u64> = ends.iter().filter_map(|end| end["id"].as_u64()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..CALLS).collect::<Vec<_>>(), "{printed}");
        for end in &ends {
            assert_eq!(
                (&end["event"], &end["payload"]),
                (&"answer".into(), &"42".into()),
                "{end}"
            );
        }
        let mut asks = caller(&fleet, &[provider.program]).await;
        let count = calls(&mut asks, "count").await.expect("an answer");
        assert_eq!(count, "1", "it was done once");
        asks.close().await;
        fleet.kills(provider).await;
    }
}

/// Says how long it took to know all of them, and what of the process's memory that took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_services_are_known_to_who_asks_for_all_and_one_to_who_asks_for_it() {
    let services = count("SERVICES", 10_000);
    for broker in [Kind::Mosquitto, Kind::Embedded] {
        let fleet = fleet(broker).engines(&["a"]).start().await;
        let (link, mut events) =
            wayfare_link::connect(LinkOptions::new(fleet.broker.url(), "many")).expect("sound");
        let reads = tokio::spawn(async move { while events.next().await.is_some() {} });
        let address =
            |number: usize| -> Address { format!("service/s{number}").parse().expect("an address") };
        for number in 0..services {
            let program = ProgramId::random();
            let announcement = Announcement {
                program,
                name: format!("p{number}"),
                engine: "a".parse().expect("an id"),
                generation: Generation::FIRST,
                gone: false,
            };
            let topic = Topics::default().topic(&Topic::Address(address(number), program));
            let message = Message::new(topic, wire::encode(&announcement)).retained();
            link.publish(message).await.expect("open");
        }
        link.flushed().await.expect("open");
        let before = resident_bytes();
        let began = std::time::Instant::now();
        let connected = Caller::connect(fleet.broker.url(), Topics::default(), None, LIMIT);
        let all = connected.await.expect("a broker");
        let took = began.elapsed();
        let known = all.providers();
        assert_eq!(known.len(), services);
        eprintln!(
            "{services} services: known in {took:?}, {} KiB more in this process",
            resident_bytes().saturating_sub(before) / 1024
        );
        all.close().await;
        let last = address(services - 1);
        let began = std::time::Instant::now();
        let connected = Caller::connect(fleet.broker.url(), Topics::default(), Some(&last), LIMIT);
        let one = connected.await.expect("a broker");
        eprintln!("one of {services}: known in {:?}", began.elapsed());
        assert_eq!(addresses(&one), [last.to_string()]);
        one.close().await;
        // A program is called among them as if it were alone.
        let provider = fleet.runs(calc("hall", &["serve", "calc"], "a")).await;
        provider.printed(1).await;
        let asks = fleet
            .runs(calc("ann", &["call", "service/calc", "10"], "a"))
            .await;
        asks.must_print(doubled(10).as_bytes()).await;
        fleet.kills(provider).await;
        link.close().await;
        reads.await.expect("it ends with the link");
    }
}

/// Of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.expect("a number") * 4096
}
