//! The last processes that used the folder, by their boots. A broker that lost power may bring back a status
//! that one of them retained long ago: nobody must take it for another engine's.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use wayfare_protocol::ids::BootId;

use super::files;

const NAME: &str = "boots";
/// More starts than that between two of the broker's own copies to disk are not to be expected.
const BOOTS_MAX: usize = 256;

/// Those before, and this one from now on.
pub(super) fn note(folder: &Path, boot: BootId) -> io::Result<BTreeSet<BootId>> {
    let text = match std::fs::read(folder.join(NAME)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    // What is damaged names nobody.
    let earlier: Vec<BootId> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let kept = &earlier[earlier.len().saturating_sub(BOOTS_MAX - 1)..];
    let lines: String = kept
        .iter()
        .chain([&boot])
        .map(|boot| format!("{boot}\n"))
        .collect();
    files::write_durably(folder, NAME, lines.as_bytes())?;
    Ok(kept.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(number: u32) -> BootId {
        BootId::from_random(u128::from(number).to_be_bytes())
    }

    #[test]
    fn the_last_boots_are_remembered_and_damage_forgets_no_more_than_its_line() {
        let folder = tempfile::tempdir().unwrap();
        assert!(note(folder.path(), boot(1)).unwrap().is_empty());
        assert_eq!(note(folder.path(), boot(2)).unwrap(), BTreeSet::from([boot(1)]));
        let mut bytes = std::fs::read(folder.path().join(NAME)).unwrap();
        bytes.extend(b"\xff\xfe torn\n");
        std::fs::write(folder.path().join(NAME), bytes).unwrap();
        assert_eq!(
            note(folder.path(), boot(3)).unwrap(),
            BTreeSet::from([boot(1), boot(2)])
        );
        for number in 4..400 {
            note(folder.path(), boot(number)).unwrap();
        }
        let last = note(folder.path(), boot(400)).unwrap();
        assert_eq!(last.len(), BOOTS_MAX - 1);
        assert!(last.contains(&boot(399)) && !last.contains(&boot(1)));
    }
}
