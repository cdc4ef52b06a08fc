//! What each site saves, in which order, and how sites share the code that saves it.
//!
//! Stores are most of what the rewriting adds, and nearly all of them are the same ones: neighbouring sites
//! need nearly the same values. So the stores of a function are one tree. A site enters it at a node and runs
//! on to the root; on its way lie exactly the values that it needs:
//! ```text
//!   site 1: n            site 2: n, i          site 3: n, i, total
//!        |                    |                     |
//!        |                    |                 save total
//!        |                 save i  <----------------+
//!      save n <---------------+
//!      site's number, twin's number, the new top; return
//! ```
//! Values that many sites need are near the root. Sites share a node only where the value has the same
//! definition as far as [`Definitions`] can tell: a compiler would have to move differing ones into one place
//! first, which costs as much as a store. A wrong guess costs such moves, never correctness.

use std::collections::BTreeMap;

use wasmparser::ValType;

use crate::body::{Construct, Function, Kind, LocalUse, Node, Seq, Site};
use crate::error::CompileError;
use crate::module::Module;

/// What the definitions of one function may take up; beyond it they are taken for one.
const ASSIGNED_MAX: usize = 4 << 20;

/// Values that the sites of a module may move together, however small it is.
const VALUES_MIN: usize = 50_000;
/// As many more for each byte of a function. What compilers make of large interpreters needs a quarter of
/// that.
const VALUES_PER_BYTE: usize = 16;

/// What a module's sites may cost: each value that is live or on the operand stack at one is stored and
/// loaded somewhere, and compiling that takes a machine some 20 microseconds and 2 KiB.
pub(crate) struct Budget {
    allowed: usize,
    used: usize,
    /// The function furthest above its share: by how many values, which, how many it has and at how many
    /// sites.
    worst: (usize, u32, usize, usize),
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            allowed: VALUES_MIN,
            used: 0,
            worst: (0, 0, 0, 0),
        }
    }

    /// Adds a function of so many bytes; refuses if that is too much, and names the function that is to
    /// blame.
    pub(crate) fn spend(
        &mut self,
        module: &Module,
        function: &Function,
        bytes: usize,
    ) -> Result<(), CompileError> {
        let sites = &function.sites;
        let moved = |site: &Site| site.live.len() + site.stack.len() + site.results.len();
        let values: usize = sites.iter().map(moved).sum();
        let share = VALUES_PER_BYTE * bytes;
        self.allowed += share;
        self.used += values;
        let excess = values.saturating_sub(share);
        self.worst = self.worst.max((excess, function.index, values, sites.len()));
        if self.used <= self.allowed {
            return Ok(());
        }
        let (_, worst, values, sites) = self.worst;
        let reason = format!(
            "{values} values to save at its {sites} calls and loops, out of proportion to its size: split the function, or keep \
             what it holds in memory"
        );
        Err(module.refuse(worst, reason))
    }
}

/// Something that a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Local(u32),
    /// An operand, by its height.
    Operand(usize, ValType),
}

/// One function's frames, and the code that saves them.
pub(crate) struct Frames {
    /// By site: its values in the order in which they stand in the frame, those near the root first.
    pub(crate) values: Vec<Vec<Value>>,
    /// By site: the label that it leaves for.
    pub(crate) entries: Vec<usize>,
    /// The code that saves, labels numbered in this order.
    pub(crate) steps: Vec<Step>,
    pub(crate) labels: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next label stands here.
    Label,
    /// A site comes in, whose values take so many bytes.
    Enter {
        bytes: u32,
    },
    /// The value belongs `offset` bytes into the frame.
    Save {
        value: Value,
        offset: u32,
    },
    Goto(usize),
}

#[derive(Default)]
struct TreeNode {
    value: Option<Value>,
    /// Bytes of the values from the root to here, without this one.
    offset: u32,
    children: Vec<usize>,
    /// Whether some site begins here, and the label of that.
    entry: Option<usize>,
    /// Where children arrive that stand further away.
    joined: Option<usize>,
}

impl Frames {
    pub(crate) fn plan(function: &Function) -> Self {
        let definitions = Definitions::of(function);
        let mut uses: BTreeMap<(Value, u32), usize> = BTreeMap::new();
        for definition in definitions.sites.iter().flatten() {
            *uses.entry(*definition).or_default() += 1;
        }
        let mut tree = vec![TreeNode::default()];
        let mut known: BTreeMap<(usize, Value, u32), usize> = BTreeMap::new();
        let mut values = Vec::with_capacity(function.sites.len());
        let mut leaves = Vec::with_capacity(function.sites.len());
        for mut path in definitions.sites {
            path.sort_unstable_by_key(|definition| (std::cmp::Reverse(uses[definition]), *definition));
            let mut node = 0;
            for &(value, definition) in &path {
                let next = tree.len();
                let child = *known.entry((node, value, definition)).or_insert(next);
                if child == next {
                    let offset = end(&tree[node], function);
                    tree[node].children.push(child);
                    tree.push(TreeNode {
                        value: Some(value),
                        offset,
                        ..TreeNode::default()
                    });
                }
                node = child;
            }
            tree[node].entry = Some(0);
            values.push(path.into_iter().map(|(value, _)| value).collect());
            leaves.push(node);
        }
        let (steps, labels) = if leaves.is_empty() {
            (Vec::new(), 0)
        } else {
            lay_out(&mut tree, function)
        };
        let entry = |leaf: usize| tree[leaf].entry.expect("sites begin there");
        Self {
            values,
            entries: leaves.into_iter().map(entry).collect(),
            steps,
            labels,
        }
    }
}

/// Children before their parents, the last child falling through to its parent.
fn lay_out(tree: &mut [TreeNode], function: &Function) -> (Vec<Step>, usize) {
    let mut steps = Vec::new();
    let mut labels = 0;
    let mut label = |steps: &mut Vec<Step>| {
        steps.push(Step::Label);
        labels += 1;
        labels - 1
    };
    // Gotos name nodes until all labels are known.
    let mut path = vec![(0, 0)];
    while let Some((node, next)) = path.last_mut() {
        let node = *node;
        if let Some(&child) = tree[node].children.get(*next) {
            *next += 1;
            path.push((child, 0));
            continue;
        }
        path.pop();
        let arrivals = tree[node].children.len() + usize::from(tree[node].entry.is_some());
        if tree[node].entry.is_some() {
            if !tree[node].children.is_empty() {
                steps.push(Step::Goto(node));
            }
            tree[node].entry = Some(label(&mut steps));
            let bytes = end(&tree[node], function);
            steps.push(Step::Enter { bytes });
        }
        if arrivals > 1 {
            tree[node].joined = Some(label(&mut steps));
        }
        if let Some(value) = tree[node].value {
            let offset = tree[node].offset;
            steps.push(Step::Save { value, offset });
        }
        if let Some(&(parent, next)) = path.last()
            && next < tree[parent].children.len()
        {
            steps.push(Step::Goto(parent));
        }
    }
    for step in &mut steps {
        if let Step::Goto(node) = step {
            *node = tree[*node].joined.expect("several arrive there");
        }
    }
    (steps, labels)
}

/// Bytes from the frame's start to behind the node's value.
fn end(node: &TreeNode, function: &Function) -> u32 {
    node.offset + node.value.map_or(0, |value| size(value.ty(function)))
}

impl Value {
    pub(crate) fn ty(self, function: &Function) -> ValType {
        match self {
            Self::Local(local) => function.locals[local as usize],
            Self::Operand(_, ty) => ty,
        }
    }
}

/// What a value takes in a frame; references stand in a table of their own.
pub(crate) fn size(ty: ValType) -> u32 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
        ValType::Ref(_) => 0,
    }
}

/// Numbers for the definitions of values that reach a site: the last assignment, or the last place where
/// several may meet.
struct Definitions<'f> {
    function: &'f Function,
    locals: Vec<u32>,
    last: u32,
    /// By construct: the locals assigned inside.
    assigned: Vec<Vec<u32>>,
    sites: Vec<Vec<(Value, u32)>>,
}

impl<'f> Definitions<'f> {
    fn of(function: &'f Function) -> Self {
        let mut assigned = vec![Vec::new(); function.constructs];
        let mut room = ASSIGNED_MAX;
        assigned_in(&function.root, &mut assigned, &mut room);
        let mut definitions = Self {
            function,
            locals: vec![0; function.locals.len()],
            last: 0,
            assigned,
            sites: vec![Vec::new(); function.sites.len()],
        };
        definitions.seq(&function.root);
        definitions
    }

    fn fresh(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn seq(&mut self, seq: &Seq) {
        for node in &seq.nodes {
            match node {
                Node::Plain { locals, .. } => {
                    for used in locals {
                        if let LocalUse::Set(local) | LocalUse::Tee(local) = *used {
                            self.locals[local as usize] = self.fresh();
                        }
                    }
                }
                Node::Site(site) => self.site(*site),
                Node::Construct(construct) => self.construct(construct),
                Node::Drop { .. } | Node::Jump(_) => {}
            }
        }
    }

    fn site(&mut self, index: usize) {
        let site = &self.function.sites[index];
        let mut values: Vec<(Value, u32)> = site
            .live
            .iter()
            .map(|&local| (Value::Local(local), self.locals[local as usize]))
            .collect();
        for (height, &ty) in site.saved_operands().iter().enumerate() {
            values.push((Value::Operand(height, ty), site.pushed[height]));
        }
        self.sites[index] = values;
    }

    fn construct(&mut self, construct: &Construct) {
        match construct.kind {
            Kind::Loop => {
                self.meet(construct);
                self.seq(&construct.body);
            }
            Kind::Block | Kind::Try => {
                self.seq(&construct.body);
                self.meet(construct);
            }
            Kind::If => {
                let assigned = &self.assigned[construct.label];
                let before: Vec<u32> = assigned
                    .iter()
                    .map(|&local| self.locals[local as usize])
                    .collect();
                self.seq(&construct.body);
                for (&local, definition) in self.assigned[construct.label].iter().zip(before) {
                    self.locals[local as usize] = definition;
                }
                if let Some(otherwise) = &construct.otherwise {
                    self.seq(otherwise);
                }
                self.meet(construct);
            }
        }
    }

    /// Here several definitions may arrive of what is assigned inside.
    fn meet(&mut self, construct: &Construct) {
        for index in 0..self.assigned[construct.label].len() {
            let local = self.assigned[construct.label][index];
            self.locals[local as usize] = self.fresh();
        }
    }
}

/// Fills in what each construct assigns, and gives what the sequence does.
fn assigned_in(seq: &Seq, all: &mut [Vec<u32>], room: &mut usize) -> Vec<u32> {
    let mut assigned = Vec::new();
    for node in &seq.nodes {
        match node {
            Node::Plain { locals, .. } => assigned.extend(locals.iter().filter_map(|used| match used {
                LocalUse::Set(local) | LocalUse::Tee(local) => Some(*local),
                LocalUse::Get(_) => None,
            })),
            Node::Construct(construct) => {
                let mut inside = assigned_in(&construct.body, all, room);
                if let Some(otherwise) = &construct.otherwise {
                    inside.extend(assigned_in(otherwise, all, room));
                    inside.sort_unstable();
                    inside.dedup();
                }
                assigned.extend_from_slice(&inside);
                if inside.len() <= *room {
                    *room -= inside.len();
                    all[construct.label] = inside;
                }
            }
            Node::Site(_) | Node::Drop { .. } | Node::Jump(_) => {}
        }
    }
    assigned.sort_unstable();
    assigned.dedup();
    assigned
}
