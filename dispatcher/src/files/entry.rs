//! What the log of files has.

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::{FilePath, NodeId};
use wayfare_protocol::ids::{Generation, ProgramId};

use super::blocks::Block;

/// One change, and the request that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) program: ProgramId,
    pub(super) by: String,
    pub(super) generation: Generation,
    pub(super) number: u64,
    /// Of what was asked, as far as a repeat must agree with it.
    pub(super) signature: u64,
    pub(super) now_ms: u64,
    pub(super) change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Change {
    /// It is there, or becomes an empty file.
    Open {
        path: FilePath,
        truncate: bool,
    },
    Splice {
        node: NodeId,
        writer: u64,
        /// The change that the writer knew of.
        basis: Option<u64>,
        /// Where what was written ends.
        end: u64,
        first: usize,
        removed: usize,
        blocks: Vec<Block>,
    },
    MakeFolder {
        path: FilePath,
    },
    Remove {
        path: FilePath,
    },
    Rename {
        from: FilePath,
        to: FilePath,
    },
    Copy {
        from: NodeId,
        version: u64,
        to: FilePath,
    },
}
