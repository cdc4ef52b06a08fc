//! A program in memory.

use crate::sessions::state::Talk;

pub(crate) struct Process {
    pub(crate) instance: u64,
    pub(crate) counter: u64,
    pub(crate) runs: bool,
    pub(crate) talk: Option<Talk>,
}
