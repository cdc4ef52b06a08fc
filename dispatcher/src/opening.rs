//! Opening what a service needs, until it succeeds.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wayfare_protocol::error::Failure;

use crate::requests::Inbox;

/// What could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Tries until it succeeds; who asks meanwhile is told why there is nothing. `None`: the inbox has ended.
pub(crate) async fn retried<T, F>(inbox: &mut Inbox, what: &str, attempt: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, String>>,
{
    loop {
        let reason = match attempt().await {
            Ok(made) => return Some(made),
            Err(reason) => reason,
        };
        tracing::error!(reason, "no {what} are kept");
        let until = Instant::now() + RETRY;
        while let Ok(asked) = timeout_at(until, inbox.recv()).await {
            let reason = format!("the dispatcher keeps no {what}: {reason}");
            asked?.answer(Err(Failure::Internal { reason }));
        }
    }
}
