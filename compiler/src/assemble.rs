//! The rewritten module: every section as it was, with what is new behind it.

use std::collections::BTreeMap;

use wasm_encoder::{Encode, Instruction};
use wasmparser::ValType;
use wayfare_abi::rewritten as abi;

use crate::body::{Function, Node, Segment, Seq, SiteKind};
use crate::calls::{Calls, References};
use crate::code::{Added, Emitter, Types, val_type};
use crate::error::CompileError;
use crate::frames::{Budget, Frames};
use crate::module::Module;
use crate::saving::{Saver, Stores};
use crate::sections::{CODE, Code, ELEMENT, EXPORT, FUNCTION, GLOBAL, MEMORY, Sections, TABLE, TYPE};
use crate::{Entry, Report, Rewritten, exceptions, liveness, polls, unrolling};

pub(crate) fn assemble(module: &Module, calls: &Calls, entry: Entry) -> Result<Rewritten, CompileError> {
    let mut functions = Vec::new();
    let mut budget = Budget::new();
    for body in 0..module.bodies.len() {
        let index = module.imported_functions() as usize + body;
        if calls.unwinds[index] || calls.drops.contains(&(index as u32)) {
            let mut function = Function::parse(module, calls, body)?;
            polls::thin_out(&mut function);
            unrolling::plan(&mut function);
            liveness::analyse(&mut function);
            budget.spend(module, &function, module.bodies[body].body.as_bytes().len())?;
            if exceptions::held_by(&function) {
                exceptions::check_tags(module, &function)?;
            }
            functions.push(Some(function));
        } else {
            functions.push(None);
        }
    }
    let resumers = Resumers::plan(module, entry);
    let added = Added::plan(module, &functions, resumers.results.len());
    let mut types = Types::new(&module.types);
    let mut code = Code::after(module.imported_functions());
    let mut twin_number = 0;
    let mut twins = Vec::new();
    for (body, function) in module.bodies.iter().zip(&functions) {
        let Some(function) = function else {
            code.push(body.body.as_bytes());
            continue;
        };
        let frames = Frames::plan(function);
        let saver = Saver::new(twin_number, Stores::Shared);
        let emitter = Emitter::new(module, &added, &mut types, function, &frames, saver);
        code.push_hinted(&emitter.original()?);
        let saver = Saver::new(twin_number, Stores::Apart);
        let emitter = Emitter::new(module, &added, &mut types, function, &frames, saver);
        twins.push(emitter.twin()?);
        twin_number += 1;
    }
    let without_twins = code.bytes.len();
    let mut new_functions = Vec::new();
    for (body, function) in twins.iter().zip(functions.iter().flatten()) {
        code.push_hinted(body);
        types.index(&[], &function.results).encode(&mut new_functions);
    }
    let bytes_twins = code.bytes.len() - without_twins;
    for results in &resumers.results {
        code.push(&resume(results, &added, &mut types));
        types.index(&[], results).encode(&mut new_functions);
    }
    for results in added.callee_resumers.keys() {
        let mut bytes = vec![0];
        resume_top(results, &mut types, &added, &mut bytes);
        code.push(&bytes);
        types.index(&[], results).encode(&mut new_functions);
    }

    if added.holds_exceptions {
        code.push(&exceptions::push(module, &added, &mut types));
        types
            .index(&[exceptions::EXCEPTION], &[])
            .encode(&mut new_functions);
        code.push(&exceptions::pop(module, &added));
        types
            .index(&[], &[exceptions::EXCEPTION])
            .encode(&mut new_functions);
    }

    let mut sections = Sections::of(module);
    let new_count = code.count() - module.bodies.len() as u32;
    sections.extend(FUNCTION, new_count, &new_functions);
    sections.extend(TYPE, types.added().len() as u32, &types.encoded());
    let (tables, count) = tables(calls, twin_number);
    sections.extend(TABLE, count, &tables);
    sections.extend(MEMORY, 1, &save_memory());
    sections.extend(
        GLOBAL,
        1 + added.dropped.len() as u32,
        &globals(1 + added.dropped.len()),
    );
    let (exports, count) = exports(module, &added, calls, &resumers, twin_number);
    sections.extend(EXPORT, count, &exports);
    let twins: Vec<u32> = (0..twin_number)
        .map(|twin| module.functions.len() as u32 + twin)
        .collect();
    sections.extend(ELEMENT, 1, &elements(added.twin_table, &twins));
    if calls.references.any() {
        let addressed: Vec<u32> = calls.addressed.iter().copied().collect();
        sections.extend(ELEMENT, 1, &elements(added.functions, &addressed));
    }
    sections.replace(CODE, code.section());
    let wasm = sections.finish(&code.hints, module.name_section);

    let mut report = report(module, &functions);
    report.bytes_after = wasm.len() - bytes_twins;
    report.bytes_twins = bytes_twins;
    Ok(Rewritten { wasm, report })
}

impl Added {
    fn plan(module: &Module, functions: &[Option<Function>], resumers: usize) -> Self {
        let mut dropped = BTreeMap::new();
        for function in functions.iter().flatten() {
            note_drops(&function.root, &mut dropped);
        }
        let first = module.globals.len() as u32 + 1;
        for (index, global) in dropped.values_mut().enumerate() {
            *global = first + index as u32;
        }
        let sites = functions.iter().flatten().flat_map(|function| &function.sites);
        let calls = sites.filter(|site| site.kind == SiteKind::Call);
        let mut callee_resumers: BTreeMap<Vec<ValType>, u32> =
            calls.map(|site| (site.results.clone(), 0)).collect();
        let twins = functions.iter().flatten().count();
        for (number, function) in callee_resumers.values_mut().enumerate() {
            *function = (module.functions.len() + twins + resumers + number) as u32;
        }
        let push_exception = (module.functions.len() + twins + resumers + callee_resumers.len()) as u32;
        Self {
            callee_resumers,
            push_exception,
            pop_exception: push_exception + 1,
            holds_exceptions: functions.iter().flatten().any(exceptions::held_by),
            save_memory: module.memories.len() as u32,
            twin_table: module.tables.len() as u32,
            functions: module.tables.len() as u32 + 1,
            references: module.tables.len() as u32 + 2,
            unwinding: module.globals.len() as u32,
            dropped,
        }
    }
}

fn note_drops(seq: &Seq, dropped: &mut BTreeMap<Segment, u32>) {
    for node in &seq.nodes {
        match node {
            Node::Drop { segment, .. } => {
                dropped.insert(*segment, 0);
            }
            Node::Construct(construct) => {
                note_drops(&construct.body, dropped);
                if let Some(otherwise) = &construct.otherwise {
                    note_drops(otherwise, dropped);
                }
            }
            _ => {}
        }
    }
}

/// The functions that the host calls to go on: one for each list of results that a call from outside can have.
struct Resumers {
    results: Vec<Vec<ValType>>,
    /// Exported name, and which of `results` is its.
    names: Vec<(String, usize)>,
}

impl Resumers {
    fn plan(module: &Module, entry: Entry) -> Self {
        let mut resumers = Self {
            results: vec![Vec::new()],
            names: vec![(abi::RESUME.to_owned(), 0)],
        };
        if entry == Entry::Exports {
            for (name, function) in &module.exported_functions {
                let results = module.function_type(*function).results();
                let found = resumers.results.iter().position(|known| known == results);
                let which = found.unwrap_or_else(|| {
                    resumers.results.push(results.to_vec());
                    resumers.results.len() - 1
                });
                resumers
                    .names
                    .push((format!("{}{name}", abi::RESUME_PREFIX), which));
            }
        }
        resumers
    }
}

/// Drops again what the program had dropped, then resumes the outermost frame.
fn resume(results: &[ValType], added: &Added, types: &mut Types) -> Vec<u8> {
    let mut bytes = vec![0];
    for (segment, global) in &added.dropped {
        Instruction::GlobalGet(*global).encode(&mut bytes);
        Instruction::If(wasm_encoder::BlockType::Empty).encode(&mut bytes);
        match segment {
            Segment::Data(segment) => Instruction::DataDrop(*segment).encode(&mut bytes),
            Segment::Elements(segment) => Instruction::ElemDrop(*segment).encode(&mut bytes),
        }
        Instruction::End.encode(&mut bytes);
    }
    resume_top(results, types, added, &mut bytes);
    bytes
}

/// Calls the twin that the frame on top names; a tail call, so that a resumed stack is no deeper for it. Ends the function.
fn resume_top(results: &[ValType], types: &mut Types, added: &Added, bytes: &mut Vec<u8>) {
    let word = |offset| wasm_encoder::MemArg {
        offset,
        align: 0,
        memory_index: added.save_memory,
    };
    let code = [
        Instruction::I32Const(0),
        Instruction::I32Load(word(abi::TOP_OFFSET)),
        // The last word of a frame.
        Instruction::I32Const(4),
        Instruction::I32Sub,
        Instruction::I32Load(word(abi::FRAMES_OFFSET)),
        Instruction::ReturnCallIndirect {
            type_index: types.index(&[], results),
            table_index: added.twin_table,
        },
        Instruction::End,
    ];
    for instruction in code {
        instruction.encode(bytes);
    }
}

impl References {
    /// Whether references can be in the state of a program, other than in tables that never change.
    fn any(&self) -> bool {
        self.held || !self.changed_tables.is_empty()
    }
}

impl Types {
    fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for ty in self.added() {
            bytes.push(0x60);
            for list in [ty.params(), ty.results()] {
                (list.len() as u32).encode(&mut bytes);
                for ty in list {
                    val_type(*ty).encode(&mut bytes);
                }
            }
        }
        bytes
    }
}

/// A table of all twins, so that a frame finds its callee's by number; where references are part of the state, a
/// table of all functions that they can lead to, and one for those that frames hold.
fn tables(calls: &Calls, twins: u32) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    let mut table = |minimum: u32, maximum: Option<u32>| {
        wasm_encoder::RefType::FUNCREF.encode(&mut bytes);
        bytes.push(u8::from(maximum.is_some()));
        minimum.encode(&mut bytes);
        if let Some(maximum) = maximum {
            maximum.encode(&mut bytes);
        }
    };
    table(twins, Some(twins));
    if !calls.references.any() {
        return (bytes, 1);
    }
    let functions = calls.addressed.len() as u32;
    table(functions, Some(functions));
    table(0, None);
    (bytes, 3)
}

fn save_memory() -> Vec<u8> {
    let mut bytes = vec![1];
    (abi::SAVE_PAGES as u32).encode(&mut bytes);
    (abi::SAVE_PAGES as u32).encode(&mut bytes);
    bytes
}

/// Mutable `i32`s that begin at 0.
fn globals(count: usize) -> Vec<u8> {
    [0x7f, 0x01, 0x41, 0x00, 0x0b].repeat(count)
}

/// An active segment that fills `table` from 0.
fn elements(table: u32, functions: &[u32]) -> Vec<u8> {
    // With an explicit table, offset 0, functions by index.
    let mut bytes = vec![2];
    table.encode(&mut bytes);
    bytes.extend([0x41, 0x00, 0x0b, 0x00]);
    functions.encode(&mut bytes);
    bytes
}

fn exports(module: &Module, added: &Added, calls: &Calls, resumers: &Resumers, twins: u32) -> (Vec<u8>, u32) {
    const FUNCTION: u8 = 0;
    const TABLE: u8 = 1;
    const MEMORY: u8 = 2;
    const GLOBAL: u8 = 3;
    let mut list = vec![
        (abi::SAVE_MEMORY.to_owned(), MEMORY, added.save_memory),
        (abi::UNWINDING.to_owned(), GLOBAL, added.unwinding),
    ];
    list.extend(module.start.map(|start| (abi::START.to_owned(), FUNCTION, start)));
    for (name, which) in &resumers.names {
        list.push((
            name.clone(),
            FUNCTION,
            module.functions.len() as u32 + twins + *which as u32,
        ));
    }
    for memory in 0..module.memories.len() as u32 {
        list.push((format!("{}{memory}", abi::MEMORY_PREFIX), MEMORY, memory));
    }
    for (number, &table) in calls.references.changed_tables.iter().enumerate() {
        list.push((format!("{}{number}", abi::TABLE_PREFIX), TABLE, table));
    }
    if calls.references.any() {
        list.push((abi::FUNCTIONS.to_owned(), TABLE, added.functions));
        list.push((abi::REFERENCES.to_owned(), TABLE, added.references));
    }
    let mutable = module
        .globals
        .iter()
        .enumerate()
        .filter(|(_, global)| global.mutable)
        .map(|(index, _)| index as u32);
    for (number, global) in mutable.chain(added.dropped.values().copied()).enumerate() {
        list.push((format!("{}{number}", abi::GLOBAL_PREFIX), GLOBAL, global));
    }
    let mut bytes = Vec::new();
    for (name, kind, index) in &list {
        name.as_str().encode(&mut bytes);
        bytes.push(*kind);
        index.encode(&mut bytes);
    }
    (bytes, list.len() as u32)
}

fn report(module: &Module, functions: &[Option<Function>]) -> Report {
    let sites: Vec<SiteKind> = functions
        .iter()
        .flatten()
        .flat_map(|function| function.sites.iter().map(|site| site.kind))
        .collect();
    let count = |kind| sites.iter().filter(|k| **k == kind).count();
    Report {
        imports: module.imports.clone(),
        functions: functions.len(),
        functions_rewritten: functions.iter().flatten().count(),
        loop_polls: count(SiteKind::LoopPoll),
        entry_polls: count(SiteKind::EntryPoll),
        calls_checked: count(SiteKind::Call),
        blocking_calls: count(SiteKind::Blocking),
        bytes_before: module.wasm.len(),
        ..Report::default()
    }
}
