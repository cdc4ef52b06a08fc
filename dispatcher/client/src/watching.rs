//! Changes of values as the acting dispatcher publishes them: a session of its own, for as long as somebody
//! watches.
//!
//! ```text
//!   connect --> subscribed, as a message to ourselves shows --> Begin --> changes --> the connection is lost --> Begin --> ...
//!                                                                          \--> another dispatcher acts --> Begin --> ...
//! ```
//! A dispatcher may have ended between storing a change and publishing it. Its successor does not know of
//! that.
//!
//! What always holds: what is read of the values after [`Watched::Begin`] and the changes after that, by
//! their versions, leave out nothing that is the last change of a key.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use wayfare_link::{BrokerUrl, Event, LinkEvents, LinkOptions, Message, Qos};
use wayfare_protocol::dispatcher::{Lease, LeaseState};
use wayfare_protocol::ids::{ProgramId, Term};
use wayfare_protocol::pattern::Pattern;
use wayfare_protocol::topics::{Topic, Topics};
use wayfare_protocol::values::Changed;
use wayfare_protocol::wire;

use crate::error::ConnectError;

/// Attempts to connect that may fail, before the first that does not.
const ATTEMPTS_MAX: u32 = 3;

/// What somebody who watches is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Changes from here on come: what is there is to be read now.
    Begin,
    Changed(Changed),
}

/// Somebody who watches values.
pub struct ValueWatch {
    link: wayfare_link::Link,
    events: LinkEvents,
    /// Where messages to ourselves go.
    own: String,
    /// Where it is said who acts.
    lease: String,
    /// Of who acted last.
    term: Option<Term>,
    pattern: Pattern,
    broker: BrokerUrl,
    has_begun: bool,
}

impl ValueWatch {
    /// Begins to connect.
    pub async fn open(broker: BrokerUrl, topics: &Topics, pattern: Pattern) -> Result<Self, ConnectError> {
        let id = ProgramId::random();
        let own = topics.topic(&Topic::ProgramReply(id));
        let lease = topics.topic(&Topic::DispatcherLease);
        let mut options = LinkOptions::new(broker.clone(), id.to_string());
        options.subscriptions = vec![
            (topics.values(&pattern), Qos::AtLeastOnce),
            (lease.clone(), Qos::AtLeastOnce),
            (own.clone(), Qos::AtLeastOnce),
        ];
        let (link, events) = wayfare_link::connect(options).map_err(|reason| ConnectError::Link {
            broker: broker.clone(),
            reason,
        })?;
        Ok(Self {
            link,
            events,
            own,
            lease,
            term: None,
            pattern,
            broker,
            has_begun: false,
        })
    }

    /// The next that is known, for as long as it takes. The first may take `limit`.
    pub async fn next(&mut self, limit: Duration) -> Result<Watched, ConnectError> {
        if self.has_begun {
            return self.wait().await;
        }
        match timeout(limit, self.wait()).await {
            Ok(first) => first,
            Err(_) => Err(ConnectError::NoEcho {
                broker: self.broker.clone(),
                waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    async fn wait(&mut self) -> Result<Watched, ConnectError> {
        let mut attempts = 0;
        loop {
            let broker = self.broker.clone();
            match self.events.next().await {
                // Behind the subscriptions.
                Some(Event::Connected { .. }) => {
                    let message = Message::new(self.own.clone(), Bytes::new());
                    let sent = self.link.try_publish(message);
                    sent.map_err(|reason| ConnectError::Link { broker, reason })?;
                }
                Some(Event::Received(incoming)) if incoming.topic == self.own => {
                    self.has_begun = true;
                    return Ok(Watched::Begin);
                }
                Some(Event::Received(incoming)) if incoming.topic == self.lease => {
                    if succeeded(&mut self.term, &incoming.payload) && self.has_begun {
                        return Ok(Watched::Begin);
                    }
                }
                Some(Event::Received(incoming)) => {
                    if let Ok(changed) = wire::decode::<Changed>(&incoming.payload)
                        && self.pattern.matches(&changed.key)
                    {
                        return Ok(Watched::Changed(changed));
                    }
                }
                Some(Event::Disconnected { reason, .. }) if !self.has_begun && attempts >= ATTEMPTS_MAX => {
                    let reason = Some(reason);
                    return Err(ConnectError::NoBroker { broker, reason });
                }
                Some(Event::Disconnected { .. }) => attempts += 1,
                Some(Event::Oversized(_)) => {}
                None => {
                    return Err(ConnectError::NoBroker { broker, reason: None });
                }
            }
        }
    }

    pub async fn close(self) {
        self.link.close_within(Duration::from_secs(1)).await;
    }
}

/// Whether another acts than the one of this term, which is the new one's then.
fn succeeded(term: &mut Option<Term>, lease: &[u8]) -> bool {
    let Ok(lease) = wire::decode::<Lease>(lease) else {
        return false;
    };
    let before = term.replace(lease.term);
    lease.state == LeaseState::Held && before.is_some_and(|before| before != lease.term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_again_once_for_each_dispatcher_that_begins_to_act() {
        let mut term = None;
        for (number, state, expected) in [
            (1, LeaseState::Free, false),
            (2, LeaseState::Held, true),
            (2, LeaseState::Held, false),
            (2, LeaseState::Free, false),
            (3, LeaseState::Held, true),
            (3, LeaseState::Held, false),
        ] {
            let lease = Lease {
                term: Term(number),
                dispatcher: "a".parse().unwrap(),
                state,
                lease_ms: 1_000,
            };
            let found = succeeded(&mut term, &wire::encode(&lease));
            assert_eq!(found, expected, "{number} {state:?}");
        }
        assert!(!succeeded(&mut term, b"?"));
    }
}
