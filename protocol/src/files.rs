//! Files of the whole fleet, below [`MOUNT`]: what engines ask for their programs, and people for themselves,
//! of the acting dispatcher's service.
//!
//! An open file is known by its node's number, which is never used again, so that renaming it changes nothing
//! for who has it open. Each change has a number of its program's, as with [`crate::values`]: asked again, it
//! is answered and not done again.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, PeerName, ProgramId};
use crate::values::{VALUE_BYTES_MAX, Value};

/// The service's name.
pub const SERVICE: &str = "files";
/// Where programs see them.
pub const MOUNT: &str = "/fleet";
/// Bytes of one name in a path, as on most systems.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a whole path below a mount.
pub const PATH_BYTES_MAX: usize = 1024;
/// Names in a path below a mount.
pub const DEPTH_MAX: usize = 32;
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes that one request reads or writes.
pub const DATA_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Versions of a file that are kept, with the present one.
pub const VERSIONS_MAX: usize = 16;

pub type NodeId = u64;

/// [`MOUNT`], or what is below it: without `.`, `..`, empty names or a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

/// A name that a file or folder can have.
pub fn is_name(name: &str) -> bool {
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    is_plain && name.len() <= NAME_BYTES_MAX
}

impl FilePath {
    /// From the names below the mount.
    pub fn of_names<T: AsRef<str>>(names: &[T]) -> Option<Self> {
        let text = names.iter().fold(MOUNT.to_owned(), |mut text, name| {
            text.push('/');
            text.push_str(name.as_ref());
            text
        });
        let is_good = names.len() <= DEPTH_MAX
            && text.len() - MOUNT.len() <= PATH_BYTES_MAX
            && names.iter().all(|name| is_name(name.as_ref()));
        is_good.then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names below the mount.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0[MOUNT.len()..].split('/').filter(|name| !name.is_empty())
    }

    /// Whether `other` is this or below it.
    pub fn covers(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl TryFrom<String> for FilePath {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const BAD: &str = "no path of the fleet's files: these begin with /fleet";
        let rest = text.strip_prefix(MOUNT).ok_or(BAD)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self(MOUNT.to_owned()));
        }
        let rest = rest.strip_prefix('/').ok_or(BAD)?;
        let names: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
        Self::of_names(&names).ok_or("a path with a name, depth or length that files cannot have")
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl std::fmt::Display for FilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// What a program may do below a path: `/fleet/data:ro` or `/fleet/data:rw`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileGrant {
    pub path: FilePath,
    pub access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
}

impl TryFrom<String> for FileGrant {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (path, access) = match text.rsplit_once(':') {
            Some((path, "ro")) => (path, Access::Read),
            Some((path, "rw")) => (path, Access::Write),
            _ => return Err("a grant of files is a path and ':ro' or ':rw', such as /fleet/data:ro"),
        };
        Ok(Self {
            path: FilePath::try_from(path.to_owned())?,
            access,
        })
    }
}

impl From<FileGrant> for String {
    fn from(grant: FileGrant) -> Self {
        let access = match grant.access {
            Access::Read => "ro",
            Access::Write => "rw",
        };
        format!("{}:{access}", grant.path)
    }
}

/// What is wanted of what is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Opening {
    pub create: bool,
    pub exclusive: bool,
    pub truncate: bool,
    /// It has to be a folder.
    pub folder: bool,
    pub write: bool,
}

/// One request, of a program or of a person as if of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRequest {
    pub program: ProgramId,
    /// The name that versions are noted under.
    pub by: PeerName,
    /// Those of a generation below the highest that was heard are refused.
    pub generation: Generation,
    /// Counts the program's changes, as [`crate::values::ValueRequest::number`] does.
    pub number: u64,
    pub what: FileAsk,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum FileAsk {
    Open {
        path: FilePath,
        opening: Opening,
    },
    Stat {
        path: FilePath,
    },
    StatNode {
        node: NodeId,
    },
    /// What is in a folder, in the order in which it came to be.
    List {
        path: FilePath,
        /// The last node of what was listed before.
        after: NodeId,
    },
    History {
        path: FilePath,
    },
    Read {
        node: NodeId,
        /// `None`: what it has now.
        version: Option<u64>,
        offset: u64,
        bytes: u32,
    },
    Write {
        node: NodeId,
        writer: u64,
        place: Place,
        data: Value,
    },
    /// Cuts it off, or fills it up with zeros.
    SetLength {
        node: NodeId,
        writer: u64,
        basis: u64,
        length: u64,
    },
    MakeFolder {
        path: FilePath,
    },
    RemoveFolder {
        path: FilePath,
    },
    Unlink {
        path: FilePath,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expects: Option<Expected>,
    },
    Rename {
        from: FilePath,
        to: FilePath,
    },
    /// Gives `to` what `from` has or had, as its next version.
    Copy {
        from: FilePath,
        version: Option<u64>,
        to: FilePath,
        /// Of `to`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expects: Option<Expected>,
    },
}

/// What a file must be to be changed: otherwise that is refused with [`FileRefusal::Changed`]. Dispatchers
/// of releases before do not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    Absent,
    Present,
    /// The same file, and nobody has written it since.
    Unchanged {
        node: NodeId,
        version: u64,
        modified_ms: u64,
    },
}

impl Expected {
    /// As it is now.
    pub fn unchanged(there: &FileStat) -> Self {
        Self::Unchanged {
            node: there.node,
            version: there.version,
            modified_ms: there.modified_ms,
        }
    }

    /// Whether what is there, if anything, is what is expected.
    pub fn is(self, there: Option<&FileStat>) -> bool {
        match self {
            Self::Absent => there.is_none(),
            Self::Present => there.is_some(),
            Self::Unchanged { .. } => there.is_some_and(|there| self == Self::unchanged(there)),
        }
    }
}

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// If nobody else has changed the file since the change `basis`; `None`: in any case.
    At { offset: u64, basis: Option<u64> },
    /// To the end, whatever others do. With the change that the writer knows of, for the answer's.
    End { basis: u64 },
}

impl FileAsk {
    /// Whether it takes a number: what could change something. Opening for writing does, so that a program
    /// which is set back finds the file again that it had opened.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Open { opening, .. } => opening.create || opening.truncate || opening.write,
            Self::Stat { .. }
            | Self::StatNode { .. }
            | Self::List { .. }
            | Self::History { .. }
            | Self::Read { .. } => false,
            Self::Write { .. }
            | Self::SetLength { .. }
            | Self::MakeFolder { .. }
            | Self::RemoveFolder { .. }
            | Self::Unlink { .. }
            | Self::Rename { .. }
            | Self::Copy { .. } => true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    File,
    Folder,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    pub node: NodeId,
    pub kind: FileKind,
    pub bytes: u64,
    /// Since 1970.
    pub modified_ms: u64,
    /// Of a file's content, from 1 on; 0: of a folder.
    pub version: u64,
    /// It has no name any more, and is kept for a while for those that have it open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// A file or folder in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    pub name: String,
    pub stat: FileStat,
}

/// A version in a file's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVersion {
    pub version: u64,
    pub bytes: u64,
    pub modified_ms: u64,
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum FileAnswer {
    /// `basis` counts the file's changes, and `writer` is what its writes are told by.
    Opened {
        stat: FileStat,
        basis: u64,
        writer: u64,
    },
    Stat {
        stat: FileStat,
    },
    /// The next of them, if any.
    Listed {
        files: Vec<ListedFile>,
    },
    /// The oldest first.
    History {
        versions: Vec<FileVersion>,
    },
    /// Less than was asked for only at the file's end.
    Data {
        data: Value,
    },
    /// Where what was written ends, and the change that the writer knows of now.
    Written {
        end: u64,
        basis: u64,
    },
    Done,
    Refused {
        why: FileRefusal,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileRefusal {
    Absent,
    Exists,
    NotFolder,
    IsFolder,
    NotEmpty,
    /// A folder below itself, or the root renamed or removed.
    Impossible,
    /// Somebody else has changed it since it was opened.
    Changed,
    /// It was open, and is no more.
    Gone,
    /// The version is not kept any more, or has never been.
    NoVersion,
    /// There is no room for another file, or a longer one.
    Full,
    TooLong,
    /// The program lives in a higher generation, or has asked so much since that it is not known whether this
    /// was done.
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAYLOAD_BYTES_MAX;
    use crate::wire;

    #[test]
    fn paths_are_below_the_mount_and_plain() {
        let long = format!("/fleet/{}", "x".repeat(NAME_BYTES_MAX + 1));
        let deep = format!("/fleet{}", "/x".repeat(DEPTH_MAX + 1));
        for (text, expected) in [
            ("/fleet", Some("/fleet")),
            ("/fleet/", Some("/fleet")),
            ("/fleet/a/b/", Some("/fleet/a/b")),
            ("/fleets", None),
            ("/tmp/a", None),
            ("a", None),
            ("", None),
            ("/fleet//a", None),
            ("/fleet/../a", None),
            ("/fleet/./a", None),
            ("/fleet/a\0", None),
            (&long, None),
            (&deep, None),
        ] {
            let found = FilePath::try_from(text.to_owned()).ok();
            assert_eq!(found.as_ref().map(FilePath::as_str), expected, "{text:.30}");
        }
        let names = FilePath::try_from("/fleet/a/b".to_owned()).unwrap();
        assert_eq!(names.names().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn grants_cover_whole_names() {
        for (grant, path, expected) in [
            ("/fleet/a:ro", "/fleet/a", true),
            ("/fleet/a:rw", "/fleet/a/b", true),
            ("/fleet/a:ro", "/fleet/ab", false),
            ("/fleet/a:ro", "/fleet", false),
            ("/fleet:ro", "/fleet/a", true),
        ] {
            let grant = FileGrant::try_from(grant.to_owned()).unwrap();
            let path = FilePath::try_from(path.to_owned()).unwrap();
            assert_eq!(grant.path.covers(&path), expected, "{grant:?} {path}");
        }
        for bad in ["/fleet/a", "/fleet/a:w", "/tmp:ro", ":rw", ""] {
            assert!(FileGrant::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_request_and_answer_fit_a_message() {
        let data = Value::new(vec![255; DATA_BYTES_MAX]).unwrap();
        let request = FileRequest {
            program: ProgramId::random(),
            by: "n".repeat(64).parse().unwrap(),
            generation: Generation(u64::MAX),
            number: u64::MAX,
            what: FileAsk::Write {
                node: u64::MAX,
                writer: u64::MAX,
                place: Place::At {
                    offset: u64::MAX,
                    basis: Some(u64::MAX),
                },
                data: data.clone(),
            },
        };
        // With room for what a request to a service is put in.
        assert!(wire::to_json(&request).len() + 1024 < PAYLOAD_BYTES_MAX);
        assert_eq!(wire::from_json(&wire::to_json(&request)), Ok(request));
        assert!(wire::to_json(&FileAnswer::Data { data }).len() + 1024 < PAYLOAD_BYTES_MAX);
        let names = vec!["\u{1}".repeat(25); DEPTH_MAX];
        let path = FilePath::of_names(&names).unwrap();
        let two = FileAsk::Rename {
            from: path.clone(),
            to: path,
        };
        assert!(wire::to_json(&two).len() + 1024 < PAYLOAD_BYTES_MAX);
    }
}
