//! The messages by which two peers hand over blobs and programs: engine to engine in a move or spawn,
//! client to engine in a run or restore, engine to client in a snapshot.
//!
//! ```text
//!  source                          target
//!    | Prepare ---------------------> |   may refuse
//!    | <--------------------- Want    |   which blobs it lacks
//!    | Chunk, Chunk, ... -----------> |   few outstanding; Ack is cumulative
//!    | <---------------------- Ack    |
//!    | Commit ----------------------> |   only after the source stored "offered" durably
//!    | <-------- Adopted / Refused    |   stored durably before it is said, and said again to
//!    | Query / Cancel --------------> |   every Query, Cancel or repeated Prepare and Commit
//! ```
//! An engine that has no compiler gets code from the acting dispatcher, whichever of the two lacks something
//! pulling it:
//!
//! ```text
//!  engine                          dispatcher
//!    | CodeWanted ------------------> |   said again until there is an answer
//!    | <----------------------- Pull  |   if it has not got the module
//!    | Chunk ... -------------------> |
//!    | <---------------- CodeUnderWay |   it compiles
//!    | <-------- CodeMade / Refused   |
//!    | Pull ------------------------> |
//!    | <-------------------- Chunk .. |
//! ```
//! On the wire: `u32` little-endian length of a JSON header, the header, then a chunk's bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::code::{CodeTarget, PublicKey};
use crate::command::ProgramSpec;
use crate::device::{Alias, DeviceKind};
use crate::error::Failure;
use crate::ids::{Blob, Digest, Generation, OperationId, PeerName, ProgramId};
use crate::trust::warrant::Warrant;
use crate::wire::{self, WireError};

/// One message from `from`, about one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub operation: OperationId,
    pub from: PeerName,
    pub message: PeerMessage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "peer", rename_all = "kebab-case")]
pub enum PeerMessage {
    /// A program is about to come. Asked again, the target answers again.
    Prepare {
        program: ProgramId,
        /// The generation that it will have on the target.
        generation: Generation,
        spec: ProgramSpec,
        /// Linear memory it has now: the target refuses early what will not fit.
        memory_bytes: u64,
        /// It stands still on a `pause`, and shall do so on the target.
        paused: bool,
        /// Of which kinds the devices that it is granted are where it comes from, as far as they are there.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        devices: BTreeMap<Alias, DeviceKind>,
        /// What the target needs as far as the source knows by now: module, standard input, then also
        /// the base, then also the last snapshot. Each list adds to the ones before.
        blobs: Vec<Blob>,
    },
    /// The receiver's answer: these it lacks. For what it has of the others it sends `Ack`s.
    Want {
        missing: Vec<Digest>,
    },
    /// `offset` bytes into the blob. The bytes follow the header.
    Chunk {
        blob: Blob,
        offset: u64,
    },
    /// All bytes of the blob before `received` have arrived in order. `received` equal to the blob's length
    /// means that it was verified and kept; from engine to engine, for a module, also that it is compiled,
    /// so that a source that has all these freezes its program for no longer than it must.
    Ack {
        digest: Digest,
        received: u64,
    },
    /// From here on only the target may decide.
    Commit {
        snapshot: Blob,
        base: Option<Blob>,
    },
    Adopted {
        generation: Generation,
    },
    Refused {
        failure: Failure,
    },
    /// The source asks for the verdict. A target that knows nothing of the operation decides `Refused`.
    Query,
    /// The source would rather not. The target decides `Refused` unless it has adopted already.
    Cancel,
    /// An engine needs the module's code for this target, signed with one of these keys.
    CodeWanted {
        module: Blob,
        target: CodeTarget,
        keys: Vec<PublicKey>,
    },
    /// It is being fetched or compiled.
    CodeUnderWay,
    /// It is there to be pulled.
    CodeMade {
        code: Blob,
    },
    /// Send so many chunks of the blob from `offset` on.
    Pull {
        blob: Blob,
        offset: u64,
        chunks: u8,
    },
}

impl Envelope {
    const TYPE: &'static str = "peer";

    /// The message with `bytes` behind its header (empty for all but `Chunk`).
    pub fn encode(&self, bytes: &[u8]) -> Vec<u8> {
        Self::framed(&wire::tagged(Self::TYPE, &wire::to_json(self)), bytes)
    }

    /// A `Prepare` with the order that it carries out, as that was signed, and the program's warrant: the
    /// target may want to see them.
    pub fn encode_with_order(&self, order: &str, warrant: Option<&Warrant>) -> Vec<u8> {
        let header = wire::tagged(Self::TYPE, &wire::to_json(self));
        let header = warrant.map_or(header.clone(), |warrant| warrant.show_in(&header));
        Self::framed(&wire::with_field(&header, "order", &order), &[])
    }

    /// The warrant that a message shows.
    pub fn warrant_of(payload: &[u8]) -> Option<Warrant> {
        Warrant::shown_in(Self::header(payload)?)
    }

    fn header(payload: &[u8]) -> Option<&[u8]> {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        rest.get(..u32::from_le_bytes(*length) as usize)
    }

    /// The order that a message carries out, if it shows one.
    pub fn order_of(payload: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Ordered {
            #[serde(default)]
            order: Option<String>,
        }
        wire::from_json::<Ordered>(Self::header(payload)?).ok()?.order
    }

    fn framed(header: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + header.len() + bytes.len());
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(header);
        out.extend_from_slice(bytes);
        out
    }

    /// The message and the bytes behind its header.
    pub fn decode(payload: &[u8]) -> Result<(Self, &[u8]), WireError> {
        wire::check_length(payload)?;
        let (length, rest) = payload.split_first_chunk::<4>().ok_or(WireError::Truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, bytes) = rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        wire::check_type(Self::TYPE, header)?;
        let envelope: Self = serde_json::from_slice(header).map_err(WireError::json)?;
        match envelope.message {
            PeerMessage::Chunk { blob, offset }
                if offset
                    .checked_add(bytes.len() as u64)
                    .is_none_or(|end| end > blob.bytes) =>
            {
                Err(WireError::Malformed("a chunk reaches past its blob".into()))
            }
            PeerMessage::Chunk { .. } => Ok((envelope, bytes)),
            _ if bytes.is_empty() => Ok((envelope, bytes)),
            _ => Err(WireError::Malformed(
                "bytes behind a message that has none".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_shows_the_order_that_it_carries_out_and_is_read_by_who_knows_of_none() {
        let envelope = Envelope {
            operation: OperationId::random(),
            from: "a".parse().unwrap(),
            message: PeerMessage::Query,
        };
        let order = r#"{"do":"move \u001b \"x\""}"#;
        let payload = envelope.encode_with_order(order, None);
        assert_eq!(Envelope::order_of(&payload).as_deref(), Some(order));
        assert_eq!(Envelope::decode(&payload), Ok((envelope.clone(), &[][..])));
        assert_eq!(Envelope::order_of(&envelope.encode(&[])), None);
        for bad in [&b""[..], b"\xff\xff\xff\xff", b"\x01\0\0\0{"] {
            assert_eq!(Envelope::order_of(bad), None);
        }
    }

    #[test]
    fn chunks_that_reach_past_their_blob_are_refused() {
        let blob = Blob::of(b"hello");
        let envelope = |offset| Envelope {
            operation: OperationId::random(),
            from: "a".parse().unwrap(),
            message: PeerMessage::Chunk { blob, offset },
        };
        let good = envelope(2).encode(b"llo");
        assert_eq!(Envelope::decode(&good).unwrap().1, b"llo");
        assert!(Envelope::decode(&envelope(3).encode(b"llo")).is_err());
        assert!(Envelope::decode(&envelope(u64::MAX).encode(b"llo")).is_err());
        for cut in 0..good.len() - 3 {
            assert!(Envelope::decode(&good[..cut]).is_err(), "{cut}");
        }
    }
}
