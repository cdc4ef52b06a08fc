//! Compiled code as bytes: what is kept of a module, so that it need not be compiled again. Of two kinds:
//!
//! Our own, which this engine's compiler made:
//! ```text
//!  wayfare compiled code 1        a line
//!  module <digest>                a line
//!  piece program                  or resuming: what of the module it is (`Piece`)
//!  ...                            a line for each thing that the code depends on besides (`Provenance`)
//!                                 an empty line
//!  code                           as wasmtime serializes it
//!  checksum                       BLAKE3 of all before it, 32 bytes
//! ```
//! And signed code, which was compiled elsewhere and is always all of a module: `wayfare_protocol::code`.
//!
//! Loading compiled code is as dangerous as running native code, and wasmtime does not check it. What always
//! holds: [`Compiled`] is code that wasmtime made in this process (`Compiled::of`), or that came through
//! [`Compiled::verify`]. For signed code that is enough. For our own it finds torn, rotted and mistaken bytes
//! but no forged ones: whoever keeps them must keep them where nobody else can write. Nothing else is ever
//! loaded.

use std::io::{self, Write};
use std::ops::Range;

use thiserror::Error;
use wayfare_protocol::code::{CodeRefusal, CodeTarget, PublicKey, SignedCode};
use wayfare_protocol::ids::Digest;

const FIRST_LINE: &str = "wayfare compiled code 1";
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

/// Everything besides the module that compiled code depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// For code of our own: lines that people can read.
    Own(String),
    /// For code that others made.
    Signed(Trust),
}

/// What of a module code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// What programs begin with; all of it, if others made it.
    Program,
    /// What they need to go on from a capture.
    Resuming,
}

/// Which signed code is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    pub target: CodeTarget,
    pub keys: Vec<PublicKey>,
}

/// A module's compiled code, to be loaded by this process.
#[derive(Clone)]
pub struct Compiled {
    module: Digest,
    piece: Piece,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Own { bytes: Vec<u8>, code: Range<usize> },
    Signed(SignedCode),
}

/// Why bytes are not the compiled code that was wanted.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CompiledError {
    #[error("{bytes} bytes without a right checksum: torn or damaged")]
    Damaged { bytes: usize },
    #[error("it is for another module, compiler, runtime or processor: '{found}'")]
    Other { found: String },
    #[error(transparent)]
    Refused(#[from] CodeRefusal),
}

impl Provenance {
    #[cfg(feature = "compiler")]
    pub(super) fn of(engine: &wasmtime::Engine) -> Self {
        use std::hash::Hash;
        // wasmtime's version to the last digit, the target, the processor's features and all settings.
        let mut settings = HashOfHash(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        Self::Own(format!(
            "compiler {} revision {:016x}\nabi {}\nwasmtime {}\ntarget {}-{}\n",
            wayfare_compiler::VERSION,
            wayfare_compiler::REVISION,
            wayfare_abi::calls::name(),
            settings.0.finalize().to_hex(),
            std::env::consts::ARCH,
            std::env::consts::OS,
        ))
    }

    /// What bytes of a piece of `module` begin with.
    pub fn header(&self, module: Digest, piece: Piece) -> String {
        match self {
            Self::Own(lines) => {
                let piece = piece.name();
                format!("{FIRST_LINE}\nmodule {module}\npiece {piece}\n{lines}\n")
            }
            Self::Signed(trust) => trust.target.header(module),
        }
    }
}

impl Piece {
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Resuming => "resuming",
        }
    }

    /// The piece of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Program, Self::Resuming]
            .into_iter()
            .find(|piece| piece.name() == name)
    }
}

impl Compiled {
    #[cfg(feature = "compiler")]
    pub(super) fn of(digest: Digest, piece: Piece, module: &wasmtime::Module) -> wasmtime::Result<Self> {
        let bytes = module.serialize()?;
        Ok(Self {
            module: digest,
            piece,
            form: Form::Own {
                code: 0..bytes.len(),
                bytes,
            },
        })
    }

    /// From bytes that [`Compiled::write_to`] wrote or a registry sent, for the same module and provenance.
    pub fn verify(
        bytes: Vec<u8>,
        module: Digest,
        piece: Piece,
        provenance: &Provenance,
    ) -> Result<Self, CompiledError> {
        let form = match provenance {
            Provenance::Own(_) => verify_own(bytes, &provenance.header(module, piece))?,
            Provenance::Signed(Trust { target, keys }) => {
                Form::Signed(SignedCode::verify(bytes, module, target, keys)?)
            }
        };
        Ok(Self { module, piece, form })
    }

    pub fn write_to(&self, provenance: &Provenance, out: &mut impl Write) -> io::Result<()> {
        if let Form::Signed(signed) = &self.form {
            return out.write_all(signed.bytes());
        }
        let mut checksum = blake3::Hasher::new();
        let header = provenance.header(self.module, self.piece);
        for part in [header.as_bytes(), self.code()] {
            checksum.update(part);
            out.write_all(part)?;
        }
        out.write_all(checksum.finalize().as_bytes())
    }

    /// How much [`Compiled::write_to`] writes.
    pub fn bytes_written(&self, provenance: &Provenance) -> u64 {
        let bytes = match &self.form {
            Form::Signed(signed) => signed.bytes().len(),
            Form::Own { code, .. } => {
                provenance.header(self.module, self.piece).len() + code.len() + CHECKSUM_BYTES
            }
        };
        bytes as u64
    }

    pub fn module(&self) -> Digest {
        self.module
    }

    pub fn piece(&self) -> Piece {
        self.piece
    }

    pub(super) fn code(&self) -> &[u8] {
        match &self.form {
            Form::Own { bytes, code } => &bytes[code.clone()],
            Form::Signed(signed) => signed.code(),
        }
    }
}

fn verify_own(bytes: Vec<u8>, header: &str) -> Result<Form, CompiledError> {
    let damaged = CompiledError::Damaged { bytes: bytes.len() };
    let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(damaged);
    };
    if blake3::hash(content) != blake3::Hash::from_bytes(*checksum) {
        return Err(damaged);
    }
    if !content.starts_with(header.as_bytes()) {
        let found = first_difference(content, header);
        return Err(CompiledError::Other { found });
    }
    let code = header.len()..content.len();
    Ok(Form::Own { bytes, code })
}

/// The first line that is not as it should be, shortened to what a message can hold.
fn first_difference(content: &[u8], header: &str) -> String {
    const SHOWN_BYTES_MAX: usize = 120;
    let found = content.split(|byte| *byte == b'\n');
    let line = found
        .zip(header.split('\n'))
        .find_map(|(found, wanted)| (found != wanted.as_bytes()).then_some(found))
        .unwrap_or_default();
    line[..line.len().min(SHOWN_BYTES_MAX)]
        .utf8_chunks()
        .map(|chunk| chunk.valid().escape_debug().to_string())
        .collect()
}

/// BLAKE3 for what can only be hashed as Rust hashes.
#[cfg(feature = "compiler")]
struct HashOfHash(blake3::Hasher);

#[cfg(feature = "compiler")]
impl std::hash::Hasher for HashOfHash {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        self.0.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
#[cfg(feature = "compiler")]
mod tests;
