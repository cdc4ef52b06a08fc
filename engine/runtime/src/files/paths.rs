//! Paths as a program writes them, made into names from the mount's root on, and what else the writing says:
//! that a name is a folder's, and which folders it leads through.

use wayfare_protocol::files::{DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};

use wayfare_abi::errno::Errno;

/// A path without `.`, `..` and slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// From the mount's root on.
    pub(crate) names: Vec<String>,
    pub(crate) end: End,
    /// What has to be a folder for the path to mean anything, and is not on the way to `names`: it was left
    /// by `..`, or is what a final `.` stands for.
    pub(crate) through: Vec<Vec<String>>,
}

/// How a path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Name,
    /// A name and a slash: it can only be a folder's.
    Slash,
    /// `.`: of a folder that is there, and that cannot be made, removed or renamed so.
    Dot,
    /// `..`, likewise.
    DotDot,
}

impl End {
    pub(crate) fn is_folder(self) -> bool {
        self != Self::Name
    }
}

/// Resolves `text` relative to the folder `base`. There are no symbolic links, so `..` is what stands before
/// it. It does not lead out of `base`: whoever has a descriptor of a folder has what is below it.
pub(crate) fn resolve(base: &[String], text: &[u8]) -> Result<Resolved, Errno> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::ILSEQ)?;
    if text.is_empty() {
        return Err(Errno::NOENT);
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    if text.contains('\0') {
        return Err(Errno::INVAL);
    }
    if text.starts_with('/') {
        return Err(Errno::NOTCAPABLE);
    }
    let (mut names, mut end, mut through) = (base.to_vec(), End::Dot, Vec::new());
    for name in text.split('/') {
        match name {
            "" if end == End::Name => end = End::Slash,
            "" => {}
            "." => {
                end = End::Dot;
                through.push(names.clone());
            }
            ".." => {
                end = End::DotDot;
                through.push(names.clone());
                if names.len() == base.len() {
                    return Err(Errno::NOTCAPABLE);
                }
                names.pop();
            }
            name if name.len() > NAME_BYTES_MAX => return Err(Errno::NAMETOOLONG),
            name => {
                end = End::Name;
                names.push(name.to_owned());
            }
        }
    }
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    if names.len() > DEPTH_MAX || bytes > PATH_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    // The base is open, and what is on the way to the names is looked at on the way.
    let is_seen = |folder: &[String]| names.len() > folder.len() && names.starts_with(folder);
    through.retain(|folder| folder.len() > base.len() && !is_seen(folder));
    through.sort();
    through.dedup();
    Ok(Resolved { names, end, through })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_folder() {
        let base = ["a".to_owned(), "b".to_owned()];
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let deep = "x/".repeat(DEPTH_MAX);
        for (text, expected) in [
            ("c", Ok("a/b/c")),
            ("./c//d/", Ok("a/b/c/d")),
            ("c/..", Ok("a/b")),
            ("..", Err(Errno::NOTCAPABLE)),
            ("c/../..", Err(Errno::NOTCAPABLE)),
            ("../b/c", Err(Errno::NOTCAPABLE)),
            ("/etc/passwd", Err(Errno::NOTCAPABLE)),
            ("", Err(Errno::NOENT)),
            ("a\0b", Err(Errno::INVAL)),
            (&long, Err(Errno::NAMETOOLONG)),
            (&deep, Err(Errno::NAMETOOLONG)),
        ] {
            let found = resolve(&base, text.as_bytes()).map(|path| path.names.join("/"));
            assert_eq!(
                found.as_deref(),
                expected.as_ref().map(|path| *path),
                "{text:.30}"
            );
        }
        assert_eq!(resolve(&base, b"\xff"), Err(Errno::ILSEQ));
    }

    #[test]
    fn what_a_path_leads_through_has_to_be_a_folder() {
        for (text, end, through) in [
            ("f", End::Name, &[][..]),
            ("f/", End::Slash, &[]),
            ("f///", End::Slash, &[]),
            ("f/.", End::Dot, &["f"]),
            ("f/./", End::Dot, &["f"]),
            ("f/..", End::DotDot, &["f"]),
            ("f/../f", End::Name, &["f"]),
            ("f/../f/g", End::Name, &[]),
            ("f/./g", End::Name, &[]),
            ("f/g/../../h", End::Name, &["f", "f/g"]),
            (".", End::Dot, &[]),
            ("./f", End::Name, &[]),
        ] {
            let found = resolve(&[], text.as_bytes()).unwrap();
            let found_through: Vec<String> = found.through.iter().map(|names| names.join("/")).collect();
            assert_eq!(
                (found.end, &found_through[..]),
                (
                    end,
                    &through.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{text}"
            );
        }
    }
}
