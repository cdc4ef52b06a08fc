//! Programs that call and are called, which go on elsewhere in the middle of it.

use serde_json::{Value as Json, json};
use wayfare_mail::{Accepted, Outgoing};
use wayfare_protocol::address::{Address, Announcement};
use wayfare_protocol::call::{self, FailureKind, Outcome, Sent};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use super::*;
use crate::Post;

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
fn until<T>(post: &Post, mut look: impl FnMut(&Post) -> Option<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        loop {
            match look(post) {
                Some(found) => return found,
                None => post.changed().await,
            }
        }
    })
}

fn subscribed(run: &Run, filter: &str) {
    let post = run.process.post();
    until(&post, |post| post.with(|mail| mail.is_granted(filter)));
    post.granted(filter, true);
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
    };
    let payload = if is_there {
        wire::encode(&announcement)
    } else {
        Vec::new()
    };
    let accepted = run
        .process
        .post()
        .accept(&topic(&Topic::Address(address(), other())), &payload, is_there);
    assert!(matches!(accepted, Accepted::Taken(_)));
}

/// The next message that the program sends, which the broker has then.
fn sent(run: &Run) -> Outgoing {
    let post = run.process.post();
    let sent = until(&post, Post::next_to_send);
    post.sent(sent.number);
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
        .post()
        .accept(&reply, &stamp.put_on(&outcome.encode()), false);
    assert!(matches!(accepted, Accepted::Taken(_)));
}

fn done(result: &str) -> Outcome {
    Outcome::Done(result.into())
}

/// The other program calls this one.
fn asks(run: &Run, number: u64, function: &str, arguments: &str) {
    let header = Sent::Call {
        to: address(),
        function: function.into(),
        deadline_ms: 1,
    };
    let reply_to = topic(&Topic::ProgramReply(other()));
    let stamp = Stamp {
        sender: other(),
        number,
        purpose: Purpose::Request { reply_to },
    };
    let inbox = topic(&Topic::ProgramInbox(ProgramId::from_bytes(OWN)));
    let payload = stamp.put_on(&call::encode(&header, arguments.as_bytes()));
    assert!(matches!(
        run.process.post().accept(&inbox, &payload, false),
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
            .post()
            .with(|mail| mail.services().clone())
            .first()
            .map(String::as_str),
        Some("calc")
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

#[test]
fn lines_call_and_are_called_wherever_their_program_is() {
    let said = [
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a"}"#,
        r#"{"do":"call","address":"calc","function":"f","payload":"a","id":1}"#,
        r#"{"do":"call","address":"program/p","function":"f","payload":"a","id":2}"#,
        r#"{"do":"fail","to":"1 x","kind":"tired","reason":"","id":3}"#,
        r#"{"do":"serve","name":"calc","id":4}"#,
        r#"{"do":"call","address":"service/calc","function":"f","payload":"a","id":5}"#,
        r#"{"do":"call","address":"service/calc","function":"f","payload":"b","id":6}"#,
        "",
    ];
    let plan = talk(&["say", &said.join("\n"), "hear", "8"]);
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
    run.lines(7);
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
