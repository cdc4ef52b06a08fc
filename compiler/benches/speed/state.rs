//! A captured program as bytes, without compression or transport: what capturing and restoring cost by
//! themselves.

use wasmtime::Val;

use crate::machine::{Code, Machine, Process};

const PAGE_BYTES: usize = 4096;
const WASM_PAGE_BYTES: usize = 65536;
const ZEROS: &[u8; PAGE_BYTES] = &[0; PAGE_BYTES];

/// The memory of a fresh instance: what a snapshot need not hold.
pub(crate) struct Image(Vec<u8>);

pub(crate) struct State {
    pub(crate) frames: Vec<u8>,
    globals: Vec<Val>,
    memory_bytes: usize,
    /// Numbers of the pages that are neither zero nor as in the image, and their bytes.
    numbers: Vec<u32>,
    pages: Vec<u8>,
}

impl Image {
    pub(crate) fn of(mut fresh: Process) -> Self {
        Self(fresh.memory().data(&fresh.store).to_vec())
    }

    fn page(&self, number: usize) -> &[u8] {
        let start = number * PAGE_BYTES;
        self.0.get(start..start + PAGE_BYTES).unwrap_or(ZEROS)
    }
}

impl State {
    pub(crate) fn capture(process: &mut Process, image: &Image) -> Self {
        let globals = process.globals();
        let globals = globals
            .iter()
            .map(|global| global.get(&mut process.store))
            .collect();
        let memory = process.memory();
        let bytes = memory.data(&process.store);
        let (mut numbers, mut pages) = (Vec::new(), Vec::with_capacity(bytes.len()));
        for (number, page) in bytes.chunks_exact(PAGE_BYTES).enumerate() {
            if page != image.page(number) {
                numbers.push(number as u32);
                pages.extend_from_slice(page);
            }
        }
        Self {
            frames: process.frames().to_vec(),
            globals,
            memory_bytes: bytes.len(),
            numbers,
            pages,
        }
    }

    pub(crate) fn restore(&self, machine: &Machine, code: &Code) -> Process {
        let mut process = machine.start(code, 0);
        let memory = process.memory();
        let missing = self.memory_bytes - memory.data_size(&process.store);
        memory
            .grow(&mut process.store, (missing / WASM_PAGE_BYTES) as u64)
            .expect("it had as much before");
        let bytes = memory.data_mut(&mut process.store);
        for (number, page) in self.numbers.iter().zip(self.pages.chunks_exact(PAGE_BYTES)) {
            bytes[*number as usize * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(page);
        }
        for (global, value) in process.globals().iter().zip(&self.globals) {
            global
                .set(&mut process.store, *value)
                .expect("it is the same global");
        }
        process.set_frames(&self.frames);
        process.resumer();
        process
    }

    pub(crate) fn bytes(&self) -> usize {
        let page_numbers = 4 * self.numbers.len();
        self.frames.len() + 8 * self.globals.len() + page_numbers + self.pages.len()
    }
}
