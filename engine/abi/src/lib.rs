//! What programs, rewritten modules and the hosts that run them agree on. Each number and name stands here
//! once, and nowhere else.
//!
//! [`rewritten`] is what a module looks like from outside when the compiler has rewritten it, [`calls`] which
//! host calls there are and which of them can wait, [`message`] how a message is handed over, [`errno`] how a
//! call says that it failed.
//!
//! What always holds: a number that is here does not change its meaning. Programs and snapshots are older
//! than the engine that runs them.
#![forbid(unsafe_code)]

pub mod rewritten;

pub mod calls;
pub mod errno;
pub mod message;
