//! What is published and what is received: plain topics and bytes.

use bytes::Bytes;
use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;
use wayfare_protocol::qos::Qos;

use crate::error::LinkError;
use crate::limits::TOPIC_BYTES_MAX;

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub qos: Qos,
    /// The broker keeps it for whoever subscribes later. For statuses, never for commands.
    pub retain: bool,
    /// Given up when the connection is lost, like one at most once, but acknowledged while it lasts: for what
    /// may not be true any more when the next connection is there.
    pub fleeting: bool,
}

impl Message {
    /// A message at least once, not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            fleeting: false,
        }
    }

    pub fn at_most_once(self) -> Self {
        Self {
            qos: Qos::AtMostOnce,
            ..self
        }
    }

    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub fn fleeting(self) -> Self {
        Self {
            fleeting: true,
            ..self
        }
    }

    pub(crate) fn ends_with_its_connection(&self) -> bool {
        self.fleeting || self.qos == Qos::AtMostOnce
    }

    /// Refuses what the broker, or the next broker, would refuse by closing the connection.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(LinkError::PayloadTooLarge {
                bytes: self.payload.len(),
                topic: self.topic.clone(),
            });
        }
        check_name(&self.topic).map_err(LinkError::BadTopic)?;
        if self.topic.contains(['+', '#']) {
            return Err(LinkError::BadTopic(format!(
                "topic '{}' has a wildcard",
                self.topic
            )));
        }
        Ok(())
    }
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    pub topic: String,
    pub payload: Bytes,
    pub qos: Qos,
    /// It was kept by the broker from before the subscription.
    pub retain: bool,
    /// Hand this to [`Link::acknowledge`](crate::Link::acknowledge) once the message is safe.
    pub token: AcknowledgeToken,
}

/// A message that arrived and was dropped, because its payload is larger than what is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversized {
    pub topic: String,
    /// The size of its payload; [`INCOMING_PAYLOAD_BYTES_MAX`](crate::INCOMING_PAYLOAD_BYTES_MAX) is the
    /// limit.
    pub bytes: usize,
    pub qos: Qos,
    /// To be acknowledged like any other, or the broker sends it again.
    pub token: AcknowledgeToken,
}

/// Which delivery to acknowledge: valid for the connection on which the message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcknowledgeToken {
    pub(crate) connection: u64,
    /// None for a message that is not acknowledged at all (at most once), or has been already.
    pub(crate) packet_id: Option<u16>,
}

impl AcknowledgeToken {
    /// The number of the connection on which the message came, as told by `Event::Connected`.
    pub fn connection(&self) -> u64 {
        self.connection
    }
}

/// Refuses a subscription's filter that brokers would refuse by closing the connection.
pub(crate) fn check_filter(filter: &str) -> Result<(), LinkError> {
    check_name(filter).map_err(LinkError::BadTopic)?;
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    for (at, level) in levels.iter().enumerate() {
        let misplaced = match *level {
            "+" => false,
            "#" => at != last,
            _ => level.contains(['+', '#']),
        };
        if misplaced {
            return Err(LinkError::BadTopic(format!(
                "filter '{filter}' has a misplaced wildcard"
            )));
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("a topic must not be empty".to_owned())
    } else if name.len() > TOPIC_BYTES_MAX {
        Err(format!(
            "a topic of {} bytes is over the limit of {TOPIC_BYTES_MAX}",
            name.len()
        ))
    } else if name.contains('\0') {
        Err(format!("topic '{}' has a zero byte", name.escape_debug()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_a_broker_would_choke_on_are_refused() {
        assert!(Message::new("a/b", vec![0; PAYLOAD_BYTES_MAX]).check().is_ok());
        for (topic, bytes) in [
            ("a/b", PAYLOAD_BYTES_MAX + 1),
            ("", 0),
            ("a/+", 0),
            ("#", 0),
            ("a\0", 0),
            (&"x".repeat(5000), 0),
        ] {
            assert!(
                Message::new(topic, vec![0; bytes]).check().is_err(),
                "{topic:.20} {bytes}"
            );
        }
    }

    #[test]
    fn filters_with_misplaced_wildcards_are_refused() {
        for good in ["a", "a/b", "+", "#", "a/+/b", "a/#", "+/+/#", "/", "a//b"] {
            assert!(check_filter(good).is_ok(), "{good}");
        }
        for bad in ["", "a+", "a/#/b", "a#", "+a/b", "a\0b"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
