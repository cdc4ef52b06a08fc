//! `wayfare dispatcher`: the fleet's dispatcher, in the foreground.

use std::path::PathBuf;

use tokio::runtime::Handle;
use wayfare_dispatcher::compilers::{Compiler, Compilers, OutsideCompiler, OutsideLimits};
use wayfare_dispatcher::options::{LogLimits, OperationLimits, ServiceOptions};
use wayfare_dispatcher::service;
use wayfare_protocol::ids::{OperationId, PeerName};

use super::compile;
use super::engine::shutdown;
use super::http::BesideDispatcher;
use crate::args::services::DispatcherArgs;
use crate::config::Settings;
use crate::fail::{Fail, Result};
use crate::folders::state_folder;
use crate::service_log::ServiceLog;

/// Until Ctrl-C or a polite kill.
pub(super) async fn run(args: DispatcherArgs) -> Result {
    let name = args.name.unwrap_or_else(a_name);
    let whose = ("wayfare-dispatcher", name.as_str());
    let log = ServiceLog::begin(&args.log_level, whose, &Handle::current())?;
    let settings = Settings::load(&args.fleet)?;
    let data = match args.data {
        Some(data) => data,
        None => state_folder()
            .map(|folder| folder.join("dispatcher"))
            .ok_or_else(|| Fail::usage("no home folder to keep data in: give one with --data"))?,
    };
    let _http = BesideDispatcher::start(&settings, &args.http, &data)?;
    let mut options = ServiceOptions::new(settings.broker, name, data);
    options.topics = settings.topics;
    options.trust_root = args.trust_root.or(settings.trust_root);
    options.lease = args.lease;
    options.standbys = usize::from(args.standbys);
    options.policy = args.policy;
    options.poll = args.poll;
    options.late_after = args.late_after;
    options.lost_after = args.lost_after;
    options.grace = args.grace;
    options.memory_mark_percent = args.memory_mark;
    options.processor_mark_percent = args.processor_mark;
    options.store = args.store;
    options.files = args.files;
    options.logs = LogLimits {
        bytes_max: args.logs_max,
        program_bytes_max: args.logs_per_program,
        age_ms: u64::try_from(args.logs_for.as_millis()).unwrap_or(u64::MAX),
    };
    options.operations = OperationLimits {
        operations_max: usize::try_from(args.ops_max).unwrap_or(usize::MAX),
        age_ms: u64::try_from(args.ops_for.as_millis()).unwrap_or(u64::MAX),
    };
    options.measure_every = args.measure_every;
    options.compilers = compilers(
        &args.compiler,
        OutsideLimits {
            time: args.compiler_timeout,
            memory_bytes: args.compiler_memory,
            ..compile::limits()
        },
    )
    .await?;
    let ended = service::run(options, shutdown()?).await;
    log.close().await;
    ended.map_err(|error| Fail::new("dispatcher", error.to_string()))
}

/// For one that was given none.
pub(super) fn a_name() -> PeerName {
    let name = format!("dispatcher-{}", OperationId::random().short());
    name.parse().expect("letters, digits and a hyphen make a name")
}

/// Those that were given, in their order, and then this release's own.
async fn compilers(given: &[PathBuf], limits: OutsideLimits) -> Result<Compilers> {
    let mut compilers = Vec::new();
    for path in given {
        let outside = OutsideCompiler::open(path, limits).await.map_err(|error| {
            Fail::new("compiler", format!("--compiler {}: {error}", path.display()))
                .hint("give the `wayfare` of another release, one that has `wayfare compile --about`")
        })?;
        let about = outside.about();
        tracing::info!(path = %path.display(), wasmtime = about.wasmtime, compiler = about.compiler, "compiler");
        compilers.push(Compiler::Outside(outside));
    }
    compilers.push(compile::own(limits)?);
    Ok(Compilers::new(compilers))
}
