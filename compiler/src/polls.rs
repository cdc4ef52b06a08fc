//! Which loops need no poll of their own, because each of their iterations polls anyway.
//!
//! An iteration that surely calls a function which polls at its entry, or surely comes to a loop inside that
//! polls, needs not look at the flag itself: a capture is waited for no longer than one iteration takes up to
//! there. Outer loops of a nest and the loops of recursive functions go without.

use crate::body::{Construct, Function, Jump, Kind, Label, Node, Seq, SiteKind};

/// Nodes that are looked at for one loop. What lies further away is taken for nothing that polls.
const NODES_MAX: usize = 200;

/// Takes away the polls that are not needed.
pub(crate) fn thin_out(function: &mut Function) {
    let mut needless = vec![false; function.sites.len()];
    judge(function, &function.root, &mut needless);
    if needless.contains(&true) {
        function.remove_sites(&needless);
    }
}

/// Inner loops first: whether an outer one polls depends on them.
fn judge(function: &Function, seq: &Seq, needless: &mut [bool]) {
    for node in &seq.nodes {
        let Node::Construct(construct) = node else {
            continue;
        };
        judge(function, &construct.body, needless);
        if let Some(otherwise) = &construct.otherwise {
            judge(function, otherwise, needless);
        }
        if let Some(poll) = own_poll(function, construct) {
            let mut search = Search {
                function,
                needless,
                unpolled: vec![construct.label],
                nodes_left: NODES_MAX,
            };
            let polls = search.surely_polls(&construct.body.nodes[1..]);
            needless[poll] = polls;
        }
    }
}

/// The poll at a loop's header.
fn own_poll(function: &Function, construct: &Construct) -> Option<usize> {
    match (construct.kind, construct.body.nodes.first()) {
        (Kind::Loop, Some(Node::Site(site))) if function.sites[*site].kind == SiteKind::LoopPoll => {
            Some(*site)
        }
        _ => None,
    }
}

struct Search<'f> {
    function: &'f Function,
    needless: &'f [bool],
    /// Where a branch must not lead before there was a poll.
    unpolled: Vec<Label>,
    nodes_left: usize,
}

impl Search<'_> {
    /// Whether whoever comes to these nodes' end, or to a label in `unpolled`, has polled. What leaves the
    /// loop in another way does not matter.
    fn surely_polls(&mut self, nodes: &[Node]) -> bool {
        for node in nodes {
            if !self.looks_on() {
                return false;
            }
            match node {
                Node::Plain { .. } | Node::Drop { .. } => {}
                Node::Site(site) => {
                    let site = &self.function.sites[*site];
                    if site.polls_first {
                        return true;
                    }
                }
                Node::Jump(Jump::BrIf(label)) if !self.unpolled.contains(label) => {}
                Node::Jump(_) => return false,
                Node::Construct(construct) => {
                    if self.construct_polls(construct) {
                        return true;
                    }
                    if self.may_leave(construct) {
                        return false;
                    }
                }
            }
        }
        false
    }

    fn construct_polls(&mut self, construct: &Construct) -> bool {
        if own_poll(self.function, construct).is_some_and(|poll| !self.needless[poll]) {
            return true;
        }
        self.unpolled.push(construct.label);
        let polls = match (construct.kind, &construct.otherwise) {
            // An exception can lead anywhere before the poll.
            (Kind::Try, _) | (Kind::If, None) => false,
            (Kind::If, Some(otherwise)) => {
                self.surely_polls(&construct.body.nodes) && self.surely_polls(&otherwise.nodes)
            }
            (Kind::Block | Kind::Loop, _) => self.surely_polls(&construct.body.nodes),
        };
        self.unpolled.pop();
        polls
    }

    /// Whether something inside leads to a label in `unpolled`, or may for all that we have seen.
    fn may_leave(&mut self, construct: &Construct) -> bool {
        let sequences = [Some(&construct.body), construct.otherwise.as_ref()];
        let mut nodes = sequences.into_iter().flatten().flat_map(|seq| &seq.nodes);
        construct
            .catches
            .iter()
            .any(|(_, label)| self.unpolled.contains(label))
            || nodes.any(|node| {
                !self.looks_on()
                    || match node {
                        Node::Jump(Jump::Br(label) | Jump::BrIf(label)) => self.unpolled.contains(label),
                        Node::Jump(Jump::BrTable(labels, default)) => labels
                            .iter()
                            .chain([default])
                            .any(|label| self.unpolled.contains(label)),
                        Node::Construct(inner) => self.may_leave(inner),
                        _ => false,
                    }
            })
    }

    /// Whether one more node may be looked at.
    fn looks_on(&mut self) -> bool {
        let more = self.nodes_left > 0;
        self.nodes_left = self.nodes_left.saturating_sub(1);
        more
    }
}
