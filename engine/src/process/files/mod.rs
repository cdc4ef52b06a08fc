//! A program's files as a pure core: its descriptors, and the scratch folder `/tmp` that travels with it. Of what is open in `/fleet`, the
//! dispatcher's files, only descriptors are here. The host calls are in `wasi::files`. All of it is in a snapshot ([`state`]).
//!
//! Descriptors 0 to 2 are the standard streams and not in here; from 3 on come the mounts, then what the program opens.

pub(super) mod paths;
pub(super) mod scratch;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wayfare_protocol::files::MOUNT;

use super::wasi::errno::Errno;
use scratch::{NodeId, Scratch};

/// Descriptors of one program, besides its standard streams.
const DESCRIPTORS_MAX: usize = 256;
const FIRST: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) scratch: Scratch,
    descriptors: BTreeMap<u32, Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    pub(super) of: Of,
    pub(super) offset: u64,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) append: bool,
}

/// What a descriptor is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Of {
    /// One of the folders that are there to begin with.
    Mount(Mount),
    Folder {
        mount: Mount,
        path: Vec<String>,
    },
    Scratch(NodeId),
    Fleet(FleetFile),
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
pub(super) enum Mount {
    Scratch,
    Fleet,
}

impl Mount {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scratch => "/tmp",
            Self::Fleet => MOUNT,
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        let mut files = Self {
            scratch: Scratch::default(),
            descriptors: BTreeMap::new(),
        };
        for (fd, mount) in (FIRST..).zip([Mount::Scratch, Mount::Fleet]) {
            files.descriptors.insert(fd, Descriptor::of(Of::Mount(mount)));
        }
        files
    }
}

impl Descriptor {
    /// Of a folder.
    pub(super) fn of(of: Of) -> Self {
        Self {
            of,
            offset: 0,
            read: true,
            write: false,
            append: false,
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

    /// The folder that paths relative to `fd` begin at.
    pub(super) fn folder(&self, fd: i32) -> Result<(Mount, &[String]), Errno> {
        match &self.get(fd)?.of {
            Of::Mount(mount) => Ok((*mount, &[])),
            Of::Folder { mount, path } => Ok((*mount, path)),
            Of::Scratch(_) | Of::Fleet(_) => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.descriptors.len() >= DESCRIPTORS_MAX
    }

    /// The lowest number that is free.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        if self.is_full() {
            return Err(Errno::MFILE);
        }
        let fd = (FIRST..)
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
}
