//! `/fleet`: what is asked of the dispatcher for the calls on it. Each may wait, and `None` is always: to be
//! issued again after a capture. Paths are granted here; whatever is open was.

use wayfare_abi::errno::Errno;
use wayfare_protocol::files::{
    Access, FileAnswer, FileAsk, FileKind, FilePath, FileRefusal, FileStat, Opening, Place,
};
use wayfare_protocol::ids::PeerName;
use wayfare_protocol::values::Value;

use super::paths::Change;
use crate::asking;
use crate::context::Context;
use crate::files::FleetFile;
use crate::files::scratch::Stat;
use crate::service_requests::{Reply, ServiceAsk};
use crate::wasi::guest::{Flow, Guest};

type Answered<T> = Result<Option<T>, Errno>;

/// What an `open` found.
pub(super) enum Opened {
    /// With the number of its node.
    Folder(u64),
    File(FleetFile),
}

pub(super) fn open(guest: &mut Guest, path: &[String], opening: Opening) -> Answered<Opened> {
    let changes = opening.create || opening.truncate || opening.write;
    let access = if changes { Access::Write } else { Access::Read };
    let path = granted(guest.context, path, access)?;
    let answer = ask(guest, FileAsk::Open { path, opening })?;
    answered(answer, |answer| match answer {
        FileAnswer::Opened { stat, basis, writer } => Some(match stat.kind {
            FileKind::Folder => Opened::Folder(stat.node),
            FileKind::File => Opened::File(FleetFile {
                node: stat.node,
                basis,
                writer,
            }),
        }),
        _ => None,
    })
}

pub(super) fn stat(guest: &mut Guest, path: &[String]) -> Answered<Stat> {
    let path = granted(guest.context, path, Access::Read)?;
    stat_as(guest, FileAsk::Stat { path })
}

pub(super) fn stat_open(guest: &mut Guest, file: FleetFile) -> Answered<Stat> {
    stat_as(guest, FileAsk::StatNode { node: file.node })
}

fn stat_as(guest: &mut Guest, ask_for: FileAsk) -> Answered<Stat> {
    answered(ask(guest, ask_for)?, |answer| match answer {
        FileAnswer::Stat { stat } => Some(stat_of(&stat)),
        _ => None,
    })
}

pub(super) fn list(guest: &mut Guest, path: &[String], after: u64) -> Answered<Vec<(Stat, String)>> {
    let path = granted(guest.context, path, Access::Read)?;
    answered(
        ask(guest, FileAsk::List { path, after })?,
        |answer| match answer {
            FileAnswer::Listed { files } => Some(
                files
                    .into_iter()
                    .map(|file| (stat_of(&file.stat), file.name))
                    .collect(),
            ),
            _ => None,
        },
    )
}

pub(super) fn change(guest: &mut Guest, change: Change, path: &[String]) -> Result<Flow, Errno> {
    let path = granted(guest.context, path, Access::Write)?;
    let what = match change {
        Change::MakeFolder => FileAsk::MakeFolder { path },
        Change::RemoveFolder => FileAsk::RemoveFolder { path },
        Change::Unlink => FileAsk::Unlink { path, expects: None },
    };
    done(guest, what)
}

pub(super) fn rename(guest: &mut Guest, from: &[String], to: &[String]) -> Result<Flow, Errno> {
    let from = granted(guest.context, from, Access::Write)?;
    let to = granted(guest.context, to, Access::Write)?;
    done(guest, FileAsk::Rename { from, to })
}

pub(super) fn read(guest: &mut Guest, file: FleetFile, offset: u64, count: usize) -> Answered<Vec<u8>> {
    let read = FileAsk::Read {
        node: file.node,
        version: None,
        offset,
        bytes: u32::try_from(count).unwrap_or(u32::MAX),
    };
    answered(ask(guest, read)?, |answer| match answer {
        FileAnswer::Data { data } if data.as_bytes().len() <= count => Some(data.as_bytes().to_vec()),
        _ => None,
    })
}

/// At an offset, or to the end. Where it ended, and the file as the descriptor knows it now.
pub(super) fn write(
    guest: &mut Guest,
    file: FleetFile,
    offset: Option<u64>,
    bytes: Vec<u8>,
) -> Answered<(u64, FleetFile)> {
    let basis = file.basis;
    let write = FileAsk::Write {
        node: file.node,
        writer: file.writer,
        place: match offset {
            Some(offset) => Place::At {
                offset,
                basis: Some(basis),
            },
            None => Place::End { basis },
        },
        data: Value::new(bytes).ok_or(Errno::INVAL)?,
    };
    written(guest, file, write)
}

pub(super) fn set_length(guest: &mut Guest, file: FleetFile, length: u64) -> Answered<(u64, FleetFile)> {
    let what = FileAsk::SetLength {
        node: file.node,
        writer: file.writer,
        basis: file.basis,
        length,
    };
    written(guest, file, what)
}

fn written(guest: &mut Guest, file: FleetFile, what: FileAsk) -> Answered<(u64, FleetFile)> {
    answered(ask(guest, what)?, |answer| match answer {
        FileAnswer::Written { end, basis } => Some((end, FleetFile { basis, ..file })),
        _ => None,
    })
}

fn done(guest: &mut Guest, what: FileAsk) -> Result<Flow, Errno> {
    let done = answered(ask(guest, what)?, |answer| match answer {
        FileAnswer::Done => Some(()),
        _ => None,
    })?;
    Ok(done.map_or(Flow::Interrupted, |()| Flow::Done))
}

/// The path as the fleet knows it, if the program may use it so.
fn granted(context: &mut Context, path: &[String], access: Access) -> Result<FilePath, Errno> {
    let path = FilePath::of_names(path).ok_or(Errno::NAMETOOLONG)?;
    if context.grants.may_access(&path, access) {
        return Ok(path);
    }
    let shown: String = path.as_str().chars().take(200).collect();
    let (verb, access) = match access {
        Access::Read => ("read", "ro"),
        Access::Write => ("write", "rw"),
    };
    let line = format!(
        "wayfare: not granted: {verb} '{shown}'; --allow-fs {shown}:{access} at 'wayfare run' grants it"
    );
    context.control.tell(&line);
    context.say_lines();
    Err(Errno::NOTCAPABLE)
}

fn ask(guest: &mut Guest, ask: FileAsk) -> Answered<FileAnswer> {
    let name = guest.context.arguments.first().map_or("", String::as_str);
    let unnamed = || "program".parse::<PeerName>().expect("letters make a name");
    let by = name.parse().unwrap_or_else(|_| unnamed());
    match asking::ask(guest.context, &ServiceAsk::File { by, ask })? {
        Some(Reply::File(answer)) => Ok(Some(answer)),
        Some(Reply::Value(_) | Reply::Loads(_)) => Err(Errno::IO),
        None => Ok(None),
    }
}

/// What `wanted` takes out of the answer. Answers to something else do not come.
fn answered<T>(answer: Option<FileAnswer>, wanted: impl FnOnce(FileAnswer) -> Option<T>) -> Answered<T> {
    match answer {
        None => Ok(None),
        Some(FileAnswer::Refused { why }) => Err(errno(why)),
        Some(answer) => wanted(answer).map(Some).ok_or(Errno::IO),
    }
}

fn errno(why: FileRefusal) -> Errno {
    match why {
        FileRefusal::Absent | FileRefusal::NoVersion => Errno::NOENT,
        FileRefusal::Exists => Errno::EXIST,
        FileRefusal::NotFolder => Errno::NOTDIR,
        FileRefusal::IsFolder => Errno::ISDIR,
        FileRefusal::NotEmpty => Errno::NOTEMPTY,
        FileRefusal::Impossible => Errno::INVAL,
        FileRefusal::Changed => Errno::BUSY,
        FileRefusal::Gone => Errno::STALE,
        FileRefusal::Full => Errno::NOSPC,
        FileRefusal::TooLong => Errno::FBIG,
        // A program whose copy lives on elsewhere has nothing more to say.
        FileRefusal::Stale => Errno::IO,
    }
}

fn stat_of(stat: &FileStat) -> Stat {
    let modified_ns = stat.modified_ms.saturating_mul(1_000_000);
    Stat {
        node: stat.node,
        is_folder: stat.kind == FileKind::Folder,
        is_named: !stat.removed,
        bytes: stat.bytes,
        modified_ns,
        accessed_ns: modified_ns,
    }
}
