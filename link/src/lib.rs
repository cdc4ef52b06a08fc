//! Wayfare's MQTT session, and the embedded broker.
//!
//! This crate keeps MQTT's rules for everybody else: nothing outside it names an MQTT client library, and
//! nothing outside `broker` names the embedded broker's library. Another client or broker could take their
//! place without a change elsewhere.
//!
//! ```text
//!             Link (handle, any number)                       LinkEvents (one)
//!   publish / subscribe / acknowledge / close                    next()
//!                 |                                                 ^
//!                 v                                                 |
//!   +-------------------------------- session ---------------------------------+
//!   |  Outbox        Subscriptions      Backoff                          Inbox |   one task owns all of it
//!   +------------------------------------ | ------------------------------------+
//!                                         v
//!                       one event loop of the client library per connection
//! ```
//!
//! What always holds:
//! - A message published at [`Qos::AtLeastOnce`] stays in the outbox until the broker has acknowledged it,
//!   through any number of connections and lost sessions, and goes out in the order of publishing.
//! - An acknowledgement made for an earlier connection is dropped; the broker sends that message again.
//! - The session's task never waits for the caller: a slow receiver slows reading down, but keep-alives and
//!   publishing go on.
//! - Nothing that one connection left behind reaches the next: each has an event loop of its own.

#![forbid(unsafe_code)]

mod limits;

mod access;
mod broker_url;
mod error;
mod event;
mod link;
mod message;
mod options;
mod own_folder;

mod attempt;
mod backoff;
mod command;
mod inbox;
mod machine;
mod outbox;
mod session;
mod subscriptions;
mod tls;
mod wire;

#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "test-broker")]
pub mod mosquitto;

pub use access::{AccessError, BrokerAccess, read_login};
pub use broker_url::{BrokerUrl, BrokerUrlError};
pub use error::LinkError;
pub use event::Event;
pub use limits::{INCOMING_PAYLOAD_BYTES_MAX, RECONNECT_WAIT_MAX};
pub use link::{Link, LinkEvents, Submitted, connect};
pub use machine::machine_name;
pub use message::{AcknowledgeToken, Incoming, Message, Oversized};
pub use options::{Acknowledge, LinkOptions, OnTakeover};
pub use own_folder::open_own_folder;
pub use tls::TlsError;
pub use wayfare_protocol::qos::Qos;

#[cfg(feature = "broker")]
pub use broker::{BrokerError, BrokerLogin, BrokerOptions, EmbeddedBroker};
