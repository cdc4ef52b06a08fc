//! What programs that talk run into, with real sessions on real brokers: a thousand subscriptions, payloads
//! over the limit, topics that are not granted, and more messages than an inbox holds.

use std::collections::BTreeMap;

use wayfare_client::{Order, Run};
use wayfare_link::{Event, LinkOptions, Message, Qos};
use wayfare_protocol::event::Outcome;
use wayfare_protocol::grants::Grants;
use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::done;
use wayfare_tests::watched::Watched;
use wayfare_tests::within;

use crate::fleet;

const SUBSCRIPTIONS: usize = 1_000;
/// More than three times what an inbox holds.
const MESSAGES: usize = 3_500;

/// Subscribes to `in/0000` and so on, a thousand; is refused a payload of 120 KiB and a byte, and a topic;
/// says so; takes nothing until it was moved; then passes on what comes until a message begins with `e`. Ends
/// with the number of what went wrong.
const PROGRAM: &str = r#"
(module
  (import "wayfare_v1" "subscribe" (func $subscribe (param i32 i32 i32) (result i32)))
  (import "wayfare_v1" "publish" (func $publish (param i32 i32 i32 i32 i32) (result i32)))
  (import "wayfare_v1" "receive" (func $receive (param i64 i32 i32 i32) (result i32)))
  (import "wayfare_v1" "was_moved" (func $was_moved (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "in/0000")
  (data (i32.const 16) "out")
  (data (i32.const 32) "ready\n")
  (func $must (param $errno i32) (param $wanted i32) (param $code i32)
    (if (i32.ne (local.get $errno) (local.get $wanted)) (then (call $exit (local.get $code)))))
  (func $digit (param $at i32) (param $value i32)
    (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10)))))
  (func $subscribe_all (local $n i32)
    (loop $next
      (call $digit (i32.const 3) (i32.div_u (local.get $n) (i32.const 1000)))
      (call $digit (i32.const 4) (i32.div_u (local.get $n) (i32.const 100)))
      (call $digit (i32.const 5) (i32.div_u (local.get $n) (i32.const 10)))
      (call $digit (i32.const 6) (local.get $n))
      (call $must (call $subscribe (i32.const 0) (i32.const 7) (i32.const 1)) (i32.const 0) (i32.const 11))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 1000)))))
  (func $say_ready
    (i32.store (i32.const 100) (i32.const 32))
    (i32.store (i32.const 104) (i32.const 6))
    (drop (call $fd_write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108))))
  (func $await_move
    ;; A subscription of poll_oneoff: the monotonic clock, 5 ms from now.
    (i32.store (i32.const 216) (i32.const 1))
    (i64.store (i32.const 224) (i64.const 5000000))
    (loop $again
      (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 340)))
      (br_if $again (i32.eqz (call $was_moved)))))
  (func $pass_on (local $payload i32)
    (loop $next
      (call $must (call $receive (i64.const -1) (i32.const 1000) (i32.const 4000) (i32.const 500))
        (i32.const 0) (i32.const 14))
      (local.set $payload (i32.add (i32.const 1040) (i32.load (i32.const 1000))))
      (call $must
        (call $publish (i32.const 16) (i32.const 3) (local.get $payload) (i32.load (i32.const 1008)) (i32.const 5))
        (i32.const 0) (i32.const 15))
      (br_if $next (i32.ne (i32.load8_u (local.get $payload)) (i32.const 101)))))
  (func (export "_start")
    (call $subscribe_all)
    (call $must (call $publish (i32.const 16) (i32.const 3) (i32.const 1000) (i32.const 122881) (i32.const 5))
      (i32.const 35) (i32.const 12))
    (call $must (call $publish (i32.const 16) (i32.const 2) (i32.const 32) (i32.const 5) (i32.const 5))
      (i32.const 76) (i32.const 13))
    (call $say_ready)
    (call $await_move)
    (call $pass_on)))
"#;

fn order() -> Run {
    Run {
        name: "limits".into(),
        module: wat::parse_str(PROGRAM).expect("it is sound"),
        on: Some("a".into()),
        grants: Grants {
            publish: vec!["out".into()],
            subscribe: vec!["in/+".into()],
            ..Grants::default()
        },
        ..Run::default()
    }
}

/// Publishes to all thousand topics by turns, then the end.
async fn publish(options: LinkOptions) {
    let (link, _events) = wayfare_link::connect(options).expect("sound options");
    for number in 0..MESSAGES {
        let topic = format!("in/{:04}", number % SUBSCRIPTIONS);
        let message = Message::new(topic, number.to_string());
        within("a publish", link.publish(message)).await.expect("open");
    }
    let end = Message::new("in/0000", "e");
    within("a publish", link.publish(end)).await.expect("open");
    within("all to be published", link.flushed()).await.expect("open");
    link.close().await;
}

async fn limits_hold(broker: Kind) {
    let fleet = fleet(broker).engines(&["a", "b"]).start().await;
    let mut options = LinkOptions::kept(fleet.broker.url(), "sink");
    options.subscriptions = vec![("out".into(), Qos::AtLeastOnce)];
    let (sink, mut events) = wayfare_link::connect(options).expect("sound options");
    let run = fleet.apply(Order::run(order())).await;
    let Outcome::Running { program, .. } = done(run).await.outcome else {
        panic!("it does not run");
    };
    let watched = Watched::follow(&fleet.client, program).await;
    watched.printed(1).await;
    // All are with the broker or in the inbox, which is full, when the program moves; it takes the first only
    // there.
    publish(LinkOptions::new(fleet.broker.url(), "source")).await;
    fleet.moves(program, "b").await;
    let mut by_topic: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let all = async {
        while let Some(event) = events.next().await {
            let Event::Received(message) = event else { continue };
            sink.acknowledge(message.token);
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            if text == "e" {
                return;
            }
            let number: usize = text.parse().expect("a number");
            by_topic.entry(number % SUBSCRIPTIONS).or_default().push(number);
        }
    };
    within("the last message", all).await;
    for (topic, numbers) in &by_topic {
        let expected: Vec<usize> = (*topic..MESSAGES).step_by(SUBSCRIPTIONS).collect();
        assert_eq!(numbers, &expected, "of topic {topic}");
    }
    assert_eq!(by_topic.len(), SUBSCRIPTIONS);
    let finished = watched.finish().await;
    assert_eq!(finished.state, Some(ProgramState::Exited { code: 0 }));
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(said.contains("not granted: publish 'ou'; --allow-pub"), "{said}");
    sink.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscriptions_and_a_full_inbox_travel_on_mosquitto() {
    limits_hold(Kind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscriptions_and_a_full_inbox_travel_on_the_embedded_broker() {
    limits_hold(Kind::Embedded).await;
}
