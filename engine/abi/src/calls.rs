//! The host calls by module and name: those that can find themselves waiting, in one table.

use crate::rewritten::ABI;

/// The module that WASI preview 1's calls are imported from.
pub const WASI_MODULE: &str = "wasi_snapshot_preview1";
/// The module of Wayfare's own calls. The version is part of the name: a program that asks for another finds
/// nothing by this one.
pub const WAYFARE_MODULE: &str = "wayfare_v1";

/// The calls that can find themselves waiting. The table is part of the ABI: the sites of a module, and so
/// the meaning of its frames, depend on it. Groups and names stand in the order that [`name`] writes them in.
const BLOCKING: [(&str, &[&str]); 3] = [
    (
        WASI_MODULE,
        &[
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
        ],
    ),
    // Messages by topic, and values.
    (
        WAYFARE_MODULE,
        &[
            "subscribe",
            "publish",
            "receive",
            "request",
            "await_reply",
            "reply",
            "state_get",
            "state_set",
            "state_compare_and_set",
            "state_remove",
        ],
    ),
    // Devices.
    (WAYFARE_MODULE, &["gpio_wait", "serial_read", "serial_write"]),
];

/// Calls of programs to each other. Of the same table, but written as one word: the line that [`name`] makes
/// has its limit in headers of code. Another call here would need another word.
const CALLS: [&str; 5] = ["serve", "call", "next_reply", "answer", "send"];
const CALLS_WORD: &str = "calls";

/// Whether an imported function can find itself waiting.
pub fn may_block(module: &str, name: &str) -> bool {
    BLOCKING
        .iter()
        .any(|(of, names)| *of == module && names.contains(&name))
        || module == WAYFARE_MODULE && CALLS.contains(&name)
}

/// All of the contract in a line: code for another one cannot run here.
pub fn name() -> String {
    let groups = BLOCKING.map(|(_, names)| names.join(" "));
    format!("{ABI} blocking {}, {CALLS_WORD}", groups.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines and dispatchers of other releases compare this very line, and code on disk is found by it.
    #[test]
    fn the_contract_of_this_release_is_this_line() {
        assert_eq!(
            name(),
            "2 blocking fd_allocate fd_filestat_get fd_filestat_set_size fd_pread fd_pwrite fd_read fd_readdir fd_seek fd_write \
             path_create_directory path_filestat_get path_open path_remove_directory path_rename path_unlink_file poll_oneoff, \
             subscribe publish receive request await_reply reply state_get state_set state_compare_and_set state_remove, \
             gpio_wait serial_read serial_write, \
             calls"
        );
    }

    #[test]
    fn calls_wait_by_module_and_name() {
        assert!(may_block(WASI_MODULE, "poll_oneoff"));
        assert!(may_block(WAYFARE_MODULE, "receive"));
        assert!(may_block(WAYFARE_MODULE, "gpio_wait"));
        assert!(may_block(WAYFARE_MODULE, "next_reply"));
        assert!(!may_block(WAYFARE_MODULE, "poll_oneoff"));
        assert!(!may_block(WASI_MODULE, "call"));
        assert!(!may_block(WASI_MODULE, "clock_time_get"));
        assert!(!may_block("env", "receive"));
    }
}
