//! Every queue, retry and wait of the session, named, units last.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Largest payload that is handed to the receiver. Other publishers on the broker may exceed
/// [`PAYLOAD_BYTES_MAX`](wayfare_protocol::limits::PAYLOAD_BYTES_MAX); what exceeds this as well is
/// acknowledged and dropped, with a warning.
pub const INCOMING_PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Largest packet that a connection reads. It stands far above what is handed on, because a packet above it
/// ends the connection, and a kept session gets it again on the next one.
pub(crate) const INCOMING_PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest packet that is read so that it can be acknowledged and skipped, whatever memory the machine has,
/// and where it has plenty: the largest that MQTT knows. Such a packet is held in memory as a whole while it
/// arrives, since the client library offers no other way to get past it.
pub(crate) const SKIPPED_PACKET_BYTES_MAX: RangeInclusive<usize> = 64 * 1024 * 1024..=256 * 1024 * 1024;

/// The part of the available memory that a packet may take which is only to be skipped.
pub(crate) const SKIPPED_PACKET_MEMORY_SHARE: usize = 4;

/// The slowest pace at which a packet is received that is to be skipped, in bytes a second: the keep-alive of
/// its connection allows for it, because the broker's answers to pings stand behind the packet.
pub(crate) const SKIPPED_PACKET_PACE: usize = 64 * 1024;

/// A topic is at most 65,535 bytes on the wire; ours are far shorter.
pub(crate) const TOPIC_BYTES_MAX: usize = 4096;

/// A publish packet's fixed header, topic length and packet id.
pub(crate) const PACKET_OVERHEAD_BYTES: usize = 16;

/// Publishes that may wait for the broker's acknowledgement at once. AWS IoT allows 100.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

/// Packet ids that the client library hands out before it begins again: well above [`IN_FLIGHT_MAX`], so that
/// an id in use never comes round again.
pub(crate) const PACKET_IDS: u16 = 1024;

/// Requests that are handed to the client library before it has written the earlier ones.
pub(crate) const REQUESTS_MAX: usize = 64;

/// What a message costs in the outbox over its topic and payload, so that empty messages are bounded too.
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// Events that wait in the channel to the receiver.
pub(crate) const EVENT_CHANNEL_MAX: usize = 64;

/// Received messages that wait for the receiver, and their bytes, for each level of service. Beyond either,
/// one at most once is dropped, and one at least once left to the broker. Far more than brokers' windows: see
/// `inbox`.
pub(crate) const BACKLOG_MESSAGES_MAX: usize = 16_384;
pub(crate) const BACKLOG_BYTES_MAX: usize = 32 * 1024 * 1024;

/// From so much of either limit on, at least once, the connection is read only as fast as the receiver takes
/// what came before.
pub(crate) const BACKLOG_PACED_PART: usize = 2;
/// A receiver that takes nothing for so long may be waiting for an answer that stands behind what is not
/// read: reading goes on then. Far longer than a receiver at work takes for one message, and far shorter than
/// a keep-alive time.
pub(crate) const RECEIVER_STALLED_AFTER: Duration = Duration::from_secs(1);

/// A connection attempt, up to the broker's answer.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a broker may take to close the connection after our DISCONNECT.
pub(crate) const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Waits between connection attempts, doubled from the first to the last, each with jitter. Whoever judges
/// somebody's silence must know the longest.
pub(crate) const RECONNECT_WAIT_MIN: Duration = Duration::from_millis(50);
pub const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Waits after the broker closed a connection in which nothing was wrong: somebody else may have our client
/// id.
pub(crate) const TAKEOVER_WAIT_MAX: Duration = Duration::from_secs(60);

/// A connection that lasted this long wipes earlier failures out. One that ends as soon as it is made does
/// not, so that whatever ends it is tried ever more slowly.
pub(crate) const LASTED_AFTER: Duration = Duration::from_secs(2);

/// A connection that lasted this long wipes earlier closings out. It is above twice the longest wait, so that
/// two sides of a takeover war never take each other's pauses for stability.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(150);
