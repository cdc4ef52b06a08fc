//! A program's messages: what it is subscribed to, what came and was not handed over, what it published and
//! the broker has not acknowledged, and what repeats are told by. A pure core: the program's host calls are
//! on one side, its MQTT session (the engine's `shell::session`) on the other, both under the mutex of the
//! program's `control`.
//!
//! ```text
//!   session --accept--> inbox --take--> program        numbered as they come, for the journal
//!   program --publish--> outbox --next_to_send--> session --sent--> gone      numbered as they go
//! ```
//! Always: everything is bounded; a full inbox holds the session up and a full outbox the program, and
//! nothing is dropped; all of it is in a snapshot (`state`), so that a message is in exactly one of the
//! broker, an inbox and the program's own memory.
#![forbid(unsafe_code)]

mod calls;
mod intake;
mod message;
mod replies;
mod retained;
mod seen;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use wayfare_protocol::call::Outcome;
use wayfare_protocol::grants::{Grants, is_filter, is_topic};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::life;
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::numbers::Traffic;
use wayfare_protocol::qos::Qos;
use wayfare_protocol::stamp::{Purpose, Stamp};
use wayfare_protocol::topics::{Topic, Topics};

pub use calls::{Attention, CallOptions};
use calls::{Calls, Incoming};
pub use intake::Intake;
pub use message::{Outgoing, Reader, ReceivedMessage};
use replies::{Replies, answered};
use retained::Retained;
pub use retained::{RETAINED_BYTES_MAX, RETAINED_TOPICS_MAX};
use seen::Seen;

pub const SUBSCRIPTIONS_MAX: usize = 1024;
pub const INBOX_MESSAGES_MAX: usize = 1024;
pub const INBOX_BYTES_MAX: usize = 4 << 20;
/// While a reply or an announcement is awaited: it may be behind others at the broker, and the program takes
/// none of these before it has it.
pub const INBOX_MESSAGES_AWAITING_MAX: usize = 16 * 1024;
pub const INBOX_BYTES_AWAITING_MAX: usize = 16 << 20;
pub const OUTBOX_MESSAGES_MAX: usize = 1024;
pub const OUTBOX_BYTES_MAX: usize = 4 << 20;
/// Requests that were received and may still be replied to; of more, the oldest can no longer be.
const REPLIABLE_MAX: usize = 1024;

/// Who the program is and where it runs: nothing of this is in a snapshot.
#[derive(Debug, Clone)]
pub struct Home {
    pub program: ProgramId,
    pub engine: String,
    pub topics: Topics,
}

pub struct Mail {
    home: Home,
    grants: Grants,
    /// By filter.
    subscriptions: BTreeMap<String, Subscription>,
    /// Filters that the broker may still have.
    unsubscribed: BTreeMap<String, ()>,
    inbox: VecDeque<ReceivedMessage>,
    inbox_bytes: usize,
    arrived: u64,
    outbox: VecDeque<Outgoing>,
    outbox_bytes: usize,
    published: u64,
    /// Numbers below were handed to the session that is open now.
    submitted: u64,
    seen: Seen,
    replies: Replies,
    /// A request whose reply is waited for, and which the broker has: in a snapshot it stands before the
    /// outbox, as if it had not.
    asked: Option<Outgoing>,
    asks_again: bool,
    repliable: VecDeque<(u64, String)>,
    retained: Retained,
    calls: Calls,
    was_moved: bool,
    /// Since it came here: in no snapshot.
    traffic: Traffic,
    /// There is, or may be, a session of this program's at the broker.
    has_session: bool,
    /// The engine's wall clock when it was last told; 0: not at all.
    now_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subscription {
    qos: Qos,
    /// The broker has granted it, in the session that it keeps.
    is_granted: bool,
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    NotGranted,
    TooLarge,
    TooMany,
    /// The outbox is full: wait.
    Full,
    /// Nobody waits for that reply, or it was given.
    NotRepliable,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    pub qos: Qos,
    pub retain: bool,
    /// Without a stamp, for receivers that know nothing of Wayfare.
    pub plain: bool,
}

/// What became of a message that came.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    /// In the inbox: journal it, then acknowledge it.
    Taken(ReceivedMessage),
    /// Seen before, or not for a program: acknowledge it.
    Dropped,
    /// No room: offer it again when there is.
    Full,
}

impl Mail {
    pub fn new(home: Home, grants: Grants) -> Self {
        Self {
            home,
            grants,
            subscriptions: BTreeMap::new(),
            unsubscribed: BTreeMap::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            arrived: 0,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            published: 0,
            submitted: 0,
            seen: Seen::default(),
            replies: Replies::default(),
            asked: None,
            asks_again: false,
            repliable: VecDeque::new(),
            retained: Retained::default(),
            calls: Calls::default(),
            was_moved: false,
            traffic: Traffic::default(),
            has_session: false,
            now_ms: 0,
        }
    }

    /// For an instance that never runs.
    pub fn nobody() -> Self {
        let home = Home {
            program: ProgramId::from_bytes([0; 16]),
            engine: String::new(),
            topics: Topics::default(),
        };
        Self::new(home, Grants::default())
    }

    /// What messages expire by, in milliseconds since 1970.
    pub fn set_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The life that begins as this generation does so now, unless it has begun: what is published from here
    /// on has numbers that no other has. What stands in the outbox was published before, and keeps its
    /// numbers.
    pub fn begin_life(&mut self, begun: Generation) {
        self.published = self.published.max(life::first_number(begun));
    }

    /// The first number of the life that the program lives.
    pub fn life(&self) -> u64 {
        life::first_number_of(self.published)
    }

    // What the program asks.

    pub fn subscribe(&mut self, filter: &str, qos: Qos) -> Result<(), Refusal> {
        if !is_filter(filter) {
            return Err(Refusal::Malformed);
        }
        if !self.grants.may_subscribe(filter) {
            return Err(Refusal::NotGranted);
        }
        self.subscribe_to(filter, qos)
    }

    fn subscribe_to(&mut self, filter: &str, qos: Qos) -> Result<(), Refusal> {
        let known = self.subscriptions.get(filter);
        if known.is_some_and(|known| known.qos == qos) {
            return Ok(());
        }
        if known.is_none() && self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Refusal::TooMany);
        }
        self.unsubscribed.remove(filter);
        let subscription = Subscription {
            qos,
            is_granted: false,
        };
        self.subscriptions.insert(filter.to_owned(), subscription);
        Ok(())
    }

    /// Whether the broker has granted it; `None`: it is not asked for, or was refused.
    pub fn is_granted(&self, filter: &str) -> Option<bool> {
        self.subscriptions.get(filter).map(|one| one.is_granted)
    }

    pub fn unsubscribe(&mut self, filter: &str) -> Result<(), Refusal> {
        if self.subscriptions.remove(filter).is_some() {
            if self.unsubscribed.len() >= SUBSCRIPTIONS_MAX {
                self.unsubscribed.pop_first();
            }
            self.unsubscribed.insert(filter.to_owned(), ());
            return Ok(());
        }
        match is_filter(filter) {
            true => Ok(()),
            false => Err(Refusal::Malformed),
        }
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8], manner: Manner) -> Result<(), Refusal> {
        self.check_topic(topic)?;
        if manner.retain && !self.retained.takes(topic, payload.len()) {
            return Err(Refusal::TooMany);
        }
        self.send(topic, payload, manner, Purpose::Message)?;
        if manner.retain {
            self.retained.put(topic, payload.len());
        }
        Ok(())
    }

    /// For a snapshot: what the program has retained at the broker.
    pub fn retained(&self) -> Vec<(u64, u32)> {
        self.retained.save()
    }

    /// The same from a snapshot.
    pub fn restore_retained(&mut self, saved: Vec<(u64, u32)>) {
        self.retained = Retained::restore(saved);
    }

    /// A request whose reply is the only one waited for from now on.
    pub fn request(&mut self, topic: &str, payload: &[u8]) -> Result<(), Refusal> {
        self.check_topic(topic)?;
        let reply_to = self.reply_topic();
        self.subscribe_to(&reply_to, Qos::AtLeastOnce)?;
        let manner = Manner {
            qos: Qos::AtLeastOnce,
            ..Manner::default()
        };
        let request = self.published;
        self.send(topic, payload, manner, Purpose::Request { reply_to })?;
        self.replies.request(request);
        Ok(())
    }

    /// To a request that was received; once. Whoever sent it chose the topic, so only the sender's own topic
    /// for replies is taken, or one that the program may publish on anyway: else anybody could have it
    /// publish anywhere.
    pub fn reply(&mut self, reply_to: &str, answers: u64, payload: &[u8]) -> Result<(), Refusal> {
        let at = self
            .repliable
            .iter()
            .position(|(number, topic)| *number == answers && topic == reply_to);
        let Some(at) = at else {
            // A call is replied to with its result.
            return self.answer(reply_to, answers, &Outcome::Done(payload.to_vec()));
        };
        let manner = Manner {
            qos: Qos::AtLeastOnce,
            ..Manner::default()
        };
        self.send(reply_to, payload, manner, Purpose::Reply { answers })?;
        self.repliable.remove(at);
        Ok(())
    }

    /// Whether a reply is awaited, and the reply if it is there.
    pub fn awaited_reply(&self) -> Result<Option<&ReceivedMessage>, Refusal> {
        self.replies.awaited().ok_or(Refusal::NotRepliable)
    }

    /// The reply was handed over, or is not waited for any longer.
    pub fn end_request(&mut self) {
        self.replies.end_request();
        self.asked = None;
    }

    /// The number of a request that the broker has and that nobody has replied to.
    pub fn unanswered(&self) -> Option<u64> {
        let asked = self.asked.as_ref()?.number;
        (self.replies.unanswered() == Some(asked)).then_some(asked)
    }

    /// Sends that request once more, under its number: nobody may have been subscribed when it was sent.
    /// Whoever has it takes this for a repeat.
    pub fn ask_again(&mut self) {
        self.asks_again = self.unanswered().is_some();
    }

    /// The next message for the program.
    pub fn first(&self) -> Option<&ReceivedMessage> {
        self.inbox.get(self.next_in_inbox()?)
    }

    /// The next message was handed over.
    pub fn take_first(&mut self) {
        let next = self.next_in_inbox();
        let Some(message) = next.and_then(|at| self.remove_from_inbox(at)) else {
            return;
        };
        if self.take_call(&message) {
            return;
        }
        if let Some(stamp) = &message.stamp
            && let Some(reply_to) = self.replies_go_to(stamp)
        {
            let reply = (stamp.number, reply_to.to_owned());
            if self.repliable.len() >= REPLIABLE_MAX {
                self.repliable.pop_front();
            }
            self.repliable.push_back(reply);
        }
    }

    /// Where replies to a request go, if they may: to whoever asked, or where the program may publish.
    fn replies_go_to<'a>(&self, stamp: &'a Stamp) -> Option<&'a str> {
        let Purpose::Request { reply_to } = &stamp.purpose else {
            return None;
        };
        let is_its = *reply_to == self.home.topics.topic(&Topic::ProgramReply(stamp.sender));
        (is_its || self.check_topic(reply_to).is_ok()).then_some(reply_to.as_str())
    }

    /// Whether the program was moved since [`Mail::take_was_moved`] was last asked.
    pub fn was_moved(&self) -> bool {
        self.was_moved
    }

    /// Whether the program was moved since this was last asked.
    pub fn take_was_moved(&mut self) -> bool {
        std::mem::take(&mut self.was_moved)
    }

    pub fn publishes_per_second_max(&self) -> Option<u32> {
        self.grants.publishes_per_second_max
    }

    fn reply_topic(&self) -> String {
        let home = &self.home;
        home.topics.topic(&Topic::ProgramReply(home.program))
    }

    /// Whether a snapshot may have a message to be sent: what [`Mail::publish`], [`Mail::reply`] or
    /// [`Mail::call`] let through.
    fn may_hold(&self, outgoing: &Outgoing) -> bool {
        match self.home.topics.parse(&outgoing.topic) {
            Some(Topic::ProgramInbox(_)) => self.may_have_sent(&outgoing.payload),
            _ => self.may_reply_to(&outgoing.topic),
        }
    }

    fn may_reply_to(&self, topic: &str) -> bool {
        self.check_topic(topic).is_ok()
            || matches!(self.home.topics.parse(topic), Some(Topic::ProgramReply(_)))
    }

    fn check_topic(&self, topic: &str) -> Result<(), Refusal> {
        if !is_topic(topic) {
            return Err(Refusal::Malformed);
        }
        match self.grants.may_publish(topic) && !self.home.topics.is_ours(topic) {
            true => Ok(()),
            false => Err(Refusal::NotGranted),
        }
    }

    fn send(&mut self, topic: &str, payload: &[u8], manner: Manner, purpose: Purpose) -> Result<(), Refusal> {
        let stamp = Stamp {
            sender: self.home.program,
            number: self.published,
            purpose,
        };
        // Empty and retained, it clears what the broker keeps. With a stamp it would be kept itself.
        let is_plain = manner.plain || manner.retain && payload.is_empty();
        if is_plain && Stamp::take_off(payload).0.is_some() {
            return Err(Refusal::Malformed);
        }
        let stamp_bytes = if is_plain { 0 } else { stamp.bytes() };
        if payload.len() + stamp_bytes > PAYLOAD_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        self.has_room_to_send(1)?;
        let outgoing = Outgoing {
            number: self.published,
            topic: topic.to_owned(),
            payload: match is_plain {
                true => payload.to_vec(),
                false => stamp.put_on(payload),
            },
            qos: manner.qos,
            retain: manner.retain,
        };
        self.published += 1;
        self.traffic.sent(payload.len());
        self.outbox_bytes += outgoing.bytes();
        self.outbox.push_back(outgoing);
        Ok(())
    }

    /// For so many messages that each would be taken alone.
    fn has_room_to_send(&self, count: usize) -> Result<(), Refusal> {
        let is_full =
            self.outbox.len() + count > OUTBOX_MESSAGES_MAX || self.outbox_bytes >= OUTBOX_BYTES_MAX;
        if is_full { Err(Refusal::Full) } else { Ok(()) }
    }

    // What the session asks.

    /// There is something to send or to ask of the broker, or something may come.
    pub fn wants_session(&self) -> bool {
        !self.subscriptions.is_empty() || !self.is_all_sent() || self.has_session
    }

    pub fn has_session(&self) -> bool {
        self.has_session
    }

    /// A session begins at this engine: everything that is not acknowledged is sent through it.
    pub fn begin_session(&mut self) {
        self.has_session = true;
        self.submitted = self.outbox.front().map_or(self.published, |first| first.number);
        self.begin_notices();
    }

    /// The broker knew nothing of the session: everything must be subscribed again.
    pub fn session_lost(&mut self) {
        self.unsubscribed.clear();
        for subscription in self.subscriptions.values_mut() {
            subscription.is_granted = false;
        }
    }

    /// What the broker has not granted yet; `true`: at least once.
    pub fn to_subscribe(&self) -> Vec<(String, Qos)> {
        let open = self.subscriptions.iter().filter(|(_, one)| !one.is_granted);
        open.map(|(filter, one)| (filter.clone(), one.qos)).collect()
    }

    /// What the broker has granted already, in the session that it keeps.
    pub fn granted_subscriptions(&self) -> Vec<(String, Qos)> {
        let granted = self.subscriptions.iter().filter(|(_, one)| one.is_granted);
        granted.map(|(filter, one)| (filter.clone(), one.qos)).collect()
    }

    pub fn to_unsubscribe(&self) -> Vec<String> {
        self.unsubscribed.keys().cloned().collect()
    }

    pub fn granted(&mut self, filter: &str, qos: Qos) {
        if let Some(one) = self.subscriptions.get_mut(filter) {
            one.is_granted = one.qos == qos;
        }
        self.ask_for_barriers();
    }

    /// The broker will not have it: asked again, it would refuse again.
    pub fn subscription_refused(&mut self, filter: &str) {
        self.subscriptions.remove(filter);
        if filter == self.inbox_topic() {
            self.calls.keep_services(|_| false);
            self.calls.keep_listening(false);
        }
    }

    pub fn unsubscribed(&mut self, filter: &str) {
        self.unsubscribed.remove(filter);
    }

    pub fn accept(&mut self, topic: &str, payload: &[u8], retained: bool) -> Accepted {
        let (mut stamp, payload) = Stamp::take_off(payload);
        // A request that cannot be answered is a message: a program that answers what it is asked does not
        // fail for it.
        if let Some(stamp) = &mut stamp
            && matches!(stamp.purpose, Purpose::Request { .. })
            && self.replies_go_to(stamp).is_none()
        {
            stamp.purpose = Purpose::Message;
        }
        let message = ReceivedMessage {
            number: self.arrived,
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            retained,
            stamp,
        };
        let answers = answered(&message);
        let incoming = self.incoming(&message);
        let is_wanted = match (answers, &incoming) {
            (Some(answers), _) => topic == self.reply_topic() && self.wants(answers, &message),
            (None, Incoming::Inbox | Incoming::Announced) => true,
            (None, Incoming::Useless) => false,
            (None, Incoming::Expired) => {
                self.tell_delivery(&message, true);
                false
            }
            // A filter such as '#' also brings what Wayfare's own parts say to each other.
            (None, Incoming::Foreign) => !self.home.topics.is_ours(topic),
        };
        if !is_wanted {
            return Accepted::Dropped;
        }
        let is_for_inbox = answers.is_none() && !matches!(incoming, Incoming::Announced);
        if is_for_inbox && !self.has_room_for(&message) {
            self.remove_unwanted();
            if !self.has_room_for(&message) {
                return Accepted::Full;
            }
        }
        // What the broker keeps for those who come later comes once for each subscription. An answer that is
        // waited for has not come: if its number has, a provider that was set back uses that for something
        // else than before.
        if let Some(stamp) = message.stamp.as_ref().filter(|_| !retained && answers.is_none())
            && !self.seen.is_new(stamp.sender, stamp.number)
        {
            // A sender that was set back does not know of the receipt that it had.
            if self.inbox.iter().all(|waiting| waiting.stamp != message.stamp) {
                self.tell_delivery(&message, false);
            }
            return Accepted::Dropped;
        }
        self.arrived += 1;
        self.traffic.received(message.payload.len());
        self.put(message.clone());
        Accepted::Taken(message)
    }

    /// Hands a message over again that was journaled after the snapshot was made. Others are skipped.
    pub fn replay(&mut self, message: ReceivedMessage) {
        if message.number != self.arrived {
            return;
        }
        self.arrived += 1;
        if let Some(stamp) = message
            .stamp
            .as_ref()
            .filter(|_| !message.retained && answered(&message).is_none())
        {
            self.seen.is_new(stamp.sender, stamp.number);
        }
        self.put(message);
    }

    fn wants(&self, answers: u64, message: &ReceivedMessage) -> bool {
        self.calls.wants(answers, message) || self.replies.wants(answers, self.published)
    }

    fn put(&mut self, message: ReceivedMessage) {
        if let Some(answers) = answered(&message) {
            if self.calls.wants(answers, &message) {
                self.calls.put(answers, &message);
                self.send_picked();
                self.relay_ends();
            } else if self.replies.wants(answers, self.published) {
                self.replies.put(answers, message);
            }
            return;
        }
        if self.announced(&message) {
            return;
        }
        self.inbox_bytes += message.bytes();
        self.inbox.push_back(message);
    }

    /// An empty inbox has room for any.
    fn has_room_for(&self, message: &ReceivedMessage) -> bool {
        let (messages, bytes) = match self.replies.awaited() {
            Some(None) => (INBOX_MESSAGES_AWAITING_MAX, INBOX_BYTES_AWAITING_MAX),
            _ if self.calls.is_waiting() || self.calls.is_looking() => {
                (INBOX_MESSAGES_AWAITING_MAX, INBOX_BYTES_AWAITING_MAX)
            }
            Some(Some(_)) | None => (INBOX_MESSAGES_MAX, INBOX_BYTES_MAX),
        };
        self.inbox.is_empty() || self.inbox.len() < messages && self.inbox_bytes + message.bytes() <= bytes
    }

    /// How many messages were accepted in the program's whole life.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// What it received and sent since it came here, and how many messages it has not taken yet.
    pub fn traffic(&self) -> (Traffic, usize) {
        (self.traffic, self.inbox.len())
    }

    /// The number of the next message that the program publishes.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// The next message for the session to send.
    pub fn next_to_send(&mut self) -> Option<Outgoing> {
        if std::mem::take(&mut self.asks_again) && self.unanswered().is_some() {
            return self.asked.clone();
        }
        let at = self.outbox.partition_point(|one| one.number < self.submitted);
        let next = self.outbox.get(at).map(|one| one.number);
        if let Some(notice) = self.next_notice(next.unwrap_or(u64::MAX)) {
            return Some(notice);
        }
        let outgoing = self.outbox.get(at)?.clone();
        self.submitted = outgoing.number + 1;
        Some(outgoing)
    }

    /// It could not be handed over after all.
    pub fn send_again(&mut self, number: u64) {
        if self.notice_again(number) {
            return;
        }
        if self.unanswered() == Some(number) {
            return self.ask_again();
        }
        self.submitted = self.submitted.min(number);
    }

    /// The broker has this one, and all that were handed to it before.
    pub fn sent(&mut self, number: u64) {
        if self.notice_sent(number) {
            return;
        }
        while let Some(first) = self.outbox.front()
            && first.number <= number
        {
            self.outbox_bytes -= first.bytes();
            let sent = self.outbox.pop_front();
            self.asked = sent
                .filter(|sent| self.replies.unanswered() == Some(sent.number))
                .or(self.asked.take());
        }
        self.inquire();
    }

    pub fn is_all_sent(&self) -> bool {
        self.outbox.is_empty() && self.has_no_notices()
    }
}
