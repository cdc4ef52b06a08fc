//! Whose orders this engine takes: the fleet's roster, and the challenges that keep old orders from counting.
//!
//! ```text
//!   no root key is configured ----> every order is taken, as by engines of earlier releases
//!   root key, no roster yet ------> none: whoever holds the roster back gets nothing done
//!   roster: open, prefer ---------> all; prefer warns of those that are not signed
//!   roster: require --------------> those that a member with the role for it has signed, for this engine and lately
//! ```
//! What always holds: the roster is one that the configured root key has signed, its version only rises,
//! across restarts as well, and it is on disk before it counts. Within one challenge each operation is
//! carried out once, because more operations are remembered than a challenge and the one before it are good
//! for.

mod coming;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::command::{Action, Command};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Challenge, EngineId, OperationId, ProgramId};
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::challenges::Challenges;
use wayfare_protocol::trust::roster::{AS_DISPATCHER, Member, Orders, Roster};
use wayfare_protocol::trust::signed::{Signature, answers};

use super::occasional::Occasional;
use super::places::Places;
use super::store::write_durably;

const ROSTER_FILE: &str = "roster";
/// A challenge that did not change is not shown again sooner.
const SHOW_AGAIN: Duration = Duration::from_secs(1);
/// Orders to move programs away, kept to show their targets.
const PASSAGES_MAX: usize = 256;

/// What an engine trusts.
pub(crate) struct Trust {
    /// `None`: it looks at no signature.
    root: Option<PublicKey>,
    engine: EngineId,
    topics: Topics,
    folder: PathBuf,
    roster: Option<Roster>,
    challenges: Challenges,
    /// By which orders the programs that are here are.
    pub(super) places: Places,
    /// Under which orders programs came lately, and when: fewer than two challenges are good for.
    arrived: VecDeque<(OperationId, Instant)>,
    /// Orders by which programs leave, as they were signed.
    passages: VecDeque<Passage>,
    warnings: Occasional,
    /// Of claims: other warnings leave them their place.
    doubts: Occasional,
    /// The status has to show another challenge, or the same once more.
    is_to_show: bool,
    shown: Option<Instant>,
}

/// An order by which a program, or a copy of it, leaves.
struct Passage {
    operation: OperationId,
    program: ProgramId,
    order: Bytes,
}

/// What becomes of an order.
#[derive(Debug, PartialEq)]
pub(crate) enum Judgement {
    Taken,
    /// It answers another challenge: its sender signs it again when it has seen the present one.
    Stale,
    Refused(Failure),
}

impl Trust {
    /// With the roster that an earlier start has stored, if the root key has signed it.
    pub(crate) fn new(
        root: Option<PublicKey>,
        engine: EngineId,
        topics: Topics,
        folder: PathBuf,
        now: Instant,
    ) -> Self {
        let mut trust = Self {
            root,
            engine,
            topics,
            roster: None,
            challenges: Challenges::new(now),
            places: Places::open(&folder),
            arrived: VecDeque::new(),
            passages: VecDeque::new(),
            warnings: Occasional::default(),
            doubts: Occasional::default(),
            is_to_show: false,
            shown: None,
            folder,
        };
        trust.roster = trust.stored();
        trust
    }

    fn stored(&self) -> Option<Roster> {
        let root = self.root?;
        let path = self.folder.join(ROSTER_FILE);
        match read(&path) {
            Ok(bytes) => match Roster::verify(&root, &self.topics.topic(&Topic::Roster), &bytes) {
                Ok(roster) => Some(roster),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the stored roster does not count");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the stored roster");
                None
            }
        }
    }

    /// For the engine's status.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.root.map(|_| self.challenges.current)
    }

    /// Where the roster is retained, if this engine reads one.
    pub(crate) fn roster_topic(root: Option<PublicKey>, topics: &Topics) -> Option<String> {
        root.map(|_| topics.topic(&Topic::Roster))
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
        if let Err(error) = write_durably(&self.folder, ROSTER_FILE, payload) {
            // Read again at the next connection.
            return self.warn(now, &format!("cannot store the roster: {error}"));
        }
        let (version, orders, members) = (roster.version, roster.orders, roster.members.len());
        tracing::info!(version, %orders, members, "the fleet's roster");
        self.roster = Some(roster);
    }

    /// Whether a command is taken that came in this payload.
    pub(crate) fn judge(&mut self, payload: &Bytes, command: &Command, now: Instant) -> Judgement {
        let topic = self.topics.topic(&Topic::EngineCommand(self.engine.clone()));
        // Who sets a term speaks as the dispatcher: all others' commands with lower ones are refused then.
        let verb = match command.term {
            Some(_) => AS_DISPATCHER,
            None => command.action.verb(),
        };
        let judgement = self.judge_order(&topic, payload, verb, Some(command.operation), now);
        let leaves = matches!(command.action, Action::Move { .. } | Action::Spawn { .. });
        if judgement == Judgement::Taken {
            self.note_place(command, &self.engine.clone(), payload);
        }
        if judgement == Judgement::Taken && leaves && Signature::of(payload).is_some() {
            let operation = command.operation;
            self.passages.retain(|passage| passage.operation != operation);
            self.passages.push_back(Passage {
                operation,
                program: command.action.program(),
                order: payload.clone(),
            });
            if self.passages.len() > PASSAGES_MAX {
                self.passages.pop_front();
            }
        }
        judgement
    }

    /// The same of a request about a device, which changes what programs read.
    /// Whether the engine's status shows another challenge since this was last asked.
    pub(crate) fn take_to_show(&mut self) -> bool {
        std::mem::take(&mut self.is_to_show)
    }

    pub(crate) fn judge_device(&mut self, payload: &[u8], now: Instant) -> Judgement {
        let topic = self.topics.topic(&Topic::EngineDevice(self.engine.clone()));
        self.judge_order(&topic, payload, "device", None, now)
    }

    fn judge_order(
        &mut self,
        topic: &str,
        payload: &[u8],
        verb: &str,
        operation: Option<OperationId>,
        now: Instant,
    ) -> Judgement {
        match self.signer(topic, payload, verb) {
            Ok(Signer::NotAsked) => return Judgement::Taken,
            Ok(Signer::Member) => {}
            Err(why) => {
                return match self.without(&format!("a '{verb}'"), &why, now) {
                    Ok(()) => Judgement::Taken,
                    Err(failure) => Judgement::Refused(failure),
                };
            }
        }
        let answered = answers(payload).get(&self.engine).copied();
        if answered.is_some_and(|challenge| self.challenges.is_fresh(challenge, now)) {
            if let Some(operation) = operation {
                self.challenges.count(operation);
            }
            self.is_to_show |= self.challenges.renew(now);
            return Judgement::Taken;
        }
        self.show(now);
        match self.orders() {
            Orders::Require => Judgement::Stale,
            Orders::Open => Judgement::Taken,
            Orders::Prefer => {
                self.warn(
                    now,
                    &format!("took a '{verb}', though it was not signed lately for this engine"),
                );
                Judgement::Taken
            }
        }
    }

    /// What becomes of what no member may have ordered.
    fn without(&mut self, what: &str, why: &str, now: Instant) -> Result<(), Failure> {
        match self.orders() {
            Orders::Open => Ok(()),
            Orders::Prefer => {
                self.warn(now, &format!("took {what}, though {why}"));
                Ok(())
            }
            Orders::Require => {
                self.warn(now, &format!("refused {what}: {why}"));
                Err(Failure::NotPermitted {
                    engine: self.engine.clone(),
                    reason: why.to_owned(),
                })
            }
        }
    }

    fn orders(&self) -> Orders {
        self.roster
            .as_ref()
            .map_or(Orders::Require, |roster| roster.orders)
    }

    /// Who has signed this, if that may order it; otherwise why it is nobody's order.
    fn signer(&self, topic: &str, payload: &[u8], verb: &str) -> Result<Signer, String> {
        if self.root.is_none() {
            return Ok(Signer::NotAsked);
        }
        let Some(roster) = &self.roster else {
            let why = "it has a root key, and has not read the fleet's roster yet: 'wayfare operator publish', and the broker has to let engines read trust/roster";
            return Err(why.into());
        };
        match roster.signer(topic, payload) {
            Ok(member) if member.may(verb) => Ok(Signer::Member),
            Ok(Member { name, .. }) => Err(format!("'{name}' has no role for '{verb}'")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Somebody asks how the engine is: the answer has a challenge that will serve for a while.
    pub(crate) fn asked(&mut self, now: Instant) {
        if self.root.is_some() {
            self.challenges.renew(now);
        }
    }

    fn show(&mut self, now: Instant) {
        let is_new = self.challenges.renew(now);
        if is_new || self.shown.is_none_or(|at| now.duration_since(at) >= SHOW_AGAIN) {
            self.shown = Some(now);
            self.is_to_show = true;
        }
    }

    fn warn(&mut self, now: Instant, what: &str) {
        if let Some(unwritten) = self.warnings.due(now) {
            tracing::warn!(unwritten, "{what}");
        }
    }
}

/// Whose order it is.
enum Signer {
    /// Signatures are not looked at.
    NotAsked,
    /// A member's who may give it.
    Member,
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(PAYLOAD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
