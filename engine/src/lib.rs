//! The Wayfare agent that runs programs on one board or host.
//!
//! [`wayfare_core`] decides and does nothing itself; [`process`] runs WebAssembly; [`shell`] has the disk, the broker and
//! the clock, and brings the two together. Start reading at [`wayfare_core::types`].

#![deny(unsafe_code)]

pub mod process;
pub mod shell;
