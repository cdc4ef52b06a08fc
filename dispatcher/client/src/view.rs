//! The fleet as a client sees it.

use std::sync::Arc;

use crate::fleet::{EngineView, ProgramView};

/// Everything that is known, at one moment.
#[derive(Debug, Clone, Default)]
pub struct FleetView {
    pub engines: Vec<EngineView>,
    /// In the order of their ids; shared by all who look until one of them changes.
    pub programs: Arc<[ProgramView]>,
}
