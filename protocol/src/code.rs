//! Compiled code on its way from who compiles to who only runs: headed by what it is, and signed with the
//! fleet's key.
//!
//! ```text
//!  wayfare signed code 1          a line
//!  module <digest>                the WebAssembly that it was made of
//!  target <architecture>          pulley32, x86_64, ...
//!  wasmtime <version>
//!  abi <text>                     how a host and rewritten modules speak
//!  compiler <text>                for people: nothing is decided by it
//!  code <digest> <bytes>
//!  key <public key>
//!                                 an empty line
//!  signature                      Ed25519, 64 bytes, under everything before it
//!  code
//! ```
//! Loading compiled code is as dangerous as running native code. What always holds: [`SignedCode`] is code
//! whose header is the one that was wanted, whose header was signed under a trusted key, and whose bytes are
//! those that the header names. What does not fit is refused before the signature is looked at, so that an
//! honest mistake is named as what it is.

pub mod unsigned;

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{Blob, Digest, hexadecimal};
use crate::limits::CODE_TEXT_BYTES_MAX;

const FIRST_LINE: &str = "wayfare signed code 1";
const SIGNATURE_BYTES: usize = 64;
/// A header is eight short lines.
const HEADER_BYTES_MAX: usize = 2048;

/// What signs: the fleet's secret.
pub struct SecretKey(SigningKey);

/// What an engine trusts: printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("this is not a key: 64 hexadecimal digits expected")]
pub struct KeyError;

impl SecretKey {
    /// From 32 random bytes: randomness is the caller's.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&bytes))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// An Ed25519 signature under these bytes.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    /// For the one file that holds it.
    pub fn reveal(&self) -> String {
        Digest(self.0.to_bytes()).to_string()
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        hexadecimal(text).map(Self::from_random).ok_or(KeyError)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = hexadecimal(text).ok_or(KeyError)?;
        // Not every 32 bytes are a point of the curve.
        VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError)?;
        Ok(Self(bytes))
    }
}

impl PublicKey {
    /// Whether `signature` is this key's, under these bytes.
    pub fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(bytes, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which form of a module an engine needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CodeTarget {
    /// As wasmtime names it: `pulley32`, `x86_64`.
    pub architecture: String,
    pub wasmtime: String,
    pub abi: String,
}

/// Why what was asked for has no place in a header.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{what} must be printable ASCII of 1 to {CODE_TEXT_BYTES_MAX} bytes")]
pub struct TextError {
    what: &'static str,
}

impl CodeTarget {
    /// Checks what came from outside: each text is to stand in a line.
    pub fn check(&self) -> Result<(), TextError> {
        let texts = [
            ("a target's architecture", &self.architecture),
            ("a version of wasmtime", &self.wasmtime),
            ("an ABI", &self.abi),
        ];
        texts
            .into_iter()
            .try_for_each(|(what, text)| check_text(what, text))
    }

    /// What every header for this module and target begins with.
    pub fn header(&self, module: Digest) -> String {
        self.header_after(FIRST_LINE, module)
    }

    fn header_after(&self, first_line: &str, module: Digest) -> String {
        let Self {
            architecture,
            wasmtime,
            abi,
        } = self;
        format!("{first_line}\nmodule {module}\ntarget {architecture}\nwasmtime {wasmtime}\nabi {abi}\n")
    }
}

impl fmt::Display for CodeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, wasmtime {}", self.architecture, self.wasmtime)
    }
}

/// For what is to stand in a line of a header.
pub fn check_text(what: &'static str, text: &str) -> Result<(), TextError> {
    let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_printable && (1..=CODE_TEXT_BYTES_MAX).contains(&text.len()) {
        Ok(())
    } else {
        Err(TextError { what })
    }
}

/// Why bytes are not loaded.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CodeRefusal {
    #[error("it is not signed code: it does not begin with '{FIRST_LINE}'")]
    NotSignedCode,
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    #[error("it is not compiled code: it does not begin with '{}'", unsigned::FIRST_LINE)]
    NotCode,
    #[error("it is for module {found}, not for {wanted}")]
    Module { found: String, wanted: Digest },
    #[error("it is for target {found}, and {wanted} is needed")]
    Target { found: String, wanted: String },
    #[error("it is for wasmtime {found}, and {wanted} is needed")]
    Wasmtime { found: String, wanted: String },
    #[error("it is for ABI '{found}', and '{wanted}' is needed")]
    Abi { found: String, wanted: String },
    #[error("it is not signed")]
    Unsigned,
    #[error("it is signed with key {found}, which this engine does not trust")]
    ForeignKey { found: String },
    #[error("its signature is wrong: it was tampered with, or damaged")]
    Signature,
    #[error("its code is not what its header says: it was tampered with, or damaged")]
    Code,
}

/// `code` of a module for a target, signed.
pub fn sign(
    module: Digest,
    target: &CodeTarget,
    compiler: &str,
    code: &[u8],
    key: &SecretKey,
) -> Result<Vec<u8>, TextError> {
    target.check()?;
    check_text("a compiler's name", compiler)?;
    let header = format!(
        "{}compiler {compiler}\n{}\nkey {}\n\n",
        target.header(module),
        CodeLine(Blob::of(code)),
        key.public()
    );
    let signature = key.0.sign(header.as_bytes());
    Ok([header.as_bytes(), &signature.to_bytes(), code].concat())
}

/// Code that may be loaded.
#[derive(Clone)]
pub struct SignedCode {
    bytes: Vec<u8>,
    code_at: usize,
}

impl fmt::Debug for SignedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedCode of {} bytes", self.bytes.len())
    }
}

impl SignedCode {
    /// Checks, in this order: what it is for, who signed it, and that it is what was signed.
    pub fn verify(
        bytes: Vec<u8>,
        module: Digest,
        target: &CodeTarget,
        trusted: &[PublicKey],
    ) -> Result<Self, CodeRefusal> {
        if !bytes.starts_with(FIRST_LINE.as_bytes()) {
            return Err(CodeRefusal::NotSignedCode);
        }
        let header = Header::read(&bytes)?;
        header.check_wanted(module, target)?;
        let signature_at = header.bytes;
        let code_at = signature_at + SIGNATURE_BYTES;
        let key = header.trusted_key(trusted)?;
        let signature = bytes
            .get(signature_at..code_at)
            .and_then(|signature| signature.try_into().ok())
            .ok_or(CodeRefusal::Unsigned)?;
        key.verify_strict(&bytes[..signature_at], &Signature::from_bytes(&signature))
            .map_err(|_| CodeRefusal::Signature)?;
        header.check_code(&bytes[code_at..])?;
        Ok(Self { bytes, code_at })
    }

    pub fn code(&self) -> &[u8] {
        &self.bytes[self.code_at..]
    }

    /// All of it, as it was verified and will be verified again.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The lines of a header, none of them believed yet.
struct Header<'a> {
    module: &'a str,
    target: &'a str,
    wasmtime: &'a str,
    abi: &'a str,
    compiler: &'a str,
    code: &'a str,
    key: Option<&'a str>,
    /// How long it is, with the empty line.
    bytes: usize,
}

impl<'a> Header<'a> {
    /// The first line is the caller's to look at.
    fn read(bytes: &'a [u8]) -> Result<Self, CodeRefusal> {
        let beginning = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
        let end = beginning
            .windows(2)
            .position(|two| two == b"\n\n")
            .ok_or(CodeRefusal::Header("it does not end"))?;
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| CodeRefusal::Header("it is not text"))?;
        let mut lines = text.split('\n').skip(1);
        let mut line = |word: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(word));
            line.and_then(|rest| rest.strip_prefix(' '))
                .ok_or(CodeRefusal::Header(word))
        };
        let (module, target) = (line("module")?, line("target")?);
        let (wasmtime, abi) = (line("wasmtime")?, line("abi")?);
        Ok(Self {
            module,
            target,
            wasmtime,
            abi,
            compiler: line("compiler")?,
            code: line("code")?,
            key: line("key").ok(),
            bytes: end + 2,
        })
    }

    fn check_wanted(&self, module: Digest, target: &CodeTarget) -> Result<(), CodeRefusal> {
        let pair = |found: &str, wanted: &str| (found.to_owned(), wanted.to_owned());
        if self.module.parse() != Ok(module) {
            let found = self.module.to_owned();
            return Err(CodeRefusal::Module {
                found,
                wanted: module,
            });
        }
        if self.target != target.architecture {
            let (found, wanted) = pair(self.target, &target.architecture);
            return Err(CodeRefusal::Target { found, wanted });
        }
        if self.wasmtime != target.wasmtime {
            let (found, wanted) = pair(self.wasmtime, &target.wasmtime);
            return Err(CodeRefusal::Wasmtime { found, wanted });
        }
        if self.abi != target.abi {
            let (found, wanted) = pair(self.abi, &target.abi);
            return Err(CodeRefusal::Abi { found, wanted });
        }
        Ok(())
    }

    fn check_code(&self, code: &[u8]) -> Result<(), CodeRefusal> {
        if self.code.parse() == Ok(CodeLine(Blob::of(code))) {
            Ok(())
        } else {
            Err(CodeRefusal::Code)
        }
    }

    fn trusted_key(&self, trusted: &[PublicKey]) -> Result<VerifyingKey, CodeRefusal> {
        let text = self.key.ok_or(CodeRefusal::Unsigned)?;
        let foreign = || CodeRefusal::ForeignKey {
            found: text.to_owned(),
        };
        let key: PublicKey = text.parse().map_err(|_| foreign())?;
        if !trusted.contains(&key) {
            return Err(foreign());
        }
        VerifyingKey::from_bytes(&key.0).map_err(|_| foreign())
    }
}

#[derive(PartialEq, Eq)]
struct CodeLine(Blob);

impl FromStr for CodeLine {
    type Err = CodeRefusal;
    fn from_str(text: &str) -> Result<Self, CodeRefusal> {
        let (digest, bytes) = text.split_once(' ').ok_or(CodeRefusal::Code)?;
        Ok(Self(Blob {
            digest: digest.parse().map_err(|_| CodeRefusal::Code)?,
            bytes: bytes.parse().map_err(|_| CodeRefusal::Code)?,
        }))
    }
}

impl fmt::Display for CodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blob { digest, bytes } = self.0;
        write!(f, "code {digest} {bytes}")
    }
}

#[cfg(test)]
mod tests;
