//! `/tmp`: a program's own files, in memory, gone with it. A model of a file system without any I/O.
//!
//! Always: the root is a folder; every other node is named by exactly one folder, or is held open by a
//! descriptor and goes with the last of these; all of it together is within [`SCRATCH_BYTES_MAX`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::{DEPTH_MAX, Opening};

use wayfare_abi::errno::Errno;

/// Contents, names and what a node costs, together.
pub(crate) const SCRATCH_BYTES_MAX: usize = 8 << 20;
pub(super) const NODES_MAX: usize = 4096;
/// What a node costs apart from its name and content.
const NODE_BYTES: usize = 128;

pub(crate) type NodeId = u64;
pub(super) const ROOT: NodeId = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scratch {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) next: NodeId,
    #[serde(skip)]
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) content: Content,
    modified_ns: u64,
    /// `None`: as `modified_ns`. Reading does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accessed_ns: Option<u64>,
    /// Descriptors of it.
    #[serde(skip)]
    pub(super) open: usize,
    /// Whether it is in a folder, or the root.
    #[serde(skip)]
    pub(super) is_named: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Content {
    File(#[serde(skip)] Vec<u8>),
    Folder(BTreeMap<String, NodeId>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) node: NodeId,
    pub(crate) is_folder: bool,
    pub(crate) is_named: bool,
    pub(crate) bytes: u64,
    pub(crate) modified_ns: u64,
    pub(crate) accessed_ns: u64,
}

/// Times to be set; `None`: as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Times {
    pub(crate) accessed_ns: Option<u64>,
    pub(crate) modified_ns: Option<u64>,
}

impl Default for Scratch {
    fn default() -> Self {
        let mut root = Node::new(Content::Folder(BTreeMap::new()), 0);
        root.is_named = true;
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            bytes: NODE_BYTES,
        }
    }
}

impl Scratch {
    /// By its names from the root on.
    pub(crate) fn find(&self, path: &[String]) -> Result<NodeId, Errno> {
        path.iter().try_fold(ROOT, |folder, name| {
            self.folder(folder)?.get(name).copied().ok_or(Errno::NOENT)
        })
    }

    pub(crate) fn open(&mut self, path: &[String], opening: Opening, now_ns: u64) -> Result<Stat, Errno> {
        let node = match self.find(path) {
            Err(Errno::NOENT) if opening.create && !opening.folder => {
                self.create(path, Content::File(Vec::new()), now_ns)?
            }
            Ok(_) if opening.create && opening.exclusive => return Err(Errno::EXIST),
            found => found?,
        };
        let is_folder = matches!(self.node(node)?.content, Content::Folder(_));
        match is_folder {
            true if opening.write || opening.truncate || opening.create => return Err(Errno::ISDIR),
            false if opening.folder => return Err(Errno::NOTDIR),
            false if opening.truncate => self.set_length(node, 0, now_ns)?,
            _ => {}
        }
        self.stat(node)
    }

    pub(crate) fn make_folder(&mut self, path: &[String], now_ns: u64) -> Result<(), Errno> {
        match self.find(path) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => self
                .create(path, Content::Folder(BTreeMap::new()), now_ns)
                .map(|_| ()),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn remove_folder(&mut self, path: &[String], now_ns: u64) -> Result<(), Errno> {
        let node = self.find(path)?;
        if !self.folder(node)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.unname(path, now_ns)
    }

    pub(crate) fn unlink(&mut self, path: &[String], now_ns: u64) -> Result<(), Errno> {
        match self.node(self.find(path)?)?.content {
            Content::Folder(_) => Err(Errno::ISDIR),
            Content::File(_) => self.unname(path, now_ns),
        }
    }

    /// What has the new name already is replaced, if it is of the same kind and no folder with something in
    /// it.
    pub(crate) fn rename(&mut self, from: &[String], to: &[String], now_ns: u64) -> Result<(), Errno> {
        let moved = self.find(from)?;
        if to.starts_with(from) && from.len() < to.len() || from.is_empty() || to.is_empty() {
            return Err(Errno::INVAL);
        }
        let is_folder = matches!(self.node(moved)?.content, Content::Folder(_));
        if is_folder && to.len() + self.depth_below(moved) > DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        match self.find(to) {
            Ok(other) if other == moved => return Ok(()),
            Ok(other) => match (&self.node(other)?.content, is_folder) {
                (Content::Folder(_), false) => return Err(Errno::ISDIR),
                (Content::File(_), true) => return Err(Errno::NOTDIR),
                (Content::Folder(inside), true) if !inside.is_empty() => return Err(Errno::NOTEMPTY),
                _ => self.unname(to, now_ns)?,
            },
            Err(Errno::NOENT) => {
                let (_, folder) = split(to)?;
                self.folder(self.find(folder)?)?;
                let more = to.last().map_or(0, String::len);
                self.check_room(more.saturating_sub(from.last().map_or(0, String::len)))?;
            }
            Err(errno) => return Err(errno),
        }
        self.take_name(from, now_ns)?;
        self.give_name(to, moved, now_ns)
    }

    pub(crate) fn stat(&self, node: NodeId) -> Result<Stat, Errno> {
        let found = self.node(node)?;
        let (is_folder, bytes) = match &found.content {
            Content::File(bytes) => (false, bytes.len() as u64),
            Content::Folder(_) => (true, 0),
        };
        Ok(Stat {
            node,
            is_folder,
            is_named: found.is_named,
            bytes,
            modified_ns: found.modified_ns,
            accessed_ns: found.accessed_ns.unwrap_or(found.modified_ns),
        })
    }

    pub(crate) fn set_times(&mut self, node: NodeId, times: Times) -> Result<(), Errno> {
        let node = self.node_mut(node)?;
        let accessed_ns = node.accessed_ns.unwrap_or(node.modified_ns);
        node.accessed_ns = Some(times.accessed_ns.unwrap_or(accessed_ns));
        node.modified_ns = times.modified_ns.unwrap_or(node.modified_ns);
        Ok(())
    }

    /// What is there from `offset` on, at most `count` bytes.
    pub(crate) fn read(&self, node: NodeId, offset: u64, count: usize) -> Result<&[u8], Errno> {
        let Content::File(bytes) = &self.node(node)?.content else {
            return Err(Errno::ISDIR);
        };
        let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        Ok(&bytes[start..bytes.len().min(start.saturating_add(count))])
    }

    /// All of it or nothing.
    pub(crate) fn write(
        &mut self,
        node: NodeId,
        offset: u64,
        written: &[u8],
        now_ns: u64,
    ) -> Result<(), Errno> {
        let end = offset.checked_add(written.len() as u64).ok_or(Errno::FBIG)?;
        let length = self.stat(node)?.bytes;
        if written.is_empty() {
            return Ok(());
        }
        self.set_length(node, length.max(end), now_ns)?;
        let Content::File(bytes) = &mut self.node_mut(node)?.content else {
            return Err(Errno::ISDIR);
        };
        bytes[offset as usize..end as usize].copy_from_slice(written);
        Ok(())
    }

    /// Cuts it off, or fills it up with zeros.
    pub(crate) fn set_length(&mut self, node: NodeId, length: u64, now_ns: u64) -> Result<(), Errno> {
        let old = self.stat(node)?;
        if old.is_folder {
            return Err(Errno::ISDIR);
        }
        let length = usize::try_from(length).map_err(|_| Errno::NOSPC)?;
        let old = old.bytes as usize;
        self.check_room(length.saturating_sub(old))?;
        let node = self.node_mut(node)?;
        node.modified_ns = now_ns;
        if let Content::File(bytes) = &mut node.content {
            bytes.resize(length, 0);
            if length == 0 {
                bytes.shrink_to_fit();
            }
        }
        self.bytes = self.bytes - old + length;
        Ok(())
    }

    /// What is in a folder, behind the node `after`, in the order in which it came to be: what is added or
    /// removed meanwhile does not make others come twice or not at all.
    pub(crate) fn list(&self, folder: NodeId, after: NodeId) -> Result<Vec<(Stat, &str)>, Errno> {
        let mut inside: Vec<(Stat, &str)> = self
            .folder(folder)?
            .iter()
            .filter(|(_, node)| **node > after)
            .map(|(name, node)| Ok((self.stat(*node)?, name.as_str())))
            .collect::<Result<_, Errno>>()?;
        inside.sort_by_key(|(stat, _)| stat.node);
        Ok(inside)
    }

    /// Another descriptor of it.
    pub(super) fn hold(&mut self, node: NodeId) -> Result<(), Errno> {
        self.node_mut(node)?.open += 1;
        Ok(())
    }

    /// A descriptor less.
    pub(super) fn let_go(&mut self, node: NodeId) {
        if let Some(found) = self.nodes.get_mut(&node) {
            found.open = found.open.saturating_sub(1);
            self.drop_if_unused(node);
        }
    }

    fn create(&mut self, path: &[String], content: Content, now_ns: u64) -> Result<NodeId, Errno> {
        let (name, folder) = split(path)?;
        self.folder(self.find(folder)?)?;
        if self.nodes.len() >= NODES_MAX {
            return Err(Errno::NOSPC);
        }
        self.check_room(NODE_BYTES + name.len())?;
        let node = self.next;
        self.next += 1;
        self.bytes += NODE_BYTES;
        self.nodes.insert(node, Node::new(content, now_ns));
        self.give_name(path, node, now_ns)?;
        Ok(node)
    }

    fn unname(&mut self, path: &[String], now_ns: u64) -> Result<(), Errno> {
        let node = self.take_name(path, now_ns)?;
        self.drop_if_unused(node);
        Ok(())
    }

    fn give_name(&mut self, path: &[String], node: NodeId, now_ns: u64) -> Result<(), Errno> {
        let (name, folder) = split(path)?;
        let folder = self.find(folder)?;
        self.entries(folder, now_ns)?.insert(name.to_owned(), node);
        self.bytes += name.len();
        self.node_mut(node)?.is_named = true;
        Ok(())
    }

    fn take_name(&mut self, path: &[String], now_ns: u64) -> Result<NodeId, Errno> {
        let (name, folder) = split(path)?;
        let folder = self.find(folder)?;
        let node = self.entries(folder, now_ns)?.remove(name).ok_or(Errno::NOENT)?;
        self.bytes -= name.len();
        self.node_mut(node)?.is_named = false;
        Ok(node)
    }

    fn drop_if_unused(&mut self, node: NodeId) {
        let unused = self
            .nodes
            .get(&node)
            .filter(|found| !found.is_named && found.open == 0);
        if let Some(unused) = unused {
            self.bytes -= NODE_BYTES + unused.content.bytes();
            self.nodes.remove(&node);
        }
    }

    /// Names in the longest path below a folder.
    fn depth_below(&self, folder: NodeId) -> usize {
        let (mut level, mut depth) = (vec![folder], 0);
        loop {
            let inside = level.iter().filter_map(|node| self.folder(*node).ok());
            level = inside.flat_map(|entries| entries.values().copied()).collect();
            if level.is_empty() {
                return depth;
            }
            depth += 1;
        }
    }

    fn entries(&mut self, folder: NodeId, now_ns: u64) -> Result<&mut BTreeMap<String, NodeId>, Errno> {
        let node = self.node_mut(folder)?;
        node.modified_ns = now_ns;
        match &mut node.content {
            Content::Folder(entries) => Ok(entries),
            Content::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn folder(&self, node: NodeId) -> Result<&BTreeMap<String, NodeId>, Errno> {
        match &self.node(node)?.content {
            Content::Folder(entries) => Ok(entries),
            Content::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn check_room(&self, more: usize) -> Result<(), Errno> {
        let fits = self
            .bytes
            .checked_add(more)
            .is_some_and(|bytes| bytes <= SCRATCH_BYTES_MAX);
        fits.then_some(()).ok_or(Errno::NOSPC)
    }

    pub(super) fn node(&self, node: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(&node).ok_or(Errno::BADF)
    }

    fn node_mut(&mut self, node: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&node).ok_or(Errno::BADF)
    }

    /// What all of it takes, counted anew.
    pub(super) fn count_bytes(&self) -> usize {
        let names = |node: &Node| match &node.content {
            Content::Folder(entries) => entries.keys().map(String::len).sum(),
            Content::File(_) => 0,
        };
        self.nodes
            .values()
            .map(|node| NODE_BYTES + node.content.bytes() + names(node))
            .sum()
    }
}

impl Node {
    fn new(content: Content, modified_ns: u64) -> Self {
        Self {
            content,
            modified_ns,
            accessed_ns: None,
            open: 0,
            is_named: false,
        }
    }
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Self::File(bytes) => bytes.len(),
            Self::Folder(_) => 0,
        }
    }
}

/// The last name, and the folder that it is in. The root has no name.
fn split(path: &[String]) -> Result<(&str, &[String]), Errno> {
    let (name, folder) = path.split_last().ok_or(Errno::BUSY)?;
    Ok((name, folder))
}
