//! Engines' cards as they are retained, and which of them count under the present roster.

use std::collections::BTreeMap;

use wayfare_client::fleet::EngineSaid;
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::topics::Topics;
use wayfare_protocol::trust::card::{Card, CardError};
use wayfare_protocol::trust::roster::Roster;

/// More than a fleet has engines: whoever retains others shall not fill our memory.
const CARDS_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Cards {
    by_engine: BTreeMap<EngineId, Seen>,
}

#[derive(Debug)]
struct Seen {
    payload: Vec<u8>,
    /// `None`: it does not count, as the roster is now.
    card: Option<Card>,
}

impl Cards {
    pub(super) fn of(&self, engine: &EngineId) -> Option<&Card> {
        self.by_engine.get(engine)?.card.as_ref()
    }

    /// Takes in what is retained. Answers with the number of a card that counts from now on, or why it does
    /// not.
    pub(super) fn seen(
        &mut self,
        engine: EngineId,
        payload: Vec<u8>,
        roster: Option<&Roster>,
        topics: &Topics,
    ) -> Option<Result<u64, CardError>> {
        if payload.is_empty() {
            self.by_engine.remove(&engine);
            return None;
        }
        let judged = roster.map(|roster| Card::verify(roster, topics, &engine, &payload));
        let (card, answer) = match judged {
            Some(Ok(card)) => {
                let serial = card.serial;
                let is_older = self.of(&engine).is_some_and(|known| known.serial >= serial);
                if is_older {
                    return None;
                }
                (Some(card), Some(Ok(serial)))
            }
            // What is there goes on to count.
            Some(Err(error)) if self.of(&engine).is_some() => return Some(Err(error)),
            Some(Err(error)) => (None, Some(Err(error))),
            None => (None, None),
        };
        if self.by_engine.len() < CARDS_MAX || self.by_engine.contains_key(&engine) {
            self.by_engine.insert(engine, Seen { payload, card });
        }
        answer
    }

    /// The roster is another one.
    pub(super) fn judge_all(&mut self, roster: &Roster, topics: &Topics) {
        for (engine, seen) in &mut self.by_engine {
            seen.card = Card::verify(roster, topics, engine, &seen.payload).ok();
        }
    }

    /// What those that count say.
    pub(super) fn said(&self) -> BTreeMap<EngineId, EngineSaid> {
        let counting = self.by_engine.iter().filter_map(|(engine, seen)| {
            let card = seen.card.as_ref()?;
            let said = EngineSaid {
                labels: card.labels.clone(),
                host: card.host.clone(),
                key: Some(card.key),
            };
            Some((engine.clone(), said))
        });
        counting.collect()
    }
}
