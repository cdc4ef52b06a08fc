//! Keeps lines of programs on disk: files of one size, one after the other, of which the oldest are removed.
//!
//! ```text
//!  logs-<term>-<number>     program ' ' JSON of an entry; a line each, in the order in which they came
//! ```
//! What always holds: nothing depends on a line, so nothing is synced, and what cannot be written is lost and
//! no other; what is kept takes no more than the limit, in all and for each program; a program's lines are
//! read in the order of their numbers. Which files have lines of a program is known in memory, and found
//! again at a start by reading them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wayfare_client::stored_logs::{LinesPage, LinesWanted, ProgramsPage, StoredEnd, StoredProgram};
use wayfare_protocol::ids::{EngineId, ProgramId, Term};
use wayfare_protocol::limits::PAGE_BYTES_MAX;
use wayfare_protocol::log::LogLine;

use crate::durable::{FileError, Line, WriteAheadLog, is_unfinished, read_lines};
use crate::options::LogLimits;

const PREFIX: &str = "logs-";
/// Of all that is kept, a file is this part,
const FILES: u64 = 16;
/// within these bounds.
const FILE_BYTES_MIN: u64 = 64 << 10;
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When it came, by the dispatcher's clock.
    pub(super) at_ms: u64,
    /// Empty while it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) engine: EngineId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lines: Vec<LogLine>,
    /// It has ended, or has begun anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<StoredEnd>,
}

#[derive(Debug)]
pub(super) struct LogStore {
    folder: PathBuf,
    term: Term,
    limits: LogLimits,
    /// The oldest first; the last one is written to if `log` is there.
    files: Vec<LogFile>,
    log: Option<WriteAheadLog>,
    number: u32,
    programs: BTreeMap<ProgramId, StoredProgram>,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    bytes: u64,
    last_ms: u64,
    /// Bytes of each program's entries.
    programs: BTreeMap<ProgramId, u64>,
}

impl LogStore {
    pub(super) fn open(folder: &Path, term: Term, limits: LogLimits) -> Result<Self, FileError> {
        std::fs::create_dir_all(folder).map_err(|error| FileError::new(folder, &error))?;
        let mut store = Self {
            folder: folder.to_owned(),
            term,
            limits,
            files: Vec::new(),
            log: None,
            number: 0,
            programs: BTreeMap::new(),
        };
        for path in files(folder)? {
            store.take_in(path);
        }
        Ok(store)
    }

    fn take_in(&mut self, path: PathBuf) {
        let entries = match read_entries(&path, |_| true) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "skipped a file of logs");
                Vec::new()
            }
        };
        let bytes = std::fs::metadata(&path).map_or(0, |about| about.len());
        self.files.push(LogFile {
            path,
            bytes,
            last_ms: 0,
            programs: BTreeMap::new(),
        });
        for (program, bytes, entry) in entries {
            self.count(program, bytes, &entry);
        }
    }

    /// An entry is in the last file.
    fn count(&mut self, program: ProgramId, bytes: u64, entry: &Entry) {
        if let Some(file) = self.files.last_mut() {
            *file.programs.entry(program).or_default() += bytes;
            file.last_ms = file.last_ms.max(entry.at_ms);
        }
        let kept = self.programs.entry(program).or_insert_with(|| StoredProgram {
            program,
            name: String::new(),
            engine: entry.engine.clone(),
            first_ms: entry.at_ms,
            last_ms: entry.at_ms,
            next: 0,
            end: StoredEnd::None,
        });
        if !entry.name.is_empty() {
            kept.name.clone_from(&entry.name);
        }
        kept.engine.clone_from(&entry.engine);
        kept.last_ms = kept.last_ms.max(entry.at_ms);
        if let Some(last) = entry.lines.last() {
            kept.next = kept.next.max(last.line + 1);
        }
        if let Some(end) = &entry.end {
            kept.end.clone_from(end);
        }
    }

    pub(super) fn program(&self, program: ProgramId) -> Option<&StoredProgram> {
        self.programs.get(&program)
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = &StoredProgram> {
        self.programs.values()
    }

    /// Keeps an entry. What cannot be written is lost.
    pub(super) fn add(&mut self, program: ProgramId, entry: &Entry) -> Result<(), FileError> {
        let json = serde_json::to_string(entry).expect("plain data serialises");
        let text = format!("{program} {json}");
        let bytes = text.len() as u64;
        let has_room = |log: &WriteAheadLog| log.bytes() + bytes <= self.file_bytes_max();
        if !self
            .log
            .as_ref()
            .is_some_and(|log| log.is_sound() && has_room(log))
        {
            self.begin(entry.at_ms)?;
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        log.push(&text);
        log.write()?;
        if let Some(file) = self.files.last_mut() {
            file.bytes = log.bytes();
        }
        self.count(program, bytes, entry);
        Ok(())
    }

    fn file_bytes_max(&self) -> u64 {
        (self.limits.bytes_max / FILES).clamp(FILE_BYTES_MIN, FILE_BYTES_MAX)
    }

    /// Begins a file, and makes room for it.
    fn begin(&mut self, now_ms: u64) -> Result<(), FileError> {
        self.log = None;
        self.clean(now_ms)?;
        let path = |number| {
            self.folder
                .join(format!("{PREFIX}{:020}-{number:06}", self.term.0))
        };
        while path(self.number).exists() {
            self.number += 1;
        }
        let path = path(self.number);
        self.log = Some(WriteAheadLog::begin(&path, std::iter::empty())?);
        self.files.push(LogFile {
            path,
            bytes: 0,
            last_ms: now_ms,
            programs: BTreeMap::new(),
        });
        Ok(())
    }

    /// Removes what is too old, what a program has too much of, and then the oldest until another file has
    /// room.
    pub(super) fn clean(&mut self, now_ms: u64) -> Result<(), FileError> {
        let oldest_ms = now_ms.saturating_sub(self.limits.age_ms);
        let written = usize::from(self.log.is_some());
        while self.files.len() > written && self.files[0].last_ms < oldest_ms {
            self.remove_oldest()?;
        }
        self.cut_programs(written)?;
        let room = self.limits.bytes_max.saturating_sub(self.file_bytes_max());
        while self.files.len() > written && self.files.iter().map(|file| file.bytes).sum::<u64>() > room {
            self.remove_oldest()?;
        }
        let has_lines =
            |program: &ProgramId| self.files.iter().any(|file| file.programs.contains_key(program));
        let gone: Vec<ProgramId> = self
            .programs
            .keys()
            .filter(|program| !has_lines(program))
            .copied()
            .collect();
        for program in gone {
            self.programs.remove(&program);
        }
        Ok(())
    }

    fn remove_oldest(&mut self) -> Result<(), FileError> {
        let path = &self.files[0].path;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::new(path, &error)),
            _ => {
                self.files.remove(0);
                Ok(())
            }
        }
    }

    /// One that prints much takes the room of its own older lines, not of others'.
    fn cut_programs(&mut self, written: usize) -> Result<(), FileError> {
        let mut kept: BTreeMap<ProgramId, u64> = BTreeMap::new();
        for number in (0..self.files.len()).rev() {
            let mut over = Vec::new();
            for (program, bytes) in &self.files[number].programs {
                let kept = kept.entry(*program).or_default();
                *kept += bytes;
                if *kept > self.limits.program_bytes_max && number + written < self.files.len() {
                    over.push(*program);
                }
            }
            if !over.is_empty() {
                self.files[number].take_out(&over)?;
            }
        }
        Ok(())
    }

    pub(super) fn programs_page(&self, wanted: &str, after: Option<ProgramId>) -> ProgramsPage {
        let is_wanted = |kept: &&StoredProgram| {
            kept.name.starts_with(wanted) || kept.program.to_string().starts_with(wanted)
        };
        let found = self.programs.values();
        let found = found.filter(|kept| after.is_none_or(|after| kept.program > after));
        let (mut programs, mut room) = (Vec::new(), PAGE_BYTES_MAX);
        for kept in found.filter(is_wanted) {
            let bytes = serde_json::to_string(kept).map_or(0, |json| json.len());
            let Some(left) = room.checked_sub(bytes) else {
                return ProgramsPage { programs, more: true };
            };
            room = left;
            programs.push(kept.clone());
        }
        ProgramsPage {
            programs,
            more: false,
        }
    }

    pub(super) fn lines_page(&self, wanted: &LinesWanted) -> Result<LinesPage, FileError> {
        let from = match wanted.last {
            Some(count) => self.first_of_last(wanted, count as usize)?,
            None => wanted.from,
        };
        let end = self.programs.get(&wanted.program).map_or(0, |kept| kept.next);
        let (mut lines, mut room) = (Vec::new(), PAGE_BYTES_MAX);
        for file in self.files_of(wanted.program) {
            for line in lines_of(file, wanted, from)? {
                let bytes = serde_json::to_string(&line).map_or(0, |json| json.len());
                let Some(left) = room.checked_sub(bytes) else {
                    let next = Some(line.line);
                    return Ok(LinesPage { lines, next, end });
                };
                room = left;
                lines.push(line);
            }
        }
        Ok(LinesPage {
            lines,
            next: None,
            end,
        })
    }

    /// The number of the first of the last lines.
    fn first_of_last(&self, wanted: &LinesWanted, count: usize) -> Result<u64, FileError> {
        let mut left = count;
        let mut first = u64::MAX;
        for file in self.files_of(wanted.program).rev() {
            let lines = lines_of(file, wanted, wanted.from)?;
            if let Some(line) = lines.iter().rev().take(left).next_back() {
                first = line.line;
            }
            left = left.saturating_sub(lines.len());
            if left == 0 {
                break;
            }
        }
        Ok(first)
    }

    fn files_of(&self, program: ProgramId) -> impl DoubleEndedIterator<Item = &LogFile> {
        self.files
            .iter()
            .filter(move |file| file.programs.contains_key(&program))
    }
}

impl LogFile {
    /// Writes the file anew without these programs' lines.
    fn take_out(&mut self, over: &[ProgramId]) -> Result<(), FileError> {
        let kept = read_texts(&self.path, |program| !over.contains(&program))?;
        self.bytes = WriteAheadLog::begin(&self.path, kept.iter().map(|text| text.as_str().into()))?.bytes();
        self.programs.retain(|program, _| !over.contains(program));
        Ok(())
    }
}

fn lines_of(file: &LogFile, wanted: &LinesWanted, from: u64) -> Result<Vec<LogLine>, FileError> {
    let entries = read_entries(&file.path, |program| program == wanted.program)?;
    let since_ms = wanted.since_ms.unwrap_or(0);
    let until_ms = wanted.until_ms.unwrap_or(u64::MAX);
    let mut lines = Vec::new();
    for (_, _, entry) in entries {
        for mut line in entry.lines {
            if line.at_ms == 0 {
                line.at_ms = entry.at_ms;
            }
            if line.line >= from && (since_ms..until_ms).contains(&line.at_ms) {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

fn read_entries(
    path: &Path,
    wanted: impl Fn(ProgramId) -> bool,
) -> Result<Vec<(ProgramId, u64, Entry)>, FileError> {
    let texts = read_texts(path, wanted)?;
    let entry = |text: &String| {
        let (program, json) = text.split_once(' ')?;
        Some((
            program.parse().ok()?,
            text.len() as u64,
            serde_json::from_str(json).ok()?,
        ))
    };
    Ok(texts.iter().filter_map(entry).collect())
}

/// Lines that are whole, of programs that are wanted.
fn read_texts(path: &Path, wanted: impl Fn(ProgramId) -> bool) -> Result<Vec<String>, FileError> {
    let (texts, _) = read_lines(path, |line| match line {
        Line::Whole(text) => {
            let program = text.split_once(' ')?.0.parse().ok()?;
            wanted(program).then(|| text.to_owned())
        }
        Line::Unchecked(_) => None,
    })?;
    Ok(texts)
}

/// The oldest first.
fn files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |error: std::io::Error| FileError::new(folder, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy());
        if !name.is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        if is_unfinished(&path) {
            // A write that did not finish left it, or another dispatcher is about to give it its name: then
            // that is lost.
            let _ = std::fs::remove_file(&path);
            continue;
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
