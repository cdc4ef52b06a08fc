//! Files in a snapshot: a JSON document of its length in four bytes, then the scratch files' contents one
//! after the other, in the order of their nodes, then the lines of `/wayfare` that were begun. What was
//! written is checked as if it came from anywhere, because a snapshot can.
//!
//! Engines of earlier releases know no descriptors of streams, none of removed folders, and no `/wayfare`: a
//! snapshot has these only where a program has closed or replaced a standard stream, holds such a folder
//! open, or has used `/wayfare`, and is refused by them only then. So where the mount is untouched it is not
//! named, and is put at its place where that is free: a program that an earlier release has started does not
//! look there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::{DEPTH_MAX, is_name};

use super::super::channel::{Channel, Noted};
use super::folders::Folders;
use super::scratch::{Content, NODES_MAX, Node, NodeId, ROOT, SCRATCH_BYTES_MAX, Scratch};
use super::wayfare::CONTENTS_MAX;
use super::{DESCRIPTORS_MAX, Descriptor, FIRST, Files, Mount, Of, standard_streams};

/// Where a program has the mount `/wayfare` to begin with.
const WAYFARE: u32 = 5;

/// Without the contents, which `Content` does not serialise.
#[derive(Serialize)]
struct HeadOf<'a> {
    scratch: &'a Scratch,
    lengths: Vec<u64>,
    descriptors: BTreeMap<u32, &'a Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<BTreeMap<u32, &'a Descriptor>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wayfare: Option<Lines<&'a Noted>>,
}

/// The lines of `/wayfare` under way. Those that were begun are behind the contents.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines<N> {
    begun: u64,
    reading: u64,
    noted: N,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    scratch: Scratch,
    /// Of each file's content.
    lengths: Vec<u64>,
    /// From [`FIRST`] on.
    descriptors: BTreeMap<u32, Descriptor>,
    /// Those below; `None`: the standard streams.
    #[serde(default)]
    streams: Option<BTreeMap<u32, Descriptor>>,
    /// `None`: it is as it was to begin with.
    #[serde(default)]
    wayfare: Option<Lines<Noted>>,
}

impl Files {
    /// Empty for a program that has touched no file.
    pub(crate) fn save(&self) -> Vec<u8> {
        if *self == Self::new(self.folders.clone()) {
            return Vec::new();
        }
        let contents = || self.scratch.nodes.values().filter_map(|node| node.content.file());
        let is_untouched = self.is_wayfare_untouched();
        let between = |range| self.descriptors.range(range).map(|(fd, of)| (*fd, of)).collect();
        let streams: BTreeMap<u32, &Descriptor> = between(0..FIRST);
        let is_usual = streams.values().copied().eq(standard_streams().values());
        let mut descriptors: BTreeMap<u32, &Descriptor> = between(FIRST..u32::MAX);
        if is_untouched {
            descriptors.remove(&WAYFARE);
        }
        let channel = &self.channel;
        let head = HeadOf {
            scratch: &self.scratch,
            lengths: contents().map(|content| content.len() as u64).collect(),
            descriptors,
            streams: (!is_usual).then_some(streams),
            wayfare: (!is_untouched).then_some(Lines {
                begun: channel.begun.len() as u64,
                reading: channel.reading.len() as u64,
                noted: &channel.noted,
            }),
        };
        let head = serde_json::to_vec(&head).expect("plain data serialises");
        let mut out = Vec::with_capacity(4 + head.len() + self.scratch.bytes);
        out.extend((head.len() as u32).to_le_bytes());
        out.extend(head);
        contents().for_each(|content| out.extend_from_slice(content));
        out.extend_from_slice(&channel.begun);
        out.extend_from_slice(&channel.reading);
        out
    }

    /// Whether a program that knows nothing of `/wayfare` would have it so.
    fn is_wayfare_untouched(&self) -> bool {
        let has_place = self
            .descriptors
            .get(&WAYFARE)
            .is_some_and(|descriptor| descriptor.of == Of::Mount(Mount::Wayfare));
        let on_it = |descriptor: &&Descriptor| descriptor.of.mount() == Some(Mount::Wayfare);
        has_place && self.channel.is_unused() && self.descriptors.values().filter(on_it).count() == 1
    }

    /// `folders` are those that the program was given.
    pub(crate) fn restore(bytes: &[u8], folders: Folders) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::new(folders));
        }
        read(bytes, folders).ok_or_else(|| "its files are malformed".to_owned())
    }
}

fn read(bytes: &[u8], folders: Folders) -> Option<Files> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (head, mut contents) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let Head {
        mut scratch,
        lengths,
        mut descriptors,
        streams,
        wayfare,
    } = serde_json::from_slice(head).ok()?;
    let mut lengths = lengths.into_iter();
    let mut part = |length: u64| {
        let (own, others) = contents.split_at_checked(usize::try_from(length).ok()?)?;
        contents = others;
        Some(own.to_vec())
    };
    for node in scratch.nodes.values_mut() {
        if let Content::File(content) = &mut node.content {
            *content = part(lengths.next()?)?;
        }
    }
    let channel = match wayfare {
        None => {
            let mount = Descriptor::of(Of::Mount(Mount::Wayfare));
            descriptors.entry(WAYFARE).or_insert(mount);
            Channel::default()
        }
        Some(lines) => Channel {
            begun: part(lines.begun)?,
            reading: part(lines.reading)?,
            noted: lines.noted,
        },
    };
    (contents.is_empty() && lengths.next().is_none()).then_some(())?;
    scratch.bytes = scratch.count_bytes();
    let is_bounded = scratch.nodes.len() <= NODES_MAX && scratch.bytes <= SCRATCH_BYTES_MAX;
    let mut streams = streams.unwrap_or_else(standard_streams);
    let are_apart = descriptors.keys().all(|fd| *fd >= FIRST) && streams.keys().all(|fd| *fd < FIRST);
    descriptors.append(&mut streams);
    // One more, where a program of an earlier release has all that it may.
    let are_few = descriptors.len() <= DESCRIPTORS_MAX + 1;
    (is_bounded && are_apart && are_few && channel.is_sound()).then_some(())?;
    let mut files = Files {
        scratch,
        channel,
        folders,
        descriptors,
    };
    (files.contents() <= CONTENTS_MAX).then_some(())?;
    files.count_descriptors()?;
    files.scratch.name_nodes().then_some(files)
}

impl Files {
    /// Descriptors hold nodes that are there, and folders with sound names.
    fn count_descriptors(&mut self) -> Option<()> {
        for descriptor in self.descriptors.values() {
            if let Some(Mount::Folder(name)) = descriptor.of.mount() {
                self.folders.get(name).ok()?;
            }
            match &descriptor.of {
                Of::Stream(_) | Of::Mount(_) | Of::Fleet(_) | Of::Removed { .. } => {}
                Of::Wayfare(file) => file.is_sound().then_some(())?,
                Of::Given { folder, node } => {
                    let folder = self.folders.get(*folder).ok()?;
                    folder.has_file(*node).then_some(())?;
                }
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
    /// Notes which nodes have a name. Whether all is sound: one tree from the root on, in which every node
    /// has one name, and beside it only what is held open.
    fn name_nodes(&mut self) -> bool {
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
        let next = self.next;
        self.nodes.iter_mut().all(|(id, node)| {
            node.is_named = named.contains(id);
            let is_held = node.open > 0 && node.content.file().is_some();
            *id < next && (node.is_named || is_held)
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
