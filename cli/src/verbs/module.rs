//! A module as people name it: a file, or a sample that comes with the command.

use std::path::Path;

use wayfare_protocol::ids::is_name;
use wayfare_protocol::limits::{MODULE_BYTES_MAX, NAME_BYTES_MAX};

use crate::fail::{Fail, Result};

pub(crate) struct Module {
    /// Fit to name a program.
    pub(crate) name: String,
    pub(crate) wasm: Vec<u8>,
    /// What a sample reads unless it is given something else.
    pub(crate) stdin: Option<&'static [u8]>,
}

impl Module {
    /// A file wins over a sample of the same name.
    pub(crate) fn find(named: &str) -> Result<Self> {
        let path = Path::new(named);
        match Self::read(path)? {
            Some(module) => Ok(module),
            None => Self::sample(named).ok_or_else(|| {
                if path.is_dir() {
                    return not_a_file(path);
                }
                let talkers = wayfare_samples::TALKERS.iter().map(|talker| talker.name);
                let samples: Vec<_> = wayfare_samples::ALL
                    .iter()
                    .map(|s| s.name)
                    .chain(talkers)
                    .collect();
                Fail::new(
                    "no-module",
                    format!(
                        "no file '{named}', and no sample of that name; the samples are: {}",
                        samples.join(", ")
                    ),
                )
            }),
        }
    }

    pub(crate) fn sample(named: &str) -> Option<Self> {
        if let Some(talker) = wayfare_samples::find_talker(named) {
            return Some(Self {
                name: talker.name.into(),
                wasm: talker.wasm.to_vec(),
                stdin: None,
            });
        }
        let sample = wayfare_samples::find(named)?;
        Some(Self {
            name: sample.name.into(),
            wasm: sample.wasm.to_vec(),
            stdin: sample.stdin,
        })
    }

    /// `None`: there is no such file. A folder is none, whatever else has its name.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let about = match std::fs::metadata(path) {
            Ok(about) if about.is_file() => about,
            Ok(about) if about.is_dir() => return Ok(None),
            Ok(_) => return Err(not_a_file(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fail::file(path, &error)),
        };
        if about.len() > MODULE_BYTES_MAX {
            return Err(Fail::new(
                "refused",
                format!(
                    "module {} has {} bytes, the limit is {MODULE_BYTES_MAX}",
                    path.display(),
                    about.len()
                ),
            ));
        }
        let wasm = std::fs::read(path).map_err(|error| Fail::file(path, &error))?;
        let stem = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Some(Self {
            name: usable_name(&stem),
            wasm,
            stdin: None,
        }))
    }
}

/// The nearest name that a program can have.
pub(crate) fn usable_name(text: &str) -> String {
    let usable = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().map(usable).take(NAME_BYTES_MAX).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if is_name(name) {
        name.to_owned()
    } else {
        "program".to_owned()
    }
}

fn not_a_file(path: &Path) -> Fail {
    Fail::new("file", format!("{} is not a file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_gives_a_usable_program_name() {
        for (stem, name) in [
            ("primes", "primes"),
            ("my prog", "my-prog"),
            ("_x", "x"),
            ("", "program"),
            ("é", "program"),
        ] {
            assert_eq!(usable_name(stem), name, "{stem}");
        }
        assert!(is_name(&usable_name(&"a".repeat(300))));
    }

    #[test]
    fn a_missing_module_is_answered_with_the_samples() {
        let error = Module::find("nosuch").err().unwrap();
        assert!(error.message().contains("primes"), "{}", error.message());
        assert_eq!(Module::find("primes").unwrap().name, "primes");
    }

    #[test]
    fn a_folder_is_no_module_and_hides_nothing_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Module::read(folder.path()).unwrap().is_none());
        let error = Module::find(folder.path().to_str().unwrap()).err().unwrap();
        assert!(error.message().contains("is not a file"), "{}", error.message());
    }
}
