//! What POSIX programs and the standard of preview 1 expect of files: the checks of the program `posix`, on
//! `/tmp`. On `/fleet` they are made end to end, where there is a dispatcher.
//!
//! The checks are those of the official suite for preview 1, and more: `preview1_suite.txt` says of each of
//! its programs where it is shown, or why it does not apply. What there is not:
//!
//! * Links, symbolic or hard: a path is resolved by names alone, so that none leads out of its mount. Making
//!   one fails with `ENOTSUP`, and there is none to be read or followed. These are `nofollow_errors`,
//!   `path_link`, `path_symlink_trailing_slashes`, `readlink`, `symlink_create`, `symlink_filestat`, and the
//!   second half of `path_exists`. The others about links take the error for an answer.
//! * Dropping rights: they follow from how a file was opened, as in wasmtime. `fd_fdstat_set_rights` fails
//!   with `ENOTSUP`, which the suite's programs take for an answer.
//! * Sockets, but for the errors that files and nothing give where a socket is asked for.
//! * On `/fleet`, setting times: the dispatcher's are those of its changes. These are parts of
//!   `fd_filestat_set` and `path_filestat`.

use super::moving::{MOVES, moved_runs_print};
use super::*;
use crate::Reply;
use wayfare_protocol::files::{FileAnswer, FileGrant, FileRefusal};

fn plan(argument: &str) -> Plan {
    static LOADED: LazyLock<Arc<Loaded>> = LazyLock::new(|| load_wasm(wayfare_samples::POSIX).unwrap());
    let mut plan = Plan::new(LOADED.clone());
    plan.spec.args = vec![argument.into()];
    plan
}

#[test]
fn files_are_what_posix_programs_expect_wherever_they_are_moved() {
    let plan = plan("/tmp");
    let said = plan.start().end_well();
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(said.lines().count() > 200 && said.ends_with("done\n"), "{said}");
    moved_runs_print("posix", &plan, &said, MOVES);
}

#[test]
fn a_line_is_shown_though_its_program_computes_on_and_never_says_so() {
    let run = plan("line").start();
    assert_eq!(stdout(&run.lines(1)), "a line, and then work\n");
    run.process.discard();
}

#[test]
fn what_is_open_in_an_unusual_way_is_so_where_the_program_goes_on() {
    let mut plan = plan("held");
    plan.spec.grants.fs = vec![FileGrant::try_from("/fleet:ro".to_owned()).unwrap()];
    let run = plan.start();
    run.asks();
    let moved = plan.restore(through_the_wire(&run.capture(false)));
    let absent = FileAnswer::Refused {
        why: FileRefusal::Absent,
    };
    let request = moved.asks().request;
    moved.process.service_answered(request, Ok(Reply::File(absent)));
    let (lines, state) = moved.end();
    assert_eq!(state, ProgramState::Exited { code: 0 });
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line.stream, String::from_utf8_lossy(line.text.as_bytes())))
        .collect();
    let expected = [
        "removed, and written",
        "renamed: 1",
        "gone: 1",
        "0: before, after",
    ];
    let expected: Vec<_> = expected.map(|text| (Stream::Stderr, text.into())).into();
    assert_eq!(said, expected, "and nothing of what was written to the file");
}
