//! How much memory the machine has for this engine: what is built in, or what its control groups allow, if
//! that is less.

use std::path::{Path, PathBuf};

/// For the engine itself, with the compiler, and for the system.
const RESERVE_BYTES: u64 = 96 << 20;
/// Where a machine is too small for any sum, or does not tell, one program shall have a chance.
const BUDGET_BYTES_MIN: u64 = 16 << 20;

/// Memory that all programs together may have. A quarter is left beside them, because a program that is
/// captured is there twice for a moment.
pub(super) fn budget(asked: Option<u64>) -> u64 {
    asked.unwrap_or_else(|| bytes().map_or(u64::MAX, budget_of))
}

fn budget_of(bytes: u64) -> u64 {
    (bytes.saturating_sub(RESERVE_BYTES) / 4 * 3).max(BUDGET_BYTES_MIN)
}

/// `None` where the system does not tell.
pub(super) fn bytes() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups)
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    line("MemTotal:").into_iter().chain(limits).min()
}

/// One figure of the kernel's list, in bytes.
pub(super) fn line(what: &str) -> Option<u64> {
    bytes_in(&std::fs::read_to_string("/proc/meminfo").ok()?, what)
}

/// One figure of such a list of the kernel's, in bytes.
pub(super) fn bytes_in(text: &str, what: &str) -> Option<u64> {
    let kib = text.lines().find_map(|line| line.strip_prefix(what))?;
    kib.trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()
        .map(|kib: u64| kib * 1024)
}

/// Where limits may stand: of our own groups, and of all above them. A file with "max" in it, or that is not
/// there, sets none.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for group in groups.lines() {
        let mut fields = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        // In a container the path may be the host's, while the files are at the root.
        files.extend(
            path.ancestors()
                .map(|group| Path::new(root).join(group).join(name)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_its_memory() {
        let bytes = bytes().expect("this is Linux");
        assert!(bytes > 0 && Some(bytes) <= line("MemTotal:"));
    }

    #[test]
    fn limits_are_looked_for_in_all_groups_above() {
        let files = limit_files("0::/system.slice/wayfare.service\n");
        let expected = [
            "/sys/fs/cgroup/system.slice/wayfare.service/memory.max",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = limit_files("4:cpu,cpuacct:/a\n7:memory:/b\nnonsense\n");
        let expected = [
            "/sys/fs/cgroup/memory/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn programs_get_what_the_system_does_not_need() {
        for (mib, expected) in [(64, 16), (128, 24), (256, 120), (512, 312), (16_384, 12_216)] {
            assert_eq!(budget_of(mib << 20), expected << 20, "{mib}");
        }
        assert_eq!(budget(Some(7)), 7);
    }
}
