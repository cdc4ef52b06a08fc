//! What can be typed about HTTP; nothing, where the command is built without it.

use clap::Args;

#[cfg(feature = "gateway")]
#[derive(Debug, Clone, Args)]
pub(crate) struct HttpArgs {
    /// Serve the dashboard and the HTTP API there: on this machine only, but for `--http-cert` [default of
    /// `up` and `ui`: 127.0.0.1:8686]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<std::net::SocketAddr>,
    /// Serve HTTPS with this certificate and those that vouch for it, in PEM form: then on any address
    #[arg(long, value_name = "FILE", requires = "http_key")]
    pub(crate) http_cert: Option<std::path::PathBuf>,
    /// The key of that certificate, in PEM form
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    pub(crate) http_key: Option<std::path::PathBuf>,
    /// Let in who knows the login in this file, too: one line `user:password` with at least 10 characters of
    /// password
    #[arg(long, value_name = "FILE")]
    pub(crate) http_login: Option<std::path::PathBuf>,
    /// Over HTTP only show, and take no orders
    #[arg(long)]
    pub(crate) http_read_only: bool,
}

#[cfg(feature = "gateway")]
#[derive(Debug, Clone, Args)]
pub(crate) struct UpHttpArgs {
    /// Serve no HTTP
    #[arg(long, conflicts_with_all = ["http", "http_read_only", "http_cert", "http_login"])]
    pub(crate) no_http: bool,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

#[cfg(not(feature = "gateway"))]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct HttpArgs {}

#[cfg(not(feature = "gateway"))]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct UpHttpArgs {}
