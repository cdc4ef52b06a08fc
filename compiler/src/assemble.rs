//! The rewritten module: every section as it was, with what is new behind it, and the twins in the same
//! module or in one of their own.
//!
//! ```text
//!  Form::Joined    program, twins, resumers
//!  Form::Program   program, helpers  <--- imports ---  Form::Resuming   twins, resumers
//! ```

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{NameMap, NameSection};
use wasmparser::{ExternalKind, ValType};
use wayfare_abi::rewritten as abi;

use crate::body::{Function, Node, Segment, Seq, SiteKind};
use crate::borrowed::{self, Borrowed};
use crate::calls::Calls;
use crate::code::{Added, FUNCTION_BYTES_MAX};
use crate::draft::{self, Draft, Export};
use crate::error::CompileError;
use crate::frames::{Budget, Frames};
use crate::module::Module;
use crate::resumers::{self, Resumers};
use crate::saving::Saver;
use crate::sections::{ELEMENT, GLOBAL, IMPORT, MEMORY, Sections, TABLE};
use crate::{Entry, Form, Report, Rewritten, exceptions, liveness, polls, unrolling};

/// So many times as large as its function no twin should be: those of whole modules are two or three times as
/// large.
const TWIN_GROWTH_MAX: usize = 16;

/// What is known of a module before any of it is written.
struct Plan<'a> {
    module: &'a Module<'a>,
    calls: &'a Calls,
    /// By body; `None`: it stays as it was.
    functions: Vec<Option<Function>>,
    resumers: Resumers,
    /// By segment: the global that remembers its dropping.
    dropped: BTreeMap<Segment, u32>,
    holds_exceptions: bool,
}

pub(crate) fn assemble(
    module: &Module,
    calls: &Calls,
    entry: Entry,
    form: Form,
) -> Result<Rewritten, CompileError> {
    let plan = Plan::new(module, calls, entry)?;
    match form {
        Form::Joined => plan.joined(),
        Form::Program => plan.program(),
        Form::Resuming => plan.resuming(),
    }
}

impl<'a> Plan<'a> {
    fn new(module: &'a Module<'a>, calls: &'a Calls, entry: Entry) -> Result<Self, CompileError> {
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
        let mut dropped = BTreeMap::new();
        for function in functions.iter().flatten() {
            note_drops(&function.root, &mut dropped);
        }
        for (global, index) in dropped.values_mut().zip(module.globals.len() as u32 + 1..) {
            *global = index;
        }
        Ok(Self {
            holds_exceptions: functions.iter().flatten().any(exceptions::held_by),
            resumers: Resumers::plan(module, entry),
            module,
            calls,
            functions,
            dropped,
        })
    }

    fn joined(&self) -> Result<Rewritten, CompileError> {
        let module = self.module;
        let (first, tables) = (module.functions.len() as u32, module.tables.len() as u32);
        let added = Added {
            twin_table: tables,
            functions: tables + 1,
            references: tables + 2,
            ..self.added_with_twins(first)
        };
        let mut draft = Draft::new(module, added, module.imported_functions());
        self.write_originals(&mut draft)?;
        let before_twins = draft.bytes();
        self.write_twins(&mut draft)?;
        let bytes_twins = draft.bytes() - before_twins;
        self.write_resumers(&mut draft);

        let mut sections = Sections::of(module);
        sections.extend(TABLE, 1, &draft::funcrefs(self.twins(), Some(self.twins())));
        self.extend_reference_tables(&mut sections);
        self.extend_state(&mut sections);
        sections.extend(
            GLOBAL,
            draft.added.result_globals.len() as u32,
            &draft.result_globals(),
        );
        let mut exports = self.state_exports(&draft.added);
        exports.extend(self.resumer_exports(first + self.twins()));
        draft::extend_exports(&mut sections, exports);
        self.extend_twin_table(&mut sections, &draft.added, first);
        self.extend_functions(&mut sections, &draft.added);
        let wasm = draft.finish(sections, module.name_section);
        let bytes_after = wasm.len() - bytes_twins;
        Ok(self.rewritten(wasm, bytes_after, bytes_twins))
    }

    fn program(&self) -> Result<Rewritten, CompileError> {
        let module = self.module;
        let borrowed = Borrowed::find(module, self.calls, &self.functions)?;
        let (first_helper, tables) = (module.functions.len() as u32, module.tables.len() as u32);
        let helpers = borrowed.helpers().count() as u32;
        let added = Added {
            functions: tables,
            references: tables + 1,
            ..self.added(first_helper + helpers)
        };
        let mut draft = Draft::new(module, added, module.imported_functions());
        let largest = self.write_originals(&mut draft)?;
        // A program that starts can be moved: what resuming is refused for is found out now.
        if largest > FUNCTION_BYTES_MAX / TWIN_GROWTH_MAX {
            self.resuming()?;
        }
        for helper in borrowed.helpers() {
            draft.write(&helper.body(module), helper.ty(module).params(), &[]);
        }
        if self.holds_exceptions {
            draft.write_push_exception();
        }

        let mut sections = Sections::of(module);
        self.extend_reference_tables(&mut sections);
        self.extend_state(&mut sections);
        let mut exports = self.state_exports(&draft.added);
        let parts = borrowed.parts(module, self.calls, &draft.added);
        exports.extend(parts.into_iter().map(|part| (part.name, part.kind, part.index)));
        draft::extend_exports(&mut sections, exports);
        self.extend_functions(&mut sections, &draft.added);
        let wasm = draft.finish(sections, module.name_section);
        let bytes_after = wasm.len();
        Ok(self.rewritten(wasm, bytes_after, 0))
    }

    fn resuming(&self) -> Result<Rewritten, CompileError> {
        let module = self.module;
        let borrowed = Borrowed::find(module, self.calls, &self.functions)?;
        let (first, tables) = (borrowed.imported_functions(), module.tables.len() as u32);
        let added = Added {
            functions: tables,
            references: tables + 1,
            twin_table: tables + if self.has_references() { 2 } else { 0 },
            ..self.added_with_twins(first)
        };
        let parts = borrowed.parts(module, self.calls, &added);
        let added = Added {
            borrowed: Some(borrowed),
            ..added
        };
        let mut draft = Draft::new(module, added, first);
        self.write_twins(&mut draft)?;
        self.write_resumers(&mut draft);

        let mut sections = Sections::types_of(module);
        let imports = borrowed::imports(&parts, &mut draft.types);
        sections.extend(IMPORT, parts.len() as u32, &imports);
        sections.extend(TABLE, 1, &draft::funcrefs(self.twins(), Some(self.twins())));
        sections.extend(
            GLOBAL,
            draft.added.result_globals.len() as u32,
            &draft.result_globals(),
        );
        // A host function that asks its caller for an export finds the same here as in the program.
        let others = module.other_exports.iter().map(|(name, kind, index)| {
            let kind = match kind {
                ExternalKind::Table => borrowed::TABLE,
                ExternalKind::Memory => borrowed::MEMORY,
                ExternalKind::Tag => borrowed::TAG,
                _ => borrowed::GLOBAL,
            };
            (name.clone(), kind, *index)
        });
        let mut exports: Vec<_> = others.collect();
        exports.extend(self.save_exports(&draft.added));
        exports.extend(self.resumer_exports(first + self.twins()));
        draft::extend_exports(&mut sections, exports);
        self.extend_twin_table(&mut sections, &draft.added, first);
        let wasm = draft.finish(sections, Some(&self.twin_names(first)));
        let bytes_twins = wasm.len();
        Ok(self.rewritten(wasm, 0, bytes_twins))
    }

    /// In a module whose twins begin at function `first`.
    fn added_with_twins(&self, first: u32) -> Added {
        let behind = first + self.twins() + self.resumers.results.len() as u32;
        let added = self.added(behind);
        let first_global = added.unwinding + 1 + added.dropped.len() as u32;
        Added {
            result_globals: self.result_references().into_iter().zip(first_global..).collect(),
            ..added
        }
    }

    /// The references that twins may leave as results at a time, by type and number.
    fn result_references(&self) -> BTreeSet<(ValType, u32)> {
        let mut found = BTreeSet::new();
        let functions = self.functions.iter().flatten();
        let called = functions.flat_map(|function| {
            let of_calls = function.sites.iter().map(|site| &site.results);
            of_calls.chain([&function.results])
        });
        for results in called.chain(&self.resumers.results) {
            let mut numbers = BTreeMap::new();
            for &ty in results.iter().filter(|ty| matches!(ty, ValType::Ref(_))) {
                let number = numbers.entry(ty).or_insert(0);
                *number += 1;
                found.insert((ty, *number));
            }
        }
        found
    }

    fn added(&self, push_exception: u32) -> Added {
        let module = self.module;
        Added {
            result_globals: BTreeMap::new(),
            push_exception,
            pop_exception: push_exception + 1,
            save_memory: module.memories.len() as u32,
            twin_table: 0,
            functions: 0,
            references: 0,
            unwinding: module.globals.len() as u32,
            dropped: self.dropped.clone(),
            borrowed: None,
        }
    }

    fn twins(&self) -> u32 {
        self.functions.iter().flatten().count() as u32
    }

    fn has_references(&self) -> bool {
        self.calls.references.any()
    }

    /// The program's functions, with polls and checks where they can be captured. Returns the bytes of the
    /// largest that is rewritten.
    fn write_originals(&self, draft: &mut Draft) -> Result<usize, CompileError> {
        let (mut twin, mut largest) = (0, 0);
        for (body, function) in self.module.bodies.iter().zip(&self.functions) {
            let Some(function) = function else {
                draft.code.push(body.body.as_bytes());
                continue;
            };
            let frames = Frames::plan(function);
            let saver = Saver::new(twin);
            let original = draft.emitter(function, &frames, saver).original()?;
            draft.code.push_hinted(&original);
            largest = largest.max(original.bytes.len());
            twin += 1;
        }
        Ok(largest)
    }

    fn write_twins(&self, draft: &mut Draft) -> Result<(), CompileError> {
        for (number, function) in (0..).zip(self.functions.iter().flatten()) {
            let frames = Frames::plan(function);
            let saver = Saver::new(number);
            let twin = draft.emitter(function, &frames, saver).twin()?;
            draft.code.push_hinted(&twin);
            draft.declare(&[], &[]);
        }
        Ok(())
    }

    fn write_resumers(&self, draft: &mut Draft) {
        for results in &self.resumers.results {
            let body = resumers::outermost(results, &draft.added, &mut draft.types);
            draft.write(&body, &[], results);
        }
        if self.holds_exceptions {
            draft.write_push_exception();
            draft.write_pop_exception();
        }
    }

    /// What the host and the rewritten code need in every form.
    fn extend_state(&self, sections: &mut Sections) {
        sections.extend(MEMORY, 1, &draft::encoded(&borrowed::save_memory()));
        let globals = 1 + self.dropped.len();
        sections.extend(GLOBAL, globals as u32, &draft::zeros(globals));
    }

    /// For all functions that references can lead to, and for what frames hold; nothing if references are no
    /// part of the state.
    fn extend_reference_tables(&self, sections: &mut Sections) {
        if self.has_references() {
            let functions = self.calls.addressed.len() as u32;
            let tables = [
                draft::funcrefs(functions, Some(functions)),
                draft::funcrefs(0, None),
            ];
            sections.extend(TABLE, 2, &tables.concat());
        }
    }

    fn extend_functions(&self, sections: &mut Sections, added: &Added) {
        if self.has_references() {
            let addressed: Vec<u32> = self.calls.addressed.iter().copied().collect();
            sections.extend(ELEMENT, 1, &draft::elements(added.functions, &addressed));
        }
    }

    fn extend_twin_table(&self, sections: &mut Sections, added: &Added, first: u32) {
        let twins: Vec<u32> = (first..first + self.twins()).collect();
        sections.extend(ELEMENT, 1, &draft::elements(added.twin_table, &twins));
    }

    fn save_exports(&self, added: &Added) -> [Export; 2] {
        [
            (abi::SAVE_MEMORY.to_owned(), borrowed::MEMORY, added.save_memory),
            (abi::UNWINDING.to_owned(), borrowed::GLOBAL, added.unwinding),
        ]
    }

    fn resumer_exports(&self, first: u32) -> impl Iterator<Item = Export> {
        let names = self.resumers.names.iter();
        names.map(move |(name, which)| (name.clone(), borrowed::FUNCTION, first + *which as u32))
    }

    /// Where the program is started, and all of its state.
    fn state_exports(&self, added: &Added) -> Vec<Export> {
        let module = self.module;
        let mut list = Vec::from(self.save_exports(added));
        list.extend(
            module
                .start
                .map(|start| (abi::START.to_owned(), borrowed::FUNCTION, start)),
        );
        for memory in 0..module.memories.len() as u32 {
            list.push((
                format!("{}{memory}", abi::MEMORY_PREFIX),
                borrowed::MEMORY,
                memory,
            ));
        }
        for (number, &table) in self.calls.references.changed_tables.iter().enumerate() {
            list.push((format!("{}{number}", abi::TABLE_PREFIX), borrowed::TABLE, table));
        }
        if self.has_references() {
            list.push((abi::FUNCTIONS.to_owned(), borrowed::TABLE, added.functions));
            list.push((abi::REFERENCES.to_owned(), borrowed::TABLE, added.references));
        }
        let globals = (0..).zip(&module.globals);
        let mutable = globals
            .filter(|(_, global)| global.mutable)
            .map(|(index, _)| index);
        for (number, global) in mutable.chain(added.dropped.values().copied()).enumerate() {
            list.push((
                format!("{}{number}", abi::GLOBAL_PREFIX),
                borrowed::GLOBAL,
                global,
            ));
        }
        list
    }

    /// Twins are named as their functions: a trap says where the program was. So that what calls the
    /// outermost one can be left out of that, it has a name too.
    fn twin_names(&self, first: u32) -> Vec<u8> {
        let mut map = NameMap::new();
        for (twin, function) in (first..).zip(self.functions.iter().flatten()) {
            match self.module.names.get(&function.index) {
                Some(name) => map.append(twin, name),
                None => map.append(twin, &format!("function {}", function.index)),
            }
        }
        for resumer in 0..self.resumers.results.len() as u32 {
            map.append(first + self.twins() + resumer, abi::RESUME);
        }
        let mut names = NameSection::new();
        names.functions(&map);
        names.as_custom().data.into_owned()
    }

    fn rewritten(&self, wasm: Vec<u8>, bytes_after: usize, bytes_twins: usize) -> Rewritten {
        let functions = &self.functions;
        let sites = functions.iter().flatten().flat_map(|function| &function.sites);
        let kinds: Vec<SiteKind> = sites.map(|site| site.kind).collect();
        let count = |kind| kinds.iter().filter(|k| **k == kind).count();
        let report = Report {
            imports: self.module.imports.clone(),
            functions: functions.len(),
            functions_rewritten: functions.iter().flatten().count(),
            loop_polls: count(SiteKind::LoopPoll),
            entry_polls: count(SiteKind::EntryPoll),
            calls_checked: count(SiteKind::Call),
            blocking_calls: count(SiteKind::Blocking),
            bytes_before: self.module.wasm.len(),
            bytes_after,
            bytes_twins,
        };
        Rewritten { wasm, report }
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
