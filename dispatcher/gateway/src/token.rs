//! The token: who has it may do everything. It is in a file that only its owner reads, so that scripts of the
//! same user find it, and it outlives a restart, so that open pages go on.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use wayfare_protocol::ids::Digest;

/// Its file in the data folder.
const FILE: &str = "http-token";
const RANDOM_BYTES: usize = 24;
/// As hexadecimal digits.
const DIGITS: usize = 2 * RANDOM_BYTES;
/// Others may neither read nor write it.
const OTHERS: u32 = 0o077;

/// A token, and its digest: what is presented is compared by that, in a time that says nothing of where they
/// differ.
#[derive(Clone)]
pub(crate) struct Token {
    text: String,
    digest: Digest,
}

/// Without its text: whoever has it is printed into logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Token {
    /// The one in this folder; made, if there is none that only its owner can read.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        match read_own(&path)? {
            Some(text) => Ok(Self::of(text)),
            None => {
                let mut random = [0; RANDOM_BYTES];
                getrandom::fill(&mut random).map_err(io::Error::other)?;
                let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
                write_own(&path, &text)?;
                Ok(Self::of(text))
            }
        }
    }

    fn of(text: String) -> Self {
        let digest = Digest::of(text.as_bytes());
        Self { text, digest }
    }

    pub(crate) fn is(&self, presented: &str) -> bool {
        Digest::of(presented.as_bytes()) == self.digest
    }

    /// Tells it from others, and says nothing of it.
    pub(crate) fn name(&self) -> String {
        self.digest.short()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// `None`: there is none, or others could have read it.
fn read_own(path: &Path) -> io::Result<Option<String>> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !about.is_file() || about.mode() & OTHERS != 0 || about.len() > 2 * DIGITS as u64 {
        return Ok(None);
    }
    let text = fs::read_to_string(path)?;
    let text = text.trim();
    let is_token = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(is_token.then(|| text.to_owned()))
}

/// Whole or not at all, and never readable by others.
fn write_own(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_its_owners_alone_and_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = Token::in_folder(folder.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), first.text());
        assert!(
            !format!("{first:?}").contains(first.text()),
            "a log would have it"
        );
        assert!(first.is(first.text()) && !first.is("") && !first.is(&first.text()[1..]));
        assert_eq!(Token::in_folder(folder.path()).unwrap().text(), first.text());
        // Others could have read it, or it is none: another is made.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = Token::in_folder(folder.path()).unwrap();
        assert_ne!(second.text(), first.text());
        fs::write(&path, "short").unwrap();
        assert_ne!(Token::in_folder(folder.path()).unwrap().text(), second.text());
    }
}
