//! What holds against peers that repeat themselves or never answer, against hostile ones, and of snapshots
//! that anybody may have written.

use wayfare_protocol::call::{
    About, Expiry, FailureKind, Notice, OPEN_CALLS_MAX, Outcome, encode, encode_numbers,
};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::Generation;
use wayfare_protocol::topics::{Topic, Topics};

use super::tests::{
    DEADLINE_NS, address, announce, announce_as, answer, call, call_with, copied, deliver, done, mail, pair,
};
use crate::tests::someone;
use crate::{Accepted, Attention, CallOptions, Mail, Refusal};

fn replies_of(mail: &Mail) -> String {
    Topics::default().topic(&Topic::ProgramReply(mail.home().program))
}

fn receipt() -> About {
    About {
        receipt: true,
        ..About::default()
    }
}

fn kind(mail: &Mail, number: u64, now_ns: u64) -> Option<Result<(), FailureKind>> {
    match mail.outcome(Some(number), now_ns).unwrap()?.1 {
        Outcome::Done(_) => Some(Ok(())),
        Outcome::Failed(kind, _) => Some(Err(kind)),
    }
}

/// The broker sends it again on a new connection, later than it expires.
#[test]
fn a_repeat_of_a_message_that_came_in_time_is_not_reported_as_expired() {
    let (mut sender, mut receiver) = pair();
    let about = About {
        expires: Some(Expiry {
            sent_ms: 1_000,
            after_ms: 500,
        }),
        ..receipt()
    };
    let sent = sender.send_to(&address("service/calc"), b"a", &about, DEADLINE_NS);
    let (number, outgoing) = (sent.unwrap().unwrap(), sender.next_to_send().unwrap());
    receiver.set_time(1_200);
    receiver.accept(&outgoing.topic, &outgoing.payload, false);
    receiver.set_time(9_000);
    let repeat = receiver.accept(&outgoing.topic, &outgoing.payload, false);
    assert_eq!(repeat, Accepted::Dropped);
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, number, 0), None, "it is in the inbox");
    receiver.take_first();
    receiver.accept(&outgoing.topic, &outgoing.payload, false);
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, number, 0), Some(Ok(())));
}

#[test]
fn a_call_waits_once_to_be_sent_again_however_often_its_provider_says_that_it_does_not_know_it() {
    let (mut caller, provider) = pair();
    let options = CallOptions {
        idempotent: true,
        ..CallOptions::default()
    };
    let number = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let sent = caller.next_to_send().unwrap();
    caller.sent(sent.number);
    let by = provider.home().program;
    let unknown = encode(&Notice::Unknown { by }, &encode_numbers([number]));
    let topic = replies_of(&caller);
    for _ in 0..10 {
        caller.accept(&topic, &unknown, false);
    }
    let again = caller.next_to_send().unwrap();
    assert_eq!(again.payload, sent.payload);
    assert_eq!(caller.next_to_send(), None);
    caller.sent(again.number);
    caller.accept(&topic, &unknown, false);
    assert!(caller.next_to_send().is_some(), "it may have been lost as well");
}

#[test]
fn calls_that_were_handed_on_and_are_not_answered_end_by_their_deadline() {
    let (mut caller, mut first) = pair();
    let other = address("service/other");
    first.watch(&other).unwrap();
    announce(&mut first, "service/other", someone(), true);
    let reply_to = replies_of(&caller);
    let hand_on = |first: &mut Mail, number: u64| {
        first.hand_on((&reply_to, number), &other, ("double", b"1"), 5, DEADLINE_NS)
    };
    let numbers: Vec<u64> = (0..OPEN_CALLS_MAX)
        .map(|_| call(&mut caller, b"1").unwrap().unwrap())
        .collect();
    deliver(&mut caller, &mut first);
    for number in &numbers {
        first.take_first();
        assert_eq!(hand_on(&mut first, *number), Ok(Some(())));
    }
    caller.end_call(numbers[0]);
    let next = call(&mut caller, b"1").unwrap().unwrap();
    deliver(&mut caller, &mut first);
    first.take_first();
    assert_eq!(hand_on(&mut first, next), Err(Refusal::TooMany));
    first.end_overdue(DEADLINE_NS - 1);
    assert_eq!(hand_on(&mut first, next), Err(Refusal::TooMany), "not yet");
    first.end_overdue(DEADLINE_NS);
    assert_eq!(hand_on(&mut first, next), Ok(Some(())));
    deliver(&mut first, &mut caller);
    let expected = Some(Err(FailureKind::DeadlineExceeded));
    assert_eq!(kind(&caller, numbers[1], 0), expected);
    assert_eq!(kind(&caller, next, 0), None);
}

#[test]
fn cancels_of_calls_that_were_answered_meanwhile_do_not_fill_an_inbox() {
    let mut provider = mail(someone());
    provider.serve("calc", None).unwrap();
    provider.attend(Attention {
        cancels: true,
        ..Attention::default()
    });
    let mut callers: Vec<Mail> = Vec::new();
    for _ in 0..crate::INBOX_MESSAGES_MAX / OPEN_CALLS_MAX {
        let mut caller = mail(someone());
        caller.watch(&address("service/calc")).unwrap();
        announce(&mut caller, "service/calc", provider.home().program, true);
        for _ in 0..OPEN_CALLS_MAX {
            call(&mut caller, b"1").unwrap().unwrap();
        }
        deliver(&mut caller, &mut provider);
        callers.push(caller);
    }
    while provider.first().is_some() {
        provider.take_first();
    }
    for caller in &mut callers {
        for number in 0..OPEN_CALLS_MAX as u64 {
            assert_eq!(caller.cancel(number), Ok(true));
        }
        deliver(caller, &mut provider);
    }
    assert_eq!(provider.inbox.len(), crate::INBOX_MESSAGES_MAX);
    for caller in &callers {
        for number in 0..OPEN_CALLS_MAX as u64 {
            provider.answer(&replies_of(caller), number, &done(b"1")).unwrap();
        }
    }
    assert_eq!(provider.first(), None);
    callers[0].end_call(0);
    call(&mut callers[0], b"last").unwrap().unwrap();
    let last = callers[0].next_to_send().unwrap();
    let accepted = provider.accept(&last.topic, &last.payload, false);
    assert!(matches!(accepted, Accepted::Taken(_)), "{accepted:?}");
    assert_eq!((provider.inbox.len(), provider.first().is_some()), (1, true));
}

#[test]
fn progress_that_is_not_taken_is_bounded_by_its_bytes_and_the_newest_is_kept() {
    let (mut caller, mut provider) = pair();
    let options = CallOptions {
        progress: true,
        ..CallOptions::default()
    };
    let number = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    provider.take_first();
    for fill in 0..40 {
        let part = vec![fill; 40 << 10];
        provider.progress(&replies_of(&caller), number, &part).unwrap();
        deliver(&mut provider, &mut caller);
    }
    let mut left = Vec::new();
    while let Some((_, part)) = caller.first_progress(None) {
        left.push(part[0]);
        caller.take_progress(number);
    }
    assert_eq!(left, [39]);
}

#[test]
fn a_program_that_may_serve_nothing_is_not_reached_whatever_its_snapshot_says() {
    let mut listens = mail(someone());
    listens.listen().unwrap();
    let mut there = Mail::new(listens.home().clone(), Grants::default());
    there.restore(&listens.save()).unwrap();
    assert!(!there.can_be_reached());
    assert_eq!(there.to_unsubscribe(), [there.inbox_topic()]);
    let mut there = copied(&listens, listens.home().program);
    assert!(there.can_be_reached());
    there.subscription_refused(&there.inbox_topic());
    assert!(!there.can_be_reached());
}

#[test]
fn a_program_that_was_moved_hears_of_those_that_it_may_only_send_to() {
    let grants = Grants {
        send: vec!["service/calc".into()],
        ..Grants::default()
    };
    let mut sender = Mail::new(mail(someone()).home().clone(), grants.clone());
    let to = address("service/calc");
    assert_eq!(sender.send_to(&to, b"a", &receipt(), u64::MAX), Ok(None));
    let receiver = someone();
    announce(&mut sender, "service/calc", receiver, true);
    let number = sender.send_to(&to, b"a", &receipt(), u64::MAX).unwrap().unwrap();
    let mut there = Mail::new(sender.home().clone(), grants);
    there.restore(&sender.save()).unwrap();
    announce_as(&mut there, "service/calc", receiver, None);
    assert_eq!(kind(&there, number, 0), Some(Err(FailureKind::Ended)));
}

#[test]
fn a_question_that_there_is_no_room_for_is_asked_later() {
    let (mut caller, mut provider) = pair();
    let checkpoint = provider.save();
    let number = call(&mut caller, b"1").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    while caller.calls.notices.has_room() {
        caller.calls.notices.push(None, replies_of(&provider), [].into());
    }
    let its = provider.home().program;
    let mut provider = mail(its);
    provider.restore(&checkpoint).unwrap();
    announce_as(&mut caller, "service/calc", its, Some(Generation(2)));
    deliver(&mut caller, &mut provider);
    deliver(&mut provider, &mut caller);
    assert_eq!(kind(&caller, number, 0), Some(Err(FailureKind::Unavailable)));
}

/// Its next engine withdraws what was announced of the last one.
#[test]
fn a_provider_that_leaves_an_engine_goes_on_with_the_calls_that_it_had_there() {
    let (mut caller, mut provider) = pair();
    let (at, its) = (address("engine/a"), provider.home().program);
    caller.watch(&at).unwrap();
    announce(&mut caller, "engine/a", its, true);
    let called = caller.call(&at, ("double", b"1"), 5, DEADLINE_NS, &CallOptions::default());
    let called = called.unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    announce_as(&mut caller, "engine/a", its, None);
    assert_eq!(kind(&caller, called, 0), None);
    answer(&mut provider, done);
    deliver(&mut provider, &mut caller);
    assert_eq!(kind(&caller, called, 0), Some(Ok(())));
}

/// A program that was set back does it all again, and the answer may come earlier or later than it did.
#[test]
fn what_is_cancelled_takes_the_same_numbers_whether_it_was_answered_or_not() {
    let options = CallOptions {
        coalesce: Some("k".into()),
        ..CallOptions::default()
    };
    let published = [false, true].map(|is_answered| {
        let (mut caller, mut provider) = pair();
        let made = call_with(&mut caller, b"1", &options).unwrap().unwrap();
        let joined = call_with(&mut caller, b"1", &options).unwrap().unwrap();
        deliver(&mut caller, &mut provider);
        if is_answered {
            answer(&mut provider, done);
            deliver(&mut provider, &mut caller);
        }
        let mut sent = Vec::new();
        for number in [made, joined, joined] {
            assert_eq!(caller.cancel(number), Ok(true));
            caller = copied(&caller, caller.home().program);
            sent.push(caller.published());
        }
        sent
    });
    assert_eq!(published[0], [2, 3, 3]);
    assert_eq!(published[0], published[1]);
}
