//! The Wayfare agent that runs programs on one board or host.
//!
//! [`wayfare_core`] decides and does nothing itself; [`wayfare_runtime`] runs WebAssembly; [`shell`] has the
//! disk, the broker and the clock, and brings the two together. Start reading at [`wayfare_core::types`].

#![forbid(unsafe_code)]

pub mod shell;
