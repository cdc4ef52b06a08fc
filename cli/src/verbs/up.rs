//! `wayfare up`: a broker in this process, engines as processes of their own, until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::select_all;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use wayfare_client::Client;
use wayfare_client::keys::orders_key_path;
use wayfare_dispatcher::compilers::Compilers;
use wayfare_dispatcher::options::ServiceOptions;
use wayfare_dispatcher::service;
use wayfare_link::{BrokerLogin, BrokerOptions, BrokerUrl, EmbeddedBroker};
use wayfare_protocol::event::{Event, EventBody};
use wayfare_protocol::ids::OperationId;
use wayfare_protocol::trust::roster::{Orders, Role};

use super::http::Http;
use crate::args::fleet::FleetArgs;
use crate::args::services::UpArgs;
use crate::children::{EngineOutput, LocalEngine, LocalEngineOptions, stop_all};
use crate::config::Settings;
use crate::context::connect_to;
use crate::fail::{Fail, Result};
use crate::folders::state_folder;
use crate::local::LocalFleet;
use crate::output::{Output, Text, say, say_json};
use crate::trusting::{Authority, make_key};
use crate::whole;

pub(crate) async fn run(args: UpArgs, output: Output) -> Result {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => state_folder()
            .map(|folder| folder.join("up"))
            .ok_or_else(|| Fail::usage("no home folder to keep data in: give one with --data"))?,
    };
    wayfare_link::open_own_folder(&data).map_err(|error| Fail::file(&data, &error))?;
    let access = Access::make(&args, &data)?;
    let bind = SocketAddr::new(args.bind, args.port);
    let broker = start_broker(bind, data.join("broker"), access.login.clone()).await?;
    let url = local_url(broker.local_addr());
    let fleet_args = FleetArgs {
        broker: Some(url.to_string()),
        root: args.root.clone(),
        ..FleetArgs::default()
    };
    let settings = access.of(Settings::with_own_broker(&fleet_args)?);
    let shown = access.local().show(broker.local_addr().port());
    if let Err(fail) = &shown {
        let login = access.login_file.display();
        output.remark(format!(
            "commands need --broker-login {login} and --operator-key {}: {}",
            access.operator_key.display(),
            fail.message()
        ));
    }
    let result = serve((&args, &access), settings, &data, broker.local_addr(), output).await;
    drop(shown);
    let stopped = broker
        .shutdown()
        .await
        .map_err(|error| Fail::new("broker", error.to_string()));
    result.and(stopped)
}

/// Who may use the fleet: a login for its broker, another at each start, and a roster of its own, which names
/// this user and the dispatcher.
struct Access {
    login: Option<BrokerLogin>,
    login_file: PathBuf,
    operator_key: PathBuf,
    authority: Authority,
}

impl Access {
    fn make(args: &UpArgs, data: &Path) -> Result<Self> {
        let login = (!args.no_login).then(|| BrokerLogin {
            user: "up".into(),
            password: OperationId::random().to_string(),
        });
        let login_file = data.join("login");
        if let Some(login) = &login {
            let text = format!("{}:{}\n", login.user, login.password);
            whole::write(&login_file, text.as_bytes()).map_err(|error| Fail::file(&login_file, &error))?;
        }
        let operator_key = data.join("operator.key");
        let mut authority = Authority::open_or_init(&data.join("root.key"))?;
        let before = authority.roster.clone();
        let name = |name: &str| name.parse().expect("letters make a name");
        authority.add(name("operator"), make_key(&operator_key)?, [Role::Operator]);
        let of_dispatcher = make_key(&orders_key_path(&data.join("dispatcher")))?;
        authority.add(name("dispatcher"), of_dispatcher, [Role::Dispatcher]);
        if before.version == 0 {
            authority.roster.orders = Orders::Require;
        }
        authority.keep(&before)?;
        Ok(Self {
            login,
            login_file,
            operator_key,
            authority,
        })
    }

    fn of(&self, settings: Settings) -> Settings {
        let broker = match &self.login {
            Some(login) => settings.broker.with_login(&login.user, &login.password),
            None => settings.broker,
        };
        Settings {
            broker,
            operator_key: Some(self.operator_key.clone()),
            ..settings
        }
    }

    fn login_file(&self) -> Option<PathBuf> {
        self.login.as_ref().map(|_| self.login_file.clone())
    }

    fn local(&self) -> LocalFleet {
        LocalFleet {
            broker_login: self.login_file(),
            operator_key: self.operator_key.clone(),
            trust_root: Some(self.authority.public()),
            is_locked: true,
        }
    }
}

async fn start_broker(
    bind: SocketAddr,
    storage: PathBuf,
    login: Option<BrokerLogin>,
) -> Result<EmbeddedBroker> {
    let options = BrokerOptions {
        bind,
        storage: Some(storage),
    };
    let started = EmbeddedBroker::start_with(options, login).await;
    started.map_err(|error| {
        Fail::new("broker", error.to_string())
            .hint("another broker may be running there: use it with --broker, or give another --port")
    })
}

/// Everything between the broker's start and its end.
async fn serve(
    (args, access): (&UpArgs, &Access),
    settings: Settings,
    data: &Path,
    listening: SocketAddr,
    output: Output,
) -> Result {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let client = connect_to(settings.clone()).await?;
    access.authority.publish(&client).await?;
    let http = Http::open(&client, &args.http, data).await?;
    let without_login = local_url(listening);
    let mut engines = Vec::new();
    for number in 1..=args.engines {
        engines.push(LocalEngine::start(LocalEngineOptions {
            id: format!("local-{number}")
                .parse()
                .expect("letters, a hyphen and digits make a name"),
            broker: without_login.clone(),
            topics: settings.topics.clone(),
            data: data.join(format!("local-{number}")),
            output: EngineOutput::Warnings,
            login: access.login_file(),
            trust_root: access.authority.public(),
        })?);
    }
    let (end_service, ended) = oneshot::channel::<()>();
    let compilers = Compilers::new(vec![super::compile::own(super::compile::limits())?]);
    let service = (!args.no_dispatcher).then(|| {
        let mut options = ServiceOptions::new(
            settings.broker.clone(),
            super::dispatcher::a_name(),
            data.join("dispatcher"),
        );
        options.topics = settings.topics.clone();
        options.trust_root = Some(access.authority.public());
        options.compilers = compilers;
        tokio::spawn(service::run(options, ended.map(drop)))
    });
    let result = match announce(access, listening, http.link(), &engines, output) {
        Err(fail) => Err(fail),
        Ok(()) => tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            fail = keep_running(&mut engines) => Err(fail),
            fail = narrate(&client, output) => fail,
        },
    };
    output.remark("stopping: engines store their programs and go");
    // The service goes first, or it would start elsewhere what the engines take with them.
    drop(end_service);
    if let Some(service) = service {
        let ended = service
            .await
            .map_err(|error| Fail::new("dispatcher", error.to_string()))?;
        ended.map_err(|error| Fail::new("dispatcher", error.to_string()))?;
    }
    stop_all(engines).await;
    http.close().await;
    client.close().await;
    result
}

fn announce(
    access: &Access,
    listening: SocketAddr,
    link: Option<String>,
    engines: &[LocalEngine],
    output: Output,
) -> Result {
    let broker = local_url(listening).to_string();
    let names: Vec<_> = engines
        .iter()
        .map(|engine| engine.options.id.to_string())
        .collect();
    if output == Output::Json {
        return say_json(
            &json!({ "broker": broker, "listening": listening, "engines": names, "login": access.login_file(), "http": link }),
        );
    }
    let is_default = broker == "mqtt://127.0.0.1:1883";
    let flag = if is_default {
        String::new()
    } else {
        format!(" --broker {broker}")
    };
    let list = if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    };
    let mut page = vec![("broker", listening.to_string()), ("engines", list)];
    page.extend(link.map(|link| ("dashboard", link)));
    let mut text = Text::page(&page)
        .line("")
        .line("In another terminal:")
        .line(format!("  wayfare run primes --follow{flag}"))
        .line(format!("  wayfare ps{flag}"));
    if let [_, second, ..] = names.as_slice() {
        text = text.line(format!("  wayfare move primes --to {second}{flag}"));
    }
    if !listening.ip().is_loopback() {
        let port = listening.port();
        text = text
            .line("On another machine:")
            .line(format!(
                "  wayfare engine start --broker mqtt://<this machine>:{port} --trust-root {} --broker-login <a copy of the login's file>",
                access.authority.public()
            ));
    }
    if let Some(file) = access.login_file() {
        text = text.line(format!(
            "The broker's login for other programs is in {}",
            file.display()
        ));
    }
    say(text.line("").line("Ctrl-C stops it.").line(""))
}

/// What happens in the fleet, a line each; returns only with an error.
async fn narrate(client: &Client, output: Output) -> Result {
    let mut events = client.events().await?;
    while let Some(event) = events.next().await {
        match output {
            Output::Json => say_json(&event)?,
            Output::Human => {
                if let Some(line) = sentence(&event) {
                    say(line)?;
                }
            }
        }
    }
    Err(Fail::new("closed", "the connection to our own broker was closed"))
}

pub(super) fn sentence(event: &Event) -> Option<String> {
    let program = event
        .program
        .map(|program| format!(" {}", program.short()))
        .unwrap_or_default();
    let end = match &event.body {
        EventBody::Accepted | EventBody::Progress { .. } => return None,
        EventBody::Done { .. } if matches!(event.verb.as_str(), "logs" | "report" | "snapshot") => {
            return None;
        }
        EventBody::Done { .. } => "done".to_owned(),
        EventBody::Failed { failure } => format!("failed: {failure}"),
    };
    Some(format!("{}: {}{program} {end}", event.engine, event.verb))
}

/// Returns once one of them cannot be kept running.
async fn keep_running(engines: &mut [LocalEngine]) -> Fail {
    if engines.is_empty() {
        return std::future::pending().await;
    }
    select_all(engines.iter_mut().map(|engine| engine.keep_running().boxed()))
        .await
        .0
}

/// How a client on this machine reaches a broker that listens there.
fn local_url(listening: SocketAddr) -> BrokerUrl {
    let mut local = listening;
    if listening.ip().is_unspecified() {
        local.set_ip(match listening {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    local.into()
}
