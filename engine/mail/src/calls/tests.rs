//! Calls as tables, and a run of many of them over a broker that loses, doubles and reorders, between mails
//! that move and crash.

use wayfare_protocol::address::{Announcement, SERVICES_MAX};
use wayfare_protocol::call::{FailureKind, OPEN_CALLS_MAX, Outcome, Sent};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::Stamp;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::wire;

use crate::tests::someone;
use crate::{Accepted, CallOptions, Home, Mail, Outgoing, ReceivedMessage, Refusal};

pub(super) const DEADLINE_NS: u64 = 1_000;

pub(super) fn mail(program: ProgramId) -> Mail {
    let home = Home {
        program,
        engine: "a".into(),
        topics: Topics::default(),
    };
    let grants = Grants {
        call: vec!["#".into()],
        serve: vec!["+".into()],
        ..Grants::default()
    };
    Mail::new(home, grants)
}

pub(super) fn copied(mail: &Mail, program: ProgramId) -> Mail {
    let mut there = self::mail(program);
    there.restore(&mail.save()).unwrap();
    there
}

pub(super) fn address(text: &str) -> wayfare_protocol::address::Address {
    text.parse().unwrap()
}

pub(super) fn reply_topic(of: ProgramId) -> String {
    Topics::default().topic(&Topic::ProgramReply(of))
}

pub(super) fn announce(mail: &mut Mail, at: &str, program: ProgramId, is_there: bool) -> Accepted {
    announce_as(mail, at, program, is_there.then_some(Generation::FIRST))
}

/// `None`: it cannot be called any more.
pub(super) fn announce_as(
    mail: &mut Mail,
    at: &str,
    program: ProgramId,
    generation: Option<Generation>,
) -> Accepted {
    let is_there = generation.is_some();
    let announcement = Announcement {
        program,
        name: "p".into(),
        engine: "a".parse().unwrap(),
        generation: generation.unwrap_or(Generation::FIRST),
        gone: false,
    };
    let payload = if is_there {
        wire::encode(&announcement)
    } else {
        Vec::new()
    };
    let topic = Topics::default().topic(&Topic::Address(address(at), program));
    mail.accept(&topic, &payload, is_there)
}

/// Nobody answers for it any more.
pub(super) fn announce_gone(mail: &mut Mail, at: &str, program: ProgramId, generation: u64) -> Accepted {
    let announcement = Announcement {
        program,
        name: "p".into(),
        engine: "a".parse().unwrap(),
        generation: Generation(generation),
        gone: true,
    };
    let topic = Topics::default().topic(&Topic::Address(address(at), program));
    mail.accept(&topic, &wire::encode(&announcement), true)
}

/// A caller that knows a provider of `service/calc`.
pub(super) fn pair() -> (Mail, Mail) {
    let (mut caller, mut provider) = (mail(someone()), mail(someone()));
    provider.serve("calc", None).unwrap();
    caller.watch(&address("service/calc")).unwrap();
    let its = provider.home().program;
    assert!(matches!(
        announce(&mut caller, "service/calc", its, true),
        Accepted::Taken(_)
    ));
    (caller, provider)
}

pub(super) fn call(caller: &mut Mail, arguments: &[u8]) -> Result<Option<u64>, Refusal> {
    call_with(caller, arguments, &CallOptions::default())
}

pub(super) fn call_with(
    caller: &mut Mail,
    arguments: &[u8],
    options: &CallOptions,
) -> Result<Option<u64>, Refusal> {
    caller.call(
        &address("service/calc"),
        ("double", arguments),
        5,
        DEADLINE_NS,
        options,
    )
}

/// Everything that one has sent reaches the other.
pub(super) fn deliver(from: &mut Mail, to: &mut Mail) -> usize {
    let mut count = 0;
    while let Some(outgoing) = from.next_to_send() {
        to.accept(&outgoing.topic, &outgoing.payload, false);
        from.sent(outgoing.number);
        count += 1;
    }
    count
}

/// The provider takes what came, and answers with `outcome`.
pub(super) fn answer(provider: &mut Mail, outcome: impl Fn(&[u8]) -> Outcome) -> usize {
    let mut count = 0;
    while let Some(message) = provider.first().cloned() {
        let (sent, arguments) = provider.sent_here(&message).expect("a call");
        assert!(matches!(sent, Sent::Call { function, .. } if function == "double"));
        let arguments = arguments.to_vec();
        provider.take_first();
        let stamp = message.stamp.expect("calls have stamps");
        let reply_to = Topics::default().topic(&Topic::ProgramReply(stamp.sender));
        assert_eq!(
            provider.answer(&reply_to, stamp.number, &outcome(&arguments)),
            Ok(())
        );
        let again = provider.answer(&reply_to, stamp.number, &outcome(&arguments));
        assert_eq!(again, Err(Refusal::NotRepliable), "once");
        count += 1;
    }
    count
}

pub(super) fn done(arguments: &[u8]) -> Outcome {
    Outcome::Done([arguments, arguments].concat())
}

#[test]
fn a_call_is_answered_once_and_many_are_open() {
    let (mut caller, mut provider) = pair();
    let first = call(&mut caller, b"1").unwrap().unwrap();
    let second = call(&mut caller, b"2").unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(caller.outcome(None, 0), Ok(None));
    assert_eq!(caller.outcome_due_ns(None), Some(DEADLINE_NS));
    assert_eq!(deliver(&mut caller, &mut provider), 2);
    assert_eq!(answer(&mut provider, done), 2);
    deliver(&mut provider, &mut caller);
    assert_eq!(
        caller.outcome(Some(second), 0),
        Ok(Some((second, Outcome::Done(b"22".to_vec()))))
    );
    caller.end_call(second);
    assert_eq!(
        caller.outcome(None, 0),
        Ok(Some((first, Outcome::Done(b"11".to_vec()))))
    );
    caller.end_call(first);
    assert_eq!(
        caller.outcome(None, 0),
        Err(Refusal::NotRepliable),
        "none is open"
    );
    assert_eq!(caller.outcome(Some(first), 0), Err(Refusal::NotRepliable));
}

#[test]
fn a_call_that_has_no_answer_ends_by_its_deadline_or_by_its_providers_end() {
    let (mut caller, mut provider) = pair();
    let late = call(&mut caller, b"1").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    let failed = |outcome| match outcome {
        Ok(Some((_, Outcome::Failed(kind, _)))) => Some(kind),
        _ => None,
    };
    assert_eq!(
        failed(caller.outcome(Some(late), DEADLINE_NS)),
        Some(FailureKind::DeadlineExceeded)
    );
    caller.end_call(late);
    answer(&mut provider, done);
    let outgoing = provider.next_to_send().unwrap();
    assert_eq!(
        caller.accept(&outgoing.topic, &outgoing.payload, false),
        Accepted::Dropped,
        "too late"
    );

    let answered = call(&mut caller, b"2").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    answer(&mut provider, |_| {
        Outcome::Failed(FailureKind::Refused, "no".into())
    });
    let lost = call(&mut caller, b"3").unwrap().unwrap();
    deliver(&mut provider, &mut caller);
    let its = provider.home().program;
    assert_eq!(
        announce(&mut caller, "service/calc", someone(), false),
        Accepted::Dropped,
        "not one that is known"
    );
    assert!(matches!(
        announce(&mut caller, "service/calc", its, false),
        Accepted::Taken(_)
    ));
    let mut caller = copied(&caller, caller.home().program);
    assert_eq!(
        failed(caller.outcome(Some(answered), 0)),
        Some(FailureKind::Refused),
        "answered before"
    );
    assert_eq!(
        failed(caller.outcome(Some(lost), 0)),
        Some(FailureKind::Unavailable)
    );
    assert_eq!(call(&mut caller, b"4"), Ok(None), "nobody is left");
}

#[test]
fn calls_spread_over_providers_and_the_same_call_goes_to_the_same_one() {
    let (mut caller, first) = pair();
    let second = someone();
    announce(&mut caller, "service/calc", second, true);
    let snapshot = copied(&caller, caller.home().program);
    let to = |mut caller: Mail| -> Vec<String> {
        for _ in 0..6 {
            call(&mut caller, b"").unwrap().unwrap();
        }
        std::iter::from_fn(|| caller.next_to_send())
            .map(|one| one.topic)
            .collect()
    };
    let topics = to(caller);
    for provider in [first.home().program, second] {
        let inbox = Topics::default().topic(&Topic::ProgramInbox(provider));
        assert_eq!(topics.iter().filter(|topic| **topic == inbox).count(), 3);
    }
    assert_eq!(to(snapshot), topics);
}

#[test]
fn only_what_is_granted_is_called_and_served_and_everything_is_bounded() {
    let (mut caller, mut provider) = pair();
    let mut closed = Mail::new(provider.home().clone(), Grants::default());
    assert_eq!(closed.serve("calc", None), Err(Refusal::NotGranted));
    assert_eq!(closed.watch(&address("service/calc")), Err(Refusal::NotGranted));
    assert_eq!(provider.serve("a/b", None), Err(Refusal::Malformed));
    assert_eq!(
        caller.call(
            &address("service/calc"),
            ("a b", b""),
            1,
            1,
            &CallOptions::default()
        ),
        Err(Refusal::Malformed)
    );
    let large = vec![0; PAYLOAD_BYTES_MAX];
    assert_eq!(call(&mut caller, &large), Err(Refusal::TooLarge));
    assert_eq!(
        caller.outcome(None, 0),
        Err(Refusal::NotRepliable),
        "what was refused is not open"
    );
    for number in 1..SERVICES_MAX {
        provider.serve(&format!("s{number}"), None).unwrap();
    }
    assert_eq!(provider.serve("more", None), Err(Refusal::TooMany));
    assert_eq!(provider.serve("calc", None), Ok(()), "again");
    for _ in 0..OPEN_CALLS_MAX {
        call(&mut caller, b"").unwrap().unwrap();
    }
    assert_eq!(call(&mut caller, b""), Err(Refusal::TooMany));
    for number in 1..super::ADDRESSES_MAX {
        caller.watch(&address(&format!("service/s{number}"))).unwrap();
    }
    assert_eq!(caller.watch(&address("service/more")), Err(Refusal::TooMany));
    for mail in [caller, provider] {
        copied(&mail, mail.home().program);
    }
}

#[test]
fn a_full_inbox_does_not_keep_an_announcement_from_who_looks_for_it() {
    let (_, provider) = pair();
    let grants = Grants {
        call: vec!["#".into()],
        subscribe: vec!["in/#".into()],
        ..Grants::default()
    };
    let mut caller = Mail::new(mail(someone()).home().clone(), grants);
    caller.subscribe("in/a", Qos::AtLeastOnce).unwrap();
    let offer = |caller: &mut Mail| caller.accept("in/a", b"x", false);
    while matches!(offer(&mut caller), Accepted::Taken(_)) {}
    assert_eq!(offer(&mut caller), Accepted::Full);
    assert_eq!(call(&mut caller, b""), Ok(None), "nobody is known");
    assert!(
        matches!(offer(&mut caller), Accepted::Taken(_)),
        "the announcement may be behind it"
    );
    announce(&mut caller, "service/calc", provider.home().program, true);
    assert_eq!(offer(&mut caller), Accepted::Full);
    assert!(matches!(call(&mut caller, b""), Ok(Some(_))));
}

#[test]
fn what_is_no_call_does_not_come_through_an_inbox() {
    let (_, mut provider) = pair();
    let inbox = Topics::default().topic(&Topic::ProgramInbox(provider.home().program));
    let elsewhere = Topics::default().topic(&Topic::ProgramInbox(someone()));
    let header = wayfare_protocol::call::encode(
        &Sent::Call {
            to: address("service/calc"),
            function: "f".into(),
            deadline_ms: 1,
            progress: false,
        },
        b"",
    );
    let stamped = |reply_to: &str| {
        let sender = someone();
        let reply_to = match reply_to {
            "" => Topics::default().topic(&Topic::ProgramReply(sender)),
            other => other.to_owned(),
        };
        let purpose = wayfare_protocol::stamp::Purpose::Request { reply_to };
        Stamp {
            sender,
            number: 1,
            purpose,
        }
        .put_on(&header)
    };
    for (topic, payload) in [
        (&inbox, b"x".to_vec()),
        (&inbox, header.clone()),
        (&inbox, stamped("home/lamp")),
        (&elsewhere, stamped("")),
    ] {
        assert_eq!(provider.accept(topic, &payload, false), Accepted::Dropped);
    }
    let good = stamped("");
    assert_eq!(
        provider.accept(&inbox, &good, true),
        Accepted::Dropped,
        "retained"
    );
    assert!(matches!(
        provider.accept(&inbox, &good, false),
        Accepted::Taken(_)
    ));
}

#[test]
fn a_program_whose_inbox_is_refused_serves_nothing_until_it_asks_again() {
    let (_, mut provider) = pair();
    assert_eq!(provider.is_serving(), Some(false));
    let inbox = provider.inbox_topic();
    provider.subscription_refused(&inbox);
    assert_eq!(provider.is_serving(), None);
    assert!(provider.services().is_empty());
    provider.serve("calc", None).unwrap();
    provider.granted(&inbox, Qos::AtLeastOnce);
    assert_eq!(provider.is_serving(), Some(true));
}

#[test]
fn a_call_is_answered_by_its_provider_only() {
    let (mut caller, mut provider) = pair();
    let number = call(&mut caller, b"1").unwrap().unwrap();
    deliver(&mut caller, &mut provider);
    answer(&mut provider, done);
    let answered = provider.next_to_send().unwrap();
    let (stamp, payload) = Stamp::take_off(&answered.payload);
    let of_another = Stamp {
        sender: someone(),
        ..stamp.unwrap()
    };
    let of_another = of_another.put_on(payload);
    assert_eq!(
        caller.accept(&answered.topic, &of_another, false),
        Accepted::Dropped
    );
    assert_eq!(caller.outcome(Some(number), 0), Ok(None));
    caller.accept(&answered.topic, &answered.payload, false);
    assert!(matches!(caller.outcome(Some(number), 0), Ok(Some(_))));
}

#[test]
fn a_copy_has_made_no_calls_and_is_asked_at_its_own_addresses() {
    let (mut caller, mut provider) = pair();
    call(&mut caller, b"1").unwrap().unwrap();
    let copy = copied(&caller, someone());
    assert_eq!(copy.outcome(None, 0), Err(Refusal::NotRepliable));
    deliver(&mut caller, &mut provider);
    let mut other = copied(&provider, someone());
    assert_eq!(other.services(), provider.services());
    assert_eq!(other.is_serving(), Some(false), "to be subscribed");
    assert_eq!(other.first(), None, "it was another's");
    let reply_to = Topics::default().topic(&Topic::ProgramReply(caller.home().program));
    let outcome = Outcome::Done(Vec::new());
    assert_eq!(other.answer(&reply_to, 0, &outcome), Err(Refusal::NotRepliable));
}

#[test]
fn a_program_without_calls_has_the_snapshot_that_earlier_releases_read() {
    let mail = mail(someone());
    assert_eq!(mail.save()[0], 2);
    assert_eq!(pair().1.save()[0], 3);
}

#[test]
fn a_snapshot_serves_nothing_and_calls_nobody_that_is_not_granted() {
    let (mut caller, provider) = pair();
    call(&mut caller, b"1").unwrap().unwrap();
    let restored = |of: &Mail, grants: Grants| {
        let mut there = Mail::new(of.home().clone(), grants);
        there.restore(&of.save()).map(|()| there)
    };
    let serves = restored(&provider, Grants::default()).unwrap();
    assert!(serves.services().is_empty());
    let grants = |call: &str| Grants {
        call: vec![call.into()],
        ..Grants::default()
    };
    assert!(restored(&caller, grants("service/calc")).is_ok());
    assert!(restored(&caller, grants("service/other")).is_err());
    let of_another = {
        let mut bytes = caller.outbox[0].payload.clone();
        let (stamp, payload) = Stamp::take_off(&bytes);
        let stamp = Stamp {
            sender: someone(),
            ..stamp.unwrap()
        };
        bytes = stamp.put_on(payload);
        bytes
    };
    caller.outbox[0].payload = of_another;
    assert!(restored(&caller, grants("service/calc")).is_err());
}

#[test]
fn after_a_crash_calls_find_all_the_answers_that_the_journal_has() {
    const CALLS: u64 = 200;
    let (mut caller, mut provider) = pair();
    let checkpoint = caller.save();
    let mut journal = Vec::new();
    let long = vec![0; 100 << 10];
    for _ in 0..CALLS {
        let number = call(&mut caller, b"1").unwrap().unwrap();
        deliver(&mut caller, &mut provider);
        answer(&mut provider, |_| Outcome::Done(long.clone()));
        let outgoing = provider.next_to_send().unwrap();
        provider.sent(outgoing.number);
        match caller.accept(&outgoing.topic, &outgoing.payload, false) {
            Accepted::Taken(message) => journal.push(message),
            other => panic!("{other:?}"),
        }
        caller.end_call(number);
    }
    let mut there = mail(caller.home().program);
    there.restore(&checkpoint).unwrap();
    journal.into_iter().for_each(|message| there.replay(message));
    let mut there = copied(&there, caller.home().program);
    for _ in 0..CALLS {
        let number = call(&mut there, b"1").unwrap().unwrap();
        let outcome = there.outcome(Some(number), 0).unwrap();
        assert_eq!(outcome, Some((number, Outcome::Done(long.clone()))));
        there.end_call(number);
        there.sent(number);
    }
}

/// A program with what the broker has queued for it, its last checkpoint, and what its journal has since.
pub(super) struct Side {
    pub(super) mail: Mail,
    pub(super) queued: Vec<Outgoing>,
    checkpoint: Vec<u8>,
    pub(super) journal: Vec<ReceivedMessage>,
    pub(super) made: u64,
    made_at_checkpoint: u64,
}

impl Side {
    pub(super) fn new(mail: Mail) -> Self {
        Self {
            checkpoint: mail.save(),
            mail,
            queued: Vec::new(),
            journal: Vec::new(),
            made: 0,
            made_at_checkpoint: 0,
        }
    }

    pub(super) fn store(&mut self) {
        self.checkpoint = self.mail.save();
        self.journal.clear();
        self.made_at_checkpoint = self.made;
    }

    /// On another engine, with everything or from the last checkpoint and the journal.
    pub(super) fn go_on(&mut self, has_crashed: bool) {
        let program = self.mail.home().program;
        if !has_crashed {
            self.store();
        }
        let mut there = mail(program);
        there.restore(&self.checkpoint).unwrap();
        self.journal
            .iter()
            .for_each(|message| there.replay(message.clone()));
        there.begin_session();
        (self.mail, self.made) = (there, self.made_at_checkpoint);
    }
}

#[test]
fn each_call_has_one_outcome_while_both_move_and_crash_and_the_broker_repeats_and_reorders() {
    const CALLS: u64 = 300;
    for seed in 1..=15_u64 {
        let mut drawn = seed;
        let mut draw = |below: u64| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (drawn >> 33) % below
        };
        let (caller, provider) = pair();
        let mut sides = [Side::new(caller), Side::new(provider)];
        let mut results = std::collections::BTreeMap::new();
        let mut turns = 0;
        while (results.len() as u64) < CALLS {
            turns += 1;
            assert!(turns < 1_000_000, "seed {seed}: {} have ended", results.len());
            let at = usize::try_from(draw(2)).unwrap();
            match draw(40) {
                0 => sides[at].go_on(false),
                1 => sides[at].go_on(true),
                2..5 => sides[at].store(),
                // To the broker; it may be acknowledged, or come again.
                5..16 => {
                    if let Some(outgoing) = sides[at].mail.next_to_send() {
                        if draw(4) > 0 {
                            sides[at].mail.sent(outgoing.number);
                        }
                        sides[1 - at].queued.push(outgoing);
                    } else if draw(8) == 0 {
                        sides[at].mail.begin_session();
                    }
                }
                // From the broker; another may come before, and it may come again.
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
                    let made = sides[0].made;
                    if let Ok(Some(_)) = call(&mut sides[0].mail, made.to_string().as_bytes()) {
                        sides[0].made += 1;
                    }
                }
                27..34 if at == 0 => {
                    if let Ok(Some((number, outcome))) = sides[0].mail.outcome(None, 0) {
                        sides[0].mail.end_call(number);
                        let before = results.insert(number, outcome.clone());
                        assert!(
                            before.is_none_or(|before| before == outcome),
                            "seed {seed}: call {number}"
                        );
                    }
                }
                _ if at == 1 => {
                    if let Some(message) = sides[1].mail.first().cloned() {
                        let arguments = sides[1].mail.sent_here(&message).unwrap().1.to_vec();
                        sides[1].mail.take_first();
                        let stamp = message.stamp.unwrap();
                        let reply_to = Topics::default().topic(&Topic::ProgramReply(stamp.sender));
                        sides[1]
                            .mail
                            .answer(&reply_to, stamp.number, &done(&arguments))
                            .unwrap();
                    }
                }
                _ => {}
            }
        }
        for (number, outcome) in results {
            assert_eq!(outcome, done(number.to_string().as_bytes()), "seed {seed}");
        }
    }
}
