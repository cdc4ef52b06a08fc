//! What an engine or dispatcher logs, and where its spans go.

use tokio::runtime::Handle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use crate::fail::{Fail, Result};
use crate::output::log_has_colours;

/// What is to be ended with the service.
pub(crate) struct ServiceLog {
    #[cfg(feature = "otlp")]
    exporting: Option<wayfare_traces::Exporting>,
}

impl ServiceLog {
    /// Lines go to standard error; spans, where this build has the feature `otlp` and the environment names a
    /// collector, to that. `kind` and `name` say whose they are.
    #[cfg_attr(not(feature = "otlp"), expect(unused_variables, reason = "nobody is told"))]
    pub(crate) fn begin(level: &str, (kind, name): (&'static str, &str), runtime: &Handle) -> Result<Self> {
        let filter = EnvFilter::try_new(level)
            .map_err(|error| Fail::usage(format!("--log-level '{level}': {error}")))?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(|| wayfare_engine::shell::LogWriter)
            .with_ansi(log_has_colours())
            .with_target(false);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        #[cfg(feature = "otlp")]
        {
            let exporting = wayfare_traces::exporting(kind, name, runtime);
            let exporting = exporting.map_err(|error| Fail::usage(error.to_string()))?;
            let (spans, exporting) = exporting.unzip();
            let spans = spans.map(|spans| spans.with_filter(tracing_subscriber::filter::LevelFilter::INFO));
            subscriber.with(spans).init();
            Ok(Self { exporting })
        }
        #[cfg(not(feature = "otlp"))]
        {
            subscriber.init();
            Ok(Self {})
        }
    }

    pub(crate) async fn close(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporting) = self.exporting {
            exporting.close().await;
        }
    }
}
