//! A function's body as a tree of constructs, with the sites where it can be captured.
//!
//! Unreachable code is dropped, so every type on the operand stack is known. A [`Node::Plain`] is a run of
//! instructions that is copied as bytes: indices never change, only labels do.

use std::ops::Range;

use wasmparser::{Catch, ValType};

/// Which construct a branch leads to: [`ROOT`] is the function itself.
pub(crate) type Label = usize;
pub(crate) const ROOT: Label = 0;

pub(crate) struct Function {
    pub(crate) index: u32,
    pub(crate) params: usize,
    /// Parameters first.
    pub(crate) locals: Vec<ValType>,
    pub(crate) results: Vec<ValType>,
    pub(crate) root: Seq,
    pub(crate) sites: Vec<Site>,
    pub(crate) constructs: usize,
}

#[derive(Default)]
pub(crate) struct Seq {
    pub(crate) nodes: Vec<Node>,
}

pub(crate) enum Node {
    Plain {
        bytes: Range<usize>,
        locals: Vec<LocalUse>,
    },
    /// `data.drop` or `elem.drop`, which must be remembered for a new instance.
    Drop {
        segment: Segment,
        bytes: Range<usize>,
    },
    Jump(Jump),
    /// An index into [`Function::sites`].
    Site(usize),
    Construct(Box<Construct>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Data(u32),
    Elements(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalUse {
    Get(u32),
    Set(u32),
    Tee(u32),
}

pub(crate) enum Jump {
    Br(Label),
    BrIf(Label),
    BrTable(Vec<Label>, Label),
    /// A tail call: the frame is gone before the callee begins, so there is nothing to save.
    TailCall(Range<usize>),
    Throw(Range<usize>),
    Return,
    Unreachable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Block,
    Loop,
    If,
    Try,
}

pub(crate) struct Construct {
    pub(crate) label: Label,
    pub(crate) kind: Kind,
    pub(crate) params: Vec<ValType>,
    pub(crate) results: Vec<ValType>,
    /// Where the enclosing construct's operands begin.
    pub(crate) base: usize,
    /// All operands before the construct, the function's lowest first, with parameters and condition. Empty
    /// if it holds no site: then nobody asks.
    pub(crate) stack: Vec<ValType>,
    /// For [`Kind::Try`]: its clauses and where they lead.
    pub(crate) catches: Vec<(Catch, Label)>,
    pub(crate) body: Seq,
    pub(crate) otherwise: Option<Seq>,
    /// Sites inside, and where those of the `else` branch begin.
    pub(crate) sites: Range<usize>,
    pub(crate) otherwise_sites: usize,
    /// For [`Kind::Loop`]: how often the body stands in it, see [`crate::unrolling`].
    pub(crate) copies: usize,
}

pub(crate) struct Site {
    pub(crate) kind: SiteKind,
    pub(crate) base: usize,
    /// All operands, the call's arguments included.
    pub(crate) stack: Vec<ValType>,
    /// Numbers of the instructions that pushed them: the same number at two sites means the same value.
    pub(crate) pushed: Vec<u32>,
    /// The call as it is to be issued, its arguments (an indirect call's index included) and results.
    pub(crate) call: Call,
    pub(crate) args: usize,
    pub(crate) results: Vec<ValType>,
    /// Calls a function that polls before it does anything else.
    pub(crate) polls_first: bool,
    /// Locals whose values are needed after the site.
    pub(crate) live: Vec<u32>,
}

#[derive(Clone)]
pub(crate) enum Call {
    /// Polls call nothing.
    None,
    Copied(Range<usize>),
    Import(u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SiteKind {
    LoopPoll,
    EntryPoll,
    /// A call that may come back unwinding; resumed by resuming the callee.
    Call,
    /// A call of an imported function that may block; resumed by calling again.
    Blocking,
}

impl LocalUse {
    pub(crate) fn local(self) -> u32 {
        match self {
            Self::Get(local) | Self::Set(local) | Self::Tee(local) => local,
        }
    }
}

impl SiteKind {
    pub(crate) fn is_poll(self) -> bool {
        matches!(self, Self::LoopPoll | Self::EntryPoll)
    }
}

impl Site {
    /// Operands that go into the frame: not the arguments of a call that has begun.
    pub(crate) fn saved_operands(&self) -> &[ValType] {
        match self.kind {
            SiteKind::Call => &self.stack[..self.stack.len() - self.args],
            _ => &self.stack,
        }
    }
}

impl Function {
    /// Takes the sites out for which `removed` says so, and numbers the others anew.
    pub(crate) fn remove_sites(&mut self, removed: &[bool]) {
        // By old number, how many before it are kept; one more, since ranges end behind the last site.
        let mut numbers = vec![0];
        for (number, removed) in removed.iter().enumerate() {
            numbers.push(numbers[number] + usize::from(!removed));
        }
        renumber(&mut self.root, removed, &numbers);
        let mut removed = removed.iter();
        self.sites.retain(|_| removed.next() == Some(&false));
    }
}

fn renumber(seq: &mut Seq, removed: &[bool], numbers: &[usize]) {
    seq.nodes
        .retain(|node| !matches!(node, Node::Site(site) if removed[*site]));
    for node in &mut seq.nodes {
        match node {
            Node::Site(site) => *site = numbers[*site],
            Node::Construct(construct) => {
                construct.sites = numbers[construct.sites.start]..numbers[construct.sites.end];
                if let Some(middle) = numbers.get(construct.otherwise_sites) {
                    construct.otherwise_sites = *middle;
                }
                renumber(&mut construct.body, removed, numbers);
                if let Some(otherwise) = &mut construct.otherwise {
                    renumber(otherwise, removed, numbers);
                }
            }
            _ => {}
        }
    }
}
