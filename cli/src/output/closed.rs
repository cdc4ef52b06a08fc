//! Whether standard output was closed when this process began. Rust's runtime opens `/dev/null` in its place
//! before `main`, and whatever is printed would be gone without an error: so it is asked before that.
#![allow(unsafe_code, reason = "there is no other way to look before the runtime does")]

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the loader before Rust's runtime begins.
#[used]
// SAFETY: the section holds pointers to functions of this type, which the loader calls one after the other on
// the only thread there is.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: it only asks for a descriptor's flags, and needs nothing that is not there yet.
    let is_closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    CLOSED.store(is_closed, Ordering::Relaxed);
}

pub(super) fn standard_output() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
