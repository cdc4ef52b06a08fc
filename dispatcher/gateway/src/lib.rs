//! The gateway: the fleet over HTTP, for browsers and scripts. It is a front end as the command is: all that
//! it does, it does through a [client](wayfare_client::Client), so it holds nothing that the fleet would
//! miss.
//!
//! ```text
//!   browser, script --HTTP--> access (who may) --> offers (the list of operations) --> Client --MQTT--> fleet
//!                                             \--> stream <-- hub (one task that looks at the fleet for all) <--'
//! ```
//! What always holds: without TLS it listens on this machine alone, with a port for programs' pages beside
//! its own; nobody without the token or the login is answered anything about the fleet, and no page of
//! another origin reaches it; every body, list and queue is bounded; JSON is as the command prints it with
//! `--json`.
//!
//! Reading order: [`params`], [`offer`], [`offers`], [`sources`], `asked`, `answers`, `catalog`; `hub`,
//! `stream`; `listening`, `readings`; `files`, [`metrics`]; `exchange`, `programs`; `access`, `token`,
//! `login`, `entrance`, `guard`, `tls`, `connections`, `bodies`, `assets`; `site`, `server`.
#![forbid(unsafe_code)]

pub mod offer;
pub mod params;
pub mod sources;

mod answers;
mod asked;
mod catalog;
pub mod offers;

mod hub;
mod stream;

mod listening;
mod readings;

mod exchange;
mod files;
pub mod metrics;
mod programs;

mod access;
mod assets;
mod bodies;
mod connections;
mod entrance;
mod guard;
mod login;
mod server;
mod site;
mod tls;
mod token;

pub use access::Allowed;
pub use login::{Login, LoginError};
pub use server::{Gateway, GatewayError, GatewayOptions, Port};
pub use tls::{TlsError, TlsFiles};
