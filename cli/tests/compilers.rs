//! `wayfare compile`, and a dispatcher whose compiler is a process of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Process, Ran, command, run};
use tempfile::TempDir;
use tokio::time::timeout;
use wayfare_client::{Client, ClientOptions};
use wayfare_dispatcher::compilers::CompilerAbout;
use wayfare_link::{BrokerOptions, BrokerUrl, EmbeddedBroker};
use wayfare_protocol::code::CodeTarget;
use wayfare_protocol::code::unsigned::Unsigned;
use wayfare_protocol::ids::Digest;

/// Above what anything takes, on machines that do much else.
const WAIT_MAX: Duration = Duration::from_secs(90);
const NOWHERE: &str = "mqtt://127.0.0.1:1";

fn about() -> CompilerAbout {
    let ran = run(NOWHERE, &["--json", "compile", "--about"]);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let about: CompilerAbout = serde_json::from_value(ran.documents().remove(0)).unwrap();
    about.check().unwrap();
    about
}

fn for_architecture(about: &CompilerAbout, architecture: &str) -> CodeTarget {
    CodeTarget {
        architecture: architecture.into(),
        wasmtime: about.wasmtime.clone(),
        abi: about.abi.clone(),
    }
}

/// `wayfare compile` of standard input to standard output, as a dispatcher runs it.
fn compile(architecture: &str, wasm: &[u8]) -> (i32, Vec<u8>, String) {
    let arguments = [
        "compile",
        "--json",
        "--target",
        architecture,
        "--output",
        "-",
        "-",
    ];
    let mut command = command(NOWHERE, &arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(wasm).unwrap();
    drop(stdin);
    let ran = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    (ran.status.code().unwrap(), ran.stdout, stderr)
}

#[test]
fn a_module_is_compiled_for_everything_that_is_said_and_for_nothing_else() {
    let about = about();
    let wasm = wayfare_samples::find("fib").unwrap().wasm;
    let module = Digest::of(wasm);
    for architecture in ["aarch64", "pulley32", "x86_64"] {
        assert!(about.architectures.contains(architecture), "{about:?}");
        let (exit, printed, stderr) = compile(architecture, wasm);
        assert_eq!(exit, 0, "{stderr}");
        let made = Unsigned::decode(&printed, module, &for_architecture(&about, architecture)).unwrap();
        assert_eq!(made.compiler, about.compiler);
    }
    for (architecture, wasm, said) in [("z80", wasm, "z80"), ("x86_64", &b"hello"[..], "module")] {
        let (exit, printed, stderr) = compile(architecture, wasm);
        assert_eq!((exit, printed), (1, Vec::new()), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn people_are_shown_what_it_would_be_and_get_it_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fib.code");
    let only_shown = run(NOWHERE, &["--json", "compile", "fib", "--target", "pulley32"]);
    assert_eq!(only_shown.exit, 0, "{}", only_shown.stderr);
    let shown = only_shown.documents().remove(0);
    assert!(
        shown["output"].is_null() && shown["target"]["architecture"] == "pulley32",
        "{shown}"
    );
    let file = path.to_str().unwrap();
    let ran = run(
        NOWHERE,
        &["compile", "fib", "--target", "pulley32", "--output", file],
    );
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("of code for pulley32") && ran.stdout.contains(file),
        "{}",
        ran.stdout
    );
    let written = std::fs::read(path).unwrap();
    let module = Digest::of(wayfare_samples::find("fib").unwrap().wasm);
    let made = Unsigned::decode(&written, module, &for_architecture(&about(), "pulley32")).unwrap();
    assert_eq!(made.code.len() as u64, shown["bytes"].as_u64().unwrap());
    assert_eq!(run(NOWHERE, &["compile"]).exit, 2);
}

#[test]
fn what_is_no_compiler_is_refused_at_the_dispatchers_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for (path, said) in [
        ("/nonexistent/wayfare", "cannot be started"),
        ("/bin/echo", "it is not a compiler"),
        ("/bin/false", "it ended with"),
    ] {
        let ran = run(NOWHERE, &["dispatcher", "--data", data, "--compiler", path]);
        assert_eq!(ran.exit, 1, "{}", ran.stderr);
        for part in [path, said, "another release"] {
            assert!(ran.stderr.contains(part), "{part} is not in: {}", ran.stderr);
        }
    }
}

/// A broker, a dispatcher with a compiler outside, and an engine that compiles nothing.
struct Fleet {
    broker: EmbeddedBroker,
    folder: TempDir,
    _processes: Vec<Process>,
}

impl Fleet {
    /// `compile` is what a shell does with the arguments that are not about itself; `$wayfare` is this build.
    async fn start(compile: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await.unwrap();
        let url: BrokerUrl = broker.local_addr().into();
        let compiler = script(folder.path(), compile);
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (data, compiler) = (path("dispatcher"), compiler.to_str().unwrap());
        let shown = run(NOWHERE, &["--json", "key", "init", "--data", &data]);
        assert_eq!(shown.exit, 0, "{}", shown.stderr);
        let shown = run(NOWHERE, &["key", "show", "--data", &data]);
        let key = shown.stdout.split_whitespace().next().unwrap().to_owned();
        let start = |arguments: &[&str]| Process(command(&url.to_string(), arguments).spawn().unwrap());
        let dispatcher = start(&[&["dispatcher", "--data", &data, "--compiler", compiler], more].concat());
        let url_text = url.to_string();
        let engine = start(&[
            "engine",
            "--id",
            "board",
            "--broker",
            &url_text,
            "--data",
            &path("board"),
            "--signed-only",
            "--trust",
            &key,
        ]);
        let fleet = Self {
            broker,
            folder,
            _processes: vec![dispatcher, engine],
        };
        fleet.until_there("board").await;
        fleet
    }

    async fn until_there(&self, engine: &str) {
        let options = ClientOptions::new(self.broker.local_addr().into());
        let client = Client::connect(options).await.unwrap();
        let mut seen = 0;
        let there = async {
            while !client
                .engines()
                .await
                .unwrap()
                .iter()
                .any(|view| view.engine.as_str() == engine && view.online)
            {
                client.changed(&mut seen).await.unwrap();
            }
        };
        timeout(WAIT_MAX, there).await.expect("the engine comes");
        client.close().await;
    }

    async fn runs(&self, module: &'static str) -> Ran {
        let url: BrokerUrl = self.broker.local_addr().into();
        let arguments = [
            "run",
            module,
            "--on",
            "board",
            "--follow",
            "--timeout",
            "90s",
            "--",
            "10",
        ];
        tokio::task::spawn_blocking(move || run(&url.to_string(), &arguments))
            .await
            .unwrap()
    }
}

/// Written by another process: what this one had open for writing could not be run while another test's fork
/// still has it.
fn script(folder: &Path, compile: &str) -> PathBuf {
    let path = folder.join("compiler");
    let (folder, wayfare) = (folder.display(), env!("CARGO_BIN_EXE_wayfare"));
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' --about '*) exec {wayfare} \"$@\";; esac\ncd {folder}\nwayfare={wayfare}\n{compile}\n"
    );
    let mut writer = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod +x \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_of_a_compiler_outside_is_signed_served_and_run_and_made_once() {
    let fleet = Fleet::start("echo \"$@\" >>calls; exec $wayfare \"$@\"", &[]).await;
    for _ in 0..2 {
        let ran = fleet.runs("fib").await;
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("55"), "{}", ran.stdout);
    }
    let calls = std::fs::read_to_string(fleet.folder.path().join("calls")).unwrap();
    let architecture = std::env::consts::ARCH;
    assert_eq!(
        calls,
        format!("compile --json --target {architecture} --output - -\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compiler_outside_that_fails_is_named_where_a_program_is_run() {
    for (compile, more, said) in [
        (
            "exec sleep 1000",
            &["--compiler-timeout", "300ms"][..],
            "did not end within 300 ms",
        ),
        // There is no room for its first thread.
        (
            "exec $wayfare \"$@\"",
            &["--compiler-memory", "8M"],
            "the rewriting thread failed",
        ),
        ("kill -9 $$", &[], "signal: 9"),
        ("echo hello", &[], "it is not compiled code"),
    ] {
        let fleet = Fleet::start(compile, more).await;
        let ran = fleet.runs("fib").await;
        assert_eq!(ran.exit, 1, "{}", ran.stderr);
        for part in ["board", "compiler", said] {
            assert!(ran.stderr.contains(part), "{part} is not in: {}", ran.stderr);
        }
    }
}
