//! What is answered and what is changed: decided from the tree alone.

use wayfare_protocol::files::{
    DATA_BYTES_MAX, Expected, FILE_BYTES_MAX, FileAnswer, FileAsk, FileKind, FilePath, FileRefusal,
    FileRequest, FileVersion, ListedFile, NodeId, Opening, Place,
};
use wayfare_protocol::limits::PAGE_BYTES_MAX;
use wayfare_protocol::wire;

use super::blocks::{self, Piece, Splice, length};
use super::entry::{Change, Entry};
use super::removed;
use super::requests::{Known, signature};
use super::tree::{Content, Tree};

/// Files and folders.
pub(super) const NODES_MAX: usize = 100_000;
/// References to blocks from all versions of all files: what the tree has in memory.
pub(super) const BLOCKS_MAX: usize = 1_000_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Answer(FileAnswer),
    /// Answered with what these have.
    Read(Vec<Piece>),
    /// Several entries in order, of which the last has the answer, and lacks blocks made of these, if any.
    Change(Vec<Entry>, Vec<Piece>),
}

type Decided = Result<Decision, FileRefusal>;

pub(super) fn decide(tree: &Tree, request: &FileRequest, now_ms: u64) -> Decision {
    match tree.requests.known(request) {
        Known::Done(answer) => return Decision::Answer(answer),
        Known::Stale => return refuse(FileRefusal::Stale),
        Known::New => {}
    }
    let decider = Decider {
        tree,
        request,
        now_ms,
    };
    decider.decide().unwrap_or_else(refuse)
}

fn refuse(why: FileRefusal) -> Decision {
    Decision::Answer(FileAnswer::Refused { why })
}

struct Decider<'a> {
    tree: &'a Tree,
    request: &'a FileRequest,
    now_ms: u64,
}

impl Decider<'_> {
    fn decide(&self) -> Decided {
        let tree = self.tree;
        if removed::is_asked_for(&self.request.what) {
            return Err(FileRefusal::Absent);
        }
        match &self.request.what {
            FileAsk::Open { path, opening } => self.open(path, *opening),
            FileAsk::Stat { path } => self.stat(tree.find(path)?),
            FileAsk::StatNode { node } => self.stat(*node),
            FileAsk::List { path, after } => self.list(tree.find(path)?, *after),
            FileAsk::History { path } => self.history(tree.find(path)?),
            FileAsk::Read {
                node,
                version,
                offset,
                bytes,
            } => {
                let file = tree.file(*node)?;
                let version = match version {
                    Some(version) => file.version(*version)?,
                    None => file.now(),
                };
                let count = u64::from(*bytes).min(DATA_BYTES_MAX as u64);
                Ok(Decision::Read(blocks::read(&version.blocks, *offset, count)))
            }
            FileAsk::Write {
                node, writer, place, ..
            } => self.write(*node, *writer, *place),
            FileAsk::SetLength {
                node,
                writer,
                basis,
                length,
            } => self.set_length(*node, (*writer, *basis), *length),
            FileAsk::MakeFolder { path } => {
                self.check_new(path)?;
                self.change(Change::MakeFolder { path: path.clone() })
            }
            FileAsk::RemoveFolder { path } => {
                let folder = tree.find(path)?;
                if tree
                    .folder(folder)?
                    .iter()
                    .any(|entry| removed::visible(tree, folder)(&entry))
                {
                    return Err(FileRefusal::NotEmpty);
                }
                tree.place(path)?;
                self.change(Change::Remove { path: path.clone() })
            }
            FileAsk::Unlink { path, expects } => {
                self.check_expected(path, *expects)?;
                tree.file(tree.find(path)?)?;
                self.change(Change::Remove { path: path.clone() })
            }
            FileAsk::Rename { from, to } => self.rename(from, to),
            FileAsk::Copy {
                from,
                version,
                to,
                expects,
            } => {
                self.check_expected(to, *expects)?;
                self.copy(from, *version, to)
            }
        }
    }

    fn change(&self, change: Change) -> Decided {
        self.change_with(change, Vec::new())
    }

    fn change_with(&self, change: Change, pieces: Vec<Piece>) -> Decided {
        let request = self.request;
        let signature = signature(&request.what);
        let entry = |change| Entry {
            program: request.program,
            by: request.by.to_string(),
            generation: request.generation,
            number: request.number,
            signature,
            now_ms: self.now_ms,
            change,
        };
        let steps = removed::steps(self.tree, change, self.now_ms);
        Ok(Decision::Change(steps.into_iter().map(entry).collect(), pieces))
    }

    fn open(&self, path: &FilePath, opening: Opening) -> Decided {
        let found = match self.tree.find(path) {
            Err(FileRefusal::Absent) if opening.create && !opening.folder => {
                self.check_new(path)?;
                return self.opened(path, opening);
            }
            Ok(_) if opening.create && opening.exclusive => return Err(FileRefusal::Exists),
            found => found?,
        };
        let stat = self.tree.stat(found)?;
        match stat.kind {
            FileKind::Folder if opening.write || opening.truncate => Err(FileRefusal::IsFolder),
            FileKind::File if opening.folder => Err(FileRefusal::NotFolder),
            FileKind::File if self.request.what.is_change() => self.opened(path, opening),
            _ => {
                let basis = self.tree.file(found).map_or(0, |file| file.change);
                Ok(Decision::Answer(FileAnswer::Opened {
                    stat,
                    basis,
                    writer: 0,
                }))
            }
        }
    }

    fn opened(&self, path: &FilePath, opening: Opening) -> Decided {
        self.change(Change::Open {
            path: path.clone(),
            truncate: opening.truncate,
        })
    }

    fn stat(&self, node: NodeId) -> Decided {
        let stat = self.tree.stat(node)?;
        Ok(Decision::Answer(FileAnswer::Stat { stat }))
    }

    /// As many as fit a message, in the order of their nodes.
    fn list(&self, folder: NodeId, after: NodeId) -> Decided {
        let mut inside: Vec<(&String, &NodeId)> = self
            .tree
            .folder(folder)?
            .iter()
            .filter(|(_, node)| **node > after)
            .filter(removed::visible(self.tree, folder))
            .collect();
        inside.sort_by_key(|(_, node)| **node);
        let (mut files, mut bytes) = (Vec::new(), 0);
        for (name, node) in inside {
            let listed = ListedFile {
                name: name.clone(),
                stat: self.tree.stat(*node)?,
            };
            bytes += wire::to_json(&listed).len() + 1;
            if bytes > PAGE_BYTES_MAX {
                break;
            }
            files.push(listed);
        }
        Ok(Decision::Answer(FileAnswer::Listed { files }))
    }

    fn history(&self, node: NodeId) -> Decided {
        let versions = self.tree.file(node)?.versions.iter();
        let versions = versions.map(|version| FileVersion {
            version: version.version,
            bytes: length(&version.blocks),
            modified_ms: version.modified_ms,
            by: version.by.clone(),
        });
        Ok(Decision::Answer(FileAnswer::History {
            versions: versions.collect(),
        }))
    }

    fn write(&self, node: NodeId, writer: u64, place: Place) -> Decided {
        let FileAsk::Write { data, .. } = &self.request.what else {
            unreachable!("only a write comes here")
        };
        let file = self.tree.file(node)?;
        let there = &file.now().blocks;
        let (offset, basis) = match place {
            Place::End { basis } => (length(there), Some(basis)),
            Place::At { offset, basis } => (offset, basis),
        };
        if matches!(place, Place::At { .. }) && basis.is_some_and(|basis| basis != file.change) {
            return Err(FileRefusal::Changed);
        }
        let count = data.as_bytes().len() as u64;
        let end = offset.checked_add(count).filter(|end| *end <= FILE_BYTES_MAX);
        let end = end.ok_or(FileRefusal::TooLong)?;
        if count == 0 {
            let basis = basis.unwrap_or(file.change);
            return Ok(Decision::Answer(FileAnswer::Written { end: offset, basis }));
        }
        self.splice(node, (writer, basis), end, blocks::write(there, offset, count))
    }

    fn set_length(&self, node: NodeId, (writer, basis): (u64, u64), length: u64) -> Decided {
        let file = self.tree.file(node)?;
        if basis != file.change {
            return Err(FileRefusal::Changed);
        }
        if length > FILE_BYTES_MAX {
            return Err(FileRefusal::TooLong);
        }
        let splice = blocks::set_length(&file.now().blocks, length);
        self.splice(node, (writer, Some(basis)), length, splice)
    }

    fn splice(&self, node: NodeId, (writer, basis): (u64, Option<u64>), end: u64, splice: Splice) -> Decided {
        if end > removed::BYTES_MAX && self.tree.is_removed(node) {
            return Err(FileRefusal::Full);
        }
        let there = self.tree.file(node)?.now().blocks.len();
        // Each piece makes at most two blocks; a version that is amended is let go of, but need not be.
        self.check_blocks(there + 2 * splice.pieces.len())?;
        let change = Change::Splice {
            node,
            writer,
            basis,
            end,
            first: splice.first,
            removed: splice.removed,
            blocks: Vec::new(),
        };
        self.change_with(change, splice.pieces)
    }

    fn rename(&self, from: &FilePath, to: &FilePath) -> Decided {
        let tree = self.tree;
        let moved = tree.find(from)?;
        if from.covers(to) && from != to {
            return Err(FileRefusal::Impossible);
        }
        // The root has no name to be given or taken.
        tree.place(from)?;
        tree.place(to)?;
        let is_folder = tree.folder(moved).is_ok();
        match tree.find(to) {
            Ok(there) if there != moved => match (&tree.nodes[&there].content, is_folder) {
                (Content::Folder(_), false) => return Err(FileRefusal::IsFolder),
                (Content::File(_), true) => return Err(FileRefusal::NotFolder),
                (Content::Folder(inside), true) if !inside.is_empty() => return Err(FileRefusal::NotEmpty),
                _ => {}
            },
            Ok(_) | Err(FileRefusal::Absent) => {}
            Err(refusal) => return Err(refusal),
        }
        if is_folder && self.depth_below(moved) + to.names().count() > wayfare_protocol::files::DEPTH_MAX {
            return Err(FileRefusal::TooLong);
        }
        self.change(Change::Rename {
            from: from.clone(),
            to: to.clone(),
        })
    }

    /// Names in the longest path below a folder.
    fn depth_below(&self, folder: NodeId) -> usize {
        let mut level = vec![folder];
        let mut depth = 0;
        loop {
            let inside = level.iter().filter_map(|node| self.tree.folder(*node).ok());
            let next: Vec<NodeId> = inside.flat_map(|entries| entries.values().copied()).collect();
            if next.is_empty() {
                return depth;
            }
            depth += 1;
            level = next;
        }
    }

    fn copy(&self, from: &FilePath, version: Option<u64>, to: &FilePath) -> Decided {
        let source = self.tree.find(from)?;
        let file = self.tree.file(source)?;
        let version = match version {
            Some(version) => file.version(version)?,
            None => file.now(),
        };
        match self.tree.find(to) {
            Ok(there) => drop(self.tree.file(there)?),
            Err(FileRefusal::Absent) => self.check_new(to)?,
            Err(refusal) => return Err(refusal),
        }
        self.check_blocks(version.blocks.len())?;
        self.change(Change::Copy {
            from: source,
            version: version.version,
            to: to.clone(),
        })
    }

    fn check_expected(&self, path: &FilePath, expected: Option<Expected>) -> Result<(), FileRefusal> {
        let Some(expected) = expected else { return Ok(()) };
        let there = match self.tree.find(path) {
            Ok(node) => Some(self.tree.stat(node)?),
            Err(FileRefusal::Absent) => None,
            Err(refusal) => return Err(refusal),
        };
        match expected.is(there.as_ref()) {
            true => Ok(()),
            false => Err(FileRefusal::Changed),
        }
    }

    /// That another node can have this name.
    fn check_new(&self, path: &FilePath) -> Result<(), FileRefusal> {
        match self.tree.find(path) {
            Ok(_) => return Err(FileRefusal::Exists),
            Err(FileRefusal::Absent) => {}
            Err(refusal) => return Err(refusal),
        }
        self.tree.place(path)?;
        match self.tree.nodes.len() < NODES_MAX {
            true => Ok(()),
            false => Err(FileRefusal::Full),
        }
    }

    fn check_blocks(&self, more: usize) -> Result<(), FileRefusal> {
        match self.tree.blocks() + more <= BLOCKS_MAX {
            true => Ok(()),
            false => Err(FileRefusal::Full),
        }
    }
}
