//! References to functions in a program's state: in tables that it changes, in globals, and in saved frames.
//!
//! A reference is a pointer, and means nothing elsewhere; what travels is the function's place in the list
//! that the compiler exports for this.

use std::collections::HashMap;

use wasmtime::{Func, Instance, Ref, Store, Table};
use wayfare_abi::rewritten as abi;
use wayfare_protocol::snapshot::{Reference, Snapshot};

use super::context::Context;

pub(super) struct References {
    /// Tables that the program may change.
    tables: Vec<Table>,
    /// What frames hold, of which the count in the save memory is in use.
    held: Option<Table>,
    functions: Option<Table>,
}

/// Places by function. Two references to one function are the same pointer, as long as the instance lives.
pub(super) struct Places(HashMap<usize, u32>);

impl References {
    pub(super) fn of(instance: &Instance, store: &mut Store<Context>) -> Self {
        let mut tables = Vec::new();
        while let Some(table) =
            instance.get_table(&mut *store, &format!("{}{}", abi::TABLE_PREFIX, tables.len()))
        {
            tables.push(table);
        }
        Self {
            tables,
            held: instance.get_table(&mut *store, abi::REFERENCES),
            functions: instance.get_table(&mut *store, abi::FUNCTIONS),
        }
    }

    pub(super) fn places(&self, store: &mut Store<Context>) -> Places {
        let Some(functions) = self.functions else {
            return Places(HashMap::new());
        };
        let mut places = HashMap::new();
        for place in 0..functions.size(&*store) {
            if let Some(Ref::Func(Some(function))) = functions.get(&mut *store, place) {
                places
                    .entry(function.to_raw(&mut *store) as usize)
                    .or_insert(place as u32);
            }
        }
        Places(places)
    }

    /// Adds the tables, and the first `held` references of frames, to a snapshot.
    pub(super) fn copy(
        &self,
        store: &mut Store<Context>,
        places: &Places,
        held: u32,
        snapshot: &mut Snapshot,
    ) -> Result<(), String> {
        for table in &self.tables {
            let size = table.size(&*store);
            snapshot.tables.push(copy_table(store, places, table, size)?);
        }
        if let Some(table) = &self.held {
            let size = table.size(&*store).min(u64::from(held));
            snapshot.references = copy_table(store, places, table, size)?;
        }
        Ok(())
    }

    /// How many references frames hold, of which the program says that it is `count`.
    pub(super) fn held(&self, store: &Store<Context>, count: u32) -> usize {
        let size = self.held.map_or(0, |table| table.size(store));
        size.min(u64::from(count)) as usize
    }

    /// Only what frames hold.
    pub(super) fn write_held(
        &self,
        store: &mut Store<Context>,
        references: &[Reference],
    ) -> Result<(), String> {
        if self.held.is_none() && !references.is_empty() {
            return Err("its frames hold references, those of the module do not".into());
        }
        self.held
            .iter()
            .try_for_each(|table| self.write_table(store, table, references))
    }

    /// Says what does not fit.
    pub(super) fn write(&self, store: &mut Store<Context>, snapshot: &Snapshot) -> Result<(), String> {
        let (here, there) = (self.tables.len(), snapshot.tables.len());
        if here != there {
            return Err(format!("it has {there} tables, the module {here}"));
        }
        for (table, references) in self.tables.iter().zip(&snapshot.tables) {
            self.write_table(store, table, references)?;
        }
        self.write_held(store, &snapshot.references)
    }

    fn write_table(
        &self,
        store: &mut Store<Context>,
        table: &Table,
        references: &[Reference],
    ) -> Result<(), String> {
        let more = (references.len() as u64).saturating_sub(table.size(&*store));
        if more > 0 {
            let grown = table.grow(&mut *store, more, Ref::Func(None));
            grown.map_err(|_| format!("a table of {} elements is too large", references.len()))?;
        }
        for (index, reference) in (0..).zip(references) {
            let function = self.function(store, *reference)?;
            table
                .set(&mut *store, index, Ref::Func(function))
                .map_err(|error| format!("{error:#}"))?;
        }
        Ok(())
    }

    /// The function that a reference in a snapshot means here.
    pub(super) fn function(
        &self,
        store: &mut Store<Context>,
        reference: Reference,
    ) -> Result<Option<Func>, String> {
        let Some(place) = reference else {
            return Ok(None);
        };
        match self
            .functions
            .and_then(|functions| functions.get(&mut *store, u64::from(place)))
        {
            Some(Ref::Func(Some(function))) => Ok(Some(function)),
            _ => Err(format!("it refers to function {place}, which there is not")),
        }
    }
}

impl Places {
    pub(super) fn of(&self, store: &mut Store<Context>, function: Option<Func>) -> Result<Reference, String> {
        let Some(function) = function else {
            return Ok(None);
        };
        match self.0.get(&(function.to_raw(&mut *store) as usize)) {
            Some(place) => Ok(Some(*place)),
            None => Err("a reference leads to a function that the compiler did not list".into()),
        }
    }
}

fn copy_table(
    store: &mut Store<Context>,
    places: &Places,
    table: &Table,
    size: u64,
) -> Result<Vec<Reference>, String> {
    (0..size)
        .map(|index| match table.get(&mut *store, index) {
            Some(Ref::Func(function)) => places.of(store, function),
            // Nobody hands the program references of other kinds.
            _ => Ok(None),
        })
        .collect()
}
