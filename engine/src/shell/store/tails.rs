//! The last log lines of programs that have ended, so that they can still be read after a restart. Nothing
//! depends on them: they are not synced, and one that is damaged is as good as none.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wayfare_protocol::ids::{Generation, ProgramId};
use wayfare_protocol::log::LogLine;

use super::files;

/// A tail has at most `LOG_TAIL_BYTES_MAX` of text; JSON may need several bytes for one.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub(crate) lines: Vec<LogLine>,
    /// Number of the line after the last.
    pub(crate) next: u64,
    pub(crate) generation: Generation,
    /// Lines from here on may not be with the broker: they are published again after a start.
    pub(crate) acknowledged_below: u64,
}

pub(crate) struct Tails {
    folder: PathBuf,
}

impl Tails {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        files::remove_unfinished(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    pub(crate) fn keep(&self, program: ProgramId, tail: &Tail) {
        let json = serde_json::to_vec(tail).expect("plain data serialises");
        let unfinished = files::unfinished(&self.folder, &program.to_string());
        let kept = std::fs::write(&unfinished, json)
            .and_then(|()| std::fs::rename(&unfinished, self.folder.join(program.to_string())));
        if let Err(error) = kept {
            tracing::warn!(%program, %error, "could not keep the last log lines of a program");
            files::remove_quietly(&unfinished);
        }
    }

    pub(crate) fn read(&self, program: ProgramId) -> Option<Tail> {
        let path = self.folder.join(program.to_string());
        if std::fs::metadata(&path).ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Throws away all but those of `programs`.
    pub(crate) fn retain(&self, programs: &BTreeSet<ProgramId>) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let program: Option<ProgramId> = name.to_str().and_then(|name| name.parse().ok());
            if program.is_none_or(|program| !programs.contains(&program)) {
                files::remove_quietly(&entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_come_back_until_their_program_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let tails = Tails::open(folder.path()).unwrap();
        let (kept, forgotten, damaged) = (ProgramId::random(), ProgramId::random(), ProgramId::random());
        let tail = Tail {
            lines: vec![],
            next: 7,
            generation: Generation(2),
            acknowledged_below: 5,
        };
        for program in [kept, forgotten, damaged] {
            tails.keep(program, &tail);
        }
        std::fs::write(folder.path().join(damaged.to_string()), b"{").unwrap();
        tails.retain(&[kept, damaged].into());
        assert_eq!(tails.read(kept), Some(tail));
        assert_eq!(tails.read(forgotten), None);
        assert_eq!(tails.read(damaged), None);
    }
}
