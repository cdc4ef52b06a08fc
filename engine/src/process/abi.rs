//! What a rewritten module looks like from outside: the contract of `wayfare_compiler::abi`, repeated here
//! because an engine without the compiler runs rewritten modules too. A test holds the two together.

/// Version of frames and site numbers.
pub const ABI: u32 = 2;

pub(super) const SAVE_MEMORY: &str = "wayfare:save";
pub(super) const UNWINDING: &str = "wayfare:unwinding";
pub(super) const START: &str = "wayfare:start";
pub(super) const RESUME: &str = "wayfare:resume";
pub(super) const GLOBAL_PREFIX: &str = "wayfare:global:";
pub(super) const MEMORY_PREFIX: &str = "wayfare:memory:";
pub(super) const TABLE_PREFIX: &str = "wayfare:table:";
pub(super) const REFERENCES: &str = "wayfare:references";
pub(super) const FUNCTIONS: &str = "wayfare:functions";
pub(super) const TOP_OFFSET: usize = 8;
pub(super) const REFERENCES_OFFSET: usize = 12;
pub(super) const FLAG_OFFSET: usize = 16;
pub(super) const FLAG_BYTES: usize = 4096;
pub(super) const FRAMES_OFFSET: usize = FLAG_OFFSET + FLAG_BYTES;

/// The host functions that can find themselves waiting. Part of the ABI: the sites of a module, and so the meaning
/// of its frames, depend on it.
pub fn may_block(module: &str, name: &str) -> bool {
    (module == super::wasi::MODULE && BLOCKING.contains(&name))
        || (module == super::calls::MODULE
            && (super::calls::BLOCKING.contains(&name) || super::device_calls::BLOCKING.contains(&name)))
}

/// All of the contract in a line: code for another one cannot run here.
pub fn name() -> String {
    let (wasi, calls) = (BLOCKING.join(" "), super::calls::BLOCKING.join(" "));
    let devices = super::device_calls::BLOCKING.join(" ");
    format!("{ABI} blocking {wasi}, {calls}, {devices}")
}

pub(super) const BLOCKING: [&str; 16] = [
    "fd_allocate",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_pread",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_seek",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_open",
    "path_remove_directory",
    "path_rename",
    "path_unlink_file",
    "poll_oneoff",
];

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use wayfare_compiler::abi;

    #[test]
    fn the_compiler_has_the_same_contract() {
        assert_eq!(super::ABI, abi::ABI);
        assert_eq!(
            [super::SAVE_MEMORY, super::UNWINDING, super::START, super::RESUME],
            [abi::SAVE_MEMORY, abi::UNWINDING, abi::START, abi::RESUME]
        );
        assert_eq!(
            [super::GLOBAL_PREFIX, super::MEMORY_PREFIX, super::TABLE_PREFIX],
            [abi::GLOBAL_PREFIX, abi::MEMORY_PREFIX, abi::TABLE_PREFIX]
        );
        assert_eq!(
            [super::REFERENCES, super::FUNCTIONS],
            [abi::REFERENCES, abi::FUNCTIONS]
        );
        assert_eq!(
            [
                super::FLAG_OFFSET,
                super::FLAG_BYTES,
                super::TOP_OFFSET,
                super::REFERENCES_OFFSET,
                super::FRAMES_OFFSET
            ]
            .map(|offset| offset as u64),
            [
                abi::FLAG_OFFSET,
                abi::FLAG_BYTES,
                abi::TOP_OFFSET,
                abi::REFERENCES_OFFSET,
                abi::FRAMES_OFFSET
            ]
        );
    }
}
