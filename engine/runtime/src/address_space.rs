//! How much address space there is for programs' memories.

/// wasmtime reserves 4 GiB of it for each memory, so that compiled code need not check addresses. Where it is limited (`ulimit -v`,
/// `LimitAS=` of a service, kernels for small processors) that is not to be had for many programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSpace {
    Ample,
    /// Memories are reserved as large as they are, and code checks addresses.
    Scarce,
}

/// What thirty programs with two memories each reserve.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
const AMPLE_BYTES: usize = 256 << 30;

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
