//! Programs that call and are called, which go on elsewhere in the middle of it.

use serde_json::{Value as Json, json};
use wayfare_mail::{Accepted, Outgoing};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::call::{self, About, FailureKind, Notice, Outcome, Sent};
use wayfare_protocol::choice::{EngineAndLoad, Load, LoadsAnswer, LoadsAsk, Only};
use wayfare_protocol::ids::{EngineId, ProgramId};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use super::*;
use crate::{Mailbox, Reply, ServiceAsk};

const OTHER: [u8; 16] = [9; 16];
const OWN: [u8; 16] = [7; 16];

fn other() -> ProgramId {
    ProgramId::from_bytes(OTHER)
}

fn topic(topic: &Topic) -> String {
    Topics::default().topic(topic)
}

fn address() -> Address {
    "service/calc".parse().unwrap()
}

fn granted(mut plan: Plan, args: &[&str]) -> Plan {
    plan.spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    plan.spec.grants.call = vec!["service/+".into()];
    plan.spec.grants.serve = vec!["calc".into()];
    plan
}

fn calc(args: &[&str]) -> Plan {
    static LOADED: LazyLock<Arc<Loaded>> =
        LazyLock::new(|| load_wasm(wayfare_samples::find_talker("calc").unwrap().wasm).unwrap());
    granted(Plan::new(LOADED.clone()), args)
}

fn talk(args: &[&str]) -> Plan {
    static LOADED: LazyLock<Arc<Loaded>> = LazyLock::new(|| load_wasm(wayfare_samples::TALK).unwrap());
    granted(Plan::new(LOADED.clone()), args)
}

/// As the session does it: what the program has to send, when it has.
fn until<T>(mailbox: &Mailbox, mut look: impl FnMut(&Mailbox) -> Option<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        loop {
            match look(mailbox) {
                Some(found) => return found,
                None => mailbox.changed().await,
            }
        }
    })
}

fn subscribed(run: &Run, filter: &str) {
    let mailbox = run.process.mailbox();
    until(&mailbox, |mailbox| mailbox.with(|mail| mail.is_granted(filter)));
    mailbox.granted(filter, Qos::AtLeastOnce);
}

fn moved(plan: &Plan, run: &Run) -> Run {
    plan.restore(through_the_wire(&run.capture(false)))
}

/// The other program can be called.
fn announce(run: &Run, is_there: bool) {
    let announcement = Announcement {
        program: other(),
        name: "other".into(),
        engine: "there".parse().unwrap(),
        generation: Generation::FIRST,
        gone: false,
    };
    let payload = if is_there {
        wire::encode(&announcement)
    } else {
        Vec::new()
    };
    let accepted =
        run.process
            .mailbox()
            .accept(&topic(&Topic::Address(address(), other())), &payload, is_there);
    assert!(matches!(accepted, Accepted::Taken(_)));
}

/// The broker has told the program of everybody who is there: what it asks itself comes behind.
fn told_all(run: &Run) {
    let own = topic(&Topic::ProgramReply(ProgramId::from_bytes([7; 16])));
    subscribed(run, &own);
    let barrier = sent(run);
    assert_eq!(barrier.topic, own);
    run.process.mailbox().accept(&own, &barrier.payload, false);
}

/// The next message that the program sends, which the broker has then.
fn sent(run: &Run) -> Outgoing {
    let mailbox = run.process.mailbox();
    let sent = until(&mailbox, Mailbox::next_to_send);
    mailbox.sent(&[sent.number]);
    sent
}

/// The number, function and arguments of the next call that the program makes.
fn made(run: &Run) -> (u64, String, String) {
    let sent = sent(run);
    assert_eq!(sent.topic, topic(&Topic::ProgramInbox(other())));
    let (stamp, payload) = Stamp::take_off(&sent.payload);
    let (header, arguments) = call::decode_sent(payload).unwrap();
    let Sent::Call { to, function, .. } = header else {
        panic!("{header:?}")
    };
    assert_eq!(to, address());
    (
        stamp.unwrap().number,
        function,
        String::from_utf8(arguments.to_vec()).unwrap(),
    )
}

fn answer(run: &Run, number: u64, outcome: &Outcome) {
    let stamp = Stamp {
        sender: other(),
        number,
        purpose: Purpose::Reply { answers: number },
    };
    let reply = topic(&Topic::ProgramReply(ProgramId::from_bytes(OWN)));
    let accepted = run
        .process
        .mailbox()
        .accept(&reply, &stamp.put_on(&outcome.encode()), false);
    assert!(matches!(accepted, Accepted::Taken(_)));
}

fn done(result: &str) -> Outcome {
    Outcome::Done(result.into())
}

/// The other program calls this one, and takes progress.
fn asks(run: &Run, number: u64, function: &str, arguments: &str) {
    let header = Sent::Call {
        to: address(),
        function: function.into(),
        deadline_ms: 1,
        progress: true,
    };
    let reply_to = topic(&Topic::ProgramReply(other()));
    sends(run, number, &header, Purpose::Request { reply_to }, arguments);
}

fn sends(run: &Run, number: u64, header: &Sent, purpose: Purpose, arguments: &str) {
    let stamp = Stamp {
        sender: other(),
        number,
        purpose,
    };
    let inbox = topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN)));
    let payload = stamp.put_on(&call::encode(header, arguments.as_bytes()));
    assert!(matches!(
        run.process.mailbox().accept(&inbox, &payload, false),
        Accepted::Taken(_)
    ));
}

/// Which call the program answers next, and how.
fn answered(run: &Run) -> (u64, Outcome) {
    let sent = sent(run);
    assert_eq!(sent.topic, topic(&Topic::ProgramReply(other())));
    let (stamp, payload) = Stamp::take_off(&sent.payload);
    let Purpose::Reply { answers } = stamp.unwrap().purpose else {
        panic!("no reply")
    };
    (answers, Outcome::decode(payload))
}

#[test]
fn a_caller_goes_on_waiting_for_a_provider_and_for_answers_wherever_it_is() {
    let plan = calc(&["call", "service/calc", "3", "0"]);
    let run = plan.start();
    subscribed(&run, &Topics::default().all_at(&address()));
    let run = moved(&plan, &run);
    announce(&run, true);
    let calls: Vec<_> = (0..3).map(|_| made(&run)).collect();
    let said: Vec<_> = calls
        .iter()
        .map(|(_, function, arguments)| (function.as_str(), arguments.as_str()))
        .collect();
    assert_eq!(said, [("double", "1"), ("double", "2"), ("double", "3")]);
    answer(&run, calls[1].0, &done("4"));
    let run = moved(&plan, &run);
    answer(&run, calls[0].0, &done("2"));
    assert_eq!(stdout(&run.lines(2)), "twice 1 is 2\ntwice 2 is 4\n");
    let run = moved(&plan, &run);
    announce(&run, false);
    announce(&run, true);
    let (number, function, _) = made(&run);
    assert_eq!(function, "count");
    answer(&run, number, &done("2"));
    let (lines, state) = run.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    assert!(
        stdout(&lines).contains("twice 3: unavailable: its provider"),
        "{}",
        stdout(&lines)
    );
    assert!(stdout(&lines).ends_with("2 were doubled\n"));
}

#[test]
fn a_provider_answers_what_it_was_asked_wherever_it_is() {
    let plan = calc(&["serve", "calc"]);
    let run = plan.start();
    let inbox = topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN)));
    subscribed(&run, &inbox);
    assert!(matches!(run.next_but_lines(), ProcessEvent::Serves));
    let run = moved(&plan, &run);
    assert_eq!(
        run.process
            .mailbox()
            .with(|mail| mail.services().clone())
            .first()
            .map(String::as_str),
        Some("calc")
    );
    let schema: Json = serde_json::from_str(&described(&run, "calc")).unwrap();
    assert_eq!(
        schema["functions"]["double"]["result"],
        json!({ "type": "integer" })
    );
    for (number, function, arguments) in [
        (1, "double", "21"),
        (2, "double", "x"),
        (3, "dance", ""),
        (4, "stop", ""),
    ] {
        asks(&run, number, function, arguments);
    }
    assert_eq!(answered(&run), (1, done("42")));
    for (number, expected) in [(2, FailureKind::Refused), (3, FailureKind::NotFound)] {
        let (answers, outcome) = answered(&run);
        assert!(
            matches!(outcome, Outcome::Failed(kind, _) if kind == expected),
            "{outcome:?}"
        );
        assert_eq!(answers, number);
    }
    assert_eq!(answered(&run), (4, done("\"stops after 1\"")));
    assert_eq!(run.end().1, ProgramState::Exited { code: 0 });
}

/// What schema is told of a service of the program's to whoever asks.
fn described(run: &Run, service: &str) -> String {
    let notice = Notice::Describe {
        from: other(),
        service: service.into(),
    };
    let inbox = topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN)));
    run.process
        .mailbox()
        .accept(&inbox, &call::encode(&notice, b""), false);
    let told = sent(run);
    assert_eq!(told.topic, topic(&Topic::ProgramReply(other())));
    let (notice, schema) = call::decode::<Notice>(&told.payload).expect("a notice");
    assert!(matches!(notice, Notice::Description { service: of, .. } if of == service));
    String::from_utf8(schema.to_vec()).expect("text")
}

#[test]
fn lines_call_and_are_called_wherever_their_program_is() {
    let said = [
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a"}"#,
        r#"{"do":"call","address":"calc","function":"f","payload":"a","id":1}"#,
        r#"{"do":"call","address":"program/p","function":"f","payload":"a","id":2}"#,
        r#"{"do":"fail","to":"1 x","kind":"tired","reason":"","id":3}"#,
        r#"{"do":"serve","name":"calc","schema":["no object"],"id":7}"#,
        r#"{"do":"serve","name":"calc","schema":{"functions":{"dance":{}}},"id":4}"#,
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a","id":5}"#,
        r#"{"do":"call","address":"service/calc","function":"f","payload":"b","id":6}"#,
        "",
    ];
    let plan = talk(&["say", &said.join("\n"), "hear", "9"]);
    let run = plan.start();
    subscribed(&run, &topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN))));
    assert!(matches!(run.next_but_lines(), ProcessEvent::Serves));
    subscribed(&run, &Topics::default().all_at(&address()));
    let run = moved(&plan, &run);
    announce(&run, true);
    let calls = [made(&run).0, made(&run).0];
    let run = moved(&plan, &run);
    answer(&run, calls[1], &done("B"));
    answer(
        &run,
        calls[0],
        &Outcome::Failed(FailureKind::Refused, "no".into()),
    );
    run.lines(8);
    assert_eq!(described(&run, "calc"), r#"{"functions":{"dance":{}}}"#);
    asks(&run, 3, "dance", "now");
    let (lines, state) = run.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    let last: Json = serde_json::from_str(stdout(&lines).lines().last().unwrap()).unwrap();
    let expected = json!({
        "event": "call", "address": "service/calc", "function": "dance", "payload": "now",
        "from": other().to_string(), "request": format!("3 {}", topic(&Topic::ProgramReply(other()))),
    });
    assert_eq!(last, expected);
}

#[test]
fn a_call_that_chooses_by_load_asks_the_dispatcher_until_somebody_fits_wherever_its_program_is() {
    let said = [
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a","choose":"fastest","id":1}"#,
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a","choose":"host=attic,least-cpu","id":2}"#,
        "",
    ];
    let plan = talk(&["say", &said.join("\n"), "hear", "2"]);
    let run = plan.start();
    subscribed(&run, &Topics::default().all_at(&address()));
    announce(&run, true);
    told_all(&run);
    let first = run.asks();
    let engine: EngineId = "there".parse().unwrap();
    let expected = LoadsAsk::Loads {
        engines: vec![engine.clone()],
        only: vec![Only::Host("attic".into())],
        measured: true,
    };
    assert_eq!(first.what, ServiceAsk::Loads(expected));
    let run = moved(&plan, &run);
    // On a new connection that may have changed.
    told_all(&run);
    let again = run.asks();
    assert_eq!(again.what, first.what);
    let answered = |request, engines| {
        let answer = Ok(Reply::Loads(LoadsAnswer { engines }));
        run.process.service_answered(request, answer);
    };
    answered(again.request, Vec::new());
    let again = run.asks();
    let load = Load::default();
    answered(again.request, vec![EngineAndLoad { engine, load }]);
    let (number, function, _) = made(&run);
    assert_eq!(function, "f");
    answer(&run, number, &done("A"));
    let (lines, state) = run.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    assert!(
        stdout(&lines).contains("'fastest' is not a choice"),
        "{}",
        stdout(&lines)
    );
    assert!(stdout(&lines).contains("\"payload\":\"A\""), "{}", stdout(&lines));
}

/// Nobody is asked about load for it.
#[test]
fn a_call_by_a_picker_that_may_not_be_known_fails_and_the_log_says_what_lacks() {
    let said = r#"{"do":"call","address":"service/calc","function":"f","payload":"a","choose":"service/coolest","id":1}"#;
    let told = |lines: &[LogLine]| {
        let mut told = Vec::new();
        let all = lines.iter().filter(|line| line.stream == Stream::Stderr);
        all.for_each(|line| line.write_to(&mut told));
        String::from_utf8(told).unwrap()
    };
    let mut plan = talk(&["say", &format!("{said}\n"), "hear", "1"]);
    plan.spec.grants.call = vec!["service/calc".into()];
    let (lines, _) = plan.start().end();
    assert!(stdout(&lines).contains("not-granted"), "{}", stdout(&lines));
    let log = told(&lines);
    assert!(log.contains("call 'service/coolest'; --allow-call"), "{log}");
    plan.spec.grants.call.push("service/coolest".into());
    let run = plan.start();
    let picker = Topics::default().all_at(&"service/coolest".parse().unwrap());
    let mailbox = run.process.mailbox();
    until(&mailbox, |mailbox| mailbox.with(|mail| mail.is_granted(&picker)));
    mailbox.refused(&picker);
    let (lines, _) = run.end();
    assert!(stdout(&lines).contains("\"refused\""), "{}", stdout(&lines));
    let log = told(&lines);
    assert_eq!(log.matches("the broker refused").count(), 1, "{log}");
}

/// What the program tells of how far a call is, or a notice of its engine's.
fn told(run: &Run) -> (Notice, String) {
    let sent = sent(run);
    assert_eq!(sent.topic, topic(&Topic::ProgramReply(other())));
    let (_, payload) = Stamp::take_off(&sent.payload);
    let (notice, payload) = call::decode(payload).unwrap();
    (notice, String::from_utf8(payload.to_vec()).unwrap())
}

/// The other program tells this one.
fn tells(run: &Run, notice: &Notice, stamp: Option<u64>, payload: &str) {
    let bytes = call::encode(notice, payload.as_bytes());
    let stamp = stamp.map(|number| Stamp {
        sender: other(),
        number,
        purpose: Purpose::Message,
    });
    let bytes = stamp.map_or(bytes.clone(), |stamp| stamp.put_on(&bytes));
    let reply = topic(&Topic::ProgramReply(ProgramId::from_bytes(OWN)));
    assert!(matches!(
        run.process.mailbox().accept(&reply, &bytes, false),
        Accepted::Taken(_)
    ));
}

fn message(receipt: bool) -> Sent {
    Sent::Message {
        to: address(),
        about: About {
            kind: Some("order".into()),
            ordered: Some("t4".into()),
            expires: None,
            receipt,
        },
    }
}

#[test]
fn a_provider_tells_how_far_it_is_and_is_told_of_what_is_cancelled_wherever_it_is() {
    let plan = calc(&["serve", "calc"]);
    let run = plan.start();
    subscribed(&run, &topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN))));
    assert!(matches!(run.next_but_lines(), ProcessEvent::Serves));
    asks(&run, 1, "slow", "2");
    assert_eq!(told(&run), (Notice::Progress { call: 1 }, "\"1 of 2\"".into()));
    let run = moved(&plan, &run);
    assert_eq!(told(&run), (Notice::Progress { call: 1 }, "\"2 of 2\"".into()));
    assert_eq!(answered(&run), (1, done("2")));
    asks(&run, 2, "slow", "1000000");
    assert_eq!(told(&run).0, Notice::Progress { call: 2 });
    let cancel = Sent::Cancel {
        to: address(),
        call: 2,
    };
    sends(&run, 3, &cancel, Purpose::Message, "");
    run.lines(2);
    let run = moved(&plan, &run);
    sends(&run, 4, &message(true), Purpose::Message, "hello");
    asks(&run, 5, "stop", "");
    let mut notices = Vec::new();
    let mailbox = run.process.mailbox();
    let last = until(&mailbox, |mailbox| {
        while let Some(one) = mailbox.next_to_send() {
            mailbox.sent(&[one.number]);
            let (stamp, payload) = Stamp::take_off(&one.payload);
            match call::decode::<Notice>(payload) {
                Some((notice, _)) => notices.push(notice),
                None => return Some(stamp.unwrap().purpose),
            }
        }
        None
    });
    assert_eq!(last, Purpose::Reply { answers: 5 });
    let (lines, _) = run.end();
    assert!(
        stdout(&lines).ends_with("somebody says: hello\n"),
        "{}",
        stdout(&lines)
    );
    let by = ProgramId::from_bytes(OWN);
    assert!(
        notices.contains(&Notice::Delivered { by, number: 4 }),
        "{notices:?}"
    );
}

#[test]
fn what_is_sent_for_a_receipt_says_what_became_of_it_wherever_its_sender_is() {
    let by = other();
    for (notice, expected) in [
        (Notice::Delivered { by, number: 0 }, "delivered\n"),
        (Notice::Expired { by, number: 0 }, "expired: 1 of 1 not delivered"),
    ] {
        let plan = calc(&["say", "service/calc", "hello"]);
        let run = plan.start();
        subscribed(&run, &Topics::default().all_at(&address()));
        announce(&run, true);
        let outgoing = sent(&run);
        let (stamp, payload) = Stamp::take_off(&outgoing.payload);
        assert_eq!(stamp.unwrap().number, 0);
        let (header, payload) = call::decode_sent(payload).unwrap();
        assert!(matches!(header, Sent::Message { about, .. } if about.receipt && about.expires.is_some()));
        assert_eq!(payload, b"hello");
        let run = moved(&plan, &run);
        tells(&run, &notice, None, "");
        let (lines, _) = run.end();
        assert!(stdout(&lines).starts_with(expected), "{}", stdout(&lines));
    }
}

#[test]
fn lines_have_progress_receipts_and_messages_in_order_wherever_their_program_is() {
    let said = [
        r#"{"do":"attend","cancels":true,"order":true,"id":1}"#,
        r#"{"do":"serve","name":"calc","id":2}"#,
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a","progress":true,"idempotent":true,"id":3}"#,
        r#"{"do":"send","address":"service/calc","payload":"m","receipt":true,"type":"note","order":"k","expires_ms":60000,"id":4}"#,
        r#"{"do":"send","address":"service/calc","payload":"m","receipt":true}"#,
        r#"{"do":"handled","order":"k","id":5}"#,
        r#"{"do":"cancel","call":9,"id":6}"#,
        "",
    ];
    let plan = talk(&["say", &said.join("\n"), "hear", "11"]);
    let run = plan.start();
    subscribed(&run, &topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN))));
    assert!(matches!(run.next_but_lines(), ProcessEvent::Serves));
    subscribed(&run, &Topics::default().all_at(&address()));
    announce(&run, true);
    let call = made(&run).0;
    let sent_message = sent(&run);
    let (stamp, _) = Stamp::take_off(&sent_message.payload);
    let message_number = stamp.unwrap().number;
    let run = moved(&plan, &run);
    let mut all = stdout(&run.lines(5));
    tells(&run, &Notice::Progress { call }, Some(70), "half");
    all += &stdout(&run.lines(1));
    tells(
        &run,
        &Notice::Delivered {
            by: other(),
            number: message_number,
        },
        None,
        "",
    );
    answer(&run, call, &done("B"));
    all += &stdout(&run.lines(2));
    asks(&run, 80, "dance", "");
    let cancel = Sent::Cancel {
        to: address(),
        call: 80,
    };
    all += &stdout(&run.lines(1));
    sends(&run, 81, &cancel, Purpose::Message, "");
    sends(&run, 82, &message(false), Purpose::Message, "soup");
    sends(&run, 83, &message(false), Purpose::Message, "later");
    all += &stdout(&run.end().0);
    let all: Vec<Json> = all
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words: Vec<String> = all
        .iter()
        .map(|line| format!("{} {} {}", line["event"], line["id"], line["kind"]).replace('"', ""))
        .collect();
    assert_eq!(
        words[..5],
        [
            "answer 1 null",
            "answer 2 null",
            "error null malformed",
            "error 5 gone",
            "error 6 gone"
        ]
    );
    let reply = topic(&Topic::ProgramReply(other()));
    assert_eq!(all[5], json!({"event": "progress", "id": 3, "payload": "half"}));
    let mut ends = all[6..8].to_vec();
    ends.sort_by_key(|line| line["id"].as_u64());
    assert_eq!(ends[0], json!({"event": "answer", "id": 3, "payload": "B"}));
    assert_eq!(
        ends[1],
        json!({"event": "answer", "id": 4, "payload": "{\"delivered\":1}"})
    );
    assert_eq!(
        all[9],
        json!({"event": "cancelled", "address": "service/calc", "request": format!("80 {reply}")})
    );
    let soup = json!({
        "event": "message", "topic": "service/calc", "address": "service/calc", "type": "order", "order": "t4",
        "from": other().to_string(), "payload": "soup",
    });
    assert_eq!(all[10], soup);
    assert_eq!(all.len(), 11, "the next of its key comes when it was handled");
}
