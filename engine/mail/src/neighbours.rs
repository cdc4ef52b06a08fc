//! Messages between programs of one engine, which need not go through the broker: which way each takes, and what the receiver does with
//! one that comes so.
//!
//! ```text
//!                the receiver is here, takes messages so, and has had the last that went to it through the broker
//!   to send --> given: in its inbox and to be written --written, synced--> sent
//!       \            \--its session ends before that--> through the broker
//!        \--otherwise, once it has synced all that it was given--> through the broker --acknowledged--> sent
//! ```
//! The sender keeps a message until the receiver's journal has it, as it does until the broker has acknowledged it. What always holds:
//! - Whatever one program sends another arrives in the order in which it was sent, whichever way each of it takes: one way is left for
//!   the other only when all that took it has arrived.
//! - Nothing that a program sends leaves its mail before what it was given is written to its journal. So a killed engine, which keeps what
//!   was written, does the same again in the same order.
//! - A program that hears topics on which another publishes is sent all of that one's messages through the broker.

use std::collections::BTreeMap;

use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::stamp::Stamp;
use wayfare_protocol::topics::Topic;

use crate::message::{Outgoing, ReceivedMessage};
use crate::{Accepted, Home, Mail};

/// Senders whose last message through the broker is remembered; of more, another one is forgotten, whose next message goes that way.
const HEARD_MAX: usize = 256;
/// Receivers that may be given messages. Others are sent theirs through the broker.
const PEERS_MAX: usize = 256;
/// Messages that were given and are not written yet: of more, they go through the broker.
const UNWRITTEN_MAX: usize = 256;

/// The programs of the engine whose sessions are open.
pub trait Neighbours {
    /// What tells the sender that the receiver has synced what it was given.
    type Receipt;
    /// `None`: the program is not here, or `look` has nothing.
    fn with<T>(
        &mut self,
        program: ProgramId,
        look: impl FnOnce(&mut Mail) -> Option<T>,
    ) -> Option<(T, Self::Receipt)>;
}

/// Which way a message takes.
#[derive(Debug, PartialEq, Eq)]
pub enum Way<R> {
    Broker,
    /// The program has it in its inbox; it is sent when all below this number of the receiver's is synced.
    Given(ProgramId, u64, R),
    /// Through the broker, and not before the program's receivers have synced what they were given.
    Later,
}

/// Decides which way each of a program's messages takes, for as long as one connection of its session.
#[derive(Debug, Default)]
pub struct Ways(BTreeMap<ProgramId, Peer>);

/// A program to which this one has sent something while both were here.
#[derive(Debug, Default)]
struct Peer {
    /// The number of the last message that went to it through the broker; `None`: none is known.
    last_by_broker: Option<u64>,
    /// It is subscribed to what this program publishes on topics.
    hears_topics: bool,
    /// Messages that it was given, and has not synced.
    given: u64,
}

/// What a mail knows of messages that come without the broker. Nothing of this is in a snapshot.
#[derive(Debug, Default)]
pub(super) struct Direct {
    /// Its session is open, and known to be this copy's.
    takes: bool,
    /// By sender: the number of its last message that came through the broker.
    heard: BTreeMap<ProgramId, u64>,
    /// Given, and not written to the journal.
    unwritten: Vec<ReceivedMessage>,
    /// A neighbour waits until what it gave is synced.
    is_awaited: bool,
}

impl Ways {
    /// The way of what is sent next, which is given to its receiver if it takes that way. `may_give`: the sender's own session is open,
    /// and known to be its.
    pub fn way<N: Neighbours>(
        &mut self,
        outgoing: &Outgoing,
        (home, may_give): (&Home, bool),
        neighbours: &mut N,
    ) -> Way<N::Receipt> {
        match receiver(home, outgoing) {
            Some(to) if to == home.program => Way::Broker,
            Some(to) => self.way_to(to, outgoing, (home, may_give), neighbours),
            None => self.way_of_topic(outgoing, neighbours),
        }
    }

    fn way_to<N: Neighbours>(
        &mut self,
        to: ProgramId,
        outgoing: &Outgoing,
        (home, may_give): (&Home, bool),
        neighbours: &mut N,
    ) -> Way<N::Receipt> {
        let Some(peer) = self.0.get_mut(&to) else {
            if self.0.len() < PEERS_MAX && neighbours.with(to, |_| Some(())).is_some() {
                self.0.entry(to).or_default().went_by_broker(outgoing);
            }
            return Way::Broker;
        };
        if may_give
            && !peer.hears_topics
            && let Some(last) = peer.last_by_broker
            && let Some((below, receipt)) =
                neighbours.with(to, |mail| mail.take_from_neighbour(outgoing, home.program, last))
        {
            peer.given += 1;
            return Way::Given(to, below, receipt);
        }
        if peer.given > 0 {
            await_sync(to, neighbours);
            return Way::Later;
        }
        peer.went_by_broker(outgoing);
        Way::Broker
    }

    fn way_of_topic<N: Neighbours>(&mut self, outgoing: &Outgoing, neighbours: &mut N) -> Way<N::Receipt> {
        for (program, peer) in &mut self.0 {
            peer.hears_topics = peer.hears_topics
                || neighbours
                    .with(*program, |mail| mail.hears(&outgoing.topic).then_some(()))
                    .is_some();
            if peer.hears_topics && peer.given > 0 {
                await_sync(*program, neighbours);
                return Way::Later;
            }
        }
        Way::Broker
    }

    /// The receiver has synced a message that it was given.
    pub fn synced(&mut self, to: ProgramId) {
        if let Some(peer) = self.0.get_mut(&to) {
            peer.given = peer.given.saturating_sub(1);
        }
    }

    /// The receiver's session has ended, and nobody knows whether it has synced this: it is sent through the broker.
    pub fn lost(&mut self, to: ProgramId, outgoing: &Outgoing) {
        self.synced(to);
        if let Some(peer) = self.0.get_mut(&to) {
            peer.went_by_broker(outgoing);
        }
    }
}

impl Peer {
    /// What has no stamp is the mail's own, and may overtake.
    fn went_by_broker(&mut self, outgoing: &Outgoing) {
        let stamp = Stamp::take_off(&outgoing.payload).0;
        self.last_by_broker = stamp.map(|stamp| stamp.number).or(self.last_by_broker);
    }
}

/// The receiver syncs what it was given, and waits for no more.
pub fn await_sync<N: Neighbours>(receiver: ProgramId, neighbours: &mut N) {
    neighbours.with(receiver, |mail| {
        mail.direct.is_awaited = true;
        Some(())
    });
}

/// The program whose own topic it is sent to.
fn receiver(home: &Home, outgoing: &Outgoing) -> Option<ProgramId> {
    match home.topics.parse(&outgoing.topic) {
        Some(Topic::ProgramInbox(to) | Topic::ProgramReply(to)) => Some(to),
        _ => None,
    }
}

impl Mail {
    /// Whether messages of neighbours are taken, from now on.
    pub fn set_takes_directly(&mut self, takes: bool) {
        self.direct.takes = takes;
    }

    /// What was given and is to be written to the journal.
    pub fn take_unwritten(&mut self) -> Vec<ReceivedMessage> {
        std::mem::take(&mut self.direct.unwritten)
    }

    /// Whether a neighbour waits until what it gave is synced, since this was last asked.
    pub fn take_sync_awaited(&mut self) -> bool {
        std::mem::take(&mut self.direct.is_awaited)
    }

    /// Neighbours have left something for the session to do.
    pub fn has_news_of_neighbours(&self) -> bool {
        self.direct.is_awaited || self.has_unwritten()
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        !self.direct.unwritten.is_empty()
    }

    /// What came through the broker is here, whatever became of it.
    pub(crate) fn heard_by_broker(&mut self, payload: &[u8]) {
        let Some(stamp) = Stamp::take_off(payload).0 else {
            return;
        };
        let heard = &mut self.direct.heard;
        if heard.len() >= HEARD_MAX && !heard.contains_key(&stamp.sender) {
            heard.pop_first();
        }
        heard.insert(stamp.sender, stamp.number);
    }

    /// Takes what a neighbour sends, and returns the number below which all is to be synced then. `None`: it is to come through the
    /// broker, as `last` has, which is the last that the neighbour has sent so.
    fn take_from_neighbour(&mut self, outgoing: &Outgoing, sender: ProgramId, last: u64) -> Option<u64> {
        let direct = &self.direct;
        let has_last = direct.heard.get(&sender) == Some(&last);
        let has_room = direct.unwritten.len() < UNWRITTEN_MAX;
        if !direct.takes || !has_last || !has_room || self.is_granted(&outgoing.topic) != Some(true) {
            return None;
        }
        match self.accept_any(&outgoing.topic, &outgoing.payload, false) {
            Accepted::Full => return None,
            Accepted::Taken(message) => self.direct.unwritten.push(message),
            // A repeat may be of what is not synced yet.
            Accepted::Dropped => {}
        }
        Some(self.arrived)
    }

    fn hears(&self, topic: &str) -> bool {
        self.subscriptions
            .keys()
            .any(|filter| wayfare_protocol::filter::covers(filter, topic))
    }
}
