//! The engine's configuration file: read at its start, and written for people to change.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::arguments::EngineArgs;

/// Where packages and the installer put it.
const PATH_DEFAULT: &str = "/etc/wayfare/engine.toml";
/// Every key with its default, commented out.
const TEMPLATE: &str = include_str!("../../../deploy/engine.toml");
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// It may name who can log in where: not for everybody.
const FILE_MODE: u32 = 0o640;

#[derive(Debug, Error)]
pub enum ConfigurationError {
    #[error("cannot read {}: {error}; another file can be given with --config, /dev/null for none", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: more than {FILE_BYTES_MAX} bytes are not a configuration of an engine", .0.display())]
    TooLong(PathBuf),
    /// The message names line, column and key.
    #[error("{}: {error}", path.display())]
    Content { path: PathBuf, error: toml::de::Error },
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
}

impl EngineArgs {
    /// Adds what the configuration file says. One that was asked for must be there.
    pub fn with_file(self) -> Result<Self, ConfigurationError> {
        let path = self.config.clone().unwrap_or_else(|| PATH_DEFAULT.into());
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.is_none() => {
                return Ok(self);
            }
            Err(error) => return Err(ConfigurationError::Read { path, error }),
        };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigurationError::TooLong(path));
        }
        match toml::from_str(&text) {
            Ok(file) => Ok(self.or(file)),
            Err(error) => Err(ConfigurationError::Content { path, error }),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The arguments of `wayfare-engine init` and `wayfare engine init`.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// File to write
    #[arg(long, value_name = "FILE", default_value = PATH_DEFAULT)]
    pub path: PathBuf,
    /// Write it anew if it is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialised {
    Written,
    /// It was there, and is as it was.
    Kept,
}

impl InitArgs {
    /// Writes a configuration that explains itself and changes nothing.
    pub fn write(&self) -> Result<Initialised, ConfigurationError> {
        self.try_write().map_err(|error| ConfigurationError::Write {
            path: self.path.clone(),
            error,
        })
    }

    fn try_write(&self) -> io::Result<Initialised> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(FILE_MODE);
        match self.force {
            true => options.create(true).truncate(true),
            false => options.create_new(true),
        };
        match options.open(&self.path) {
            Ok(mut file) => {
                file.write_all(TEMPLATE.as_bytes())?;
                file.sync_all()?;
                Ok(Initialised::Written)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Initialised::Kept),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<EngineArgs, ConfigurationError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        std::fs::write(&path, text).unwrap();
        let args = EngineArgs {
            config: Some(path),
            ..EngineArgs::default()
        };
        args.with_file()
    }

    /// Lines of settings that are commented out begin with `#` and a letter or bracket, words with `# `.
    fn uncommented() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
                setting.to_owned()
            }
            _ => line.to_owned(),
        };
        TEMPLATE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_init_writes_changes_nothing_and_names_every_default() {
        let as_written = with(TEMPLATE).unwrap();
        assert!(as_written.id.is_none() && as_written.broker.is_none() && as_written.trust.is_empty());
        let mut all = with(&uncommented()).unwrap();
        // Examples: there are no such files here.
        assert!(all.broker_ca.take().is_some() && all.broker_login.take().is_some());
        let told = all.options().unwrap();
        let default = EngineArgs {
            id: all.id.clone(),
            data: all.data.clone(),
            ..EngineArgs::default()
        };
        let default = default.options().unwrap();
        assert_eq!(format!("{:?}", told.broker), format!("{:?}", default.broker));
        assert_eq!(told.topics, default.topics);
        assert_eq!(told.programs_max, default.programs_max);
        assert_eq!(told.program_memory_bytes_max, default.program_memory_bytes_max);
        assert_eq!(told.stack_bytes_max, default.stack_bytes_max);
        assert_eq!(told.checkpoint_interval, default.checkpoint_interval);
        assert_eq!(told.cache_bytes_max, default.cache_bytes_max);
        // The template's is that of x86-64.
        assert!(told.tiered_compilation && default.tiered_compilation == cfg!(target_arch = "x86_64"));
        #[cfg(feature = "compiler")]
        assert_eq!(told.compiler_limits, default.compiler_limits);
        assert_eq!(told.code.compiles(), default.code.compiles());
        assert_eq!(all.trust.len(), 1);
        assert_eq!(all.log_level(), "info");
    }

    #[test]
    fn every_flag_has_its_key_in_what_init_writes() {
        use clap::Args;
        let command = EngineArgs::augment_args(clap::Command::new("engine"));
        for argument in command.get_arguments() {
            let flag = argument.get_long().unwrap();
            let setting = format!("\n#{flag} = ");
            let table = format!("\n#[{flag}s]");
            let is_there = TEMPLATE.contains(&setting) || TEMPLATE.contains(&table);
            assert!(is_there || flag == "config", "{flag}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, word) in [
            ("# words\nprogram-max = 3\n", "line 2", "program-max"),
            ("programs-max = 3\nmemory-max = 0\n", "line 2", "1..=4096"),
            ("\n\nbroker = 'hub'\n", "line 3", "mqtt://"),
            ("id = 'a/b'", "line 1", "a/b"),
            ("root = 'a/+'", "line 1", "a/+"),
            ("trust = ['x']", "line 1", "64"),
            ("host = 'a b'", "line 1", "a host is named"),
            ("[labels]\nzone = 'a b'", "line 1", "'zone=a b' is not a label"),
            ("programs-max = 'many'", "line 1", "u64"),
            ("id = ", "line 1", ""),
            ("id = 'a'\nid = 'b'", "line 2", "duplicate"),
        ] {
            let said = with(text).unwrap_err().to_string();
            assert!(said.contains(line) && said.contains(word), "{text:?}: {said}");
        }
        let long = "#".repeat(FILE_BYTES_MAX as usize + 1);
        assert!(matches!(with(&long), Err(ConfigurationError::TooLong(_))));
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let args = |path: &str| EngineArgs {
            config: Some(path.into()),
            ..EngineArgs::default()
        };
        let missing = args("/nowhere/engine.toml").with_file().unwrap_err();
        assert!(missing.to_string().contains("/nowhere/engine.toml"), "{missing}");
        assert!(args("/dev/null").with_file().unwrap().id.is_none());
    }

    #[test]
    fn init_never_overwrites_unless_it_is_told_to() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/engine.toml");
        let init = |force| InitArgs {
            path: path.clone(),
            force,
        };
        assert_eq!(init(false).write().unwrap(), Initialised::Written);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0);
        std::fs::write(&path, "id = 'mine'\n").unwrap();
        assert_eq!(init(false).write().unwrap(), Initialised::Kept);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "id = 'mine'\n");
        assert_eq!(init(true).write().unwrap(), Initialised::Written);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), TEMPLATE);
    }
}
