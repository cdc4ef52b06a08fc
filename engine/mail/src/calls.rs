//! Calls: what the program serves and was asked, whom it can call, and its own calls that are open.
//!
//! ```text
//!   call --> open --answer came--> answered --handed over--> gone
//!              \--its provider was withdrawn, or its time is over--> failed --handed over--> gone
//!   announced --> a provider of a watched address --withdrawn--> not one
//! ```
//! A call is a stamped request, and has its number: so what tells repeats of messages tells those of calls and answers, wherever
//! either side is, and a call that a crash makes the program make again has the number it had. Of several providers a call goes to the
//! one that its number falls on, in the order of their ids, so that calls spread and the same call goes to the same provider as
//! long as they are the same.
//!
//! Always: a call ends once, and none is without an end: each has a deadline, by the program's own clock. All of it is in a snapshot.

mod saved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wayfare_protocol::address::{Address, SERVICES_MAX};
use wayfare_protocol::call::{self, FailureKind, OPEN_CALLS_MAX, Outcome, Sent};
use wayfare_protocol::ids::{ProgramId, is_name};
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::Topic;

use crate::letter::Letter;
use crate::{Mail, Manner, REPLIABLE_MAX, Refusal};

/// Addresses that a program has called.
const ADDRESSES_MAX: usize = 64;
/// Providers of one address that are known; of more, those with the highest ids are left out.
const PROVIDERS_MAX: usize = 256;

const AT_LEAST_ONCE: Manner = Manner {
    at_least_once: true,
    retain: false,
    plain: false,
};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Calls {
    serves: BTreeSet<String>,
    /// Who can be called there, as far as it was announced.
    providers: BTreeMap<Address, BTreeSet<ProgramId>>,
    open: BTreeMap<u64, Open>,
    /// Calls that the program has received and not answered: number and where the answer goes.
    taken: VecDeque<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    address: Address,
    provider: ProgramId,
    /// By the program's clock.
    until_ns: u64,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Answered(Letter),
    /// The provider cannot be called any more.
    Withdrawn,
}

/// What of a message that came is the calls' own.
pub(super) enum Incoming {
    /// Nothing: it is a message like any other.
    Foreign,
    /// For the inbox.
    Inbox,
    /// It changes who can be called.
    Announced,
    /// Not for this program, or nothing new.
    Useless,
}

impl Mail {
    /// Provides a service. What is sent to the program's addresses comes through the inbox once [`Mail::is_serving`] says so.
    pub fn serve(&mut self, service: &str) -> Result<(), Refusal> {
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
        let inbox = self.inbox_topic();
        self.subscribe_to(&inbox, true)?;
        self.calls.serves.insert(service.to_owned());
        Ok(())
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
        let providers = &self.calls.providers;
        if !providers.contains_key(address) && providers.len() >= ADDRESSES_MAX {
            return Err(Refusal::TooMany);
        }
        let filter = self.home.topics.all_at(address);
        self.subscribe_to(&filter, true)?;
        self.calls.providers.entry(address.clone()).or_default();
        Ok(())
    }

    /// Whether the broker has refused to tell who can be called there.
    pub fn is_watch_refused(&self, address: &Address) -> bool {
        self.is_granted(&self.home.topics.all_at(address)).is_none()
    }

    /// Calls a function, and returns the call's number; `None`: nobody who can be called there is known. `deadline_ms` is what the
    /// provider is told, `until_ns` when the call has failed.
    pub fn call(
        &mut self,
        address: &Address,
        (function, arguments): (&str, &[u8]),
        deadline_ms: u64,
        until_ns: u64,
    ) -> Result<Option<u64>, Refusal> {
        if !call::is_function(function) {
            return Err(Refusal::Malformed);
        }
        self.watch(address)?;
        if self.calls.open.len() >= OPEN_CALLS_MAX {
            return Err(Refusal::TooMany);
        }
        let Some(provider) = self.calls.chosen(address, self.published) else {
            return Ok(None);
        };
        let reply_to = self.reply_topic();
        self.subscribe_to(&reply_to, true)?;
        let header = Sent::Call {
            to: address.clone(),
            function: function.to_owned(),
            deadline_ms,
        };
        let number = self.published;
        let topic = self.home.topics.topic(&Topic::ProgramInbox(provider));
        let payload = call::encode(&header, arguments);
        self.send(&topic, &payload, AT_LEAST_ONCE, Purpose::Request { reply_to })?;
        let open = Open {
            address: address.clone(),
            provider,
            until_ns,
            state: self
                .replies
                .take_early(number)
                .filter(|letter| is_from(provider, letter))
                .map_or(State::Waiting, State::Answered),
        };
        self.calls.open.insert(number, open);
        Ok(Some(number))
    }

    /// Sends a message to one program of the address; `false`: none is known.
    pub fn send_to(&mut self, address: &Address, payload: &[u8]) -> Result<bool, Refusal> {
        self.watch(address)?;
        let Some(provider) = self.calls.chosen(address, self.published) else {
            return Ok(false);
        };
        let header = Sent::Message { to: address.clone() };
        let topic = self.home.topics.topic(&Topic::ProgramInbox(provider));
        self.send(
            &topic,
            &call::encode(&header, payload),
            AT_LEAST_ONCE,
            Purpose::Message,
        )?;
        Ok(true)
    }

    /// What became of this call, or of the first of all that have ended, and its number. `None`: it is open.
    pub fn outcome(&self, call: Option<u64>, now_ns: u64) -> Result<Option<(u64, Outcome)>, Refusal> {
        let open = &self.calls.open;
        let ended = |(number, one): (&u64, &Open)| Some((*number, one.outcome(now_ns)?));
        match call {
            Some(number) => match open.get_key_value(&number) {
                Some(one) => Ok(ended(one)),
                None => Err(Refusal::NotRepliable),
            },
            None if open.is_empty() => Err(Refusal::NotRepliable),
            None => Ok(open.iter().find_map(ended)),
        }
    }

    /// When this call, or the first of all, has ended in any case.
    pub fn outcome_due_ns(&self, call: Option<u64>) -> Option<u64> {
        let open = self.calls.open.iter();
        let wanted = open.filter(|(number, _)| call.is_none_or(|call| call == **number));
        wanted.map(|(_, one)| one.until_ns).min()
    }

    /// The outcome was handed over, or is not waited for any longer.
    pub fn end_call(&mut self, number: u64) {
        self.calls.open.remove(&number);
    }

    /// Answers a call that was received; once.
    pub fn answer(&mut self, reply_to: &str, number: u64, outcome: &Outcome) -> Result<(), Refusal> {
        let taken = |(taken, topic): &(u64, String)| *taken == number && topic == reply_to;
        let at = self
            .calls
            .taken
            .iter()
            .position(taken)
            .ok_or(Refusal::NotRepliable)?;
        let purpose = Purpose::Reply { answers: number };
        self.send(reply_to, &outcome.encode(), AT_LEAST_ONCE, purpose)?;
        self.calls.taken.remove(at);
        Ok(())
    }

    /// What a message in the inbox was sent to one of the program's addresses as; `None`: it came to a topic.
    pub fn sent_here<'a>(&self, letter: &'a Letter) -> Option<(Sent, &'a [u8])> {
        match self.home.topics.parse(&letter.topic)? {
            Topic::ProgramInbox(program) if program == self.home.program => {
                call::decode_sent(&letter.payload)
            }
            _ => None,
        }
    }

    /// Whether this is a call or message of the program's own, to an address that it may call.
    pub(super) fn may_have_sent(&self, payload: &[u8]) -> bool {
        let (stamp, payload) = Stamp::take_off(payload);
        let is_own = stamp.is_some_and(|stamp| stamp.sender == self.home.program);
        is_own
            && call::decode_sent(payload).is_some_and(|(sent, _)| match &sent {
                Sent::Call { to, .. } | Sent::Message { to } => self.grants.may_call(to),
            })
    }

    /// The broker has lost the session: who can be called is told anew.
    pub fn forget_providers(&mut self) {
        self.calls.providers.values_mut().for_each(BTreeSet::clear);
    }

    pub(super) fn inbox_topic(&self) -> String {
        self.home.topics.topic(&Topic::ProgramInbox(self.home.program))
    }

    pub(super) fn incoming(&self, letter: &Letter) -> Incoming {
        match self.home.topics.parse(&letter.topic) {
            // Nothing that is sent to a program is retained: it would come again with each subscription.
            Some(Topic::ProgramInbox(_)) if letter.retained => Incoming::Useless,
            Some(Topic::ProgramInbox(_)) => match (self.sent_here(letter), letter.stamp.as_ref()) {
                (Some((Sent::Call { .. }, _)), Some(stamp)) if self.answers_to(stamp).is_some() => {
                    Incoming::Inbox
                }
                (Some((Sent::Message { .. }, _)), _) => Incoming::Inbox,
                _ => Incoming::Useless,
            },
            Some(Topic::Address(address, program)) => match self.calls.changes(&address, program, letter) {
                true => Incoming::Announced,
                false => Incoming::Useless,
            },
            _ => Incoming::Foreign,
        }
    }

    /// The program takes a call from the inbox: it can answer it from now on. `false`: it is no call.
    pub(super) fn take_call(&mut self, letter: &Letter) -> bool {
        if !matches!(self.sent_here(letter), Some((Sent::Call { .. }, _))) {
            return false;
        }
        if let Some(stamp) = &letter.stamp
            && let Some(reply_to) = self.answers_to(stamp)
        {
            if self.calls.taken.len() >= REPLIABLE_MAX {
                self.calls.taken.pop_front();
            }
            self.calls.taken.push_back((stamp.number, reply_to));
        }
        true
    }

    /// Only to the sender's own topic for replies: else anybody could have the program publish anywhere.
    fn answers_to(&self, stamp: &Stamp) -> Option<String> {
        let own = self.home.topics.topic(&Topic::ProgramReply(stamp.sender));
        match &stamp.purpose {
            Purpose::Request { reply_to } if *reply_to == own => Some(own),
            _ => None,
        }
    }

    /// Who can be called changes, as `letter` says.
    pub(super) fn announced(&mut self, letter: &Letter) {
        if let Some(Topic::Address(address, program)) = self.home.topics.parse(&letter.topic) {
            self.calls
                .announced(&address, program, !letter.payload.is_empty());
        }
    }

    /// A copy of another program is sent and answers none of its calls, has made none, and is asked at addresses of its own.
    pub(super) fn leave_calls_to(&mut self, original: ProgramId) {
        self.calls.open.clear();
        self.calls.taken.clear();
        self.forget_providers();
        let theirs = self.home.topics.topic(&Topic::ProgramInbox(original));
        self.inbox.retain(|letter| letter.topic != theirs);
        if let Some(subscription) = self.subscriptions.remove(&theirs) {
            let own = self.inbox_topic();
            self.subscriptions.insert(own, subscription);
        }
    }
}

impl Open {
    fn outcome(&self, now_ns: u64) -> Option<Outcome> {
        match &self.state {
            State::Answered(letter) => Some(Outcome::decode(&letter.payload)),
            State::Withdrawn => {
                let reason = format!("its provider, program {}, is gone", self.provider);
                Some(Outcome::Failed(FailureKind::Unavailable, reason))
            }
            State::Waiting if self.until_ns <= now_ns => {
                let reason = format!("program {} has not answered in time", self.provider);
                Some(Outcome::Failed(FailureKind::DeadlineExceeded, reason))
            }
            State::Waiting => None,
        }
    }
}

fn is_from(program: ProgramId, letter: &Letter) -> bool {
    letter.stamp.as_ref().is_some_and(|stamp| stamp.sender == program)
}

impl Calls {
    pub(super) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// A call without an answer is open, which may be behind other messages at the broker.
    pub(super) fn is_waiting(&self) -> bool {
        self.open.values().any(|one| one.state == State::Waiting)
    }

    /// Nobody is known at an address that is watched: who is there may be announced behind other messages.
    pub(super) fn is_looking(&self) -> bool {
        self.providers.values().any(BTreeSet::is_empty)
    }

    /// Whether an answer to this number is waited for, and this one is its provider's.
    pub(super) fn wants(&self, answers: u64, letter: &Letter) -> bool {
        let open = self.open.get(&answers);
        open.is_some_and(|one| one.state == State::Waiting && is_from(one.provider, letter))
    }

    pub(super) fn put(&mut self, answers: u64, letter: Letter) {
        if let Some(one) = self.open.get_mut(&answers) {
            one.state = State::Answered(letter);
        }
    }

    fn chosen(&self, address: &Address, number: u64) -> Option<ProgramId> {
        let providers = self.providers.get(address)?;
        let count = u64::try_from(providers.len()).ok()?;
        let at = usize::try_from(number.checked_rem(count)?).ok()?;
        providers.iter().nth(at).copied()
    }

    fn changes(&self, address: &Address, program: ProgramId, letter: &Letter) -> bool {
        let Some(providers) = self.providers.get(address) else {
            return false;
        };
        match letter.payload.is_empty() {
            true => providers.contains(&program),
            false => !providers.contains(&program) && providers.len() < PROVIDERS_MAX,
        }
    }

    fn announced(&mut self, address: &Address, program: ProgramId, is_there: bool) {
        let Some(providers) = self.providers.get_mut(address) else {
            return;
        };
        if is_there {
            providers.insert(program);
            return;
        }
        providers.remove(&program);
        for one in self.open.values_mut() {
            if one.provider == program && one.address == *address && one.state == State::Waiting {
                one.state = State::Withdrawn;
            }
        }
    }

    pub(super) fn keep_addresses(&mut self, may_call: impl Fn(&Address) -> bool) {
        self.providers.retain(|address, _| may_call(address));
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.providers.keys()
    }

    pub(super) fn keep_services(&mut self, may_serve: impl Fn(&str) -> bool) {
        self.serves.retain(|service| may_serve(service));
    }

    /// What was read answers only where programs wait for answers.
    pub(super) fn is_sound(&self, is_reply: impl Fn(&str) -> bool) -> bool {
        self.taken.iter().all(|(_, topic)| is_reply(topic))
    }
}
