//! A module taken apart: its sections, checked by wasmparser's validator, with the bytes still in place.
//!
//! Nothing is renumbered later: new types, functions, tables, memories and globals come after the old
//! ones, so whatever names an index can be copied as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wasmparser::{
    BlockType, CompositeInnerType, ElementItems, ElementKind, ExternalKind, FuncToValidate, FuncType,
    FuncValidator, FuncValidatorAllocations, GlobalType, MemoryType, Operator, Parser, Payload, RefType,
    TableType, TypeRef, ValType, ValidPayload, Validator, ValidatorResources,
};

use crate::Entry;
use crate::error::CompileError;
use crate::features;

pub(crate) struct Module<'a> {
    pub(crate) wasm: &'a [u8],
    /// Contents of the non-custom sections by id, without id and length.
    pub(crate) sections: BTreeMap<u8, &'a [u8]>,
    /// The `name` section, kept for the names in traps.
    pub(crate) name_section: Option<&'a [u8]>,
    pub(crate) types: Vec<FuncType>,
    pub(crate) imports: Vec<(String, String)>,
    /// Type index of every function, imported ones first.
    pub(crate) functions: Vec<u32>,
    pub(crate) tables: Vec<TableType>,
    /// None is imported: nobody offers one.
    pub(crate) memories: Vec<MemoryType>,
    /// The type indices of tags.
    pub(crate) tags: Vec<u32>,
    pub(crate) globals: Vec<GlobalType>,
    pub(crate) exported_functions: Vec<(String, u32)>,
    /// What else is exported: name, kind and index.
    pub(crate) other_exports: Vec<(String, ExternalKind, u32)>,
    /// Functions that can be called through a table.
    pub(crate) addressed: BTreeSet<u32>,
    pub(crate) start_section: Option<u32>,
    /// Where a fresh run begins.
    pub(crate) start: Option<u32>,
    pub(crate) names: BTreeMap<u32, String>,
    pub(crate) bodies: Vec<Body<'a>>,
}

pub(crate) struct Body<'a> {
    pub(crate) to_validate: FuncToValidate<ValidatorResources>,
    pub(crate) body: wasmparser::FunctionBody<'a>,
}

impl Body<'_> {
    pub(crate) fn validator(&self) -> FuncValidator<ValidatorResources> {
        let FuncToValidate {
            resources,
            index,
            ty,
            features,
            ..
        } = &self.to_validate;
        FuncToValidate {
            resources: resources.clone(),
            index: *index,
            ty: *ty,
            features: *features,
        }
        .into_validator(FuncValidatorAllocations::default())
    }
}

impl<'a> Module<'a> {
    /// An error names the refused proposal that is at fault, if one is.
    pub(crate) fn parse(wasm: &'a [u8], entry: Entry) -> Result<Self, CompileError> {
        check_magic(wasm)?;
        Self::parse_module(wasm, entry).map_err(|error| features::explain(wasm, error))
    }

    fn parse_module(wasm: &'a [u8], entry: Entry) -> Result<Self, CompileError> {
        let mut validator = Validator::new_with_features(features::accepted());
        let mut module = Self::empty(wasm);
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(to_validate, body) = validator.payload(&payload)? {
                module.bodies.push(Body { to_validate, body });
            }
            module.keep_section(&payload);
            module.read(payload)?;
        }
        // Before anything looks into a body: an index that leads nowhere stops here.
        for (body, index) in module.bodies.iter().zip(module.imported_functions()..) {
            body.validator()
                .validate(&body.body)
                .map_err(|error| module.refuse(index, error.to_string()))?;
        }
        if entry == Entry::Command {
            module.start = Some(module.find_start()?);
        }
        Ok(module)
    }

    fn find_start(&self) -> Result<u32, CompileError> {
        let Some((_, start)) = self.exported_functions.iter().find(|(name, _)| name == "_start") else {
            return Err(CompileError::NoStart(self.handlers()));
        };
        let ty = self.function_type(*start);
        if ty.params().is_empty() && ty.results().is_empty() {
            Ok(*start)
        } else {
            Err(CompileError::Unsupported(
                "a function '_start' that takes or returns values".into(),
            ))
        }
    }

    fn empty(wasm: &'a [u8]) -> Self {
        Self {
            wasm,
            sections: BTreeMap::new(),
            name_section: None,
            types: Vec::new(),
            imports: Vec::new(),
            functions: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            tags: Vec::new(),
            globals: Vec::new(),
            exported_functions: Vec::new(),
            other_exports: Vec::new(),
            addressed: BTreeSet::new(),
            start_section: None,
            start: None,
            names: BTreeMap::new(),
            bodies: Vec::new(),
        }
    }

    /// Keeps a section's bytes; code is kept body by body.
    fn keep_section(&mut self, payload: &Payload<'a>) {
        if matches!(
            payload,
            Payload::CodeSectionStart { .. } | Payload::CodeSectionEntry(_)
        ) {
            return;
        }
        if let Some((id, range)) = payload.as_section()
            && id != 0
            && let Some(bytes) = self.wasm.get(range)
        {
            self.sections.insert(id, bytes);
        }
    }

    fn read(&mut self, payload: Payload<'a>) -> Result<(), CompileError> {
        match payload {
            Payload::TypeSection(reader) => self.read_types(reader)?,
            Payload::ImportSection(reader) => self.read_imports(reader)?,
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    let table = table?;
                    if !matches!(table.init, wasmparser::TableInit::RefNull) {
                        return Err(CompileError::Unsupported("a table with an initial value".into()));
                    }
                    self.tables.push(table.ty);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory?;
                    if memory.shared {
                        return Err(CompileError::Unsupported("a shared memory (threads)".into()));
                    }
                    self.memories.push(memory);
                }
            }
            Payload::TagSection(reader) => {
                for tag in reader {
                    self.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let global = global?;
                    if global.ty.mutable && is_foreign(global.ty.content_type) {
                        return Err(CompileError::Unsupported(
                            "a mutable global of a host's references or exceptions".into(),
                        ));
                    }
                    self.note_ref_funcs(global.init_expr.get_operators_reader())?;
                    self.globals.push(global.ty);
                }
            }
            Payload::ExportSection(reader) => self.read_exports(reader)?,
            Payload::StartSection { func, .. } => self.start_section = Some(func),
            Payload::ElementSection(reader) => self.read_elements(reader)?,
            Payload::CustomSection(reader) if reader.name() == "name" => {
                self.name_section = Some(reader.data());
                if let wasmparser::KnownCustom::Name(names) = reader.as_known() {
                    self.read_names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read_types(&mut self, reader: wasmparser::TypeSectionReader<'a>) -> Result<(), CompileError> {
        for group in reader {
            for ty in group?.into_types() {
                match ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => self.types.push(ty),
                    _ => {
                        return Err(CompileError::Unsupported("a type that is no function's".into()));
                    }
                }
            }
        }
        Ok(())
    }

    fn read_imports(&mut self, reader: wasmparser::ImportSectionReader<'a>) -> Result<(), CompileError> {
        for import in reader.into_imports() {
            let import = import?;
            match import.ty {
                TypeRef::Func(ty) => {
                    self.functions.push(ty);
                    self.imports.push((import.module.into(), import.name.into()));
                }
                TypeRef::Global(ty) if !ty.mutable && !matches!(ty.content_type, ValType::Ref(_)) => {
                    self.globals.push(ty);
                }
                other => {
                    let what = match other {
                        TypeRef::Memory(_) => "memory",
                        TypeRef::Table(_) => "table",
                        TypeRef::Global(_) => "global",
                        _ => "tag",
                    };
                    return Err(CompileError::Unsupported(format!(
                        "the imported {what} '{}.{}'",
                        import.module, import.name
                    )));
                }
            }
        }
        Ok(())
    }

    fn read_exports(&mut self, reader: wasmparser::ExportSectionReader<'a>) -> Result<(), CompileError> {
        for export in reader {
            let export = export?;
            let name = export.name.to_owned();
            match export.kind {
                ExternalKind::Func => self.exported_functions.push((name, export.index)),
                kind => self.other_exports.push((name, kind, export.index)),
            }
            if export.name.starts_with("wayfare:") {
                return Err(CompileError::Unsupported(format!("the export '{}'", export.name)));
            }
        }
        Ok(())
    }

    fn read_elements(&mut self, reader: wasmparser::ElementSectionReader<'a>) -> Result<(), CompileError> {
        for element in reader {
            let element = element?;
            if let ElementKind::Active { offset_expr, .. } = &element.kind {
                self.note_ref_funcs(offset_expr.get_operators_reader())?;
            }
            match element.items {
                ElementItems::Functions(items) => {
                    for function in items {
                        self.addressed.insert(function?);
                    }
                }
                ElementItems::Expressions(_, items) => {
                    for item in items {
                        self.note_ref_funcs(item?.get_operators_reader())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn note_ref_funcs(&mut self, reader: wasmparser::OperatorsReader<'_>) -> Result<(), CompileError> {
        for operator in reader {
            if let Operator::RefFunc { function_index } = operator? {
                self.addressed.insert(function_index);
            }
        }
        Ok(())
    }

    /// Names are for messages only: a damaged name section is no reason to refuse a module.
    fn read_names(&mut self, names: wasmparser::NameSectionReader<'a>) {
        for subsection in names.into_iter().map_while(Result::ok) {
            if let wasmparser::Name::Function(map) = subsection {
                for naming in map.into_iter().map_while(Result::ok) {
                    self.names.insert(naming.index, naming.name.to_owned());
                }
            }
        }
    }

    fn handlers(&self) -> String {
        let names: Vec<_> = self
            .exported_functions
            .iter()
            .take(4)
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() {
            "; build a program with a main function for wasm32-wasip1".into()
        } else {
            format!(
                ", although it exports {}; give it a main function that waits for its events in a loop",
                names.join(", ")
            )
        }
    }

    pub(crate) fn imported_functions(&self) -> u32 {
        self.imports.len() as u32
    }

    pub(crate) fn function_type(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// What a block of this type takes and gives; `None`: there is no such type.
    pub(crate) fn block_values(&self, ty: BlockType) -> Option<(Vec<ValType>, Vec<ValType>)> {
        Some(match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(result) => (Vec::new(), vec![result]),
            BlockType::FuncType(index) => {
                let ty = self.types.get(index as usize)?;
                (ty.params().to_vec(), ty.results().to_vec())
            }
        })
    }

    pub(crate) fn function_name(&self, function: u32) -> String {
        match self.names.get(&function) {
            Some(name) => format!("{function} ({name})"),
            None => function.to_string(),
        }
    }

    pub(crate) fn refuse(&self, function: u32, reason: impl Into<String>) -> CompileError {
        CompileError::Function {
            function: self.function_name(function),
            reason: reason.into(),
        }
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        &self.wasm[range]
    }
}

/// A reference that is no function's: its meaning is the host's, or an exception.
pub(crate) fn is_foreign(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(ty) if ty != RefType::FUNCREF)
}

fn check_magic(wasm: &[u8]) -> Result<(), CompileError> {
    match wasm {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Err(CompileError::Component),
        [b'\0', b'a', b's', b'm', ..] => Err(CompileError::NotWasm("unknown version, or cut off".into())),
        _ => Err(CompileError::NotWasm("it does not begin with '\\0asm'".into())),
    }
}
