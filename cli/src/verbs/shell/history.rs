//! What was typed in the shell before: kept in a file of this user's alone, and recalled as shells do.
//!
//! Always: the file has mode 0600 and no more than [`LINES_MAX`] lines once a shell has begun; a line that
//! begins with a space is not kept. A history that cannot be read or written ends no shell.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Lines that are kept.
const LINES_MAX: usize = 1_000;
/// A longer one is not kept.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Of a file that several shells have written into.
const FILE_BYTES_MAX: u64 = 16 << 20;
const MODE: u32 = 0o600;

/// The lines, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    /// `None`: there is nowhere to keep them.
    path: Option<PathBuf>,
    lines: VecDeque<String>,
}

impl History {
    /// Goes on from what is kept. Why nothing is kept from now on, if so.
    pub(super) fn open(path: Option<PathBuf>) -> (Self, Option<io::Error>) {
        let mut history = Self::default();
        let Some(path) = path else {
            return (history, None);
        };
        match history.read(&path) {
            Ok(()) => {
                history.path = Some(path);
                (history, None)
            }
            Err(error) => (history, Some(error)),
        }
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut bytes = Vec::new();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .open(path)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        (&file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let all = text.lines().count();
        text.lines().for_each(|line| self.push(line));
        if all > LINES_MAX || bytes.len() as u64 == FILE_BYTES_MAX {
            self.write_anew(path)?;
        }
        Ok(())
    }

    fn write_anew(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        // Only its owner can read a file of this kind.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        for line in &self.lines {
            writeln!(file, "{line}")?;
        }
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    fn push(&mut self, line: &str) {
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    /// Keeps a line that was typed, unless it is the last one again.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        let line = line.trim_end();
        let is_kept = !line.is_empty() && !line.starts_with(' ') && line.len() <= LINE_BYTES_MAX;
        if !is_kept || self.lines.back().is_some_and(|last| last == line) {
            return Ok(());
        }
        self.push(line);
        let Some(path) = &self.path else { return Ok(()) };
        let append = || -> io::Result<()> {
            let mut file: File = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(MODE)
                .open(path)?;
            // In one piece: other shells append too.
            file.write_all(format!("{line}\n").as_bytes())
        };
        let appended = append();
        if appended.is_err() {
            self.path = None;
        }
        appended
    }

    /// The last so many, with their numbers.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = (usize, &str)> {
        let skipped = self.lines.len().saturating_sub(count);
        let numbered = self.lines.iter().enumerate().skip(skipped);
        numbered.map(|(at, line)| (at + 1, line.as_str()))
    }

    /// The line that `!!`, `!12` or `!mov` stands for. `None`: it stands for itself.
    pub(super) fn recalled(&self, line: &str) -> Option<Result<&str, String>> {
        let wanted = line.trim().strip_prefix('!')?;
        let found = match wanted {
            "" => return None,
            "!" => self.lines.back(),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let number: Option<usize> = number.parse().ok();
                number.and_then(|number| self.lines.get(number.checked_sub(1)?))
            }
            begin => self.lines.iter().rev().find(|line| line.starts_with(begin)),
        };
        let none = || format!("no line '!{wanted}': `history` lists those that are kept");
        Some(found.map(String::as_str).ok_or_else(none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> History {
        let (history, error) = History::open(Some(path.to_owned()));
        assert!(error.is_none(), "{error:?}");
        history
    }

    #[test]
    fn what_was_typed_is_recalled_in_the_next_shell_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/shell-history");
        let mut history = open(&path);
        for line in [
            "ps\n",
            "move p --to b\n",
            "move p --to b\n",
            " run m --env SECRET=1\n",
            "\n",
            "ops\n",
        ] {
            history.add(line).unwrap();
        }
        history.add(&"x".repeat(LINE_BYTES_MAX + 1)).unwrap();
        let history = open(&path);
        let all: Vec<_> = history.last(10).collect();
        assert_eq!(all, [(1, "ps"), (2, "move p --to b"), (3, "ops")]);
        assert_eq!(history.last(1).collect::<Vec<_>>(), [(3, "ops")]);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        for (line, recalled) in [
            ("!!", Some(Ok("ops"))),
            ("!2", Some(Ok("move p --to b"))),
            ("!mo", Some(Ok("move p --to b"))),
            ("!", None),
            ("ps", None),
        ] {
            assert_eq!(history.recalled(line), recalled, "{line}");
        }
        for line in ["!0", "!9", "!kill", "!99999999999999999999999"] {
            assert!(history.recalled(line).unwrap().is_err(), "{line}");
        }
    }

    #[test]
    fn it_does_not_grow_and_a_file_that_others_could_read_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shell-history");
        let text: String = (0..LINES_MAX + 500)
            .map(|number| format!("ps {number}\n"))
            .collect();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(open(&path));
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            (kept.lines().count(), kept.lines().next()),
            (LINES_MAX, Some("ps 500"))
        );
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
    }

    #[test]
    fn one_that_cannot_be_kept_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut history, error) = History::open(Some(folder.path().to_owned()));
        assert!(error.is_some(), "a folder is no file");
        history.add("ps").unwrap();
        assert_eq!(history.recalled("!!"), Some(Ok("ps")));
    }
}
