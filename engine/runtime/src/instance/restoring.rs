//! A snapshot's memories, globals and frames, written into an instance.

use std::ops::Range;

use wasmtime::Val;
use wayfare_abi::rewritten as abi;
use wayfare_protocol::error::Failure;
use wayfare_protocol::snapshot::{GlobalValue, MemoryImage, PAGE_BYTES, Snapshot};

use super::Instance;
use crate::raw;

impl Instance {
    pub(super) fn write_frames(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let save = self.save.data_mut(&mut self.store);
        let frames = &snapshot.frames;
        let save_room = save[abi::FRAMES_OFFSET as usize..].get_mut(..frames.len());
        let Some(room) = save_room.filter(|room| room.len() as u64 <= abi::FRAMES_MAX) else {
            return Err(format!("its frames have {} bytes, more than fit", frames.len()));
        };
        room.copy_from_slice(frames);
        for (at, count) in [
            (abi::TOP_OFFSET, frames.len()),
            (abi::REFERENCES_OFFSET, snapshot.references.len()),
        ] {
            save[at as usize..][..4].copy_from_slice(&(count as u32).to_le_bytes());
        }
        Ok(())
    }

    pub(super) fn write_globals(&mut self, values: &[GlobalValue]) -> Result<(), String> {
        if values.len() != self.globals.len() {
            return Err(format!(
                "it has {} globals, the module {}",
                values.len(),
                self.globals.len()
            ));
        }
        for (global, value) in self.globals.iter().zip(values) {
            let value = match *value {
                GlobalValue::I32(bits) => Val::I32(bits.cast_signed()),
                GlobalValue::I64(bits) => Val::I64(bits.cast_signed()),
                GlobalValue::F32(bits) => Val::F32(bits),
                GlobalValue::F64(bits) => Val::F64(bits),
                GlobalValue::V128(bits) => Val::V128(bits.into()),
                GlobalValue::Function(place) => {
                    Val::FuncRef(self.references.function(&mut self.store, place)?)
                }
            };
            global
                .set(&mut self.store, value)
                .map_err(|error| format!("{error:#}"))?;
        }
        Ok(())
    }

    pub(super) fn write_memories(&mut self, images: &[MemoryImage]) -> Result<(), Failure> {
        let refuse = |reason: String| Failure::Snapshot { reason };
        if images.len() != self.memories.len() {
            let reason = format!(
                "it has {} memories, the module {}",
                images.len(),
                self.memories.len()
            );
            return Err(refuse(reason));
        }
        for (memory, image) in self.memories.iter().zip(images) {
            let unit = memory.page_size(&self.store);
            let more = image.bytes.checked_sub(memory.data_size(&self.store) as u64);
            let Some(more) = more.filter(|more| more % unit == 0) else {
                return Err(refuse(format!(
                    "a memory of {} bytes cannot be of this module",
                    image.bytes
                )));
            };
            if more > 0 && memory.grow(&mut self.store, more / unit).is_err() {
                return Err(Failure::TooLarge {
                    what: "the program's memory".into(),
                    bytes: image.bytes,
                    bytes_max: self.store.data().limits.memory_bytes_max,
                });
            }
            for run in runs(image) {
                if let Some(memory) = memory.data_mut(&mut self.store).get_mut(run) {
                    raw::will_be_overwritten(memory);
                }
            }
            for (number, page) in &image.pages {
                let at = usize::try_from(*number)
                    .ok()
                    .and_then(|number| number.checked_mul(PAGE_BYTES));
                at.and_then(|at| memory.write(&mut self.store, at, &page[..]).ok())
                    .ok_or_else(|| refuse(format!("page {number} is outside its memory")))?;
            }
        }
        Ok(())
    }
}

/// Where pages follow each other without a gap, in bytes.
fn runs(image: &MemoryImage) -> impl Iterator<Item = Range<usize>> {
    let mut pages = image.pages.keys().map(|&number| number as usize).peekable();
    std::iter::from_fn(move || {
        let first = pages.next()?;
        let mut end = first.saturating_add(1);
        while pages.next_if_eq(&end).is_some() {
            end = end.saturating_add(1);
        }
        Some(first.saturating_mul(PAGE_BYTES)..end.saturating_mul(PAGE_BYTES))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_a_page_is_missing() {
        let image = |pages: &[u64]| MemoryImage {
            bytes: 0,
            pages: pages
                .iter()
                .map(|&number| (number, Box::new([0; PAGE_BYTES])))
                .collect(),
        };
        let runs = |pages: &[u64]| runs(&image(pages)).collect::<Vec<_>>();
        assert!(runs(&[]).is_empty());
        assert_eq!(
            runs(&[0, 1, 2, 5]),
            [0..3 * PAGE_BYTES, 5 * PAGE_BYTES..6 * PAGE_BYTES]
        );
        assert_eq!(runs(&[3, u64::MAX])[1], usize::MAX..usize::MAX);
    }
}
