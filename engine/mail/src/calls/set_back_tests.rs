//! Runs of many calls and messages over a broker that repeats and delays, whose provider is moved, crashes,
//! and is set back to an old checkpoint without its journal, as when its engine is lost.

use std::collections::BTreeMap;

use wayfare_protocol::call::{About, FailureKind, Outcome, Sent};
use wayfare_protocol::ids::Generation;
use wayfare_protocol::topics::{Topic, Topics};

use super::tests::{Side, address, announce_as, answer, call_with, copied, deliver, done, mail, pair};
use crate::{Accepted, CallOptions, Mail};

const CALLS: u64 = 120;
const NEVER_NS: u64 = u64::MAX;

struct Run {
    seed: u64,
    drawn: u64,
    /// Caller and provider.
    sides: [Side; 2],
    generation: Generation,
    /// By number: whether it may be done twice, or is a message.
    made: BTreeMap<u64, Kind>,
    ended: BTreeMap<u64, Outcome>,
    /// What the provider did, by number, and how often.
    did: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Idempotent,
    Once,
    Message,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (caller, provider) = pair();
        Self {
            seed,
            drawn: seed,
            sides: [Side::new(caller), Side::new(provider)],
            generation: Generation::FIRST,
            made: BTreeMap::new(),
            ended: BTreeMap::new(),
            did: BTreeMap::new(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.drawn >> 33) % below
    }

    fn step(&mut self) {
        let at = usize::try_from(self.draw(2)).unwrap();
        match self.draw(60) {
            0 => self.sides[at].go_on(false),
            1 => self.sides[1].go_on(true),
            2..6 => self.sides[1].store(),
            6 => self.set_back(),
            7..25 => self.send(at),
            25..42 => self.receive(at),
            42..52 if at == 0 => self.make(),
            42..52 => self.provide(),
            _ => self.take_end(),
        }
    }

    /// The provider goes on elsewhere from its checkpoint, and what its journal had is lost.
    fn set_back(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
        let provider = &mut self.sides[1];
        provider.journal.clear();
        provider.go_on(true);
        let its = provider.mail.home().program;
        let accepted = announce_as(
            &mut self.sides[0].mail,
            "service/calc",
            its,
            Some(self.generation),
        );
        if let Accepted::Taken(message) = accepted {
            self.sides[0].journal.push(message);
        }
    }

    fn send(&mut self, at: usize) {
        let is_acknowledged = self.draw(4) > 0;
        if let Some(outgoing) = self.sides[at].mail.next_to_send() {
            if is_acknowledged {
                self.sides[at].mail.sent(outgoing.number);
            }
            self.sides[1 - at].queued.push(outgoing);
        } else if self.draw(8) == 0 {
            self.sides[at].mail.begin_session();
        }
    }

    /// In order, as a broker keeps it for one sender; it may come again.
    fn receive(&mut self, at: usize) {
        let is_repeated = self.draw(4) == 0;
        let side = &mut self.sides[at];
        let Some(outgoing) = side.queued.first().cloned() else {
            return;
        };
        if !is_repeated {
            side.queued.remove(0);
        }
        if let Accepted::Taken(message) = side.mail.accept(&outgoing.topic, &outgoing.payload, false) {
            side.journal.push(message);
        }
    }

    fn make(&mut self) {
        if self.made.len() as u64 >= CALLS {
            return;
        }
        let kind = [Kind::Idempotent, Kind::Once, Kind::Message][usize::try_from(self.draw(3)).unwrap()];
        let caller = &mut self.sides[0].mail;
        let number = caller.published();
        let arguments = number.to_string().into_bytes();
        let about = About {
            receipt: true,
            ..About::default()
        };
        let options = CallOptions {
            idempotent: kind == Kind::Idempotent,
            ..CallOptions::default()
        };
        let made = match kind {
            Kind::Message => caller.send_to(&address("service/calc"), &arguments, &about, NEVER_NS),
            Kind::Idempotent | Kind::Once => call_with(caller, &arguments, &options),
        };
        if let Ok(Some(number)) = made {
            self.made.insert(number, kind);
        }
    }

    fn provide(&mut self) {
        let provider = &mut self.sides[1].mail;
        let Some(message) = provider.first().cloned() else {
            return;
        };
        let (sent, arguments) = provider.sent_here(&message).unwrap();
        let arguments = arguments.to_vec();
        let number: u64 = std::str::from_utf8(&arguments).unwrap().parse().unwrap();
        let is_call = matches!(sent, Sent::Call { .. });
        provider.take_first();
        if is_call {
            let stamp = message.stamp.unwrap();
            let reply_to = Topics::default().topic(&Topic::ProgramReply(stamp.sender));
            provider
                .answer(&reply_to, stamp.number, &done(&arguments))
                .unwrap();
        }
        *self.did.entry(number).or_default() += 1;
    }

    fn take_end(&mut self) {
        let caller = &mut self.sides[0].mail;
        if let Ok(Some((number, outcome))) = caller.outcome(None, 0) {
            caller.end_call(number);
            let before = self.ended.insert(number, outcome);
            assert_eq!(before, None, "seed {}: {number} ended twice", self.seed);
        }
    }

    /// Nothing is left open when all that was sent has come.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let at = usize::try_from(self.draw(2)).unwrap();
            match self.draw(5) {
                0 => self.send(at),
                1 | 2 => self.receive(at),
                3 => self.provide(),
                _ => self.take_end(),
            }
            if self.ended.len() == self.made.len() {
                return;
            }
        }
        let is_open = |(number, _): &(&u64, &Kind)| !self.ended.contains_key(number);
        let open: Vec<_> = self.made.iter().filter(is_open).collect();
        panic!("seed {}: {open:?} have no end", self.seed);
    }

    fn check(&self) {
        for (number, outcome) in &self.ended {
            let (seed, kind) = (self.seed, self.made[number]);
            let did = self.did.get(number).copied().unwrap_or(0);
            match (kind, outcome) {
                (Kind::Message, Outcome::Done(_)) => assert!(did > 0, "seed {seed}: message {number}"),
                (_, Outcome::Done(result)) => {
                    let expected = done(number.to_string().as_bytes());
                    assert_eq!(Outcome::Done(result.clone()), expected, "seed {seed}: {number}");
                    assert!(did > 0, "seed {seed}: {number} was never done");
                }
                (Kind::Once, Outcome::Failed(FailureKind::Unavailable, _)) => {}
                (kind, outcome) => panic!("seed {seed}: {number}, {kind:?}: {outcome:?}"),
            }
        }
    }
}

#[test]
fn calls_of_a_provider_that_is_set_back_again_and_again_are_answered_or_fail_as_unavailable() {
    let mut failed = 0;
    for seed in 1..=15 {
        let mut run = Run::new(seed);
        for _ in 0..6_000 {
            run.step();
        }
        run.settle();
        run.check();
        let is_failure = |one: &&Outcome| matches!(one, Outcome::Failed(..));
        failed += run.ended.values().filter(is_failure).count();
        assert_eq!(run.ended.len(), run.made.len());
        assert!(run.made.len() > 50, "seed {seed}: {} made", run.made.len());
    }
    assert!(failed > 0, "no call was ever forgotten: nothing was tried");
}

#[test]
fn a_snapshot_of_all_that_can_be_open_is_what_was_saved() {
    let mut run = Run::new(7);
    for _ in 0..500 {
        run.step();
        for side in &run.sides {
            let saved = side.mail.save();
            let mut there: Mail = mail(side.mail.home().program);
            there.restore(&saved).unwrap();
            assert_eq!(there.save(), saved);
        }
    }
}

/// One key, one call: whoever joined it while its provider was away has its end, though the one that made it
/// has cancelled it, and the provider went on from before it came.
#[test]
fn coalesced_calls_to_one_that_is_set_back_are_done_once_and_all_have_the_answer() {
    const JOINED: usize = 20;
    let (mut caller, mut provider) = pair();
    let checkpoint = provider.save();
    let options = CallOptions {
        idempotent: true,
        coalesce: Some("k".into()),
        ..CallOptions::default()
    };
    let numbers = [(); JOINED].map(|()| call_with(&mut caller, &[7; 1024], &options).unwrap().unwrap());
    assert_eq!(caller.cancel(numbers[0]), Ok(true));
    assert!(caller.outcome(Some(numbers[0]), 0).unwrap().is_some());
    caller.end_call(numbers[0]);
    assert_eq!(deliver(&mut caller, &mut provider), 1);
    assert!(
        provider.first().is_some(),
        "it came, and was in the journal alone"
    );

    let saved = caller.save();
    assert!(
        saved.len() < 2 * 1024 + 200 * JOINED,
        "{} bytes: once",
        saved.len()
    );
    let mut caller = copied(&caller, caller.home().program);
    assert_eq!(caller.save(), saved);
    let its = provider.home().program;
    let mut provider = mail(its);
    provider.restore(&checkpoint).unwrap();
    announce_as(&mut caller, "service/calc", its, Some(Generation(2)));
    // A question, what it does not know, and the call again.
    for _ in 0..3 {
        deliver(&mut caller, &mut provider);
        deliver(&mut provider, &mut caller);
    }
    assert_eq!(answer(&mut provider, done), 1);
    deliver(&mut provider, &mut caller);
    for number in &numbers[1..] {
        let ended = caller.outcome(Some(*number), 0).unwrap();
        assert_eq!(ended, Some((*number, done(&[7; 1024]))));
    }
}
