//! The flag that other threads raise in a program's memory, so that the program looks what is wanted of it.
//!
//! Apart from what raises it with the program inside, since both the handle and the thread know it.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use wayfare_abi::rewritten::FLAG_BYTES;

/// The words whose bytes a running program polls, each poll of a function another. There is one exactly while
/// `raw::call_flagged` is in Wasm.
pub(super) struct Flag(*const AtomicU64);

const FLAG_WORDS: usize = FLAG_BYTES as usize / size_of::<AtomicU64>();

// SAFETY: the pointer is only used for atomic stores, which any thread may make while it is valid.
unsafe impl Send for Flag {}

impl Flag {
    /// `words` stays in bounds of memory that is neither moved nor freed as long as there is the flag, and is
    /// aligned.
    pub(super) unsafe fn new(words: *const AtomicU64) -> Self {
        Self(words)
    }

    /// Asks for a capture. The program sees it at its next poll: its plain load is one machine load of a
    /// byte, which these stores cannot tear. `Relaxed`, because nothing is passed along: what is asked for is
    /// read under a mutex.
    pub(super) fn raise(&self) {
        // SAFETY: in bounds, aligned and alive: see `call_flagged`. On this side the words are only accessed
        // atomically; compiled Wasm is outside of Rust's memory model.
        for word in unsafe { std::slice::from_raw_parts(self.0, FLAG_WORDS) } {
            word.store(0x0101_0101_0101_0101, Ordering::Relaxed);
        }
    }
}
