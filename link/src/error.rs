//! Why a link refuses.

use wayfare_protocol::limits::PAYLOAD_BYTES_MAX;

/// Why a link refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("the link is closed")]
    Closed,
    /// Said of a fleeting message only.
    #[error("the connection was lost before the broker acknowledged it")]
    ConnectionLost,
    #[error("the outbox is full")]
    OutboxFull,
    #[error("a payload of {bytes} bytes for '{topic}' is over the limit of {PAYLOAD_BYTES_MAX}")]
    PayloadTooLarge { bytes: usize, topic: String },
    #[error("{0}")]
    BadTopic(String),
    #[error("the broker refused the subscription to '{0}'")]
    SubscriptionRefused(String),
    #[error("{0}")]
    BadOptions(String),
}
