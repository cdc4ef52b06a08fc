//! The life of a dispatcher: it stands by and acts in turn, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wayfare_client::ConnectError;
use wayfare_protocol::ids::Term;

use crate::context::TERM_MAX;
use crate::options::ServiceOptions;
use crate::services::SERVICES;
use crate::{acting, durable, standby};

/// After it acted, or could not, before it looks again whether it may;
const STAND_BY_PAUSE: Duration = Duration::from_millis(500);
/// and at most so long, where engines know later terms again and again.
const STAND_BY_PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
pub enum ServiceError {
    #[error("{}: {error}", path.display())]
    Folder { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Stands by and acts in turn until `shutdown` is ready; a broker that is not there is waited for.
pub async fn run(options: ServiceOptions, shutdown: impl Future<Output = ()>) -> Result<(), ServiceError> {
    std::fs::create_dir_all(&options.data).map_err(|error| ServiceError::Folder {
        path: options.data.clone(),
        error,
    })?;
    let options = Arc::new(options);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut heard_of = Term::default();
    let mut pause = STAND_BY_PAUSE;
    loop {
        let lease = tokio::select! {
            seen = standby::until_free(&options) => seen,
            () = &mut shutdown => return Ok(()),
        };
        let above = highest_term(&options).max(heard_of);
        match acting::act(&options, acting::Seen { lease, above }, shutdown.as_mut()).await {
            acting::Ended::Told => return Ok(()),
            acting::Ended::Lost { why } => {
                tracing::info!(dispatcher = %options.name, why, "stands by");
                pause = STAND_BY_PAUSE;
            }
            acting::Ended::Behind { term } => {
                tracing::warn!(%term, "engines know a later term: begins a higher one");
                heard_of = heard_of.max(term);
                // Engines that always know a later one are broken.
                pause = (pause * 2).min(STAND_BY_PAUSE_MAX);
            }
        }
        // Where a broker will not let it act at all, it need not ask all the time.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut shutdown => return Ok(()),
        }
    }
}

/// The highest term that has been begun in our folder. Brokers forget the lease, and disks with it do not.
fn highest_term(options: &ServiceOptions) -> Term {
    let folders = SERVICES.iter().map(|service| options.data.join(service.name));
    let folders: Vec<PathBuf> = folders.collect();
    durable::highest_term(folders.iter().map(PathBuf::as_path)).min(TERM_MAX)
}
