//! The server: it listens, and routes each request to its operation.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, any, get, on, post};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wayfare_client::problem::Problem;
use wayfare_client::{Client, machine_name};

use crate::access::{Access, Allowed, LOGIN_PATH, LOGOUT_PATH, Transport};
use crate::answers::{self, Answer, NOT_FOUND};
use crate::asked::Asked;
use crate::assets;
use crate::catalog;
use crate::connections::{self, Limits};
use crate::entrance;
use crate::files;
use crate::guard;
use crate::hub::Hub;
use crate::login::Login;
use crate::metrics;
use crate::offer::{Method, Offer};
use crate::offers;
use crate::params::Body;
use crate::programs;
use crate::site::Site;
use crate::sources::Sources;
use crate::stream;
use crate::tls::{Tls, TlsError, TlsFiles};
use crate::token::Token;

/// What connections may take. A process may have 1024 files open on most systems, and `wayfare up` needs
/// some for its broker.
const LIMITS: Limits = Limits {
    connections_max: 480,
    head_timeout: Duration::from_secs(30),
};
/// Those of programs' pages come on top.
const PROGRAMS_LIMITS: Limits = Limits {
    connections_max: 160,
    ..LIMITS
};
/// Bodies that are larger than this count as uploads.
const UPLOAD_BYTES: u64 = 1 << 20;
/// How long requests may take to end when the gateway does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What to do about a port that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    ThisOne,
    /// Any other will do.
    Preferred,
}

#[derive(Debug)]
pub struct GatewayOptions {
    pub bind: SocketAddr,
    pub port: Port,
    /// A folder of this user, where the token is kept.
    pub data: PathBuf,
    pub allowed: Allowed,
    /// With it, HTTPS and nothing else is served, and may be to other machines.
    pub tls: Option<TlsFiles>,
    /// For people, who else need the token.
    pub login: Option<Login>,
    /// Who gives the orders.
    pub by: String,
    /// What runs source text; `None`: modules alone are run.
    pub sources: Option<Arc<dyn Sources>>,
}

#[derive(Debug, Error)]
pub enum GatewayError {
    #[error(
        "cannot serve HTTP on {bind}: without TLS only this machine may reach it; give a certificate with --http-cert and --http-key, or \
         listen on 127.0.0.1 and reach it from elsewhere through `ssh -L 8686:127.0.0.1:8686`"
    )]
    NotLoopback { bind: SocketAddr },
    #[error("cannot listen for HTTP on {bind}: {reason}")]
    Bind { bind: SocketAddr, reason: io::Error },
    #[error("cannot keep the token for HTTP in {}: {reason}", folder.display())]
    Token { folder: PathBuf, reason: io::Error },
    #[error("cannot serve HTTPS: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot look at the fleet: {0}")]
    Fleet(String),
}

/// A gateway that is open.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    programs: SocketAddr,
    token: Token,
    transport: Transport,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Gateway {
    /// Serves the fleet of this client.
    pub async fn open(client: Client, options: GatewayOptions) -> Result<Self, GatewayError> {
        let GatewayOptions {
            bind,
            port,
            data,
            allowed,
            tls,
            login,
            by,
            sources,
        } = options;
        if !bind.ip().is_loopback() && tls.is_none() {
            return Err(GatewayError::NotLoopback { bind });
        }
        let tls = tls.map(Tls::open).transpose()?;
        let transport = match tls {
            Some(_) => Transport::Tls,
            None => Transport::Plain,
        };
        let token = Token::in_folder(&data).map_err(|reason| GatewayError::Token { folder: data, reason })?;
        let listener = listen(bind, port)
            .await
            .map_err(|reason| GatewayError::Bind { bind, reason })?;
        let address = listener
            .local_addr()
            .map_err(|reason| GatewayError::Bind { bind, reason })?;
        // The next port, or whichever is free: the dashboard knows it.
        let beside = SocketAddr::new(bind.ip(), beside(address.port()));
        let for_programs = listen(beside, Port::Preferred)
            .await
            .map_err(|reason| GatewayError::Bind { bind: beside, reason })?;
        let programs = for_programs
            .local_addr()
            .map_err(|reason| GatewayError::Bind { bind: beside, reason })?;
        let hub = Hub::start(client.clone()).await;
        let hub = hub.map_err(|problem| GatewayError::Fleet(problem.message().to_owned()))?;
        let (end, ended) = watch::channel(false);
        let access = Access::new(token.clone(), allowed, transport, login);
        let site = Arc::new(Site::new(client, hub, by, access, sources, ended.clone()));
        let dashboard = connections::serve(
            listener,
            tls.clone(),
            router(site.clone(), programs),
            LIMITS,
            ended.clone(),
        );
        let beside = connections::serve(for_programs, tls, programs::router(site), PROGRAMS_LIMITS, ended);
        let task = tokio::spawn(async {
            tokio::join!(dashboard, beside);
        });
        Ok(Self {
            address,
            programs,
            token,
            transport,
            end,
            task,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where programs that answer HTTP are found, at `/r/NAME/`.
    pub fn programs(&self) -> SocketAddr {
        self.programs
    }

    /// What a browser is to open, once: it keeps the token then, and the address has none.
    pub fn link(&self) -> String {
        format!("{}/?token={}", self.url(), self.token.text())
    }

    /// Where it is served, without the token.
    pub fn url(&self) -> String {
        let scheme = self.transport.scheme();
        match self.address.ip().is_unspecified() {
            true => {
                let name = machine_name().filter(|name| !name.is_empty());
                let name = name.as_deref().unwrap_or("localhost");
                format!("{scheme}://{name}:{}", self.address.port())
            }
            false => format!("{scheme}://{}", self.address),
        }
    }

    /// Ends it: requests that have begun have a moment to be answered.
    pub async fn close(self) {
        // The server has ended already.
        let _ = self.end.send(true);
        let mut task = self.task;
        if timeout(CLOSE_TIMEOUT, &mut task).await.is_err() {
            task.abort();
        }
    }
}

async fn listen(bind: SocketAddr, port: Port) -> io::Result<TcpListener> {
    match (TcpListener::bind(bind).await, port) {
        (Err(error), Port::Preferred) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::new(bind.ip(), 0)).await
        }
        (listener, _) => listener,
    }
}

/// The port beside this one; any, where that was chosen by the system.
fn beside(port: u16) -> u16 {
    port.checked_add(1).unwrap_or_default()
}

fn router(site: Arc<Site>, programs: SocketAddr) -> Router {
    let mut router = Router::new();
    for offer in offers::all() {
        let filter = match offer.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        };
        let handler = move |State(site): State<Arc<Site>>, path, RawQuery(query): RawQuery, request| async move {
            let answer = answered(offer, site, path, query, request).await;
            answer.unwrap_or_else(|problem| answers::problem(&problem))
        };
        router = router.route(offer.path, on(filter, handler));
    }
    router
        .route("/files", files())
        .route("/files/", files())
        .route("/files/{*path}", files())
        .route(
            programs::PATHS,
            any(move |state, request| programs::at_dashboard(programs, state, request)),
        )
        .route("/api/v1/stream", get(stream::stream))
        .route(
            "/api/v1/openapi.json",
            get(async || answers::json(&catalog::openapi())),
        )
        .route("/api", get(async || catalog::page()))
        .route("/metrics", get(scraped))
        .route(LOGIN_PATH, get(entrance::about).post(entrance::enter))
        .route(LOGOUT_PATH, post(entrance::leave))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(assets::asset)
        .method_not_allowed_fallback(async || {
            let problem = Problem::new(NOT_FOUND, "nothing here takes this method")
                .hint("GET /api lists what there is");
            answers::json_as(StatusCode::METHOD_NOT_ALLOWED, &problem.document())
        })
        .layer(from_fn_with_state(site.clone(), guard::guard))
        .with_state(site)
}

fn files() -> MethodRouter<Arc<Site>> {
    get(files::get)
        .put(files::put)
        .patch(files::patch)
        .delete(files::delete)
        .post(files::post)
}

async fn answered(
    offer: &'static Offer,
    site: Arc<Site>,
    path: RawPathParams,
    query: Option<String>,
    request: Request<axum::body::Body>,
) -> Answer {
    let _room = site.room_for_request()?;
    let upload = match offer.body {
        Body::Bytes { bytes_max, .. } if bytes_max > UPLOAD_BYTES => Some(site.room_for_upload()?),
        Body::Bytes { .. } | Body::Parameters => None,
    };
    let path = path
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let path: Vec<(String, String)> = path.collect();
    let asked = Asked::read(
        offer.accepts(),
        path.into_iter(),
        query.as_deref(),
        request.into_body(),
    )
    .await?;
    // Without a body it was none: a sample's order may wait for its engine for long.
    let _upload = upload.filter(|_| asked.has_body());
    (offer.run)(site.clone(), asked).await
}

/// What Prometheus reads.
async fn scraped(State(site): State<Arc<Site>>) -> Response<axum::body::Body> {
    let text = async {
        let _room = site.room_for_request()?;
        metrics::text(site.client()).await.map_err(Problem::from)
    };
    match text.await {
        Ok(text) => {
            let mut response = Response::new(text.into());
            let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Err(problem) => answers::problem(&problem),
    }
}

/// Whether the fleet can be reached: its broker answers.
async fn ready(State(site): State<Arc<Site>>) -> Response<axum::body::Body> {
    match timeout(CLOSE_TIMEOUT, site.client().read_all()).await {
        Ok(Ok(())) => Response::new("ok\n".into()),
        Ok(Err(_)) | Err(_) => {
            let problem = Problem::new("no-broker", "the broker does not answer");
            answers::json_as(StatusCode::SERVICE_UNAVAILABLE, &problem.document())
        }
    }
}
