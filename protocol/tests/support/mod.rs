//! Snapshots of bytes from anywhere: sealed, so that the decoder gets past the checksum, and decoded. What
//! the test with fixed seeds and the fuzzing target share.
#![allow(unreachable_pub, dead_code)] // each user takes its part
#![allow(clippy::unwrap_used)]

use wayfare_protocol::ids::Digest;
use wayfare_protocol::snapshot::{Snapshot, SnapshotError, VERSION};

/// What the decoders here may unpack.
pub const UNPACKED_BYTES_MAX: u64 = 1 << 20;
const HEADER_BYTES: usize = 8 + 2 + 4 + 32 + 32 + 8;
const CHECKSUM_BYTES: usize = 32;

/// A header for `unpacked` bytes, then `packed`, then their checksum: as `snapshot.rs` describes it.
pub fn seal(unpacked: u64, packed: &[u8]) -> Vec<u8> {
    let mut bytes = b"WAYFSNAP".to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(7u32.to_le_bytes());
    bytes.extend([3; 32]);
    bytes.extend([0; 32]);
    bytes.extend(unpacked.to_le_bytes());
    bytes.extend(packed);
    let checksum = Digest::of(&bytes);
    bytes.extend(checksum.0);
    bytes
}

/// The packed part of a snapshot.
pub fn packed(snapshot: &[u8]) -> &[u8] {
    &snapshot[HEADER_BYTES..snapshot.len() - CHECKSUM_BYTES]
}

/// Decodes `data` as a body, and as a body that is packed already. What decodes must encode to something that
/// decodes to the same.
pub fn decode(data: &[u8]) -> [Result<Snapshot, SnapshotError>; 2] {
    let body = seal(data.len() as u64, &zstd::bulk::compress(data, 1).unwrap());
    let claimed = data.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let stream = seal(claimed % UNPACKED_BYTES_MAX, data.get(8..).unwrap_or_default());
    [body, stream].map(|bytes| {
        let decoded = Snapshot::decode_within(&bytes, UNPACKED_BYTES_MAX);
        if let Ok(snapshot) = &decoded {
            assert_eq!(Snapshot::decode(&snapshot.encode()).as_ref(), Ok(snapshot));
        }
        decoded
    })
}
