//! All files of the fleet without their contents: names, versions, and which blocks these are in; and what is
//! remembered of requests.
//!
//! Changed by [`Entry`]s alone, which are what the log has: applied in the same order, they make the same
//! tree anywhere. Nothing here reads a clock, draws a number or touches a store.
//!
//! Always: the root is a folder; every other node is named by exactly one folder; a file has at least one
//! version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wayfare_protocol::files::{FileAnswer, FileKind, FilePath, FileRefusal, FileStat, NodeId, VERSIONS_MAX};
use wayfare_protocol::ids::ProgramId;

use super::blocks::{Block, BlockId, length};
use super::entry::{Change, Entry};
use super::requests::Requests;

pub(super) const ROOT: NodeId = 1;
/// The folder, below the root, of what was removed and may be open somewhere: see [`super::removed`].
pub(super) const REMOVED: &str = ".wayfare-removed";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
    /// Of all files' contents.
    changes: u64,
    pub(super) requests: Requests,
    /// How often each block is referred to.
    #[serde(skip)]
    references: BTreeMap<BlockId, u32>,
    #[serde(skip)]
    blocks: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    modified_ms: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Content {
    File(File),
    Folder(BTreeMap<String, NodeId>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    /// Which of all changes its last was.
    pub(super) change: u64,
    /// The present one last.
    pub(super) versions: Vec<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) version: u64,
    pub(super) by: String,
    pub(super) modified_ms: u64,
    /// What it is amended by, instead of a next version being made.
    writer: (ProgramId, u64),
    pub(super) blocks: Vec<Block>,
}

/// What came of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) answer: FileAnswer,
    /// Nothing refers to these any more, nor ever will.
    pub(super) unused: Vec<BlockId>,
}

/// An entry does not fit the tree: the log is not the one that the tree is of.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the log of files does not fit what was before it")]
pub(super) struct Misfit;

impl Default for Tree {
    fn default() -> Self {
        let root = Node {
            modified_ms: 0,
            content: Content::Folder(BTreeMap::new()),
        };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            changes: 0,
            requests: Requests::default(),
            references: BTreeMap::new(),
            blocks: 0,
        }
    }
}

impl Tree {
    /// As a checkpoint has it.
    pub(super) fn restored(mut self) -> Result<Self, Misfit> {
        for node in self.nodes.values() {
            let Content::File(file) = &node.content else {
                continue;
            };
            if file.versions.is_empty() {
                return Err(Misfit);
            }
            for block in file.versions.iter().flat_map(|version| &version.blocks) {
                count(&mut self.references, block);
                self.blocks += 1;
            }
        }
        Ok(self)
    }

    pub(super) fn find(&self, path: &FilePath) -> Result<NodeId, FileRefusal> {
        path.names().try_fold(ROOT, |folder, name| {
            self.folder(folder)?.get(name).copied().ok_or(FileRefusal::Absent)
        })
    }

    pub(super) fn folder(&self, node: NodeId) -> Result<&BTreeMap<String, NodeId>, FileRefusal> {
        match self.nodes.get(&node).map(|node| &node.content) {
            Some(Content::Folder(entries)) => Ok(entries),
            Some(Content::File(_)) => Err(FileRefusal::NotFolder),
            None => Err(FileRefusal::Gone),
        }
    }

    pub(super) fn file(&self, node: NodeId) -> Result<&File, FileRefusal> {
        match self.nodes.get(&node).map(|node| &node.content) {
            Some(Content::File(file)) => Ok(file),
            Some(Content::Folder(_)) => Err(FileRefusal::IsFolder),
            None => Err(FileRefusal::Gone),
        }
    }

    pub(super) fn stat(&self, id: NodeId) -> Result<FileStat, FileRefusal> {
        let node = self.nodes.get(&id).ok_or(FileRefusal::Gone)?;
        let (kind, bytes, version) = match &node.content {
            Content::Folder(_) => (FileKind::Folder, 0, 0),
            Content::File(file) => {
                let now = file.now();
                (FileKind::File, length(&now.blocks), now.version)
            }
        };
        Ok(FileStat {
            node: id,
            kind,
            bytes,
            modified_ms: node.modified_ms,
            version,
            removed: self.is_removed(id),
        })
    }

    /// `None`: there is none yet, or somebody had a file of that name before it was ours.
    pub(super) fn folder_of_removed(&self) -> Option<NodeId> {
        let node = *self.folder(ROOT).ok()?.get(REMOVED)?;
        self.folder(node).is_ok().then_some(node)
    }

    /// Whether it was removed, and is kept for who has it open.
    pub(super) fn is_removed(&self, node: NodeId) -> bool {
        let folder = self
            .folder_of_removed()
            .and_then(|folder| self.folder(folder).ok());
        folder.is_some_and(|entries| entries.values().any(|kept| *kept == node))
    }

    /// References to blocks, those to the same ones counted each.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(super) fn refers_to(&self, block: BlockId) -> bool {
        self.references.contains_key(&block)
    }

    pub(super) fn apply_entry(&mut self, entry: &Entry) -> Result<Applied, Misfit> {
        let mut unused = Vec::new();
        let changed = self.change(entry, &mut unused);
        let answer = changed.map_err(|_| Misfit)?;
        self.requests.remember(entry, &answer);
        Ok(Applied { answer, unused })
    }

    /// The decision has checked that it can be done; of a log, nothing is believed.
    fn change(&mut self, entry: &Entry, unused: &mut Vec<BlockId>) -> Result<FileAnswer, FileRefusal> {
        let now_ms = entry.now_ms;
        match &entry.change {
            Change::Open { path, truncate } => self.open(entry, path, *truncate, unused),
            Change::Splice {
                node,
                writer,
                basis,
                end,
                first,
                removed,
                blocks,
            } => {
                let before = self.file(*node)?.change;
                let range = *first..first.checked_add(*removed).ok_or(FileRefusal::Impossible)?;
                self.amend(*node, entry, *writer, unused, |old| {
                    old.get(range.clone())?;
                    Some([&old[..range.start], blocks, &old[range.end..]].concat())
                })?;
                // Whoever did not know of all changes before knows no more now.
                let basis = match basis {
                    Some(known) if *known != before => *known,
                    _ => self.changes,
                };
                Ok(FileAnswer::Written { end: *end, basis })
            }
            Change::MakeFolder { path } => {
                self.create(path, Content::Folder(BTreeMap::new()), now_ms)?;
                Ok(FileAnswer::Done)
            }
            Change::Remove { path } => {
                let node = self.take_name(path, now_ms)?;
                self.forget(node, unused);
                Ok(FileAnswer::Done)
            }
            Change::Rename { from, to } => {
                if from == to {
                    return Ok(FileAnswer::Done);
                }
                if let Ok(there) = self.find(to) {
                    self.take_name(to, now_ms)?;
                    self.forget(there, unused);
                }
                let node = self.take_name(from, now_ms)?;
                self.give_name(to, node, now_ms)?;
                Ok(FileAnswer::Done)
            }
            Change::Copy { from, version, to } => {
                let blocks = self.file(*from)?.version(*version)?.blocks.clone();
                let node = match self.find(to) {
                    Ok(node) => node,
                    Err(FileRefusal::Absent) => self.create(to, Content::File(File::new(entry)), now_ms)?,
                    Err(refusal) => return Err(refusal),
                };
                self.amend(node, entry, entry.number, unused, |_| Some(blocks))?;
                Ok(FileAnswer::Done)
            }
        }
    }

    fn open(
        &mut self,
        entry: &Entry,
        path: &FilePath,
        truncate: bool,
        unused: &mut Vec<BlockId>,
    ) -> Result<FileAnswer, FileRefusal> {
        let node = match self.find(path) {
            Ok(node) => {
                if truncate {
                    self.amend(node, entry, entry.number, unused, |_| Some(Vec::new()))?;
                }
                node
            }
            Err(FileRefusal::Absent) => {
                let node = self.create(path, Content::File(File::new(entry)), entry.now_ms)?;
                self.changes += 1;
                self.file_mut(node)?.change = self.changes;
                node
            }
            Err(refusal) => return Err(refusal),
        };
        Ok(FileAnswer::Opened {
            stat: self.stat(node)?,
            basis: self.file(node)?.change,
            writer: entry.number,
        })
    }

    /// Gives a file other blocks: as another version, unless the writer made the present one.
    fn amend(
        &mut self,
        node: NodeId,
        entry: &Entry,
        writer: u64,
        unused: &mut Vec<BlockId>,
        change: impl FnOnce(&[Block]) -> Option<Vec<Block>>,
    ) -> Result<(), FileRefusal> {
        let file = self.file(node)?;
        let now = file.now();
        let blocks = change(&now.blocks).ok_or(FileRefusal::Impossible)?;
        let writer = (entry.program, writer);
        let is_its_own = now.writer == writer;
        let new = Version {
            version: if is_its_own { now.version } else { now.version + 1 },
            by: entry.by.clone(),
            modified_ms: entry.now_ms,
            writer,
            blocks,
        };
        for block in &new.blocks {
            count(&mut self.references, block);
        }
        self.blocks += new.blocks.len();
        self.changes += 1;
        let change = self.changes;
        let file = self.file_mut(node)?;
        file.change = change;
        let is_too_many = file.versions.len() >= VERSIONS_MAX;
        let old = match is_its_own {
            true => file.versions.pop(),
            false => is_too_many.then(|| file.versions.remove(0)),
        };
        file.versions.push(new);
        if let Some(found) = self.nodes.get_mut(&node) {
            found.modified_ms = entry.now_ms;
        }
        old.into_iter().for_each(|old| self.let_go(&old, unused));
        Ok(())
    }

    fn forget(&mut self, node: NodeId, unused: &mut Vec<BlockId>) {
        if let Some(Node {
            content: Content::File(file),
            ..
        }) = self.nodes.remove(&node)
        {
            file.versions
                .iter()
                .for_each(|version| self.let_go(version, unused));
        }
    }

    fn let_go(&mut self, version: &Version, unused: &mut Vec<BlockId>) {
        self.blocks -= version.blocks.len();
        for id in version.blocks.iter().filter_map(|block| block.id) {
            let references = self.references.entry(id).or_default();
            *references = references.saturating_sub(1);
            if *references == 0 {
                self.references.remove(&id);
                unused.push(id);
            }
        }
    }

    fn create(&mut self, path: &FilePath, content: Content, now_ms: u64) -> Result<NodeId, FileRefusal> {
        let node = self.next;
        self.give_name(path, node, now_ms)?;
        self.next += 1;
        let new = Node {
            modified_ms: now_ms,
            content,
        };
        self.nodes.insert(node, new);
        Ok(node)
    }

    fn give_name(&mut self, path: &FilePath, node: NodeId, now_ms: u64) -> Result<(), FileRefusal> {
        let (folder, name) = self.place(path)?;
        self.entries(folder, now_ms)?.insert(name, node);
        Ok(())
    }

    fn take_name(&mut self, path: &FilePath, now_ms: u64) -> Result<NodeId, FileRefusal> {
        let (folder, name) = self.place(path)?;
        let taken = self.entries(folder, now_ms)?.remove(&name);
        taken.ok_or(FileRefusal::Absent)
    }

    /// The folder that a path's last name is in, and that name. The root has none.
    pub(super) fn place(&self, path: &FilePath) -> Result<(NodeId, String), FileRefusal> {
        let names: Vec<&str> = path.names().collect();
        let (name, folder) = names.split_last().ok_or(FileRefusal::Impossible)?;
        let node = folder.iter().try_fold(ROOT, |folder, name| {
            self.folder(folder)?
                .get(*name)
                .copied()
                .ok_or(FileRefusal::Absent)
        })?;
        self.folder(node)?;
        Ok((node, (*name).to_owned()))
    }

    fn entries(&mut self, folder: NodeId, now_ms: u64) -> Result<&mut BTreeMap<String, NodeId>, FileRefusal> {
        let node = self.nodes.get_mut(&folder).ok_or(FileRefusal::Gone)?;
        node.modified_ms = now_ms;
        match &mut node.content {
            Content::Folder(entries) => Ok(entries),
            Content::File(_) => Err(FileRefusal::NotFolder),
        }
    }

    fn file_mut(&mut self, node: NodeId) -> Result<&mut File, FileRefusal> {
        match self.nodes.get_mut(&node).map(|node| &mut node.content) {
            Some(Content::File(file)) => Ok(file),
            _ => Err(FileRefusal::Gone),
        }
    }
}

impl Node {
    pub(super) fn modified_ms(&self) -> u64 {
        self.modified_ms
    }
}

impl File {
    /// Empty, and its own first version.
    fn new(entry: &Entry) -> Self {
        let first = Version {
            version: 1,
            by: entry.by.clone(),
            modified_ms: entry.now_ms,
            writer: (entry.program, entry.number),
            blocks: Vec::new(),
        };
        Self {
            change: 0,
            versions: vec![first],
        }
    }

    pub(super) fn now(&self) -> &Version {
        self.versions.last().expect("a file has at least one version")
    }

    pub(super) fn version(&self, version: u64) -> Result<&Version, FileRefusal> {
        let found = self.versions.iter().find(|found| found.version == version);
        found.ok_or(FileRefusal::NoVersion)
    }
}

fn count(references: &mut BTreeMap<BlockId, u32>, block: &Block) {
    if let Some(id) = block.id {
        *references.entry(id).or_default() += 1;
    }
}
