//! Providers that are gone: they have ended at an engine's address, or are lost with their engine.

use wayfare_protocol::address::Address;
use wayfare_protocol::call::{About, FailureKind, Outcome};
use wayfare_protocol::ids::{Generation, ProgramId};

use super::tests::{
    DEADLINE_NS, address, announce, announce_as, announce_gone, answer, call, call_with, copied, deliver,
    done, mail, pair,
};
use crate::tests::someone;
use crate::{Accepted, CallOptions, Mail};

fn ended(mail: &Mail, number: u64) -> Option<Result<(), FailureKind>> {
    match mail.outcome(Some(number), 0).unwrap()?.1 {
        Outcome::Done(_) => Some(Ok(())),
        Outcome::Failed(kind, _) => Some(Err(kind)),
    }
}

fn called(caller: &mut Mail, at: &Address) -> Option<u64> {
    let options = CallOptions::default();
    caller
        .call(at, ("double", b"1"), 5, DEADLINE_NS, &options)
        .unwrap()
}

#[test]
fn calls_of_a_program_that_is_lost_fail_at_once_and_others_go_to_who_is_there() {
    let (mut caller, provider) = pair();
    let (lost, calc) = (provider.home().program, address("service/calc"));
    let options = CallOptions {
        idempotent: true,
        ..CallOptions::default()
    };
    let open = call_with(&mut caller, b"1", &options).unwrap().unwrap();
    announce_gone(&mut caller, "service/calc", lost, 1);
    assert_eq!(ended(&caller, open), Some(Err(FailureKind::Unavailable)));
    assert_eq!(called(&mut caller, &calc), None, "nobody is there");
    let itself = caller.home().program;
    let mut caller = copied(&caller, itself);
    assert_eq!(called(&mut caller, &calc), None, "as its snapshot has it");

    let other = ProgramId::from_bytes([9; 16]);
    announce(&mut caller, "service/calc", other, true);
    for _ in 0..3 {
        assert!(called(&mut caller, &calc).is_some());
        let sent = std::iter::from_fn(|| caller.next_to_send()).last().unwrap();
        assert!(sent.topic.contains(&other.to_string()), "{}", sent.topic);
    }
    // It is back, as the same generation: it was only slow.
    announce(&mut caller, "service/calc", other, false);
    announce(&mut caller, "service/calc", lost, true);
    assert!(called(&mut caller, &calc).is_some());
    assert_eq!(
        ended(&caller, open),
        Some(Err(FailureKind::Unavailable)),
        "an end is one"
    );
}

#[test]
fn a_later_owner_is_not_gone_with_an_earlier_one() {
    let (mut caller, provider) = pair();
    let its = provider.home().program;
    announce_as(&mut caller, "service/calc", its, Some(Generation(7)));
    let open = call(&mut caller, b"1").unwrap().unwrap();
    assert!(matches!(
        announce_gone(&mut caller, "service/calc", its, 6),
        Accepted::Dropped
    ));
    assert_eq!(ended(&caller, open), None);
    announce_gone(&mut caller, "service/calc", its, 7);
    assert_eq!(ended(&caller, open), Some(Err(FailureKind::Unavailable)));
}

#[test]
fn a_program_that_ends_where_it_was_called_by_its_engine_fails_its_callers() {
    let (mut caller, mut provider) = pair();
    let (at, its) = (address("engine/a"), provider.home().program);
    caller.watch(&at).unwrap();
    announce(&mut caller, "engine/a", its, true);
    let first = called(&mut caller, &at).unwrap();
    deliver(&mut caller, &mut provider);
    answer(&mut provider, done);
    deliver(&mut provider, &mut caller);
    let second = called(&mut caller, &at).unwrap();
    deliver(&mut caller, &mut provider);
    announce_gone(&mut caller, "engine/a", its, 1);
    announce(&mut caller, "engine/a", its, false);
    assert_eq!(ended(&caller, first), Some(Ok(())), "it was answered before");
    assert_eq!(ended(&caller, second), Some(Err(FailureKind::Unavailable)));
}

/// The broker keeps them for it.
#[test]
fn messages_are_sent_to_a_program_that_is_lost_and_receipts_wait_for_it() {
    let mut sender = mail(someone());
    let (at, its) = (address("program/hall"), ProgramId::from_bytes([9; 16]));
    let about = About {
        receipt: true,
        ..About::default()
    };
    assert_eq!(sender.send_to(&at, b"soup", &about, u64::MAX), Ok(None));
    announce(&mut sender, "program/hall", its, true);
    let before = sender.send_to(&at, b"soup", &about, u64::MAX).unwrap().unwrap();
    announce_gone(&mut sender, "program/hall", its, 1);
    let after = sender.send_to(&at, b"soup", &about, u64::MAX).unwrap().unwrap();
    for number in [before, after] {
        assert_eq!(ended(&sender, number), None);
    }
    announce(&mut sender, "program/hall", its, false);
    for number in [before, after] {
        assert_eq!(ended(&sender, number), Some(Err(FailureKind::Ended)));
    }
}
