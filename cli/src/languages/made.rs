//! A program made ready to be run with a language.

use wayfare_client::app::manifest;
use wayfare_protocol::folder::FolderName;
use wayfare_protocol::ports::Ports;

use super::Language;
use crate::fail::{Fail, Result};

/// What is run where a language runs it.
pub(crate) struct Made {
    /// Fit to name a program.
    pub(crate) name: String,
    pub(crate) language: Language,
    pub(crate) module: Vec<u8>,
    /// Before those that the program is given.
    pub(crate) args: Vec<String>,
    pub(crate) folders: Vec<(FolderName, Vec<u8>)>,
    /// What the source declares of its messages.
    pub(crate) ports: Ports,
}

impl Made {
    /// Of a language's module, and of a packed folder with the path in it of what is run.
    pub(super) fn new(language: Language, module: Vec<u8>, name: String, program: (&str, Vec<u8>)) -> Self {
        let (main, folder) = program;
        Self {
            name,
            args: language.args_for(main),
            folders: vec![(FolderName::Program, folder)],
            ports: Ports::default(),
            language,
            module,
        }
    }

    /// As an application's component.
    pub(crate) fn for_manifest(self) -> Result<manifest::Made> {
        let memory = self.language.memory_bytes();
        Ok(manifest::Made {
            module: self.module,
            args: self.args,
            env: self.language.env,
            memory_bytes: memory.map_err(|reason| Fail::new("language", reason))?,
            folders: self.folders.into_iter().collect(),
            ports: self.ports,
        })
    }
}
