//! The library that every Wayfare front end uses: it sends commands to engines, waits for their answers,
//! hands over the bytes they ask for, and keeps a view of the fleet.
//!
//! ```text
//!   Client (handle, any number)  --bounded queue-->  task: owns Link, core::Core and the watchers
//!     apply, ...                                           |  decides: core (pure)
//!     logs -> LogStream, events -> EventStream   <---------+  knows:   fleet (pure)
//! ```
//! What always holds: a command is sent at least once and repeated until it is answered, which is harmless
//! because its id travels with it; every command settles, with a typed error when its time is up.
//!
//! ```
//! use std::time::Duration;
//!
//! use wayfare_client::{Client, ClientOptions};
//! use wayfare_link::{BrokerOptions, EmbeddedBroker};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let broker = EmbeddedBroker::start(BrokerOptions::loopback()).await?;
//! let fleet = Client::connect(ClientOptions::new(broker.local_addr().into())).await?;
//! let report = fleet.request_status_reports(Duration::from_millis(10)).await?;
//! assert!(report.answered.is_empty(), "no engine is there yet");
//! fleet.close().await;
//! broker.shutdown().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: [`client`], [`order`], [`operation`], `core`, [`fleet`], [`lookup`], `transfer`, [`logs`],
//! [`calls`]. What front ends share when they show it: [`rows`], [`query`], [`lists`], [`documents`],
//! [`problem`]. The fleet's long-running dispatcher, `wayfare-dispatcher`, is built on the same handle.
#![forbid(unsafe_code)]

pub mod client;
pub mod order;

pub mod error;
pub mod operation;

mod core;
mod signing;
mod task;
mod view;

pub mod lookup;

mod transfer;

mod following;
mod log_merge;
pub mod logs;
pub mod numbers;
pub mod stored_logs;

pub mod lists;

pub mod calls;
pub mod files;
pub mod keys;
pub mod watching;

pub mod documents;
pub mod problem;
pub mod query;
pub mod rows;
pub mod typed;

pub use crate::core::{Finished, Progress, Report};
pub use client::would::Would;
pub use client::{
    ANSWER_TIMEOUT, Client, ClientOptions, LeaseWatch, Messages, MessagesError, Published, Retain,
    RosterWatch, Session, acting_session,
};
pub use error::{AskError, CommandError, ConnectError, Stage};
pub use log_merge::{LogItem, LogMerge};
pub use logs::{EventStream, Follow, LogStream};
pub use lookup::LookupError;
pub use operation::{Operation, QueueNote};
pub use task::{IncomingRequest, Overheard};
pub use transfer::Content;
pub use view::FleetView;
pub use wayfare_fleet::fleet::{EngineView, FleetChanges, Heard, Presence, ProgramView};
pub use wayfare_link::machine_name;
// What a front end names besides the handle.
pub use wayfare_fleet::{app, fleet, operations};
pub use wayfare_scheduler::policy::Policy;

pub use order::{
    Busy, CommandOptions, EXPIRY_MAX, Expiry, IdChoice, Marked, Offline, Order, Restore, ResumeMode, Run,
};
