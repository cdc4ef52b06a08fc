//! What can be typed about HTTP; nothing, where the command is built without it.

use clap::Args;

#[cfg(feature = "gateway")]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct HttpArgs {
    /// Serve the dashboard and the HTTP API there: on this machine only [default of `up` and `ui`:
    /// 127.0.0.1:8686]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<std::net::SocketAddr>,
    /// Over HTTP only show, and take no orders
    #[arg(long)]
    pub(crate) http_read_only: bool,
}

#[cfg(feature = "gateway")]
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct UpHttpArgs {
    /// Serve no HTTP
    #[arg(long, conflicts_with_all = ["http", "http_read_only"])]
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
