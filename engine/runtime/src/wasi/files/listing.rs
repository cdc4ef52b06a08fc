//! What is in an open folder, as preview 1 lists it.

use wayfare_abi::errno::Errno;

use super::descriptors::filetype;
use crate::files::Mount;
use crate::wasi::guest::{Flow, Guest};

const DIRENT_BYTES: usize = 24;
/// Places in a listing behind `.` and `..`. Behind another entry it is the number of its node, which is
/// higher than that of the root.
const BEHIND_DOT: u64 = u64::MAX;
const BEHIND_DOT_DOT: u64 = 1;

/// Fills the program's buffer with entries, first `.` and `..`; the last may be cut off, and comes again. The
/// cookie is the place behind the last entry.
pub(in crate::wasi) fn list(
    guest: &mut Guest,
    fd: i32,
    (buffer, room): (i32, i32),
    cookie: i64,
    out: i32,
) -> Result<Flow, Errno> {
    let room = room.cast_unsigned() as usize;
    guest.bytes(buffer, room as u64)?;
    guest.bytes(out, 4)?;
    let (mount, path) = guest.context.files.folder(fd)?;
    let (mount, path) = (mount, path.to_vec());
    let mut after = cookie.cast_unsigned();
    let mut entries = Vec::new();
    if after == 0 {
        let Some(stat) = super::paths::stat(guest, mount, &path)? else {
            return Ok(Flow::Interrupted);
        };
        after = BEHIND_DOT;
        entries.extend(entry(after, stat.node, true, "."));
    }
    if after == BEHIND_DOT {
        after = BEHIND_DOT_DOT;
        entries.extend(entry(after, parent(guest, mount, &path), true, ".."));
    }
    while entries.len() < room {
        let Some(page) = super::paths::list(guest, mount, &path, after)? else {
            return Ok(Flow::Interrupted);
        };
        let Some(last) = page.last() else { break };
        after = last.0.node;
        for (stat, name) in &page {
            entries.extend(entry(stat.node, stat.node, stat.is_folder, name));
        }
    }
    entries.truncate(room);
    guest.write(buffer, &entries)?;
    guest.write_u32(out, entries.len() as u32)?;
    Ok(Flow::Done)
}

fn entry(behind: u64, node: u64, is_folder: bool, name: &str) -> Vec<u8> {
    let mut entry = vec![0; DIRENT_BYTES];
    entry[..8].copy_from_slice(&behind.to_le_bytes());
    entry[8..16].copy_from_slice(&node.to_le_bytes());
    entry[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
    entry[20] = filetype(is_folder);
    entry.extend_from_slice(name.as_bytes());
    entry
}

/// The number of the folder above; 0, as in preview 1 for one that is not known, where the program might not
/// even look at it.
fn parent(guest: &Guest, mount: Mount, path: &[String]) -> u64 {
    let above = &path[..path.len().saturating_sub(1)];
    match mount {
        Mount::Scratch => guest.context.files.scratch.find(above).unwrap_or(0),
        Mount::Fleet | Mount::Wayfare | Mount::Folder(_) => 0,
    }
}
