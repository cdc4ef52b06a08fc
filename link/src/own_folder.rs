//! Folders of data that only their owner may enter: what lies in them (snapshots with the programs'
//! variables, logins, messages) is nobody else's, whatever the umask of whoever started the process.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

const OWNER_ONLY: u32 = 0o700;
/// Everybody who is neither the owner nor in the folder's group. A group that was let in was let in on
/// purpose.
const OTHERS: u32 = 0o007;

/// Makes the folder if it is not there. Closes it to everybody else if it is open to them, which fails on a
/// folder of another user.
pub fn open_own_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(OWNER_ONLY).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let about = std::fs::metadata(folder)?;
    if !about.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
    }
    if about.mode() & OTHERS != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(about.mode() & 0o7777 & !OTHERS))?;
        tracing::info!(folder = %folder.display(), "closed to other users");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_ones_own_is_closed_to_others_and_left_to_a_group() {
        let place = tempfile::tempdir().unwrap();
        let mode = |folder: &Path| std::fs::metadata(folder).unwrap().mode() & 0o777;
        let new = place.path().join("deep").join("new");
        open_own_folder(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        for (before, after) in [(0o755, 0o750), (0o777, 0o770), (0o700, 0o700), (0o750, 0o750)] {
            std::fs::set_permissions(&new, Permissions::from_mode(before)).unwrap();
            open_own_folder(&new).unwrap();
            assert_eq!(mode(&new), after, "{before:o}");
        }
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(open_own_folder(&file).is_err());
    }
}
