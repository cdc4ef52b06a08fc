//! Paths as a program writes them, made into names from the mount's root on.

use wayfare_protocol::files::{DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};

use super::super::wasi::errno::Errno;

/// The names from the root on of `text`, which is relative to the folder `base`. There are no symbolic links, so `..` is whatever
/// stands before it; it does not lead out of the mount.
pub(in crate::process) fn resolve(base: &[String], text: &[u8]) -> Result<Vec<String>, Errno> {
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
    let mut names = base.to_vec();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or(Errno::NOTCAPABLE)?;
            }
            name if name.len() > NAME_BYTES_MAX => return Err(Errno::NAMETOOLONG),
            name => names.push(name.to_owned()),
        }
    }
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    match names.len() <= DEPTH_MAX && bytes <= PATH_BYTES_MAX {
        true => Ok(names),
        false => Err(Errno::NAMETOOLONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_mount() {
        let base = ["a".to_owned(), "b".to_owned()];
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let deep = "x/".repeat(DEPTH_MAX);
        for (text, expected) in [
            ("c", Ok("a/b/c")),
            ("./c//d/", Ok("a/b/c/d")),
            ("../c", Ok("a/c")),
            ("../..", Ok("")),
            ("../../..", Err(Errno::NOTCAPABLE)),
            ("../../../a/b/c", Err(Errno::NOTCAPABLE)),
            ("/etc/passwd", Err(Errno::NOTCAPABLE)),
            ("", Err(Errno::NOENT)),
            ("a\0b", Err(Errno::INVAL)),
            (&long, Err(Errno::NAMETOOLONG)),
            (&deep, Err(Errno::NAMETOOLONG)),
        ] {
            let found = resolve(&base, text.as_bytes()).map(|names| names.join("/"));
            assert_eq!(
                found.as_deref(),
                expected.as_ref().map(|path| *path),
                "{text:.30}"
            );
        }
        assert_eq!(resolve(&base, b"\xff"), Err(Errno::ILSEQ));
    }
}
