//! HTTP beside `wayfare up` and `wayfare dispatcher`, and `wayfare ui`; nothing, where the command is built
//! without it.

#[cfg(feature = "gateway")]
mod served;

use std::path::Path;

use wayfare_client::Client;

#[cfg(feature = "gateway")]
pub(super) use self::served::ui;
use crate::args::http::{HttpArgs, UpHttpArgs};
use crate::config::Settings;
use crate::fail::Result;

/// A gateway, if there is one.
#[cfg(feature = "gateway")]
pub(super) struct Http(Option<wayfare_gateway::Gateway>);

#[cfg(feature = "gateway")]
impl Http {
    /// Beside `wayfare up`.
    pub(super) async fn open(client: &Client, args: &UpHttpArgs, data: &Path) -> Result<Self> {
        match args.no_http {
            true => Ok(Self(None)),
            false => Ok(Self(Some(served::open(client, &args.http, data).await?))),
        }
    }

    /// What a browser is to open.
    pub(super) fn link(&self) -> Option<String> {
        self.0.as_ref().map(wayfare_gateway::Gateway::link)
    }

    pub(super) async fn close(self) {
        if let Some(gateway) = self.0 {
            gateway.close().await;
        }
    }
}

/// A gateway beside a dispatcher, if there is one; it ends with this.
pub(super) struct BesideDispatcher {
    #[cfg(feature = "gateway")]
    task: Option<tokio::task::JoinHandle<()>>,
}

#[cfg(feature = "gateway")]
impl BesideDispatcher {
    pub(super) fn start(settings: &Settings, args: &HttpArgs, data: &Path) -> Result<Self> {
        let task = served::start(settings, args, data)?;
        Ok(Self { task })
    }
}

#[cfg(feature = "gateway")]
impl Drop for BesideDispatcher {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(not(feature = "gateway"))]
pub(super) struct Http;

#[cfg(not(feature = "gateway"))]
impl Http {
    pub(super) async fn open(_: &Client, _: &UpHttpArgs, _: &Path) -> Result<Self> {
        Ok(Self)
    }

    pub(super) fn link(&self) -> Option<String> {
        None
    }

    pub(super) async fn close(self) {}
}

#[cfg(not(feature = "gateway"))]
impl BesideDispatcher {
    pub(super) fn start(_: &Settings, _: &HttpArgs, _: &Path) -> Result<Self> {
        Ok(Self {})
    }
}
