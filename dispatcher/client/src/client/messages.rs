//! Messages on the fleet's broker, for people who look on and take part: each who looks on has a session of
//! its own, so that one that reads slowly keeps nothing from the client itself.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::timeout;
use wayfare_link::{Event, Incoming, Link, LinkError, LinkEvents, LinkOptions, Message, Oversized, Qos};
use wayfare_protocol::grants::{is_filter, is_topic};
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::stamp::Stamp;
use wayfare_protocol::topics::Topics;

use super::Client;

/// How long it may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum MessagesError {
    #[error(
        "'{0}' is not a topic filter: levels with '+' for any one and '#' at the end for any number, not beginning with '$'"
    )]
    Filter(String),
    #[error("'{0}' is not a topic: levels without '+' and '#', not beginning with '$'")]
    Topic(String),
    #[error("'{0}' is one of the fleet's own topics: what engines and dispatcher say to each other")]
    OfTheFleet(String),
    #[error("the broker has not answered within {waited_ms} ms")]
    NoAnswer { waited_ms: u64 },
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// One message that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub topic: String,
    /// `None`: it is larger than what is handed over.
    pub payload: Option<Bytes>,
    pub bytes: usize,
    /// The broker kept it from before.
    pub retained: bool,
    /// The program that has published it, if one has.
    pub sender: Option<ProgramId>,
}

/// All that is published to topics that a filter matches, from now on. What engines and dispatcher say to
/// each other is left out, unless the filter asks for nothing else.
#[derive(Debug)]
pub struct Messages {
    link: Link,
    events: LinkEvents,
    /// Those whose topics are left out.
    left_out: Option<Topics>,
}

impl Client {
    /// Returns once the broker has taken the filter.
    pub async fn messages(&self, filter: &str, limit: Duration) -> Result<Messages, MessagesError> {
        if !is_filter(filter) {
            return Err(MessagesError::Filter(filter.to_owned()));
        }
        let name = format!("watch-{}", OperationId::random().short());
        let (link, events) = wayfare_link::connect(LinkOptions::new(self.inner.broker.clone(), name))?;
        let asks_for_ours = self.inner.topics.is_ours(filter);
        let messages = Messages {
            left_out: (!asks_for_ours).then(|| self.inner.topics.clone()),
            link,
            events,
        };
        // At most once: a broker drops what a slow reader does not take, and keeps nothing for it.
        let subscribed = messages.link.subscribe(filter, Qos::AtMostOnce);
        match timeout(limit, subscribed).await {
            Ok(subscribed) => subscribed?,
            Err(_) => return Err(no_answer(limit)),
        }
        Ok(messages)
    }

    /// Publishes a message that is nobody's command, and returns once the broker has it.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        retain: Retain,
        limit: Duration,
    ) -> Result<(), MessagesError> {
        if !is_topic(topic) {
            return Err(MessagesError::Topic(topic.to_owned()));
        }
        if self.inner.topics.is_ours(topic) {
            return Err(MessagesError::OfTheFleet(topic.to_owned()));
        }
        let message = Message::new(topic, payload);
        let message = match retain {
            Retain::No => message,
            Retain::Yes => message.retained(),
        };
        match timeout(limit, self.inner.link.publish_acknowledged(message)).await {
            Ok(published) => Ok(published?),
            Err(_) => Err(no_answer(limit)),
        }
    }
}

/// Whether the broker keeps a message for those who subscribe later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    No,
    Yes,
}

fn no_answer(limit: Duration) -> MessagesError {
    let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    MessagesError::NoAnswer { waited_ms }
}

impl Messages {
    /// The next one; safe to give up. `None`: the connection is over for good.
    pub async fn next(&mut self) -> Option<Published> {
        loop {
            let published = match self.events.next().await? {
                Event::Received(incoming) => received(incoming),
                Event::Oversized(Oversized { topic, bytes, .. }) => Published {
                    topic,
                    payload: None,
                    bytes,
                    retained: false,
                    sender: None,
                },
                Event::Connected { .. } | Event::Disconnected { .. } => continue,
            };
            let left_out = self.left_out.as_ref();
            if left_out.is_none_or(|fleet| !fleet.is_ours(&published.topic)) {
                return Some(published);
            }
        }
    }

    pub async fn close(self) {
        self.link.close_within(CLOSE_TIMEOUT).await;
    }
}

fn received(incoming: Incoming) -> Published {
    let (stamp, payload) = Stamp::take_off(&incoming.payload);
    let payload = incoming.payload.slice_ref(payload);
    Published {
        bytes: payload.len(),
        payload: Some(payload),
        retained: incoming.retain,
        sender: stamp.map(|stamp| stamp.sender),
        topic: incoming.topic,
    }
}
