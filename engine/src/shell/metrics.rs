//! `/metrics` of this engine alone, for Prometheus: what `numbers` measures, with the names that the gateway
//! gives it for the whole fleet. Nothing on the loop waits for it, and between scrapes nothing is measured.
//!
//! ```text
//!   connection --request--> exchange --Scrape--> loop measures --Measured--> exchange: text --> connection
//! ```
//! What always holds: few connections are open, each for one request and a bounded time; whoever asks gets
//! numbers and can change nothing.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as Listener};
use std::time::Duration;

use anyhow::Context;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wayfare_metrics::{MeasuredEngine, MeasuredProgram};
use wayfare_protocol::ids::EngineId;
use wayfare_protocol::numbers::{MachineNumbers, ProgramNumbers};
use wayfare_protocol::status::ProgramStatus;

use super::numbers;
use super::options::EngineOptions;
use super::programs::Programs;

/// Connections that are served at a time; others wait in the system's queue.
const CONNECTIONS_MAX: usize = 8;
/// From a connection's begin to its end.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Where a connection cannot be accepted, because the process has too many files open, others may end within
/// this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Somebody waits for numbers.
pub(super) struct Scrape {
    answer: oneshot::Sender<Measured>,
}

impl Scrape {
    pub(super) fn answer(
        self,
        engine: &EngineId,
        machine: MachineNumbers,
        statuses: &[ProgramStatus],
        programs: &Programs,
    ) {
        let name = |program| {
            let status = statuses.iter().find(|status| status.program == program);
            status.map(|status| status.name.clone()).unwrap_or_default()
        };
        let measured = Measured {
            engine: engine.clone(),
            machine,
            programs: statuses.iter().filter(|status| !status.state.is_ended()).count() as u64,
            running: numbers::of_programs(programs)
                .map(|numbers| (name(numbers.program), numbers))
                .collect(),
        };
        // Who asked may have gone.
        let _ = self.answer.send(measured);
    }
}

/// What a scrape has found.
pub(super) struct Measured {
    engine: EngineId,
    machine: MachineNumbers,
    /// That have not ended.
    programs: u64,
    /// Those that run, with their names.
    running: Vec<(String, ProgramNumbers)>,
}

impl Measured {
    fn text(&self) -> String {
        let mut scrape = wayfare_metrics::Scrape::default();
        scrape.engine(&MeasuredEngine {
            engine: &self.engine,
            online: true,
            programs: self.programs,
            machine: Some(&self.machine),
            clock_ahead_ms: None,
        });
        for (name, numbers) in &self.running {
            scrape.program(&MeasuredProgram {
                name,
                engine: &self.engine,
                instance: None,
                numbers,
                restarts: None,
                moves: None,
            });
        }
        scrape.text()
    }
}

/// Those who ask, one after the other; nobody ever, unless an address is given.
#[derive(Default)]
pub(super) struct Scrapes {
    asked: Option<mpsc::Receiver<Scrape>>,
    serving: JoinSet<()>,
}

impl Scrapes {
    pub(super) fn open(options: &EngineOptions) -> anyhow::Result<Self> {
        options.metrics.map_or_else(|| Ok(Self::default()), Self::at)
    }

    fn at(address: SocketAddr) -> anyhow::Result<Self> {
        let listen = || {
            let listener = Listener::bind(address)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok::<_, std::io::Error>((TcpListener::from_std(listener)?, bound))
        };
        let listened = listen();
        let (listener, bound) =
            listened.with_context(|| format!("cannot serve metrics at {address}: see --metrics"))?;
        tracing::info!("metrics are at http://{bound}{}", wayfare_metrics::PATH);
        let (ask, asked) = mpsc::channel(CONNECTIONS_MAX);
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, ask));
        Ok(Self {
            asked: Some(asked),
            serving,
        })
    }

    /// Safe to give up.
    pub(super) async fn next(&mut self) -> Option<Scrape> {
        match &mut self.asked {
            Some(asked) => asked.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Returns when nobody listens any more.
    pub(super) async fn close(&mut self) {
        self.serving.shutdown().await;
    }
}

async fn serve(listener: TcpListener, ask: mpsc::Sender<Scrape>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    open.spawn(timeout(EXCHANGE_TIMEOUT, exchange(stream, ask.clone())));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection for metrics was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn exchange(stream: TcpStream, ask: mpsc::Sender<Scrape>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let ask = ask.clone();
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &ask).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .keep_alive(false)
        .max_header_size(HEAD_BYTES_MAX);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::trace!(%error, "a connection for metrics has ended");
    }
}

async fn answer(method: &Method, path: &str, ask: &mpsc::Sender<Scrape>) -> Response<String> {
    if path != wayfare_metrics::PATH {
        let body = format!("an engine has {} and nothing else\n", wayfare_metrics::PATH);
        return plain(StatusCode::NOT_FOUND, body);
    }
    if ![Method::GET, Method::HEAD].contains(method) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
        refusal.headers_mut().insert(
            ALLOW,
            const { hyper::header::HeaderValue::from_static("GET, HEAD") },
        );
        return refusal;
    }
    let (answer, measured) = oneshot::channel();
    // Where the loop has ended, nobody answers.
    let _ = ask.send(Scrape { answer }).await;
    match measured.await {
        Ok(measured) => with_type(StatusCode::OK, wayfare_metrics::CONTENT_TYPE, measured.text()),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the engine stops\n".into()),
    }
}

fn plain(status: StatusCode, body: String) -> Response<String> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type);
    response
        .body(body)
        .expect("a status and a header of ours are valid")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use wayfare_protocol::ids::{Generation, ProgramId};
    use wayfare_protocol::numbers::Traffic;

    use super::*;

    async fn asked(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn whoever_asks_gets_numbers_and_nothing_else_and_too_many_wait() {
        let (ask, mut asked_for) = mpsc::channel::<Scrape>(1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, ask));
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 "),
            ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
        ] {
            let text = asked(address, request).await;
            assert!(text.starts_with(status), "{request}: {text}");
        }
        // More connections than are served, none of which says anything: each gives its place up when it
        // ends.
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let scraped = tokio::spawn(asked(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"));
        silent.pop();
        let scrape = asked_for.recv().await.unwrap();
        let numbers = ProgramNumbers {
            program: ProgramId::from_random([1; 16]),
            generation: Generation(1),
            uptime_us: 0,
            cpu_us: None,
            memory_bytes: 7,
            traffic: Traffic::default(),
            waiting_messages: 0,
            log_lines: 0,
            checkpoint_age_ms: None,
            baseline: false,
        };
        let measured = Measured {
            engine: "pi-1".parse().unwrap(),
            machine: MachineNumbers::default(),
            programs: 2,
            running: vec![("hog".into(), numbers)],
        };
        assert!(scrape.answer.send(measured).is_ok());
        let text = scraped.await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(
            text.contains(&format!("content-type: {}", wayfare_metrics::CONTENT_TYPE)),
            "{text}"
        );
        assert!(
            text.contains("wayfare_engine_programs{engine=\"pi-1\"} 2.0"),
            "{text}"
        );
        assert!(text.contains("name=\"hog\""), "{text}");
        // An engine that stops answers no more.
        drop(asked_for);
        drop(silent);
        let text = asked(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named_with_the_flag() {
        let taken = Listener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Scrapes::at(address).err().unwrap();
        let text = format!("{error:#}");
        assert!(
            text.contains(&address.to_string()) && text.contains("--metrics"),
            "{text}"
        );
    }
}
