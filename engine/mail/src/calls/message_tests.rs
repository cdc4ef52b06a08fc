//! Messages to addresses: receipts, expiry, order, sets.

use wayfare_protocol::call::{About, Expiry, FailureKind, Outcome, Sent};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::Generation;
use wayfare_protocol::qos::Qos;

use super::tests::{address, announce, announce_as, call, copied, deliver, mail, pair};
use crate::tests::someone;
use crate::{Accepted, Attention, Mail, Refusal};

const NEVER_NS: u64 = u64::MAX;
const LATE_NS: u64 = 1_000;

fn receipt() -> About {
    About {
        receipt: true,
        ..About::default()
    }
}

fn ordered(key: &str) -> About {
    About {
        ordered: Some(key.into()),
        ..About::default()
    }
}

fn send(sender: &mut Mail, payload: &[u8], about: &About) -> u64 {
    let sent = sender.send_to(&address("service/calc"), payload, about, LATE_NS);
    sent.unwrap().unwrap()
}

fn next(receiver: &mut Mail) -> Option<String> {
    let message = receiver.first()?.clone();
    let (_, payload) = receiver.sent_here(&message).unwrap();
    let payload = String::from_utf8(payload.to_vec()).unwrap();
    receiver.take_first();
    Some(payload)
}

fn kind(mail: &Mail, number: u64, now_ns: u64) -> Option<Result<(), FailureKind>> {
    match mail.outcome(Some(number), now_ns).unwrap()?.1 {
        Outcome::Done(_) => Some(Ok(())),
        Outcome::Failed(kind, _) => Some(Err(kind)),
    }
}

#[test]
fn a_receipt_comes_when_the_message_is_taken() {
    let (mut sender, mut receiver) = pair();
    let number = send(&mut sender, b"a", &receipt());
    send(&mut sender, b"b", &About::default());
    deliver(&mut sender, &mut receiver);
    assert_eq!(deliver(&mut receiver, &mut sender), 0, "it is in the inbox");
    assert_eq!(kind(&sender, number, 0), None);
    assert_eq!(next(&mut receiver).as_deref(), Some("a"));
    assert_eq!(next(&mut receiver).as_deref(), Some("b"));
    let mut receiver = copied(&receiver, receiver.home().program);
    assert_eq!(deliver(&mut receiver, &mut sender), 1);
    assert_eq!(kind(&sender, number, LATE_NS), Some(Ok(())));
    let sender = copied(&sender, sender.home().program);
    assert_eq!(kind(&sender, number, 0), Some(Ok(())));
}

#[test]
fn what_is_not_delivered_says_why() {
    let (mut sender, mut receiver) = pair();
    receiver.set_time(5_000);
    let its = receiver.home().program;
    let late = About {
        expires: Some(Expiry {
            sent_ms: 1_000,
            after_ms: 3_999,
        }),
        ..receipt()
    };
    let expired = send(&mut sender, b"old", &late);
    let untaken = send(&mut sender, b"b", &receipt());
    deliver(&mut sender, &mut receiver);
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, expired, 0), Some(Err(FailureKind::Expired)));
    assert_eq!(kind(&sender, untaken, 0), None);
    assert_eq!(kind(&sender, untaken, LATE_NS), Some(Err(FailureKind::Expired)));
    assert_eq!(
        next(&mut receiver).as_deref(),
        Some("b"),
        "the other is not handed over"
    );
    announce_as(&mut sender, "service/calc", its, None);
    assert_eq!(kind(&sender, untaken, 0), Some(Err(FailureKind::Ended)));
    deliver(&mut receiver, &mut sender);
    assert_eq!(
        kind(&sender, untaken, 0),
        Some(Err(FailureKind::Ended)),
        "an end does not change"
    );
}

#[test]
fn a_sender_that_was_set_back_gets_its_receipt_again() {
    let (mut sender, mut receiver) = pair();
    let checkpoint = sender.save();
    send(&mut sender, b"a", &receipt());
    deliver(&mut sender, &mut receiver);
    next(&mut receiver).unwrap();
    deliver(&mut receiver, &mut sender);
    let mut sender = mail(sender.home().program);
    sender.restore(&checkpoint).unwrap();
    let number = send(&mut sender, b"a", &receipt());
    deliver(&mut sender, &mut receiver);
    assert_eq!(next(&mut receiver), None, "a repeat");
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, number, 0), Some(Ok(())));
}

#[test]
fn a_receiver_that_was_set_back_is_sent_it_again() {
    let (mut sender, mut receiver) = pair();
    let checkpoint = receiver.save();
    let number = send(&mut sender, b"a", &receipt());
    deliver(&mut sender, &mut receiver);
    let its = receiver.home().program;
    let mut receiver = mail(its);
    receiver.restore(&checkpoint).unwrap();
    announce_as(&mut sender, "service/calc", its, Some(Generation(2)));
    deliver(&mut sender, &mut receiver);
    deliver(&mut receiver, &mut sender);
    assert_eq!(deliver(&mut sender, &mut receiver), 1);
    assert_eq!(next(&mut receiver).as_deref(), Some("a"));
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, number, 0), Some(Ok(())));
}

#[test]
fn one_message_of_a_key_is_handled_at_a_time_and_others_pass() {
    let (mut sender, mut receiver) = pair();
    receiver.attend(Attention {
        ordered: true,
        ..Attention::default()
    });
    for (payload, about) in [
        (&b"x1"[..], ordered("x")),
        (b"x2", ordered("x")),
        (b"y1", ordered("y")),
        (b"z", About::default()),
        (b"x3", ordered("x")),
    ] {
        send(&mut sender, payload, &about);
    }
    deliver(&mut sender, &mut receiver);
    for expected in [Some("x1"), Some("y1"), Some("z"), None] {
        assert_eq!(next(&mut receiver).as_deref(), expected);
    }
    let mut receiver = copied(&receiver, receiver.home().program);
    assert_eq!(next(&mut receiver), None, "wherever it is");
    assert!(receiver.handled("x") && !receiver.handled("x"));
    assert_eq!(next(&mut receiver).as_deref(), Some("x2"));
    assert_eq!(next(&mut receiver), None);
    receiver.attend(Attention::default());
    assert_eq!(next(&mut receiver).as_deref(), Some("x3"), "taken is handled");
}

#[test]
fn a_message_to_a_set_goes_to_each_of_it_once_all_are_known() {
    let set = address("app/shop");
    let mut sender = mail(someone());
    let mut receivers: Vec<Mail> = (0..3)
        .map(|_| {
            let mut one = mail(someone());
            one.listen().unwrap();
            one
        })
        .collect();
    let about = receipt();
    let send = |sender: &mut Mail, payload: &[u8]| sender.send_to(&set, payload, &about, NEVER_NS);
    assert_eq!(send(&mut sender, b"a"), Ok(None));
    let filters: Vec<String> = sender
        .to_subscribe()
        .into_iter()
        .map(|(filter, _)| filter)
        .collect();
    assert_eq!(filters.len(), 2, "who is there, and what is answered");
    for filter in &filters {
        sender.granted(filter, Qos::AtLeastOnce);
    }
    let barrier = sender.next_to_send().unwrap();
    assert!(sender.next_to_send().is_none(), "asked once");
    for one in &receivers {
        announce(&mut sender, "app/shop", one.home().program, true);
    }
    assert_eq!(send(&mut sender, b"a"), Ok(None), "there may be more");
    let accepted = sender.accept(&barrier.topic, &barrier.payload, false);
    assert!(matches!(accepted, Accepted::Taken(_)));
    sender.sent(barrier.number);

    sender.watch(&address("service/calc")).unwrap();
    announce(&mut sender, "service/calc", receivers[0].home().program, true);
    let before = call(&mut sender, b"before").unwrap().unwrap();
    let number = send(&mut sender, b"a").unwrap().unwrap();
    let after = call(&mut sender, b"after").unwrap().unwrap();
    assert_eq!(
        (before + 1, number + 1),
        (number, after),
        "one number for all of them"
    );
    let mut sender = copied(&sender, sender.home().program);
    let mut order = Vec::new();
    while let Some(outgoing) = sender.next_to_send() {
        let to = receivers
            .iter()
            .position(|one| outgoing.topic == one.inbox_topic());
        let to = to.expect("one of them");
        receivers[to].accept(&outgoing.topic, &outgoing.payload, false);
        // Twice, as a broker may.
        receivers[to].accept(&outgoing.topic, &outgoing.payload, false);
        sender.sent(outgoing.number);
        order.push(to);
    }
    assert_eq!(order.len(), 5);
    let first: Vec<String> = std::iter::from_fn(|| next(&mut receivers[0])).collect();
    assert_eq!(first, ["before", "a", "after"], "in their order");
    deliver(&mut receivers[0], &mut sender);
    assert_eq!(kind(&sender, number, 0), None, "two have not taken it");
    for one in &mut receivers[1..] {
        assert_eq!(next(one).as_deref(), Some("a"));
        assert_eq!(next(one), None, "once");
        deliver(one, &mut sender);
    }
    assert_eq!(kind(&sender, number, 0), Some(Ok(())));
}

#[test]
fn sending_is_granted_by_itself_or_with_calling_and_bounded() {
    let (sender, _) = pair();
    let with = |grants: Grants| Mail::new(sender.home().clone(), grants);
    let mut closed = with(Grants::default());
    let send = |mail: &mut Mail, about: &About| mail.send_to(&address("service/calc"), b"", about, NEVER_NS);
    assert_eq!(send(&mut closed, &About::default()), Err(Refusal::NotGranted));
    assert_eq!(closed.listen(), Err(Refusal::NotGranted));
    let mut open = with(Grants {
        send: vec!["service/calc".into()],
        ..Grants::default()
    });
    assert_eq!(send(&mut open, &About::default()), Ok(None), "nobody is known");
    assert_eq!(send(&mut open, &ordered("a b")), Err(Refusal::Malformed));
    assert_eq!(
        open.watch(&address("service/calc")),
        Err(Refusal::NotGranted),
        "no calls"
    );
    announce(&mut open, "service/calc", someone(), true);
    for _ in 0..wayfare_protocol::call::OPEN_CALLS_MAX {
        send(&mut open, &receipt()).unwrap().unwrap();
    }
    assert_eq!(send(&mut open, &receipt()), Err(Refusal::TooMany));
    assert!(matches!(send(&mut open, &About::default()), Ok(Some(_))));
    let saved = open.save();
    assert!(with(open.grants.clone()).restore(&saved).is_ok());
    assert!(with(Grants::default()).restore(&saved).is_err());
}

/// Whoever restores a program names its life by a clock, which may be wrong.
#[test]
fn messages_of_lives_that_begin_late_are_told_from_notices() {
    for begun in [1 << 31, 4_200_000_000] {
        let mut sender = mail(someone());
        sender.begin_life(Generation(begun));
        sender.watch(&address("service/calc")).unwrap();
        announce(&mut sender, "service/calc", someone(), true);
        send(&mut sender, b"a", &receipt());
        let outgoing = sender.next_to_send().unwrap();
        sender.send_again(outgoing.number);
        assert_eq!(sender.next_to_send(), Some(outgoing.clone()));
        sender.sent(outgoing.number);
        assert!(sender.is_all_sent());
    }
}

#[test]
fn what_receivers_are_told_of_a_message_is_what_was_sent() {
    let (mut sender, mut receiver) = pair();
    let about = About {
        kind: Some("order".into()),
        ..ordered("table-4")
    };
    send(&mut sender, b"soup", &about);
    deliver(&mut sender, &mut receiver);
    let message = receiver.first().unwrap();
    let sent = receiver.sent_here(message);
    let to = address("service/calc");
    assert_eq!(sent, Some((Sent::Message { to, about }, &b"soup"[..])));
}
