//! The dispatcher against an engine played by hand, over the embedded broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake_engine;
mod uploads;

use std::time::Duration;

use fake_engine::{FakeEngine, Heard, LIMIT, broker, connect, log_lines, operation_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use wayfare_client::{
    Client, ClientOptions, CommandError, CommandOptions, ConnectError, Follow, LogItem, LogStream, Offline,
    Order, Run, Session, Stage,
};
use wayfare_link::{BrokerOptions, EmbeddedBroker};
use wayfare_protocol::bundle;
use wayfare_protocol::command::{Action, Command, ProgramSpec};
use wayfare_protocol::error::Failure;
use wayfare_protocol::event::{EventBody, Outcome};
use wayfare_protocol::ids::{Blob, EngineId, Generation, ProgramId};
use wayfare_protocol::limits::CHUNK_BYTES;
use wayfare_protocol::peer::PeerMessage;
use wayfare_protocol::status::{EngineState::Offline as EngineOffline, EngineState::Online, ProgramState};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

fn within(limit: Duration) -> CommandOptions {
    CommandOptions {
        time_limit: limit,
        offline: Offline::Fail,
        ..CommandOptions::default()
    }
}

fn done(outcome: Outcome) -> EventBody {
    EventBody::Done { outcome }
}

fn run_of(module: &[u8]) -> Run {
    Run {
        name: "p".into(),
        module: module.to_vec(),
        on: Some("a".into()),
        ..Run::default()
    }
}

/// A module of several chunks, as far as the dispatcher can tell.
fn module() -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend((0..CHUNK_BYTES * 20).map(|i| (i % 253) as u8));
    module
}

/// An engine with one running program, and the dispatcher that knows of it.
async fn with_program(url: &wayfare_link::BrokerUrl) -> (FakeEngine, Client, ProgramId) {
    let program = ProgramId::random();
    let mut engine = FakeEngine::start("a", url).await;
    let status = engine.program(program, 1, ProgramState::Running);
    engine.says(Online, vec![status]).await;
    (engine, connect(url).await, program)
}

#[tokio::test]
async fn no_broker_is_said_at_once() {
    let (broker, url) = broker().await;
    broker.shutdown().await.unwrap();
    let attempt = timeout(Duration::from_secs(4), Client::connect(ClientOptions::new(url))).await;
    assert!(matches!(
        attempt.expect("soon"),
        Err(ConnectError::NoBroker { .. })
    ));
}

#[tokio::test]
async fn what_is_retained_is_known_once_connected() {
    let (_broker, url) = broker().await;
    let (_engine, fleet, program) = with_program(&url).await;
    assert_eq!(fleet.programs().await.unwrap()[0].status.program, program);
    assert!(fleet.engines().await.unwrap()[0].online);
    fleet.close().await;
}

#[tokio::test]
async fn unknown_and_offline_engines_fail_at_once_and_say_what_there_is() {
    let (_broker, url) = broker().await;
    let mut pi_2 = FakeEngine::start("pi-2", &url).await;
    let _pi_1 = FakeEngine::start("pi-1", &url).await;
    let fleet = connect(&url).await;
    let on = |engine: &str| Run {
        on: Some(engine.into()),
        ..run_of(&module())
    };
    let error = fleet
        .apply(Order::run(on("pi-9")), &within(LIMIT))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no engine 'pi-9'; there are: pi-1, pi-2");
    pi_2.says(EngineOffline, vec![]).await;
    wait_until(&fleet, async |fleet| !fleet.engine("pi-2").await.unwrap().online).await;
    let error = fleet
        .apply(Order::run(on("pi-2")), &within(LIMIT))
        .await
        .unwrap_err();
    assert!(matches!(error, CommandError::EngineOffline { .. }), "{error}");

    // Waiting for it is a choice.
    let patient = CommandOptions {
        time_limit: LIMIT,
        offline: Offline::Wait,
        ..CommandOptions::default()
    };
    let (started, ()) = tokio::join!(
        fleet.apply(Order::run(on("pi-2")), &patient),
        pi_2.says(Online, vec![])
    );
    assert_eq!(started.unwrap().engine().map(EngineId::as_str), Some("pi-2"));
    fleet.close().await;
}

#[tokio::test]
async fn a_run_hands_over_what_the_engine_lacks() {
    let (_broker, url) = broker().await;
    let mut engine = FakeEngine::start("a", &url).await;
    let fleet = connect(&url).await;
    let module = module();
    let mut operation = fleet
        .apply(Order::run(run_of(&module)), &within(LIMIT))
        .await
        .unwrap();
    let command = engine.hears_command().await;
    engine.answers(&command, EventBody::Accepted).await;
    let blob = Blob::of(&module);
    engine
        .tells(
            &command,
            PeerMessage::Want {
                missing: vec![blob.digest],
            },
            &[],
        )
        .await;
    let received = receive(&mut engine, &command, blob).await;
    assert_eq!(received, module);
    timeout(LIMIT, operation.delivered()).await.unwrap().unwrap();
    let program = command.action.program();
    engine
        .answers(
            &command,
            done(Outcome::Running {
                program,
                generation: Generation(1),
            }),
        )
        .await;
    let finished = timeout(LIMIT, operation.wait()).await.unwrap().unwrap();
    assert_eq!(
        finished.outcome,
        Outcome::Running {
            program,
            generation: Generation(1)
        }
    );
    fleet.close().await;
}

/// Acknowledges each chunk, and loses the fifth.
async fn receive(engine: &mut FakeEngine, command: &Command, blob: Blob) -> Vec<u8> {
    let mut received = Vec::new();
    let mut lost = false;
    while (received.len() as u64) < blob.bytes {
        let Heard::Peer(PeerMessage::Chunk { offset, .. }, bytes) = engine.hears().await else {
            continue;
        };
        if received.len() == 5 * CHUNK_BYTES && !lost {
            lost = true;
            continue;
        }
        if offset == received.len() as u64 {
            received.extend(bytes);
        }
        let received = received.len() as u64;
        engine
            .tells(
                command,
                PeerMessage::Ack {
                    digest: blob.digest,
                    received,
                },
                &[],
            )
            .await;
    }
    received
}

#[tokio::test]
async fn silence_is_no_answer_in_time_and_the_command_was_repeated() {
    let (_broker, url) = broker().await;
    let (mut engine, fleet, program) = with_program(&url).await;
    let operation = fleet
        .apply(
            Order::pause(&program.short()),
            &within(Duration::from_millis(2_500)),
        )
        .await
        .unwrap();
    let error = operation.wait().await.unwrap_err();
    assert!(
        matches!(
            error,
            CommandError::NoAnswer {
                stage: Stage::Sent,
                verb: "pause",
                ..
            }
        ),
        "{error}"
    );
    let (first, second) = (engine.hears().await, engine.hears().await);
    assert!(operation_of(&first).is_some());
    assert_eq!(operation_of(&first), operation_of(&second));
    fleet.close().await;
}

#[tokio::test]
async fn a_command_survives_a_restart_of_the_broker() {
    let (broker, url) = broker().await;
    let bind = broker.local_addr();
    let (mut engine, fleet, program) = with_program(&url).await;
    let operation = fleet.apply(Order::pause("p"), &within(LIMIT)).await.unwrap();
    let first = engine.hears_command().await;
    broker.shutdown().await.unwrap();
    let _broker = EmbeddedBroker::start(BrokerOptions { bind, storage: None })
        .await
        .unwrap();
    // Said again over the new connection, and answered there.
    let second = engine.hears_command().await;
    assert_eq!(second, first);
    engine.answers(&second, done(Outcome::Paused { program })).await;
    assert!(timeout(LIMIT, operation.wait()).await.unwrap().is_ok());
    fleet.close().await;
}

#[tokio::test]
async fn a_program_that_has_moved_meanwhile_is_found() {
    let (_broker, url) = broker().await;
    let (mut a, fleet, program) = with_program(&url).await;
    let mut b = FakeEngine::start("b", &url).await;
    let operation = fleet.apply(Order::pause("p"), &within(LIMIT)).await.unwrap();
    let command = a.hears_command().await;
    let status = b.program(program, 2, ProgramState::Running);
    b.says(Online, vec![status]).await;
    let failure = Failure::UnknownProgram {
        engine: a.id.clone(),
        program,
    };
    a.answers(&command, EventBody::Failed { failure }).await;
    let again = b.hears_command().await;
    assert_eq!(again.action.program(), program);
    b.answers(&again, done(Outcome::Paused { program })).await;
    assert_eq!(
        timeout(LIMIT, operation.wait())
            .await
            .unwrap()
            .unwrap()
            .engine
            .as_str(),
        "b"
    );
    fleet.close().await;
}

#[tokio::test]
async fn many_orders_are_carried_out_at_once_and_answered_in_order() {
    let (_broker, url) = broker().await;
    let (mut engine, fleet, p) = with_program(&url).await;
    let q = ProgramId::random();
    let statuses = [p, q].map(|program| engine.program(program, 1, ProgramState::Running));
    engine.says(Online, statuses.to_vec()).await;
    let order = |name: &str| Order::Pause { program: name.into() };
    let orders = vec![order(&p.to_string()), order("nosuch"), order(&q.to_string())];
    let played = async {
        // Both are on their way before either is answered; the later one is answered first.
        let (first, second) = (engine.hears_command().await, engine.hears_command().await);
        for command in [second, first] {
            let program = command.action.program();
            engine.answers(&command, done(Outcome::Paused { program })).await;
        }
    };
    let options = within(LIMIT);
    let (results, ()) = tokio::join!(fleet.apply_actions(orders, &options), played);
    let paused = |program| Some(Outcome::Paused { program });
    let outcomes: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().ok().map(|f| f.outcome.clone()))
        .collect();
    assert_eq!(outcomes, [paused(p), None, paused(q)]);
    assert!(
        matches!(results[1], Err(CommandError::Lookup(_))),
        "{:?}",
        results[1]
    );
    fleet.close().await;
}

#[tokio::test]
async fn a_snapshot_becomes_a_file_and_a_file_a_program() {
    let (_broker, url) = broker().await;
    let (mut engine, fleet, program) = with_program(&url).await;
    let (module, snapshot) = (module(), b"snapshot".to_vec());
    let spec = ProgramSpec {
        name: "p".into(),
        module: Blob::of(&module),
        args: vec!["x".into()],
        env: [].into(),
        stdin: None,
        memory_bytes_max: None,
        grants: Default::default(),
        ports: Default::default(),
        health_every_ms: None,
    };
    let operation = fleet.apply(Order::snapshot("p"), &within(LIMIT)).await.unwrap();
    let command = engine.hears_command().await;
    let captured = Outcome::Captured {
        program,
        generation: Generation(1),
        spec: spec.clone(),
        snapshot: Blob::of(&snapshot),
    };
    engine.answers(&command, done(captured)).await;
    let wanted = loop {
        if let Heard::Peer(PeerMessage::Want { missing }, _) = engine.hears().await {
            break missing;
        }
    };
    assert_eq!(wanted.len(), 2);
    for content in [&module, &snapshot] {
        for (number, chunk) in content.chunks(CHUNK_BYTES).enumerate() {
            let offset = (number * CHUNK_BYTES) as u64;
            engine
                .tells(
                    &command,
                    PeerMessage::Chunk {
                        blob: Blob::of(content),
                        offset,
                    },
                    chunk,
                )
                .await;
        }
    }
    let file = timeout(LIMIT, operation.wait())
        .await
        .unwrap()
        .unwrap()
        .into_bundle()
        .unwrap();
    assert_eq!(bundle::decode(&file).unwrap().0.spec, spec);

    let restore = wayfare_client::Restore {
        file,
        on: None,
        name: Some("again".into()),
        id: wayfare_client::IdChoice::New,
    };
    let options = within(LIMIT);
    let (restoring, ()) = tokio::join!(
        fleet.apply(Order::Restore(restore), &options),
        engine.answers_poll()
    );
    restoring.unwrap();
    let Action::Run {
        program: restored,
        spec,
        snapshot: Some(blob),
        ..
    } = engine.hears_command().await.action
    else {
        panic!("no restore")
    };
    assert_ne!(restored, program);
    assert_eq!((spec.name.as_str(), blob), ("again", Blob::of(&snapshot)));
    fleet.close().await;
}

#[tokio::test]
async fn logs_are_followed_over_a_move_without_repeats_until_the_end() {
    let (_broker, url) = broker().await;
    let (mut a, fleet, program) = with_program(&url).await;
    let mut b = FakeEngine::start("b", &url).await;
    let mut stream = fleet.logs(program, 0, Follow::UntilEnded).await.unwrap();
    let played = async {
        // The tail comes in two parts, and a live batch crosses it.
        let command = a.hears_command().await;
        let Action::Logs {
            follower: Some(follower),
            ..
        } = command.action
        else {
            panic!("nobody follows: {:?}", command.action)
        };
        a.logs(program, 1, 3..6).await;
        a.answers(
            &command,
            done(Outcome::Logs {
                lines: log_lines(0..2),
                next: 4,
            }),
        )
        .await;
        let rest = a.hears_command().await;
        assert!(
            matches!(rest.action, Action::Logs { since: 2, .. }),
            "{:?}",
            rest.action
        );
        a.answers(
            &rest,
            done(Outcome::Logs {
                lines: log_lines(2..5),
                next: 5,
            }),
        )
        .await;
        // Moved: the target says the last line again.
        let status = b.program(program, 2, ProgramState::Running);
        b.says(Online, vec![status]).await;
        // The target knows nothing of followers: it is told at once.
        let told = b.hears_command().await;
        assert!(
            matches!(&told.action, Action::Logs { since: u64::MAX, follower: Some(same), .. } if same.id == follower.id),
            "{:?}",
            told.action
        );
        b.answers(
            &told,
            done(Outcome::Logs {
                lines: vec![],
                next: 8,
            }),
        )
        .await;
        b.logs(program, 2, 5..8).await;
        // Ended: one last look at the tail brings a line that was never live.
        let status = b.program(program, 2, ProgramState::Exited { code: 7 });
        b.says(
            Online,
            vec![wayfare_protocol::status::ProgramStatus {
                sequence: 99,
                ..status
            }],
        )
        .await;
        let last = b.hears_command().await;
        b.answers(
            &last,
            done(Outcome::Logs {
                lines: log_lines(8..9),
                next: 9,
            }),
        )
        .await;
    };
    let (lines, ()) = timeout(LIMIT, async { tokio::join!(all_lines(&mut stream), played) })
        .await
        .unwrap();
    assert_eq!(lines, (0..9).collect::<Vec<_>>());
    assert_eq!(stream.ended(), Some(&ProgramState::Exited { code: 7 }));
    fleet.close().await;
}

#[tokio::test]
async fn logs_that_are_not_followed_end_with_the_tail() {
    let (_broker, url) = broker().await;
    let (mut engine, fleet, program) = with_program(&url).await;
    let mut stream = fleet.logs(program, 3, Follow::No).await.unwrap();
    let played = async {
        let command = engine.hears_command().await;
        engine
            .answers(
                &command,
                done(Outcome::Logs {
                    lines: log_lines(3..5),
                    next: 5,
                }),
            )
            .await;
    };
    let (lines, ()) = tokio::join!(all_lines(&mut stream), played);
    assert_eq!(lines, [3, 4]);
    fleet.close().await;
}

async fn all_lines(stream: &mut LogStream) -> Vec<u64> {
    let mut lines = Vec::new();
    while let Some(item) = stream.next().await {
        match item.unwrap() {
            LogItem::Line(line) => lines.push(line.line),
            LogItem::Gap { from, to } => panic!("gap {from}..{to}"),
        }
    }
    lines
}

#[tokio::test]
async fn events_of_all_engines_are_heard() {
    let (_broker, url) = broker().await;
    let (mut engine, fleet, program) = with_program(&url).await;
    let mut events = fleet.events().await.unwrap();
    let _operation = fleet.apply(Order::pause("p"), &within(LIMIT)).await.unwrap();
    let command = engine.hears_command().await;
    engine.answers(&command, done(Outcome::Paused { program })).await;
    let event = timeout(LIMIT, events.next()).await.unwrap().unwrap();
    assert_eq!(
        (event.verb.as_str(), event.operation),
        ("pause", command.operation)
    );
    fleet.close().await;
}

#[tokio::test]
async fn a_status_poll_hears_every_engine_and_names_the_silent_one() {
    let (_broker, url) = broker().await;
    let mut a = FakeEngine::start("a", &url).await;
    let _b = FakeEngine::start("b", &url).await;
    let fleet = connect(&url).await;
    let played = async {
        let Heard::Report(request) = a.hears().await else {
            panic!("no report request")
        };
        a.reports(&request, done(Outcome::Reported)).await;
    };
    let (report, ()) = tokio::join!(fleet.request_status_reports(Duration::from_millis(600)), played);
    let report = report.unwrap();
    assert!(report.answered.contains_key(&a.id));
    assert_eq!(
        report.silent.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        ["b"]
    );
    fleet.close().await;
}

/// The site lost power: the broker is back with what it had retained, and one of the engines is not.
#[tokio::test]
async fn a_program_without_a_place_goes_to_an_engine_that_answers() {
    let (_broker, url) = broker().await;
    let gone = FakeEngine::start("a", &url).await;
    let mut there = FakeEngine::start("b", &url).await;
    let busy = there.program(ProgramId::random(), 1, ProgramState::Running);
    there.says(Online, vec![busy]).await;
    gone.goes_without_a_word().await;
    let fleet = connect(&url).await;
    let anywhere = || Run {
        on: None,
        ..run_of(b"\0asm\x01\0\0\0")
    };
    // The one that is gone has fewer programs, and is preferred until it has been asked.
    let options = within(LIMIT);
    let (operation, ()) = tokio::join!(
        fleet.apply(Order::run(anywhere()), &options),
        there.answers_poll()
    );
    let command = there.hears_command().await;
    assert_eq!(operation.unwrap().id(), command.operation);
    // A moment later nobody is asked again where the best has just answered.
    let (engines, ()) = tokio::join!(
        fleet.engines_asked(Duration::from_millis(300)),
        there.answers_poll()
    );
    let words: Vec<_> = engines
        .unwrap()
        .iter()
        .map(|view| (view.word(), view.online))
        .collect();
    assert_eq!(words, [("silent", false), ("online", true)]);
    fleet.close().await;
}

#[tokio::test]
async fn where_no_engine_answers_the_error_names_the_silent_ones() {
    let (_broker, url) = broker().await;
    let gone = FakeEngine::start("a", &url).await;
    gone.goes_without_a_word().await;
    let fleet = connect(&url).await;
    let anywhere = Run {
        on: None,
        ..run_of(b"\0asm\x01\0\0\0")
    };
    let error = fleet
        .apply(Order::run(anywhere), &within(Duration::from_millis(100)))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("silent, though their last status says online: a"),
        "{text}"
    );
    fleet.close().await;
}

async fn wait_until(fleet: &Client, holds: impl AsyncFn(&Client) -> bool) {
    let mut seen = 0;
    let until = async {
        while !holds(fleet).await {
            fleet.changed(&mut seen).await.unwrap();
        }
    };
    timeout(LIMIT, until).await.unwrap();
}

/// A broker that drops everything behind one status, as Mosquitto drops what is over `max_queued_messages`.
async fn broker_that_drops(listener: TcpListener, status: (String, Vec<u8>)) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let (topic, payload) = status;
    let programs = Topics::default().all_program_statuses();
    loop {
        let first = socket.read_u8().await.unwrap();
        // Lengths of a hundred bytes and more take two.
        let mut length = usize::from(socket.read_u8().await.unwrap());
        if length & 0x80 != 0 {
            length = length & 0x7f | usize::from(socket.read_u8().await.unwrap()) << 7;
        }
        let mut rest = vec![0; length];
        socket.read_exact(&mut rest).await.unwrap();
        match first >> 4 {
            1 => socket.write_all(&[0x20, 2, 0, 0]).await.unwrap(),
            8 => {
                socket.write_all(&[0x90, 3, rest[0], rest[1], 1]).await.unwrap();
                // The filter stands behind the packet's id and its own length.
                if rest[4..].starts_with(programs.as_bytes()) {
                    let length = 2 + topic.len() + payload.len();
                    let (low, high) = ((length & 0x7f) as u8 | 0x80, (length >> 7) as u8);
                    let mut packet = vec![0x31, low, high, 0, topic.len() as u8];
                    packet.extend(topic.as_bytes());
                    packet.extend(&payload);
                    socket.write_all(&packet).await.unwrap();
                }
            }
            3 => {
                let id = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                socket
                    .write_all(&[0x40, 2, rest[id], rest[id + 1]])
                    .await
                    .unwrap();
            }
            14 => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_broker_that_drops_statuses_is_named_with_its_limit() {
    let (_broker, url) = broker().await;
    let engine = FakeEngine::start("a", &url).await;
    let runs = engine.program(ProgramId::random(), 1, ProgramState::Running);
    let topic = Topics::default().topic(&Topic::ProgramStatus(runs.program));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dropping = tokio::spawn(broker_that_drops(listener, (topic, wire::encode(&runs))));
    let options = ClientOptions {
        connect_timeout: Duration::from_millis(300),
        ..ClientOptions::new(address.into())
    };
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Cut { .. }), "{error}");
    assert!(error.to_string().contains("max_queued_messages"), "{error}");
    dropping.await.unwrap();
}

/// Thousands of statuses may be retained, which nobody needs who asks the dispatcher for something.
#[tokio::test]
async fn who_only_asks_services_reads_no_statuses() {
    let (_broker, url) = broker().await;
    let mut engine = FakeEngine::start("a", &url).await;
    let runs = engine.program(ProgramId::random(), 1, ProgramState::Running);
    engine.says(Online, vec![runs]).await;
    let seen = async |session| {
        let mut options = ClientOptions::new(url.clone());
        options.session = session;
        let client = Client::connect(options).await.unwrap();
        let seen = client.fleet().await.unwrap();
        client.close().await;
        (seen.engines.len(), seen.programs.len())
    };
    assert_eq!(seen(Session::Services).await, (0, 0));
    assert_eq!(seen(Session::Own).await, (1, 1));
}
