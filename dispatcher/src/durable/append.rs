//! One file of checksummed lines that is only appended to.
//!
//! ```text
//!  wayfare-log 1                                                    the format's number
//!  check of the text, 16 hexadecimal digits ' ' text '\n'           as often as there are records
//! ```
//! What always holds: a line is in the file whole, or is cut off before anything is appended behind it. After
//! a sync that failed nobody knows what the disk holds, so nothing more is appended: the owner begins another
//! file.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use wayfare_protocol::ids::Digest;

use super::{FileError, Unpublished, disk};

const HEADER: &str = "wayfare-log ";
const VERSION: &str = "1";
const CHECK_DIGITS: usize = 16;
/// Longer files are not ours.
const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct WriteAheadLog {
    path: PathBuf,
    /// `None`: what the file holds is uncertain, and another must be begun.
    file: Option<File>,
    /// Up to where it holds whole lines.
    bytes: u64,
    pending: Vec<u8>,
}

impl WriteAheadLog {
    /// Begins a file with these texts: all of them or none, durable.
    pub(crate) fn begin<'a>(
        path: &Path,
        texts: impl Iterator<Item = Cow<'a, str>>,
    ) -> Result<Self, FileError> {
        let (unpublished, bytes) = Self::prepare(path, texts)?;
        Self::publish(unpublished, bytes)
    }

    fn prepare<'a>(
        path: &Path,
        texts: impl Iterator<Item = Cow<'a, str>>,
    ) -> Result<(Unpublished, u64), FileError> {
        let mut content = format!("{HEADER}{VERSION}\n").into_bytes();
        for text in texts {
            push_line(&mut content, &text);
        }
        let bytes = content.len() as u64;
        Ok((Unpublished::write(path, &content)?, bytes))
    }

    fn publish(unpublished: Unpublished, bytes: u64) -> Result<Self, FileError> {
        let path = unpublished.path.clone();
        let file = Some(unpublished.publish()?);
        Ok(Self {
            path,
            file,
            bytes,
            pending: Vec::new(),
        })
    }

    /// Writes the file anew with these texts. Where there is no room for that, the file stays as it is, and
    /// can be appended to.
    pub(crate) fn rewrite<'a>(&mut self, texts: impl Iterator<Item = Cow<'a, str>>) -> Result<(), FileError> {
        let (unpublished, bytes) = Self::prepare(&self.path, texts)?;
        // From here on the name may belong to the new file already: what is appended to the old one would be
        // lost.
        self.file = None;
        *self = Self::publish(unpublished, bytes)?;
        Ok(())
    }

    /// Whether it can be appended to.
    pub(crate) fn is_sound(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.pending.len() as u64
    }

    /// A text without line breaks, written by [`WriteAheadLog::write`] or [`WriteAheadLog::commit`].
    pub(crate) fn push(&mut self, text: &str) {
        push_line(&mut self.pending, text);
    }

    /// Writes what was pushed, all of it or nothing. A power cut may take it back.
    pub(crate) fn write(&mut self) -> Result<(), FileError> {
        let pending = std::mem::take(&mut self.pending);
        let Some(file) = &mut self.file else {
            let error = std::io::Error::other("it could not be written before");
            return Err(FileError::new(&self.path, &error));
        };
        if let Err(error) = disk::write_all(file, &pending) {
            if disk::set_len(file, self.bytes).is_err() {
                self.file = None;
            }
            return Err(FileError::new(&self.path, &error));
        }
        self.bytes += pending.len() as u64;
        Ok(())
    }

    /// Writes what was pushed, all of it or nothing, and makes it durable.
    pub(crate) fn commit(&mut self) -> Result<(), FileError> {
        let before = self.bytes;
        self.write()?;
        let Some(file) = &self.file else { return Ok(()) };
        if let Err(error) = disk::sync(file) {
            // The kernel may have dropped what it could not write, and says so only once. What can still be
            // read of it must not be taken for committed.
            let _ = disk::set_len(file, before);
            self.file = None;
            return Err(FileError::new(&self.path, &error));
        }
        Ok(())
    }
}

/// A line as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Its text is what was written.
    Whole(&'a str),
    /// It has no check, or another one: damaged, or of a format without checks.
    Unchecked(&'a str),
}

/// What `parse` makes of a file's lines, in order, and how many lines it was not given or made nothing of. A
/// file may lack its header: there was none once.
pub(crate) fn read_lines<T>(
    path: &Path,
    parse: impl Fn(Line<'_>) -> Option<T>,
) -> Result<(Vec<T>, usize), FileError> {
    let failed = |error: std::io::Error| FileError::new(path, &error);
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        let reason = format!("it has {bytes} bytes, the limit is {FILE_BYTES_MAX}");
        return Err(failed(std::io::Error::other(reason)));
    }
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content).map_err(failed)?;
    let (mut found, mut skipped) = (Vec::new(), 0);
    for (number, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let text = std::str::from_utf8(line).ok();
        if number == 0
            && let Some(version) = text.and_then(|text| text.strip_prefix(HEADER))
        {
            match version {
                VERSION => continue,
                _ if version.parse::<u32>().is_ok_and(|version| version > 1) => {
                    let reason = format!("format {version} is of a later release, this one reads {VERSION}");
                    return Err(failed(std::io::Error::other(reason)));
                }
                _ => {}
            }
        }
        match text.and_then(|text| parse(line_of(text))) {
            Some(made) => found.push(made),
            None => skipped += usize::from(!line.is_empty()),
        }
    }
    Ok((found, skipped))
}

fn push_line(to: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.contains('\n'), "a text is a line");
    to.extend_from_slice(check(text).as_bytes());
    to.push(b' ');
    to.extend_from_slice(text.as_bytes());
    to.push(b'\n');
}

fn line_of(text: &str) -> Line<'_> {
    match text.split_once(' ') {
        Some((found, rest)) if check(rest) == found => Line::Whole(rest),
        _ => Line::Unchecked(text),
    }
}

fn check(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()[..CHECK_DIGITS].to_owned()
}
