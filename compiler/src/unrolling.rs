//! Which loops are unrolled, so that one poll serves several of their iterations.
//!
//! In a loop of a few instructions the poll is a fair part of all that runs. The smallest loops, which call
//! nothing and hold no other loop, are repeated within themselves: a branch back leads to the next copy of
//! the body, from the last copy to the header, and only there it polls. Larger ones have nothing to gain and
//! would only grow.

use crate::body::{Construct, Function, Kind, Node, Seq};

/// Of WebAssembly, in all copies of one body together.
const UNROLLED_BYTES_MAX: usize = 72;
const COPIES_MAX: usize = 3;
/// What a jump or construct counts for; whether it is encoded in more does not matter here.
const NODE_BYTES: usize = 2;

/// Fills in [`Construct::copies`].
pub(crate) fn plan(function: &mut Function) {
    plan_seq(&mut function.root);
}

fn plan_seq(seq: &mut Seq) {
    for node in &mut seq.nodes {
        let Node::Construct(construct) = node else {
            continue;
        };
        construct.copies = copies(construct);
        plan_seq(&mut construct.body);
        if let Some(otherwise) = &mut construct.otherwise {
            plan_seq(otherwise);
        }
    }
}

fn copies(construct: &Construct) -> usize {
    let polls_only =
        matches!(construct.body.nodes.first(), Some(Node::Site(_))) && construct.sites.len() == 1;
    if construct.kind != Kind::Loop || !polls_only {
        return 1;
    }
    match bytes(&construct.body) {
        Some(bytes) => (UNROLLED_BYTES_MAX / bytes.max(1)).clamp(1, COPIES_MAX),
        None => 1,
    }
}

/// The size of a sequence; `None` if it holds a loop or is too large to be repeated at all.
fn bytes(seq: &Seq) -> Option<usize> {
    let mut sum = 0;
    for node in &seq.nodes {
        sum += match node {
            Node::Plain { bytes, .. } => bytes.len(),
            Node::Construct(construct) if construct.kind == Kind::Loop => return None,
            Node::Construct(construct) => {
                let otherwise = construct.otherwise.as_ref().map_or(Some(0), bytes);
                NODE_BYTES + bytes(&construct.body)? + otherwise?
            }
            Node::Site(_) => 0,
            Node::Drop { .. } | Node::Jump(_) => NODE_BYTES,
        };
        if sum > UNROLLED_BYTES_MAX {
            return None;
        }
    }
    Some(sum)
}
