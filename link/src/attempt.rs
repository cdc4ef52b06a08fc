//! How the next connection is made: a pure core, with the memory that is there passed in.
//!
//! A packet that is larger than a connection reads ends it. A kept session, or a retained message, brings it
//! again on the next one, and the next, so it has to be got past:
//!
//! ```text
//!             oversized, fits into memory                 it was acknowledged
//! normal -------------------------------------> skipping ---------------------> normal
//!    |        oversized, and does not fit                  connected
//!    +------------------------------------> forgetting ---------------> normal
//! ```
//! Skipping reads packets up to the announced size, and drops that one. Forgetting gives the session up with
//! all that the broker has queued for it, because nothing behind that packet could ever be received.

use std::time::Duration;

use crate::limits::{
    INCOMING_PACKET_BYTES_MAX, SKIPPED_PACKET_BYTES_MAX, SKIPPED_PACKET_MEMORY_SHARE, SKIPPED_PACKET_PACE,
};

/// What one connection does otherwise than the options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Normal,
    /// A packet of this size is to be received, so that it can be acknowledged.
    Skipping {
        packet_bytes: usize,
    },
    /// The broker is to forget the session.
    Forgetting,
}

impl Attempt {
    /// What to do after the broker began to send a packet that is larger than this connection reads.
    pub(crate) fn after_oversized(packet_bytes: usize, skipped_bytes_max: usize) -> Self {
        if packet_bytes <= skipped_bytes_max {
            Self::Skipping { packet_bytes }
        } else {
            Self::Forgetting
        }
    }

    pub(crate) fn packet_bytes_max(self) -> usize {
        match self {
            Self::Normal | Self::Forgetting => INCOMING_PACKET_BYTES_MAX,
            Self::Skipping { packet_bytes } => packet_bytes.max(INCOMING_PACKET_BYTES_MAX),
        }
    }

    /// The broker answers pings behind whatever it is sending, so a packet has about twice this time to
    /// arrive.
    pub(crate) fn keep_alive(self, keep_alive: Duration) -> Duration {
        match self {
            Self::Normal | Self::Forgetting => keep_alive,
            Self::Skipping { packet_bytes } => {
                let seconds = u16::try_from(packet_bytes / SKIPPED_PACKET_PACE).unwrap_or(u16::MAX);
                keep_alive.max(Duration::from_secs(seconds.into()))
            }
        }
    }
}

/// Largest packet that this machine may hold in order to skip it, in bytes.
pub(crate) fn skipped_packet_bytes_max() -> usize {
    share_of(available_memory_bytes())
}

fn share_of(available_bytes: usize) -> usize {
    let (smallest, largest) = SKIPPED_PACKET_BYTES_MAX.into_inner();
    (available_bytes / SKIPPED_PACKET_MEMORY_SHARE).clamp(smallest, largest)
}

/// The memory that programs can have; 0 where the system does not tell.
fn available_memory_bytes() -> usize {
    let read = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = read.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn large_packets_are_skipped_where_there_is_memory_and_end_the_session_where_there_is_none() {
        for (packet_bytes, available, is_skipped) in [
            (20 * MIB, 0, true),
            (64 * MIB, 100 * MIB, true),
            (65 * MIB, 100 * MIB, false),
            (65 * MIB, 400 * MIB, true),
            (256 * MIB - 1, usize::MAX, true),
        ] {
            let expected = match is_skipped {
                true => Attempt::Skipping { packet_bytes },
                false => Attempt::Forgetting,
            };
            let attempt = Attempt::after_oversized(packet_bytes, share_of(available));
            assert_eq!(attempt, expected, "{packet_bytes} of {available}");
        }
    }

    #[test]
    fn a_packet_to_be_skipped_has_time_to_arrive_and_others_are_noticed_missing_as_ever() {
        let ten = Duration::from_secs(10);
        assert_eq!(Attempt::Normal.keep_alive(ten), ten);
        let skipping = Attempt::Skipping {
            packet_bytes: 20 * MIB,
        };
        assert_eq!(skipping.keep_alive(ten), Duration::from_secs(320));
        assert_eq!(skipping.packet_bytes_max(), 20 * MIB);
        assert_eq!(Attempt::Forgetting.packet_bytes_max(), INCOMING_PACKET_BYTES_MAX);
    }

    #[test]
    fn this_machine_tells_its_memory() {
        if std::path::Path::new("/proc/meminfo").exists() {
            assert!(available_memory_bytes() > MIB);
        }
    }
}
