//! Which locals each site must save: those that may be read after it before they are written again.
//!
//! Backwards over the tree, with the sets at loop headers taken from the pass before, until they no longer
//! change: one pass more than loops are nested. (One pass for each loop and level would be exponential.)

use crate::body::{Function, Jump, Kind, LocalUse, Node, ROOT, Seq};

/// Words of 64 locals each.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Set(Vec<u64>);

impl Set {
    fn empty(locals: usize) -> Self {
        Self(vec![0; locals.div_ceil(64)])
    }
    pub(crate) fn contains(&self, local: u32) -> bool {
        self.0[local as usize / 64] >> (local % 64) & 1 == 1
    }
    fn insert(&mut self, local: u32) {
        self.0[local as usize / 64] |= 1 << (local % 64);
    }
    fn remove(&mut self, local: u32) {
        self.0[local as usize / 64] &= !(1 << (local % 64));
    }
    fn join(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
    fn clear(&mut self) {
        self.0.fill(0);
    }
    fn locals(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| index as u32 * 64 + bit)
        })
    }
}

/// Which locals are alive where.
pub(crate) struct Liveness {
    /// By label: where a branch to it arrives, for loops at the header. `None`: unreachable.
    pub(crate) labels: Vec<Option<Set>>,
    /// By a loop's label: behind the loop.
    pub(crate) behind: Vec<Option<Set>>,
}

struct Pass {
    /// Live where a branch to the label arrives; for loops, at the header, from the pass before.
    labels: Vec<Option<Set>>,
    behind: Vec<Option<Set>>,
    /// Live after each site.
    sites: Vec<Vec<u32>>,
    changed: bool,
    locals: usize,
    /// Live where an exception may lead from here; nothing outside `try_table`.
    handlers: Option<Set>,
}

/// Fills in [`crate::body::Site::live`].
pub(crate) fn analyse(function: &mut Function) {
    let pass = Pass::of(function);
    for (site, live) in function.sites.iter_mut().zip(pass.sites) {
        site.live = live;
    }
}

impl Liveness {
    pub(crate) fn of(function: &Function) -> Self {
        let Pass { labels, behind, .. } = Pass::of(function);
        Self { labels, behind }
    }
}

impl Pass {
    fn of(function: &Function) -> Self {
        let locals = function.locals.len();
        let mut labels = vec![None; function.constructs];
        labels[ROOT] = Some(Set::empty(locals));
        let mut pass = Self {
            labels,
            behind: vec![None; function.constructs],
            sites: vec![Vec::new(); function.sites.len()],
            changed: true,
            locals,
            handlers: None,
        };
        while std::mem::take(&mut pass.changed) {
            pass.seq(&function.root, Set::empty(locals));
        }
        pass
    }

    fn label(&self, label: usize) -> Set {
        self.labels[label]
            .clone()
            .unwrap_or_else(|| Set::empty(self.locals))
    }

    /// What an exception's handler reads is live wherever one may come from.
    fn throwing(&self, live: &mut Set) {
        if let Some(handlers) = &self.handlers {
            live.join(handlers);
        }
    }

    /// From what is live after to what is live before.
    fn seq(&mut self, seq: &Seq, mut live: Set) -> Set {
        for node in seq.nodes.iter().rev() {
            match node {
                Node::Plain { locals, .. } => {
                    for used in locals.iter().rev() {
                        match *used {
                            LocalUse::Get(local) => live.insert(local),
                            LocalUse::Set(local) | LocalUse::Tee(local) => live.remove(local),
                        }
                    }
                }
                Node::Drop { .. } => {}
                Node::Jump(jump) => match jump {
                    Jump::Br(label) => live = self.label(*label),
                    Jump::BrIf(label) => live.join(&self.label(*label)),
                    Jump::BrTable(labels, default) => {
                        live = self.label(*default);
                        for label in labels {
                            live.join(&self.label(*label));
                        }
                    }
                    Jump::TailCall(_) | Jump::Throw(_) | Jump::Return | Jump::Unreachable => live.clear(),
                },
                Node::Site(site) => {
                    self.throwing(&mut live);
                    self.sites[*site] = live.locals().collect();
                }
                Node::Construct(construct) => match construct.kind {
                    Kind::Block => {
                        self.labels[construct.label] = Some(live.clone());
                        live = self.seq(&construct.body, live);
                    }
                    Kind::Try => {
                        self.labels[construct.label] = Some(live.clone());
                        let mut handlers = self.handlers.clone().unwrap_or_else(|| Set::empty(self.locals));
                        for (_, label) in &construct.catches {
                            handlers.join(&self.label(*label));
                        }
                        let outer = self.handlers.replace(handlers);
                        live = self.seq(&construct.body, live);
                        self.handlers = outer;
                    }
                    Kind::If => {
                        self.labels[construct.label] = Some(live.clone());
                        let otherwise = match &construct.otherwise {
                            Some(seq) => self.seq(seq, live.clone()),
                            None => live.clone(),
                        };
                        live = self.seq(&construct.body, live);
                        live.join(&otherwise);
                    }
                    Kind::Loop => {
                        self.behind[construct.label] = Some(live.clone());
                        live = self.seq(&construct.body, live);
                        if self.labels[construct.label].as_ref() != Some(&live) {
                            self.labels[construct.label] = Some(live.clone());
                            self.changed = true;
                        }
                    }
                },
            }
            self.throwing(&mut live);
        }
        live
    }
}
