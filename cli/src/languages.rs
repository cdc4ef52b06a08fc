//! Languages: a module that runs source text, with extensions, arguments and library files. JavaScript is
//! built in: its module travels inside the command. The others are kept with the fleet's files, each in a
//! folder below `/fleet/languages`: `module.wasm`, `library` (packed) and `language.json`, which is written
//! last and makes it one.
//!
//! Reading order: `language` (what one is, and how people write it), [`source`] (what is run with it),
//! [`builtin`] (what comes with the command), [`cache`] (what was fetched before), [`requires`] (what a
//! program of that takes along), [`declared`] (what it says of its messages), [`kept`] (with the fleet).

pub(crate) mod builtin;
pub(crate) mod cache;
pub(crate) mod declared;
pub(crate) mod kept;
mod made;
pub(crate) mod requires;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::PATH_BYTES_MAX;
use wayfare_protocol::folder::FolderName;
use wayfare_protocol::ids::is_name;

use crate::args::values::parse_size;
use crate::fail::{Fail, Result};

/// Stands for the path of what is run, in a language's arguments.
const PROGRAM: &str = "{program}";
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// What a language is, but for its files. In `language.toml`:
///
/// ```toml
/// name = "python"
/// module = "python.wasm"        # beside this file
/// extensions = ["py"]
/// args = ["-u", "{program}"]
/// library = "lib"               # a folder beside this file; mounted at /library
/// env = { PYTHONHOME = "/library" }
/// memory = "128M"               # unless 'run' says otherwise
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Language {
    pub(crate) name: String,
    pub(crate) module: String,
    pub(crate) extensions: Vec<String>,
    #[serde(default = "only_the_program")]
    pub(crate) args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) library: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
}

fn only_the_program() -> Vec<String> {
    vec![PROGRAM.to_owned()]
}

impl Language {
    /// Reads a `language.toml`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = source::read_bounded(path, MANIFEST_BYTES_MAX)?;
        let bad = |what: String| Fail::new("manifest", format!("{}: {what}", path.display()));
        let text = String::from_utf8(bytes).map_err(|_| bad("not text".into()))?;
        let language: Self = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        language.check().map_err(bad)
    }

    /// What is wrong with it, for people.
    pub(crate) fn check(mut self) -> std::result::Result<Self, String> {
        if !is_name(&self.name) {
            return Err(format!("'{}' cannot name a language", self.name));
        }
        for extension in &mut self.extensions {
            let bare = extension.strip_prefix('.').unwrap_or(extension).to_owned();
            if bare.is_empty() || bare == "wasm" || !bare.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(format!("'{extension}' is not an extension such as .py"));
            }
            *extension = bare;
        }
        let builtin = self
            .extensions
            .iter()
            .find(|one| source::EXTENSIONS.contains(&one.as_str()));
        if let Some(extension) = builtin {
            return Err(format!(".{extension} is JavaScript, which is built in"));
        }
        if self.extensions.is_empty() {
            return Err("it has no extension: name one, such as .py".into());
        }
        if !self.args.iter().any(|arg| arg.contains(PROGRAM)) {
            return Err(format!(
                "its arguments name no {PROGRAM}, for the path of what is run"
            ));
        }
        self.memory_bytes()?;
        Ok(self)
    }

    pub(crate) fn memory_bytes(&self) -> std::result::Result<Option<u64>, String> {
        let parse = |text: &str| parse_size(text).map_err(|reason| format!("memory '{text}': {reason}"));
        self.memory.as_deref().map(parse).transpose()
    }

    /// The interpreter's arguments for what is at `main` in the program's folder.
    pub(crate) fn args_for(&self, main: &str) -> Vec<String> {
        let path = format!("{}/{main}", FolderName::Program.mount());
        self.args.iter().map(|arg| arg.replace(PROGRAM, &path)).collect()
    }
}

/// Whether a program's source can be called so: it is a path below its folder.
pub(crate) fn is_source_name(name: &str) -> bool {
    wayfare_protocol::files::is_name(name) && name.len() <= PATH_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(text: &str) -> std::result::Result<Language, String> {
        let language: Language = toml::from_str(text).map_err(|error| error.to_string())?;
        language.check()
    }

    #[test]
    fn a_manifest_says_what_a_language_is_and_what_is_wrong_is_said() {
        let lua =
            language("name = 'lua'\nmodule = 'lua.wasm'\nextensions = ['.lua']\nmemory = '16M'").unwrap();
        assert_eq!(lua.extensions, ["lua"]);
        assert_eq!(lua.args_for("main.lua"), ["/program/main.lua"]);
        assert_eq!(lua.memory_bytes(), Ok(Some(16 << 20)));
        let kept: Language = serde_json::from_slice(&serde_json::to_vec(&lua).unwrap()).unwrap();
        assert_eq!(kept, lua);
        for (text, says) in [
            (
                "name = 'a b'\nmodule = 'm'\nextensions = ['a']",
                "cannot name a language",
            ),
            ("name = 'a'\nmodule = 'm'\nextensions = []", "no extension"),
            (
                "name = 'a'\nmodule = 'm'\nextensions = ['wasm']",
                "not an extension such as",
            ),
            ("name = 'a'\nmodule = 'm'\nextensions = ['.js']", "built in"),
            (
                "name = 'a'\nmodule = 'm'\nextensions = ['a']\nargs = ['-u']",
                "name no {program}",
            ),
            (
                "name = 'a'\nmodule = 'm'\nextensions = ['a']\nmemory = 'much'",
                "much",
            ),
            (
                "name = 'a'\nmodule = 'm'\nextensions = ['a']\nlib = 'x'",
                "unknown field",
            ),
        ] {
            let error = language(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
