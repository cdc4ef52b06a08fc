//! What the process of a compiler may use up of this machine: the kernel holds it to that.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::process::Child;

use super::{OutsideError, OutsideLimits};

/// Ended by who has no memory left, as Rust's allocations are,
const SIGABRT: i32 = 6;
/// and by the kernel, at the limit of processor time.
const SIGXCPU: i32 = 24;

/// Sets them for a process that runs, which cannot raise them again.
pub(super) fn set(child: &Child, limits: OutsideLimits) -> io::Result<()> {
    // One that has ended already needs none.
    let (Some(confine), Some(process)) = (limits.confine, child.id()) else {
        return Ok(());
    };
    let seconds = limits.time.as_secs() + u64::from(limits.time.subsec_nanos() > 0);
    confine(process, limits.memory_bytes, seconds)
}

/// Which limit it has ended at, if it has.
pub(super) fn exceeded(status: ExitStatus, said: &str, limits: OutsideLimits) -> Option<OutsideError> {
    match status.signal() {
        Some(SIGXCPU) => Some(OutsideError::Processor(limits.time)),
        Some(SIGABRT) if said.contains("memory allocation of") => {
            Some(OutsideError::Memory(limits.memory_bytes))
        }
        _ => None,
    }
}
