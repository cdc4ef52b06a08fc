//! Signed orders, against somebody who has the broker's hands: all that was ever sent, and every login.

use std::collections::VecDeque;

use serde_json::Value;
use wayfare_client::app::ask::{Ask, MarksPage};
use wayfare_client::{CommandError, CommandOptions, Order};
use wayfare_link::{Event, Link, LinkEvents, LinkOptions, Message, Qos};
use wayfare_protocol::command::{Action, Command, ProgramSpec, Target};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::EventBody;
use wayfare_protocol::ids::{Blob, BootId, Generation, OperationId, ProgramId};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::reply::Reply;
use wayfare_protocol::status::{ProgramState, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::roster::Orders;
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, OPERATOR, roster, signing_key};
use wayfare_tests::job::Job;
use wayfare_tests::spy::{Heard, Spy, name};
use wayfare_tests::within;

use crate::fleet;

const NAME: &str = "b";

/// Reads everything, and sends what it likes.
struct Attacker {
    link: Link,
    events: LinkEvents,
    topics: Topics,
    kept: VecDeque<(Topic, Vec<u8>)>,
}

impl Attacker {
    async fn come(fleet: &Fleet) -> Self {
        let options = LinkOptions {
            subscriptions: vec![("wayfare/#".into(), Qos::AtLeastOnce)],
            ..LinkOptions::new(fleet.broker.url(), "attacker")
        };
        let (link, events) = wayfare_link::connect(options).expect("sound options");
        let mut attacker = Self {
            link,
            events,
            topics: Topics::default(),
            kept: VecDeque::new(),
        };
        // What is retained has been read by the time it hears itself.
        attacker.hears_itself().await;
        attacker
    }

    async fn sends(&self, topic: &Topic, payload: Vec<u8>) {
        let message = Message::new(self.topics.topic(topic), payload);
        let sent = within("a publish", self.link.publish_acknowledged(message)).await;
        sent.expect("the link is open");
    }

    /// The next message for which `find` has an answer, of those that were kept and those that come.
    async fn hears<T>(&mut self, what: &str, find: impl Fn(&Topic, &[u8]) -> Option<T>) -> T {
        let mut looked = 0;
        within(what, async {
            loop {
                while let Some((topic, payload)) = self.kept.get(looked) {
                    looked += 1;
                    if let Some(found) = find(topic, payload) {
                        return found;
                    }
                }
                if let Event::Received(message) = self.events.next().await.expect("the link is open") {
                    self.link.acknowledge(message.token);
                    if let Some(topic) = self.topics.parse(&message.topic) {
                        self.kept.push_back((topic, message.payload.to_vec()));
                    }
                }
            }
        })
        .await
    }

    async fn hears_itself(&mut self) {
        let mark = OperationId::random().to_string().into_bytes();
        self.sends(&Topic::Reply(name("attacker")), mark.clone()).await;
        self.hears("itself", |_, payload| (payload == mark).then_some(()))
            .await;
    }

    /// The last order with this verb, as it was signed.
    async fn recorded(&mut self, verb: &str) -> (Topic, Vec<u8>) {
        self.hears_itself().await;
        let is_it = |(topic, payload): &&(Topic, Vec<u8>)| {
            let command: Option<Command> = matches!(topic, Topic::EngineCommand(_))
                .then(|| wire::decode(payload).ok())
                .flatten();
            command.is_some_and(|command| command.action.verb() == verb)
        };
        let found = self.kept.iter().rev().find(is_it);
        found.expect("it was given").clone()
    }

    /// What an engine says to an order.
    async fn refusal(&mut self, operation: OperationId) -> Failure {
        self.hears("a refusal", |topic, payload| {
            let Topic::Reply(_) = topic else { return None };
            match Reply::decode(payload) {
                Ok(Reply::Event(event)) if event.operation == operation => match event.body {
                    EventBody::Failed { failure } => Some(failure),
                    other => panic!("not refused: {other:?}"),
                },
                _ => None,
            }
        })
        .await
    }
}

fn forged(action: Action) -> Command {
    Command {
        operation: OperationId::random(),
        client: name("attacker"),
        time_limit_ms: 10_000,
        term: None,
        boot: None,
        action,
    }
}

fn kill(program: ProgramId) -> Command {
    let generation = None;
    forged(Action::Kill {
        on: Target { program, generation },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_login_and_all_that_was_sent_can_order_nothing() {
    let mut fleet = fleet(Kind::Mosquitto).signed().engines(&["a", "b"]).start().await;
    let mut attacker = Attacker::come(&fleet).await;
    let watched = fleet.run(&Job::endless(64), "a").await;
    let program = watched.program;
    let is_not_permitted = |failure: &Failure| matches!(failure, Failure::NotPermitted { .. });

    // An order of nobody, of a stranger, and of a client without a key.
    let to_a = Topic::EngineCommand(name("a"));
    let topic = Topics::default().topic(&to_a);
    let (unsigned, strange) = (kill(program), kill(program));
    attacker.sends(&to_a, wire::encode(&unsigned)).await;
    let failure = attacker.refusal(unsigned.operation).await;
    assert!(is_not_permitted(&failure), "{failure}");
    let signed = wayfare_protocol::trust::signed::sign(
        &signing_key(9),
        &topic,
        &wire::encode(&strange),
        &Default::default(),
    );
    attacker.sends(&to_a, signed).await;
    let failure = attacker.refusal(strange.operation).await;
    assert!(failure.to_string().contains("roster does not name"), "{failure}");
    let stranger = fleet.client().await;
    let refused = stranger
        .apply(Order::kill(&watched.id()), &CommandOptions::default())
        .await;
    match refused.expect("it is sent").wait().await {
        Err(CommandError::Failed { failure, .. }) => assert!(is_not_permitted(&failure), "{failure}"),
        other => panic!("{other:?}"),
    }

    // A program that no order sends.
    let operation = OperationId::random();
    let offer = Envelope {
        operation,
        from: name(NAME),
        message: PeerMessage::Prepare {
            program: ProgramId::random(),
            generation: Generation(2),
            spec: ProgramSpec {
                name: "forged".into(),
                module: Blob::of(b"forged"),
                args: Vec::new(),
                env: [].into(),
                stdin: None,
                memory_bytes_max: None,
                ports: Default::default(),
                grants: Default::default(),
                health_every_ms: None,
            },
            memory_bytes: 0,
            paused: false,
            devices: Default::default(),
            blobs: Vec::new(),
        },
    };
    attacker
        .sends(&Topic::Peer(operation, name("a")), offer.encode(&[]))
        .await;
    let failure = attacker
        .hears("the offer to be refused", |topic, payload| {
            let of_it = matches!(topic, Topic::Peer(of, to) if *of == operation && to.as_str() == NAME);
            match of_it.then(|| Envelope::decode(payload).ok()).flatten()?.0.message {
                PeerMessage::Refused { failure } => Some(failure),
                _ => None,
            }
        })
        .await;
    assert!(is_not_permitted(&failure), "{failure}");

    // Meanwhile what is ordered is done: to the other engine and back, with the order shown to each.
    fleet.moves(program, "b").await;
    fleet.moves(program, "a").await;
    watched.goes_on().await;
    fleet.kills(watched).await;

    // What was recorded is good for nothing: not while it is remembered, and not after a restart, when it
    // might be forgotten.
    let (run_topic, run) = attacker.recorded("run").await;
    attacker.sends(&run_topic, run.clone()).await;
    fleet.start_again(&["a"]).await;
    attacker.sends(&run_topic, run).await;
    let report = fleet.client.request_status_reports(wayfare_tests::WAIT_MAX).await;
    assert_eq!(report.expect("the client is open").answered.len(), 2);
    let nobody = |all: &[Heard]| Spy::owners(all, program).is_empty();
    assert!(fleet.spy.with(nobody), "it runs again");

    // A roster of one's own, or an old one, changes nothing.
    let own = roster(99, Orders::Open).encode(&signing_key(OPERATOR), "wayfare/v1/trust/roster");
    attacker.sends(&Topic::Roster, own).await;
    let watched = fleet.run(&Job::endless(64), "a").await;
    let again = kill(watched.program);
    attacker.sends(&to_a, wire::encode(&again)).await;
    assert!(is_not_permitted(&attacker.refusal(again.operation).await));
    watched.goes_on().await;

    // A claim, as of an engine that has a newer copy, ends nothing. (It is what lists show then: they believe
    // what is retained.)
    let program = watched.program;
    let claim = ProgramStatus {
        program,
        name: "counter".into(),
        engine: name(NAME),
        boot: BootId::random(),
        generation: Generation(1_000_000_000),
        sequence: 1,
        state: ProgramState::Running,
        module: Blob::of(b"forged").digest,
        memory_bytes: 0,
        ports: Default::default(),
        place: None,
        health: None,
        hold: None,
    };
    attacker
        .sends(&Topic::ProgramStatus(program), wire::encode(&claim))
        .await;
    // In the order of sending: who has answered this has read that.
    let last = kill(program);
    attacker.sends(&to_a, wire::encode(&last)).await;
    assert!(is_not_permitted(&attacker.refusal(last.operation).await));
    watched.goes_on().await;
    assert!(
        fleet
            .engine("a")
            .log()
            .contains("did not believe that b has program")
    );
}

/// The dispatcher orders with its own key what it is asked for: so whoever asks has to be somebody, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_login_and_all_that_was_asked_can_have_the_dispatcher_do_nothing() {
    let fleet = fleet(Kind::Mosquitto).signed().registry().start().await;
    let mut attacker = Attacker::come(&fleet).await;
    let stranger = fleet.client().await;
    let limit = wayfare_tests::WAIT_MAX;
    let (hold, release) = (
        Ask::Hold {
            for_ms: None,
            reason: None,
        },
        Ask::Release,
    );
    let is_held = async || {
        let marks: MarksPage = fleet
            .client
            .ask_apps(&Ask::Marks { from: None }, limit)
            .await
            .unwrap();
        marks.hold.is_some()
    };
    let _: Value = fleet.client.ask_apps(&hold, limit).await.unwrap();
    assert!(is_held().await);
    let refused = stranger.ask_apps::<Value>(&release, limit).await.unwrap_err();
    assert!(
        refused.to_string().contains("the dispatcher does not take it"),
        "{refused}"
    );
    assert!(is_held().await);

    let _: Value = fleet.client.ask_apps(&release, limit).await.unwrap();
    assert!(!is_held().await);
    let _: Value = fleet.client.ask_apps(&hold, limit).await.unwrap();
    attacker.hears_itself().await;
    let asked: Vec<_> = attacker.kept.iter().cloned().collect();
    let mut releases = 0;
    for (topic, payload) in asked {
        if matches!(topic, Topic::DispatcherRequest(_)) && payload_says(&payload, "release") {
            attacker.sends(&topic, payload).await;
            releases += 1;
        }
    }
    assert!(releases >= 2, "the stranger's and the operator's");
    // In the order of sending: who has answered this has read those.
    assert!(is_held().await, "a recorded release was carried out again");
}

fn payload_says(payload: &[u8], what: &str) -> bool {
    let request: Value = serde_json::from_slice(payload).unwrap_or_default();
    request["body"]["do"] == what
}
