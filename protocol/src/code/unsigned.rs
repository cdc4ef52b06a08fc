//! Compiled code on its way from a compiler that is a process of its own to who signs it: headed as signed
//! code is, without a key, so that code which was cut off or is not what was asked for is not taken for it.
//!
//! ```text
//!  wayfare code 1                 a line
//!  module, target, wasmtime, abi, compiler, code      as in signed code
//!                                 an empty line
//!  code
//! ```
//! Releases speak it with each other, so a change of it takes a new first line. What always holds: no engine
//! loads this form.

use super::{CodeLine, CodeRefusal, CodeTarget, HEADER_BYTES_MAX, Header, TextError, check_text};
use crate::ids::{Blob, Digest};
use crate::limits::CODE_BYTES_MAX;

pub(super) const FIRST_LINE: &str = "wayfare code 1";
/// Of the whole form.
pub const UNSIGNED_BYTES_MAX: u64 = CODE_BYTES_MAX + HEADER_BYTES_MAX as u64;

/// Code of a module for a target, and what it says made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned<'a> {
    pub compiler: &'a str,
    pub code: &'a [u8],
}

impl<'a> Unsigned<'a> {
    pub fn encode(&self, module: Digest, target: &CodeTarget) -> Result<Vec<u8>, TextError> {
        target.check()?;
        check_text("a compiler's name", self.compiler)?;
        let header = format!(
            "{}compiler {}\n{}\n\n",
            target.header_after(FIRST_LINE, module),
            self.compiler,
            CodeLine(Blob::of(self.code))
        );
        Ok([header.as_bytes(), self.code].concat())
    }

    /// Checks what it is for, and that it is whole.
    pub fn decode(bytes: &'a [u8], module: Digest, target: &CodeTarget) -> Result<Self, CodeRefusal> {
        if !bytes.starts_with(FIRST_LINE.as_bytes()) {
            return Err(CodeRefusal::NotCode);
        }
        let header = Header::read(bytes)?;
        header.check_wanted(module, target)?;
        let code = &bytes[header.bytes..];
        header.check_code(code)?;
        Ok(Self {
            compiler: header.compiler,
            code,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SecretKey, SignedCode, sign};
    use super::*;

    fn target() -> CodeTarget {
        CodeTarget {
            architecture: "aarch64".into(),
            wasmtime: "47.0.4".into(),
            abi: "2 blocking fd_read".into(),
        }
    }

    fn made() -> Vec<u8> {
        let unsigned = Unsigned {
            compiler: "0.1.0 revision 7",
            code: b"the code",
        };
        unsigned.encode(Digest::of(b"module"), &target()).unwrap()
    }

    fn decode(bytes: &[u8], target: &CodeTarget) -> Result<Vec<u8>, CodeRefusal> {
        Unsigned::decode(bytes, Digest::of(b"module"), target).map(|made| made.code.to_vec())
    }

    #[test]
    fn what_was_made_is_taken_and_nothing_that_was_changed_or_cut_off() {
        let good = made();
        assert_eq!(decode(&good, &target()).unwrap(), b"the code");
        for cut in 0..good.len() {
            assert!(decode(&good[..cut], &target()).is_err(), "cut to {cut}");
        }
        let longer = [&good[..], b"!"].concat();
        assert_eq!(decode(&longer, &target()), Err(CodeRefusal::Code));
        assert_eq!(
            decode(b"Segmentation fault", &target()),
            Err(CodeRefusal::NotCode)
        );
        let newer = CodeTarget {
            wasmtime: "48.0.8".into(),
            ..target()
        };
        let refusal = decode(&good, &newer).unwrap_err().to_string();
        assert_eq!(refusal, "it is for wasmtime 47.0.4, and 48.0.8 is needed");
    }

    #[test]
    fn neither_form_is_taken_for_the_other() {
        let key = SecretKey::from_random([1; 32]);
        let signed = sign(Digest::of(b"module"), &target(), "c", b"the code", &key).unwrap();
        assert_eq!(decode(&signed, &target()), Err(CodeRefusal::NotCode));
        let refusal = SignedCode::verify(made(), Digest::of(b"module"), &target(), &[key.public()]);
        assert_eq!(refusal.unwrap_err(), CodeRefusal::NotSignedCode);
    }
}
