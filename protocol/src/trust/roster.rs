//! The roster: whose keys may order what. One document, which only the fleet's root key signs.
//!
//! It is retained on [`Topic::Roster`](crate::topics::Topic::Roster), and every engine keeps the one of the
//! highest version that it has seen, on its disk: a version only rises, so nobody brings back a key that was
//! removed. A key is revoked by a roster that does not name it any more. What always holds: a [`Roster`] that
//! was read from outside was signed by the root key that its reader was told beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::signed::{self, Answers, Signature};
use crate::code::{PublicKey, SecretKey};
use crate::ids::{EngineId, PeerName};
use crate::limits::{ROSTER_MEMBERS_MAX, ROSTER_REVOKED_MAX};
use crate::wire::{self, WireError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Only rises.
    pub version: u64,
    /// What becomes of orders that are not signed.
    pub orders: Orders,
    pub members: Vec<Member>,
    /// What becomes of what engines say that have no card of a member (see [`super::card`]): labels, and
    /// requests for their programs. Releases before did not look.
    #[serde(default = "Orders::open", skip_serializing_if = "Orders::is_open")]
    pub engines: Orders,
    /// Cards that do not count any more: of each engine those up to this serial number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revoked: BTreeMap<EngineId, u64>,
}

/// What engines do about orders that no key of the roster has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", rename_all = "kebab-case")]
pub enum Orders {
    /// They are carried out.
    Open,
    /// They are carried out, with a warning in the engine's log.
    Prefer,
    /// They are refused.
    Require,
}

impl Orders {
    fn open() -> Self {
        Self::Open
    }

    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// To give orders in a term, as the acting dispatcher does.
pub const AS_DISPATCHER: &str = "dispatcher";
/// To say which key an engine has.
pub const AS_ENROLLER: &str = "enroll";
/// To change applications, by a request to the dispatcher.
pub const AS_DEPLOYER: &str = "apply";

/// A person, or a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: PeerName,
    pub key: PublicKey,
    pub roles: BTreeSet<Role>,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", rename_all = "kebab-case")]
pub enum Role {
    /// Everything.
    Operator,
    /// Starts programs and ends them, and changes applications.
    Deployer,
    /// Reads what programs print.
    Viewer,
    /// The fleet's dispatcher: starts, moves and ends programs of applications.
    Dispatcher,
    /// Approves engines.
    Enroller,
    /// One of a later release, which permits nothing here.
    Unknown,
}

impl Role {
    /// Those that can be given.
    pub const ALL: [Self; 5] = [
        Self::Operator,
        Self::Deployer,
        Self::Viewer,
        Self::Dispatcher,
        Self::Enroller,
    ];

    /// Whether it may give an engine an order of this verb.
    pub fn may(self, verb: &str) -> bool {
        match self {
            Self::Operator => true,
            Self::Dispatcher => verb != AS_ENROLLER,
            Self::Enroller => verb == AS_ENROLLER,
            Self::Deployer => matches!(verb, "run" | "restore" | "kill" | "logs" | AS_DEPLOYER),
            Self::Viewer => verb == "logs",
            Self::Unknown => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Deployer => "deployer",
            Self::Viewer => "viewer",
            Self::Dispatcher => "dispatcher",
            Self::Enroller => "enroller",
            Self::Unknown => "unknown",
        }
    }
}

impl From<String> for Role {
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Unknown)
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| {
            format!("'{text}' is not a role: operator, deployer, viewer, dispatcher or enroller")
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<String> for Orders {
    /// What a later release may demand is taken for the strictest that is known.
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Require)
    }
}

impl FromStr for Orders {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            _ => Err(format!("'{text}' is no such rule: open, prefer or require")),
        }
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Prefer => "prefer",
            Self::Require => "require",
        })
    }
}

/// Why bytes are no roster of this fleet.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RosterError {
    #[error("the roster is not signed")]
    Unsigned,
    #[error("the roster is signed by key {found}, and the fleet's root key is {root}")]
    ForeignRoot { found: PublicKey, root: PublicKey },
    #[error("the roster's signature is wrong: it was tampered with, damaged, or is of another fleet")]
    Signature,
    #[error("the roster cannot be read: {0}")]
    Wire(#[from] WireError),
    #[error("the roster names {0} members, {ROSTER_MEMBERS_MAX} can be")]
    Members(usize),
    #[error("the roster revokes the cards of {0} engines, {ROSTER_REVOKED_MAX} can be")]
    Revoked(usize),
    #[error("the roster names '{0}' or its key twice")]
    Twice(PeerName),
    #[error("it is an old roster: version {found}, and {known} was seen")]
    Old { found: u64, known: u64 },
    #[error("it is another roster of the same version {0}")]
    Other(u64),
}

/// Why a message is nobody's of the roster.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Unsigned {
    #[error("it is not signed")]
    NoSignature,
    #[error("it is signed with key {0}, which the fleet's roster does not name")]
    UnknownKey(PublicKey),
    #[error("its signature is wrong: it was tampered with, or was made for something else")]
    WrongSignature,
}

impl Roster {
    /// For `topic`, signed by the root key.
    pub fn encode(&self, root: &SecretKey, topic: &str) -> Vec<u8> {
        signed::sign(root, topic, &wire::encode(self), &Answers::new())
    }

    /// Checks, in this order: who signed it, that nothing was changed, and what it says.
    pub fn verify(root: &PublicKey, topic: &str, payload: &[u8]) -> Result<Self, RosterError> {
        wire::check_length(payload)?;
        let signature = Signature::of(payload).ok_or(RosterError::Unsigned)?;
        if signature.key != *root {
            let (found, root) = (signature.key, *root);
            return Err(RosterError::ForeignRoot { found, root });
        }
        if !signature.is_good(topic) {
            return Err(RosterError::Signature);
        }
        let roster: Self = wire::decode(payload)?;
        roster.check()?;
        Ok(roster)
    }

    /// What counts from now on where `known` did, and this was read: `None`, it goes on to.
    pub fn succeed(
        known: Option<&Self>,
        root: &PublicKey,
        topic: &str,
        payload: &[u8],
    ) -> Result<Option<Self>, RosterError> {
        let found = Self::verify(root, topic, payload)?;
        let Some(known) = known.filter(|known| known.version >= found.version) else {
            return Ok(Some(found));
        };
        match known {
            same if *same == found => Ok(None),
            known if known.version == found.version => Err(RosterError::Other(found.version)),
            known => Err(RosterError::Old {
                found: found.version,
                known: known.version,
            }),
        }
    }

    /// Each name and each key stands once, and they are not too many.
    pub fn check(&self) -> Result<(), RosterError> {
        if self.revoked.len() > ROSTER_REVOKED_MAX {
            return Err(RosterError::Revoked(self.revoked.len()));
        }
        if self.members.len() > ROSTER_MEMBERS_MAX {
            return Err(RosterError::Members(self.members.len()));
        }
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for member in &self.members {
            if !names.insert(&member.name) || !keys.insert(member.key) {
                return Err(RosterError::Twice(member.name.clone()));
            }
        }
        Ok(())
    }

    /// With nobody in it, before anything is required.
    pub fn empty() -> Self {
        Self {
            version: 0,
            orders: Orders::Open,
            members: Vec::new(),
            engines: Orders::Open,
            revoked: BTreeMap::new(),
        }
    }

    /// Who has signed this message for this topic. A key that is not named costs no arithmetic.
    pub fn signer(&self, topic: &str, payload: &[u8]) -> Result<&Member, Unsigned> {
        let signature = Signature::of(payload).ok_or(Unsigned::NoSignature)?;
        let member = self.members.iter().find(|member| member.key == signature.key);
        let member = member.ok_or(Unsigned::UnknownKey(signature.key))?;
        match signature.is_good(topic) {
            true => Ok(member),
            false => Err(Unsigned::WrongSignature),
        }
    }
}

impl Member {
    /// Whether one of its roles permits an order of this verb.
    pub fn may(&self, verb: &str) -> bool {
        self.roles.iter().any(|role| role.may(verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "wayfare/v1/trust/roster";

    fn key(number: u8) -> SecretKey {
        SecretKey::from_random([number; 32])
    }

    fn member(name: &str, number: u8, roles: &[Role]) -> Member {
        Member {
            name: name.parse().unwrap(),
            key: key(number).public(),
            roles: roles.iter().copied().collect(),
        }
    }

    fn roster(members: Vec<Member>) -> Roster {
        Roster {
            version: 3,
            orders: Orders::Require,
            members,
            ..Roster::empty()
        }
    }

    #[test]
    fn only_what_the_root_key_signed_for_this_fleet_is_a_roster() {
        let roster = roster(vec![member("ann", 2, &[Role::Operator])]);
        let payload = roster.encode(&key(1), TOPIC);
        let verify = |topic, payload: &[u8]| Roster::verify(&key(1).public(), topic, payload);
        assert_eq!(verify(TOPIC, &payload), Ok(roster.clone()));
        assert_eq!(
            verify("other/v1/trust/roster", &payload),
            Err(RosterError::Signature)
        );
        assert_eq!(verify(TOPIC, &wire::encode(&roster)), Err(RosterError::Unsigned));
        // An operator cannot make another one.
        let own = roster.encode(&key(2), TOPIC);
        assert!(matches!(
            verify(TOPIC, &own),
            Err(RosterError::ForeignRoot { .. })
        ));
        let twice = Roster {
            members: [roster.members.clone(), roster.members.clone()].concat(),
            ..roster
        };
        assert!(matches!(
            verify(TOPIC, &twice.encode(&key(1), TOPIC)),
            Err(RosterError::Twice(_))
        ));
    }

    #[test]
    fn the_largest_roster_fits_a_message() {
        let members = (0..ROSTER_MEMBERS_MAX).map(|number| {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
            Member {
                name: format!("{number:064}").parse().unwrap(),
                key: SecretKey::from_random(bytes).public(),
                roles: Role::ALL.into(),
            }
        });
        let roster = roster(members.collect());
        let payload = roster.encode(&key(1), TOPIC);
        assert_eq!(Roster::verify(&key(1).public(), TOPIC, &payload), Ok(roster));
    }

    #[test]
    fn a_version_only_rises_and_says_one_thing() {
        let of = |version, orders| Roster {
            version,
            orders,
            ..Roster::empty()
        };
        let known = of(3, Orders::Require);
        let after = |found: &Roster| {
            let payload = found.encode(&key(1), TOPIC);
            Roster::succeed(Some(&known), &key(1).public(), TOPIC, &payload)
        };
        assert_eq!(after(&of(4, Orders::Open)), Ok(Some(of(4, Orders::Open))));
        assert_eq!(after(&known), Ok(None));
        assert_eq!(after(&of(3, Orders::Open)), Err(RosterError::Other(3)));
        let old = RosterError::Old { found: 2, known: 3 };
        assert_eq!(after(&of(2, Orders::Require)), Err(old));
        let foreign = known.encode(&key(2), TOPIC);
        assert!(Roster::succeed(None, &key(1).public(), TOPIC, &foreign).is_err());
    }

    #[test]
    fn a_message_is_of_the_member_whose_key_signed_it_for_its_topic() {
        let roster = roster(vec![
            member("ann", 2, &[Role::Operator]),
            member("bob", 3, &[Role::Viewer]),
        ]);
        let by = |number| signed::sign(&key(number), "topic", b"{\"type\":\"x\"}", &Answers::new());
        let name = |topic, payload: &[u8]| {
            roster
                .signer(topic, payload)
                .map(|member| member.name.to_string())
        };
        assert_eq!(name("topic", &by(2)), Ok("ann".into()));
        assert_eq!(name("topic", &by(3)), Ok("bob".into()));
        assert_eq!(name("other", &by(3)), Err(Unsigned::WrongSignature));
        assert_eq!(name("topic", &by(4)), Err(Unsigned::UnknownKey(key(4).public())));
        assert_eq!(name("topic", b"{}"), Err(Unsigned::NoSignature));
        // The root key signs rosters and nothing else.
        assert!(matches!(name("topic", &by(1)), Err(Unsigned::UnknownKey(_))));
    }

    #[test]
    fn roles_permit_what_they_say_and_unknown_ones_nothing() {
        for (role, verb, expected) in [
            (Role::Operator, "move", true),
            (Role::Dispatcher, "run", true),
            (Role::Deployer, "run", true),
            (Role::Deployer, "move", false),
            (Role::Deployer, AS_DEPLOYER, true),
            (Role::Deployer, AS_DISPATCHER, false),
            (Role::Dispatcher, AS_ENROLLER, false),
            (Role::Enroller, AS_ENROLLER, true),
            (Role::Enroller, "run", false),
            (Role::Viewer, "logs", true),
            (Role::Viewer, "kill", false),
            (Role::Unknown, "logs", false),
        ] {
            assert_eq!(role.may(verb), expected, "{role} {verb}");
        }
        let later = r#"{"version":1,"orders":"two-of-three","members":[{"name":"x","key":"KEY","roles":["captain"]}]}"#;
        let later = later.replace("KEY", &key(1).public().to_string());
        let read: Roster = serde_json::from_str(&later).unwrap();
        assert_eq!(read.orders, Orders::Require);
        assert_eq!(read.members[0].roles, [Role::Unknown].into());
    }
}
