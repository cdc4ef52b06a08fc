//! Compiling in a process of its own: this very program, started again for each piece of a module's code.
//!
//! ```text
//!   engine                                      /proc/self/exe compile-piece PIECE TIER DIGEST SPACE
//!     | starts it, and sets its limits ---------->  |
//!     | length, module ------- standard input --->  | rewrites and compiles
//!     | <------- standard output ----- its tier in a line; code, as it is kept (`Compiled`)
//!     |          or standard error --- why there is none: a `Failure` as JSON
//! ```
//! Whoever may start a program chooses its module, and what compiling one takes is known when it is done. A
//! thread that compiles cannot be held to limits, or ended.
//!
//! What always holds: the process has its limits of memory and processor time before it has a byte of the
//! module; it is what the kernel ends first where memory is short; and it ends with the engine, which it sees
//! by its standard input. Its code is taken as what is kept on disk is: where it is whole, and made by this
//! very build for this module.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::limits::MODULE_BYTES_MAX;
use wayfare_runtime::{AddressSpace, Compiled, Piece, Provenance, Runtime, RuntimeOptions, Tier};

/// The first argument of such a process.
const WORD: &str = "compile-piece";
/// Of the code of one piece. More is no module's that compiles within the limits.
const CODE_BYTES_MAX: u64 = 2 << 30;
/// Of the line that names a tier.
const TIER_BYTES_MAX: u64 = 16;
/// Of what it says on standard error, which ends up in a message.
const SAID_BYTES_MAX: u64 = 8 << 10;
/// Ended by who has no memory left, as Rust's allocations are,
const SIGABRT: i32 = 6;
/// by the kernel, which has none left,
const SIGKILL: i32 = 9;
/// and at the limit of processor time.
const SIGXCPU: i32 = 24;

/// What compiling a piece of a module may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompilerLimits {
    /// Memory that the process may write to.
    pub memory_bytes: u64,
    /// Processor time, on all processors together.
    pub time: Duration,
}

impl Default for CompilerLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            time: Duration::from_mins(10),
        }
    }
}

/// Does what this process was started for, if that is to compile. Programs that run engines ask this before
/// they read their arguments: see [`EngineOptions::compiler_limits`](super::EngineOptions).
pub fn compile_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(WORD) {
        return None;
    }
    let made = compile(&arguments.collect::<Vec<_>>());
    Some(match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let said = serde_json::to_vec(&failure).unwrap_or_default();
            // Whoever should read it may have gone away.
            let _ = io::stderr().write_all(&said);
            ExitCode::FAILURE
        }
    })
}

fn compile(arguments: &[String]) -> Result<(), Failure> {
    let [piece, tier, digest, space] = arguments else {
        return Err(internal("it was asked in another way than this build asks"));
    };
    let (Some(piece), Some(tier), Ok(digest), Some(address_space)) = (
        Piece::named(piece),
        Tier::named(tier),
        digest.parse::<Digest>(),
        space_named(space),
    ) else {
        return Err(internal("it was asked for what this build does not make"));
    };
    let wasm = module().map_err(|error| internal(format!("cannot read the module: {error}")))?;
    std::thread::spawn(|| {
        // Nothing more comes: that ends with whoever wants the code.
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    });
    let runtime = Runtime::new(RuntimeOptions {
        address_space,
        baseline: tier == Tier::Baseline,
        ..RuntimeOptions::default()
    })?;
    let (tier, compiled) = runtime.make(digest, piece, tier, &wasm)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", tier.name())
        .and_then(|()| compiled.write_to(&runtime.provenance(), &mut out))
        .and_then(|()| out.flush())
        .map_err(|error| internal(format!("cannot hand the code over: {error}")))
}

fn module() -> io::Result<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MODULE_BYTES_MAX {
        return Err(io::Error::other("it is larger than modules can be"));
    }
    let mut wasm = Vec::new();
    stdin.take(length).read_to_end(&mut wasm)?;
    Ok(wasm)
}

fn space_name(space: AddressSpace) -> &'static str {
    match space {
        AddressSpace::Ample => "ample",
        AddressSpace::Scarce => "scarce",
    }
}

fn space_named(name: &str) -> Option<AddressSpace> {
    [AddressSpace::Ample, AddressSpace::Scarce]
        .into_iter()
        .find(|space| space_name(*space) == name)
}

/// The engine's side.
pub(super) struct Apart {
    program: PathBuf,
    limits: CompilerLimits,
    address_space: AddressSpace,
    provenance: Provenance,
}

impl Apart {
    /// For a runtime with this address space.
    pub(super) fn new(
        limits: CompilerLimits,
        address_space: AddressSpace,
        provenance: Provenance,
    ) -> io::Result<Self> {
        // That goes on to be the program that runs, whatever is put in the place of its file.
        let running = Path::new("/proc/self/exe");
        Ok(Self {
            program: match running.exists() {
                true => running.to_owned(),
                false => std::env::current_exe()?,
            },
            limits,
            address_space,
            provenance,
        })
    }

    /// A piece of a module's code, as [`Runtime::make`] has it; takes up to minutes.
    pub(super) fn make(
        &self,
        module: Digest,
        (piece, tier): (Piece, Tier),
        wasm: &[u8],
    ) -> Result<(Tier, Compiled), Failure> {
        let digest = module.to_string();
        let mut child = Command::new(&self.program)
            .args([WORD, piece.name(), tier.name(), &digest])
            .arg(space_name(self.address_space))
            // What this engine's variables say is nothing to it.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| internal(format!("cannot start the process that compiles: {error}")))?;
        let ended = self.speak(&mut child, wasm);
        if ended.is_err() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        let Ended {
            status,
            printed,
            said,
        } = ended.map_err(|error| internal(format!("the process that compiles: {error}")))?;
        if !status.success() {
            return Err(self.failure(module, status, &said));
        }
        let refused = |why: &str| internal(format!("what the process that compiles made is refused: {why}"));
        let (tier, code) = tier_of(printed).ok_or_else(|| refused("it does not say of which tier it is"))?;
        let compiled = Compiled::verify(code, module, piece, &self.provenance);
        Ok((tier, compiled.map_err(|error| refused(&error.to_string()))?))
    }

    fn speak(&self, child: &mut Child, wasm: &[u8]) -> io::Result<Ended> {
        let seconds = self.limits.time.as_secs().max(1);
        wayfare_runtime::confine(child.id(), self.limits.memory_bytes, seconds)?;
        go_first(child.id());
        let missing = || io::Error::other("it has no standard streams");
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        std::thread::scope(|scope| {
            // It is kept open until the code is here.
            let feeding = scope.spawn(move || -> ChildStdin {
                let length = (wasm.len() as u64).to_le_bytes();
                // One that ends without reading all of it says why.
                let _ = stdin.write_all(&length).and_then(|()| stdin.write_all(wasm));
                stdin
            });
            let saying = scope.spawn(move || read_bounded(stderr, SAID_BYTES_MAX));
            let printed = read_bounded(stdout, CODE_BYTES_MAX);
            if printed.is_err() {
                // Whoever feeds it and hears it comes to an end with it. It may have ended already.
                let _ = child.kill();
            }
            let status = child.wait()?;
            drop(feeding.join());
            let said = saying.join().unwrap_or_else(|_| Ok(Vec::new()));
            Ok(Ended {
                status,
                printed: printed?,
                said: String::from_utf8_lossy(&said.unwrap_or_default())
                    .trim()
                    .to_owned(),
            })
        })
    }

    /// Why there is no code, to whoever wants the program to run.
    fn failure(&self, module: Digest, status: ExitStatus, said: &str) -> Failure {
        if let Ok(failure) = serde_json::from_str::<Failure>(said) {
            return failure;
        }
        let refuse = |reason: String| Failure::Module { module, reason };
        let memory = || {
            let mib = self.limits.memory_bytes >> 20;
            refuse(format!(
                "compiling it takes more than {mib} MiB of memory: see --compiler-memory of the engine"
            ))
        };
        match status.signal() {
            Some(SIGXCPU) => refuse(format!(
                "compiling it takes more than {} s of processor time: see --compiler-timeout of the engine",
                self.limits.time.as_secs()
            )),
            Some(SIGABRT) if said.contains("memory allocation of") => memory(),
            Some(SIGKILL) => refuse("compiling it takes more memory than there is on this machine".into()),
            _ => internal(format!("the process that compiles ended with {status}: {said}")),
        }
    }
}

/// What a process came to.
struct Ended {
    status: ExitStatus,
    printed: Vec<u8>,
    said: String,
}

/// The line before the code, and the code.
fn tier_of(printed: Vec<u8>) -> Option<(Tier, Vec<u8>)> {
    let mut rest = printed.as_slice();
    let mut line = String::new();
    (&mut rest).take(TIER_BYTES_MAX).read_line(&mut line).ok()?;
    let tier = Tier::named(line.strip_suffix('\n')?)?;
    let begin = printed.len() - rest.len();
    let mut code = printed;
    code.drain(..begin);
    Some((tier, code))
}

fn read_bounded(from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it wrote more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Where the machine has no memory left, the kernel ends that process, and not the engine with all its
/// programs.
fn go_first(process: u32) {
    // Kernels without this choose the largest.
    let _ = std::fs::write(format!("/proc/{process}/oom_score_adj"), "1000");
}

fn internal(reason: impl Into<String>) -> Failure {
    Failure::Internal {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(limits: CompilerLimits, program: &str) -> Apart {
        let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
        Apart {
            program: program.into(),
            ..Apart::new(limits, AddressSpace::Ample, runtime.provenance()).unwrap()
        }
    }

    /// As a process that compiles can end, without compiling.
    #[test]
    fn what_ends_without_code_says_why() {
        let apart = apart(CompilerLimits::default(), "/bin/true");
        let module = Digest::of(b"module");
        let ended = |signal: i32, said: &str| {
            let failure = apart.failure(module, ExitStatus::from_raw(signal), said);
            let is_modules = matches!(failure, Failure::Module { .. });
            (is_modules, failure.to_string())
        };
        for (signal, said, is_modules, why) in [
            (SIGXCPU, "", true, "more than 600 s of processor time"),
            (
                SIGABRT,
                "memory allocation of 8 bytes failed",
                true,
                "more than 2048 MiB",
            ),
            (SIGKILL, "", true, "more memory than there is"),
            (SIGABRT, "a bug", false, "a bug"),
        ] {
            let (found, text) = ended(signal, said);
            assert_eq!(found, is_modules, "{text}");
            assert!(text.contains(why), "{text}");
        }
        let refused = Failure::Module {
            module,
            reason: "no".into(),
        };
        let said = serde_json::to_string(&refused).unwrap();
        assert_eq!(apart.failure(module, ExitStatus::from_raw(256), &said), refused);
        // One that prints nothing has made nothing.
        let failure = apart
            .make(module, (Piece::Program, Tier::Optimised), b"module")
            .map(drop)
            .unwrap_err();
        assert!(failure.to_string().contains("is refused"), "{failure}");
    }

    #[test]
    fn the_process_has_its_limits_before_it_has_the_module() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("compiler");
        // By another process: what this one had open for writing could not be run while another test's fork
        // still has it.
        let mut writer = Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod +x \"$0\""])
            .arg(&script)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = "#!/bin/sh\nPATH=/bin:/usr/bin\nhead -c 8 >/dev/null\n\
            echo \"$# $(ulimit -d) $(ulimit -t) $(cat /proc/self/oom_score_adj)\" >&2\nexit 1\n";
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        let limits = CompilerLimits {
            memory_bytes: 512 << 20,
            time: Duration::from_secs(7),
        };
        let apart = apart(limits, script.to_str().unwrap());
        let failure = apart
            .make(Digest::of(b"x"), (Piece::Resuming, Tier::Baseline), &[0; 100_000])
            .map(drop)
            .unwrap_err();
        assert!(failure.to_string().contains("5 524288 7 1000"), "{failure}");
    }
}
