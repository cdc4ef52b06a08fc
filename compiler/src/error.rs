//! Why a module cannot be rewritten, naming the function and feature.

use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompileError {
    #[error("not WebAssembly: {0}")]
    NotWasm(String),
    #[error(
        "a WebAssembly component, not a module: build for WASI preview 1, in Rust with \
         'rustup target add wasm32-wasip1' and 'cargo build --target wasm32-wasip1'"
    )]
    Component,
    /// What wasmparser says: invalid, truncated, or a feature that is not supported.
    #[error("invalid module: {0}")]
    Invalid(String),
    #[error("function {function}: {reason}")]
    Function { function: String, reason: String },
    /// A proposal that is refused: see [`crate::features`].
    #[error("{place}{name} cannot be taken: {why}; {instead} ({detail})")]
    Feature {
        /// `function 5 (name): `, or nothing.
        place: String,
        name: &'static str,
        why: &'static str,
        instead: &'static str,
        detail: String,
    },
    #[error("{0} cannot be captured")]
    Unsupported(String),
    #[error("no function '_start': this is a library, not a command{0}")]
    NoStart(String),
    #[error("the rewriting thread failed: {0}")]
    Thread(String),
}

impl From<wasmparser::BinaryReaderError> for CompileError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid(error.to_string())
    }
}
