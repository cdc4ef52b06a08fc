//! What somebody can do who has an engine's login at a broker with the access list that ships: engine `b` is
//! not started, its login is the thief's. Where nothing else is said, no order is signed, and nobody asks for
//! it: with signed orders see `orders`.

use serde_json::{Value, json};
use wayfare_client::app::ask::{Ask, Decision, EventsWanted};
use wayfare_client::stored_logs::LinesWanted;
use wayfare_client::{CommandOptions, Order, keys};
use wayfare_link::{Event, Link, LinkEvents, LinkOptions, Message, Qos};
use wayfare_protocol::command::{Action, Command, ProgramSpec, Target};
use wayfare_protocol::ids::{Blob, BootId, Generation, OperationId, ProgramId};
use wayfare_protocol::log::{LogBatch, LogLine, LogText, Stream};
use wayfare_protocol::peer::{Envelope, PeerMessage};
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::status::{EngineState, ProgramState, ProgramStatus};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::card::Card;
use wayfare_protocol::trust::roster::{Member, Orders, Role, Roster};
use wayfare_protocol::trust::signed::{Answers, sign};
use wayfare_protocol::wire;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::{Fleet, OPERATOR, ROOT, done, roster, signing_key};
use wayfare_tests::job::Job;
use wayfare_tests::spy::{Heard, name};
use wayfare_tests::stream::order;
use wayfare_tests::watched::must_begin_like;
use wayfare_tests::{WAIT_MAX, within};

use crate::fleet;

const STOLEN: &str = "b";

/// Has the login of engine `b`.
struct Thief {
    link: Link,
    events: LinkEvents,
    topics: Topics,
}

impl Thief {
    async fn come(fleet: &Fleet) -> Self {
        Self::come_as(fleet, "thief", &[]).await
    }

    /// With this client id, and subscribed to these topics.
    async fn come_as(fleet: &Fleet, client_id: &str, subscribed: &[&str]) -> Self {
        let subscribe = |topic: &&str| ((*topic).to_owned(), Qos::AtLeastOnce);
        let options = LinkOptions {
            subscriptions: subscribed.iter().map(subscribe).collect(),
            ..LinkOptions::new(fleet.broker.url_of(STOLEN), client_id)
        };
        let (link, events) = wayfare_link::connect(options).expect("sound options");
        let mut thief = Self {
            link,
            events,
            topics: Topics::default(),
        };
        within("the broker to let the thief in", async {
            while !matches!(thief.events.next().await, Some(Event::Connected { .. })) {}
        })
        .await;
        thief
    }

    async fn says(&self, topic: &Topic, payload: Vec<u8>) {
        self.publishes(Message::new(self.topics.topic(topic), payload))
            .await;
    }

    /// Taken by the broker when this is over; whether it hands it on is another thing.
    async fn publishes(&self, message: Message) {
        let sent = within("a publish", self.link.publish_acknowledged(message)).await;
        sent.expect("the link is open");
    }

    /// The topic of what comes next.
    async fn hears(&mut self) -> String {
        self.hears_message(|_| true).await.0
    }

    /// The topic and payload of the next that is looked for.
    async fn hears_message(&mut self, is_it: impl Fn(&[u8]) -> bool) -> (String, Vec<u8>) {
        within("a message for the thief", async {
            loop {
                if let Event::Received(message) = self.events.next().await.expect("the link is open") {
                    self.link.acknowledge(message.token);
                    if is_it(&message.payload) {
                        return (message.topic, message.payload.to_vec());
                    }
                }
            }
        })
        .await
    }
}

fn claim(program: ProgramId, generation: u64) -> ProgramStatus {
    ProgramStatus {
        program,
        name: "forged".into(),
        engine: name(STOLEN),
        boot: BootId::random(),
        generation: Generation(generation),
        sequence: 1,
        state: ProgramState::Running,
        module: Blob::of(b"forged").digest,
        memory_bytes: 0,
        ports: Default::default(),
        place: None,
        health: None,
        hold: None,
    }
}

fn offer(program: ProgramId, operation: OperationId) -> Envelope {
    Envelope {
        operation,
        from: name(STOLEN),
        message: PeerMessage::Prepare {
            program,
            generation: Generation(1_000_000),
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
            blobs: vec![Blob::of(b"forged")],
        },
    }
}

/// What an engine has done by now, it has done of all that was sent before.
async fn all_is_read(fleet: &Fleet) {
    let report = fleet.client.request_status_reports(WAIT_MAX).await;
    report.expect("the client is open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_login_ends_no_program_by_offers_orders_or_impossible_generations() {
    let mut fleet = fleet(Kind::MosquittoWithLogins)
        .engines(&["a", "c"])
        .start()
        .await;
    let thief = Thief::come(&fleet).await;
    let job = Job::endless(64);
    let watched = fleet.run(&job, "a").await;
    let program = watched.program;
    watched.goes_on().await;

    // An order: the access list does not let it pass.
    let on = Target {
        program,
        generation: None,
    };
    let kill = Command {
        operation: OperationId::random(),
        client: name(STOLEN),
        time_limit_ms: 10_000,
        term: None,
        boot: None,
        action: Action::Kill { on },
    };
    if fleet.broker.has_logins() {
        let to_a = Topic::EngineCommand(name("a"));
        thief.says(&to_a, wire::encode(&kill)).await;
    }
    // An offer of a newer copy of the same program.
    let operation = OperationId::random();
    let offered = offer(program, operation).encode(&[]);
    thief.says(&Topic::Peer(operation, name("a")), offered).await;
    // A claim to a generation that no program reaches, retained.
    let poison = Message::new(
        thief.topics.topic(&Topic::ProgramStatus(program)),
        wire::encode(&claim(program, u64::MAX - 1)),
    );
    thief.publishes(poison.retained()).await;
    // What nobody can read: its engine writes a line of it now and then, and not of each.
    for _ in 0..2_000 {
        let topic = Topic::Peer(OperationId::random(), name("a"));
        let message = Message::new(thief.topics.topic(&topic), vec![0xFF; 40]);
        thief.link.publish(message).await.expect("the link is open");
    }
    within("all of it to be sent", thief.link.flushed())
        .await
        .expect("the link is open");
    all_is_read(&fleet).await;

    watched.goes_on().await;
    let status = fleet.client.program(&watched.id()).await.expect("it is there");
    assert_eq!(status.status.engine, name("a"), "the claim is believed");
    let log = fleet.engine("a").log();
    let dropped = log
        .lines()
        .filter(|line| line.contains("dropped a message"))
        .count();
    assert!((1..200).contains(&dropped), "{dropped} lines of the same");
    // It is moved and killed as ever.
    fleet.moves(program, "c").await;
    must_begin_like(&watched.stdout(), &fleet.expected(&job, "a").await);
    fleet.kills(watched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_login_prints_for_no_program_and_silences_none() {
    let fleet = fleet(Kind::MosquittoWithLogins)
        .engines(&["a"])
        .registry()
        .start()
        .await;
    let thief = Thief::come(&fleet).await;
    let job = Job::endless(64);
    let watched = fleet.run(&job, "a").await;
    let program = watched.program;
    watched.goes_on().await;
    let forged = |engine: &str, generation: u64, line: u64| LogBatch {
        program,
        generation: Generation(generation),
        engine: name(engine),
        lines: vec![LogLine {
            line,
            stream: Stream::Stdout,
            text: LogText::Text("FORGED".into()),
            open: false,
            at_ms: 0,
        }],
    };
    // Of programs that are not, of which there can be any number.
    for _ in 0..500 {
        let nobody = ProgramId::random();
        let batch = LogBatch {
            program: nobody,
            ..forged("a", 1, 0)
        };
        thief.says(&Topic::ProgramLog(nobody), wire::encode(&batch)).await;
    }
    // Of a later copy than there is, of lines that it has not come to, and of an engine that has it not.
    for batch in [
        forged("a", 1_000_000, 1_000_000),
        forged("a", 1, 1_000_000),
        forged(STOLEN, 1, watched.lines() as u64 + 10),
    ] {
        thief
            .says(&Topic::ProgramLog(program), wire::encode(&batch))
            .await;
    }
    all_is_read(&fleet).await;
    watched.goes_on().await;
    let printed = watched.lines();
    must_begin_like(&watched.stdout(), &fleet.expected(&job, "a").await);
    // The dispatcher keeps what was printed, and nothing else.
    let kept = within("the dispatcher to keep it", async {
        loop {
            let wanted = LinesWanted::of(program);
            match fleet.client.stored_lines(&wanted, WAIT_MAX).await {
                Ok(page) if page.lines.len() >= printed => return page.lines,
                _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    });
    let kept: Vec<LogLine> = kept.await;
    assert!(!format!("{kept:?}").contains("FORGED"), "{kept:?}");
    let programs = fleet.client.stored_programs("", WAIT_MAX).await;
    let programs = programs.expect("the dispatcher answers");
    let programs: Vec<ProgramId> = programs.iter().map(|kept| kept.program).collect();
    assert_eq!(programs, [program]);
    fleet.kills(watched).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_login_fills_no_list_with_programs_that_are_not() {
    const FORGED: u64 = 6_000;
    let fleet = fleet(Kind::MosquittoWithLogins).engines(&["a"]).start().await;
    let thief = Thief::come(&fleet).await;
    let watched = fleet.run(&Job::endless(64), "a").await;
    for _ in 0..FORGED {
        let program = ProgramId::random();
        let status = ProgramStatus {
            engine: name("a"),
            ..claim(program, 1)
        };
        let topic = thief.topics.topic(&Topic::ProgramStatus(program));
        let message = Message::new(topic, wire::encode(&status)).retained();
        thief.link.publish(message).await.expect("the link is open");
    }
    within("all of it to be retained", thief.link.flushed())
        .await
        .expect("the link is open");
    // Who comes now reads all that is retained.
    let late = fleet.client().await;
    let listed = late.programs().await.expect("the client is open");
    assert!(listed.len() < 1_000, "{} programs are listed", listed.len());
    let killed = late
        .apply(Order::kill(&watched.id()), &CommandOptions::default())
        .await;
    done(killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_login_takes_no_engines_connection_over() {
    let fleet = fleet(Kind::MosquittoWithLogins).engines(&["a"]).start().await;
    if !fleet.broker.has_logins() {
        // Client ids follow from logins.
        return;
    }
    let mark = fleet.spy.mark();
    let thief = Thief::come_as(&fleet, "wayfare-engine-a", &[]).await;
    all_is_read(&fleet).await;
    let is_lost =
        |heard: &Heard| matches!(heard, Heard::Engine(status) if status.state == EngineState::Offline);
    assert!(!fleet.spy.with(|all| all[mark..].iter().any(is_lost)));
    thief.link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_login_neither_silences_senders_nor_has_programs_publish_for_it() {
    let fleet = fleet(Kind::MosquittoWithLogins).engines(&["a"]).start().await;
    let answers = fleet
        .runs(order("chat", &["answer", "site/talk"], "a", &[], &["site/talk"]))
        .await;
    answers.printed(1).await;
    let (sender, own) = (ProgramId::random(), Topics::default());
    let replies = own.topic(&Topic::ProgramReply(sender));
    let mut thief = Thief::come_as(&fleet, "thief", &["site/door", &replies]).await;
    let asks = |number: u64, reply_to: &str| {
        let stamp = Stamp {
            sender,
            number,
            purpose: Purpose::Request {
                reply_to: reply_to.to_owned(),
            },
        };
        Message::new("site/talk", stamp.put_on(b"ann"))
    };
    // One that names a topic of the thief's choice, then an honest one: they are answered in this order, if
    // both are.
    thief.publishes(asks(1, "site/door")).await;
    thief.publishes(asks(2, &replies)).await;
    assert_eq!(thief.hears().await, replies);
    fleet.kills(answers).await;

    let relays = fleet
        .runs(order(
            "relay",
            &["site/in", "site/out"],
            "a",
            &["site/out"],
            &["site/in"],
        ))
        .await;
    relays.printed(1).await;
    let says = |number: u64, text: &str| {
        let stamp = Stamp {
            sender,
            number,
            purpose: Purpose::Message,
        };
        Message::new("site/in", stamp.put_on(text.as_bytes()))
    };
    thief.publishes(says(1 << 63, "7")).await;
    for number in 0..20 {
        thief.publishes(says(number, "1")).await;
    }
    thief.publishes(says(20, "end")).await;
    let stdout = relays.finish().await.stdout;
    let stdout = String::from_utf8_lossy(&stdout);
    assert!(stdout.contains("21 messages"), "{stdout}");
}

/// Where orders are signed and cards required: what the dispatcher does follows from what engines have signed
/// and members ordered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_login_has_the_dispatcher_give_up_nothing_where_cards_are_required() {
    const KEY_OF_STOLEN: u8 = 7;
    let fleet = fleet(Kind::MosquittoWithLogins)
        .signed()
        .registry()
        .engines(&["a"])
        .start()
        .await;
    let stolen = signing_key(KEY_OF_STOLEN);
    let a = fleet
        .client
        .engines()
        .await
        .expect("the client is open")
        .remove(0);
    let dispatcher = keys::load_or_init(&keys::orders_key_path(&fleet.folder().join("registry")));
    let dispatcher = Member {
        name: name("dispatcher"),
        key: dispatcher.expect("it has made one").remove(0).public(),
        roles: [Role::Dispatcher].into(),
    };
    let mut required = Roster {
        engines: Orders::Require,
        ..roster(2, Orders::Require)
    };
    required.members.push(dispatcher);
    let published = fleet.client.publish_roster(&signing_key(ROOT), &required).await;
    published.expect("the broker takes it");
    for (engine, key) in [
        (name("a"), a.identity.expect("every engine shows one")),
        (name(STOLEN), stolen.public()),
    ] {
        let card = Card {
            engine: engine.clone(),
            key,
            serial: 1,
            labels: Default::default(),
            host: None,
        };
        let card = card.encode(&signing_key(OPERATOR), &Topics::default());
        let published = fleet.client.publish_card(&engine, card).await;
        published.expect("the broker takes it");
    }
    let statuses = "wayfare/v1/program/+/status";
    let mut thief = Thief::come_as(&fleet, "thief", &[statuses]).await;
    let manifest = "name = 'shop'\n[component.web]\nmodule = 'counter'\nargs = ['1000000000', '20', '64']\n";
    let counter = |_: &str| Ok(wayfare_samples::find("counter").expect("a sample").wasm.to_vec());
    fleet.applies(manifest, counter).await;
    let is = |payload: &[u8], state: &str| {
        let status: Value = serde_json::from_slice(payload).unwrap_or_default();
        status["engine"] == "a" && status["state"] == state
    };
    let (topic, running) = thief.hears_message(|payload| is(payload, "running")).await;
    let status: ProgramStatus = wire::decode(&running).expect("it is a status");
    let there = fleet
        .application("the instance to run", |shop| {
            let web = shop.instances.iter().find(|web| web.state == "running")?;
            Some((web.program, web.engine.clone(), web.generation))
        })
        .await;
    assert_eq!(there.0, Some(status.program));

    let ended = || {
        let mut ended: Value = serde_json::from_slice(&running).expect("it is an object");
        ended["state"] = json!("exited");
        ended["code"] = json!(1);
        ended["sequence"] = json!(1_000_000);
        ended.as_object_mut().expect("it is one").remove("signed");
        wire::to_json(&ended)
    };
    let signed = |payload: Vec<u8>| sign(&stolen, &topic, &payload, &Answers::new());
    let claimed = || wire::encode(&claim(status.program, 1_000_000));
    for forged in [
        vec![ended()],
        vec![signed(ended())],
        vec![claimed()],
        vec![signed(claimed())],
        vec![wire::encode(&ProgramStatus::tombstone(
            status.program,
            name(STOLEN),
        ))],
        vec![b"{}".to_vec()],
        // What its engine has said before; nothing at all; and a claim to what is nowhere then.
        vec![running.clone()],
        vec![Vec::new()],
        vec![Vec::new(), signed(claimed())],
    ] {
        for payload in &forged {
            let message = Message::new(topic.clone(), payload.clone()).retained();
            thief.publishes(message).await;
        }
        let last = forged.last().expect("there is one");
        thief.hears_message(|payload| payload == last.as_slice()).await;
        // Whoever comes now is to find it where it is.
        thief.hears_message(|payload| is(payload, "running")).await;
        let late = fleet.client().await;
        let found = late
            .program(&status.program.to_string())
            .await
            .expect("it is there");
        assert_eq!(
            (&found.status.engine, found.status.generation),
            (&status.engine, status.generation)
        );
        late.close().await;
    }
    let still = fleet
        .application("the instance to run", |shop| {
            let web = shop.instances.iter().find(|web| web.state == "running")?;
            Some((web.program, web.engine.clone(), web.generation))
        })
        .await;
    assert_eq!(still, there);
    let ask = Ask::Events {
        since_ms: 0,
        after: None,
        wanted: EventsWanted::default(),
    };
    let events: Vec<Decision> = fleet.client.ask_apps(&ask, WAIT_MAX).await.expect("it answers");
    let told: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    for kind in ["ended", "gone", "found", "complete"] {
        assert!(!told.contains(&kind), "{told:?}");
    }
}
