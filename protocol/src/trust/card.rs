//! Cards: that a member of the roster knows which key an engine has, and stands for what it is called and
//! labelled.
//!
//! An engine makes its key itself, and the key never leaves it; its public half is in its status. Whoever
//! approves an engine signs a card with that, which is retained on [`Topic::Card`]. So there is a message for
//! each engine, and the roster stays small. Cards are numbered: the roster revokes those of an engine up to a
//! number.
//!
//! What always holds: a [`Card`] that was read from outside is of a member who may enrol, for the engine of
//! its topic, and not revoked.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::roster::{AS_ENROLLER, Roster, Unsigned};
use super::signed::{self, Answers};
use crate::code::{PublicKey, SecretKey};
use crate::ids::{EngineId, PeerName};
use crate::labels::{LABELS_MAX, Labels};
use crate::topics::{Topic, Topics};
use crate::wire::{self, WireError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub engine: EngineId,
    pub key: PublicKey,
    /// Grows with each card of an engine.
    pub serial: u64,
    /// What it is labelled, whatever it says itself;
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// and the machine that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Why bytes are no card that counts.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CardError {
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    #[error("it is signed by '{0}', who has no role for it")]
    NoRole(PeerName),
    #[error("it cannot be read: {0}")]
    Wire(#[from] WireError),
    #[error("it is of engine {0}")]
    OtherEngine(EngineId),
    #[error("it was revoked: engine {engine} needs a card after number {serial}")]
    Revoked { engine: EngineId, serial: u64 },
    #[error("it has {0} labels, {LABELS_MAX} can be")]
    Labels(usize),
}

impl Card {
    /// Signed, for its topic.
    pub fn encode(&self, key: &SecretKey, topics: &Topics) -> Vec<u8> {
        let topic = topics.topic(&Topic::Card(self.engine.clone()));
        signed::sign(key, &topic, &wire::encode(self), &Answers::new())
    }

    /// That of `engine`, if it counts under this roster.
    pub fn verify(
        roster: &Roster,
        topics: &Topics,
        engine: &EngineId,
        payload: &[u8],
    ) -> Result<Self, CardError> {
        wire::check_length(payload)?;
        let topic = topics.topic(&Topic::Card(engine.clone()));
        let member = roster.signer(&topic, payload)?;
        if !member.may(AS_ENROLLER) {
            return Err(CardError::NoRole(member.name.clone()));
        }
        let card: Self = wire::decode(payload)?;
        if card.engine != *engine {
            return Err(CardError::OtherEngine(card.engine));
        }
        if card.labels.len() > LABELS_MAX {
            return Err(CardError::Labels(card.labels.len()));
        }
        match roster.revoked.get(engine) {
            Some(&serial) if card.serial <= serial => Err(CardError::Revoked {
                engine: card.engine,
                serial,
            }),
            _ => Ok(card),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::roster::{Member, Orders, Role};
    use super::*;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_random([number; 32])
    }

    fn roster() -> Roster {
        let member = |name: &str, number, role| Member {
            name: name.parse().unwrap(),
            key: key(number).public(),
            roles: [role].into(),
        };
        Roster {
            orders: Orders::Require,
            members: vec![
                member("ann", 2, Role::Operator),
                member("eve", 3, Role::Enroller),
                member("dan", 4, Role::Deployer),
            ],
            ..Roster::empty()
        }
    }

    fn card() -> Card {
        Card {
            engine: "a".parse().unwrap(),
            key: key(9).public(),
            serial: 3,
            labels: [("zone".into(), "vault".into())].into(),
            host: None,
        }
    }

    #[test]
    fn a_card_is_of_who_may_enrol_for_one_engine_of_one_fleet() {
        let (topics, engine) = (Topics::default(), card().engine);
        let verify = |roster: &Roster, payload: &[u8]| Card::verify(roster, &topics, &engine, payload);
        for enroller in [2, 3] {
            assert_eq!(
                verify(&roster(), &card().encode(&key(enroller), &topics)),
                Ok(card())
            );
        }
        let by_dan = card().encode(&key(4), &topics);
        assert_eq!(
            verify(&roster(), &by_dan),
            Err(CardError::NoRole("dan".parse().unwrap()))
        );
        let by_itself = card().encode(&key(9), &topics);
        assert!(matches!(
            verify(&roster(), &by_itself),
            Err(CardError::Unsigned(_))
        ));
        let elsewhere = card().encode(&key(2), &"other".parse().unwrap());
        assert!(matches!(
            verify(&roster(), &elsewhere),
            Err(CardError::Unsigned(_))
        ));
        let other = Card::verify(
            &roster(),
            &topics,
            &"b".parse().unwrap(),
            &card().encode(&key(2), &topics),
        );
        assert!(other.is_err());
    }

    #[test]
    fn a_card_that_was_revoked_does_not_come_back_and_a_later_one_counts() {
        let topics = Topics::default();
        let mut roster = roster();
        roster.revoked.insert(card().engine, 3);
        let verify =
            |card: &Card| Card::verify(&roster, &topics, &card.engine, &card.encode(&key(2), &topics));
        assert!(matches!(
            verify(&card()),
            Err(CardError::Revoked { serial: 3, .. })
        ));
        let later = Card { serial: 4, ..card() };
        assert_eq!(verify(&later), Ok(later.clone()));
    }
}
