//! `wayfare language`, and programs as people write them, as people type it. The interpreter is the test
//! program `talk`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::{Ran, User, command};
use wayfare_protocol::ids::Digest;

impl User {
    fn json(&self, arguments: &[&str]) -> Value {
        self.types(0, &[&["--json"], arguments].concat())
            .documents()
            .remove(0)
    }

    /// Adds `talk` by options.
    fn adds(&self, module: &str, library: &str) -> Ran {
        let options = [
            "--ext",
            ".talk",
            "--env",
            "A=1",
            "--memory",
            "8M",
            "--timeout",
            "90s",
        ];
        let what = [
            "language",
            "add",
            "talk",
            "--module",
            module,
            "--library",
            library,
        ];
        self.types(0, &[&what[..], &options, &["--", "run", "{program}"]].concat())
    }
}

/// As what was fetched is kept: behind its digest.
fn blake3_headed(content: &[u8]) -> Vec<u8> {
    [&Digest::of(content).0[..], content].concat()
}

#[test]
fn a_program_in_a_language_is_run_as_it_is_written_and_moved_with_its_source() {
    let user = User::new();
    let module = user.file("talk.wasm", wayfare_samples::TALK);
    user.file("lib/deep/greeting", b"hello\n");
    let app = user.file(
        "app.talk",
        b"cat %\nhear 1\ncat /library/deep/greeting\nls /program\nput /program/x\n",
    );
    let unknown = user.types(1, &["run", &app]);
    assert!(
        unknown.stderr.contains(
            "no language runs .talk: JavaScript is built in, and the fleet has no other language yet"
        ),
        "{}",
        unknown.stderr
    );
    assert!(
        unknown.stderr.contains("wayfare language add"),
        "{}",
        unknown.stderr
    );

    let added = user.adds(&module, &user.path("lib"));
    assert_eq!(added.stdout, "talk runs .talk\n");
    // Once more: it is made another one.
    user.adds(&module, &user.path("lib"));
    let listed = user.json(&["language", "ls"]);
    assert_eq!(
        (&listed[1]["name"], &listed[1]["memory"]),
        (&"talk".into(), &"8M".into())
    );
    let other = user.file("other.rb", b"");
    let unknown = user.types(1, &["run", &other]);
    assert!(
        unknown.stderr.contains("and the fleet has talk (.talk)"),
        "{}",
        unknown.stderr
    );

    let running = user.json(&["run", &app, "--on", "local-1", "--", "/wayfare/nothing"]);
    let program = running["program"].as_str().unwrap();
    // It waits for a line, and the first is that it was moved.
    user.types(0, &["move", program, "--to", "local-2"]);
    let said = user.types(0, &["logs", program, "--follow", "--stream", "stdout"]);
    let expected =
        "/wayfare/nothing: No such file or directory\n{\"engine\":\"local-2\",\"event\":\"moved\"}\n";
    assert!(said.stdout.starts_with(expected), "{}", said.stdout);
    assert!(
        said.stdout.contains("hello") && said.stdout.ends_with("app.talk\n"),
        "{}",
        said.stdout
    );
    let status = user.json(&["inspect", program]);
    assert!(status.to_string().contains("app"), "{status}");

    // What was fetched once is here the next time, and something else where somebody has put that.
    let cache = user.path("cache");
    let run = |cached: bool| {
        let arguments = ["run", &app, "--timeout", "90s", "--", "/wayfare/nothing"];
        let mut typed = command(&user.up.broker, &arguments);
        if cached {
            typed.env("XDG_CACHE_HOME", &cache);
        }
        typed.output().unwrap()
    };
    assert!(run(true).status.success());
    let kept = std::fs::read_dir(format!("{cache}/wayfare/languages")).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 2, "a module and a library: {kept:?}");
    let module = kept.iter().find(|path| path.metadata().unwrap().len() > 10_000);
    let broken = blake3_headed(b"no module");
    std::fs::write(module.unwrap(), broken).unwrap();
    let taken = run(true);
    let said = String::from_utf8_lossy(&taken.stderr);
    assert!(!taken.status.success() && said.contains("WebAssembly"), "{said}");
    assert!(run(false).status.success());

    user.types(0, &["fs", "rm", "/fleet/languages/talk/module.wasm"]);
    let lacking = user.types(1, &["run", &app]);
    let says = "the language 'talk' lacks its module.wasm";
    assert!(lacking.stderr.contains(says), "{}", lacking.stderr);

    let removed = user.types(0, &["language", "rm", "talk"]);
    assert_eq!(removed.stdout, "removed language talk\n");
    let listed = user.json(&["language", "ls"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["name"], "javascript");
    let absent = user.types(1, &["language", "rm", "talk"]);
    assert!(absent.stderr.contains("no language 'talk'"), "{}", absent.stderr);
}

#[test]
fn a_folder_with_main_is_a_program_in_applications_too() {
    let user = User::new();
    user.file("talk/talk.wasm", wayfare_samples::TALK);
    let manifest =
        "name = 'talk'\nmodule = 'talk.wasm'\nextensions = ['talk']\nargs = ['run', '{program}']\n";
    let manifest = user.file("talk/language.toml", manifest.as_bytes());
    user.types(0, &["language", "add", &manifest, "--timeout", "90s"]);
    user.file("tool/main.talk", b"cat /program/part/text\nhear 1\n");
    user.file("tool/part/text", b"from a part\n");
    let app = "name = 'app'\n[component.tool]\nmodule = 'tool'\n";
    let app = user.file("app.toml", app.as_bytes());
    user.types(0, &["app", "apply", &app, "--wait", "--timeout", "90s"]);
    let same = user.types(0, &["app", "apply", &app, "--timeout", "90s"]);
    assert!(same.stdout.contains("no changes"), "{}", same.stdout);
    let said = user.types(0, &["logs", "app-tool-0"]);
    assert!(said.stdout.contains("from a part"), "{}", said.stdout);
    user.file("tool/part/text", b"another\n");
    let changed = user.types(1, &["app", "plan", &app]);
    assert!(changed.stdout.contains("tool"), "{}", changed.stdout);

    let one = user.file("two/main.talk", b"");
    user.file("two/main.lua", b"");
    let both = user.types(1, &["run", &one.replace("/main.talk", "")]);
    assert!(both.stderr.contains("both"), "{}", both.stderr);
}

/// Without an engine: CPython is compiled for minutes there. `languages/python/check` is the whole, by hand.
#[test]
fn the_module_for_python_speaks_lines() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../languages/python/tests");
    let mut python = std::process::Command::new("python3");
    python.args(["-B", "-m", "unittest", "discover", "-s"]).arg(tests);
    match python.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("WAYFARE_REQUIRE_PYTHON").is_none(), "no python3");
            eprintln!("skipped: no python3 to be had");
        }
        ran => {
            let ran = ran.unwrap();
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success() && said.contains("OK"), "{said}");
        }
    }
}
