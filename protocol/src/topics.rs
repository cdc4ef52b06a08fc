//! Names on the wire. At most seven slashes, nothing that begins with `$`, and no other place in the code
//! that puts a topic together.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::address::Address;
use crate::ids::{EngineId, OperationId, PeerName, ProgramId};
use crate::pattern::Pattern;
use crate::values::Key;

/// The first levels of every topic: several fleets can share a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    root: String,
}

#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("'{0}' is not a topic root: one or two levels, 1 to 64 bytes, without '$', '+' or '#'")]
pub struct RootError(String);

impl FromStr for Topics {
    type Err = RootError;
    fn from_str(root: &str) -> Result<Self, RootError> {
        let bad = root.is_empty()
            || root.len() > 64
            || root.starts_with('$')
            || root.split('/').count() > 2
            || root.split('/').any(str::is_empty)
            || root.contains(|c: char| c.is_control() || matches!(c, '+' | '#' | ' '));
        if bad {
            Err(RootError(root.chars().take(80).collect()))
        } else {
            Ok(Self {
                root: root.to_owned(),
            })
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            root: "wayfare".into(),
        }
    }
}

/// What a received topic is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    EngineCommand(EngineId),
    EngineEvent(EngineId),
    EngineStatus(EngineId),
    /// A question about a device, or for numbers.
    EngineDevice(EngineId),
    Report,
    ProgramStatus(ProgramId),
    ProgramLog(ProgramId),
    /// Replies to a program's requests.
    ProgramReply(ProgramId),
    /// What is sent to a program that serves.
    ProgramInbox(ProgramId),
    /// That this program can be called at the address; retained.
    Address(Address, ProgramId),
    /// A message of an operation to this peer.
    Peer(OperationId, PeerName),
    Reply(PeerName),
    /// Who acts as the dispatcher; retained.
    DispatcherLease,
    /// To this service of the acting dispatcher.
    DispatcherRequest(PeerName),
    /// What the acting dispatcher decided, and why.
    DispatcherEvent,
    /// Whose keys may order what; retained.
    Roster,
    /// Which key an engine has, as a member of the roster says; retained.
    Card(EngineId),
}

impl Topics {
    pub fn topic(&self, topic: &Topic) -> String {
        let root = &self.root;
        match topic {
            Topic::EngineCommand(engine) => format!("{root}/v1/engine/{engine}/command"),
            Topic::EngineEvent(engine) => format!("{root}/v1/engine/{engine}/event"),
            Topic::EngineStatus(engine) => format!("{root}/v1/engine/{engine}/status"),
            Topic::EngineDevice(engine) => format!("{root}/v1/engine/{engine}/device"),
            Topic::Report => format!("{root}/v1/engines/report"),
            Topic::ProgramStatus(program) => format!("{root}/v1/program/{program}/status"),
            Topic::ProgramLog(program) => format!("{root}/v1/program/{program}/log"),
            Topic::ProgramReply(program) => format!("{root}/v1/program/{program}/reply"),
            Topic::ProgramInbox(program) => format!("{root}/v1/program/{program}/inbox"),
            Topic::Address(address, program) => format!("{root}/v1/address/{}/{program}", address.level()),
            Topic::Peer(operation, peer) => format!("{root}/v1/move/{operation}/{peer}"),
            Topic::Reply(client) => format!("{root}/v1/reply/{client}"),
            Topic::DispatcherLease => format!("{root}/v1/dispatcher/lease"),
            Topic::DispatcherRequest(service) => format!("{root}/v1/dispatcher/request/{service}"),
            Topic::DispatcherEvent => format!("{root}/v1/dispatcher/event"),
            Topic::Roster => format!("{root}/v1/trust/roster"),
            Topic::Card(engine) => format!("{root}/v1/trust/card/{engine}"),
        }
    }

    /// `None` for a topic that is not ours.
    pub fn parse(&self, topic: &str) -> Option<Topic> {
        let rest = topic.strip_prefix(self.root.as_str())?.strip_prefix("/v1/")?;
        let levels: Vec<&str> = rest.splitn(4, '/').collect();
        Some(match levels.as_slice() {
            ["engine", engine, "command"] => Topic::EngineCommand(engine.parse().ok()?),
            ["engine", engine, "event"] => Topic::EngineEvent(engine.parse().ok()?),
            ["engine", engine, "status"] => Topic::EngineStatus(engine.parse().ok()?),
            ["engine", engine, "device"] => Topic::EngineDevice(engine.parse().ok()?),
            ["engines", "report"] => Topic::Report,
            ["program", program, "status"] => Topic::ProgramStatus(program.parse().ok()?),
            ["program", program, "log"] => Topic::ProgramLog(program.parse().ok()?),
            ["program", program, "reply"] => Topic::ProgramReply(program.parse().ok()?),
            ["program", program, "inbox"] => Topic::ProgramInbox(program.parse().ok()?),
            ["address", address, program] => {
                Topic::Address(Address::of_level(address)?, program.parse().ok()?)
            }
            ["move", operation, peer] => Topic::Peer(operation.parse().ok()?, peer.parse().ok()?),
            ["reply", client] => Topic::Reply(client.parse().ok()?),
            ["dispatcher", "lease"] => Topic::DispatcherLease,
            ["dispatcher", "request", service] => Topic::DispatcherRequest(service.parse().ok()?),
            ["dispatcher", "event"] => Topic::DispatcherEvent,
            ["trust", "roster"] => Topic::Roster,
            ["trust", "card", engine] => Topic::Card(engine.parse().ok()?),
            _ => return None,
        })
    }

    /// Whether a topic is one of Wayfare's own, known or not.
    pub fn is_ours(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(self.root.as_str());
        rest.is_some_and(|rest| rest == "/v1" || rest.starts_with("/v1/"))
    }

    /// Filters an engine or client subscribes to.
    pub fn peer_filter(&self, peer: &PeerName) -> String {
        format!("{}/v1/move/+/{peer}", self.root)
    }
    pub fn all_engine_statuses(&self) -> String {
        format!("{}/v1/engine/+/status", self.root)
    }
    pub fn all_engine_commands(&self) -> String {
        format!("{}/v1/engine/+/command", self.root)
    }
    pub fn all_engine_events(&self) -> String {
        format!("{}/v1/engine/+/event", self.root)
    }
    pub fn all_program_statuses(&self) -> String {
        format!("{}/v1/program/+/status", self.root)
    }
    /// What members of the roster say of engines.
    pub fn all_cards(&self) -> String {
        format!("{}/v1/trust/card/+", self.root)
    }
    /// Requests to all services of the acting dispatcher.
    pub fn all_dispatcher_requests(&self) -> String {
        format!("{}/v1/dispatcher/request/+", self.root)
    }
    /// Whoever can be called at an address.
    pub fn all_at(&self, address: &Address) -> String {
        format!("{}/v1/address/{}/+", self.root, address.level())
    }
    /// Wherever this program can be called.
    pub fn all_addresses_of(&self, program: ProgramId) -> String {
        format!("{}/v1/address/+/{program}", self.root)
    }
    pub fn all_addresses(&self) -> String {
        format!("{}/v1/address/+/+", self.root)
    }
    /// Where the acting dispatcher publishes each change of a value.
    pub fn value(&self, key: &Key) -> String {
        format!("{}/v1/value/{}", self.root, key.topic_levels())
    }
    /// Changes of all values that match, and of some others.
    pub fn values(&self, pattern: &Pattern) -> String {
        format!("{}/v1/value/{}", self.root, pattern.topic_levels())
    }
    /// Whether changes of values come there.
    pub fn is_of_values(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(self.root.as_str());
        rest.is_some_and(|rest| rest.starts_with("/v1/value/"))
    }
    pub fn all_program_logs(&self) -> String {
        format!("{}/v1/program/+/log", self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_parsed_back_and_has_at_most_seven_slashes() {
        let topics: Topics = "site/a".parse().unwrap();
        let peer: PeerName = "pi-1".parse().unwrap();
        for topic in [
            Topic::EngineCommand(peer.clone()),
            Topic::EngineEvent(peer.clone()),
            Topic::EngineStatus(peer.clone()),
            Topic::EngineDevice(peer.clone()),
            Topic::Report,
            Topic::ProgramStatus(ProgramId::random()),
            Topic::ProgramLog(ProgramId::random()),
            Topic::ProgramReply(ProgramId::random()),
            Topic::ProgramInbox(ProgramId::random()),
            Topic::Address("program/a".parse().unwrap(), ProgramId::random()),
            Topic::Peer(OperationId::random(), peer.clone()),
            Topic::Reply(peer.clone()),
            Topic::DispatcherLease,
            Topic::DispatcherRequest(peer.clone()),
            Topic::DispatcherEvent,
            Topic::Roster,
            Topic::Card(peer.clone()),
        ] {
            let text = topics.topic(&topic);
            assert_eq!(topics.parse(&text), Some(topic));
            assert!(text.matches('/').count() <= 7, "{text}");
        }
        assert_eq!(topics.parse("site/b/v1/engines/report"), None);
    }
}
