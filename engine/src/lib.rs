//! The Wayfare agent that runs programs on one board or host.
//!
//! [`mod@core`] decides and does nothing itself; [`process`] runs WebAssembly; [`shell`] has the disk, the broker and
//! the clock, and brings the two together. Start reading at [`core::types`].

#![deny(unsafe_code)]

pub mod core;
pub mod process;
pub mod shell;
