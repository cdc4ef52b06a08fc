//! The part of the engine that acts: it feeds the core what happens, and carries out what the core decides.
//!
//! Reading order: [`run()`] begins and ends an engine; `agent` is its loop. Below the loop is what several of
//! its parts take part in: `assembly` and `ending`; `arriving`, what comes over the link; `effects`, what the
//! core has decided; `launching`, `captures` and `transfers`, which that takes; `programs_said`, `saying` and
//! `asked`.
//!
//! The parts know nothing of the loop. `inbound`, `outbound` and `subscriptions` are the wire, `trust` and
//! `places` whose orders count, `fence` what comes before anything is said on a new connection, `leaving`
//! what comes before the end, `claim` and `hold` what an engine does about another with its id, `fetches`
//! compiled code, `logs` what programs print and `followers` who reads that; `programs` the processes,
//! `session` and `sessions` their messages, `service_requests` what they want of the dispatcher, `statuses`
//! where they are, `announcing` who of them can be called, `questions` and `numbers` what people ask,
//! `metrics` the same for Prometheus, `work` what takes long, `apart` what compiles, `spans` for which
//! operation something is done; `store` is everything that survives.

mod run;

mod agent;
mod announcing;
mod claim;
mod fence;
mod followers;
mod hold;
mod inbound;
mod leaving;
mod logs;
mod outbound;
mod own_key;
mod places;
mod service_requests;
mod statuses;
mod subscriptions;
mod trust;

mod fetches;
mod fetching;

#[cfg(feature = "compiler")]
mod apart;
mod background;
mod code_workshop;
mod machine;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "shell/no_metrics.rs"]
mod metrics;
mod modules;
mod numbers;
mod programs;
mod questions;
mod session;
mod sessions;
mod snapshots;
mod spans;
mod supervisor;
mod work;

mod arguments;
mod configuration;
mod occasional;
mod options;
mod standalone;
mod store;

#[cfg(feature = "compiler")]
pub use apart::{CompilerLimits, compile_if_asked};
pub use arguments::EngineArgs;
pub use configuration::{ConfigurationError, InitArgs, Initialised};
pub use options::{CodeFrom, EngineOptions};
pub use run::run;
pub use standalone::{LogWriter, run_to_the_end, runtime, stop_signals};
pub use store::Cache;
pub use store::OpenError;
