//! Connections: each gets a place, and is served until it ends.
//!
//! What always holds: no more than so many are open; who finds no place is told, instead of being left to
//! wait; a head that is long, or does not come, costs a bounded place for a bounded time.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::access::Remote;
use crate::answers::overloaded;
use crate::tls::Tls;

/// What a request may have before its body.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Connections that are being told that there is no place.
const REFUSALS_MAX: usize = 32;
/// How long one of them may take to hear it,
const REFUSE_TIMEOUT: Duration = Duration::from_secs(2);
/// and what it may still send.
const REFUSE_BYTES_MAX: u64 = 64 * 1024;
/// Where a connection cannot be accepted, because the process has too many files open, others may end
/// within this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections that are open at the same time.
    pub(crate) connections_max: usize,
    /// How long a request's head may take to come, TLS may take to begin, or a connection may be idle.
    pub(crate) head_timeout: Duration,
}

/// Serves until it is `ended`, and then until what has begun is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let (mut open, over) = (JoinSet::new(), ended.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
            () = is_over(&mut ended) => break,
        };
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, from.ip()),
            Err(error) => {
                tracing::debug!(%error, "a connection for HTTP was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            let (router, over) = (router.clone(), over.clone());
            let acceptor = tls.as_ref().map(Tls::acceptor);
            open.spawn(connection((stream, from), acceptor, router, limits, over, place));
        } else if tls.is_some() {
            // What there is to say could not be said without more work than a place has.
            drop(stream);
        } else if let Ok(place) = refusals.clone().try_acquire_owned() {
            open.spawn(refused(stream, limits.connections_max, place));
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn connection(
    (stream, from): (TcpStream, IpAddr),
    acceptor: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    // Where it cannot be set, answers are a little later.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return requests(stream, from, router, limits, ended).await;
    };
    let begun = tokio::select! {
        begun = timeout(limits.head_timeout, acceptor.accept(stream)) => begun,
        () = is_over(&mut ended) => return,
    };
    match begun {
        Ok(Ok(stream)) => requests(stream, from, router, limits, ended).await,
        Ok(Err(error)) => tracing::debug!(%error, %from, "a connection for HTTPS did not begin"),
        Err(_) => tracing::trace!(%from, "a connection for HTTPS did not begin in time"),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: IpAddr,
    router: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(HEAD_BYTES_MAX);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Remote(from));
        service.call(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = is_over(&mut ended) => None,
    };
    let result = match served {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection for HTTP has ended");
    }
}

async fn is_over(ended: &mut watch::Receiver<bool>) {
    // Where the handle is gone, nobody wants it any more.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// Says that there is no place. What comes is read, or the answer would be lost with it.
async fn refused(mut stream: TcpStream, connections_max: usize, _place: OwnedSemaphorePermit) {
    let problem = overloaded(format!("{connections_max} connections are open"));
    let body = serde_json::Value::from(problem.document()).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 2\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(REFUSE_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        io::Result::Ok(())
    };
    // It has heard it, or does not listen.
    let _ = timeout(REFUSE_TIMEOUT, said).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(20);
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    struct Served {
        address: std::net::SocketAddr,
        end: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Served {
        async fn new(limits: Limits) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (end, ended) = watch::channel(false);
            let router = Router::new().route("/", get(async || "there"));
            let task = tokio::spawn(serve(listener, None, router, limits, ended));
            Self { address, end, task }
        }

        async fn connected(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }

        /// The answer to this, up to the connection's end.
        async fn said(&self, text: &str) -> String {
            let mut stream = self.connected(text).await;
            let mut answer = Vec::new();
            // One that is closed in the middle of what was sent is reset.
            let _ = timeout(WAIT_MAX, stream.read_to_end(&mut answer)).await.unwrap();
            String::from_utf8(answer).unwrap()
        }

        async fn end(self) {
            self.end.send(true).unwrap();
            timeout(WAIT_MAX, self.task).await.unwrap().unwrap();
        }
    }

    fn limits(connections_max: usize, head_timeout: Duration) -> Limits {
        Limits {
            connections_max,
            head_timeout,
        }
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_so_and_gets_one_when_another_has_left() {
        let served = Served::new(limits(1, WAIT_MAX)).await;
        let mut first = served.connected(REQUEST).await;
        let mut answer = [0; 15];
        first.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let refused = served.said(REQUEST).await;
        assert!(
            refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"overloaded\""),
            "{refused}"
        );
        drop(first);
        let once = REQUEST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let answered = timeout(WAIT_MAX, async {
            while !served.said(&once).await.starts_with("HTTP/1.1 200") {}
        });
        answered.await.unwrap();
        served.end().await;
    }

    #[tokio::test]
    async fn heads_that_do_not_come_or_are_too_long_give_their_place_back() {
        let served = Served::new(limits(1, Duration::from_millis(50))).await;
        assert!(!served.said("GET / HT").await.contains("200 OK"));
        // Its place is free again only a moment after it was closed.
        let long = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        );
        let answered = timeout(WAIT_MAX, async {
            while !served.said(&long).await.starts_with("HTTP/1.1 431") {}
        });
        answered.await.unwrap();
        served.end().await;
    }

    #[tokio::test]
    async fn idle_connections_do_not_keep_the_gateway_from_ending() {
        let served = Served::new(limits(2, WAIT_MAX)).await;
        let mut idle = served.connected(REQUEST).await;
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).await.unwrap();
        let _silent = served.connected("").await;
        served.end().await;
    }
}
