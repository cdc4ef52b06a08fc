//! What engines and front ends send each other, and what blobs hold in place of bytes.

use wayfare_protocol::command::Command;
use wayfare_protocol::ids::{Blob, Digest, EngineId, Generation, OperationId, PeerName, ProgramId};
use wayfare_protocol::peer::Envelope;

/// What a blob holds, in place of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Plain,
    Snapshot {
        counter: u64,
        base: Option<Digest>,
        /// Of a program that talks: among the saved.
        talk: Option<usize>,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Packet {
    Command(Command),
    Message(Envelope),
    Chunk {
        operation: OperationId,
        from: PeerName,
        blob: Blob,
        offset: u64,
        bytes: u64,
        damaged: bool,
    },
    Status {
        from: EngineId,
        program: ProgramId,
        generation: Generation,
    },
}
