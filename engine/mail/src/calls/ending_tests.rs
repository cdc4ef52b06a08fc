//! Ends of calls other than answers: cancelled, superseded, joined, forgotten, handed on; and progress before
//! them.

use wayfare_protocol::call::{FailureKind, Outcome, Sent};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::stamp::Stamp;
use wayfare_protocol::topics::{Topic, Topics};

use super::tests::{
    DEADLINE_NS, address, announce, announce_as, answer, call, call_with, copied, deliver, done, mail, pair,
};
use crate::tests::someone;
use crate::{Attention, CallOptions, Mail, Refusal};

fn attentive() -> Attention {
    Attention {
        cancels: true,
        ..Attention::default()
    }
}

fn failed(mail: &Mail, number: u64) -> Option<FailureKind> {
    match mail.outcome(Some(number), 0) {
        Ok(Some((_, Outcome::Failed(kind, _)))) => Some(kind),
        _ => None,
    }
}

/// What the provider is handed next: a call's arguments, or the number of a call that is cancelled.
fn next(provider: &mut Mail) -> Option<Result<String, u64>> {
    let message = provider.first()?.clone();
    let next = match provider.sent_here(&message) {
        Some((Sent::Call { .. }, arguments)) => Ok(String::from_utf8(arguments.to_vec()).unwrap()),
        Some((Sent::Cancel { call, .. }, _)) => Err(call),
        other => panic!("{other:?}"),
    };
    provider.take_first();
    Some(next)
}

fn replies_of(mail: &Mail) -> String {
    Topics::default().topic(&Topic::ProgramReply(mail.home().program))
}

/// As if everything since this snapshot, and the journal with it, were lost.
fn set_back(program: ProgramId, snapshot: &[u8]) -> Mail {
    let mut there = mail(program);
    there.restore(snapshot).unwrap();
    there.begin_session();
    there
}

#[test]
fn a_cancelled_call_ends_at_once_and_its_provider_is_told_if_it_attends_to_that() {
    for attends in [false, true] {
        let (mut caller, mut provider) = pair();
        if attends {
            provider.attend(attentive());
        }
        let number = call(&mut caller, b"1").unwrap().unwrap();
        let other = call(&mut caller, b"2").unwrap().unwrap();
        deliver(&mut caller, &mut provider);
        assert_eq!(next(&mut provider), Some(Ok("1".into())));
        assert_eq!(caller.cancel(number), Ok(true));
        assert_eq!(failed(&caller, number), Some(FailureKind::Cancelled));
        let mut caller = copied(&caller, caller.home().program);
        assert_eq!(caller.cancel(number), Ok(true), "again");
        caller.end_call(number);
        assert_eq!(caller.cancel(number), Ok(false), "it was handed over");
        assert_eq!(deliver(&mut caller, &mut provider), 1);
        let mut provider = copied(&provider, provider.home().program);
        assert_eq!(next(&mut provider), Some(Ok("2".into())));
        assert_eq!(next(&mut provider), attends.then_some(Err(number)));
        assert_eq!(next(&mut provider), None);
        let reply_to = replies_of(&caller);
        let outcome = done(b"1");
        assert_eq!(
            provider.answer(&reply_to, number, &outcome),
            Ok(()),
            "it may answer"
        );
        assert_eq!(provider.answer(&reply_to, other, &outcome), Ok(()));
        deliver(&mut provider, &mut caller);
        assert_eq!(caller.outcome(None, 0), Ok(Some((other, outcome))));
    }
}

#[test]
fn a_cancel_of_what_was_answered_or_is_anothers_is_not_handed_over() {
    let (mut caller, mut provider) = pair();
    provider.attend(attentive());
    let number = call(&mut caller, b"1").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    answer(&mut provider, done);
    caller.cancel(number).unwrap();
    deliver(&mut caller, &mut provider);
    assert_eq!(provider.first(), None);
    let second = call(&mut caller, b"2").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    next(&mut provider).unwrap().unwrap();
    let mut stranger = mail(someone());
    stranger.watch(&address("service/calc")).unwrap();
    announce(&mut stranger, "service/calc", provider.home().program, true);
    while stranger.published() <= second {
        let number = call(&mut stranger, b"").unwrap().unwrap();
        stranger.cancel(number).unwrap();
    }
    let cancels = std::iter::from_fn(|| stranger.next_to_send());
    let cancels: Vec<_> = cancels
        .filter(|one| String::from_utf8_lossy(&one.payload).contains("\"cancel\""))
        .collect();
    assert!(!cancels.is_empty());
    for one in cancels {
        provider.accept(&one.topic, &one.payload, false);
    }
    assert_eq!(provider.first(), None, "its calls were not received");
}

#[test]
fn cancels_that_nobody_attends_to_do_not_fill_an_inbox() {
    for attends in [false, true] {
        let (mut caller, mut provider) = pair();
        if attends {
            provider.attend(attentive());
        }
        for _ in 0..2 * crate::INBOX_MESSAGES_MAX {
            let number = call(&mut caller, b"1").unwrap().unwrap();
            deliver(&mut caller, &mut provider);
            answer(&mut provider, done);
            provider.next_to_send();
            provider.sent(u64::MAX >> 1);
            caller.cancel(number).unwrap();
            caller.end_call(number);
        }
        call(&mut caller, b"last").unwrap().unwrap();
        deliver(&mut caller, &mut provider);
        assert_eq!(next(&mut provider), Some(Ok("last".into())));
        assert!(provider.inbox.is_empty());
    }
}

#[test]
fn calls_of_one_key_are_made_once_and_all_get_the_answer() {
    let (mut caller, mut provider) = pair();
    let options = CallOptions {
        coalesce: Some("refresh".into()),
        ..CallOptions::default()
    };
    let mut numbers: Vec<u64> = (0..20)
        .map(|_| call_with(&mut caller, b"1", &options).unwrap().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20, "each has its own");
    // The first is not waited for any longer; the others are.
    caller.cancel(numbers[0]).unwrap();
    assert_eq!(failed(&caller, numbers[0]), Some(FailureKind::Cancelled));
    caller.end_call(numbers[0]);
    let mut caller = copied(&caller, caller.home().program);
    assert_eq!(deliver(&mut caller, &mut provider), 1);
    assert_eq!(answer(&mut provider, done), 1);
    deliver(&mut provider, &mut caller);
    for number in &numbers[1..] {
        let outcome = caller.outcome(Some(*number), 0).unwrap();
        assert_eq!(outcome, Some((*number, done(b"1"))));
    }
    let mut caller = copied(&caller, caller.home().program);
    let late = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let outcome = caller.outcome(Some(late), 0).unwrap();
    assert_eq!(
        outcome,
        Some((late, done(b"1"))),
        "until all ends are handed over"
    );
    for number in numbers[1..].iter().chain([&late]) {
        caller.end_call(*number);
    }
    call_with(&mut caller, b"2", &options).unwrap().unwrap();
    assert_eq!(deliver(&mut caller, &mut provider), 1, "another one");
}

#[test]
fn the_last_call_that_has_joined_cancels_the_one_that_was_made() {
    let (mut caller, mut provider) = pair();
    provider.attend(attentive());
    let options = CallOptions {
        coalesce: Some("k".into()),
        ..CallOptions::default()
    };
    let first = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let second = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    next(&mut provider);
    caller.cancel(first).unwrap();
    assert_eq!(deliver(&mut caller, &mut provider), 0);
    caller.cancel(second).unwrap();
    assert_eq!(deliver(&mut caller, &mut provider), 1);
    assert_eq!(next(&mut provider), Some(Err(first)));
}

#[test]
fn a_later_call_of_a_key_takes_the_place_of_earlier_ones() {
    let (mut caller, mut provider) = pair();
    provider.attend(attentive());
    let options = CallOptions {
        supersede: Some("set-point".into()),
        ..CallOptions::default()
    };
    let first = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let plain = call(&mut caller, b"2").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    next(&mut provider);
    let second = call_with(&mut caller, b"3", &options).unwrap().unwrap();
    assert_eq!(failed(&caller, first), Some(FailureKind::Cancelled));
    assert_eq!(caller.outcome(Some(plain), 0), Ok(None));
    deliver(&mut caller, &mut provider);
    let handed: Vec<_> = std::iter::from_fn(|| next(&mut provider)).collect();
    assert_eq!(handed, [Ok("2".into()), Ok("3".into()), Err(first)]);
    assert_eq!(caller.outcome(Some(second), 0), Ok(None));
}

#[test]
fn progress_comes_in_order_to_who_takes_it_and_not_after_the_end() {
    let (mut caller, mut provider) = pair();
    let options = CallOptions {
        progress: true,
        ..CallOptions::default()
    };
    let number = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let other = call(&mut caller, b"2").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    next(&mut provider);
    let reply_to = replies_of(&caller);
    assert_eq!(
        provider.progress(&reply_to, other, b""),
        Err(Refusal::NotRepliable),
        "not taken yet"
    );
    next(&mut provider);
    assert_eq!(provider.progress(&reply_to, other, b"lost"), Ok(()));
    for part in [b"10%", b"50%"] {
        provider.progress(&reply_to, number, part).unwrap();
    }
    let mut provider = copied(&provider, provider.home().program);
    provider.progress(&reply_to, number, b"90%").unwrap();
    assert_eq!(deliver(&mut provider, &mut caller), 3, "nobody takes the other's");
    let mut caller = copied(&caller, caller.home().program);
    for part in [b"10%", b"50%"] {
        assert_eq!(caller.first_progress(None), Some((number, &part[..])));
        assert_eq!(caller.first_progress(Some(other)), None);
        caller.take_progress(number);
    }
    provider.answer(&reply_to, number, &done(b"1")).unwrap();
    deliver(&mut provider, &mut caller);
    assert_eq!(caller.first_progress(Some(number)), Some((number, &b"90%"[..])));
    caller.take_progress(number);
    assert_eq!(caller.first_progress(None), None);
    assert_eq!(caller.outcome(Some(number), 0), Ok(Some((number, done(b"1")))));
}

#[test]
fn a_provider_that_was_set_back_is_sent_idempotent_calls_again_and_others_fail() {
    let (mut caller, mut provider) = pair();
    let early = call(&mut caller, b"0").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    let checkpoint = provider.save();
    let options = CallOptions {
        idempotent: true,
        ..CallOptions::default()
    };
    let again = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let lost = call(&mut caller, b"2").unwrap().unwrap();
    assert_eq!(deliver(&mut caller, &mut provider), 2);
    // Its engine is lost with its journal, and it goes on elsewhere from its checkpoint.
    let mut provider = set_back(provider.home().program, &checkpoint);
    let its = provider.home().program;
    announce_as(&mut caller, "service/calc", its, Some(Generation(2)));
    let mut caller = copied(&caller, caller.home().program);
    assert_eq!(deliver(&mut caller, &mut provider), 1, "one question");
    assert_eq!(deliver(&mut provider, &mut caller), 1);
    assert_eq!(failed(&caller, lost), Some(FailureKind::Unavailable));
    assert_eq!(caller.outcome(Some(again), 0), Ok(None));
    assert_eq!(deliver(&mut caller, &mut provider), 1, "again");
    assert_eq!(answer(&mut provider, done), 2);
    deliver(&mut provider, &mut caller);
    for (number, arguments) in [(early, b"0"), (again, b"1")] {
        let outcome = caller.outcome(Some(number), 0).unwrap();
        assert_eq!(outcome, Some((number, done(arguments))));
    }
}

#[test]
fn a_provider_that_was_moved_knows_all_its_calls() {
    let (mut caller, mut provider) = pair();
    let number = call(&mut caller, b"1").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    answer(&mut provider, done);
    let mut provider = copied(&provider, provider.home().program);
    let its = provider.home().program;
    announce_as(&mut caller, "service/calc", its, Some(Generation(2)));
    deliver(&mut caller, &mut provider);
    deliver(&mut provider, &mut caller);
    assert_eq!(caller.outcome(Some(number), 0), Ok(Some((number, done(b"1")))));
    assert!(provider.is_all_sent(), "there was nothing to be told");
}

#[test]
fn a_question_comes_behind_the_calls_that_it_is_about() {
    let (mut caller, mut provider) = pair();
    let number = call(&mut caller, b"1").unwrap().unwrap();
    let its = provider.home().program;
    announce_as(&mut caller, "service/calc", its, Some(Generation(2)));
    assert_eq!(
        deliver(&mut caller, &mut provider),
        2,
        "the call, then the question"
    );
    answer(&mut provider, done);
    assert_eq!(deliver(&mut provider, &mut caller), 1);
    assert_eq!(caller.outcome(Some(number), 0), Ok(Some((number, done(b"1")))));
}

#[test]
fn what_is_handed_on_is_answered_by_whoever_it_was_handed_to() {
    for is_lost in [false, true] {
        let (mut caller, mut first) = pair();
        let mut second = mail(someone());
        second.serve("other", None).unwrap();
        let number = call(&mut caller, b"1").unwrap().unwrap();
        deliver(&mut caller, &mut first);
        next(&mut first);
        let reply_to = replies_of(&caller);
        let (other, its) = (address("service/other"), second.home().program);
        let hand_on =
            |first: &mut Mail| first.hand_on((&reply_to, number), &other, ("double", b"1"), 5, DEADLINE_NS);
        assert_eq!(hand_on(&mut first), Ok(None), "nobody is known");
        announce(&mut first, "service/other", its, true);
        assert_eq!(hand_on(&mut first), Ok(Some(())));
        assert_eq!(hand_on(&mut first), Err(Refusal::NotRepliable), "once");
        assert_eq!(
            first.outcome(None, 0),
            Err(Refusal::NotRepliable),
            "it waits for nothing"
        );
        let mut first = copied(&first, first.home().program);
        deliver(&mut first, &mut second);
        let expected = match is_lost {
            true => {
                announce(&mut first, "service/other", its, false);
                None
            }
            false => {
                answer(&mut second, done);
                deliver(&mut second, &mut first);
                Some(done(b"1"))
            }
        };
        let mut first = copied(&first, first.home().program);
        assert_eq!(deliver(&mut first, &mut caller), 1);
        match (caller.outcome(Some(number), 0), expected) {
            (Ok(Some((_, outcome))), Some(expected)) => assert_eq!(outcome, expected),
            (Ok(Some((_, Outcome::Failed(FailureKind::Unavailable, _)))), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_snapshot_file_tells_nobody_what_was_not_granted() {
    let (mut caller, _) = pair();
    let options = CallOptions {
        idempotent: true,
        ..CallOptions::default()
    };
    call_with(&mut caller, b"1", &options).unwrap().unwrap();
    let sent = caller.next_to_send().unwrap();
    caller.sent(sent.number);
    let good = caller.save();
    assert!(mail(caller.home().program).restore(&good).is_ok());
    let (stamp, payload) = Stamp::take_off(&sent.payload);
    let of_another = Stamp {
        sender: someone(),
        ..stamp.unwrap()
    };
    let forged = of_another.put_on(payload);
    let at = good
        .windows(sent.payload.len())
        .position(|window| window == sent.payload)
        .unwrap();
    let mut bad = good.clone();
    bad[at..at + forged.len()].copy_from_slice(&forged);
    assert!(mail(caller.home().program).restore(&bad).is_err());
    for end in 0..good.len() {
        let cut = mail(caller.home().program).restore(&good[..end]);
        assert!(cut.is_err() || end == 0, "cut at {end}");
    }
}
