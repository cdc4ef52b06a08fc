//! The life of a dispatcher: it stands by and acts in turn, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wayfare_client::ConnectError;
use wayfare_dispatcher_core::alarms::broker::BrokerWatch;
use wayfare_protocol::ids::Term;

use crate::context::TERM_MAX;
use crate::durable::{Place, StoreError};
use crate::options::ServiceOptions;
use crate::services::SERVICES;
use crate::{acting, standby};

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
    #[error("--store {location}: {reason}")]
    Store { location: String, reason: String },
}

/// Stands by and acts in turn until `shutdown` is ready; a broker that is not there is waited for.
pub async fn run(options: ServiceOptions, shutdown: impl Future<Output = ()>) -> Result<(), ServiceError> {
    wayfare_link::open_own_folder(&options.data).map_err(|error| ServiceError::Folder {
        path: options.data.clone(),
        error,
    })?;
    let place = place(&options).await?;
    let options = Arc::new(options);
    // While it stands by, so that the roster can name its key before it acts.
    drop(acting::orders_key(&options));
    let mut shutdown = std::pin::pin!(shutdown);
    let mut heard_of = Term::default();
    let mut pause = STAND_BY_PAUSE;
    let mut broker = BrokerWatch::new(u64::try_from(options.lease.as_millis()).unwrap_or(u64::MAX));
    loop {
        let lease = tokio::select! {
            seen = standby::until_free(&options, &mut broker) => seen,
            () = &mut shutdown => return Ok(()),
        };
        let above = highest_term(&place).await.max(heard_of);
        let seen = acting::Seen { lease, above };
        match acting::act(&options, &place, seen, &mut broker, shutdown.as_mut()).await {
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

/// Where everything is kept, which must be safe there.
async fn place(options: &ServiceOptions) -> Result<Place, ServiceError> {
    let Some(location) = &options.store else {
        return Ok(Place::Folder(options.data.clone()));
    };
    let refused = |error: StoreError| ServiceError::Store {
        location: location.clone(),
        reason: error.to_string(),
    };
    let place = Place::open(location).map_err(refused)?;
    if let Place::Folder(path) = &place {
        wayfare_link::open_own_folder(path).map_err(|error| ServiceError::Folder {
            path: path.clone(),
            error,
        })?;
    }
    place.check().await.map_err(refused)?;
    Ok(place)
}

/// The highest term that has been begun there. Brokers forget the lease, and disks with it do not.
async fn highest_term(place: &Place) -> Term {
    let services = SERVICES.iter().map(|service| service.name);
    place.highest_term(services).await.min(TERM_MAX)
}
