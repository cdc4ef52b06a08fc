//! How much address space there is for programs' memories, and what is said where there is none.

use wayfare_protocol::error::Failure;

/// wasmtime reserves 4 GiB of it for each memory, so that compiled code need not check addresses. Where it is
/// limited (`ulimit -v`, `LimitAS=` of a service, kernels for small processors) that is not to be had for
/// many programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSpace {
    Ample,
    /// Memories are reserved as large as they are, and code checks addresses.
    Scarce,
}

/// What thirty programs with two memories each reserve.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
const AMPLE_BYTES: usize = 256 << 30;

/// Whether the system counts memory that is reserved and never touched, so that large stacks are dear.
#[cfg(feature = "compiler")]
pub(super) fn counts_untouched() -> bool {
    /// See `proc_sys_vm(5)`.
    const NEVER_OVERCOMMIT: &str = "2";
    let mode = std::fs::read_to_string("/proc/sys/vm/overcommit_memory");
    mode.is_ok_and(|mode| mode.trim() == NEVER_OVERCOMMIT)
}

impl AddressSpace {
    /// By trying.
    pub fn probe() -> Self {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        if !super::raw::can_reserve(AMPLE_BYTES) {
            return Self::Scarce;
        }
        // wasmtime reserves little on 32 bits.
        Self::Ample
    }
}

/// What an error of wasmtime's that is nobody's fault is to who asked.
pub(super) fn internal(error: impl Into<wasmtime::Error>) -> Failure {
    let error = error.into();
    lacking(&error).unwrap_or_else(|| Failure::Internal {
        reason: format!("{error:#}"),
    })
}

/// What to say if it is the kernel that gave no memory.
pub(super) fn lacking(error: &wasmtime::Error) -> Option<Failure> {
    let text = format!("{error:#}");
    (text.contains("mmap failed") || text.contains("Cannot allocate memory")).then(|| Failure::Internal {
        reason: format!(
            "no address space for the program's memory: raise its limit (ulimit -v, or LimitAS= of the service), or end \
             other programs ({text})"
        ),
    })
}
