//! What the rewriting did to a module, for `wayfare inspect`.

/// Sizes are of WebAssembly code in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Imported functions: module and name.
    pub imports: Vec<(String, String)>,
    pub functions: usize,
    /// Functions that can be on the stack at a capture; the others stayed as they were.
    pub functions_rewritten: usize,
    /// Sites: at loop headers, at function entries, at calls that may unwind, at imported functions that
    /// may block.
    pub loop_polls: usize,
    pub entry_polls: usize,
    pub calls_checked: usize,
    pub blocking_calls: usize,
    /// The original module, the rewritten one without its twins, and the twins or their module.
    pub bytes_before: usize,
    pub bytes_after: usize,
    pub bytes_twins: usize,
}

impl Report {
    pub fn sites(&self) -> usize {
        self.loop_polls + self.entry_polls + self.calls_checked + self.blocking_calls
    }
}
