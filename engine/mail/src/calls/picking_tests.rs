//! Calls whose provider a service picks, as tables, and many of them over a broker that repeats and reorders.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::call::{FailureKind, Outcome, Sent};
use wayfare_protocol::choice::{Load, Loads, PickAsk};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::stamp::Stamp;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use super::choosing_tests::{announce_on, call_choosing, choosing};
use super::tests::{
    DEADLINE_NS, Side, address, announce, announce_as, announce_gone, call_with, copied, deliver, done, mail,
    pair,
};
use crate::tests::someone;
use crate::{Accepted, CallOptions, Mail, Outgoing};

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
    picker.serve("picker", None).unwrap();
    caller.watch(&address(PICKER)).unwrap();
    announce(&mut caller, PICKER, picker.home().program, true);
    [caller, provider, picker]
}

/// One takes what came and answers it.
fn answers(mail: &mut Mail, outcome: impl Fn(&str, &[u8]) -> Outcome) -> usize {
    let mut count = 0;
    while answer_first(mail, &outcome).is_some() {
        count += 1;
    }
    count
}

/// The number of the call.
fn answer_first(mail: &mut Mail, outcome: impl Fn(&str, &[u8]) -> Outcome) -> Option<u64> {
    let message = mail.first().cloned()?;
    let (sent, arguments) = mail.sent_here(&message).expect("a call");
    let Sent::Call { function, .. } = sent else {
        panic!("{sent:?}")
    };
    let outcome = outcome(&function, arguments);
    mail.take_first();
    let stamp = message.stamp.expect("calls have stamps");
    let reply_to = Topics::default().topic(&Topic::ProgramReply(stamp.sender));
    mail.answer(&reply_to, stamp.number, &outcome).unwrap();
    Some(stamp.number)
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
    let number = call_choosing(&mut caller, b"1", &picking()).unwrap().unwrap();
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
        let number = call_choosing(&mut caller, b"1", &picking()).unwrap().unwrap();
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
    let number = call_choosing(&mut caller, b"1", &picking()).unwrap().unwrap();
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

/// Two who provide, on engines `a` and `b`, a caller that knows both, and a picker.
fn four() -> [Mail; 4] {
    let [mut caller, provider, picker] = three();
    let mut other = mail(someone());
    other.serve("calc", None).unwrap();
    announce_on(&mut caller, provider.home().program, "a");
    announce_on(&mut caller, other.home().program, "b");
    [caller, provider, other, picker]
}

/// The end of a call of which a picker says that this program is to be called, after `meanwhile` has come to
/// pass.
fn ended_once_picked(
    options: &CallOptions,
    of: impl Fn(&[Mail; 4]) -> ProgramId,
    meanwhile: impl Fn(&mut [Mail; 4]),
) -> (Option<Outcome>, [usize; 2]) {
    let mut all = four();
    let program = of(&all);
    let number = call_choosing(&mut all[0], b"1", options).unwrap().unwrap();
    meanwhile(&mut all);
    let [mut caller, mut provider, mut other, mut picker] = all;
    deliver(&mut caller, &mut picker);
    answers(&mut picker, |_, _| {
        Outcome::Done(program.to_string().into_bytes())
    });
    deliver(&mut picker, &mut caller);
    let mut called = [0; 2];
    while let Some(outgoing) = caller.next_to_send() {
        let to = [&mut provider, &mut other].into_iter().zip(&mut called);
        for (provider, called) in to {
            let inbox = Topics::default().topic(&Topic::ProgramInbox(provider.home().program));
            if outgoing.topic == inbox {
                provider.accept(&outgoing.topic, &outgoing.payload, false);
                *called += answers(provider, |_, arguments| done(arguments));
                deliver(provider, &mut caller);
            }
        }
        caller.sent(outgoing.number);
    }
    let outcome = caller.outcome(Some(number), 0).unwrap();
    (outcome.map(|(_, outcome)| outcome), called)
}

#[test]
fn only_who_fits_the_callers_conditions_can_be_picked() {
    let mut options = picking();
    options.loads.insert("b".parse().unwrap(), Load::default());
    let made = Some(Outcome::Done(b"11".to_vec()));
    let other = |all: &[Mail; 4]| all[2].home().program;
    assert_eq!(ended_once_picked(&options, other, |_| {}), (made, [0, 1]));
    options.choose = format!("engine=a,{PICKER}").parse().unwrap();
    let (ended, called) = ended_once_picked(&options, other, |_| {});
    assert!(
        matches!(ended, Some(Outcome::Failed(FailureKind::NotFound, _))),
        "{ended:?}"
    );
    assert_eq!(called, [0, 0]);
}

#[test]
fn who_is_picked_is_called_though_the_broker_has_lost_the_session_meanwhile() {
    let provider = |all: &[Mail; 4]| all[1].home().program;
    let forget = |all: &mut [Mail; 4]| all[0].forget_providers();
    let made = Some(Outcome::Done(b"11".to_vec()));
    assert_eq!(ended_once_picked(&picking(), provider, forget), (made, [1, 0]));
    // But not one that is known to be gone, or was withdrawn, and is heard of no more since.
    let gone = |all: &mut [Mail; 4]| {
        let its = all[1].home().program;
        announce_gone(&mut all[0], "service/calc", its, 1);
    };
    let withdrawn = |all: &mut [Mail; 4]| {
        let its = all[1].home().program;
        announce(&mut all[0], "service/calc", its, false);
        all[0] = copied(&all[0], all[0].home().program);
        all[0].forget_providers();
    };
    for meanwhile in [&gone as &dyn Fn(&mut [Mail; 4]), &withdrawn] {
        let (ended, called) = ended_once_picked(&picking(), provider, meanwhile);
        assert!(
            matches!(ended, Some(Outcome::Failed(FailureKind::NotFound, _))),
            "{ended:?}"
        );
        assert_eq!(called, [0, 0]);
    }
}

/// A provider takes numbers far below those that it has from the same caller for repeats.
#[test]
fn a_call_that_is_picked_when_its_caller_has_sent_much_since_fails_and_is_not_lost() {
    for sent in [0, 200, 600, 1_500] {
        let [mut caller, mut provider, mut picker] = three();
        let number = call_choosing(&mut caller, b"1", &picking()).unwrap().unwrap();
        assert_eq!(deliver(&mut caller, &mut picker), 1);
        for _ in 0..sent {
            let other = call_with(&mut caller, b"2", &CallOptions::default());
            let other = other.unwrap().unwrap();
            deliver(&mut caller, &mut provider);
            assert_eq!(answers(&mut provider, |_, arguments| done(arguments)), 1);
            deliver(&mut provider, &mut caller);
            caller.end_call(other);
        }
        answers(&mut picker, picked);
        deliver(&mut picker, &mut caller);
        let mut caller = copied(&caller, caller.home().program);
        deliver(&mut caller, &mut provider);
        let called = answers(&mut provider, |_, arguments| done(arguments));
        deliver(&mut provider, &mut caller);
        let (_, ended) = caller.outcome(Some(number), 0).unwrap().expect("an end");
        match called {
            1 => assert_eq!(ended, Outcome::Done(b"11".to_vec()), "{sent}"),
            _ => assert!(
                sent > 256 && matches!(ended, Outcome::Failed(FailureKind::Unavailable, _)),
                "{sent}: {ended:?}"
            ),
        }
        assert_eq!(called == 1, sent <= 200, "{sent}");
    }
}

/// It has begun nothing by picking, so it does it again, whatever the call is.
#[test]
fn a_picker_that_was_set_back_is_asked_again_and_the_call_is_kept_once() {
    let [mut caller, mut provider, picker] = three();
    let (checkpoint, its) = (picker.save(), picker.home().program);
    let options = CallOptions {
        coalesce: Some("k".into()),
        ..picking()
    };
    let numbers = [(); 10].map(|()| call_choosing(&mut caller, &[7; 1024], &options).unwrap().unwrap());
    let mut picker = picker;
    assert_eq!(deliver(&mut caller, &mut picker), 1);
    let saved = caller.save();
    assert!(saved.len() < 5 * 1024, "{} bytes", saved.len());
    let mut caller = copied(&caller, caller.home().program);
    assert_eq!(caller.save(), saved);
    let mut picker = mail(its);
    picker.restore(&checkpoint).unwrap();
    announce_as(&mut caller, PICKER, its, Some(Generation(2)));
    for _ in 0..3 {
        deliver(&mut caller, &mut picker);
        deliver(&mut picker, &mut caller);
    }
    assert_eq!(answers(&mut picker, picked), 1);
    deliver(&mut picker, &mut caller);
    deliver(&mut caller, &mut provider);
    assert_eq!(answers(&mut provider, |_, arguments| done(arguments)), 1);
    deliver(&mut provider, &mut caller);
    for number in numbers {
        let ended = caller.outcome(Some(number), 0).unwrap();
        assert_eq!(ended, Some((number, done(&[7; 1024]))));
    }
}

#[test]
fn calls_of_one_key_are_picked_and_made_once_and_a_cancelled_one_leaves_the_others() {
    let [mut caller, mut provider, mut picker] = three();
    let options = CallOptions {
        coalesce: Some("k".into()),
        ..picking()
    };
    let numbers = [(); 3].map(|()| call_choosing(&mut caller, b"1", &options).unwrap().unwrap());
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

/// The broker does so at once.
fn grant(mail: &mut Mail) {
    for (filter, qos) in mail.to_subscribe() {
        mail.granted(&filter, qos);
    }
}

/// Over a broker that repeats and reorders, between programs that are moved and crash: a caller, two
/// providers and a picker.
struct Run {
    drawn: u64,
    sides: [Side; 4],
    /// Who has done what, by the number of the call, as each knows it, and as it did when it was stored last.
    did: [[BTreeMap<u64, u64>; 2]; 2],
    /// Whoever has ever done it.
    ever: BTreeMap<u64, BTreeSet<usize>>,
    results: BTreeMap<u64, Outcome>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut all = four();
        // So that its first checkpoint has where its providers are.
        all[0].calls.has_chosen = true;
        Self {
            drawn: seed,
            sides: all.map(Side::new),
            did: Default::default(),
            ever: BTreeMap::new(),
            results: BTreeMap::new(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.drawn >> 33) % below
    }

    fn step(&mut self, calls: u64) {
        let at = usize::try_from(self.draw(4)).unwrap();
        match self.draw(40) {
            0 => self.store_and(at, |side| side.go_on(false)),
            1 => {
                self.sides[at].go_on(true);
                if let 1 | 2 = at {
                    self.did[at - 1][0] = self.did[at - 1][1].clone();
                }
            }
            2..5 => self.store_and(at, Side::store),
            5..16 => self.send(at),
            16..27 => self.receive(at),
            27..34 if at == 0 && self.sides[0].made < calls && self.draw(2) == 0 => self.call(),
            27..34 if at == 0 => self.take_end(),
            _ if at == 3 => self.pick(),
            _ if at > 0 => self.provide(at),
            _ => {}
        }
    }

    fn store_and(&mut self, at: usize, then: impl Fn(&mut Side)) {
        then(&mut self.sides[at]);
        if let 1 | 2 = at {
            self.did[at - 1][1] = self.did[at - 1][0].clone();
        }
    }

    fn send(&mut self, at: usize) {
        let Some(outgoing) = self.sides[at].mail.next_to_send() else {
            if self.draw(8) == 0 {
                self.sides[at].mail.begin_session();
            }
            return;
        };
        if self.draw(4) > 0 {
            self.sides[at].mail.sent(outgoing.number);
        }
        let to = match Topics::default().parse(&outgoing.topic) {
            Some(Topic::ProgramInbox(to) | Topic::ProgramReply(to)) => to,
            other => panic!("{other:?}"),
        };
        let mut sides = self.sides.iter_mut();
        let to = sides.find(|side| side.mail.home().program == to).unwrap();
        to.queued.push(outgoing);
    }

    fn receive(&mut self, at: usize) {
        let waiting = self.sides[at].queued.len() as u64;
        if waiting == 0 {
            return;
        }
        let from = usize::try_from(self.draw(waiting.min(3))).unwrap();
        // What asks whether something has come must come behind it.
        let is_stamped = |one: &Outgoing| Stamp::take_off(&one.payload).0.is_some();
        let from = if is_stamped(&self.sides[at].queued[from]) {
            from
        } else {
            0
        };
        let outgoing = self.sides[at].queued[from].clone();
        if self.draw(4) > 0 {
            self.sides[at].queued.remove(from);
        }
        let side = &mut self.sides[at];
        if let Accepted::Taken(message) = side.mail.accept(&outgoing.topic, &outgoing.payload, false) {
            side.journal.push(message);
        }
    }

    fn call(&mut self) {
        let mut options = picking();
        options.loads.insert("b".parse().unwrap(), Load::default());
        let made = self.sides[0].made.to_string();
        let mail = &mut self.sides[0].mail;
        if let Ok(Some(_)) = call_with(mail, made.as_bytes(), &options) {
            self.sides[0].made += 1;
        }
        grant(&mut self.sides[0].mail);
    }

    fn take_end(&mut self) {
        if let Ok(Some((number, outcome))) = self.sides[0].mail.outcome(None, 0) {
            self.sides[0].mail.end_call(number);
            let before = self.results.insert(number, outcome.clone());
            assert!(before.is_none_or(|before| before == outcome), "{number}");
        }
    }

    /// Set back, it may well pick another.
    fn pick(&mut self) {
        let which = self.draw(2);
        answers(&mut self.sides[3].mail, |_, arguments| {
            let ask: PickAsk = wire::from_json(arguments).unwrap();
            let at = usize::try_from(which).unwrap() % ask.candidates.len();
            Outcome::Done(ask.candidates[at].program.to_string().into_bytes())
        });
    }

    fn provide(&mut self, at: usize) {
        let provider = &mut self.sides[at].mail;
        let mut numbers = Vec::new();
        while let Some(number) = answer_first(provider, |_, arguments| done(arguments)) {
            numbers.push(number);
        }
        for number in numbers {
            *self.did[at - 1][0].entry(number).or_default() += 1;
            self.ever.entry(number).or_default().insert(at);
        }
    }
}

/// Each to before what it had not stored.
#[test]
fn each_picked_call_is_done_by_one_of_two_while_all_move_and_crash_and_the_broker_repeats_and_reorders() {
    const CALLS: u64 = 80;
    let mut done_by = [0; 2];
    for seed in 1..=10_u64 {
        let mut run = Run::new(seed);
        let mut steps = 0;
        while (run.results.len() as u64) < CALLS {
            steps += 1;
            assert!(steps < 1_000_000, "seed {seed}: {} have ended", run.results.len());
            run.step(CALLS);
        }
        // One that was set back does again what it had not stored.
        [1, 2].into_iter().for_each(|at| run.provide(at));
        for (made, (_, outcome)) in run.results.iter().enumerate() {
            assert_eq!(*outcome, done(made.to_string().as_bytes()), "seed {seed}");
        }
        for (number, by) in &run.ever {
            assert_eq!(by.len(), 1, "seed {seed}: {number} was done by {by:?}");
            for at in by {
                let times = run.did[at - 1][0].get(number);
                assert_eq!(times, Some(&1), "seed {seed}: {number}, by {at}");
                done_by[at - 1] += 1;
            }
        }
    }
    assert!(done_by.into_iter().all(|count| count > 100), "{done_by:?}");
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
        // So that its first checkpoint has where its providers are: there is no broker here that would say it
        // again.
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
                    grant(&mut sides[0].mail);
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
