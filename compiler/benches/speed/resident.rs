//! How much of a range of addresses is in physical memory, as Linux tells.

use std::ops::Range;

/// Bytes, counted in the kernel's pages; `None` where the kernel does not say.
pub(crate) fn resident_bytes(range: Range<usize>) -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut kilobytes = 0;
    let mut inside = false;
    for line in maps.lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            if inside {
                kilobytes += rest.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?;
            }
        } else if let Some(mapping) = line.split(' ').next().and_then(addresses) {
            inside = mapping.start >= range.start && mapping.end <= range.end;
        }
    }
    Some(kilobytes * 1024)
}

fn addresses(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}
