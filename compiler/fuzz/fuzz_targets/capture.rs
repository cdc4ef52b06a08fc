//! Random modules come to the same as they are, rewritten, and captured at random points:
//! `compiler/tests/generated.rs` without an end.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use support::Random;
use support::generated::{compare, module};
use wasmtime::Engine;

static ENGINE: LazyLock<Engine> = LazyLock::new(support::engine);

fuzz_target!(|data: &[u8]| {
    let Some((seed, data)) = data.split_first_chunk() else {
        return;
    };
    if let Some(wasm) = module(data) {
        support::with_stack(|| {
            compare(&ENGINE, &wasm, &mut Random(u64::from_le_bytes(*seed)));
        });
    }
});
