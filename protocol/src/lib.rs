//! What Wayfare's parts say to each other: ids, commands, events, statuses, the messages of a
//! transfer, the wire form of snapshots, topics and limits.
//!
//! Pure data: no I/O, no clock, no async. Whatever comes from outside enters through a `parse`,
//! `decode` or `verify` in here, which bounds and checks it once; past that the types carry the proof.
//!
//! Reading order: [`ids`], [`command`], [`device`], [`grants`], [`event`], [`status`], [`peer`],
//! [`snapshot`], [`life`], [`stamp`], [`address`], [`call`], [`choice`], [`dispatcher`], [`reply`],
//! [`values`], [`trust`]. [`wire`] has the rule by which all of it can change.
#![forbid(unsafe_code)]

pub mod address;
pub mod bundle;
pub mod call;
pub mod choice;
pub mod code;
pub mod command;
pub mod device;
pub mod dispatcher;
pub mod error;
pub mod event;
pub mod files;
mod filter;
pub mod folder;
pub mod grants;
pub mod health;
pub mod ids;
pub mod journal;
mod key;
pub mod labels;
pub mod life;
pub mod limits;
pub mod log;
pub mod numbers;
pub mod open_calls;
pub mod pattern;
pub mod peer;
pub mod ports;
pub mod pull;
pub mod push;
pub mod qos;
pub mod reason;
pub mod reply;
pub mod snapshot;
pub mod stamp;
pub mod status;
mod tags;
pub mod topics;
pub mod trust;
pub mod values;
pub mod wire;
