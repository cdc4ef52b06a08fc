//! Bytes from anywhere as a snapshot's content: no panic, and no more memory than libFuzzer's limit.
//! `protocol/tests/damaged_snapshots.rs` without an end.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use wayfare_protocol::snapshot::Snapshot;

fuzz_target!(|data: &[u8]| {
    let _ = Snapshot::decode_within(data, support::UNPACKED_BYTES_MAX);
    let _ = support::decode(data);
});
