//! Whose requests the acting dispatcher takes: the fleet's roster, looked at as engines do.
//!
//! ```text
//!   no root key is configured ----> every request is taken, as by dispatchers of earlier releases
//!   root key, no roster yet ------> none that changes anything
//!   roster: open, prefer ---------> all; prefer warns of those that are not signed
//!   roster: require --------------> those that a member with the role for it has signed, to the present challenge
//! ```
//! What a dispatcher orders, it signs with its own key. So without this, who may publish requests orders with
//! that.
//!
//! What engines ask for programs (values, files) has a rule of its own in the roster: there it is signed by
//! the engine, whose key its card shows, and for a program that a member has ordered to be there.
//!
//! What always holds: the roster is one that the configured root key has signed, its version only rises,
//! across restarts as well, and it is on disk before it counts. A signed request is carried out once: its
//! challenge ends with the term, and before as many have come as are remembered.

mod cards;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use wayfare_client::IncomingRequest;
use wayfare_client::app::ask::{self, Ask};
use wayfare_client::fleet::{Vouched, is_ordered};
use wayfare_client::operations::{self, OperationAsk};
use wayfare_protocol::code::PublicKey;
use wayfare_protocol::dispatcher::{ACTING_NAME, Answered, Reads};
use wayfare_protocol::error::Failure;
use wayfare_protocol::files;
use wayfare_protocol::ids::{EngineId, OperationId, PeerName, ProgramId};
use wayfare_protocol::limits::{ORDERS_PER_CHALLENGE, PAYLOAD_BYTES_MAX};
use wayfare_protocol::status::ProgramStatus;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::trust::challenges::Challenges;
use wayfare_protocol::trust::roster::{AS_DEPLOYER, Orders, Roster};
use wayfare_protocol::trust::signed::{Signature, answers};
use wayfare_protocol::values;

use self::cards::Cards;

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
    cards: Cards,
    challenges: Challenges,
    taken: VecDeque<OperationId>,
    warned: Option<Instant>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Permit {
    Taken,
    /// The same, once.
    Counted,
    /// It has no answer, and comes again.
    Dropped,
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
            cards: Cards::default(),
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
                Ok(roster) => permits.take(roster),
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
        self.take(roster);
    }

    fn take(&mut self, roster: Roster) {
        self.cards.judge_all(&roster, &self.topics);
        self.roster = Some(roster);
    }

    /// What is retained as the card of an engine; nothing: it was taken away.
    pub(crate) fn card_seen(&mut self, engine: EngineId, payload: Vec<u8>) {
        let known = self
            .cards
            .seen(engine.clone(), payload, self.roster.as_ref(), &self.topics);
        match known {
            Some(Ok(serial)) => tracing::info!(%engine, serial, "an engine's card"),
            Some(Err(error)) => self.warn(
                Instant::now(),
                &format!("did not take the card of {engine}: {error}"),
            ),
            None => {}
        }
    }

    /// What counts of engines and of their programs, whatever anybody says.
    pub(crate) fn vouched(&self) -> Option<Vouched> {
        let roster = self.roster.as_ref().filter(|_| self.root.is_some())?;
        let members = roster.members.iter();
        let orderers = members.filter(|member| member.may("run"));
        (roster.engines == Orders::Require).then(|| Vouched {
            engines: self.cards.said(),
            orderers: orderers.map(|member| member.key).collect(),
            topics: self.topics.clone(),
        })
    }

    /// The program that a request says to be for, where that has to be proved: its status is wanted to judge
    /// it.
    pub(crate) fn program_of(&self, incoming: &IncomingRequest) -> Option<ProgramId> {
        self.root?;
        match need(&incoming.service, &incoming.request.body)? {
            Need::Program(program) if self.rule(&Need::Program(program)) != Orders::Open => Some(program),
            _ => None,
        }
    }

    /// What becomes of a request that no service has yet. `is_known`: it was taken, and its answer is there
    /// or being made. `status`: that of the program that it says to be for.
    pub(crate) fn judge(
        &mut self,
        incoming: &IncomingRequest,
        status: Option<&ProgramStatus>,
        is_known: bool,
        now: Instant,
    ) -> Permit {
        let IncomingRequest {
            service,
            request,
            payload,
        } = incoming;
        let need = self.root.and_then(|_| need(service, &request.body));
        let Some(need) = need.filter(|need| self.rule(need) != Orders::Open) else {
            return Permit::Taken;
        };
        self.challenges.renew(now);
        let answered = answers(payload).get(&acting()).copied();
        let is_fresh = answered.is_some_and(|challenge| self.challenges.is_fresh(challenge, now));
        if !is_fresh && request.reads >= Reads::SIGN_AGAIN && self.roster.is_some() {
            let challenge = self.challenges.current;
            return Permit::Answered(Answered::SignAgain { challenge });
        }
        let topic = self.topics.topic(&Topic::DispatcherRequest(service.clone()));
        let signed = match &need {
            Need::Verb(verb) => self.member(&topic, payload, verb),
            Need::Program(_) => self.member(&topic, payload, AS_DEPLOYER).or_else(|why| {
                let signed = self.engine(&topic, payload, &request.client);
                signed.map_err(|()| match Signature::of(payload) {
                    Some(_) => format!(
                        "{} has no card for the key that signed it: 'wayfare enroll ls'",
                        request.client
                    ),
                    None => why,
                })
            }),
        };
        let fresh = is_fresh
            .then_some(())
            .ok_or_else(|| "it is an old one".to_owned());
        let signer = match signed.and_then(|signer| fresh.map(|()| signer)) {
            Ok(signer) => signer,
            Err(why) => return self.without(&need, &request.client, why, now),
        };
        match (need, signer) {
            (Need::Program(program), Signer::Engine) => {
                self.of_program(program, &request.client, status, now)
            }
            (Need::Program(_), Signer::Member) => Permit::Taken,
            (Need::Verb(_), _) if !is_known && self.taken.contains(&request.request) => {
                let reason = "it was carried out before".to_owned();
                Permit::Answered(Answered::Failed(refused(reason)))
            }
            (Need::Verb(_), _) => Permit::Counted,
        }
    }

    /// Whether a member has ordered the program to be on the engine that asks for it. It may be on its way to
    /// be shown: then it is asked again.
    fn of_program(
        &mut self,
        program: ProgramId,
        asks: &EngineId,
        status: Option<&ProgramStatus>,
        now: Instant,
    ) -> Permit {
        let is_here = status.is_some_and(|status| status.engine == *asks && self.is_ordered(status));
        let what = format!("what engine {asks} asks for program {}", program.short());
        let why = "nobody whom the roster names is seen to have ordered it there";
        match (is_here, self.rule(&Need::Program(program))) {
            (true, _) | (false, Orders::Open) => Permit::Taken,
            (false, Orders::Prefer) => {
                self.warn(now, &format!("took {what}, though {why}"));
                Permit::Taken
            }
            (false, Orders::Require) => {
                self.warn(now, &format!("did not take {what}: {why}"));
                Permit::Dropped
            }
        }
    }

    fn is_ordered(&self, status: &ProgramStatus) -> bool {
        let mut members = self.roster.iter().flat_map(|roster| &roster.members);
        is_ordered(status, &self.topics, |key| {
            members.any(|member| member.key == *key && member.may("run"))
        })
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
    fn member(&self, topic: &str, payload: &[u8], verb: &str) -> Result<Signer, String> {
        let Some(roster) = &self.roster else {
            return Err(
                "it has a root key, and has not read the fleet's roster yet: 'wayfare operator publish'"
                    .into(),
            );
        };
        match roster.signer(topic, payload) {
            Ok(member) if member.may(verb) => Ok(Signer::Member),
            Ok(member) => Err(format!("'{}' has no role for '{verb}'", member.name)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the engine has signed it that asks.
    fn engine(&self, topic: &str, payload: &[u8], engine: &EngineId) -> Result<Signer, ()> {
        let card = self.cards.of(engine).ok_or(())?;
        let signature = Signature::of(payload).filter(|signature| signature.key == card.key);
        match signature.is_some_and(|signature| signature.is_good(topic)) {
            true => Ok(Signer::Engine),
            false => Err(()),
        }
    }

    fn without(&mut self, need: &Need, asks: &PeerName, why: String, now: Instant) -> Permit {
        let what = match need {
            Need::Verb(verb) => format!("'{verb}' from {asks}"),
            Need::Program(program) => format!("what {asks} asks for program {}", program.short()),
        };
        match self.rule(need) {
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

    /// What becomes of what nobody who may has signed.
    fn rule(&self, need: &Need) -> Orders {
        let rule = self.roster.as_ref().map(|roster| match need {
            Need::Verb(_) => roster.orders,
            Need::Program(_) => roster.engines,
        });
        rule.unwrap_or(Orders::Require)
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

/// Who has signed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    Member,
    /// The engine that it is of.
    Engine,
}

/// What a request takes to be permitted.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    /// A member whose role permits this.
    Verb(String),
    /// The engine that has this program; or a member, as nobody's program.
    Program(ProgramId),
}

/// `None`: it only reads what is everybody's, or is refused by its service.
fn need(service: &PeerName, body: &Value) -> Option<Need> {
    let verb = match service.as_str() {
        ask::SERVICE => match serde_json::from_value(body.clone()).ok()? {
            Ask::Take { .. } | Ask::Put { .. } | Ask::Renew { .. } => AS_DEPLOYER,
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
            OperationAsk::Queue(order) | OperationAsk::Waiting(order) => return Some(Need::Verb(order.verb)),
            OperationAsk::NotGiven { .. } => AS_MEMBER,
            OperationAsk::Cancel { .. } => "kill",
            OperationAsk::List(_) | OperationAsk::Show { .. } | OperationAsk::Wait { .. } => return None,
        },
        values::SERVICE | files::SERVICE => {
            let program = serde_json::from_value(body.get("program")?.clone()).ok()?;
            return Some(Need::Program(program));
        }
        _ => return None,
    };
    Some(Need::Verb(verb.to_owned()))
}

#[cfg(test)]
mod tests;
