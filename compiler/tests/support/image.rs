//! What a rewritten instance is: taken from one, put into another of the same module.
#![allow(clippy::unwrap_used)]

use wasmtime::{Extern, Func, Global, Instance, Memory, Ref, Store, Table, Val};
use wayfare_abi::rewritten as abi;

use super::World;

/// Equal if the two instances behave alike from here on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub frames: Vec<u8>,
    /// Their bits; references as in `tables`.
    pub globals: Vec<u128>,
    pub memories: Vec<Vec<u8>>,
    /// Each reference by its place among all functions, counted from 1; 0 is null. Last, those that frames
    /// hold.
    pub tables: Vec<Vec<u64>>,
}

impl Image {
    pub fn take(instance: &Instance, store: &mut Store<World>) -> Self {
        let parts = Parts::of(instance, store);
        let bytes = parts.save.data(&*store);
        let top = word(bytes, abi::TOP_OFFSET) as usize;
        let held = word(bytes, abi::REFERENCES_OFFSET);
        let frames = bytes[abi::FRAMES_OFFSET as usize..][..top].to_vec();
        let globals = parts.globals.iter().map(|global| match global.get(&mut *store) {
            Val::I32(v) => v as u32 as u128,
            Val::I64(v) => v as u64 as u128,
            Val::F32(v) => v as u128,
            Val::F64(v) => v as u128,
            Val::V128(v) => v.as_u128(),
            Val::FuncRef(func) => parts.place(func, store) as u128,
            other => panic!("{other:?}"),
        });
        let globals = globals.collect();
        let memories = parts.memories.iter();
        let memories = memories.map(|memory| memory.data(&*store).to_vec()).collect();
        let mut tables = Vec::new();
        for (index, table) in parts.tables.iter().enumerate() {
            let last = index + 1 == parts.tables.len();
            let size = if last {
                u64::from(held)
            } else {
                table.size(&*store)
            };
            let entries = (0..size).map(|entry| {
                let func = func(table.get(&mut *store, entry));
                parts.place(func, store)
            });
            tables.push(entries.collect());
        }
        Self {
            frames,
            globals,
            memories,
            tables,
        }
    }

    pub fn restore(&self, instance: &Instance, store: &mut Store<World>) {
        let parts = Parts::of(instance, store);
        for (memory, content) in parts.memories.iter().zip(&self.memories) {
            let page = memory.page_size(&*store);
            let missing = (content.len() - memory.data_size(&*store)) as u64 / page;
            memory.grow(&mut *store, missing).unwrap();
            memory.data_mut(&mut *store).copy_from_slice(content);
        }
        for (global, &bits) in parts.globals.iter().zip(&self.globals) {
            let value = match global.ty(&*store).content() {
                wasmtime::ValType::I32 => Val::I32(bits as i32),
                wasmtime::ValType::I64 => Val::I64(bits as i64),
                wasmtime::ValType::F32 => Val::F32(bits as u32),
                wasmtime::ValType::F64 => Val::F64(bits as u64),
                wasmtime::ValType::V128 => Val::V128(bits.into()),
                wasmtime::ValType::Ref(_) => Val::FuncRef(parts.at(bits as u64)),
            };
            global.set(&mut *store, value).unwrap();
        }
        let mut held = 0;
        for (table, entries) in parts.tables.iter().zip(&self.tables) {
            held = entries.len() as u32;
            let missing = (entries.len() as u64).saturating_sub(table.size(&*store));
            table.grow(&mut *store, missing, Ref::Func(None)).unwrap();
            for (index, &place) in entries.iter().enumerate() {
                let func = Ref::Func(parts.at(place));
                table.set(&mut *store, index as u64, func).unwrap();
            }
        }
        let top = (self.frames.len() as u32).to_le_bytes();
        let bytes = parts.save.data_mut(&mut *store);
        bytes[abi::TOP_OFFSET as usize..][..4].copy_from_slice(&top);
        bytes[abi::REFERENCES_OFFSET as usize..][..4].copy_from_slice(&held.to_le_bytes());
        bytes[abi::FRAMES_OFFSET as usize..][..self.frames.len()].copy_from_slice(&self.frames);
    }
}

/// Where an instance keeps what an image holds.
struct Parts {
    save: Memory,
    globals: Vec<Global>,
    memories: Vec<Memory>,
    /// Changed by the program; last, the references that frames hold.
    tables: Vec<Table>,
    functions: Vec<Option<Func>>,
}

impl Parts {
    fn of(instance: &Instance, store: &mut Store<World>) -> Self {
        let mut tables = exported(instance, store, abi::TABLE_PREFIX, Extern::into_table);
        tables.extend(instance.get_table(&mut *store, abi::REFERENCES));
        let functions = match instance.get_table(&mut *store, abi::FUNCTIONS) {
            Some(table) => (0..table.size(&*store))
                .map(|index| func(table.get(&mut *store, index)))
                .collect(),
            None => Vec::new(),
        };
        Self {
            save: instance.get_memory(&mut *store, abi::SAVE_MEMORY).unwrap(),
            globals: exported(instance, store, abi::GLOBAL_PREFIX, Extern::into_global),
            memories: exported(instance, store, abi::MEMORY_PREFIX, Extern::into_memory),
            tables,
            functions,
        }
    }

    /// Two references to one function are the same pointer.
    fn place(&self, func: Option<Func>, store: &mut Store<World>) -> u64 {
        let Some(func) = func else { return 0 };
        let raw = func.to_raw(&mut *store);
        let mut known = self.functions.iter();
        let found = known.position(|known| known.is_some_and(|known| known.to_raw(&mut *store) == raw));
        found.expect("every function that can be referred to is listed") as u64 + 1
    }

    fn at(&self, place: u64) -> Option<Func> {
        let index = place.checked_sub(1)?;
        self.functions[index as usize]
    }
}

fn exported<T>(
    instance: &Instance,
    store: &mut Store<World>,
    prefix: &str,
    take: impl Fn(Extern) -> Option<T>,
) -> Vec<T> {
    (0..)
        .map_while(|number| instance.get_export(&mut *store, &format!("{prefix}{number}")))
        .map(|export| take(export).unwrap())
        .collect()
}

fn func(value: Option<Ref>) -> Option<Func> {
    match value {
        Some(Ref::Func(func)) => func,
        _ => None,
    }
}

fn word(bytes: &[u8], offset: u64) -> u32 {
    u32::from_le_bytes(bytes[offset as usize..][..4].try_into().unwrap())
}
