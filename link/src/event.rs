//! What a link tells its receiver.

use wayfare_protocol::qos::Qos;

use crate::message::{AcknowledgeToken, Incoming, Oversized};

/// What the session tells its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `connection` counts up from 1. Without `session_present` the broker knew nothing of us: the
    /// subscriptions are being made again, and what was queued there is gone.
    Connected {
        session_present: bool,
        connection: u64,
    },
    /// The connection ended, or another attempt to connect failed; the link goes on trying by itself.
    /// `closed_by_broker`: nothing was wrong with the connection, so somebody may have taken the session
    /// over.
    Disconnected {
        reason: String,
        closed_by_broker: bool,
    },
    Received(Incoming),
    Oversized(Oversized),
}

impl Event {
    /// The delivery that the event hands over, and what it is to be acknowledged by.
    pub(crate) fn delivery(&self) -> Option<(Qos, AcknowledgeToken)> {
        match self {
            Self::Received(incoming) => Some((incoming.qos, incoming.token)),
            Self::Oversized(oversized) => Some((oversized.qos, oversized.token)),
            Self::Connected { .. } | Self::Disconnected { .. } => None,
        }
    }

    /// The same, acknowledged already.
    pub(crate) fn without_acknowledgement(mut self) -> Self {
        if let Self::Received(Incoming { token, .. }) | Self::Oversized(Oversized { token, .. }) = &mut self {
            token.packet_id = None;
        }
        self
    }
}
