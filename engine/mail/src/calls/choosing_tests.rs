//! Which provider a call goes to, as tables.

use wayfare_protocol::address::Announcement;
use wayfare_protocol::choice::{Load, Loads};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use super::tests::{address, call_with, copied, mail};
use crate::tests::someone;
use crate::{CallOptions, Mail, Refusal};

pub(super) fn choosing(choose: &str) -> CallOptions {
    CallOptions {
        choose: choose.parse().unwrap(),
        ..CallOptions::default()
    }
}

pub(super) fn announce_on(mail: &mut Mail, program: ProgramId, engine: &str) {
    let announcement = Announcement {
        program,
        name: "p".into(),
        engine: engine.parse().unwrap(),
        generation: Generation::FIRST,
        gone: false,
    };
    let topic = Topics::default().topic(&Topic::Address(address("service/calc"), program));
    mail.accept(&topic, &wire::encode(&announcement), true);
}

/// The broker has granted what is asked of it, and has told who is there.
pub(super) fn told_all(mail: &mut Mail) {
    for (filter, qos) in mail.to_subscribe() {
        mail.granted(&filter, qos);
    }
    // What it asks itself comes behind.
    let own = Topics::default().topic(&Topic::ProgramReply(mail.home().program));
    while let Some(outgoing) = mail.next_to_send() {
        assert_eq!(outgoing.topic, own);
        mail.accept(&own, &outgoing.payload, false);
        mail.sent(outgoing.number);
    }
}

/// The next call that asks for a choice, once all are known among whom that is.
pub(super) fn call_choosing(
    caller: &mut Mail,
    arguments: &[u8],
    options: &CallOptions,
) -> Result<Option<u64>, Refusal> {
    match call_with(caller, arguments, options)? {
        None => {
            told_all(caller);
            call_with(caller, arguments, options)
        }
        number => Ok(number),
    }
}

/// A caller on engine `a` that knows providers on `a`, `b` and `c`, with ids in this order.
fn with_three() -> (Mail, [ProgramId; 3]) {
    let mut caller = mail(someone());
    caller.watch(&address("service/calc")).unwrap();
    let all = [1, 2, 3].map(|number| ProgramId::from_bytes([number; 16]));
    for (program, engine) in all.into_iter().zip(["a", "b", "c"]) {
        announce_on(&mut caller, program, engine);
    }
    (caller, all)
}

/// Whom the next call goes to.
fn called(caller: &mut Mail, options: &CallOptions) -> Option<ProgramId> {
    let number = call_choosing(caller, b"1", options).unwrap()?;
    caller.end_call(number);
    let outgoing = caller.next_to_send().unwrap();
    caller.sent(outgoing.number);
    match Topics::default().parse(&outgoing.topic) {
        Some(Topic::ProgramInbox(program)) => Some(program),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_goes_where_its_caller_chooses_here_and_after_a_move() {
    let (caller, all) = with_three();
    let moved = |caller: &Mail| copied(caller, caller.home().program);
    for (choose, expected) in [
        ("first", Some(all[0])),
        ("same-engine", Some(all[0])),
        ("engine=c", Some(all[2])),
        ("engine=b,first", Some(all[1])),
        ("engine=d", None),
        ("host=attic", None),
    ] {
        let mut caller = moved(&caller);
        // It has chosen nothing before: see below.
        for (program, engine) in all.into_iter().zip(["a", "b", "c"]) {
            announce_on(&mut caller, program, engine);
        }
        let options = choosing(choose);
        for _ in 0..3 {
            assert_eq!(called(&mut caller, &options), expected, "{choose}");
            caller = moved(&caller);
        }
    }
    let mut loads = Loads::new();
    for (engine, cpu_millicores) in [("b", 5), ("c", 3)] {
        let load = Load {
            cpu_millicores: Some(cpu_millicores),
            ..Load::default()
        };
        loads.insert(engine.parse().unwrap(), load);
    }
    let options = CallOptions {
        loads,
        ..choosing("least-cpu")
    };
    let (mut caller, _) = with_three();
    assert_eq!(called(&mut caller, &options), Some(all[2]));
}

#[test]
fn calls_go_round_over_moves_and_whatever_is_published_between_them() {
    let (mut caller, all) = with_three();
    let options = choosing("round-robin");
    for expected in [0, 1, 2, 0, 1, 2, 0] {
        assert_eq!(called(&mut caller, &options), Some(all[expected]));
        called(&mut caller, &CallOptions::default()).unwrap();
        caller = copied(&caller, caller.home().program);
    }
    let gone = Topics::default().topic(&Topic::Address(address("service/calc"), all[1]));
    caller.accept(&gone, b"", false);
    assert_eq!(called(&mut caller, &options), Some(all[2]));
}

/// What is announced comes one by one: of two callers each would else call whoever it has heard of first.
#[test]
fn a_caller_chooses_when_it_knows_everybody_who_is_there_and_again_when_the_broker_has_forgotten_it() {
    let mut caller = mail(someone());
    let all = [3, 1, 2].map(|number| ProgramId::from_bytes([number; 16]));
    let options = choosing("first");
    for round in 0..2 {
        assert_eq!(call_with(&mut caller, b"1", &options), Ok(None));
        announce_on(&mut caller, all[0], "a");
        assert_eq!(call_with(&mut caller, b"1", &options), Ok(None), "round {round}");
        announce_on(&mut caller, all[1], "b");
        told_all(&mut caller);
        assert_eq!(called(&mut caller, &options), Some(all[1]));
        // A connection that goes on with the session brings what has changed.
        caller.begin_session();
        assert_eq!(called(&mut caller, &options), Some(all[1]));
        announce_on(&mut caller, all[2], "c");
        assert_eq!(called(&mut caller, &options), Some(all[1]));
        caller.session_lost();
        caller.forget_providers();
    }
}

/// Snapshots of programs that have chosen nothing do not have where providers are.
#[test]
fn a_program_that_begins_to_choose_after_a_move_asks_the_broker_where_its_providers_are() {
    let (caller, all) = with_three();
    let filter = Topics::default().all_at(&address("service/calc"));
    let mut caller = copied(&caller, caller.home().program);
    caller.granted(&filter, Qos::AtLeastOnce);
    assert_eq!(caller.save()[0], 3, "as earlier releases read it");
    assert!(called(&mut caller, &CallOptions::default()).is_some());
    let options = choosing("engine=b");
    assert_eq!(call_with(&mut caller, b"1", &options), Ok(None));
    let asks = |caller: &Mail| caller.to_subscribe().iter().any(|(one, _)| *one == filter);
    assert!(asks(&caller));
    announce_on(&mut caller, all[1], "b");
    assert_eq!(
        call_with(&mut caller, b"1", &options),
        Ok(None),
        "not granted yet"
    );
    told_all(&mut caller);
    assert_eq!(called(&mut caller, &choosing("engine=b")), Some(all[1]));
    assert_eq!(caller.save()[0], 5);
    assert!(!asks(&caller), "once");
}
