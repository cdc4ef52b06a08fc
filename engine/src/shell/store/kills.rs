//! Whether the kernel has ended the processes before this one for want of memory, and how often in a row. A
//! process leaves a note in the folder when it begins, and takes it away when it ends in good order. Where
//! the next one finds the note, the machine has not been started anew, and the kernel has ended some process
//! for want of memory since, it was this one.
//!
//! What always holds: a power cut, a crash or a `kill -9` is not taken for it. The note is written once for
//! each start.

use std::io;
use std::path::Path;

use super::files;

const NAME: &str = "begun";
/// A process that lived longer was ended by something that has happened to it since, and not by beginning.
const IN_A_ROW_S: u64 = 600;

/// When a process began, by the kernel's own figures. In the file, these four with blanks between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Begun {
    /// Of the machine: another at each start of it.
    machine: String,
    /// Seconds since then.
    up_s: u64,
    /// Processes that were ended for want of memory since then.
    kills: u64,
    /// Processes of ours before this one that were, in a row.
    ours: u32,
}

impl Begun {
    /// `None`: the kernel is too old to tell.
    fn now() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let kills = read("/proc/vmstat")?;
        let kills = kills.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        Some(Self {
            machine: read("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            up_s: read("/proc/uptime")?.split('.').next()?.parse().ok()?,
            kills: kills.trim().parse().ok()?,
            ours: 0,
        })
    }

    /// `None`: it is damaged.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(bytes).ok()?.split_whitespace();
        Some(Self {
            machine: fields.next()?.to_owned(),
            up_s: fields.next()?.parse().ok()?,
            kills: fields.next()?.parse().ok()?,
            ours: fields.next()?.parse().ok()?,
        })
    }

    fn text(&self) -> String {
        format!("{} {} {} {}\n", self.machine, self.up_s, self.kills, self.ours)
    }

    /// How many before this one were ended so, with the last of these that began as `before`.
    fn after(&self, before: &Self) -> u32 {
        if self.machine != before.machine || self.kills == before.kills {
            return 0;
        }
        match self.up_s.saturating_sub(before.up_s) < IN_A_ROW_S {
            true => before.ours.saturating_add(1),
            false => 1,
        }
    }
}

/// How many processes before this one were ended for want of memory, in a row; notes that this one has begun.
pub(super) fn note(folder: &Path) -> io::Result<u32> {
    Begun::now().map_or(Ok(0), |now| note_as(folder, now))
}

fn note_as(folder: &Path, mut begun: Begun) -> io::Result<u32> {
    let before = match std::fs::read(folder.join(NAME)) {
        Ok(bytes) => Begun::read(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    begun.ours = before.map_or(0, |before| begun.after(&before));
    files::write_durably(folder, NAME, begun.text().as_bytes())?;
    Ok(begun.ours)
}

/// This process ends in good order.
pub(super) fn forget(folder: &Path) {
    files::remove_quietly(&folder.join(NAME));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(machine: &str, up_s: u64, kills: u64, ours: u32) -> Begun {
        Begun {
            machine: machine.into(),
            up_s,
            kills,
            ours,
        }
    }

    #[test]
    fn only_what_the_kernel_ended_for_want_of_memory_counts() {
        let before = begun("m", 1_000, 3, 1);
        for (now, ours, why) in [
            (begun("m", 1_050, 4, 0), 2, "again, and soon"),
            (begun("m", 1_000 + IN_A_ROW_S, 4, 0), 1, "it had lived for long"),
            (begun("m", 1_050, 3, 0), 0, "kill -9, or a crash"),
            (begun("n", 20, 4, 0), 0, "the machine was started anew"),
            (begun("n", 20, 0, 0), 0, "a power cut"),
        ] {
            assert_eq!(now.after(&before), ours, "{why}");
        }
        assert_eq!(
            begun("m", 1_050, 4, 0).after(&begun("m", 1_000, 3, u32::MAX)),
            u32::MAX
        );
    }

    #[test]
    fn a_start_is_noted_until_its_process_ends_in_good_order() {
        let folder = tempfile::tempdir().unwrap();
        let start = |up_s, kills| note_as(folder.path(), begun("m", up_s, kills, 0)).unwrap();
        assert_eq!(start(10, 0), 0);
        assert_eq!(start(20, 0), 0);
        assert_eq!(start(30, 1), 1);
        assert_eq!(start(40, 2), 2);
        assert_eq!(start(50, 3), 3);
        assert_eq!(start(60, 3), 0, "it crashed");
        std::fs::write(folder.path().join(NAME), "damaged").unwrap();
        assert_eq!(start(70, 9), 0);
        forget(folder.path());
        assert_eq!(start(80, 10), 0, "another process was ended meanwhile");
    }

    #[test]
    fn the_kernel_tells() {
        let now = Begun::now().expect("this is Linux");
        assert!(!now.machine.is_empty() && now.up_s > 0);
        assert_eq!(note(tempfile::tempdir().unwrap().path()).unwrap(), 0);
    }
}
