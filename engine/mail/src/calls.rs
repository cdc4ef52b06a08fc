//! Calls: what the program serves and was asked, whom it can call, and its own calls that are open.
//!
//! ```text
//!   call --> open --answer came--> answered --handed over--> gone
//!              \--its provider was withdrawn, or its time is over--> failed --handed over--> gone
//!   announced --> a provider of a watched address --withdrawn--> not one
//! ```
//! A call is a stamped request, and has its number: so what tells repeats of messages tells those of calls
//! and answers, wherever either side is, and a call that a crash makes the program make again has the number
//! it had. Of several providers a call goes to the one that its number falls on, in the order of their ids,
//! so that calls spread and the same call goes to the same provider as long as they are the same. A caller
//! that chooses is in `choosing`.
//!
//! Always: a call ends once, and none is without an end: each has a deadline, by the program's own clock. All
//! of it is in a snapshot.

mod attending;
#[cfg(test)]
mod bounds_tests;
mod choosing;
#[cfg(test)]
mod choosing_tests;
#[cfg(test)]
mod ending_tests;
mod listing;
#[cfg(test)]
mod listing_tests;
mod making;
#[cfg(test)]
mod message_tests;
mod messages;
mod notices;
mod open;
mod picking;
#[cfg(test)]
mod picking_tests;
#[cfg(test)]
mod provider_tests;
mod providers;
mod queue;
mod saved;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod set_back_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wayfare_protocol::address::{Address, SERVICES_MAX};
use wayfare_protocol::call::{self, Notice, Outcome, SCHEMAS_BYTES_MAX, Sent};
use wayfare_protocol::ids::{ProgramId, is_name};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::Topic;

use crate::message::ReceivedMessage;
use crate::{Mail, Manner, REPLIABLE_MAX, Refusal};
pub use attending::Attention;
pub use making::CallOptions;
use open::{Delivery, Open, State, What};
use picking::Picking;
use providers::Known;
use queue::Notices;
pub(crate) use saved::Layout;

/// Addresses that a program has called.
const ADDRESSES_MAX: usize = 64;

const AT_LEAST_ONCE: Manner = Manner {
    qos: Qos::AtLeastOnce,
    retain: false,
    plain: false,
};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Calls {
    serves: BTreeSet<String>,
    /// What the program says of its services, as JSON, with their names. It is told to whoever asks, and
    /// published nowhere.
    schemas: Vec<(String, String)>,
    /// The program can be sent messages, if it serves nothing, too.
    listens: bool,
    /// Who can be called there, as far as it was announced.
    providers: BTreeMap<Address, BTreeMap<ProgramId, Known>>,
    /// Addresses at which everybody is known who was there when it was subscribed: sets on this connection,
    /// others since the broker was last asked for everything.
    complete: BTreeSet<Address>,
    /// Addresses, beside sets, at which a caller chooses: it does so among all who are there.
    chosen_at: BTreeSet<Address>,
    open: BTreeMap<u64, Open>,
    /// Calls that the program has received and not answered.
    taken: VecDeque<Taken>,
    notices: Notices,
    attention: Attention,
    /// Keys of messages that the program has taken and not handled.
    busy: BTreeSet<String>,
    /// The program chooses among providers: where these are is in its snapshots.
    has_chosen: bool,
    /// Who was called last at an address, one after the other.
    last: BTreeMap<Address, ProgramId>,
    /// Addresses that were subscribed again on this engine, to know where who is there is.
    renewed: BTreeSet<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    number: u64,
    reply_to: String,
    wants_progress: bool,
    /// In no snapshot: of calls that were taken elsewhere it is not known.
    asked: Option<Asked>,
}

/// What a call that was taken asks, for who looks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    to: Address,
    function: String,
    deadline_ms: u64,
    /// When the program took it, by the wall clock.
    since_ms: u64,
}

/// What of a message that came is the calls' own.
pub(super) enum Incoming {
    /// Nothing: it is a message like any other.
    Foreign,
    /// For the inbox.
    Inbox,
    /// It changes who can be called, or what becomes of what is open.
    Announced,
    /// A message that has come too late.
    Expired,
    /// Not for this program, or nothing new.
    Useless,
}

impl Mail {
    /// Provides a service, which has this schema from now on. What is sent to the program's addresses comes
    /// through the inbox once [`Mail::is_serving`] says so.
    pub fn serve(&mut self, service: &str, schema: Option<&str>) -> Result<(), Refusal> {
        if !is_name(service) {
            return Err(Refusal::Malformed);
        }
        if !self.grants.may_serve(service) {
            return Err(Refusal::NotGranted);
        }
        let serves = &mut self.calls.serves;
        if !serves.contains(service) && serves.len() >= SERVICES_MAX {
            return Err(Refusal::TooMany);
        }
        let others = self.calls.schemas.iter().filter(|(of, _)| of != service);
        let bytes: usize = others.map(|(_, schema)| schema.len()).sum();
        if bytes + schema.map_or(0, str::len) > SCHEMAS_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let inbox = self.inbox_topic();
        self.subscribe_to(&inbox, Qos::AtLeastOnce)?;
        self.calls.serves.insert(service.to_owned());
        self.calls.schemas.retain(|(of, _)| of != service);
        let schema = schema.map(|schema| (service.to_owned(), schema.to_owned()));
        self.calls.schemas.extend(schema);
        Ok(())
    }

    /// Takes messages to the program's addresses, without a service.
    pub fn listen(&mut self) -> Result<(), Refusal> {
        if !self.may_listen() {
            return Err(Refusal::NotGranted);
        }
        let inbox = self.inbox_topic();
        self.subscribe_to(&inbox, Qos::AtLeastOnce)?;
        self.calls.listens = true;
        Ok(())
    }

    pub(crate) fn may_listen(&self) -> bool {
        !self.grants.serve.is_empty()
    }

    /// Whether the program can be reached by its addresses, once its inbox is granted.
    pub fn can_be_reached(&self) -> bool {
        self.calls.listens || !self.calls.serves.is_empty()
    }

    /// Whether the broker has granted it; `None`: it was refused.
    pub fn is_serving(&self) -> Option<bool> {
        self.is_granted(&self.inbox_topic())
    }

    /// The services that the program provides.
    pub fn services(&self) -> &BTreeSet<String> {
        &self.calls.serves
    }

    /// Hears of who can be called at the address, from now on.
    pub fn watch(&mut self, address: &Address) -> Result<(), Refusal> {
        if !self.grants.may_call(address) {
            return Err(Refusal::NotGranted);
        }
        self.look_at(address)
    }

    fn look_at(&mut self, address: &Address) -> Result<(), Refusal> {
        let providers = &self.calls.providers;
        if !providers.contains_key(address) && providers.len() >= ADDRESSES_MAX {
            return Err(Refusal::TooMany);
        }
        let filter = self.home.topics.all_at(address);
        self.subscribe_to(&filter, Qos::AtLeastOnce)?;
        self.calls.providers.entry(address.clone()).or_default();
        Ok(())
    }

    /// Whether the broker has refused to tell who can be called there.
    pub fn is_watch_refused(&self, address: &Address) -> bool {
        self.is_granted(&self.home.topics.all_at(address)).is_none()
    }

    /// Tells the caller how far its call is, if it takes that.
    pub fn progress(&mut self, reply_to: &str, number: u64, payload: &[u8]) -> Result<(), Refusal> {
        let at = self
            .calls
            .position(reply_to, number)
            .ok_or(Refusal::NotRepliable)?;
        if !self.calls.taken[at].wants_progress {
            return Ok(());
        }
        let payload = call::encode(&Notice::Progress { call: number }, payload);
        self.send(reply_to, &payload, AT_LEAST_ONCE, Purpose::Message)
    }

    /// Answers a call that was received; once.
    pub fn answer(&mut self, reply_to: &str, number: u64, outcome: &Outcome) -> Result<(), Refusal> {
        let at = self
            .calls
            .position(reply_to, number)
            .ok_or(Refusal::NotRepliable)?;
        let purpose = Purpose::Reply { answers: number };
        self.send(reply_to, &outcome.encode(), AT_LEAST_ONCE, purpose)?;
        self.calls.taken.remove(at);
        Ok(())
    }

    /// What a message in the inbox was sent to one of the program's addresses as; `None`: it came to a topic.
    pub fn sent_here<'a>(&self, message: &'a ReceivedMessage) -> Option<(Sent, &'a [u8])> {
        match self.home.topics.parse(&message.topic)? {
            Topic::ProgramInbox(program) if program == self.home.program => {
                call::decode_sent(&message.payload)
            }
            _ => None,
        }
    }

    /// Whether this is a call or message of the program's own, to an address that it may call.
    pub(crate) fn may_have_sent(&self, payload: &[u8]) -> bool {
        let (stamp, payload) = Stamp::take_off(payload);
        let is_own = stamp.is_some_and(|stamp| stamp.sender == self.home.program);
        is_own
            && call::decode_sent(payload).is_some_and(|(sent, _)| match &sent {
                Sent::Call { to, .. } | Sent::Cancel { to, .. } => self.grants.may_call(to),
                Sent::Message { to, .. } => self.grants.may_send(to),
            })
    }

    /// The broker has lost the session: who can be called is told anew.
    pub fn forget_providers(&mut self) {
        self.calls.providers.values_mut().for_each(BTreeMap::clear);
        self.calls.complete.clear();
        self.ask_for_barriers();
    }

    fn replies_of(&self, program: ProgramId) -> String {
        self.home.topics.topic(&Topic::ProgramReply(program))
    }

    pub(crate) fn inbox_topic(&self) -> String {
        self.home.topics.topic(&Topic::ProgramInbox(self.home.program))
    }

    pub(super) fn incoming(&self, message: &ReceivedMessage) -> Incoming {
        if let Some(noticed) = self.noticed(message) {
            return match self.is_of_use(&noticed) {
                true => Incoming::Announced,
                false => Incoming::Useless,
            };
        }
        match self.home.topics.parse(&message.topic) {
            // Nothing that is sent to a program is retained: it would come again with each subscription.
            Some(Topic::ProgramInbox(_)) if message.retained => Incoming::Useless,
            Some(Topic::ProgramInbox(_)) => match (self.sent_here(message), message.stamp.as_ref()) {
                (Some((Sent::Call { .. }, _)), Some(stamp)) if self.answers_to(stamp).is_some() => {
                    Incoming::Inbox
                }
                (Some((Sent::Message { about, .. }, _)), _) => match about.expires {
                    // A repeat of what came in time is one like any other.
                    Some(expiry) if expiry.is_over(self.now_ms) && !self.has_come(message) => {
                        Incoming::Expired
                    }
                    _ => Incoming::Inbox,
                },
                (Some((Sent::Cancel { call, .. }, _)), Some(stamp)) if self.may_cancel(stamp, call) => {
                    Incoming::Inbox
                }
                _ => Incoming::Useless,
            },
            Some(Topic::Address(address, program)) => match self.calls.changes(&address, program, message) {
                true => Incoming::Announced,
                false => Incoming::Useless,
            },
            _ => Incoming::Foreign,
        }
    }

    fn has_come(&self, message: &ReceivedMessage) -> bool {
        let stamp = message.stamp.as_ref();
        stamp.is_some_and(|stamp| self.seen.has_seen(stamp.sender, stamp.number))
    }

    /// The program takes a call from the inbox: it can answer it from now on. `false`: it is no call.
    pub(super) fn take_call(&mut self, message: &ReceivedMessage) -> bool {
        let sent = self.sent_here(message).map(|(sent, _)| sent);
        let Some(Sent::Call {
            to,
            function,
            deadline_ms,
            progress,
        }) = sent
        else {
            return false;
        };
        if let Some(stamp) = &message.stamp
            && let Some(reply_to) = self.answers_to(stamp)
        {
            if self.calls.taken.len() >= REPLIABLE_MAX {
                self.calls.taken.pop_front();
            }
            self.calls.taken.push_back(Taken {
                number: stamp.number,
                reply_to,
                wants_progress: progress,
                asked: Some(Asked {
                    to,
                    function,
                    deadline_ms,
                    since_ms: self.now_ms,
                }),
            });
        }
        true
    }

    /// Only to the sender's own topic for replies: else anybody could have the program publish anywhere.
    fn answers_to(&self, stamp: &Stamp) -> Option<String> {
        let own = self.replies_of(stamp.sender);
        match &stamp.purpose {
            Purpose::Request { reply_to } if *reply_to == own => Some(own),
            _ => None,
        }
    }

    /// Who can be called changes, or what becomes of what is open, as `message` says. `false`: it says
    /// neither.
    pub(super) fn announced(&mut self, message: &ReceivedMessage) -> bool {
        if let Some(noticed) = self.noticed(message) {
            self.take_notice(noticed, message);
            return true;
        }
        let Some(Topic::Address(address, program)) = self.home.topics.parse(&message.topic) else {
            return false;
        };
        self.calls.announced(&address, program, message);
        self.send_picked();
        self.inquire();
        self.relay_ends();
        true
    }

    /// A copy of another program is sent and answers none of its calls, has made none, and is asked at
    /// addresses of its own.
    pub(super) fn leave_calls_to(&mut self, original: ProgramId) {
        self.calls.open.clear();
        self.calls.taken.clear();
        self.calls.busy.clear();
        self.calls.last.clear();
        self.calls.notices = Notices::default();
        self.forget_providers();
        let theirs = self.home.topics.topic(&Topic::ProgramInbox(original));
        self.inbox.retain(|message| message.topic != theirs);
        if let Some(subscription) = self.subscriptions.remove(&theirs) {
            let own = self.inbox_topic();
            self.subscriptions.insert(own, subscription);
        }
    }
}

fn is_from(program: ProgramId, message: &ReceivedMessage) -> bool {
    message
        .stamp
        .as_ref()
        .is_some_and(|stamp| stamp.sender == program)
}

impl Calls {
    pub(super) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// A call without an answer is open, which may be behind other messages at the broker.
    pub(super) fn is_waiting(&self) -> bool {
        self.open.values().any(Open::is_waiting)
    }

    /// What the program itself waits for.
    fn own(&self) -> impl Iterator<Item = (&u64, &Open)> {
        self.open.iter().filter(|(_, one)| one.relay.is_none())
    }

    fn position(&self, reply_to: &str, number: u64) -> Option<usize> {
        let is_it = |one: &Taken| one.number == number && one.reply_to == reply_to;
        self.taken.iter().position(is_it)
    }

    /// Whether an answer to this number is waited for, and this one is its provider's.
    pub(super) fn wants(&self, answers: u64, message: &ReceivedMessage) -> bool {
        let sender = message.stamp.as_ref().map(|stamp| stamp.sender);
        let mut open = self.open.values();
        open.any(|one| {
            one.sent_as == answers
                && matches!(one.what, What::Call { .. })
                && sender.is_some_and(|sender| one.waits_for(sender))
        })
    }

    pub(super) fn put(&mut self, answers: u64, message: &ReceivedMessage) {
        let Some(stamp) = &message.stamp else { return };
        let open = self.open.values_mut().filter(|one| one.sent_as == answers);
        for one in open.filter(|one| matches!(one.what, What::Call { .. })) {
            one.end(stamp.sender, State::Answered(message.clone()), Delivery::Waiting);
        }
    }

    pub(super) fn keep_services(&mut self, may_serve: impl Fn(&str) -> bool) {
        self.serves.retain(|service| may_serve(service));
        self.schemas.retain(|(service, _)| self.serves.contains(service));
    }

    pub(super) fn keep_listening(&mut self, may_listen: bool) {
        self.listens &= may_listen;
    }

    /// What was read answers only where programs wait for answers.
    pub(super) fn is_sound(&self, is_reply: impl Fn(&str) -> bool) -> bool {
        let relays = self.open.values().filter_map(|one| one.relay.as_ref());
        let topics = self.taken.iter().map(|one| &one.reply_to);
        topics
            .chain(relays.map(|relay| &relay.reply_to))
            .all(|topic| is_reply(topic))
    }
}
