//! All operations, by group: an operation that is not in one of these tables does not exist.

mod apps;
mod devices;
mod looking;
mod maintenance;
mod messages;
mod orders;
mod parameters;
mod starting;
mod values;

use crate::offer::Offer;

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

/// All operations, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Offer> {
    GROUPS.iter().flat_map(|(_, offers)| offers.iter())
}
