//! The fleet as a client sees it.

use crate::fleet::{EngineView, ProgramView};

/// Everything that is known, at one moment.
#[derive(Debug, Clone, Default)]
pub struct FleetView {
    pub engines: Vec<EngineView>,
    pub programs: Vec<ProgramView>,
}
