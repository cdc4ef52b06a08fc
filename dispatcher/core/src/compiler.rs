//! What a compiler for engines without one says of itself: for whom it makes code.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wayfare_protocol::code::{CodeTarget, TextError, check_text};

/// How a compiler is asked and answers. Releases speak it with each other, so a change of it takes a new
/// number.
pub const COMPILER_FORMAT: u32 = 1;
const ARCHITECTURES_MAX: usize = 32;

/// What a compiler makes: as `wayfare compile --about --json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompilerAbout {
    pub format: u32,
    /// Another one for everything that makes its code another.
    pub compiler: String,
    /// The version that its code is for.
    pub wasmtime: String,
    pub abi: String,
    pub architectures: BTreeSet<String>,
}

#[derive(Debug, Error)]
pub enum AboutError {
    #[error("it speaks format {found} of compilers, and this dispatcher {COMPILER_FORMAT}")]
    Format { found: u32 },
    #[error("it makes code for {found} architectures, 1 to {ARCHITECTURES_MAX} are expected")]
    Architectures { found: usize },
    #[error(transparent)]
    Text(#[from] TextError),
}

impl CompilerAbout {
    pub fn check(&self) -> Result<(), AboutError> {
        let (found, count) = (self.format, self.architectures.len());
        if found != COMPILER_FORMAT {
            return Err(AboutError::Format { found });
        }
        if !(1..=ARCHITECTURES_MAX).contains(&count) {
            return Err(AboutError::Architectures { found: count });
        }
        check_text("a compiler's name", &self.compiler)?;
        for architecture in &self.architectures {
            let (wasmtime, abi) = (self.wasmtime.clone(), self.abi.clone());
            CodeTarget {
                architecture: architecture.clone(),
                wasmtime,
                abi,
            }
            .check()?;
        }
        Ok(())
    }

    pub fn makes(&self, target: &CodeTarget) -> bool {
        self.is_for(target) && self.architectures.contains(&target.architecture)
    }

    /// If not for the processor.
    pub fn is_for(&self, target: &CodeTarget) -> bool {
        self.wasmtime == target.wasmtime && self.abi == target.abi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(wasmtime: &str, architectures: &[&str]) -> CompilerAbout {
        CompilerAbout {
            format: COMPILER_FORMAT,
            compiler: format!("of {wasmtime}"),
            wasmtime: wasmtime.into(),
            abi: "2".into(),
            architectures: architectures.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_a_compiler_says_of_itself_is_bounded() {
        assert!(about("48", &["pulley32"]).check().is_ok());
        let newer = CompilerAbout {
            format: COMPILER_FORMAT + 1,
            ..about("48", &["pulley32"])
        };
        let named = CompilerAbout {
            compiler: "c\nkey 00".into(),
            ..about("48", &["pulley32"])
        };
        let many: Vec<String> = (0..=ARCHITECTURES_MAX).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for bad in [
            newer,
            named,
            about("48", &[]),
            about("4\n8", &["pulley32"]),
            about("48", &many),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
