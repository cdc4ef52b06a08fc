//! A compiler outside: a `wayfare` of any release, this one's included, a process of its own for each module.
//!
//! ```text
//!  PATH compile --about --json                       once: what it makes, on standard output
//!  PATH compile --json --target ARCH --output - -    a module on standard input, code (`protocol::code::unsigned`) on standard output
//! ```
//! Its file is the operator's word for what may be signed, so it is trusted as the dispatcher is. The module
//! is not: engines name it. What always holds: it is run without a shell; what it prints is bounded and
//! checked, and so are its memory and processor time (`bounds`); it ends within its time or is killed, and is
//! killed with the future that waits for it.

mod bounds;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wayfare_protocol::code::unsigned::{UNSIGNED_BYTES_MAX, Unsigned};
use wayfare_protocol::code::{CodeRefusal, CodeTarget};
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

use super::{AboutError, CompilerAbout};

/// What it says of itself is a few hundred bytes.
const ABOUT_BYTES_MAX: u64 = 64 << 10;
const ABOUT_TIME_MAX: Duration = Duration::from_secs(30);
/// Of what it says on standard error, which ends up in a message.
const SAID_BYTES_MAX: usize = 4 << 10;

#[derive(Debug, Clone, Copy)]
pub struct OutsideLimits {
    /// For one module, and the processor time that it may take on all processors together.
    pub time: Duration,
    /// Memory that it may write to.
    pub memory_bytes: u64,
    /// Of what it prints for one module.
    pub output_bytes: u64,
    /// How this system is told of the limits of memory and processor time. The library does not know: who
    /// embeds it does. `None`: time and output alone are bounded.
    pub confine: Option<Confine>,
}

/// A process, the bytes of memory that it may write to, and its seconds of processor time.
pub type Confine = fn(u32, u64, u64) -> io::Result<()>;

impl Default for OutsideLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_mins(10),
            memory_bytes: 2 << 30,
            output_bytes: UNSIGNED_BYTES_MAX,
            confine: None,
        }
    }
}

#[derive(Debug, Error)]
pub enum OutsideError {
    #[error("it cannot be started: {0}")]
    Start(io::Error),
    #[error("it could not be read from: {0}")]
    Read(io::Error),
    #[error("it did not end within {} ms, and was killed", .0.as_millis())]
    Late(Duration),
    #[error("it printed more than {0} bytes, and was killed")]
    TooMuch(u64),
    #[error("it took more than {} MiB of memory, the limit for a module: see --compiler-memory", .0 >> 20)]
    Memory(u64),
    #[error("it took more than {} s of processor time, the limit for a module: see --compiler-timeout", .0.as_secs_f64())]
    Processor(Duration),
    #[error("its limits cannot be set: {0}")]
    Limit(io::Error),
    #[error("it ended with {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Ended { status: ExitStatus, said: String },
    #[error("it is not a compiler: {0}")]
    NoCompiler(serde_json::Error),
    #[error(transparent)]
    About(#[from] AboutError),
    #[error("what it made is refused: {0}")]
    Refused(#[from] CodeRefusal),
    #[error("it is '{found}' now, and was '{was}' at the dispatcher's start: start the dispatcher again")]
    Replaced { found: String, was: String },
}

#[derive(Debug, Clone)]
pub struct OutsideCompiler {
    program: PathBuf,
    /// What it is called where a module is refused.
    called: String,
    limits: OutsideLimits,
    about: CompilerAbout,
}

impl OutsideCompiler {
    /// Asks it what it makes.
    pub async fn open(program: &Path, limits: OutsideLimits) -> Result<Self, OutsideError> {
        let asked = OutsideLimits {
            time: ABOUT_TIME_MAX,
            output_bytes: ABOUT_BYTES_MAX,
            ..limits
        };
        let said = run(program, &["compile", "--about", "--json"], &[], asked).await?;
        let about: CompilerAbout = serde_json::from_slice(&said).map_err(OutsideError::NoCompiler)?;
        about.check()?;
        Ok(Self {
            program: program.to_owned(),
            called: format!("compiler {} for wasmtime {}", program.display(), about.wasmtime),
            limits,
            about,
        })
    }

    /// This very program, which need not be asked what it makes.
    pub fn this(about: CompilerAbout, limits: OutsideLimits) -> io::Result<Self> {
        // That goes on to be the program that runs, whatever is put in the place of its file.
        let running = Path::new("/proc/self/exe");
        Ok(Self {
            program: match running.exists() {
                true => running.to_owned(),
                false => std::env::current_exe()?,
            },
            called: "the dispatcher's compiler".into(),
            limits,
            about,
        })
    }

    pub fn about(&self) -> &CompilerAbout {
        &self.about
    }

    pub(super) async fn compile(
        &self,
        module: Digest,
        wasm: &[u8],
        target: &CodeTarget,
    ) -> Result<Vec<u8>, Failure> {
        let made = self.make(module, wasm, target).await;
        made.map_err(|error| match failure_in(&error, module) {
            Some(failure) => failure,
            None => Failure::BadRequest {
                reason: format!("{}: {error}", self.called),
            },
        })
    }

    async fn make(&self, module: Digest, wasm: &[u8], target: &CodeTarget) -> Result<Vec<u8>, OutsideError> {
        let arguments = [
            "compile",
            "--json",
            "--target",
            &target.architecture,
            "--output",
            "-",
            "-",
        ];
        let printed = run(&self.program, &arguments, wasm, self.limits).await?;
        let made = Unsigned::decode(&printed, module, target)?;
        if made.compiler != self.about.compiler {
            return Err(OutsideError::Replaced {
                found: made.compiler.to_owned(),
                was: self.about.compiler.clone(),
            });
        }
        Ok(made.code.to_vec())
    }
}

/// What is wrong with the module, if that is what it says: the same as a compiler in this process says.
fn failure_in(error: &OutsideError, module: Digest) -> Option<Failure> {
    #[derive(Deserialize)]
    struct Said {
        failure: Failure,
    }
    let OutsideError::Ended { said, .. } = error else {
        return None;
    };
    let said: Said = serde_json::from_str(said).ok()?;
    let is_of_module = matches!(&said.failure, Failure::Module { module: of, .. } if *of == module);
    is_of_module.then_some(said.failure)
}

/// What it printed.
async fn run(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
    limits: OutsideLimits,
) -> Result<Vec<u8>, OutsideError> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(OutsideError::Start)?;
    // Before it has a byte of the module.
    bounds::set(&child, limits).map_err(OutsideError::Limit)?;
    let spoken = tokio::time::timeout(limits.time, speak(&mut child, input, limits.output_bytes)).await;
    let (printed, said) = match spoken.unwrap_or(Err(OutsideError::Late(limits.time))) {
        Ok(spoken) => spoken,
        Err(error) => {
            // Where it has ended meanwhile, there is nothing to kill.
            let _ = child.kill().await;
            return Err(error);
        }
    };
    match child.wait().await {
        Ok(status) if status.success() => Ok(printed),
        Ok(status) => {
            Err(bounds::exceeded(status, &said, limits).unwrap_or(OutsideError::Ended { status, said }))
        }
        Err(error) => Err(OutsideError::Read(error)),
    }
}

/// Until it has ended: what it printed, and what it said on standard error.
async fn speak(
    child: &mut Child,
    input: &[u8],
    output_bytes_max: u64,
) -> Result<(Vec<u8>, String), OutsideError> {
    let mut stdin = child.stdin.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let feed = async move {
        // One that ends without reading all of it says why.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        Ok(())
    };
    let print = async move {
        let mut printed = Vec::new();
        let mut bounded = stdout.take(output_bytes_max.saturating_add(1));
        let bytes = bounded
            .read_to_end(&mut printed)
            .await
            .map_err(OutsideError::Read)?;
        if bytes as u64 > output_bytes_max {
            return Err(OutsideError::TooMuch(output_bytes_max));
        }
        Ok(printed)
    };
    let (printed, said, ()) = tokio::try_join!(print, beginning(stderr), feed)?;
    child.wait().await.map_err(OutsideError::Read)?;
    Ok((printed, said))
}

/// The beginning of what comes, which is read to its end.
async fn beginning(mut from: impl AsyncRead + Unpin) -> Result<String, OutsideError> {
    let (mut kept, mut part) = (Vec::new(), [0; 1024]);
    loop {
        let bytes = from.read(&mut part).await.map_err(OutsideError::Read)?;
        if bytes == 0 {
            return Ok(String::from_utf8_lossy(&kept).trim().to_owned());
        }
        let room = SAID_BYTES_MAX - kept.len();
        kept.extend_from_slice(&part[..bytes.min(room)]);
    }
}

#[cfg(test)]
mod tests;
