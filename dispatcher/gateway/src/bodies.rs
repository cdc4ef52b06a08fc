//! What a request brings: read as it comes, no more than is allowed, and no slower.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::try_unfold;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::time::{Instant, timeout};
use wayfare_client::problem::Problem;

use crate::answers::{TOO_SLOW, bad_usage, too_large};

/// How long a body is waited for.
#[derive(Debug, Clone, Copy)]
struct Pace {
    grace: Duration,
    /// For so many more bytes, a second more.
    bytes_per_second: u64,
}

const PACE: Pace = Pace {
    grace: Duration::from_secs(30),
    bytes_per_second: 8 * 1024,
};

/// All of it.
pub(crate) async fn whole(body: Body, what: &str, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    whole_at(PACE, body, what, bytes_max).await
}

/// Piece by piece. Only the time that is spent waiting counts.
pub(crate) fn paced(body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    paced_at(PACE, body)
}

async fn whole_at(pace: Pace, body: Body, what: &str, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let mut pieces = pin!(paced_at(pace, body));
    let mut whole = Vec::new();
    while let Some(piece) = pieces.try_next().await.map_err(|error| broken(&error))? {
        if (whole.len() + piece.len()) as u64 > bytes_max {
            return Err(too_large(what, bytes_max));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

fn paced_at(pace: Pace, body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    let begin = (body.into_data_stream(), 0, Duration::ZERO);
    try_unfold(begin, move |(mut pieces, bytes, waited)| async move {
        let limit = pace.grace + Duration::from_secs(bytes / pace.bytes_per_second);
        let since = Instant::now();
        let Ok(piece) = timeout(limit.saturating_sub(waited), pieces.next()).await else {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the body comes too slowly",
            ));
        };
        let Some(piece) = piece else { return Ok(None) };
        let piece = piece.map_err(io::Error::other)?;
        let (bytes, waited) = (bytes + piece.len() as u64, waited + since.elapsed());
        Ok(Some((piece, (pieces, bytes, waited))))
    })
}

/// Why a body has not come.
pub(crate) fn broken(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::TimedOut => Problem::new(
            TOO_SLOW,
            format!(
                "the body comes too slowly: {} bytes a second are expected",
                PACE.bytes_per_second
            ),
        ),
        _ => bad_usage(format!("the body has not come: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use futures::stream::{iter, once};
    use tokio::time::sleep;

    use super::*;
    use crate::answers::TOO_LARGE;

    const SHORT: Pace = Pace {
        grace: Duration::from_millis(20),
        bytes_per_second: 1 << 40,
    };

    /// Pieces that are there at once; after them, one more may never come.
    fn body(pieces: usize, bytes: usize, ends: bool) -> Body {
        let piece = move || Ok::<_, Infallible>(Bytes::from(vec![7; bytes]));
        let there = iter(0..pieces).map(move |_| piece());
        let never = once(pending()).take(usize::from(!ends));
        Body::from_stream(there.chain(never))
    }

    #[tokio::test]
    async fn bodies_that_stand_still_or_are_too_large_are_given_up() {
        for (pieces, bytes, ends, expected) in [
            (0, 0, true, Ok(0)),
            (3, 10, true, Ok(30)),
            (3, 10, false, Err(TOO_SLOW)),
            (0, 0, false, Err(TOO_SLOW)),
            (2, 50, true, Ok(100)),
            (3, 50, true, Err(TOO_LARGE)),
            // It is not waited for any longer.
            (3, 50, false, Err(TOO_LARGE)),
        ] {
            let found = whole_at(SHORT, body(pieces, bytes, ends), "it", 100).await;
            let found = found.map(|whole| whole.len()).map_err(|problem| problem.kind());
            assert_eq!(found, expected, "{pieces} of {bytes} bytes");
        }
    }

    #[tokio::test]
    async fn who_brings_much_is_waited_for_longer() {
        let pace = Pace {
            bytes_per_second: 10,
            ..SHORT
        };
        let late = once(async {
            sleep(2 * SHORT.grace).await;
            Ok::<_, Infallible>(Bytes::from_static(b"late"))
        });
        let body = |first: usize| {
            let first = iter([Ok(Bytes::from(vec![7; first]))]);
            Body::from_stream(first.chain(late))
        };
        let found = whole_at(pace, body(600), "it", 1000).await;
        assert_eq!(found.map(|whole| whole.len()), Ok(604));
    }

    #[tokio::test]
    async fn the_time_that_a_reader_takes_is_not_the_senders() {
        let mut pieces = pin!(paced_at(SHORT, body(3, 10, true)));
        let mut count = 0;
        while let Some(piece) = pieces.next().await {
            piece.unwrap();
            count += 1;
            sleep(SHORT.grace).await;
        }
        assert_eq!(count, 3);
    }
}
