//! The mail as tables: what is asked, and what comes of it.

use std::sync::atomic::{AtomicU64, Ordering};
use wayfare_protocol::qos::Qos;

use super::*;

/// A program that no other test has met.
pub(crate) fn someone() -> ProgramId {
    static MET: AtomicU64 = AtomicU64::new(1);
    let number = MET.fetch_add(1, Ordering::Relaxed);
    ProgramId::from_random(u128::from(number).to_le_bytes())
}

fn home(program: ProgramId, engine: &str) -> Home {
    Home {
        program,
        engine: engine.into(),
        topics: Topics::default(),
    }
}

fn open() -> Mail {
    let grants = Grants {
        publish: vec!["out/#".into(), "wayfare/#".into()],
        subscribe: vec!["in/#".into(), "#".into()],
        ..Grants::default()
    };
    Mail::new(home(someone(), "a"), grants)
}

fn moved(mail: &Mail, program: ProgramId, engine: &str) -> Result<Mail, String> {
    let mut there = Mail::new(home(program, engine), mail.grants.clone());
    there.restore(&mail.save()).map(|()| there)
}

fn stamped(sender: ProgramId, number: u64, purpose: Purpose) -> Vec<u8> {
    stamped_with(sender, number, purpose, b"x")
}

fn stamped_with(sender: ProgramId, number: u64, purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    let stamp = Stamp {
        sender,
        number,
        purpose,
    };
    stamp.put_on(payload)
}

const PLAIN: Manner = Manner {
    qos: Qos::AtLeastOnce,
    retain: false,
    plain: true,
};

#[test]
fn only_what_is_granted_and_well_formed_is_done() {
    let mut mail = open();
    for (topic, expected) in [
        ("out/a", Ok(())),
        ("other", Err(Refusal::NotGranted)),
        ("out/+", Err(Refusal::Malformed)),
        ("", Err(Refusal::Malformed)),
        ("$SYS/a", Err(Refusal::Malformed)),
        ("wayfare/v1/engine/a/command", Err(Refusal::NotGranted)),
    ] {
        assert_eq!(mail.publish(topic, b"1", PLAIN), expected, "{topic}");
    }
    assert_eq!(
        mail.subscribe("in/#/a", Qos::AtLeastOnce),
        Err(Refusal::Malformed)
    );
    let mut closed = Mail::new(home(someone(), "a"), Grants::default());
    assert_eq!(
        closed.subscribe("in/a", Qos::AtLeastOnce),
        Err(Refusal::NotGranted)
    );
    assert_eq!(closed.publish("out/a", b"", PLAIN), Err(Refusal::NotGranted));
    assert_eq!(closed.request("out/a", b""), Err(Refusal::NotGranted));
    assert!(!closed.wants_session());
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let mut mail = open();
    let payload = vec![0; PAYLOAD_BYTES_MAX];
    assert_eq!(mail.publish("out/a", &payload, PLAIN), Ok(()));
    assert_eq!(
        mail.publish("out/a", &payload, Manner::default()),
        Err(Refusal::TooLarge),
        "with its stamp it is"
    );
    for number in 0..SUBSCRIPTIONS_MAX {
        assert_eq!(mail.subscribe(&format!("in/{number}"), Qos::AtLeastOnce), Ok(()));
    }
    assert_eq!(mail.subscribe("in/more", Qos::AtLeastOnce), Err(Refusal::TooMany));
    assert_eq!(
        mail.subscribe("in/1", Qos::AtLeastOnce),
        Ok(()),
        "it has that one"
    );
    assert_eq!(mail.to_subscribe().len(), SUBSCRIPTIONS_MAX);
}

#[test]
fn a_full_outbox_takes_nothing_until_something_is_acknowledged() {
    let mut mail = open();
    for _ in 0..OUTBOX_MESSAGES_MAX {
        assert_eq!(mail.publish("out/a", b"1", PLAIN), Ok(()));
    }
    assert_eq!(mail.publish("out/a", b"1", PLAIN), Err(Refusal::Full));
    mail.begin_session();
    assert_eq!(mail.next_to_send().map(|one| one.number), Some(0));
    assert_eq!(mail.next_to_send().map(|one| one.number), Some(1));
    mail.sent(0);
    assert_eq!(mail.publish("out/a", b"1", PLAIN), Ok(()));
    mail.begin_session();
    assert_eq!(
        mail.next_to_send().map(|one| one.number),
        Some(1),
        "again, from the first without an answer"
    );
}

#[test]
fn a_full_inbox_holds_the_session_up_and_loses_nothing() {
    let mut mail = open();
    let sender = someone();
    for number in 0..INBOX_MESSAGES_MAX as u64 {
        let payload = stamped(sender, number, Purpose::Message);
        assert!(
            matches!(mail.accept("in/a", &payload, false), Accepted::Taken(message) if message.number == number)
        );
    }
    let last = stamped(sender, INBOX_MESSAGES_MAX as u64, Purpose::Message);
    assert_eq!(mail.accept("in/a", &last, false), Accepted::Full);
    mail.take_first();
    assert!(
        matches!(mail.accept("in/a", &last, false), Accepted::Taken(_)),
        "offered again, it is no repeat"
    );
}

/// The broker sends the reply after what came before it, and the program takes nothing of that while it waits
/// for the reply.
#[test]
fn an_inbox_that_is_full_lets_through_what_is_before_a_reply_that_is_awaited() {
    let mut mail = open();
    let fill = |mail: &mut Mail| (0..).find(|_| mail.accept("in/a", b"x", false) == Accepted::Full);
    assert_eq!(fill(&mut mail), Some(INBOX_MESSAGES_MAX));
    mail.request("out/a", b"?").unwrap();
    assert!(matches!(mail.accept("in/a", b"x", false), Accepted::Taken(_)));
    let reply = stamped(someone(), 0, Purpose::Reply { answers: 0 });
    let reply_to = mail.reply_topic();
    assert!(matches!(
        mail.accept(&reply_to, &reply, false),
        Accepted::Taken(_)
    ));
    assert_eq!(
        mail.accept("in/a", b"x", false),
        Accepted::Full,
        "the reply is there: it takes these first"
    );
    mail.end_request();
    mail.request("out/a", b"?").unwrap();
    let more = INBOX_MESSAGES_AWAITING_MAX - INBOX_MESSAGES_MAX - 1;
    assert_eq!(fill(&mut mail), Some(more), "not without end");
    assert!(moved(&mail, mail.home.program, "b").is_ok());
}

#[test]
fn repeats_are_dropped_by_sender_and_number_also_after_a_move() {
    let mut mail = open();
    let sender = someone();
    let payload = stamped(sender, 3, Purpose::Message);
    assert!(matches!(mail.accept("in/a", &payload, false), Accepted::Taken(_)));
    assert_eq!(mail.accept("in/a", &payload, false), Accepted::Dropped);
    assert!(
        matches!(mail.accept("in/a", &payload, true), Accepted::Taken(_)),
        "one that the broker keeps"
    );
    for _ in 0..2 {
        assert!(matches!(mail.accept("in/a", b"plain", false), Accepted::Taken(_)));
    }
    let mut there = moved(&mail, mail.home.program, "b").unwrap();
    assert_eq!(there.accept("in/a", &payload, false), Accepted::Dropped);
    assert_eq!(there.inbox, mail.inbox);
}

#[test]
fn the_fleets_own_messages_are_not_for_programs() {
    let mut mail = open();
    assert_eq!(
        mail.accept("wayfare/v1/engine/a/status", b"{}", false),
        Accepted::Dropped
    );
    assert_eq!(
        mail.accept(&mail.reply_topic(), b"no reply", false),
        Accepted::Dropped
    );
}

/// The sender of a request chooses where its reply goes, and the program's engine may publish where the
/// sender may not.
#[test]
fn a_reply_goes_to_whoever_asked_or_where_the_program_may_publish() {
    let mut mail = open();
    let sender = someone();
    let own = mail.home.topics.topic(&Topic::ProgramReply(sender));
    let others = mail.home.topics.topic(&Topic::ProgramReply(someone()));
    for (number, (reply_to, expected)) in [
        (own.as_str(), Ok(())),
        (&others, Err(Refusal::NotRepliable)),
        ("out/answers", Ok(())),
        ("site/door/open", Err(Refusal::NotRepliable)),
        ("wayfare/v1/engine/a/command", Err(Refusal::NotRepliable)),
        ("out/+", Err(Refusal::NotRepliable)),
        ("", Err(Refusal::NotRepliable)),
    ]
    .into_iter()
    .enumerate()
    {
        let purpose = Purpose::Request {
            reply_to: reply_to.into(),
        };
        let number = number as u64;
        let payload = stamped(sender, number, purpose);
        let Accepted::Taken(message) = mail.accept("in/a", &payload, false) else {
            panic!("it is wanted");
        };
        // What cannot be answered does not ask for it.
        let asks = message
            .stamp
            .is_some_and(|stamp| stamp.purpose != Purpose::Message);
        assert_eq!(asks, expected.is_ok(), "{reply_to}");
        mail.take_first();
        assert_eq!(mail.reply(reply_to, number, b"!"), expected, "{reply_to}");
    }
}

/// A snapshot may come from a file that anybody may have written.
#[test]
fn a_snapshot_brings_no_message_for_a_topic_that_is_not_granted() {
    for (topic, is_taken) in [
        ("out/a", true),
        ("in/a", false),
        ("wayfare/v1/engine/a/command", false),
    ] {
        let mut mail = open();
        mail.send(topic, b"1", PLAIN, Purpose::Message).unwrap();
        mail.repliable.push_back((1, topic.into()));
        let there = moved(&mail, mail.home.program, "b");
        assert_eq!(there.is_ok(), is_taken, "{topic}");
        mail.outbox.clear();
        mail.outbox_bytes = 0;
        let mut there = moved(&mail, mail.home.program, "b").unwrap();
        assert_eq!(there.reply(topic, 1, b"!").is_ok(), is_taken, "{topic}");
    }
}

#[test]
fn a_snapshot_brings_no_subscription_that_is_not_granted() {
    let mut mail = open();
    mail.grants.subscribe = vec!["in/#".into()];
    mail.subscribe("in/#", Qos::AtLeastOnce).unwrap();
    mail.request("out/a", b"?").unwrap();
    let subscription = Subscription {
        qos: Qos::AtLeastOnce,
        is_granted: true,
    };
    let foreign = ["wayfare/v1/engine/a/command", "#"];
    for filter in foreign {
        mail.subscriptions.insert(filter.into(), subscription);
    }
    let there = moved(&mail, mail.home.program, "b").unwrap();
    let kept: Vec<&str> = there.subscriptions.keys().map(String::as_str).collect();
    assert_eq!(kept, ["in/#", &mail.reply_topic()]);
    let mut left = there.to_unsubscribe();
    left.sort();
    assert_eq!(left, ["#", "wayfare/v1/engine/a/command"]);
}

#[test]
fn a_plain_message_cannot_pass_for_one_of_another_program() {
    let mut mail = open();
    let forged = stamped(someone(), 1 << 62, Purpose::Message);
    assert_eq!(mail.publish("out/a", &forged, PLAIN), Err(Refusal::Malformed));
    assert_eq!(
        mail.publish("out/a", &forged, Manner::default()),
        Ok(()),
        "behind its own stamp"
    );
    assert_eq!(mail.publish("out/a", b"\0WF\x02", PLAIN), Ok(()));
}

#[test]
fn a_request_gets_its_reply_and_no_other() {
    let (mut asks, mut answers) = (open(), open());
    assert_eq!(asks.request("out/a", b"?"), Ok(()));
    asks.begin_session();
    let request = asks.next_to_send().unwrap();
    assert!(matches!(
        answers.accept("out/a", &request.payload, false),
        Accepted::Taken(_)
    ));
    let Some(Purpose::Request { reply_to }) =
        answers.first().unwrap().stamp.clone().map(|stamp| stamp.purpose)
    else {
        panic!("no request");
    };
    assert_eq!(
        answers.reply(&reply_to, 0, b"!"),
        Err(Refusal::NotRepliable),
        "not received yet"
    );
    answers.take_first();
    assert_eq!(
        answers.reply("wayfare/v1/engine/a/command", 0, b"!"),
        Err(Refusal::NotRepliable)
    );
    let mut answers = moved(&answers, answers.home.program, "b").unwrap();
    assert_eq!(answers.reply(&reply_to, 0, b"!"), Ok(()));
    assert_eq!(
        answers.reply(&reply_to, 0, b"!"),
        Err(Refusal::NotRepliable),
        "once"
    );
    answers.begin_session();
    let reply = answers.next_to_send().unwrap();

    let mut asks = moved(&asks, asks.home.program, "b").unwrap();
    assert_eq!(asks.awaited_reply(), Ok(None));
    let foreign = stamped(someone(), 1, Purpose::Reply { answers: 99 });
    asks.accept(&reply_to, &foreign, false);
    assert_eq!(asks.awaited_reply(), Ok(None));
    assert!(matches!(
        asks.accept(&reply_to, &reply.payload, false),
        Accepted::Taken(_)
    ));
    assert_eq!(asks.awaited_reply().unwrap().unwrap().payload, b"!");
    assert!(asks.first().is_none(), "replies are not messages");
    asks.end_request();
    assert_eq!(asks.awaited_reply(), Err(Refusal::NotRepliable));
}

/// Nobody may have been subscribed when it was sent first.
#[test]
fn a_request_is_sent_again_as_it_was_until_it_is_replied_to_and_is_received_once() {
    let (mut asks, mut answers) = (open(), open());
    asks.request("out/a", b"?").unwrap();
    asks.publish("out/b", b"later", Manner::default()).unwrap();
    asks.begin_session();
    asks.ask_again();
    let request = asks.next_to_send().unwrap();
    assert_eq!(asks.next_to_send().unwrap().topic, "out/b");
    assert_eq!(asks.unanswered(), None, "the broker does not have it yet");
    asks.sent(request.number);
    let mut taken = 0;
    for _ in 0..3 {
        assert_eq!(asks.unanswered(), Some(request.number));
        assert_eq!(asks.next_to_send(), None, "only when its time has come");
        asks.ask_again();
        assert_eq!(asks.next_to_send(), Some(request.clone()));
        asks.send_again(request.number);
        assert_eq!(
            asks.next_to_send(),
            Some(request.clone()),
            "it could not be handed over"
        );
        assert_eq!(asks.next_to_send(), None, "and nothing else goes out again");
        asks.sent(request.number);
        taken += usize::from(answers.accept("out/a", &request.payload, false) != Accepted::Dropped);
    }
    assert_eq!(taken, 1);
    asks.sent(request.number + 1);
    assert!(asks.is_all_sent());
    answers.take_first();
    answers.begin_session();
    let reply_to = asks.reply_topic();
    answers.reply(&reply_to, request.number, b"!").unwrap();
    let reply = answers.next_to_send().unwrap();
    asks.ask_again();
    assert!(matches!(
        asks.accept(&reply_to, &reply.payload, false),
        Accepted::Taken(_)
    ));
    assert_eq!((asks.unanswered(), asks.next_to_send()), (None, None));
    asks.end_request();
    // One that is not waited for any longer is not asked again.
    asks.request("out/a", b"?").unwrap();
    let request = asks.next_to_send().unwrap();
    asks.sent(request.number);
    asks.ask_again();
    asks.end_request();
    assert_eq!((asks.unanswered(), asks.next_to_send()), (None, None));
}

/// Its engine asks for it again in pauses; the next one knows nothing of those.
#[test]
fn a_request_that_nobody_has_replied_to_is_sent_again_where_it_goes_on() {
    let mut asks = open();
    asks.request("out/a", b"?").unwrap();
    let request = asks.next_to_send().unwrap();
    asks.sent(request.number);
    asks.publish("out/b", b"later", Manner::default()).unwrap();
    let mut there = moved(&asks, asks.home.program, "b").unwrap();
    assert_eq!(there.unanswered(), None, "the broker does not have it from here");
    assert_eq!(there.next_to_send(), Some(request.clone()));
    assert_eq!(there.next_to_send().unwrap().topic, "out/b");
    there.sent(request.number);
    assert_eq!(there.unanswered(), Some(request.number));
    // One that is replied to, or not waited for, is not.
    there.end_request();
    let mut further = moved(&there, there.home.program, "c").unwrap();
    assert_eq!(further.next_to_send().unwrap().topic, "out/b");
}

#[test]
fn everything_travels_and_a_copy_leaves_the_originals_outbox_alone() {
    let mut mail = open();
    mail.subscribe("in/a", Qos::AtLeastOnce).unwrap();
    mail.granted("in/a", Qos::AtLeastOnce);
    mail.subscribe("in/b", Qos::AtMostOnce).unwrap();
    mail.unsubscribe("in/b").unwrap();
    mail.publish("out/a", b"1", PLAIN).unwrap();
    mail.begin_session();
    mail.accept("in/a", b"1", false);
    let mut there = moved(&mail, mail.home.program, "b").unwrap();
    assert!(there.take_was_moved() && !there.take_was_moved());
    assert!(!moved(&mail, mail.home.program, "a").unwrap().take_was_moved());
    assert_eq!(there.to_subscribe(), []);
    assert_eq!(there.to_unsubscribe(), ["in/b"]);
    assert_eq!(there.outbox, mail.outbox);
    there.session_lost();
    assert_eq!(there.to_subscribe(), [("in/a".to_owned(), Qos::AtLeastOnce)]);

    let copy = moved(&mail, someone(), "b").unwrap();
    assert_eq!(
        copy.to_subscribe(),
        [("in/a".to_owned(), Qos::AtLeastOnce)],
        "in a session of its own"
    );
    assert!(copy.outbox.is_empty() && !copy.has_session());
    assert_eq!(copy.inbox, mail.inbox);
}

#[test]
fn journaled_messages_are_handed_over_again_once_and_in_order() {
    let mut mail = open();
    mail.accept("in/a", b"0", false);
    let stored = mail.save();
    let mut messages = Vec::new();
    for text in [b"1", b"2"] {
        if let Accepted::Taken(message) = mail.accept("in/a", text, false) {
            messages.push(message);
        }
    }
    let mut again = Mail::new(mail.home.clone(), mail.grants.clone());
    again.restore(&stored).unwrap();
    for message in [&messages[1], &messages[0], &messages[0], &messages[1]] {
        again.replay(message.clone());
    }
    assert_eq!(again.inbox, mail.inbox);
}

/// The program is sent its replies again before it makes its requests again.
#[test]
fn after_a_crash_requests_find_the_replies_that_they_had() {
    let mut mail = open();
    let stored = mail.save();
    let answers_it = someone();
    let reply = |number: u64, answers: u64| stamped(answers_it, number, Purpose::Reply { answers });
    let reply_to = mail.reply_topic();
    mail.request("out/a", b"0").unwrap();
    mail.end_request();
    mail.request("out/a", b"1").unwrap();
    assert_eq!(
        mail.accept(&reply_to, &reply(0, 0), false),
        Accepted::Dropped,
        "too late, then as now"
    );
    let Accepted::Taken(journaled) = mail.accept(&reply_to, &reply(1, 1), false) else {
        panic!("the reply was not taken");
    };

    let mut again = Mail::new(mail.home.clone(), mail.grants.clone());
    again.restore(&stored).unwrap();
    again.replay(journaled.clone());
    let mut again = moved(&again, mail.home.program, "b").unwrap();
    again.request("out/a", b"0").unwrap();
    assert_eq!(again.awaited_reply(), Ok(None), "it was not answered in time");
    again.end_request();
    again.request("out/a", b"1").unwrap();
    assert_eq!(again.awaited_reply(), Ok(Some(&journaled)));
    assert_eq!(
        again.accept(&reply_to, &reply(1, 1), false),
        Accepted::Dropped,
        "sent again by the broker"
    );
}

#[test]
fn early_replies_are_bounded() {
    const BYTES: usize = 64 << 10;
    let mut mail = open();
    let reply_to = mail.reply_topic();
    let mut taken = 0;
    for answers in 0..10 * replies::EARLY_BYTES_MAX as u64 / 128 {
        let stamp = Stamp {
            sender: someone(),
            number: 0,
            purpose: Purpose::Reply { answers },
        };
        match mail.accept(&reply_to, &stamp.put_on(&[0; BYTES]), false) {
            Accepted::Taken(_) => taken += 1,
            _ => break,
        }
    }
    assert!(taken * BYTES <= replies::EARLY_BYTES_MAX + BYTES, "{taken}");
    assert!(moved(&mail, mail.home.program, "b").is_ok());
}

#[test]
fn damaged_states_are_refused() {
    let mut mail = open();
    mail.subscribe("in/a", Qos::AtLeastOnce).unwrap();
    mail.request("out/a", b"1").unwrap();
    mail.accept("in/a", &stamped(someone(), 1, Purpose::Message), false);
    let good = mail.save();
    for end in 1..good.len() {
        let mut there = Mail::new(mail.home.clone(), Grants::default());
        assert!(there.restore(&good[..end]).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        // Not every byte can be told to be wrong: but none makes it panic.
        let _ = Mail::new(mail.home.clone(), Grants::default()).restore(&bad);
    }
}

#[test]
fn a_life_publishes_under_numbers_of_its_own_and_what_was_published_before_keeps_its_own() {
    const FIRST: u64 = 1000 << 32;
    let begun = Generation(1001);
    let mut mail = open();
    mail.publish("out/a", b"sent", PLAIN).unwrap();
    mail.publish("out/a", b"not sent", Manner::default()).unwrap();
    mail.begin_session();
    mail.sent(0);
    let mut other = moved(&mail, mail.home.program, "b").unwrap();
    for _ in 0..2 {
        other.begin_life(begun);
    }
    other.publish("out/a", b"anew", Manner::default()).unwrap();
    let mut other = moved(&other, mail.home.program, "c").unwrap();
    other.begin_session();
    let mut sink = open();
    for number in [1, FIRST] {
        let outgoing = other.next_to_send().unwrap();
        assert_eq!(outgoing.number, number);
        let stamp = Stamp::take_off(&outgoing.payload).0.unwrap();
        assert_eq!((stamp.sender, stamp.number), (mail.home.program, number));
        assert!(matches!(
            sink.accept("in/a", &outgoing.payload, false),
            Accepted::Taken(_)
        ));
        assert_eq!(sink.accept("in/a", &outgoing.payload, false), Accepted::Dropped);
    }
    assert_eq!(other.next_to_send(), None);
    other.sent(1);
    assert_eq!(other.outbox.len(), 1);
    assert_eq!((mail.life(), other.life()), (0, FIRST));
}

/// The broker hands what it has for a program to whoever has its session.
#[test]
fn replies_to_a_life_are_not_those_to_another() {
    let mut mail = open();
    mail.begin_life(Generation(1001));
    let reply_to = mail.reply_topic();
    mail.request("out/a", b"?").unwrap();
    let old = stamped(someone(), 0, Purpose::Reply { answers: 0 });
    assert_eq!(mail.accept(&reply_to, &old, false), Accepted::Dropped);
    let answers = 1000 << 32;
    let its = stamped(someone(), 0, Purpose::Reply { answers });
    assert!(matches!(mail.accept(&reply_to, &its, false), Accepted::Taken(_)));
}

#[test]
fn early_replies_to_requests_far_ahead_make_room_for_nearer_ones() {
    let mut mail = open();
    let reply_to = mail.reply_topic();
    let reply = |answers: u64| stamped_with(someone(), 0, Purpose::Reply { answers }, &[0; 100_000]);
    for ahead in 0..400 {
        mail.accept(&reply_to, &reply((1 << 40) + ahead), false);
    }
    assert_eq!(mail.accept(&reply_to, &reply(1 << 50), false), Accepted::Dropped);
    for number in 0..10 {
        assert!(matches!(
            mail.accept(&reply_to, &reply(number), false),
            Accepted::Taken(_)
        ));
    }
    for _ in 0..10 {
        mail.request("out/a", b"?").unwrap();
        assert!(mail.awaited_reply().unwrap().is_some());
    }
    assert!(moved(&mail, mail.home.program, "b").is_ok());
}

#[test]
fn an_empty_retained_message_has_nothing_that_the_broker_would_keep() {
    let retained = Manner {
        retain: true,
        ..Manner::default()
    };
    for (payload, manner, is_empty) in [
        (&b""[..], retained, true),
        (b"x", retained, false),
        (b"", Manner::default(), false),
    ] {
        let mut mail = open();
        mail.publish("out/a", payload, manner).unwrap();
        assert_eq!(
            mail.next_to_send().unwrap().payload.is_empty(),
            is_empty,
            "{manner:?}"
        );
    }
}

#[test]
fn what_a_program_retains_is_counted_by_topic_and_by_bytes() {
    let retained = Manner {
        retain: true,
        ..PLAIN
    };
    let mut mail = open();
    let send = |mail: &mut Mail, topic: &str, payload: &[u8]| {
        let sent = mail.publish(topic, payload, retained);
        // The broker has it.
        mail.outbox.clear();
        mail.outbox_bytes = 0;
        sent
    };
    for number in 0..RETAINED_TOPICS_MAX {
        send(&mut mail, &format!("out/{number}"), b"x").unwrap();
    }
    assert_eq!(send(&mut mail, "out/more", b"x"), Err(Refusal::TooMany));
    // In the place of another, or not retained, it is taken; and one that is taken away makes room.
    send(&mut mail, "out/0", b"y").unwrap();
    mail.publish("out/more", b"x", PLAIN).unwrap();
    assert_eq!(send(&mut mail, "out/more", b""), Ok(()));
    send(&mut mail, "out/0", b"").unwrap();
    send(&mut mail, "out/more", b"x").unwrap();
    // Wherever it goes on.
    let mut there = open();
    there.restore_retained(mail.retained());
    assert_eq!(send(&mut there, "out/0", b"x"), Err(Refusal::TooMany));
    // With few of them it goes to engines of earlier releases, too.
    let mut few = open();
    send(&mut few, "out/0", b"x").unwrap();
    assert!(few.retained().is_empty());

    let mut mail = open();
    let large = vec![1; 64 << 10];
    let count = RETAINED_BYTES_MAX as usize / large.len();
    for number in 0..count {
        send(&mut mail, &format!("out/{number}"), &large).unwrap();
    }
    assert_eq!(send(&mut mail, "out/more", b"x"), Err(Refusal::TooMany));
    send(&mut mail, "out/0", b"x").unwrap();
    send(&mut mail, "out/more", b"x").unwrap();
}
