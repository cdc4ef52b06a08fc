//! Calls that the program makes, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use wayfare_protocol::address::Address;
use wayfare_protocol::call::{self, OPEN_CALLS_MAX, Outcome, Sent};
use wayfare_protocol::choice::{Choice, Loads};
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::Purpose;
use wayfare_protocol::topics::Topic;

use super::open::{Delivery, Keys, Open, Relay, State, What};
use super::{AT_LEAST_ONCE, Calls, is_from};
use crate::{Mail, Refusal};

/// Bytes of calls and messages that are kept for being sent again.
pub(super) const KEPT_BYTES_MAX: usize = 1 << 20;

/// How a call is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// The caller takes progress.
    pub progress: bool,
    /// It may be done twice: it is sent again where the provider was set back to before it came.
    pub idempotent: bool,
    /// While a call of the same address, function and key is open, this one is not made, and gets the end of
    /// that.
    pub coalesce: Option<String>,
    /// Calls of the same address, function and key that are open are cancelled.
    pub supersede: Option<String>,
    /// Which of several providers is called.
    pub choose: Choice,
    /// What the dispatcher has said of the providers' engines, where the choice asks for that.
    pub loads: Loads,
}

impl Mail {
    /// Calls a function, and returns the call's number; `None`: nobody who can be called there is known.
    /// `deadline_ms` is what the provider is told, `until_ns` when the call has failed.
    pub fn call(
        &mut self,
        address: &Address,
        (function, arguments): (&str, &[u8]),
        deadline_ms: u64,
        until_ns: u64,
        options: &CallOptions,
    ) -> Result<Option<u64>, Refusal> {
        let words = [&options.coalesce, &options.supersede];
        if !call::is_function(function) || !words.into_iter().flatten().all(|key| call::is_word(key)) {
            return Err(Refusal::Malformed);
        }
        self.watch(address)?;
        let keys = Keys {
            function: function.to_owned(),
            coalesce: options.coalesce.clone(),
            supersede: options.supersede.clone(),
        };
        if self.calls.open.len() >= OPEN_CALLS_MAX {
            return Err(Refusal::TooMany);
        }
        if let Some(number) = self.join(address, &keys, until_ns, options) {
            return Ok(Some(number));
        }
        let header = Sent::Call {
            to: address.clone(),
            function: function.to_owned(),
            deadline_ms,
            progress: options.progress,
        };
        if let Some(service) = options.choose.service() {
            let what = (&header, arguments);
            return self.call_picked(address, what, (service, until_ns), (keys, options));
        }
        let Some(provider) = self.choose(address, options)? else {
            return Ok(None);
        };
        let reply_to = self.reply_topic();
        self.subscribe_to(&reply_to, Qos::AtLeastOnce)?;
        let superseded = self.calls.superseded(address, &keys);
        self.has_room_to_send(superseded.len() + 1)?;
        let number = self.published;
        let topic = self.home.topics.topic(&Topic::ProgramInbox(provider));
        let payload = call::encode(&header, arguments);
        self.send(&topic, &payload, AT_LEAST_ONCE, Purpose::Request { reply_to })?;
        for earlier in superseded {
            self.cancel_as(earlier, State::Superseded)?;
        }
        self.note_chosen(address, provider, &options.choose);
        let mut open = Open::call(address.clone(), provider, number, until_ns);
        open.keys = keys;
        open.since_ms = self.now_ms;
        open.wants_progress = options.progress;
        if options.idempotent {
            open.again = self.kept(number);
        }
        if let Some(message) = self
            .replies
            .take_early(number)
            .filter(|message| is_from(provider, message))
        {
            open.end(provider, State::Answered(message), Delivery::Delivered);
        }
        self.calls.open.insert(number, open);
        Ok(Some(number))
    }

    /// What was sent last, for being sent again, if there is room to keep it.
    pub(super) fn kept(&self, number: u64) -> Option<Arc<[u8]>> {
        let bytes = self.calls.bytes_of(|one| one.again.as_ref());
        let sent = self.outbox.back().filter(|last| last.number == number)?;
        (bytes + sent.payload.len() <= KEPT_BYTES_MAX).then(|| sent.payload.as_slice().into())
    }

    /// The call gets the end of one that is open and has its key. It has a number of its own, which nothing
    /// is sent under.
    fn join(&mut self, address: &Address, keys: &Keys, until_ns: u64, options: &CallOptions) -> Option<u64> {
        keys.coalesce.as_ref()?;
        let is_same = |one: &&Open| {
            one.address == *address
                && one.keys.function == keys.function
                && one.keys.coalesce == keys.coalesce
                && !one.is_cancelled
                && one.relay.is_none()
        };
        let mut joined = self.calls.open.values().find(is_same)?.clone();
        joined.until_ns = until_ns;
        joined.since_ms = self.now_ms;
        joined.keys = keys.clone();
        joined.wants_progress = options.progress;
        joined.progress.clear();
        let number = self.published;
        self.published += 1;
        self.calls.open.insert(number, joined);
        Some(number)
    }

    /// Cancels a call: it ends now, and its provider is told. `false`: no such call is open.
    pub fn cancel(&mut self, number: u64) -> Result<bool, Refusal> {
        self.has_room_to_send(1)?;
        let open = self.calls.open.get(&number);
        match open.is_some_and(|one| matches!(one.what, What::Call { .. }) && one.relay.is_none()) {
            true => self.cancel_as(number, State::Cancelled).map(|()| true),
            false => Ok(false),
        }
    }

    /// The provider is told once nobody waits for the end any more. Whether it has come is of no matter: what
    /// is published does not depend on that, and so has the same numbers after a crash.
    pub(super) fn cancel_as(&mut self, number: u64, how: State) -> Result<(), Refusal> {
        let Some(one) = self.calls.open.get_mut(&number) else {
            return Ok(());
        };
        if one.is_cancelled {
            return Ok(());
        }
        one.cancel(how);
        one.keys.coalesce = None;
        one.keys.supersede = None;
        let (sent_as, address) = (one.sent_as, one.called().clone());
        let provider = one.receivers().first().copied();
        let others = self.calls.open.iter();
        let is_other =
            |(of, one): (&u64, &Open)| *of != number && one.sent_as == sent_as && !one.is_cancelled;
        let (Some(provider), false) = (provider, others.into_iter().any(is_other)) else {
            return Ok(());
        };
        let header = Sent::Cancel {
            to: address,
            call: sent_as,
        };
        let topic = self.home.topics.topic(&Topic::ProgramInbox(provider));
        let payload = call::encode(&header, &[]);
        self.send(&topic, &payload, AT_LEAST_ONCE, Purpose::Message)
    }

    /// Hands a call that was received on to whoever can be called at the address: its end answers this one.
    /// `None`: nobody is known there.
    pub fn hand_on(
        &mut self,
        (reply_to, number): (&str, u64),
        address: &Address,
        what: (&str, &[u8]),
        deadline_ms: u64,
        until_ns: u64,
    ) -> Result<Option<()>, Refusal> {
        let at = self
            .calls
            .position(reply_to, number)
            .ok_or(Refusal::NotRepliable)?;
        let options = CallOptions::default();
        let Some(call) = self.call(address, what, deadline_ms, until_ns, &options)? else {
            return Ok(None);
        };
        let relay = Relay {
            number: self.published,
            answers: number,
            reply_to: reply_to.to_owned(),
        };
        self.published += 1;
        self.calls.taken.remove(at);
        if let Some(one) = self.calls.open.get_mut(&call) {
            one.relay = Some(relay);
        }
        self.relay_ends();
        Ok(Some(()))
    }

    /// The next that its provider has told of how far a call is, or of any.
    pub fn first_progress(&self, call: Option<u64>) -> Option<(u64, &[u8])> {
        let open = self.calls.open.iter();
        let wanted =
            open.filter(|(number, one)| one.relay.is_none() && call.is_none_or(|call| call == **number));
        wanted
            .filter_map(|(number, one)| Some((*number, one.progress.front()?.as_slice())))
            .next()
    }

    /// It was handed over.
    pub fn take_progress(&mut self, call: u64) {
        if let Some(one) = self.calls.open.get_mut(&call) {
            one.progress.pop_front();
        }
    }

    /// What became of this call, or of the first of all that have ended, and its number. `None`: it is open.
    pub fn outcome(&self, call: Option<u64>, now_ns: u64) -> Result<Option<(u64, Outcome)>, Refusal> {
        let mut open = self.calls.own().peekable();
        let ended = |(number, one): (&u64, &Open)| Some((*number, one.outcome(now_ns)?));
        match call {
            Some(number) => match open.find(|(of, _)| **of == number) {
                Some(one) => Ok(ended(one)),
                None => Err(Refusal::NotRepliable),
            },
            None if open.peek().is_none() => Err(Refusal::NotRepliable),
            None => Ok(open.find_map(ended)),
        }
    }

    /// When this call, or the first of all, has ended in any case.
    pub fn outcome_due_ns(&self, call: Option<u64>) -> Option<u64> {
        let wanted = self
            .calls
            .own()
            .filter(|(number, _)| call.is_none_or(|call| call == **number));
        wanted.map(|(_, one)| one.until_ns).min()
    }

    /// The outcome was handed over, or is not waited for any longer.
    pub fn end_call(&mut self, number: u64) {
        self.calls.open.remove(&number);
    }
}

impl Calls {
    /// Of what is kept with open calls, where what has joined a call shares it.
    pub(super) fn bytes_of(&self, kept: impl Fn(&Open) -> Option<&Arc<[u8]>>) -> usize {
        let kept = self
            .open
            .values()
            .filter_map(|one| Some((one.sent_as, kept(one)?.len())));
        kept.collect::<BTreeMap<u64, usize>>().into_values().sum()
    }

    /// Calls that a new one of these keys takes the place of.
    pub(super) fn superseded(&self, address: &Address, keys: &Keys) -> Vec<u64> {
        let is_same = |one: &Open| {
            keys.supersede.is_some()
                && one.address == *address
                && one.keys.function == keys.function
                && one.keys.supersede == keys.supersede
                && !one.is_cancelled
        };
        let same = self.own().filter(|(_, one)| is_same(one));
        same.map(|(number, _)| *number).collect()
    }
}
