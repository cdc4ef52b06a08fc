//! `wayfare dispatcher`: the fleet's dispatcher, in the foreground.

use tracing_subscriber::EnvFilter;
use wayfare_dispatcher::service::{self, AheadCompiler, ServiceOptions};
use wayfare_engine::process::ahead;
use wayfare_protocol::ids::{OperationId, PeerName};

use super::engine::shutdown;
use crate::args::DispatcherArgs;
use crate::config::{Settings, state_folder};
use crate::fail::{Fail, Result};

/// It is a service: it says what it does.
pub(super) fn begin_log(args: &DispatcherArgs) -> Result {
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|error| Fail::usage(format!("--log-level '{}': {error}", args.log_level)))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    Ok(())
}

/// Until Ctrl-C or a polite kill.
pub(super) async fn run(args: DispatcherArgs) -> Result {
    let settings = Settings::load(&args.fleet)?;
    let data = match args.data {
        Some(data) => data,
        None => state_folder()
            .map(|folder| folder.join("dispatcher"))
            .ok_or_else(|| Fail::usage("no home folder to keep data in: give one with --data"))?,
    };
    let mut options = ServiceOptions::new(settings.broker, args.name.unwrap_or_else(a_name), data);
    options.topics = settings.topics;
    options.lease = args.lease;
    options.policy = args.policy;
    options.poll = args.poll;
    options.late_after = args.late_after;
    options.lost_after = args.lost_after;
    options.memory_mark_percent = args.memory_mark;
    options.processor_mark_percent = args.processor_mark;
    options.compiler = Some(compiler());
    let ended = service::run(options, shutdown(None)?).await;
    ended.map_err(|error| Fail::new("dispatcher", error.to_string()))
}

/// For one that was given none.
pub(super) fn a_name() -> PeerName {
    let name = format!("dispatcher-{}", OperationId::random().short());
    name.parse().expect("letters, digits and a hyphen make a name")
}

/// The engine's own, which knows what engines offer to programs.
pub(super) fn compiler() -> AheadCompiler {
    AheadCompiler {
        name: ahead::compiler(),
        wasmtime: ahead::WASMTIME_VERSION.into(),
        compile: ahead::compile,
    }
}
