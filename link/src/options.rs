//! How a link behaves: fixed when it is made.

use std::time::Duration;

use wayfare_protocol::qos::Qos;

use crate::attempt::skipped_packet_bytes_max;
use crate::broker_url::BrokerUrl;
use crate::message::Message;

/// Everything a session needs to know. Start from [`LinkOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    pub broker: BrokerUrl,
    /// The session's name at the broker: whoever connects with it last gets the session.
    pub client_id: String,
    /// True: the broker forgets subscriptions and waiting messages with the connection.
    /// False: it keeps them, and the next connection with this client id resumes them.
    pub clean_session: bool,
    /// Published by the broker when the connection ends without [`Link::close`](crate::Link::close).
    pub will: Option<Message>,
    /// A dead connection is noticed after at most twice this time; the broker notices after 1.5 times.
    /// Whole seconds, at least one.
    pub keep_alive: Duration,
    pub acknowledge: Acknowledge,
    /// Subscribed after each connection that found no session, before anything is published.
    /// A kept session that was found is taken to have them.
    pub subscriptions: Vec<(String, Qos)>,
    pub on_takeover: OnTakeover,
    /// What the outbox holds before `publish` waits: topics and payloads, plus 256 bytes for each message.
    pub outbox_bytes_max: usize,
    /// How long [`Link::close`](crate::Link::close) waits for the outbox to empty.
    pub drain_timeout: Duration,
    /// The largest packet of others that is received in order to be skipped: it takes that much memory for a
    /// moment. A larger one costs the session, with what the broker has queued. The default is a quarter of
    /// the memory that is available now, and 64 to 256 MiB.
    pub skipped_packet_bytes_max: usize,
}

/// Who acknowledges what is received at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// The link, as soon as the message is in the receiver's channel. Lost if the process dies then.
    Automatic,
    /// The receiver, with [`Link::acknowledge`](crate::Link::acknowledge), in the order of receipt.
    Manual,
}

/// What to do when the broker closes a sound connection, as it does when somebody else connects with our
/// client id. (A broker that stops looks the same at first, but refuses the next attempt.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTakeover {
    /// Connect again, after waits that double with each closing up to a minute.
    BackOff,
    /// End the link: the owner of the session is decided elsewhere.
    Stop,
    /// End the link whenever its connection ends or cannot be made: for a session that must not be taken back
    /// without looking first who has it now.
    StopOnLoss,
}

impl LinkOptions {
    /// A clean session that acknowledges by itself, with no will.
    pub fn new(broker: BrokerUrl, client_id: impl Into<String>) -> Self {
        Self {
            broker,
            client_id: client_id.into(),
            clean_session: true,
            will: None,
            keep_alive: Duration::from_secs(10),
            acknowledge: Acknowledge::Automatic,
            subscriptions: Vec::new(),
            on_takeover: OnTakeover::BackOff,
            outbox_bytes_max: 8 * 1024 * 1024,
            drain_timeout: Duration::from_secs(2),
            skipped_packet_bytes_max: skipped_packet_bytes_max(),
        }
    }

    /// A session that the broker keeps, and whose messages the receiver acknowledges.
    pub fn kept(broker: BrokerUrl, client_id: impl Into<String>) -> Self {
        Self {
            clean_session: false,
            acknowledge: Acknowledge::Manual,
            ..Self::new(broker, client_id)
        }
    }
}
