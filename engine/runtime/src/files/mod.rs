//! A program's files as a pure core: its descriptors, and the scratch folder `/tmp` that travels with it. Of
//! what is open in `/fleet`, the dispatcher's files, only descriptors are here; of `/wayfare`, descriptors
//! and the lines under way. The host calls are in `wasi::files`. All of it is in a snapshot ([`state`]).
//!
//! Descriptors 0 to 2 are the standard streams to begin with, then come the mounts, then what the program
//! opens, each at the lowest number that is free. What is done with streams is not in here: only which
//! descriptors they have.
//!
//! Always: a descriptor of a folder has its present path, however the program renames it; one of a folder
//! that it removed is of nothing.

pub(super) mod folders;
pub(super) mod paths;
pub(super) mod scratch;
mod state;
#[cfg(test)]
mod tests;
pub(super) mod wayfare;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_abi::errno::Errno;
use wayfare_protocol::files::MOUNT;
use wayfare_protocol::folder::FolderName;

use super::channel::Channel;
use folders::Folders;
use scratch::{NodeId, Scratch};
use wayfare::WayfareFile;

/// Descriptors of one program, with its standard streams.
const DESCRIPTORS_MAX: usize = 256 + FIRST as usize;
/// The first that is no standard stream to begin with.
const FIRST: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) scratch: Scratch,
    pub(super) channel: Channel,
    /// Not in a snapshot.
    pub(super) folders: Folders,
    descriptors: BTreeMap<u32, Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    pub(super) of: Of,
    pub(super) offset: u64,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) append: bool,
    /// The other flags of preview 1, which change nothing here: every write is as durable when it returns as
    /// it will ever be.
    #[serde(default, skip_serializing_if = "is_none_set")]
    pub(super) flags: u16,
}

/// What a descriptor is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Of {
    Stream(StandardStream),
    /// One of the folders that are there to begin with.
    Mount(Mount),
    Folder {
        mount: Mount,
        path: Vec<String>,
        /// `None`: opened by an earlier release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u64>,
    },
    /// A folder that the program removed.
    Removed {
        mount: Mount,
        node: u64,
    },
    Scratch(NodeId),
    Fleet(FleetFile),
    Wayfare(WayfareFile),
    /// A file of a folder that it was given.
    Given {
        folder: FolderName,
        node: NodeId,
    },
}

impl Of {
    /// `None`: a stream is on none.
    pub(super) fn mount(&self) -> Option<Mount> {
        match self {
            Self::Stream(_) => None,
            Self::Mount(mount) | Self::Folder { mount, .. } | Self::Removed { mount, .. } => Some(*mount),
            Self::Scratch(_) => Some(Mount::Scratch),
            Self::Fleet(_) => Some(Mount::Fleet),
            Self::Wayfare(_) => Some(Mount::Wayfare),
            Self::Given { folder, .. } => Some(Mount::Folder(*folder)),
        }
    }

    fn has_content(&self) -> bool {
        matches!(self, Self::Wayfare(WayfareFile::Plain { .. }))
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self, Self::Mount(_) | Self::Folder { .. } | Self::Removed { .. })
    }
}

/// A file of the fleet's, as the dispatcher knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FleetFile {
    pub(super) node: u64,
    /// The last of its changes that this descriptor knows of.
    pub(super) basis: u64,
    /// What this descriptor's writes are told by.
    pub(super) writer: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StandardStream {
    Input,
    Output,
    Error,
}

impl StandardStream {
    const ALL: [Self; FIRST as usize] = [Self::Input, Self::Output, Self::Error];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mount {
    Scratch,
    Fleet,
    Wayfare,
    Folder(FolderName),
}

impl Mount {
    /// Those that every program has to begin with, from [`FIRST`] on. The folders that it was given follow.
    const ALL: [Self; 3] = [Self::Scratch, Self::Fleet, Self::Wayfare];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scratch => "/tmp",
            Self::Fleet => MOUNT,
            Self::Wayfare => "/wayfare",
            Self::Folder(name) => name.mount(),
        }
    }

    /// The number by which a program tells it from the others, the same on all engines. The streams are on
    /// device 1.
    pub(super) fn device(self) -> u64 {
        match self {
            Self::Scratch => 2,
            Self::Fleet => 3,
            Self::Wayfare => 4,
            Self::Folder(FolderName::Program) => 5,
            Self::Folder(FolderName::Library) => 6,
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::new(Folders::default())
    }
}

impl Files {
    /// For a program that begins.
    pub(super) fn new(folders: Folders) -> Self {
        let mut descriptors = standard_streams();
        for (fd, mount) in (FIRST..).zip(Mount::ALL.into_iter().chain(folders.mounts())) {
            descriptors.insert(fd, Descriptor::of(Of::Mount(mount)));
        }
        Self {
            scratch: Scratch::default(),
            channel: Channel::default(),
            folders,
            descriptors,
        }
    }
}

fn standard_streams() -> BTreeMap<u32, Descriptor> {
    let streams = StandardStream::ALL.map(|stream| Descriptor::of(Of::Stream(stream)));
    (0..).zip(streams).collect()
}

fn is_none_set(flags: &u16) -> bool {
    *flags == 0
}

impl Descriptor {
    /// Of a stream or folder.
    pub(super) fn of(of: Of) -> Self {
        Self {
            of,
            offset: 0,
            read: true,
            write: false,
            append: false,
            flags: 0,
        }
    }
}

impl Files {
    pub(super) fn get(&self, fd: i32) -> Result<&Descriptor, Errno> {
        let fd = fd.cast_unsigned();
        self.descriptors.get(&fd).ok_or(Errno::BADF)
    }

    pub(super) fn get_mut(&mut self, fd: i32) -> Result<&mut Descriptor, Errno> {
        let fd = fd.cast_unsigned();
        self.descriptors.get_mut(&fd).ok_or(Errno::BADF)
    }

    /// Which standard stream `fd` is, if it is one.
    pub(super) fn stream(&self, fd: i32) -> Result<Option<StandardStream>, Errno> {
        match self.get(fd)?.of {
            Of::Stream(stream) => Ok(Some(stream)),
            _ => Ok(None),
        }
    }

    /// The folder that paths relative to `fd` begin at.
    pub(super) fn folder(&self, fd: i32) -> Result<(Mount, &[String]), Errno> {
        match &self.get(fd)?.of {
            Of::Mount(mount) => Ok((*mount, &[])),
            Of::Folder { mount, path, .. } => Ok((*mount, path)),
            Of::Removed { .. } => Err(Errno::NOENT),
            Of::Stream(_) | Of::Scratch(_) | Of::Fleet(_) | Of::Wayfare(_) | Of::Given { .. } => {
                Err(Errno::NOTDIR)
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.descriptors.len() >= DESCRIPTORS_MAX
    }

    /// Descriptors that hold a content of their own.
    fn contents(&self) -> usize {
        let all = self.descriptors.values();
        all.filter(|descriptor| descriptor.of.has_content()).count()
    }

    /// The lowest number that is free.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        if self.is_full() || descriptor.of.has_content() && self.contents() >= wayfare::CONTENTS_MAX {
            return Err(Errno::MFILE);
        }
        let fd = (0..)
            .find(|fd| !self.descriptors.contains_key(fd))
            .expect("there are fewer descriptors than numbers");
        if let Of::Scratch(node) = descriptor.of {
            self.scratch.hold(node)?;
        }
        self.descriptors.insert(fd, descriptor);
        Ok(fd)
    }

    pub(super) fn close(&mut self, fd: i32) -> Result<(), Errno> {
        let closed = self.descriptors.remove(&fd.cast_unsigned()).ok_or(Errno::BADF)?;
        if let Of::Scratch(node) = closed.of {
            self.scratch.let_go(node);
        }
        Ok(())
    }

    /// `from` becomes `to`, which is closed.
    pub(super) fn renumber(&mut self, from: i32, to: i32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            self.close(to)?;
            let moved = self.descriptors.remove(&from.cast_unsigned());
            let moved = moved.expect("it was just there");
            self.descriptors.insert(to.cast_unsigned(), moved);
        }
        Ok(())
    }

    /// What is open at or below `from` goes on at `to`; a folder that was there is gone.
    pub(super) fn renamed(&mut self, mount: Mount, from: &[String], to: &[String]) {
        if from == to {
            return;
        }
        self.removed(mount, to);
        for descriptor in self.descriptors.values_mut() {
            if let Of::Folder { mount: on, path, .. } = &mut descriptor.of
                && *on == mount
                && path.starts_with(from)
            {
                path.splice(..from.len(), to.iter().cloned());
            }
        }
    }

    /// An open folder is gone, and stays so when there is another of its name.
    pub(super) fn removed(&mut self, mount: Mount, folder: &[String]) {
        for descriptor in self.descriptors.values_mut() {
            if let Of::Folder {
                mount: on,
                path,
                node,
            } = &descriptor.of
                && *on == mount
                && path == folder
            {
                let node = node.unwrap_or(0);
                descriptor.of = Of::Removed { mount, node };
            }
        }
    }
}
