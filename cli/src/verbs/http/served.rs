//! The gateway as the command opens it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wayfare_client::Client;
use wayfare_client::keys::orders_key_path;
use wayfare_client::problem::Problem;
use wayfare_gateway::sources::{SourceMade, Sources};
use wayfare_gateway::{Allowed, Gateway, GatewayError, GatewayOptions, Login, Port, TlsFiles};
use wayfare_link::read_login;

use super::super::engine::shutdown;
use crate::args::http::HttpArgs;
use crate::args::services::UiArgs;
use crate::config::Settings;
use crate::context::{connect_to, who};
use crate::fail::{Fail, Result};
use crate::folders::state_folder;
use crate::languages::declared::Declared;
use crate::languages::source::Source;
use crate::languages::{is_source_name, kept};
use crate::output::{Output, Text, output_is_terminal, say};
use crate::trusting::make_key;

const PORT: u16 = 8686;
/// Between two attempts to reach the broker, or to listen.
const RETRY: Duration = Duration::from_secs(2);

/// The languages of the command and of the fleet.
#[derive(Debug)]
struct CommandSources {
    /// Where text is for as long as it is made ready.
    folder: PathBuf,
}

impl Sources for CommandSources {
    fn make<'a>(
        &'a self,
        client: &'a Client,
        file: &'a str,
        content: Vec<u8>,
        limit: Duration,
    ) -> BoxFuture<'a, std::result::Result<SourceMade, Problem>> {
        Box::pin(async move {
            let made = made_of(&self.folder, client, file, &content, limit).await;
            made.map_err(Fail::into_problem)
        })
    }
}

async fn made_of(
    folder: &Path,
    client: &Client,
    file: &str,
    content: &[u8],
    limit: Duration,
) -> Result<SourceMade> {
    if !is_source_name(file) {
        return Err(Fail::new(
            "source",
            format!("'{file}' is not the name of a program's file"),
        ));
    }
    let folder = tempfile::tempdir_in(folder).map_err(|error| Fail::file(folder, &error))?;
    let path = folder.path().join(file);
    std::fs::write(&path, content).map_err(|error| Fail::file(&path, &error))?;
    let source = Source::find(&path).map_err(|fail| fail.in_folder(folder.path()))?;
    let Some(source) = source else {
        let text = format!("{file}: neither a module nor the text of a program");
        return Err(
            Fail::new("source", text).hint("its extension says in which language it is, such as app.js")
        );
    };
    let made = kept::make(client, &source, limit, Output::Json).await;
    let made = made.map_err(|fail| fail.in_folder(folder.path()))?;
    let declared = Declared(made.ports.clone());
    Ok(SourceMade {
        name: made.name.clone(),
        declared: (!declared.0.is_empty()).then(|| (declared.granted(), declared.text())),
        made: made.for_manifest()?,
    })
}

/// As a client of any fleet, until Ctrl-C.
pub(crate) async fn ui(args: UiArgs, output: Output) -> Result {
    let data = match args.data {
        Some(data) => data,
        None => state_folder()
            .map(|folder| folder.join("ui"))
            .ok_or_else(|| Fail::usage("no home folder to keep the token in: give one with --data"))?,
    };
    login(&args.http)?;
    let ended = shutdown()?;
    let client = connect_to(Settings::load(&args.fleet)?).await?;
    let gateway = open(&client, &args.http, &data).await;
    let served = async {
        let gateway = gateway?;
        let document = json!({ "http": gateway.link() });
        output.print(&document, |_| {
            Text::page(&[("dashboard", gateway.link())])
                .line("")
                .line("Ctrl-C stops it.")
        })?;
        ended.await;
        gateway.close().await;
        Ok(())
    };
    let result = served.await;
    client.close().await;
    result
}

/// A gateway beside something else; on any port, unless one was asked for.
pub(super) async fn open(client: &Client, args: &HttpArgs, data: &Path) -> Result<Gateway> {
    wayfare_link::open_own_folder(data).map_err(|error| Fail::file(data, &error))?;
    let (bind, port) = match args.http {
        Some(bind) => (bind, Port::ThisOne),
        None => (SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), Port::Preferred),
    };
    let options = GatewayOptions {
        bind,
        port,
        tls: tls(args),
        login: login(args)?,
        data: data.to_owned(),
        allowed: match args.http_read_only {
            true => Allowed::Looking,
            false => Allowed::Everything,
        },
        by: who(),
        sources: Some(Arc::new(CommandSources {
            folder: data.to_owned(),
        })),
    };
    let opened = Gateway::open(client.clone(), options).await;
    opened.map_err(|error| match error {
        GatewayError::NotLoopback { .. } | GatewayError::Tls(_) => Fail::usage(error.to_string()),
        GatewayError::Bind { .. } => {
            Fail::new("http", error.to_string()).hint("give another address with --http")
        }
        error => Fail::new("http", error.to_string()),
    })
}

fn tls(args: &HttpArgs) -> Option<TlsFiles> {
    let (certificate, key) = (args.http_cert.clone()?, args.http_key.clone()?);
    Some(TlsFiles { certificate, key })
}

fn login(args: &HttpArgs) -> Result<Option<Login>> {
    let Some(path) = &args.http_login else {
        return Ok(None);
    };
    let (user, password) = read_login(path).map_err(|error| Fail::usage(error.to_string()))?;
    let login = Login::new(&user, &password);
    let login = login.map_err(|error| Fail::usage(format!("{}: {error}", path.display())))?;
    Ok(Some(login))
}

/// Beside a dispatcher, if that is asked for. What would never be served is refused at once.
pub(super) fn start(settings: &Settings, args: &HttpArgs, data: &Path) -> Result<Option<JoinHandle<()>>> {
    match args.http {
        None if args.http_read_only || args.http_cert.is_some() || args.http_login.is_some() => Err(
            Fail::usage("--http-read-only, --http-cert and --http-login need --http"),
        ),
        None => Ok(None),
        Some(bind) if !bind.ip().is_loopback() && args.http_cert.is_none() => {
            Err(Fail::usage(GatewayError::NotLoopback { bind }.to_string()))
        }
        Some(_) => {
            login(args)?;
            if let Some(files) = tls(args) {
                files.check().map_err(|error| Fail::usage(error.to_string()))?;
            }
            let settings = with_key(settings.clone(), data)?;
            let task = tokio::spawn(beside_dispatcher(settings, args.clone(), data.to_owned()));
            Ok(Some(task))
        }
    }
}

/// Where no key was given, what is ordered over HTTP is signed with the dispatcher's own: who can read the
/// token can read that as well.
fn with_key(settings: Settings, data: &Path) -> Result<Settings> {
    if settings.operator_key.is_some() {
        return Ok(settings);
    }
    let key = orders_key_path(data);
    make_key(&key)?;
    Ok(Settings {
        operator_key: Some(key),
        ..settings
    })
}

/// The dispatcher waits for its broker: so does this, and for a port that another process has. Ends when it
/// is aborted.
async fn beside_dispatcher(settings: Settings, args: HttpArgs, data: PathBuf) {
    let client = loop {
        match connect_to(settings.clone()).await {
            Ok(client) => break client,
            Err(fail) => {
                tracing::debug!(reason = fail.message(), "HTTP is not served yet");
                sleep(RETRY).await;
            }
        }
    };
    let mut told = String::new();
    let gateway = loop {
        match open(&client, &args, &data).await {
            Ok(gateway) => break gateway,
            Err(fail) if fail.message() != told => {
                told = fail.message().to_owned();
                tracing::error!(reason = told, "HTTP is not served: this is tried again");
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    };
    // A log is read by more people than the token is for.
    let token = data.join("http-token");
    tracing::info!(address = %gateway.url(), token = %token.display(), "HTTP is served");
    if output_is_terminal() {
        // The log says where, too.
        let _ = say(format!("dashboard: {}", gateway.link()));
    }
    std::future::pending::<()>().await;
}
