//! Which provider a call goes to, as tables, and calls whose provider a service picks, over a broker that repeats and reorders.

use std::collections::BTreeMap;

use wayfare_protocol::address::Announcement;
use wayfare_protocol::call::{FailureKind, Outcome, Sent};
use wayfare_protocol::choice::{Load, Loads, PickAsk};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use super::tests::{DEADLINE_NS, Side, address, announce, call_with, copied, deliver, done, mail, pair};
use crate::tests::someone;
use crate::{Accepted, CallOptions, Mail};

fn choosing(choose: &str) -> CallOptions {
    CallOptions {
        choose: choose.parse().unwrap(),
        ..CallOptions::default()
    }
}

fn announce_on(mail: &mut Mail, program: ProgramId, engine: &str) {
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
    let number = call_with(caller, b"1", options).unwrap()?;
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

/// Snapshots of programs that have chosen nothing do not have where providers are.
#[test]
fn a_program_that_begins_to_choose_after_a_move_asks_the_broker_where_its_providers_are() {
    let (caller, all) = with_three();
    let filter = Topics::default().all_at(&address("service/calc"));
    let mut caller = copied(&caller, caller.home().program);
    caller.granted(&filter, Qos::AtLeastOnce);
    assert_eq!(caller.save()[0], 3, "as earlier releases read it");
    assert!(called(&mut caller, &CallOptions::default()).is_some());
    assert_eq!(called(&mut caller, &choosing("engine=b")), None);
    let asks = |caller: &Mail| caller.to_subscribe().iter().any(|(one, _)| *one == filter);
    assert!(asks(&caller));
    announce_on(&mut caller, all[1], "b");
    assert_eq!(
        called(&mut caller, &choosing("engine=b")),
        None,
        "not granted yet"
    );
    caller.granted(&filter, Qos::AtLeastOnce);
    assert_eq!(called(&mut caller, &choosing("engine=b")), Some(all[1]));
    assert_eq!(caller.save()[0], 5);
    assert!(!asks(&caller), "once");
}

const PICKER: &str = "service/picker";

fn picking() -> CallOptions {
    CallOptions {
        loads: Loads::from([("a".parse().unwrap(), Load::default())]),
        ..choosing(PICKER)
    }
}

/// A caller, a provider and a picker, which knows both.
fn three() -> [Mail; 3] {
    let (mut caller, provider) = pair();
    let mut picker = mail(someone());
    picker.serve("picker").unwrap();
    caller.watch(&address(PICKER)).unwrap();
    announce(&mut caller, PICKER, picker.home().program, true);
    [caller, provider, picker]
}

/// One takes what came and answers it.
fn answers(mail: &mut Mail, outcome: impl Fn(&str, &[u8]) -> Outcome) -> usize {
    let mut count = 0;
    while let Some(message) = mail.first().cloned() {
        let (sent, arguments) = mail.sent_here(&message).expect("a call");
        let Sent::Call { function, .. } = sent else {
            panic!("{sent:?}")
        };
        let outcome = outcome(&function, arguments);
        mail.take_first();
        let stamp = message.stamp.expect("calls have stamps");
        let reply_to = Topics::default().topic(&Topic::ProgramReply(stamp.sender));
        mail.answer(&reply_to, stamp.number, &outcome).unwrap();
        count += 1;
    }
    count
}

type Answering = dyn Fn(&str, &[u8]) -> Outcome;

/// The only candidate.
fn picked(function: &str, arguments: &[u8]) -> Outcome {
    let ask: PickAsk = wire::from_json(arguments).unwrap();
    assert_eq!((function, ask.function.as_str()), ("pick", "double"));
    Outcome::Done(ask.candidates[0].program.to_string().into_bytes())
}

#[test]
fn a_call_is_sent_to_the_provider_that_a_service_picks() {
    let [mut caller, mut provider, mut picker] = three();
    let number = call_with(&mut caller, b"1", &picking()).unwrap().unwrap();
    let mut caller = copied(&caller, caller.home().program);
    caller.begin_session();
    assert_eq!(deliver(&mut caller, &mut picker), 1, "only who picks is asked");
    assert_eq!(answers(&mut picker, picked), 1);
    deliver(&mut picker, &mut caller);
    assert_eq!(caller.outcome(Some(number), 0), Ok(None), "not yet");
    let mut caller = copied(&caller, caller.home().program);
    caller.begin_session();
    deliver(&mut caller, &mut provider);
    assert_eq!(answers(&mut provider, |_, arguments| done(arguments)), 1);
    deliver(&mut provider, &mut caller);
    let outcome = caller.outcome(Some(number), 0).unwrap();
    assert_eq!(outcome, Some((number, Outcome::Done(b"11".to_vec()))));
}

#[test]
fn a_call_fails_as_the_call_of_the_service_that_picks_or_where_that_names_none() {
    let refused = |_: &str, _: &[u8]| Outcome::Failed(FailureKind::Refused, "no".into());
    let other = |_: &str, _: &[u8]| Outcome::Done(someone().to_string().into_bytes());
    let nonsense = |_: &str, _: &[u8]| Outcome::Done(b"{}".to_vec());
    let cases: [(&Answering, FailureKind); 3] = [
        (&refused, FailureKind::Refused),
        (&other, FailureKind::NotFound),
        (&nonsense, FailureKind::NotFound),
    ];
    for (outcome, expected) in cases {
        let [mut caller, mut provider, mut picker] = three();
        let number = call_with(&mut caller, b"1", &picking()).unwrap().unwrap();
        deliver(&mut caller, &mut picker);
        answers(&mut picker, outcome);
        deliver(&mut picker, &mut caller);
        let caller = copied(&caller, caller.home().program);
        let ended = caller.outcome(Some(number), 0).unwrap();
        assert!(matches!(ended, Some((_, Outcome::Failed(kind, _))) if kind == expected));
        assert_eq!(
            deliver(&mut copied(&caller, caller.home().program), &mut provider),
            0
        );
    }
    // The one who picks is killed, or does not answer.
    let [mut caller, _, picker] = three();
    let number = call_with(&mut caller, b"1", &picking()).unwrap().unwrap();
    let late = caller.outcome(Some(number), DEADLINE_NS).unwrap();
    assert!(matches!(
        late,
        Some((_, Outcome::Failed(FailureKind::DeadlineExceeded, _)))
    ));
    announce(&mut caller, PICKER, picker.home().program, false);
    let ended = caller.outcome(Some(number), 0).unwrap();
    assert!(matches!(
        ended,
        Some((_, Outcome::Failed(FailureKind::Unavailable, _)))
    ));
}

#[test]
fn calls_of_one_key_are_picked_and_made_once_and_a_cancelled_one_leaves_the_others() {
    let [mut caller, mut provider, mut picker] = three();
    let options = CallOptions {
        coalesce: Some("k".into()),
        ..picking()
    };
    let numbers = [(); 3].map(|()| call_with(&mut caller, b"1", &options).unwrap().unwrap());
    assert_eq!(caller.cancel(numbers[0]), Ok(true));
    assert_eq!(deliver(&mut caller, &mut picker), 1);
    assert_eq!(answers(&mut picker, picked), 1);
    deliver(&mut picker, &mut caller);
    deliver(&mut caller, &mut provider);
    assert_eq!(answers(&mut provider, |_, arguments| done(arguments)), 1);
    deliver(&mut provider, &mut caller);
    for (number, expected) in numbers.into_iter().zip([None, Some(()), Some(())]) {
        let ended = caller.outcome(Some(number), 0).unwrap().expect("an end").1;
        let is_done = (ended == Outcome::Done(b"11".to_vec())).then_some(());
        assert_eq!(is_done, expected, "{ended:?}");
    }
}

/// Who picks, who provides and who calls are moved and crash, each to before what it had not stored.
#[test]
fn each_picked_call_is_made_once_while_all_move_and_crash_and_the_broker_repeats_and_reorders() {
    const CALLS: u64 = 80;
    for seed in 1..=10_u64 {
        let mut drawn = seed;
        let mut draw = |below: u64| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (drawn >> 33) % below
        };
        let mut all = three();
        // So that its first checkpoint has where its providers are: there is no broker here that would say it again.
        all[0].calls.has_chosen = true;
        let mut sides = all.map(Side::new);
        let ids = [0, 1, 2].map(|at| sides[at].mail.home().program);
        let mut results = BTreeMap::new();
        let mut turns = 0;
        while (results.len() as u64) < CALLS {
            turns += 1;
            assert!(turns < 1_000_000, "seed {seed}: {} have ended", results.len());
            let at = usize::try_from(draw(3)).unwrap();
            match draw(40) {
                0 => sides[at].go_on(false),
                1 => sides[at].go_on(true),
                2..5 => sides[at].store(),
                5..16 => {
                    if let Some(outgoing) = sides[at].mail.next_to_send() {
                        if draw(4) > 0 {
                            sides[at].mail.sent(outgoing.number);
                        }
                        let to = match Topics::default().parse(&outgoing.topic) {
                            Some(Topic::ProgramInbox(to) | Topic::ProgramReply(to)) => to,
                            other => panic!("{other:?}"),
                        };
                        let to = ids.iter().position(|id| *id == to).unwrap();
                        sides[to].queued.push(outgoing);
                    } else if draw(8) == 0 {
                        sides[at].mail.begin_session();
                    }
                }
                16..27 => {
                    let waiting = sides[at].queued.len() as u64;
                    if waiting > 0 {
                        let from = usize::try_from(draw(waiting.min(3))).unwrap();
                        let outgoing = sides[at].queued[from].clone();
                        if draw(4) > 0 {
                            sides[at].queued.remove(from);
                        }
                        if let Accepted::Taken(message) =
                            sides[at].mail.accept(&outgoing.topic, &outgoing.payload, false)
                        {
                            sides[at].journal.push(message);
                        }
                    }
                }
                27..34 if at == 0 && sides[0].made < CALLS && draw(2) == 0 => {
                    let made = sides[0].made.to_string();
                    if let Ok(Some(_)) = call_with(&mut sides[0].mail, made.as_bytes(), &picking()) {
                        sides[0].made += 1;
                    }
                }
                27..34 if at == 0 => {
                    if let Ok(Some((number, outcome))) = sides[0].mail.outcome(None, 0) {
                        sides[0].mail.end_call(number);
                        let before = results.insert(number, outcome.clone());
                        assert!(
                            before.is_none_or(|before| before == outcome),
                            "seed {seed}: {number}"
                        );
                    }
                }
                _ if at == 1 => {
                    answers(&mut sides[1].mail, |_, arguments| done(arguments));
                }
                _ if at == 2 => {
                    answers(&mut sides[2].mail, picked);
                }
                _ => {}
            }
        }
        for (made, (_, outcome)) in results.into_iter().enumerate() {
            assert_eq!(outcome, done(made.to_string().as_bytes()), "seed {seed}");
        }
    }
}
