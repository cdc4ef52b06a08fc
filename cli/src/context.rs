//! What the verbs share: a connected client for the length of one command.

use std::time::Duration;

use wayfare_client::{Client, ClientOptions, CommandOptions, Expiry, Marked, Offline, Session};
use wayfare_protocol::ids::OperationId;

use crate::args::fleet::FleetArgs;
use crate::args::{CommandArgs, MarkedArgs};
use crate::config::Settings;
use crate::fail::{Result, connecting};
use crate::trusting::own_key;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn connect(args: &FleetArgs) -> Result<Client> {
    connect_to(Settings::load(args)?).await
}

pub(crate) async fn connect_to(settings: Settings) -> Result<Client> {
    connect_as(settings, None, Session::Own).await
}

/// Its commands are parts of `batch`.
async fn connect_as(settings: Settings, batch: Option<OperationId>, session: Session) -> Result<Client> {
    let mut options = ClientOptions::new(settings.broker);
    options.topics = settings.topics;
    options.connect_timeout = CONNECT_TIMEOUT;
    options.by = Some(who());
    options.batch = batch;
    options.session = session;
    options.key = settings.operator_key.as_deref().map(own_key).transpose()?;
    Client::connect(options).await.map_err(connecting)
}

/// Who gives commands, for people to see: nothing proves it.
pub(crate) fn who() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let host = wayfare_link::machine_name().unwrap_or_default();
    format!("{}@{host}", user.as_deref().unwrap_or("unknown"))
}

tokio::task_local! {
    /// The one connection of several verbs.
    static SHARED: Client;
}

/// Lets all verbs that `work` runs, and that name no other fleet, have one connection; their commands are
/// parts of `batch`.
pub(crate) async fn with_shared<T>(
    args: &FleetArgs,
    batch: Option<OperationId>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let client = connect_as(Settings::load(args)?, batch, Session::Own).await?;
    let result = SHARED.scope(client.clone(), work).await;
    client.close().await;
    result
}

fn shared(args: &FleetArgs) -> Option<Client> {
    match args.is_unsaid() {
        true => SHARED.try_with(Client::clone).ok(),
        false => None,
    }
}

/// Connects, lets `work` do its work, and closes in any case, so that nothing said last is lost.
pub(crate) async fn with_fleet<T>(
    args: &FleetArgs,
    work: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    if let Some(client) = shared(args) {
        return work(&client).await;
    }
    let client = connect(args).await?;
    let result = work(&client).await;
    client.close().await;
    result
}

/// The same for what only asks the acting dispatcher's services, whatever is in the fleet: it does not wait
/// for the statuses of all engines and programs.
pub(crate) async fn with_services<T>(
    args: &FleetArgs,
    work: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    if let Some(client) = shared(args) {
        return work(&client).await;
    }
    let client = connect_as(Settings::load(args)?, None, Session::Services).await?;
    let result = work(&client).await;
    client.close().await;
    result
}

/// Those of a command that gives an engine something new.
pub(crate) fn options_for(args: &CommandArgs, marked: MarkedArgs) -> CommandOptions {
    let marked = if marked.even_cordoned {
        Marked::Take
    } else {
        Marked::Refuse
    };
    CommandOptions {
        marked,
        ..options(args)
    }
}

pub(crate) fn options(args: &CommandArgs) -> CommandOptions {
    let offline = if args.wait_for_engine || args.expires.is_some() {
        Offline::Wait
    } else {
        Offline::Fail
    };
    CommandOptions {
        time_limit: args.timeout,
        offline,
        expires: args.expires.map(Expiry::after),
        queueing: args.queueing(),
        ..CommandOptions::default()
    }
}
