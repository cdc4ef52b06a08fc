//! How hard the delivery of a message is tried, as MQTT has it: in one form, from a program's call to the
//! packet.

/// MQTT's quality of service. Its third level is not portable and never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Qos {
    /// Lost when the connection breaks, and dropped while there is none.
    #[default]
    AtMostOnce,
    /// Kept and repeated until acknowledged; can arrive more than once.
    AtLeastOnce,
}

impl Qos {
    /// Reads it where it is one bit of flags: of host calls, and in snapshots and journals.
    pub fn from_bit(is_set: bool) -> Self {
        match is_set {
            true => Self::AtLeastOnce,
            false => Self::AtMostOnce,
        }
    }

    /// The same bit, to be written.
    pub fn bit(self) -> u8 {
        u8::from(self == Self::AtLeastOnce)
    }
}
