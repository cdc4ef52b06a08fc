//! Against scripts that behave as no `wayfare` does.

use std::io::Write;
use std::process::Command as StdCommand;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::super::COMPILER_FORMAT;
use super::*;

const MODULE: &[u8] = b"module";
/// Long enough for any script that ends, on a machine that does much else.
const PATIENT: OutsideLimits = OutsideLimits {
    time: Duration::from_secs(60),
    memory_bytes: 256 << 20,
    output_bytes: 1 << 20,
    confine: None,
};

/// Nothing tells of another process, except looking.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

fn target() -> CodeTarget {
    CodeTarget {
        architecture: "pulley32".into(),
        wasmtime: "47.0.4".into(),
        abi: "2".into(),
    }
}

fn about() -> CompilerAbout {
    CompilerAbout {
        format: COMPILER_FORMAT,
        compiler: "c".into(),
        wasmtime: target().wasmtime,
        abi: target().abi,
        architectures: ["pulley32".to_owned()].into(),
    }
}

/// A compiler whose answers are lines of a shell script.
struct Script {
    folder: TempDir,
    path: PathBuf,
}

impl Script {
    fn new(about: &str, compile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compiler");
        let text = format!(
            "#!/bin/sh\ncd {}\ncase \" $* \" in *' --about '*) {about};; *) {compile};; esac\n",
            folder.path().display()
        );
        // By another process: what this one had open for writing could not be run while another test's fork
        // still has it.
        let mut writer = StdCommand::new("sh")
            .args(["-c", "cat >\"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        Self { folder, path }
    }

    /// One that says the right thing of itself.
    fn compiling(compile: &str) -> Self {
        let about = serde_json::to_string(&about()).unwrap();
        Self::new(&format!("echo '{about}'"), compile)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// What it is as a process, once it has said so.
    fn process(&self) -> Option<PathBuf> {
        let id = std::fs::read_to_string(self.folder.path().join("id")).ok()?;
        Some(Path::new("/proc").join(id.strip_suffix('\n')?))
    }

    async fn compile(&self, limits: OutsideLimits) -> Result<Vec<u8>, Failure> {
        let compiler = OutsideCompiler::open(&self.path, PATIENT).await.unwrap();
        let compiler = OutsideCompiler { limits, ..compiler };
        compiler.compile(Digest::of(MODULE), MODULE, &target()).await
    }

    async fn refusal(&self, limits: OutsideLimits) -> String {
        self.compile(limits).await.unwrap_err().to_string()
    }
}

fn made_by(compiler: &str, target: &CodeTarget) -> Vec<u8> {
    let unsigned = Unsigned {
        compiler,
        code: b"the code",
    };
    unsigned.encode(Digest::of(MODULE), target).unwrap()
}

#[tokio::test]
async fn it_is_given_the_module_and_its_code_is_taken() {
    let script = Script::compiling("cat >module; cat code");
    script.file("code", &made_by("c", &target()));
    assert_eq!(script.compile(PATIENT).await.unwrap(), b"the code");
    assert_eq!(
        std::fs::read(script.folder.path().join("module")).unwrap(),
        MODULE
    );
}

#[tokio::test]
async fn one_that_hangs_is_killed_at_its_limit() {
    // Without reading, with both outputs open.
    let script = Script::compiling("echo $$ >id; exec sleep 1000");
    let limits = OutsideLimits {
        time: Duration::from_millis(300),
        ..PATIENT
    };
    let refusal = script.refusal(limits).await;
    assert!(refusal.contains("did not end within 300 ms"), "{refusal}");
    // Where the limit came before the script did, it was killed all the same, unseen.
    if let Some(process) = script.process() {
        assert!(!process.exists(), "it is gone, and reaped");
    }
}

#[tokio::test]
async fn one_is_killed_with_who_waits_for_it() {
    let script = Script::compiling("echo $$ >id; exec sleep 1000");
    let compiler = OutsideCompiler::open(&script.path, PATIENT).await.unwrap();
    let waiting = tokio::spawn(async move { compiler.compile(Digest::of(MODULE), MODULE, &target()).await });
    let seen = tokio::time::timeout(PATIENT.time, async {
        loop {
            match script.process() {
                Some(process) => return process,
                None => tokio::time::sleep(LOOK_PERIOD).await,
            }
        }
    });
    let process = seen.await.expect("it is started");
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let ended = tokio::time::timeout(PATIENT.time, async {
        // A zombie until the runtime has reaped it.
        let runs = || std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() {
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    });
    ended.await.expect("it is killed");
}

#[tokio::test]
async fn one_that_prints_too_much_is_killed() {
    let script = Script::compiling("exec cat /dev/zero");
    let refusal = script.refusal(PATIENT).await;
    assert!(refusal.contains("more than 1048576 bytes"), "{refusal}");
}

#[tokio::test]
async fn one_is_held_to_its_limits_and_which_one_ended_it_is_said() {
    static HELD: AtomicBool = AtomicBool::new(false);
    let limits = OutsideLimits {
        time: Duration::from_millis(59_500),
        confine: Some(|process, memory_bytes, seconds| {
            let is_process = Path::new("/proc").join(process.to_string()).exists();
            HELD.store(
                is_process && (memory_bytes, seconds) == (256 << 20, 60),
                Ordering::SeqCst,
            );
            Ok(())
        }),
        ..PATIENT
    };
    let out_of_memory = "echo memory allocation of 8 bytes failed >&2; kill -ABRT $$";
    let refusal = Script::compiling(out_of_memory).refusal(limits).await;
    assert!(refusal.contains("more than 256 MiB of memory"), "{refusal}");
    assert!(HELD.load(Ordering::SeqCst));
    let refusal = Script::compiling("kill -XCPU $$").refusal(limits).await;
    assert!(
        refusal.contains("more than 59.5 s of processor time"),
        "{refusal}"
    );

    // Without limits, nothing is begun.
    let unlimited = OutsideLimits {
        confine: Some(|_, _, _| Err(io::Error::other("no such limit"))),
        ..PATIENT
    };
    let refusal = Script::compiling("cat code").refusal(unlimited).await;
    assert!(
        refusal.contains("its limits cannot be set: no such limit"),
        "{refusal}"
    );
}

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_refused() {
    let other = CodeTarget {
        wasmtime: "48.0.8".into(),
        ..target()
    };
    let good = made_by("c", &target());
    for (printed, said) in [
        (b"Segmentation fault".to_vec(), "it is not compiled code"),
        (Vec::new(), "it is not compiled code"),
        (good[..good.len() - 1].to_vec(), "not what its header says"),
        (made_by("c", &other), "for wasmtime 48.0.8, and 47.0.4 is needed"),
        (made_by("d", &target()), "it is 'd' now, and was 'c'"),
    ] {
        let script = Script::compiling("cat code");
        script.file("code", &printed);
        let refusal = script.refusal(PATIENT).await;
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[tokio::test]
async fn one_that_dies_is_named_with_its_last_words() {
    let refusal = Script::compiling("echo no memory left >&2; kill -9 $$")
        .refusal(PATIENT)
        .await;
    for part in ["compiler", "wasmtime 47.0.4", "signal: 9", "no memory left"] {
        assert!(refusal.contains(part), "{part} is not in: {refusal}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_module_is_said_as_by_any_compiler() {
    let failure = Failure::Module {
        module: Digest::of(MODULE),
        reason: "it is not WebAssembly".into(),
    };
    let script = Script::compiling("cat said >&2; exit 1");
    let said = serde_json::json!({ "error": "module", "message": "", "failure": &failure, "exit": 1 });
    script.file("said", said.to_string().as_bytes());
    assert_eq!(script.compile(PATIENT).await.unwrap_err(), failure);
}

#[tokio::test]
async fn what_is_no_compiler_is_told_apart_at_the_start() {
    let open = async |path: &Path| {
        OutsideCompiler::open(path, PATIENT)
            .await
            .unwrap_err()
            .to_string()
    };
    let missing = open(Path::new("/nonexistent/wayfare")).await;
    assert!(missing.contains("cannot be started"), "{missing}");
    let newer = CompilerAbout {
        format: COMPILER_FORMAT + 1,
        ..about()
    };
    let newer = serde_json::to_string(&newer).unwrap();
    for (about, said) in [
        ("echo hello".to_owned(), "it is not a compiler"),
        (
            "echo unrecognized subcommand >&2; exit 2".to_owned(),
            "unrecognized subcommand",
        ),
        ("exec cat /dev/zero".to_owned(), "it printed more than"),
        (format!("echo '{newer}'"), "format"),
    ] {
        let refusal = open(&Script::new(&about, "exit 1").path).await;
        assert!(refusal.contains(said), "{refusal}");
    }
}
