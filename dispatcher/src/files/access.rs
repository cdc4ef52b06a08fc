//! How far the store of files can be used, and what becomes of requests meanwhile.
//!
//! ```text
//!  closed --read--> read-only --claimed--> full
//!    ^                 ^                     |  could not store: what is durable is read again
//!    `-----------------'---------------------'
//! ```
//! What always holds: what cannot be stored is refused, and changes nothing; what only reads is answered as
//! long as the store can be read. A store that is full, or cannot be reached, is tried again by itself.

use std::time::Duration;

use tokio::time::Instant;
use wayfare_protocol::error::Failure;
use wayfare_protocol::files::{FileAnswer, FileRequest};

use super::log::LogError;
use super::{Files, failure, now_ms};
use crate::durable::{Objects, StoreError};

/// A store that could not be reached or written to is tried again after this.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Whoever asks waits for so long for a store that cannot be reached, and is told then.
const PATIENCE: Duration = Duration::from_secs(10);
/// A batch that could not be stored is tried again so often, with the store opened anew.
const TRIES_MAX: usize = 3;

/// Another dispatcher has opened the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Succeeded;

type OpenStore = Box<dyn Fn() -> Result<Objects, StoreError> + Send + Sync>;

pub(super) struct FilesAccess {
    store: OpenStore,
    retry: Duration,
    /// The tree is what is durable. `None`: the store cannot even be read.
    files: Option<Files>,
    /// Why nothing can be put into the store.
    trouble: Option<Trouble>,
}

struct Trouble {
    error: LogError,
    since: Instant,
    retry_at: Instant,
}

impl FilesAccess {
    /// What did not work is tried again after `retry`.
    pub(super) async fn open(
        store: impl Fn() -> Result<Objects, StoreError> + Send + Sync + 'static,
        retry: Duration,
    ) -> Self {
        let mut access = Self {
            store: Box::new(store),
            retry,
            files: None,
            trouble: None,
        };
        access.reopen().await;
        access
    }

    /// The answers, in order; what they tell of is durable.
    pub(super) async fn serve(
        &mut self,
        requests: &[Result<FileRequest, Failure>],
    ) -> Result<Vec<Result<FileAnswer, Failure>>, Succeeded> {
        let mut tries = 1;
        loop {
            self.renew().await;
            match (&mut self.files, &self.trouble) {
                (Some(files), None) => match files.serve(requests, now_ms()).await {
                    Ok(answers) => return Ok(answers),
                    Err(LogError::Succeeded) => return Err(Succeeded),
                    Err(error) => {
                        tracing::error!(%error, tries, "the fleet's files could not be stored");
                        // What came of it is only known when the store is read again.
                        self.reopen().await;
                        if tries >= TRIES_MAX && self.trouble.is_none() {
                            self.failed(error);
                        }
                        tries += 1;
                    }
                },
                (Some(files), Some(trouble)) => return Ok(files.answer(requests, &trouble.error).await),
                (None, Some(trouble)) => {
                    let is_final = matches!(trouble.error, LogError::Store(StoreError::Unconditional { .. }));
                    if is_final || trouble.since.elapsed() >= PATIENCE {
                        let reason = trouble.error.to_string();
                        return Ok(requests.iter().map(|_| Err(failure(&reason))).collect());
                    }
                    tokio::time::sleep_until(trouble.retry_at).await;
                }
                (None, None) => self.reopen().await,
            }
        }
    }

    /// What follows from answers, and nobody waits for.
    pub(super) async fn tidy(&mut self) {
        if let (Some(files), None) = (&mut self.files, &self.trouble) {
            files.tidy().await;
        }
    }

    /// Tries again what did not work, if it is time.
    async fn renew(&mut self) {
        if self
            .trouble
            .as_ref()
            .is_none_or(|trouble| trouble.retry_at > Instant::now())
        {
            return;
        }
        let Some(files) = &mut self.files else {
            return self.reopen().await;
        };
        match files.log.claim(&files.tree).await {
            // Nobody has put anything since it was read.
            Ok(()) => {
                self.trouble = None;
                tracing::info!("the fleet's files can be stored again");
            }
            Err(LogError::Succeeded) => self.reopen().await,
            Err(error) => self.failed(error),
        }
    }

    async fn reopen(&mut self) {
        self.files = None;
        let opened = match (self.store)() {
            Ok(store) => Files::open(store).await,
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok((files, claimed)) => {
                self.files = Some(files);
                match claimed {
                    Ok(()) => self.trouble = None,
                    Err(error) => self.failed(error),
                }
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: LogError) {
        match &self.files {
            Some(_) => tracing::error!(%error, "the fleet's files cannot be stored: changes are refused"),
            None => tracing::error!(%error, "the fleet's files cannot be reached"),
        }
        let now = Instant::now();
        let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble {
            error,
            since,
            retry_at: now + self.retry,
        });
    }
}
