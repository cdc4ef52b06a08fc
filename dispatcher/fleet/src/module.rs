//! Whether bytes are a WebAssembly module, before anything is sent.

use thiserror::Error;
use wayfare_protocol::error::Failure;

/// Why bytes are not taken for a module.
#[derive(Debug, Error)]
pub enum ModuleError {
    #[error("not a WebAssembly module: it begins with {found}, not with \\0asm")]
    NotWasm { found: String },
    #[error("{0}")]
    Refused(Failure),
}

/// The magic and version of a core module; everything behind is the engine's to judge.
pub fn check_wasm(module: &[u8]) -> Result<(), ModuleError> {
    const MAGIC: &[u8] = b"\0asm";
    if module.starts_with(MAGIC) {
        return match module.get(4..8) {
            Some([1, 0, 0, 0]) => Ok(()),
            Some([_, 0, 1, 0]) => {
                let reason = "it is a WebAssembly component, and engines run modules: build for WASI preview 1, in Rust \
                              with 'rustup target add wasm32-wasip1' and 'cargo build --target wasm32-wasip1'"
                    .into();
                Err(ModuleError::Refused(Failure::BadRequest { reason }))
            }
            _ => {
                let reason = "the WebAssembly module is truncated or of an unknown version".into();
                Err(ModuleError::Refused(Failure::BadRequest { reason }))
            }
        };
    }
    let begin = &module[..module.len().min(4)];
    let found = if begin.is_empty() {
        "nothing".to_owned()
    } else {
        format!("'{}'", begin.escape_ascii())
    };
    Err(ModuleError::NotWasm { found })
}
