//! Files that were removed or replaced, and may be open somewhere: who has one open reads and writes it on,
//! as on any file system. Nobody says when a file is closed, so each is kept for [`KEPT_MS`] after it was
//! removed or last written, as far as there is room.
//!
//! They are in a folder of the tree that nobody sees by its name. To remove a file is to rename it into that
//! folder, and what has been there for long enough is removed with the next change: a change becomes several
//! entries of the log, all of them such as dispatchers of earlier releases know too.

use wayfare_protocol::files::{FileAsk, FilePath, NodeId};

use super::blocks::length;
use super::entry::Change;
use super::tree::{REMOVED as FOLDER, ROOT, Tree};

/// How long a file can be used after it was removed or last written.
pub(super) const KEPT_MS: u64 = 60 * 60 * 1000;
pub(super) const FILES_MAX: usize = 256;
/// Of all versions of all that is kept. The oldest make room for another one; a file that is larger is not
/// kept.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// So that the oldest name comes first.
const DIGITS: usize = 20;

/// A file that is kept.
struct Kept {
    node: NodeId,
    path: FilePath,
    bytes: u64,
    until_ms: u64,
}

/// Whether this is a name in the folder, or the folder's: to who asks there is no such thing.
pub(super) fn is_asked_for(what: &FileAsk) -> bool {
    let is_hidden = |path: &FilePath| path.names().next() == Some(FOLDER);
    match what {
        FileAsk::Open { path, .. }
        | FileAsk::Stat { path }
        | FileAsk::List { path, .. }
        | FileAsk::History { path }
        | FileAsk::MakeFolder { path }
        | FileAsk::RemoveFolder { path }
        | FileAsk::Unlink { path, .. } => is_hidden(path),
        FileAsk::Rename { from, to } | FileAsk::Copy { from, to, .. } => is_hidden(from) || is_hidden(to),
        FileAsk::StatNode { .. }
        | FileAsk::Read { .. }
        | FileAsk::Write { .. }
        | FileAsk::SetLength { .. } => false,
    }
}

/// What of a folder can be seen.
pub(super) fn visible(tree: &Tree, folder: NodeId) -> impl Fn(&(&String, &NodeId)) -> bool {
    let hidden = (folder == ROOT).then(|| tree.folder_of_removed()).flatten();
    move |(_, node)| Some(**node) != hidden
}

/// The changes that are made for `change`, in order; the last one's answer is its answer.
pub(super) fn steps(tree: &Tree, change: Change, now_ms: u64) -> Vec<Change> {
    let gone = match &change {
        Change::Remove { path } => Some(path),
        Change::Rename { from, to } => Some(to).filter(|to| *to != from),
        Change::Open { .. } | Change::Splice { .. } | Change::MakeFolder { .. } | Change::Copy { .. } => None,
    };
    let mut kept = kept(tree);
    if let Change::Splice { node, .. } = &change {
        // It is kept for so much longer.
        kept.retain(|kept| kept.node != *node);
    }
    let Some((into, bytes)) = gone.and_then(|gone| place(tree, gone, now_ms)) else {
        let mut steps = make_room(kept, (0, 0), now_ms);
        steps.push(change);
        return steps;
    };
    let mut steps = make_room(kept, (1, bytes), now_ms);
    if tree.folder_of_removed().is_none() {
        steps.extend(path([FOLDER]).map(|path| Change::MakeFolder { path }));
    }
    match change {
        Change::Remove { path } => steps.push(Change::Rename { from: path, to: into }),
        change => {
            let gone = match &change {
                Change::Rename { to, .. } => Some(to.clone()),
                _ => None,
            };
            steps.extend(gone.map(|gone| Change::Rename { from: gone, to: into }));
            steps.push(change);
        }
    }
    steps
}

fn path<const N: usize>(names: [&str; N]) -> Option<FilePath> {
    FilePath::of_names(&names)
}

/// Where a file goes that is there now, and its bytes; `None`: it is no file, or is not kept.
fn place(tree: &Tree, gone: &FilePath, now_ms: u64) -> Option<(FilePath, u64)> {
    let node = tree.find(gone).ok()?;
    let bytes = bytes(tree, node).filter(|bytes| *bytes <= BYTES_MAX)?;
    let is_taken = tree.folder(ROOT).is_ok_and(|root| root.contains_key(FOLDER));
    if is_taken && tree.folder_of_removed().is_none() {
        return None;
    }
    let name = format!("{now_ms:0DIGITS$}-{node}");
    path([FOLDER, &name]).map(|path| (path, bytes))
}

/// Of a file, in all of its versions.
fn bytes(tree: &Tree, node: NodeId) -> Option<u64> {
    let versions = &tree.file(node).ok()?.versions;
    Some(versions.iter().map(|version| length(&version.blocks)).sum())
}

/// The oldest first.
fn kept(tree: &Tree) -> Vec<Kept> {
    let entries = tree
        .folder_of_removed()
        .and_then(|folder| tree.folder(folder).ok());
    let of = |(name, node): (&String, &NodeId)| {
        let removed_ms: u64 = name.split_once('-')?.0.parse().ok()?;
        let written_ms = tree.nodes.get(node)?.modified_ms();
        Some(Kept {
            node: *node,
            path: path([FOLDER, name])?,
            bytes: bytes(tree, *node)?,
            until_ms: removed_ms.max(written_ms).saturating_add(KEPT_MS),
        })
    };
    entries.into_iter().flatten().filter_map(of).collect()
}

/// Removes what has been there for long enough, and the oldest as long as there is no room for so many more
/// files and bytes.
fn make_room(kept: Vec<Kept>, (files, bytes): (usize, u64), now_ms: u64) -> Vec<Change> {
    let mut files_left = kept.len() + files;
    let mut bytes_left = kept.iter().map(|kept| kept.bytes).sum::<u64>() + bytes;
    let mut removed = Vec::new();
    for old in kept {
        if old.until_ms <= now_ms || files_left > FILES_MAX || bytes_left > BYTES_MAX {
            files_left -= 1;
            bytes_left -= old.bytes;
            removed.push(Change::Remove { path: old.path });
        }
    }
    removed
}
