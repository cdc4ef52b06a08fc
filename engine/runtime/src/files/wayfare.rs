//! What there is below `/wayfare`, and what an open file of it is. A pure core: what is in the files comes
//! from elsewhere.
//!
//! ```text
//!   in  out           lines (channel)
//!   me                what the program is
//!   state/KEY         a value of its own;  shared/KEY  one of the fleet's, whose key is /KEY
//!   device/ALIAS      a device that it was granted
//! ```
//! A plain file's content is taken anew whenever it is read from its beginning, and is kept with the
//! descriptor for whoever reads on: so what is read in pieces fits together, wherever the program is moved
//! meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wayfare_abi::errno::Errno;
use wayfare_protocol::device::Alias;
use wayfare_protocol::ids::Digest;
use wayfare_protocol::values::is_key;

use super::scratch::Stat;

/// Descriptors of plain files, because each has a content.
pub(crate) const CONTENTS_MAX: usize = 32;
/// The longest is what the program is, with all of its grants.
const CONTENT_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WayfareFile {
    In,
    Out,
    Plain {
        of: Plain,
        content: Content,
        /// It was not read since it was taken.
        is_fresh: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Plain {
    Me,
    /// By the key as the program means it.
    Value(String),
    Device(Alias),
}

/// In base64 in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Content(pub(crate) Vec<u8>);

/// What a path below the mount leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    /// `state` or `shared`, or a part of a key that may go on.
    Values,
    Devices,
    In,
    Out,
    Plain(Plain),
}

/// What is in the mount's root, with the numbers of the nodes.
pub(crate) const ROOT: [(u64, &str); 6] = [
    (2, "in"),
    (3, "out"),
    (4, "me"),
    (5, "state"),
    (6, "shared"),
    (7, "device"),
];
const ROOT_NODE: u64 = 1;
/// Those of devices follow, in the order of their aliases.
pub(crate) const DEVICE_NODES: u64 = 100;

impl Place {
    pub(crate) fn of(path: &[String]) -> Result<Self, Errno> {
        let (first, rest) = match path {
            [] => return Ok(Self::Root),
            [first, rest @ ..] => (first.as_str(), rest),
        };
        match (first, rest) {
            ("in", []) => Ok(Self::In),
            ("out", []) => Ok(Self::Out),
            ("me", []) => Ok(Self::Plain(Plain::Me)),
            ("state" | "shared", []) => Ok(Self::Values),
            ("device", []) => Ok(Self::Devices),
            ("in" | "out" | "me", _) => Err(Errno::NOTDIR),
            ("state", rest) => value(rest.join("/")),
            ("shared", rest) => value(format!("/{}", rest.join("/"))),
            ("device", [alias]) => {
                let alias = alias.parse().map_err(|_| Errno::NOENT)?;
                Ok(Self::Plain(Plain::Device(alias)))
            }
            _ => Err(Errno::NOENT),
        }
    }

    /// `None`: it is no folder.
    pub(crate) fn folder_node(&self) -> Option<u64> {
        match self {
            Self::Root => Some(ROOT_NODE),
            Self::Values => Some(5),
            Self::Devices => Some(7),
            Self::In | Self::Out | Self::Plain(_) => None,
        }
    }
}

fn value(key: String) -> Result<Place, Errno> {
    match is_key(&key) {
        true => Ok(Place::Plain(Plain::Value(key))),
        false => Err(Errno::NAMETOOLONG),
    }
}

impl WayfareFile {
    /// Of lines, without an offset or a length.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::In | Self::Out)
    }

    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::In | Self::Out => true,
            Self::Plain { of, content, .. } => {
                let is_named = match of {
                    Plain::Value(key) => is_key(key),
                    Plain::Me | Plain::Device(_) => true,
                };
                is_named && content.0.len() <= CONTENT_BYTES_MAX
            }
        }
    }

    pub(crate) fn stat(&self) -> Stat {
        match self {
            Self::In => stat(2, false, 0),
            Self::Out => stat(3, false, 0),
            Self::Plain { of, content, .. } => stat(of.node(), false, content.0.len() as u64),
        }
    }
}

impl Plain {
    pub(crate) fn node(&self) -> u64 {
        let name = match self {
            Self::Me => return 4,
            Self::Value(key) => format!("value {key}"),
            Self::Device(alias) => format!("device {alias}"),
        };
        let digest = Digest::of(name.as_bytes()).0;
        u64::from_le_bytes(*digest.first_chunk().expect("a digest is longer"))
    }
}

/// No times are known of what is in here.
pub(crate) fn stat(node: u64, is_folder: bool, bytes: u64) -> Stat {
    Stat {
        node,
        is_folder,
        is_named: true,
        bytes,
        modified_ns: 0,
        accessed_ns: 0,
    }
}

impl TryFrom<String> for Content {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).map_err(|_| "a content is not in base64")?;
        Ok(Self(bytes))
    }
}

impl From<Content> for String {
    fn from(content: Content) -> Self {
        STANDARD.encode(content.0)
    }
}
