//! The folders that a program was given to read, `/program` and `/library`: packed in blobs, the same
//! wherever it runs, so that only descriptors of what is in them are in a snapshot.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use wayfare_protocol::folder::{FolderError, FolderName, index};

use super::Mount;
use super::scratch::{NodeId, Stat};
use wayfare_abi::errno::Errno;

/// That of a folder's root; those behind it follow in the order in which they are named.
const ROOT: NodeId = 1;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Folders(BTreeMap<FolderName, Arc<Folder>>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    packed: Arc<[u8]>,
    nodes: Vec<Node>,
}

#[derive(Debug, PartialEq, Eq)]
enum Node {
    Folder(BTreeMap<String, NodeId>),
    File(Range<usize>),
}

impl Folders {
    pub(crate) fn new(packed: BTreeMap<FolderName, Arc<[u8]>>) -> Result<Self, String> {
        let folders = packed.into_iter().map(|(name, packed)| {
            let folder = Folder::new(packed).map_err(|error| format!("{}: {error}", name.mount()))?;
            Ok((name, Arc::new(folder)))
        });
        folders.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn mounts(&self) -> impl Iterator<Item = Mount> + '_ {
        self.0.keys().map(|name| Mount::Folder(*name))
    }

    pub(crate) fn get(&self, name: FolderName) -> Result<&Folder, Errno> {
        self.0.get(&name).map(|folder| &**folder).ok_or(Errno::NOENT)
    }
}

impl Folder {
    fn new(packed: Arc<[u8]>) -> Result<Self, FolderError> {
        let mut nodes = vec![Node::Folder(BTreeMap::new())];
        for (path, range) in index(&packed)? {
            let mut at = 0;
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                let next = nodes.len() as NodeId + ROOT;
                let Node::Folder(entries) = &mut nodes[at] else {
                    return Err(FolderError::Path(path));
                };
                let node = *entries.entry(name.to_owned()).or_insert(next);
                if node == next {
                    nodes.push(match names.peek() {
                        Some(_) => Node::Folder(BTreeMap::new()),
                        None => Node::File(range.clone()),
                    });
                }
                at = (node - ROOT) as usize;
            }
        }
        Ok(Self { packed, nodes })
    }

    fn node(&self, node: NodeId) -> Result<&Node, Errno> {
        let at = node.checked_sub(ROOT).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.nodes.get(at)).ok_or(Errno::BADF)
    }

    pub(crate) fn find(&self, path: &[String]) -> Result<NodeId, Errno> {
        path.iter().try_fold(ROOT, |at, name| match self.node(at)? {
            Node::Folder(entries) => entries.get(name).copied().ok_or(Errno::NOENT),
            Node::File(_) => Err(Errno::NOTDIR),
        })
    }

    /// Times are not known.
    pub(crate) fn stat(&self, node: NodeId) -> Result<Stat, Errno> {
        let (is_folder, bytes) = match self.node(node)? {
            Node::Folder(_) => (true, 0),
            Node::File(range) => (false, range.len() as u64),
        };
        Ok(Stat {
            node,
            is_folder,
            is_named: true,
            bytes,
            modified_ns: 0,
            accessed_ns: 0,
        })
    }

    pub(crate) fn read(&self, node: NodeId, offset: u64, wanted: usize) -> Result<&[u8], Errno> {
        let Node::File(range) = self.node(node)? else {
            return Err(Errno::ISDIR);
        };
        let content = &self.packed[range.clone()];
        let start = usize::try_from(offset).map_or(content.len(), |offset| offset.min(content.len()));
        let rest = &content[start..];
        Ok(&rest[..rest.len().min(wanted)])
    }

    /// What comes behind the node `after`, in the order of the nodes.
    pub(crate) fn list(&self, folder: NodeId, after: u64) -> Result<Vec<(Stat, String)>, Errno> {
        let Node::Folder(entries) = self.node(folder)? else {
            return Err(Errno::NOTDIR);
        };
        let mut behind: Vec<(Stat, String)> = entries
            .iter()
            .filter(|(_, node)| **node > after)
            .map(|(name, node)| Ok((self.stat(*node)?, name.clone())))
            .collect::<Result<_, Errno>>()?;
        behind.sort_by_key(|(stat, _)| stat.node);
        Ok(behind)
    }

    pub(super) fn has_file(&self, node: NodeId) -> bool {
        matches!(self.node(node), Ok(Node::File(_)))
    }
}

#[cfg(test)]
mod tests {
    use wayfare_protocol::folder::pack;

    use super::*;

    fn folder(paths: &[(&str, &str)]) -> Folder {
        let files = paths
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        Folder::new(pack(&files.collect()).unwrap().into()).unwrap()
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn files_are_found_read_and_listed() {
        let folder = folder(&[
            ("main.py", "import lib.a"),
            ("lib/a.py", "a"),
            ("lib/deep/b.py", ""),
            ("a b", "x"),
        ]);
        let main = folder.find(&path("main.py")).unwrap();
        assert_eq!(folder.read(main, 7, 3), Ok(&b"lib"[..]));
        assert_eq!(folder.read(main, u64::MAX, 3), Ok(&b""[..]));
        let lib = folder.find(&path("lib")).unwrap();
        assert!(folder.stat(lib).unwrap().is_folder && !folder.has_file(lib) && folder.has_file(main));
        assert_eq!(folder.read(lib, 0, 1), Err(Errno::ISDIR));
        for (name, error) in [
            ("lib/c", Errno::NOENT),
            ("main.py/x", Errno::NOTDIR),
            ("x/y", Errno::NOENT),
        ] {
            assert_eq!(folder.find(&path(name)), Err(error), "{name}");
        }
        assert!(folder.stat(0).is_err() && folder.stat(99).is_err());
        let names = |after| -> Vec<String> {
            let listed = folder.list(ROOT, after).unwrap();
            listed.into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(0).len(), 3);
        let (first, _) = folder.list(ROOT, 0).unwrap().remove(0);
        assert_eq!(names(first.node).len(), 2);
        assert!(folder.list(main, 0).is_err());
    }
}
