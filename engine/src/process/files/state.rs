//! Files in a snapshot: a JSON document of its length in four bytes, then the scratch files' contents one after the other, in the
//! order of their nodes. What was written is checked as if it came from anywhere, because a snapshot can.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::{DEPTH_MAX, is_name};

use super::scratch::{Content, NODES_MAX, Node, NodeId, ROOT, SCRATCH_BYTES_MAX, Scratch};
use super::{DESCRIPTORS_MAX, Descriptor, FIRST, Files, Of};

/// Without the contents, which `Content` does not serialise.
#[derive(Serialize)]
struct HeadOf<'a> {
    scratch: &'a Scratch,
    lengths: Vec<u64>,
    descriptors: &'a BTreeMap<u32, Descriptor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    scratch: Scratch,
    /// Of each file's content.
    lengths: Vec<u64>,
    descriptors: BTreeMap<u32, Descriptor>,
}

impl Files {
    /// Empty for a program that has touched no file.
    pub(in crate::process) fn save(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let contents = || self.scratch.nodes.values().filter_map(|node| node.content.file());
        let head = HeadOf {
            scratch: &self.scratch,
            lengths: contents().map(|content| content.len() as u64).collect(),
            descriptors: &self.descriptors,
        };
        let head = serde_json::to_vec(&head).expect("plain data serialises");
        let mut out = Vec::with_capacity(4 + head.len() + self.scratch.bytes);
        out.extend((head.len() as u32).to_le_bytes());
        out.extend(head);
        contents().for_each(|content| out.extend_from_slice(content));
        out
    }

    pub(in crate::process) fn restore(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        read(bytes).ok_or_else(|| "its files are malformed".to_owned())
    }
}

fn read(bytes: &[u8]) -> Option<Files> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (head, mut contents) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let Head {
        mut scratch,
        lengths,
        descriptors,
    } = serde_json::from_slice(head).ok()?;
    let mut lengths = lengths.into_iter();
    for node in scratch.nodes.values_mut() {
        if let Content::File(content) = &mut node.content {
            let (own, others) = contents.split_at_checked(usize::try_from(lengths.next()?).ok()?)?;
            *content = own.to_vec();
            contents = others;
        }
    }
    (contents.is_empty() && lengths.next().is_none()).then_some(())?;
    scratch.bytes = scratch.count_bytes();
    let is_bounded = scratch.nodes.len() <= NODES_MAX && scratch.bytes <= SCRATCH_BYTES_MAX;
    (is_bounded && descriptors.len() <= DESCRIPTORS_MAX).then_some(())?;
    let mut files = Files { scratch, descriptors };
    files.count_descriptors()?;
    files.scratch.is_sound().then_some(files)
}

impl Files {
    /// Descriptors hold nodes that are there, and folders with sound names.
    fn count_descriptors(&mut self) -> Option<()> {
        for (fd, descriptor) in &self.descriptors {
            (*fd >= FIRST).then_some(())?;
            match &descriptor.of {
                Of::Mount(_) | Of::Fleet(_) => {}
                Of::Folder { path, .. } => {
                    (path.len() <= DEPTH_MAX && path.iter().all(|name| is_name(name))).then_some(())?;
                }
                Of::Scratch(node) => self.scratch.hold(*node).ok()?,
            }
        }
        Some(())
    }
}

impl Scratch {
    /// One tree from the root on, in which every node has one name, and beside it only what is held open.
    fn is_sound(&self) -> bool {
        let mut named = BTreeSet::from([ROOT]);
        let mut to_visit: Vec<NodeId> = vec![ROOT];
        while let Some(folder) = to_visit.pop() {
            let Some(Node {
                content: Content::Folder(entries),
                ..
            }) = self.nodes.get(&folder)
            else {
                return false;
            };
            for (name, node) in entries {
                let is_new = named.insert(*node);
                if !is_new || !is_name(name) {
                    return false;
                }
                match self.nodes.get(node).map(|node| &node.content) {
                    Some(Content::Folder(_)) => to_visit.push(*node),
                    Some(Content::File(_)) => {}
                    None => return false,
                }
            }
        }
        self.nodes.iter().all(|(id, node)| {
            let is_held = node.open > 0 && node.content.file().is_some();
            *id < self.next && (named.contains(id) || is_held)
        })
    }
}

impl Content {
    fn file(&self) -> Option<&[u8]> {
        match self {
            Self::File(bytes) => Some(bytes),
            Self::Folder(_) => None,
        }
    }
}
