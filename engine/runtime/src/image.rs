//! A module's memories as they are before the program runs, and what a running program changed in them.

use std::collections::BTreeMap;

use wayfare_protocol::snapshot::{MemoryImage, PAGE_BYTES};

type Page = [u8; PAGE_BYTES];
static ZEROS: Page = [0; PAGE_BYTES];

/// Each memory's pages that are not all zeros.
#[derive(Default)]
pub(super) struct Image {
    memories: Vec<BTreeMap<u64, Box<Page>>>,
}

impl Image {
    pub(super) fn add(&mut self, memory: &[u8]) {
        let pages = pages(memory).filter(|(_, page)| **page != ZEROS);
        self.memories
            .push(pages.map(|(number, page)| (number, Box::new(*page))).collect());
    }

    pub(super) fn page(&self, memory: usize, number: u64) -> &Page {
        self.memories
            .get(memory)
            .and_then(|pages| pages.get(&number))
            .map_or(&ZEROS, |page| page)
    }

    /// Compares; only what differs is copied.
    pub(super) fn changes(&self, memory: usize, bytes: &[u8]) -> MemoryImage {
        let mut initial = self.memories.get(memory).into_iter().flatten().peekable();
        let changed = pages(bytes).filter(|(number, page)| {
            let before = initial.next_if(|(initial, _)| *initial == number);
            *page != before.map_or(&ZEROS, |(_, page)| page)
        });
        MemoryImage {
            bytes: bytes.len() as u64,
            pages: changed.map(|(number, page)| (number, Box::new(*page))).collect(),
        }
    }
}

/// Linear memory comes in units of 64 KiB, so there is no remainder.
fn pages(memory: &[u8]) -> impl Iterator<Item = (u64, &Page)> {
    (0..).zip(memory.as_chunks::<PAGE_BYTES>().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_differ_from_the_initial_image_are_copied() {
        let mut memory = vec![0; 8 * PAGE_BYTES];
        memory[PAGE_BYTES + 5] = 1;
        memory[6 * PAGE_BYTES] = 2;
        let mut image = Image::default();
        image.add(&[0; PAGE_BYTES]);
        image.add(&memory);
        assert!(image.changes(1, &memory).pages.is_empty());
        memory[PAGE_BYTES + 5] = 0; // back to zero, which it was not
        memory[3 * PAGE_BYTES + 9] = 3;
        memory.resize(10 * PAGE_BYTES, 0);
        memory[9 * PAGE_BYTES] = 4;
        let changes = image.changes(1, &memory);
        assert_eq!(changes.pages.keys().copied().collect::<Vec<_>>(), [1, 3, 9]);
        assert_eq!(changes.bytes, 10 * PAGE_BYTES as u64);
        assert_eq!(*changes.pages[&1], ZEROS);
        assert_eq!(image.page(1, 6)[0], 2);
        assert_eq!(image.page(0, 7), &ZEROS);
    }
}
