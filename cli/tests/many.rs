//! Many orders at once, lists as they are asked for, and projects that are begun: as people and scripts type
//! it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Up, User, command, run};

impl User {
    /// Types lines into a shell that is no terminal.
    fn shell(&self, lines: &str) -> (i32, String, String) {
        let mut shell = command(&self.up.broker, &["shell"]);
        let shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn names(&self) -> Vec<String> {
        let ran = self.types(0, &["ps", "--json", "--sort", "name"]);
        let programs = ran.documents().remove(0);
        let programs = programs.as_array().unwrap().iter();
        programs
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

const ORDERS: &str = r#"
# Three ways to say it.
run primes --name a -- 1000000000
{"do": "run", "args": ["primes", "--", "1000000000"], "name": "b"}
["run", "primes", "--name", "c", "--", "1000000000"]
"#;

#[test]
fn many_orders_are_one_operation_and_lists_are_asked_for_in_one_way() {
    let user = User::new();
    user.waits_for_engines();
    let orders = user.file("orders.jsonl", ORDERS);
    let dry = user.types(0, &["batch", &orders, "--dry-run"]);
    assert!(
        dry.stdout.contains("3 would be given, 0 refused"),
        "{}",
        dry.stdout
    );
    assert_eq!(user.names(), Vec::<String>::new());
    let given = user
        .types(0, &["batch", &orders, "--parallel", "3", "--json"])
        .documents();
    let summary = given.last().unwrap();
    assert_eq!(
        (&summary["done"], &summary["failed"]),
        (&Value::from(3), &Value::from(0))
    );
    assert_eq!(user.names(), ["a", "b", "c"]);

    // The dispatcher keeps them as parts of one.
    let batch = summary["batch"].as_str().unwrap();
    let waited = user.types(
        0,
        &["ops", "--batch", batch, "--where", "verb = run", "-o", "json"],
    );
    let parts = waited.documents().remove(0);
    assert_eq!(parts.as_array().map(Vec::len), Some(3), "{parts}");
    let whole = user
        .types(0, &["ops", "show", batch, "--json"])
        .documents()
        .remove(0);
    assert_eq!(
        (&whole["verb"], &whole["state"]),
        (&Value::from("batch"), &Value::from("done"))
    );

    // After a failure nothing is begun; --keep-going begins it.
    let bad = user.file(
        "bad.toml",
        "[[order]]\ndo = \"kill\"\nargs = \"nobody\"\n[[order]]\ndo = \"kill\"\nargs = \"a\"\n",
    );
    let ran = user.types(1, &["batch", &bad]);
    assert!(
        ran.stdout.contains("order 2 (kill a) was not begun"),
        "{}",
        ran.stdout
    );
    assert_eq!(user.names(), ["a", "b", "c"]);
    user.types(1, &["batch", &bad, "--keep-going"]);
    assert_eq!(user.names(), ["b", "c"]);
    // What is wrong with one is said before any is given.
    let wrong = user.file("wrong", "kill b\nmove c\n");
    let ran = user.types(2, &["batch", &wrong]);
    assert!(
        ran.stderr.contains("order 2 (move c): the following required"),
        "{}",
        ran.stderr
    );
    assert_eq!(user.names(), ["b", "c"]);

    let source = user.file("source", "ps --where 'name = c' -o csv\n");
    let (exit, stdout, stderr) = user.shell(&format!(
        "ps -q\nfly\nup\nsource {source}\nkill b\nexit\nkill c\n"
    ));
    assert_eq!(
        (exit, user.names()),
        (2, vec!["c".to_owned()]),
        "{stdout}{stderr}"
    );
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[2].starts_with("id,name,app,") && lines[2].contains(",memory_bytes,cpu_percent,"),
        "{stdout}"
    );
    assert!(lines[3].contains(",c,"), "{stdout}");
    assert!(
        stderr.contains("unrecognized subcommand 'fly'") && stderr.contains("up: it goes on"),
        "{stderr}"
    );

    let newest = user.types(
        0,
        &[
            "events",
            "--where",
            "kind = kill",
            "--sort",
            "age",
            "--limit",
            "1",
            "--json",
        ],
    );
    assert_eq!(newest.documents()[0][0]["name"], "b", "{}", newest.stdout);
    let refused = user.types(2, &["events", "-f", "--sort", "age"]);
    assert!(refused.stderr.contains("--follow"), "{}", refused.stderr);
    let file = user.file("f", "123");
    user.types(0, &["fs", "put", &file, "/fleet/long"]);
    user.types(0, &["fs", "mkdir", "/fleet/dir"]);
    assert_eq!(
        user.types(0, &["fs", "ls", "--where", "kind = file and length > 2K", "-q"])
            .stdout,
        ""
    );
    assert_eq!(
        user.types(0, &["fs", "ls", "--where", "kind = file", "-q"])
            .stdout,
        "long\n"
    );

    // What would be done to files and values, and what would refuse it.
    for (exit, says, arguments) in [
        (
            0,
            "would write /fleet/dir/f, as version 1",
            &["fs", "put", &file, "/fleet/dir"][..],
        ),
        (
            0,
            "would write /fleet/long, as version 2",
            &["fs", "put", &file, "/fleet/long"],
        ),
        (
            0,
            "would copy /fleet/long to /fleet/dir/long",
            &["fs", "cp", "/fleet/long", "/fleet/dir"],
        ),
        (
            0,
            "would rename /fleet/long to /fleet/dir/long",
            &["fs", "mv", "/fleet/long", "/fleet/dir"],
        ),
        (0, "would remove /fleet/long", &["fs", "rm", "/fleet/long"]),
        (1, "/fleet/no", &["fs", "rm", "/fleet/no"]),
        (1, "/fleet/no", &["fs", "mkdir", "/fleet/no/sub"]),
        (1, "/fleet/long", &["fs", "mkdir", "/fleet/long"]),
        (0, "nothing would change", &["state", "rm", "a/b"]),
        (
            0,
            "would set a/b, which is not there",
            &["state", "set", "a/b", "1"],
        ),
        (
            1,
            "it was not set",
            &["state", "set", "a/b", "1", "--expect", "3"],
        ),
        (
            0,
            "would set 0 values",
            &["state", "set", "a/+", "1", "--pattern"],
        ),
        (0, "would: ", &["hold", "--reason", "works"]),
        (0, "nothing would change", &["release"]),
        (1, "no language 'lua'", &["language", "rm", "lua"]),
        (
            0,
            "would add language lua",
            &["language", "add", "lua", "--module", &file, "--ext", ".lua"],
        ),
    ] {
        let ran = user.types(exit, &[arguments, &["--dry-run"]].concat());
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains(says),
            "{arguments:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
    }
    assert_eq!(user.types(0, &["fs", "ls", "/fleet/dir", "-q"]).stdout, "");
    user.types(0, &["hold", "--for", "10m"]);
    let held = user.types(1, &["fs", "rm", "/fleet/long"]);
    assert!(held.stderr.contains("held"), "{}", held.stderr);
    user.types(0, &["release"]);
    user.types(0, &["fs", "rm", "/fleet/long"]);

    let bundle = user.path("b.tar.gz");
    let made = user.types(0, &["support-bundle", "-o", &bundle]).stdout;
    for part in [
        "about.json",
        "fleet.json",
        "operations.json",
        "events.json",
        "logs/",
    ] {
        assert!(made.contains(part), "{made}");
    }
    assert!(!made.contains("not there"), "{made}");
    user.types(1, &["support-bundle", "-o", &bundle]);
}

#[test]
fn orders_and_logs_are_of_all_that_belongs_to_an_application_or_is_on_engines_with_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("up"), 2);
    up.waits_for_engines(2);
    let types = |exit: i32, arguments: &[&str]| {
        let ran = run(&up.broker, arguments);
        assert_eq!(ran.exit, exit, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    };
    let manifest = folder.path().join("app.toml");
    let text = "name = 'shop'\n[component.web]\nmodule = 'counter'\ncount = 2\nargs = ['100000', '100']\n";
    std::fs::write(&manifest, text).unwrap();
    types(0, &["app", "apply", manifest.to_str().unwrap(), "--wait"]);
    types(0, &["run", "counter", "--name", "alone", "--", "100000", "100"]);
    let would = |arguments: &[&str]| {
        let ran = types(0, &[arguments, &["--dry-run"]].concat());
        let mut names: Vec<String> = ran
            .stdout
            .lines()
            .map(|line| line.split(' ').nth(2).unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    for verb in ["kill", "pause"] {
        assert_eq!(would(&[verb, "--app", "shop"]), ["shop-web-0", "shop-web-1"]);
        assert_eq!(
            would(&[verb, "alone", "--app", "shop"]),
            ["alone", "shop-web-0", "shop-web-1"]
        );
    }
    for nothing in [
        &["--app", "other"][..],
        &["--app", "shop", "--label", "zone=attic"],
    ] {
        let refused = types(1, &[&["kill"], nothing].concat());
        assert!(
            refused.stderr.contains("nothing that has not ended"),
            "{}",
            refused.stderr
        );
    }
    types(2, &["kill"]);
    let lines = types(0, &["logs", "--app", "shop", "-n", "1"]).stdout;
    for instance in ["shop/web/0", "shop/web/1"] {
        assert!(lines.contains(instance), "{lines}");
    }
    let refused = types(1, &["logs", "--app", "other"]);
    assert!(
        refused.stderr.contains("no application 'other'"),
        "{}",
        refused.stderr
    );
}

/// Which `new` writes, and which needs no fleet to be tried.
#[test]
fn new_projects_build() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let begin = |arguments: &[&str]| {
        let ran = command("", &[&["new"], arguments].concat()).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest");
    let rust = path("rusty");
    assert_eq!(
        begin(&[&rust, "--lang", "rust", "--guest", guest.to_str().unwrap()]).0,
        Some(0)
    );
    let again = begin(&[&rust]);
    assert_eq!(again.0, Some(1));
    assert!(again.1.contains("is there already"), "{}", again.1);
    // For the target that the project names where that is installed, and for this machine otherwise.
    let rustc = |what: &[&str]| {
        let printed = Command::new("rustc").args(what).output().unwrap();
        String::from_utf8(printed.stdout).unwrap().trim().to_owned()
    };
    let wasm = "wasm32-wasip1";
    let is_there = Path::new(&rustc(&["--print", "target-libdir", "--target", wasm])).exists();
    let host = rustc(&["--print", "host-tuple"]);
    let target = if is_there { wasm } else { &host };
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--offline", "--target", target])
        .current_dir(&rust);
    for name in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    let built = cargo.output().unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    if is_there {
        let module = Path::new(&rust).join("target/wasm32-wasip1/debug/rusty.wasm");
        let module = module.to_str().unwrap();
        let inspected = command("", &["inspect", module, "--json"]).output().unwrap();
        let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
        assert_eq!(inspected["refusal"], Value::Null, "engines take it");
    }

    let python = path("snake");
    assert_eq!(begin(&[&python, "--lang", "python"]).0, Some(0));
    let ran = Command::new("python3")
        .args(["app.py", "1"])
        .current_dir(&python)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "hello 1\n");
    let c = path("sea");
    assert_eq!(begin(&[&c, "--lang", "c"]).0, Some(0));
    let header = std::fs::read(Path::new(&c).join("wayfare.h")).unwrap();
    assert_eq!(header, std::fs::read(guest.join("wayfare.h")).unwrap());
}

/// Types a verb, and Ctrl-C when it has printed so many lines. What it says then.
fn interrupted(user: &User, words: &[&str], lines: usize) -> (Option<i32>, String) {
    let mut verb = command(&user.up.broker, words);
    let verb = verb.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = verb.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..lines {
        let mut line = String::new();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "{words:?} has ended");
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let (mut rest, mut stderr) = (String::new(), String::new());
    stdout.read_to_string(&mut rest).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code(), stderr)
}

#[test]
fn ctrl_c_says_what_goes_on_and_how_to_end_it() {
    let user = User::new();
    user.waits_for_engines();
    // Its first line is that it runs, the next ones are its own.
    let run = ["run", "primes", "--name", "p", "--follow", "--", "1000000000"];
    let (exit, stderr) = interrupted(&user, &run, 2);
    assert_eq!(exit, Some(130), "{stderr}");
    assert!(
        stderr.contains("interrupted: ")
            && stderr.contains(" runs on: ")
            && stderr.contains("`wayfare kill "),
        "{stderr}"
    );
    assert_eq!(user.names(), ["p"]);
    // No engine has that label, so that it is never healthy.
    let manifest = user.file(
        "shop.toml",
        "name = \"shop\"\n[component.web]\nmodule = \"counter\"\nargs = [\"3\"]\nlabels = [\"no=where\"]\n",
    );
    let (exit, stderr) = interrupted(&user, &["app", "apply", &manifest, "--wait"], 1);
    assert_eq!(exit, Some(130), "{stderr}");
    assert!(
        stderr.contains("version 1 of 'shop' goes on being rolled out: `wayfare app status shop`"),
        "{stderr}"
    );
}

#[test]
fn who_waits_for_a_roll_out_is_told_what_that_waits_for() {
    let user = User::new();
    user.waits_for_engines();
    let version = |ms: &str| {
        let text = format!(
            "name = \"shop\"\n[update]\nwindow = {{ opens = \"0 0 29 2 *\", for = \"1m\" }}\n\
             [component.web]\nmodule = \"counter\"\nargs = [\"1000000000\", \"{ms}\"]\n"
        );
        user.file("shop.toml", text)
    };
    // The first version replaces nothing.
    user.types(0, &["app", "apply", &version("100"), "--wait"]);
    let waits = user.types(3, &["app", "apply", &version("200"), "--wait", "--timeout", "1s"]);
    assert!(
        waits
            .stderr
            .contains("not healthy in time: shop/web/0 (running) (")
            && waits.stderr.contains("its window opens in "),
        "{}",
        waits.stderr
    );
}
