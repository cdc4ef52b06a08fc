//! All operations, by group: an operation that is not in one of these tables does not exist.

mod apps;
mod devices;
mod looking;
mod maintenance;
mod messages;
mod orders;
mod starting;
mod values;

use crate::offer::{Kind, Offer, Param, param};

/// With the groups' names.
pub(crate) static GROUPS: [(&str, &[Offer]); 8] = [
    ("The fleet", looking::OFFERS),
    ("Programs", orders::OFFERS),
    ("Starting programs", starting::OFFERS),
    ("Applications", apps::OFFERS),
    ("Values", values::OFFERS),
    ("Messages and calls", messages::OFFERS),
    ("Devices", devices::OFFERS),
    ("Maintenance", maintenance::OFFERS),
];

/// Values that are listed at most.
const VALUES_MAX: usize = 100_000;

const TIMEOUT: Param = param("timeout", Kind::Time, "How long it may take; 30s unless given");
const DRY_RUN: Param = param(
    "dry_run",
    Kind::Flag,
    "Only say what would happen, or what would refuse it",
);
const WHERE: Param = param(
    "where",
    Kind::Text,
    "Only rows of which this is so, such as state = running and memory > 8M",
);
const SORT: Param = param(
    "sort",
    Kind::Text,
    "A field to sort by; with - in front the largest first",
);
const LIMIT: Param = param("limit", Kind::Count, "At most so many");
const FROM: Param = param(
    "from",
    Kind::Count,
    "Leave out so many rows at the beginning: for pages",
);
const PROGRAM: Param = param(
    "program",
    Kind::Text,
    "By name, id, or a unique beginning of either",
);
const ENGINE: Param = param("engine", Kind::Text, "By name, or a unique beginning of it");
const APPLICATION: Param = param("application", Kind::Text, "By name");
