//! Parameters that several operations have, and their bounds.

use crate::params::{Kind, Param, param};

/// Values that are listed at most.
pub(super) const VALUES_MAX: usize = 100_000;

pub(super) const TIMEOUT: Param = param("timeout", Kind::Time, "How long it may take; 30s unless given");
pub(super) const DRY_RUN: Param = param(
    "dry_run",
    Kind::Flag,
    "Only say what would happen, or what would refuse it",
);
pub(super) const WHERE: Param = param(
    "where",
    Kind::Text,
    "Only rows of which this is so, such as state = running and memory > 8M",
);
pub(super) const SORT: Param = param(
    "sort",
    Kind::Text,
    "A field to sort by; with - in front the largest first",
);
pub(super) const LIMIT: Param = param("limit", Kind::Count, "At most so many");
pub(super) const FROM: Param = param(
    "from",
    Kind::Count,
    "Leave out so many rows at the beginning: for pages",
);
pub(super) const PROGRAM: Param = param(
    "program",
    Kind::Text,
    "By name, id, or a unique beginning of either",
);
pub(super) const ENGINE: Param = param("engine", Kind::Text, "By name, or a unique beginning of it");
pub(super) const APPLICATION: Param = param("application", Kind::Text, "By name");
