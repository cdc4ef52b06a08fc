//! Spans of operations for a collector that speaks OTLP: one tree for each operation, through whoever gave
//! it, the dispatcher, and the engines that carry it out.
//!
//! ```text
//!   client -------\
//!   dispatcher ----+-- spans `operation` with its id --> OperationSpans --> batches --> collector: a trace
//!   engines ------/
//!   dispatcher ------- span `order`, when it has ended ------^  (the tree's root)
//! ```
//! What always holds: a trace's id is the operation's, and its root's follows from that, so that nothing has
//! to travel for the tree to hold together. Only spans with an operation are exported; what is logged in them
//! stands with them, and nothing waits for the collector.
#![forbid(unsafe_code)]

#[cfg(feature = "test-collector")]
pub mod collector;
mod export;
mod layer;

pub use export::{ENDPOINT_VARIABLE, Exporting, SetupError, exporting};
pub use layer::OperationSpans;
