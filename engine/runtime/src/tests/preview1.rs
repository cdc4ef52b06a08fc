//! The host functions one by one, called by programs in Wasm text.

use super::*;

/// All of preview 1, with its signatures.
const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("clock_res_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("fd_advise", "i32 i64 i64 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_close", "i32"),
    ("fd_datasync", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_fdstat_set_flags", "i32 i32"),
    ("fd_fdstat_set_rights", "i32 i64 i64"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_filestat_set_size", "i32 i64"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_prestat_dir_name", "i32 i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_renumber", "i32 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_sync", "i32"),
    ("fd_tell", "i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("proc_raise", "i32"),
    ("random_get", "i32 i32"),
    ("sched_yield", ""),
    ("sock_accept", "i32 i32 i32"),
    ("sock_recv", "i32 i32 i32 i32 i32 i32"),
    ("sock_send", "i32 i32 i32 i32 i32"),
    ("sock_shutdown", "i32 i32"),
];

/// A module that imports all, has `data` from address 1024 on, and runs `body`. `(call $check N)` exits with
/// that number unless the value on the stack before it is true.
fn with_all(data: &str, body: &str) -> String {
    let imports: String = FUNCTIONS
        .iter()
        .map(|(name, params)| {
            format!(
                "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {params}) (result i32)))\n"
            )
        })
        .collect();
    format!(
        r#"(module {imports}
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{data}")
  (func $check (param $true i32) (param $number i32)
    (if (i32.eqz (local.get $true)) (then (call $proc_exit (local.get $number)))))
  (func (export "_start") {body}))"#
    )
}

fn exit_code(plan: &Plan) -> i32 {
    match plan.start().next_but_lines() {
        ProcessEvent::Ended(ProgramState::Exited { code }) => code,
        event => panic!("{event:?}"),
    }
}

fn succeeds(body: &str) {
    assert_eq!(
        exit_code(&Plan::of(&with_all("", body))),
        0,
        "the number of the check that failed in {body}"
    );
}

/// `function` called with `args` gives `errno`.
fn gives(function: &str, args: &str, errno: i32) {
    let body = format!("(call $proc_exit (call ${function} {}))", constants(args));
    assert_eq!(
        exit_code(&Plan::of(&with_all("", &body))),
        errno,
        "{function} {args}"
    );
}

fn constants(args: &str) -> String {
    args.split_whitespace()
        .map(|arg| match arg.strip_suffix('L') {
            Some(long) => format!("(i64.const {long})"),
            None => format!("(i32.const {arg})"),
        })
        .collect()
}

#[test]
fn every_pointer_is_checked() {
    for (function, args) in [
        ("args_sizes_get", "65533 0"),
        ("args_sizes_get", "0 -1"),
        ("args_get", "65534 0"),
        ("args_get", "0 65534"),
        ("environ_sizes_get", "0 65535"),
        ("environ_get", "0 -3"),
        ("clock_time_get", "1 0L 65529"),
        ("clock_res_get", "1 -8"),
        ("random_get", "65535 2"),
        ("random_get", "0 -1"),
        ("fd_write", "1 65529 1 0"),
        ("fd_write", "1 0 1 65533"),
        ("fd_read", "0 65529 1 0"),
        ("fd_read", "0 0 1 -4"),
        ("fd_fdstat_get", "1 65513"),
        ("fd_filestat_get", "1 65500"),
        ("poll_oneoff", "65489 0 1 0"),
        ("poll_oneoff", "0 65505 1 0"),
        ("poll_oneoff", "0 0 1 65533"),
    ] {
        gives(function, args, 21);
    }
    // A buffer that the vector names, rather than the vector.
    succeeds(
        "(i32.store (i32.const 0) (i32.const 65530)) (i32.store (i32.const 4) (i32.const 7))
         (call $check (i32.eq (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 21)) (i32.const 1))
         (i32.store (i32.const 4) (i32.const -1))
         (call $check (i32.eq (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 21)) (i32.const 2))
         (call $check (i32.eq (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 21)) (i32.const 3))",
    );
}

#[test]
fn what_there_is_not_says_so() {
    for (function, args, errno) in [
        ("fd_prestat_get", "3 0", 0),
        ("fd_prestat_get", "4 0", 0),
        ("fd_prestat_get", "5 0", 0),
        ("fd_prestat_get", "6 0", 8),
        ("fd_prestat_dir_name", "3 0 3", 37),
        ("fd_prestat_dir_name", "3 0 4", 0),
        ("fd_prestat_dir_name", "4 0 6", 0),
        ("fd_prestat_dir_name", "5 0 8", 0),
        ("fd_readdir", "4 0 8 0L 8", 76),
        ("path_rename", "3 1024 1 4 1024 1", 28),
        ("fd_write", "0 0 0 0", 8),
        ("fd_write", "7 0 0 0", 8),
        ("fd_read", "1 0 0 0", 8),
        ("fd_renumber", "1 3", 0),
        ("fd_renumber", "3 1", 0),
        ("fd_close", "0", 0),
        ("sock_shutdown", "3 1", 57),
        ("path_readlink", "3 1024 1 0 0 0", 28),
        ("path_symlink", "1024 1 3 1024 1", 58),
        ("path_link", "3 0 1024 1 3 1024 1", 58),
        ("fd_read", "3 0 0 0", 31),
        ("fd_read", "6 0 0 0", 8),
        ("fd_write", "3 0 0 0", 8),
        ("fd_seek", "3 0L 0 0", 31),
        ("fd_readdir", "3 0 0 0L 65533", 21),
        ("fd_readdir", "3 65000 1000 0L 0", 21),
        ("fd_renumber", "3 9", 8),
        ("fd_sync", "3", 0),
        ("path_open", "3 0 -1 1 1 64L 64L 0 0", 21),
        ("path_open", "3 0 1024 1 1 64L 64L 0 65533", 21),
        ("path_rename", "3 65530 9 3 0 1", 21),
        ("path_create_directory", "3 0 0", 44),
        ("fd_write", "1 0 1025 0", 28),
        ("fd_seek", "0 0L 1 0", 70),
        ("fd_tell", "9 0", 8),
        ("fd_close", "1", 0),
        ("fd_close", "6", 8),
        ("fd_fdstat_set_flags", "1 1", 0),
        ("fd_fdstat_set_flags", "1 4", 58),
        ("path_open", "6 0 0 1 0 0L 0L 0 0", 8),
        ("path_open", "1 0 0 1 0 0L 0L 0 0", 54),
        ("path_unlink_file", "6 0 1", 8),
        ("path_filestat_get", "6 0 0 1 0", 8),
        ("sock_send", "1 0 0 0 0", 57),
        ("sock_accept", "6 0 0", 8),
        ("clock_time_get", "2 0L 0", 28),
        ("poll_oneoff", "0 0 0 0", 28),
        ("poll_oneoff", "0 0 -1 0", 28),
        ("proc_raise", "6", 52),
        ("sched_yield", "", 0),
    ] {
        gives(function, args, errno);
    }
}

/// Each function with each of its arguments, and with all, as strange as it gets: they fail, and nothing else
/// does.
#[test]
fn no_argument_is_too_strange() {
    const LONG: [&str; 4] = ["0", "-1", "9223372036854775807", "-9223372036854775808"];
    const SHORT: [&str; 7] = ["0", "-1", "3", "4", "1024", "65535", "-2147483648"];
    for (name, params) in FUNCTIONS {
        // What it reads could have it sleep for centuries, and every pointer of it is checked above.
        if *name == "poll_oneoff" {
            continue;
        }
        let params: Vec<&str> = params.split_whitespace().collect();
        let usual = |kind: &str| {
            (if kind == "i64" {
                "(i64.const 0)"
            } else {
                "(i32.const 3)"
            })
            .to_owned()
        };
        let strange = |kind: &str, which: usize| match kind {
            "i64" => format!("(i64.const {})", LONG[which % LONG.len()]),
            _ => format!("(i32.const {})", SHORT[which % SHORT.len()]),
        };
        let mut body = String::new();
        for which in 0..SHORT.len() {
            for odd in 0..=params.len() {
                let arguments: String = params
                    .iter()
                    .enumerate()
                    .map(|(index, kind)| match odd == index || odd == params.len() {
                        true => strange(kind, which),
                        false => usual(kind),
                    })
                    .collect();
                body.push_str(&format!("(drop (call ${name} {arguments}))\n"));
            }
        }
        succeeds(&body);
    }
}

#[test]
fn arguments_and_environment_arrive() {
    let body = r#"
      (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
      (call $check (i32.eq (i32.load (i32.const 0)) (i32.const 3)) (i32.const 1))
      (call $check (i32.eq (i32.load (i32.const 4)) (i32.const 12)) (i32.const 2))
      (drop (call $args_get (i32.const 16) (i32.const 64)))
      (call $check (i32.eq (i32.load (i32.const 16)) (i32.const 64)) (i32.const 3))
      (call $check (i32.eq (i32.load (i32.const 20)) (i32.const 69)) (i32.const 4))
      (call $check (i64.eq (i64.load (i32.const 64)) (i64.load (i32.const 1024))) (i32.const 5))
      (call $check (i32.eq (i32.load (i32.const 72)) (i32.load (i32.const 1032))) (i32.const 6))
      (drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
      (call $check (i32.eq (i32.load (i32.const 0)) (i32.const 1)) (i32.const 7))
      (call $check (i32.eq (i32.load (i32.const 4)) (i32.const 13)) (i32.const 8))
      (drop (call $environ_get (i32.const 16) (i32.const 64)))
      (call $check (i64.eq (i64.load (i32.const 64)) (i64.load (i32.const 1036))) (i32.const 9))"#;
    let mut plan = Plan::of(&with_all(r"test\00a\00\c3\a9e\00\00COLOUR=green\00", body));
    plan.spec = spec(&["a", "ée"]);
    // "test\0" "a\0" "ée\0\0"... the last argument has one NUL; sizes are what counts.
    plan.spec.args[1] = "ée\u{1}".into();
    let mut loaded = plan.clone();
    loaded.loaded = load(&with_all(r"test\00a\00\c3\a9e\01\00COLOUR=green\00", body));
    assert_eq!(exit_code(&loaded), 0);
}

#[test]
fn standard_input_is_read_to_its_end() {
    let body = r#"
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3))
      (i32.store (i32.const 8) (i32.const 80)) (i32.store (i32.const 12) (i32.const 2))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 32)))
      (call $check (i32.eq (i32.load (i32.const 32)) (i32.const 5)) (i32.const 1))
      (call $check (i32.eq (i32.load (i32.const 64)) (i32.const 0x00636261)) (i32.const 2))
      (call $check (i32.eq (i32.load (i32.const 80)) (i32.const 0x00006564)) (i32.const 3))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 32)))
      (call $check (i32.eq (i32.load (i32.const 32)) (i32.const 1)) (i32.const 4))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 32)))
      (call $check (i32.eqz (i32.load (i32.const 32))) (i32.const 5))"#;
    let mut plan = Plan::of(&with_all("", body));
    plan.stdin = Some(Arc::from(&b"abcdef"[..]));
    assert_eq!(exit_code(&plan), 0);
    plan.stdin = None;
    assert_eq!(exit_code(&plan), 1, "without input there is nothing to read");
}

#[test]
fn clocks_and_randomness_work() {
    succeeds(
        r#"
      (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)))
      (call $check (i64.gt_u (i64.load (i32.const 0)) (i64.const 1700000000000000000)) (i32.const 1))
      (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
      (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 8)))
      (call $check (i64.ge_u (i64.load (i32.const 8)) (i64.load (i32.const 0))) (i32.const 2))
      (call $check (i32.eqz (call $random_get (i32.const 64) (i32.const 65472))) (i32.const 3))
      (call $check (i64.ne (i64.load (i32.const 65528)) (i64.load (i32.const 64))) (i32.const 4))
      (i64.store (i32.const 64) (i64.const 7))
      (call $check (i32.eqz (call $random_get (i32.const 64) (i32.const 0))) (i32.const 5))
      (call $check (i64.eq (i64.load (i32.const 64)) (i64.const 7)) (i32.const 6))
      (i64.store (i32.const 0) (i64.const 0)) (i64.store (i32.const 8) (i64.const 0))
      (call $check (i32.eqz (call $clock_res_get (i32.const 0) (i32.const 0))) (i32.const 7))
      (call $check (i32.eqz (call $clock_res_get (i32.const 1) (i32.const 8))) (i32.const 8))
      (call $check (i64.ne (i64.load (i32.const 0)) (i64.const 0)) (i32.const 9))
      (call $check (i64.ne (i64.load (i32.const 8)) (i64.const 0)) (i32.const 10))"#,
    );
}

#[test]
fn no_call_returns_from_an_exit_and_its_code_is_told() {
    for code in [0, 1, 33, 255, -1] {
        let body = format!("(call $proc_exit (i32.const {code})) (call $proc_exit (i32.const 99))");
        assert_eq!(exit_code(&Plan::of(&with_all("", &body))), code);
    }
}

#[test]
fn without_variables_there_are_none() {
    let body = r#"
      (i64.store (i32.const 0) (i64.const -1))
      (call $check (i32.eqz (call $environ_sizes_get (i32.const 0) (i32.const 4))) (i32.const 1))
      (call $check (i64.eqz (i64.load (i32.const 0))) (i32.const 2))
      (call $check (i32.eqz (call $environ_get (i32.const 16) (i32.const 64))) (i32.const 3))"#;
    let mut plan = Plan::of(&with_all("", body));
    plan.spec.env.clear();
    assert_eq!(exit_code(&plan), 0, "the number of the check that failed");
}

/// Of 3, 4 and 5, which are mounts, 5 takes the place of 3 and 4 is closed.
#[test]
fn a_mount_is_closed_and_replaced_as_any_descriptor_is() {
    succeeds(
        "(call $check (i32.eqz (call $fd_filestat_get (i32.const 5) (i32.const 0))) (i32.const 1))
         (call $check (i32.eqz (call $fd_renumber (i32.const 5) (i32.const 3))) (i32.const 2))
         (call $check (i32.eqz (call $fd_filestat_get (i32.const 3) (i32.const 64))) (i32.const 3))
         (call $check (i64.eq (i64.load (i32.const 0)) (i64.load (i32.const 64))) (i32.const 4))
         (call $check (i64.eq (i64.load (i32.const 8)) (i64.load (i32.const 72))) (i32.const 5))
         (call $check (i32.eq (call $fd_fdstat_get (i32.const 5) (i32.const 128)) (i32.const 8)) (i32.const 6))
         (call $check (i32.eqz (call $fd_close (i32.const 4))) (i32.const 7))
         (call $check (i32.eq (call $fd_fdstat_get (i32.const 4) (i32.const 128)) (i32.const 8)) (i32.const 8))
         (call $check (i32.eqz (call $fd_fdstat_get (i32.const 3) (i32.const 128))) (i32.const 9))
         (call $check (i32.eq (i32.load8_u (i32.const 128)) (i32.const 3)) (i32.const 10))
         (call $check (i32.eqz (call $fd_close (i32.const 3))) (i32.const 11))
         (call $check (i32.eq (call $fd_fdstat_get (i32.const 3) (i32.const 128)) (i32.const 8)) (i32.const 12))",
    );
}

/// The list of them says where each is, or why it is not.
#[test]
fn every_program_of_the_official_suite_is_written_anew_or_does_not_apply() {
    let posix = include_str!("../../../../samples/programs/posix/main.c");
    let tests = [include_str!("preview1.rs"), include_str!("posix.rs")].concat();
    let mut programs = BTreeMap::new();
    let list = include_str!("preview1_suite.txt").lines();
    for line in list.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (program, shown) = line.split_once(char::is_whitespace).expect(line);
        let (how, where_) = shown.trim().split_once(": ").expect(line);
        let is_shown = |name: &str| match how {
            "posix" => posix.contains(&format!("(\"{name}")),
            "test" => tests.contains(&format!("\nfn {name}() {{")),
            "none" => !name.is_empty(),
            _ => false,
        };
        for name in where_.split("; ") {
            assert!(is_shown(name), "{program}: there is no '{name}'");
        }
        assert!(
            programs.insert(program, how).is_none(),
            "{program} is named twice"
        );
    }
    // So many the suite had when it was last looked at.
    assert_eq!(programs.len(), 72);
    let applying = programs.values().filter(|how| **how != "none").count();
    assert_eq!(applying, 62);
}

#[test]
fn polling_gives_the_events_that_happened() {
    // A far time, standard output, standard input without bytes, a descriptor that is not there, a past time.
    let subscription = |at: u32, userdata: u32, tag: u32, id: u32, timeout: &str, flags: u32| {
        format!(
            "(i32.store (i32.const {at}) (i32.const {userdata})) (i32.store8 (i32.const {}) (i32.const {tag}))
             (i32.store (i32.const {}) (i32.const {id})) (i64.store (i32.const {}) (i64.const {timeout}))
             (i32.store16 (i32.const {}) (i32.const {flags}))",
            at + 8,
            at + 16,
            at + 24,
            at + 40
        )
    };
    let all = [
        subscription(0, 100, 0, 1, "9000000000000000000", 0),
        subscription(48, 101, 2, 1, "0", 0),
        subscription(96, 102, 1, 0, "0", 0),
        subscription(144, 103, 1, 9, "0", 0),
        subscription(192, 104, 0, 0, "1", 1),
        subscription(240, 105, 0, 7, "1", 1),
    ]
    .concat();
    let event = |index: u32, userdata: u32, errno: u32| {
        let at = 4096 + index * 32;
        format!(
            "(call $check (i32.eq (i32.load (i32.const {at})) (i32.const {userdata})) (i32.const {}))
             (call $check (i32.eq (i32.load16_u (i32.const {})) (i32.const {errno})) (i32.const {}))",
            index + 10,
            at + 8,
            index + 20
        )
    };
    let events = [
        event(0, 101, 0),
        event(1, 102, 0),
        event(2, 103, 8),
        event(3, 104, 0),
        event(4, 105, 28),
    ]
    .concat();
    succeeds(&format!(
        "{all} (call $check (i32.eqz (call $poll_oneoff (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 8192))) (i32.const 1))
         (call $check (i32.eq (i32.load (i32.const 8192)) (i32.const 5)) (i32.const 2)) {events}"
    ));
}

#[test]
fn a_program_without_memory_that_calls_the_host_fails_alone() {
    let run = Plan::of(
        r#"(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (func (export "_start") (drop (call $random (i32.const 0) (i32.const 1)))))"#,
    )
    .start();
    let ProcessEvent::Ended(ProgramState::Failed { reason }) = run.next() else {
        panic!("it fails")
    };
    assert!(reason.contains("memory"), "{reason}");
}
