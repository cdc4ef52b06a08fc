//! Compiled code as bytes: what is kept of a module, so that it need not be compiled again.
//!
//! ```text
//!  wayfare compiled code 1        a line
//!  module <digest>                a line, and one for each thing that the code depends on besides (`Provenance`)
//!                                 an empty line
//!  code                           as wasmtime serializes it
//!  checksum                       BLAKE3 of all before it, 32 bytes
//! ```
//! Loading compiled code is as dangerous as running native code, and wasmtime does not check it. What always holds:
//! [`Compiled`] is code that wasmtime made in this process ([`Compiled::of`]), or that came through [`Compiled::verify`],
//! which finds torn, rotted and mistaken bytes but no forged ones: whoever keeps them must keep them where nobody else
//! can write. Nothing else is ever loaded.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::ops::Range;

use thiserror::Error;
use wasmtime::{Engine as WasmtimeEngine, Module};
use wayfare_protocol::ids::Digest;

use super::abi;

const FIRST_LINE: &str = "wayfare compiled code 1";
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

/// Everything besides the module that compiled code depends on, in lines that people can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance(String);

/// A module's compiled code, to be loaded by this process.
#[derive(Clone)]
pub struct Compiled {
    module: Digest,
    bytes: Vec<u8>,
    code: Range<usize>,
}

/// Why bytes are not the compiled code that was wanted.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CompiledError {
    #[error("{bytes} bytes without a right checksum: torn or damaged")]
    Damaged { bytes: usize },
    #[error("it is for another module, compiler, runtime or processor: '{found}'")]
    Other { found: String },
}

impl Provenance {
    pub(super) fn of(engine: &WasmtimeEngine) -> Self {
        // wasmtime's version to the last digit, the target, the processor's features and all settings.
        let mut settings = HashOfHash(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut settings);
        Self(format!(
            "compiler {} revision {:016x}\nabi {} blocking {}\nwasmtime {}\ntarget {}-{}\n",
            wayfare_compiler::VERSION,
            wayfare_compiler::REVISION,
            abi::ABI,
            abi::BLOCKING.join(" "),
            settings.0.finalize().to_hex(),
            std::env::consts::ARCH,
            std::env::consts::OS,
        ))
    }

    /// What bytes of `module` begin with.
    pub(crate) fn header(&self, module: Digest) -> String {
        let Self(lines) = self;
        format!("{FIRST_LINE}\nmodule {module}\n{lines}\n")
    }

    #[cfg(test)]
    pub(crate) fn replaced(&self, from: &str, to: &str) -> Self {
        assert!(self.0.contains(from), "{self:?}");
        Self(self.0.replacen(from, to, 1))
    }
}

impl Compiled {
    pub(super) fn of(digest: Digest, module: &Module) -> wasmtime::Result<Self> {
        let bytes = module.serialize()?;
        Ok(Self {
            module: digest,
            code: 0..bytes.len(),
            bytes,
        })
    }

    /// From bytes that [`Compiled::write_to`] wrote, for the same module and provenance.
    pub(crate) fn verify(
        bytes: Vec<u8>,
        module: Digest,
        provenance: &Provenance,
    ) -> Result<Self, CompiledError> {
        let damaged = CompiledError::Damaged { bytes: bytes.len() };
        let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(damaged);
        };
        if blake3::hash(content) != blake3::Hash::from_bytes(*checksum) {
            return Err(damaged);
        }
        let header = provenance.header(module);
        if !content.starts_with(header.as_bytes()) {
            let found = first_difference(content, &header);
            return Err(CompiledError::Other { found });
        }
        let code = header.len()..content.len();
        Ok(Self { module, bytes, code })
    }

    pub(crate) fn write_to(&self, provenance: &Provenance, out: &mut impl Write) -> io::Result<()> {
        let mut checksum = blake3::Hasher::new();
        for part in [provenance.header(self.module).as_bytes(), self.code()] {
            checksum.update(part);
            out.write_all(part)?;
        }
        out.write_all(checksum.finalize().as_bytes())
    }

    /// How much [`Compiled::write_to`] writes.
    pub(crate) fn bytes_written(&self, provenance: &Provenance) -> u64 {
        (provenance.header(self.module).len() + self.code.len() + CHECKSUM_BYTES) as u64
    }

    pub(crate) fn module(&self) -> Digest {
        self.module
    }

    pub(super) fn code(&self) -> &[u8] {
        &self.bytes[self.code.clone()]
    }
}

/// The first line that is not as it should be, shortened to what a message can hold.
fn first_difference(content: &[u8], header: &str) -> String {
    const SHOWN_BYTES_MAX: usize = 120;
    let found = content.split(|byte| *byte == b'\n');
    let line = found
        .zip(header.split('\n'))
        .find_map(|(found, wanted)| (found != wanted.as_bytes()).then_some(found))
        .unwrap_or_default();
    let mut text = String::new();
    for chunk in line[..line.len().min(SHOWN_BYTES_MAX)].utf8_chunks() {
        // Writing to a `String` does not fail.
        let _ = write!(text, "{}", chunk.valid().escape_debug());
    }
    text
}

/// BLAKE3 for what can only be hashed as Rust hashes.
struct HashOfHash(blake3::Hasher);

impl Hasher for HashOfHash {
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
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance::of(&WasmtimeEngine::default())
    }

    fn compiled() -> Compiled {
        let wasm = wat::parse_str("(module (func (export \"f\")))").unwrap();
        let module = Module::new(&WasmtimeEngine::default(), &wasm).unwrap();
        Compiled::of(Digest::of(&wasm), &module).unwrap()
    }

    fn written(compiled: &Compiled) -> Vec<u8> {
        let mut bytes = Vec::new();
        compiled.write_to(&provenance(), &mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, compiled.bytes_written(&provenance()));
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let compiled = compiled();
        let read = Compiled::verify(written(&compiled), compiled.module, &provenance());
        let Ok(read) = read else { panic!("refused") };
        assert_eq!(read.code(), compiled.code());
        assert_eq!(read.module(), compiled.module());
    }

    #[test]
    fn no_torn_and_no_changed_bytes_are_taken() {
        let compiled = compiled();
        let bytes = written(&compiled);
        let refusal = |bytes: Vec<u8>| Compiled::verify(bytes, compiled.module, &provenance()).err();
        let header = provenance().header(compiled.module).len();
        // All of header and checksum, and places all over the code.
        let places = (0..bytes.len())
            .filter(|place| *place < header + 64 || *place + 64 > bytes.len() || place % 61 == 0);
        for place in places {
            let damaged = Some(CompiledError::Damaged { bytes: place });
            assert_eq!(refusal(bytes[..place].to_vec()), damaged, "cut to {place}");
            for change in [0x01, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[place] ^= change;
                let damaged = Some(CompiledError::Damaged { bytes: bytes.len() });
                assert_eq!(refusal(flipped), damaged, "byte {place} changed by {change:02x}");
            }
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(refusal(longer).is_some());
        let zeros = vec![0; bytes.len()];
        assert!(refusal(zeros).is_some());
    }

    #[test]
    fn whole_files_of_something_else_are_named() {
        let compiled = compiled();
        for (from, to, line) in [
            ("compiler ", "compiler 9", "compiler 9"),
            ("revision ", "revision 1", "compiler "),
            ("abi ", "abi 9", "abi 9"),
            ("fd_read", "fd_pread", "abi "),
            ("wasmtime ", "wasmtime 0", "wasmtime 0"),
            ("target ", "target z80-", "target z80-"),
        ] {
            let mut bytes = Vec::new();
            let other = provenance().replaced(from, to);
            compiled.write_to(&other, &mut bytes).unwrap();
            match Compiled::verify(bytes, compiled.module, &provenance()).err() {
                Some(CompiledError::Other { found }) if found.starts_with(line) => {}
                other => panic!("{from}: {other:?}"),
            }
        }
        let refused = Compiled::verify(written(&compiled), Digest([7; 32]), &provenance());
        let found = format!("module {}", compiled.module);
        assert_eq!(refused.err(), Some(CompiledError::Other { found }));
    }

    #[test]
    fn settings_that_change_the_code_change_the_provenance() {
        let mut config = wasmtime::Config::new();
        config.cranelift_opt_level(wasmtime::OptLevel::None);
        let other = WasmtimeEngine::new(&config).unwrap();
        assert_ne!(Provenance::of(&other), provenance());
        // And those that do not, do not: the stack of a resumed program.
        let mut config = wasmtime::Config::new();
        config.max_wasm_stack(1 << 20).async_stack_size(1 << 20);
        let other = WasmtimeEngine::new(&config).unwrap();
        assert_eq!(Provenance::of(&other), provenance());
    }
}
