//! Calls between programs of one engine, as tables: which way each message takes, and what a crash makes of those that were given.

use std::collections::BTreeMap;

use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::qos::Qos;

use super::tests::{answer, call, copied, done, pair};
use crate::{Mail, Manner, Neighbours, Outgoing, Way, Ways};

/// Both are on one engine.
struct Here(BTreeMap<ProgramId, Mail>);

impl Neighbours for Here {
    type Receipt = ();
    fn with<T>(&mut self, program: ProgramId, look: impl FnOnce(&mut Mail) -> Option<T>) -> Option<(T, ())> {
        Some((look(self.0.get_mut(&program)?)?, ()))
    }
}

struct Engine {
    here: Here,
    caller: ProgramId,
    provider: ProgramId,
    ways: BTreeMap<ProgramId, Ways>,
}

impl Engine {
    fn new() -> Self {
        let (mut caller, provider) = pair();
        caller.grants.publish.push("#".into());
        Self::of(caller, provider)
    }

    fn of(caller: Mail, provider: Mail) -> Self {
        let ids = (caller.home().program, provider.home().program);
        let mut engine = Self {
            here: Here([(ids.0, caller), (ids.1, provider)].into()),
            caller: ids.0,
            provider: ids.1,
            ways: [(ids.0, Ways::default()), (ids.1, Ways::default())].into(),
        };
        for mail in engine.here.0.values_mut() {
            let filters = mail.to_subscribe();
            mail.begin_session();
            mail.set_takes_directly(true);
            filters
                .iter()
                .for_each(|(filter, qos)| mail.granted(filter, *qos));
        }
        engine
    }

    fn mail(&mut self, of: ProgramId) -> &mut Mail {
        self.here.0.get_mut(&of).unwrap()
    }

    /// A call about this, and which way it goes.
    fn calls(&mut self, about: &[u8]) -> (u64, Way<()>) {
        let caller = self.caller;
        let number = call(self.mail(caller), about).unwrap().unwrap();
        let filters = self.mail(caller).to_subscribe();
        filters
            .iter()
            .for_each(|(filter, qos)| self.mail(caller).granted(filter, *qos));
        (number, self.sends(caller).unwrap().1)
    }

    /// What is next; what goes through the broker does not arrive by itself.
    fn sends(&mut self, from: ProgramId) -> Option<(Outgoing, Way<()>)> {
        let outgoing = self.mail(from).next_to_send()?;
        let home = self.mail(from).home().clone();
        let ways = self.ways.get_mut(&from).unwrap();
        let way = ways.way(&outgoing, (&home, true), &mut self.here);
        Some((outgoing, way))
    }

    /// Through the broker, at once.
    fn arrives(&mut self, from: ProgramId, to: ProgramId, outgoing: &Outgoing) {
        self.mail(to).accept(&outgoing.topic, &outgoing.payload, false);
        self.mail(from).sent(outgoing.number);
    }

    /// The first call and its answer are made, which goes through the broker.
    fn acquainted() -> Self {
        let mut engine = Self::new();
        let (caller, provider) = (engine.caller, engine.provider);
        let first = call(engine.mail(caller), b"0").unwrap().unwrap();
        let filters = engine.mail(caller).to_subscribe();
        filters
            .iter()
            .for_each(|(filter, qos)| engine.mail(caller).granted(filter, *qos));
        let (outgoing, way) = engine.sends(caller).unwrap();
        assert_eq!(way, Way::Broker, "the first");
        engine.arrives(caller, provider, &outgoing);
        answer(engine.mail(provider), done);
        let (outgoing, way) = engine.sends(provider).unwrap();
        assert_eq!(way, Way::Broker, "the first answer");
        engine.arrives(provider, caller, &outgoing);
        assert_eq!(
            engine.mail(caller).outcome(Some(first), 0),
            Ok(Some((first, done(b"0"))))
        );
        engine.mail(caller).end_call(first);
        engine
    }
}

#[test]
fn what_is_given_is_in_the_inbox_at_once_and_kept_until_it_is_synced() {
    let mut engine = Engine::acquainted();
    let (caller, provider) = (engine.caller, engine.provider);
    let (number, way) = engine.calls(b"1");
    let below = engine.mail(provider).arrived();
    assert_eq!(way, Way::Given(provider, below, ()));
    answer(engine.mail(provider), done);
    assert_eq!(
        engine.sends(provider),
        None,
        "nothing leaves before what came is written"
    );
    assert_eq!(engine.mail(provider).take_unwritten().len(), 1);
    let (_, way) = engine.sends(provider).unwrap();
    assert!(matches!(way, Way::Given(to, ..) if to == caller));
    assert_eq!(
        engine.mail(caller).outcome(None, 0),
        Ok(Some((number, done(b"1"))))
    );
    assert!(!engine.mail(caller).is_all_sent());
    engine.mail(caller).sent(number);
    engine.ways.get_mut(&caller).unwrap().synced(provider);
    assert!(engine.mail(caller).is_all_sent());
}

#[test]
fn one_way_is_left_for_the_other_only_when_all_that_took_it_has_arrived() {
    let mut engine = Engine::acquainted();
    let (caller, provider) = (engine.caller, engine.provider);
    assert!(matches!(engine.calls(b"1").1, Way::Given(..)));
    engine.mail(provider).take_unwritten();
    engine.mail(provider).set_takes_directly(false);
    let (number, way) = engine.calls(b"2");
    assert_eq!(way, Way::Later, "the one before it is not synced");
    assert!(engine.mail(provider).take_sync_awaited(), "it is asked to");
    engine.mail(caller).send_again(number);
    engine.ways.get_mut(&caller).unwrap().synced(provider);
    let (by_broker, way) = engine.sends(caller).unwrap();
    assert_eq!(way, Way::Broker);
    engine.mail(provider).set_takes_directly(true);
    let (third, way) = engine.calls(b"3");
    assert_eq!(way, Way::Broker, "the one before it has not come");
    let third = engine
        .mail(caller)
        .outbox
        .iter()
        .find(|one| one.number == third)
        .cloned();
    engine.arrives(caller, provider, &by_broker);
    assert_eq!(engine.calls(b"4").1, Way::Broker, "nor has the third");
    let fourth = engine.mail(caller).outbox.back().cloned();
    for outgoing in [third, fourth].into_iter().flatten() {
        engine.arrives(caller, provider, &outgoing);
    }
    assert!(matches!(engine.calls(b"5").1, Way::Given(..)));
}

#[test]
fn who_hears_what_another_publishes_is_sent_all_of_it_through_the_broker() {
    let mut engine = Engine::acquainted();
    let (caller, provider) = (engine.caller, engine.provider);
    assert!(matches!(engine.calls(b"1").1, Way::Given(..)));
    engine.mail(provider).take_unwritten();
    engine.mail(provider).grants.subscribe.push("news/#".into());
    engine
        .mail(provider)
        .subscribe("news/+", Qos::AtLeastOnce)
        .unwrap();
    let publish = |engine: &mut Engine, topic: &str| {
        engine
            .mail(caller)
            .publish(topic, b"", Manner::default())
            .unwrap();
        engine.sends(caller).unwrap()
    };
    assert_eq!(
        publish(&mut engine, "weather").1,
        Way::Broker,
        "it does not hear that"
    );
    assert!(matches!(engine.calls(b"2").1, Way::Given(..)));
    engine.mail(provider).take_unwritten();
    let (outgoing, way) = publish(&mut engine, "news/today");
    assert_eq!(way, Way::Later);
    engine.mail(caller).send_again(outgoing.number);
    engine.ways.get_mut(&caller).unwrap().synced(provider);
    engine.ways.get_mut(&caller).unwrap().synced(provider);
    let (outgoing, way) = engine.sends(caller).unwrap();
    assert_eq!(way, Way::Broker);
    engine.arrives(caller, provider, &outgoing);
    assert_eq!(engine.calls(b"3").1, Way::Broker);
}

/// Of both nothing is left but their snapshots: what was written and not synced is gone.
#[test]
fn what_was_given_and_not_synced_when_an_engine_loses_power_is_sent_again_and_done_once() {
    for is_synced in [false, true] {
        let mut engine = Engine::acquainted();
        let (caller, provider) = (engine.caller, engine.provider);
        let stored = copied(engine.mail(provider), provider);
        let (number, way) = engine.calls(b"1");
        assert!(matches!(way, Way::Given(..)));
        let journal = engine.mail(provider).take_unwritten();
        let asks = copied(engine.mail(caller), caller);
        let mut serves = stored;
        if is_synced {
            journal.into_iter().for_each(|message| serves.replay(message));
        }
        let mut engine = Engine::of(asks, serves);
        let (outgoing, way) = engine.sends(caller).unwrap();
        assert_eq!((outgoing.number, way), (number, Way::Broker));
        engine.arrives(caller, provider, &outgoing);
        assert_eq!(answer(engine.mail(provider), done), 1, "once");
    }
}
