//! Who can be on the stack at a capture, and where recursion must poll.
//!
//! The graph has a node per function and one per type called indirectly, from which edges lead to every
//! function of that type whose address is taken: the safe guess about where an indirect call goes.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::Operator;

use crate::Options;
use crate::error::CompileError;
use crate::module::{Module, is_foreign};

pub(crate) struct Calls {
    /// By function index: may return unwinding, so calls to it need a check. For imports: may block.
    pub(crate) unwinds: Vec<bool>,
    /// By function index: polls at its entry.
    pub(crate) entry_poll: Vec<bool>,
    /// Functions that drop segments, which must be remembered for a new instance.
    pub(crate) drops: BTreeSet<u32>,
    /// Types through which an indirect call may reach a function that unwinds.
    unwinding_types: BTreeSet<u32>,
    /// Every function that a reference can lead to.
    pub(crate) addressed: BTreeSet<u32>,
    pub(crate) references: References,
}

/// What references the code makes or moves.
#[derive(Default)]
pub(crate) struct References {
    pub(crate) changed_tables: BTreeSet<u32>,
    /// Whether operands or locals may hold some.
    pub(crate) held: bool,
}

impl References {
    /// Whether references can be in the state of a program, other than in tables that never change.
    pub(crate) fn any(&self) -> bool {
        self.held || !self.changed_tables.is_empty()
    }
}

impl Calls {
    pub(crate) fn analyse(module: &Module, options: &Options) -> Result<Self, CompileError> {
        let mut graph = Graph::build(module)?;
        let imported = module.imported_functions() as usize;
        let mut unwinds = vec![false; module.functions.len()];
        for (index, (from, name)) in module.imports.iter().enumerate() {
            unwinds[index] = (options.blocking)(from, name);
            let results = module.function_type(index as u32).results();
            if results.contains(&wasmparser::ValType::FUNCREF) {
                return Err(CompileError::Unsupported(format!(
                    "a reference to a function of the host's (from '{from}.{name}')"
                )));
            }
            if unwinds[index] && graph.addressed.contains(&(index as u32)) {
                return Err(CompileError::Unsupported(format!(
                    "a blocking import called through a table ('{from}.{name}')"
                )));
            }
        }
        let entry = graph.cycle_breakers();
        let mut entry_poll = vec![false; module.functions.len()];
        for (function, polls) in entry_poll.iter_mut().enumerate().skip(imported) {
            *polls = entry.contains(&function);
            unwinds[function] = *polls || graph.has_loop[function];
        }
        let unwinding_types = graph.spread(&mut unwinds);
        Ok(Self {
            unwinds,
            entry_poll,
            drops: graph.drops,
            unwinding_types,
            addressed: graph.addressed,
            references: graph.references,
        })
    }

    pub(crate) fn indirect_unwinds(&self, type_index: u32) -> bool {
        self.unwinding_types.contains(&type_index)
    }
}

struct Graph {
    functions: usize,
    /// Successors; nodes from `functions` on are types.
    edges: Vec<Vec<usize>>,
    has_loop: Vec<bool>,
    drops: BTreeSet<u32>,
    addressed: BTreeSet<u32>,
    references: References,
}

impl Graph {
    fn build(module: &Module) -> Result<Self, CompileError> {
        let functions = module.functions.len();
        let mut edges = vec![Vec::new(); functions + module.types.len()];
        let mut has_loop = vec![false; functions];
        let mut drops = BTreeSet::new();
        let mut addressed = module.addressed.clone();
        let mut references = References {
            held: declares_references(module),
            ..References::default()
        };
        // Each table that changes, with a function that changes it.
        let mut changers = BTreeMap::new();
        for (index, body) in module.bodies.iter().enumerate() {
            let caller = module.imported_functions() as usize + index;
            for operator in body.body.get_operators_reader()? {
                match operator? {
                    Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                        edges[caller].push(function_index as usize);
                    }
                    Operator::CallIndirect { type_index, .. }
                    | Operator::ReturnCallIndirect { type_index, .. } => {
                        edges[caller].push(functions + type_index as usize);
                    }
                    Operator::Loop { .. } => has_loop[caller] = true,
                    Operator::DataDrop { .. } | Operator::ElemDrop { .. } => {
                        drops.insert(caller as u32);
                    }
                    Operator::RefFunc { function_index } => {
                        references.held = true;
                        addressed.insert(function_index);
                    }
                    Operator::RefNull { .. } | Operator::TableGet { .. } => references.held = true,
                    Operator::TableSet { table }
                    | Operator::TableGrow { table }
                    | Operator::TableFill { table } => {
                        changers.insert(table, caller as u32);
                    }
                    Operator::TableCopy { dst_table: table, .. } | Operator::TableInit { table, .. } => {
                        changers.insert(table, caller as u32);
                    }
                    _ => {}
                }
            }
        }
        for (&table, &changer) in &changers {
            if is_foreign(module.tables[table as usize].element_type.into()) {
                let reason = "changing a table of a host's references or exceptions cannot be captured";
                return Err(module.refuse(changer, reason));
            }
        }
        references.changed_tables = changers.into_keys().collect();
        lead_types_to_functions(module, &addressed, &mut edges);
        for successors in &mut edges {
            successors.sort_unstable();
            successors.dedup();
        }
        Ok(Self {
            functions,
            edges,
            has_loop,
            drops,
            addressed,
            references,
        })
    }

    /// Functions of which every cycle holds at least one: the targets of a depth-first search's back edges. A
    /// type's node cannot poll, so in its stead those do that it leads to.
    fn cycle_breakers(&mut self) -> BTreeSet<usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum Colour {
            White,
            Grey,
            Black,
        }
        let mut colour = vec![Colour::White; self.edges.len()];
        let mut breakers = BTreeSet::new();
        for root in 0..self.edges.len() {
            if colour[root] != Colour::White {
                continue;
            }
            colour[root] = Colour::Grey;
            let mut path = vec![(root, 0)];
            while let Some((node, next)) = path.last_mut() {
                let Some(&successor) = self.edges[*node].get(*next) else {
                    colour[*node] = Colour::Black;
                    path.pop();
                    continue;
                };
                *next += 1;
                match colour[successor] {
                    Colour::White => {
                        colour[successor] = Colour::Grey;
                        path.push((successor, 0));
                    }
                    Colour::Grey if successor < self.functions => {
                        breakers.insert(successor);
                    }
                    Colour::Grey => breakers.extend(&self.edges[successor]),
                    Colour::Black => {}
                }
            }
        }
        breakers
    }

    /// Whoever calls what unwinds, unwinds. Gives the types through which that happens.
    fn spread(&self, unwinds: &mut [bool]) -> BTreeSet<u32> {
        let mut callers = vec![Vec::new(); self.edges.len()];
        for (caller, successors) in self.edges.iter().enumerate() {
            for &callee in successors {
                callers[callee].push(caller);
            }
        }
        let mut types = BTreeSet::new();
        let mut queue: Vec<usize> = (0..self.functions).filter(|&f| unwinds[f]).collect();
        while let Some(callee) = queue.pop() {
            for &caller in &callers[callee] {
                let new = if caller < self.functions {
                    !std::mem::replace(&mut unwinds[caller], true)
                } else {
                    types.insert((caller - self.functions) as u32)
                };
                if new {
                    queue.push(caller);
                }
            }
        }
        types
    }
}

fn declares_references(module: &Module) -> bool {
    let is_reference = |ty: &wasmparser::ValType| matches!(ty, wasmparser::ValType::Ref(_));
    let mut types = module.types.iter();
    types.any(|ty| ty.params().iter().chain(ty.results()).any(is_reference))
        || module
            .globals
            .iter()
            .any(|global| is_reference(&global.content_type))
}

/// A type's node leads to all functions of that signature that can be called through a table.
fn lead_types_to_functions(module: &Module, addressed: &BTreeSet<u32>, edges: &mut [Vec<usize>]) {
    // The same signature may stand in the type section more than once.
    let mut by_type: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &function in addressed {
        by_type
            .entry(key(module, module.functions[function as usize]))
            .or_default()
            .push(function as usize);
    }
    for ty in 0..module.types.len() {
        if let Some(targets) = by_type.get(&key(module, ty as u32)) {
            edges[module.functions.len() + ty] = targets.clone();
        }
    }
}

fn key(module: &Module, ty: u32) -> (Vec<wasmparser::ValType>, Vec<wasmparser::ValType>) {
    let ty = &module.types[ty as usize];
    (ty.params().to_vec(), ty.results().to_vec())
}
