//! A file's content as a list of blocks, and what of it a write replaces.
//!
//! Always: blocks never change. A write replaces those that it touches by new ones, which the caller makes
//! from the *pieces* named here. No block has more than [`BLOCK_BYTES_MAX`] bytes, and short ones at the end
//! are joined with what is appended, so that a file does not consist of crumbs.

use serde::{Deserialize, Serialize};

pub(super) const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// A last block below this is written anew with what is appended: the less, the more blocks; the more, the
/// more is written again.
const CRUMB_BYTES: u64 = 4 * 1024;
/// Fewer zeros are stored as they are.
const HOLE_BYTES_MIN: u64 = BLOCK_BYTES_MAX as u64;

/// A block's name in the store: of the opening of the store that wrote it, and which of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct BlockId(pub(super) u64, pub(super) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    /// `None`: zeros, which are stored nowhere.
    #[serde(rename = "i")]
    pub(super) id: Option<BlockId>,
    #[serde(rename = "n")]
    pub(super) bytes: u64,
}

/// A part of new or read content, from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Of a block that is there.
    Part {
        id: BlockId,
        from: u64,
        bytes: u64,
    },
    Zeros(u64),
    /// All that is written.
    Written,
}

/// `removed` blocks from `first` on give way to what `pieces` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) first: usize,
    pub(super) removed: usize,
    pub(super) pieces: Vec<Piece>,
}

pub(super) fn length(blocks: &[Block]) -> u64 {
    blocks.iter().map(|block| block.bytes).sum()
}

/// For `count` bytes written at `offset`, which may be past the end.
pub(super) fn write(blocks: &[Block], offset: u64, count: u64) -> Splice {
    let end = offset + count;
    let (first, mut start) = locate(blocks, offset);
    let mut splice = Splice {
        first,
        removed: 0,
        pieces: Vec::new(),
    };
    if first == blocks.len() {
        // Past all blocks: a short last one is joined.
        if let Some(last) = blocks.last()
            && last.bytes < CRUMB_BYTES
        {
            splice.first -= 1;
            splice.removed = 1;
            splice.pieces.push(last.part(0, last.bytes));
        }
        splice.pieces.push(Piece::Zeros(offset - start));
        splice.pieces.push(Piece::Written);
        return splice.without_nothing();
    }
    splice.pieces.push(blocks[first].part(0, offset - start));
    splice.pieces.push(Piece::Written);
    for block in &blocks[first..] {
        if start >= end {
            break;
        }
        splice.removed += 1;
        start += block.bytes;
        if start > end {
            splice
                .pieces
                .push(block.part(block.bytes - (start - end), start - end));
        }
    }
    splice.without_nothing()
}

/// For cutting it off, or filling it up with zeros.
pub(super) fn set_length(blocks: &[Block], to: u64) -> Splice {
    let (first, start) = locate(blocks, to);
    let piece = match blocks.get(first) {
        Some(block) => block.part(0, to - start),
        None => Piece::Zeros(to - start),
    };
    let splice = Splice {
        first,
        removed: blocks.len() - first,
        pieces: vec![piece],
    };
    splice.without_nothing()
}

/// What is there from `offset` on, at most `count` bytes.
pub(super) fn read(blocks: &[Block], offset: u64, count: u64) -> Vec<Piece> {
    let end = offset.saturating_add(count);
    let (first, mut start) = locate(blocks, offset);
    let mut pieces = Vec::new();
    for block in &blocks[first..] {
        if start >= end {
            break;
        }
        let from = offset.saturating_sub(start);
        let upto = block.bytes.min(end - start);
        pieces.push(block.part(from, upto - from));
        start += block.bytes;
    }
    pieces
}

/// The block that has the byte at `offset`, and where it begins; past the end: their number, and the length.
fn locate(blocks: &[Block], offset: u64) -> (usize, u64) {
    let mut start = 0;
    for (index, block) in blocks.iter().enumerate() {
        if start + block.bytes > offset {
            return (index, start);
        }
        start += block.bytes;
    }
    (blocks.len(), start)
}

impl Block {
    fn part(self, from: u64, bytes: u64) -> Piece {
        match self.id {
            Some(id) => Piece::Part { id, from, bytes },
            None => Piece::Zeros(bytes),
        }
    }
}

impl Splice {
    fn without_nothing(mut self) -> Self {
        self.pieces
            .retain(|piece| !matches!(piece, Piece::Zeros(0) | Piece::Part { bytes: 0, .. }));
        self
    }
}

/// Content to be stored, or that need not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Stored(Vec<u8>),
    Zeros(u64),
}

/// Pieces whose bytes are there, as blocks.
pub(super) fn assemble(pieces: impl IntoIterator<Item = Content>) -> Vec<Content> {
    let mut all = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    for piece in pieces {
        match piece {
            Content::Stored(bytes) => run.extend(bytes),
            // Bounded by the constant.
            Content::Zeros(count) if count < HOLE_BYTES_MIN => run.resize(run.len() + count as usize, 0),
            Content::Zeros(count) => {
                cut(&mut run, &mut all);
                all.push(Content::Zeros(count));
            }
        }
    }
    cut(&mut run, &mut all);
    all
}

fn cut(run: &mut Vec<u8>, all: &mut Vec<Content>) {
    let blocks = run.chunks(BLOCK_BYTES_MAX);
    all.extend(blocks.map(|block| Content::Stored(block.to_vec())));
    run.clear();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A file in blocks, beside the same as plain bytes.
    #[derive(Default)]
    struct Twin {
        blocks: Vec<Block>,
        stored: BTreeMap<BlockId, Vec<u8>>,
        plain: Vec<u8>,
    }

    impl Twin {
        fn bytes(&self, piece: Piece, written: &[u8]) -> Content {
            match piece {
                Piece::Written => Content::Stored(written.to_vec()),
                Piece::Zeros(count) => Content::Zeros(count),
                Piece::Part { id, from, bytes } => {
                    Content::Stored(self.stored[&id][from as usize..][..bytes as usize].to_vec())
                }
            }
        }

        fn splice(&mut self, splice: Splice, written: &[u8]) {
            let pieces: Vec<Content> = splice
                .pieces
                .iter()
                .map(|piece| self.bytes(*piece, written))
                .collect();
            let mut new = Vec::new();
            for content in assemble(pieces) {
                new.push(match content {
                    Content::Zeros(bytes) => Block { id: None, bytes },
                    Content::Stored(content) => {
                        assert!(!content.is_empty() && content.len() <= BLOCK_BYTES_MAX);
                        let id = BlockId(0, self.stored.len() as u64);
                        let bytes = content.len() as u64;
                        self.stored.insert(id, content);
                        Block { id: Some(id), bytes }
                    }
                });
            }
            self.blocks
                .splice(splice.first..splice.first + splice.removed, new);
        }

        fn write(&mut self, offset: usize, written: &[u8]) {
            self.splice(write(&self.blocks, offset as u64, written.len() as u64), written);
            let end = offset + written.len();
            self.plain.resize(self.plain.len().max(end), 0);
            self.plain[offset..end].copy_from_slice(written);
        }

        fn set_length(&mut self, length: usize) {
            self.splice(set_length(&self.blocks, length as u64), &[]);
            self.plain.resize(length, 0);
        }

        fn read(&self, offset: usize, count: usize) -> Vec<u8> {
            let mut all = Vec::new();
            for piece in read(&self.blocks, offset as u64, count as u64) {
                match self.bytes(piece, &[]) {
                    Content::Stored(bytes) => all.extend(bytes),
                    Content::Zeros(count) => all.resize(all.len() + count as usize, 0),
                }
            }
            all
        }
    }

    #[test]
    fn blocks_hold_what_plain_bytes_would() {
        for seed in 0..40u64 {
            let mut random = seed;
            let mut below = |end: usize| {
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (random >> 33) as usize % end
            };
            let mut twin = Twin::default();
            for step in 0..80 {
                let length = twin.plain.len();
                let most = [10, 5_000, BLOCK_BYTES_MAX][below(3)];
                let small = 1 + below(most);
                match below(5) {
                    0 => twin.write(below(length + 1), &vec![step; small]),
                    1 => twin.write(length + below(3 * BLOCK_BYTES_MAX) * below(2), &vec![step; small]),
                    2 if length > 0 => twin.set_length(below(length)),
                    3 => twin.set_length(length + below(2 * BLOCK_BYTES_MAX)),
                    _ => twin.write(length, &vec![step; small]),
                }
                let (from, count) = (below(twin.plain.len() + 10), below(2 * BLOCK_BYTES_MAX));
                let start = from.min(twin.plain.len());
                let expected = &twin.plain[start..twin.plain.len().min(start + count)];
                assert_eq!(twin.read(from, count), expected, "seed {seed} step {step}");
                assert_eq!(length_of(&twin), twin.plain.len() as u64);
            }
        }
    }

    fn length_of(twin: &Twin) -> u64 {
        length(&twin.blocks)
    }

    #[test]
    fn many_small_appends_and_scattered_bytes_make_few_blocks() {
        let mut twin = Twin::default();
        for number in 0..2_000 {
            twin.write(twin.plain.len(), &[number as u8; 20]);
        }
        assert!(twin.blocks.len() <= 40_000 / CRUMB_BYTES as usize + 1);
        let mut twin = Twin::default();
        for number in 0..1_000 {
            twin.write(number * 500, b"x");
        }
        assert!(
            twin.blocks.len() <= 500_000 / CRUMB_BYTES as usize + 1,
            "{}",
            twin.blocks.len()
        );
        let mut twin = Twin::default();
        twin.write(1 << 20, b"x");
        assert_eq!(twin.blocks.len(), 2, "a hole is not stored");
    }
}
