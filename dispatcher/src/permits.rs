//! Whose requests the acting dispatcher takes: the fleet's roster, looked at as engines do.
//!
//! ```text
//!   no root key is configured ----> every request is taken, as by dispatchers of earlier releases
//!   root key, no roster yet ------> none that changes anything
//!   roster: open, prefer ---------> all; prefer warns of those that are not signed
//!   roster: require --------------> those that a member with the role for it has signed, to the present challenge
//! ```
//! What a dispatcher orders, it signs with its own key. So without this, who may publish requests orders with that.
//!
//! What always holds: the roster is one that the configured root key has signed, its version only rises, across
//! restarts as well, and it is on disk before it counts. A signed request is carried out once: its challenge ends with the term, and
//! before as many have come as are remembered.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use wayfare_client::IncomingRequest;
use wayfare_client::app::ask::{self, Ask};
use wayfare_client::operations::{self, OperationAsk};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::dispatcher::{ACTING_NAME, Answered, Reads};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{OperationId, PeerName};
use wayfare_protocol::limits::{ORDERS_PER_CHALLENGE, PAYLOAD_BYTES_MAX};
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::challenges::Challenges;
use wayfare_protocol::trust::roster::{AS_DEPLOYER, Orders, Roster};
use wayfare_protocol::trust::signed::answers;

use crate::durable::write_whole;
use crate::options::ServiceOptions;

/// Changes engines as a whole, or what others have asked for.
const AS_OPERATOR: &str = "engine";
/// Any member's.
const AS_MEMBER: &str = "logs";
/// Requests that were taken lately: more than two challenges are good for.
const TAKEN_MAX: usize = 2 * ORDERS_PER_CHALLENGE + 1;
/// Refusals are told at most so often.
const WARN_PERIOD: Duration = Duration::from_secs(6);

/// What the dispatcher trusts, for one term.
#[derive(Debug)]
pub(crate) struct Permits {
    /// `None`: it looks at no signature.
    root: Option<PublicKey>,
    topics: Topics,
    /// Where the roster is kept.
    file: PathBuf,
    roster: Option<Roster>,
    challenges: Challenges,
    taken: VecDeque<OperationId>,
    warned: Option<Instant>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Permit {
    Taken,
    /// The answer, at once.
    Answered(Answered),
}

impl Permits {
    /// With the roster that an earlier term has stored, if the root key has signed it.
    pub(crate) fn open(options: &ServiceOptions, now: Instant) -> Self {
        let mut permits = Self {
            root: options.trust_root,
            topics: options.topics.clone(),
            file: options.data.join("roster"),
            roster: None,
            challenges: Challenges::new(now),
            taken: VecDeque::new(),
            warned: None,
        };
        if let Some(root) = permits.root
            && let Ok(stored) = std::fs::read(&permits.file)
            && stored.len() <= PAYLOAD_BYTES_MAX
        {
            let topic = permits.topics.topic(&Topic::Roster);
            match Roster::verify(&root, &topic, &stored) {
                Ok(roster) => permits.roster = Some(roster),
                Err(error) => tracing::warn!(%error, "the stored roster does not count"),
            }
        }
        permits
    }

    /// Whether it needs to be told of the roster.
    pub(crate) fn looks(&self) -> bool {
        self.root.is_some()
    }

    /// Takes a roster over that is newer than the one that counts.
    pub(crate) fn roster_seen(&mut self, payload: &[u8], now: Instant) {
        let Some(root) = self.root else { return };
        let topic = self.topics.topic(&Topic::Roster);
        let roster = match Roster::succeed(self.roster.as_ref(), &root, &topic, payload) {
            Ok(Some(roster)) => roster,
            Ok(None) => return,
            Err(error) => return self.warn(now, &format!("did not take a roster: {error}")),
        };
        if let Err(error) = write_whole(&self.file, payload) {
            return self.warn(now, &format!("cannot store the roster: {error}"));
        }
        let (version, orders, members) = (roster.version, roster.orders, roster.members.len());
        tracing::info!(version, %orders, members, "the fleet's roster");
        self.roster = Some(roster);
    }

    /// What becomes of a request that no service has yet. `is_known`: it was taken, and its answer is there or being made.
    pub(crate) fn judge(&mut self, incoming: &IncomingRequest, is_known: bool, now: Instant) -> Permit {
        let IncomingRequest {
            service,
            request,
            payload,
        } = incoming;
        let Some(verb) = self.root.and_then(|_| need(service, &request.body)) else {
            return Permit::Taken;
        };
        if self.orders() == Orders::Open {
            return Permit::Taken;
        }
        let topic = self.topics.topic(&Topic::DispatcherRequest(service.clone()));
        self.challenges.renew(now);
        let answered = answers(payload).get(&acting()).copied();
        let is_fresh = answered.is_some_and(|challenge| self.challenges.is_fresh(challenge, now));
        if !is_fresh && request.reads >= Reads::SIGN_AGAIN && self.roster.is_some() {
            let challenge = self.challenges.current;
            return Permit::Answered(Answered::SignAgain { challenge });
        }
        let signed = self.signer(&topic, payload, &verb);
        if let Err(why) = signed.and_then(|()| is_fresh.then_some(()).ok_or_else(|| "it is an old one".into())) {
            return self.without(&format!("'{verb}' from {}", request.client), why, now);
        }
        if !is_known && self.taken.contains(&request.request) {
            let reason = "it was carried out before".to_owned();
            return Permit::Answered(Answered::Failed(refused(reason)));
        }
        Permit::Taken
    }

    /// A service has it now.
    pub(crate) fn taken(&mut self, request: OperationId) {
        if self.root.is_some() && !self.taken.contains(&request) {
            self.challenges.count(request);
            self.taken.push_back(request);
            if self.taken.len() > TAKEN_MAX {
                self.taken.pop_front();
            }
        }
    }

    /// Why nobody who may has signed it.
    fn signer(&self, topic: &str, payload: &[u8], verb: &str) -> Result<(), String> {
        let Some(roster) = &self.roster else {
            return Err(
                "it has a root key, and has not read the fleet's roster yet: 'wayfare operator publish'".into(),
            );
        };
        match roster.signer(topic, payload) {
            Ok(member) if member.may(verb) => Ok(()),
            Ok(member) => Err(format!("'{}' has no role for '{verb}'", member.name)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn without(&mut self, what: &str, why: String, now: Instant) -> Permit {
        match self.orders() {
            Orders::Open => Permit::Taken,
            Orders::Prefer => {
                self.warn(now, &format!("took {what}, though {why}"));
                Permit::Taken
            }
            Orders::Require => {
                self.warn(now, &format!("refused {what}: {why}"));
                Permit::Answered(Answered::Failed(refused(why)))
            }
        }
    }

    fn orders(&self) -> Orders {
        self.roster
            .as_ref()
            .map_or(Orders::Require, |roster| roster.orders)
    }

    fn warn(&mut self, now: Instant, what: &str) {
        if self.warned.is_none_or(|at| now.duration_since(at) >= WARN_PERIOD) {
            self.warned = Some(now);
            tracing::warn!("{what}");
        }
    }
}

fn refused(reason: String) -> Failure {
    Failure::NotPermitted {
        engine: acting(),
        reason,
    }
}

fn acting() -> PeerName {
    ACTING_NAME.parse().expect("letters make a name")
}

/// What a role has to permit for this. `None`: it only reads, or is refused by its service; and what engines ask for programs, which
/// they do not sign.
fn need(service: &PeerName, body: &Value) -> Option<String> {
    let verb = match service.as_str() {
        ask::SERVICE => match serde_json::from_value(body.clone()).ok()? {
            Ask::Put { .. } => AS_DEPLOYER,
            Ask::Cordon { .. }
            | Ask::Drain { .. }
            | Ask::Uncordon { .. }
            | Ask::Forget { .. }
            | Ask::Hold { .. }
            | Ask::Release => AS_OPERATOR,
            ask if ask.is_change() => AS_DEPLOYER,
            _ => return None,
        },
        operations::SERVICE => match serde_json::from_value(body.clone()).ok()? {
            OperationAsk::Queue(order) | OperationAsk::Waiting(order) => return Some(order.verb),
            OperationAsk::NotGiven { .. } => AS_MEMBER,
            OperationAsk::Cancel { .. } => "kill",
            OperationAsk::List(_) | OperationAsk::Show { .. } | OperationAsk::Wait { .. } => return None,
        },
        _ => return None,
    };
    Some(verb.to_owned())
}

#[cfg(test)]
mod tests;
