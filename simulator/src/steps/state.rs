//! A step of what a core decided.

use wayfare_core::types::Effect;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are effects")]
pub(crate) enum Step {
    Effect(Effect),
    /// The fence on this connection is passed.
    Heard {
        connection: u64,
    },
    OpenSessions {
        connection: u64,
    },
}
