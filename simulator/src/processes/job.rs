//! What a shell has under way.

use wayfare_core::types::{CaptureId, Input, Purpose, Standing};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::{Blob, ProgramId};

use crate::packet::Content;

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few wait at a time")]
pub(crate) enum Job {
    Say(Input),
    /// It reaches the broker.
    Connect,
    BlobChecked {
        blob: Blob,
        intact: bool,
    },
    Started {
        program: ProgramId,
        instance: u64,
        runs: bool,
        result: Result<(), Failure>,
    },
    Copy {
        program: ProgramId,
        instance: u64,
        capture: CaptureId,
        purpose: Purpose,
        then: Standing,
    },
    Encoded {
        program: ProgramId,
        instance: u64,
        capture: CaptureId,
        durable: bool,
        content: Content,
    },
    /// Something may be due in a program's session.
    SessionTurn {
        program: ProgramId,
    },
    /// The broker has granted the subscription of its status.
    Subscribed {
        program: ProgramId,
    },
    /// What the engine asked when the program's session was connected is answered.
    WhoseSession {
        program: ProgramId,
        wire: usize,
    },
    /// What was written to the journal of its messages is on the disk.
    Synced {
        program: ProgramId,
        instance: u64,
        /// On which of the session's connections it was taken.
        opened: u64,
    },
}
