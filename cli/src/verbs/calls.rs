//! `wayfare call`, `send` and `services`: what programs do for each other, from outside.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value as Json, json};
use wayfare_client::calls::{CallOptions, Caller, Provider};
use wayfare_client::problem::not_taken;
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{About, Expiry, FailureKind};
use wayfare_protocol::choice::{Choice, Loads};
use wayfare_protocol::ids::ProgramId;

use crate::args::calls::{CallArgs, SendArgs, ServicesArgs};
use crate::args::fleet::FleetArgs;
use crate::config::Settings;
use crate::context::with_fleet;
use crate::fail::{Fail, Result, connecting};
use crate::output::{Foreign, Output, Text, now_ms};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn call(args: CallArgs, output: Output) -> Result {
    if !args.raw
        && let Err(error) = serde_json::from_str::<Json>(&args.arguments)
    {
        return Err(Fail::usage(format!("the arguments are not JSON: {error}"))
            .hint("quote them for the shell, or give --raw"));
    }
    let choose = args.choose.clone().unwrap_or_default();
    // The service that picks has to be known as well: so everybody is.
    let address = Some(&args.address).filter(|_| choose.service().is_none());
    let mut caller = connect(&args.fleet, address).await?;
    let result = called(&mut caller, &args, choose, output).await;
    caller.close().await;
    print(output, "result", &result?)
}

/// What a choice is made by that only the dispatcher knows.
async fn loads(caller: &Caller, args: &CallArgs, choose: &Choice) -> Result<Loads> {
    let Some(ask) = caller.asks(&args.address, choose) else {
        return Ok(Loads::new());
    };
    with_fleet(&args.fleet, async |fleet| {
        Ok(fleet.loads(&ask, args.deadline).await?)
    })
    .await
}

/// What is printed of a call that is interrupted is what came; its provider is told.
async fn called(caller: &mut Caller, args: &CallArgs, choose: Choice, output: Output) -> Result<Vec<u8>> {
    let began = Instant::now();
    let options = CallOptions {
        progress: args.stream,
        loads: loads(caller, args, &choose).await?,
        choose,
    };
    let what = (args.function.as_str(), args.arguments.as_bytes());
    // What was asked before has taken some of the time.
    let left = args.deadline.saturating_sub(began.elapsed());
    let open = caller.begin_with(&args.address, what, left, &options).await?;
    let mut shown = Ok(());
    let ended = tokio::select! {
        ended = caller.end(&open, |payload| {
            if shown.is_ok() {
                shown = print(output, "progress", payload);
            }
        }) => Some(ended),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.map_err(|error| Fail::new("signal", error.to_string()))?;
            None
        }
    };
    shown?;
    match ended {
        Some(ended) => Ok(ended?),
        None => {
            caller.cancel(open).await?;
            Err(Fail::new(
                FailureKind::Cancelled.word(),
                "cancelled: it may have been done".to_owned(),
            ))
        }
    }
}

fn print(output: Output, name: &str, payload: &[u8]) -> Result {
    match output {
        // As it is, for pipes: only the caller knows what it is.
        Output::Human => {
            let mut foreign = Foreign::new();
            let shown = foreign
                .piece(payload)
                .and_then(|()| match payload.ends_with(b"\n") {
                    true => Ok(()),
                    false => foreign.piece(b"\n"),
                });
            shown.map_err(|error| Fail::standard_output(&error))?;
            foreign.finish()
        }
        Output::Json => {
            let text = String::from_utf8_lossy(payload).into_owned();
            let value: Json = serde_json::from_slice(payload).unwrap_or(Json::String(text));
            output.print(&json!({ name: value }), ToString::to_string)
        }
    }
}

pub(crate) async fn send(args: SendArgs, output: Output) -> Result {
    let expires = args.expires.map(|after| Expiry {
        sent_ms: now_ms(),
        after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
    });
    let about = About {
        kind: args.kind,
        ordered: args.order,
        expires,
        receipt: args.wait.is_some(),
    };
    let mut caller = connect(&args.fleet, Some(&args.address)).await?;
    let sent = sent(
        &mut caller,
        &args.address,
        args.payload.as_bytes(),
        &about,
        args.wait,
    )
    .await;
    caller.close().await;
    let programs = sent?;
    let json = json!({ "address": args.address, "program": programs.first(), "programs": programs });
    output.print(&json, |_| match programs.as_slice() {
        [one] => format!("sent to program {}", one.short()),
        all => format!("sent to {} programs", all.len()),
    })
}

async fn sent(
    caller: &mut Caller,
    address: &Address,
    payload: &[u8],
    about: &About,
    wait: Option<Duration>,
) -> Result<Vec<ProgramId>> {
    let sent = caller.send(address, payload, about).await?;
    let Some(limit) = wait else {
        return Ok(sent.to);
    };
    let failures = caller.delivered(&sent, limit).await?;
    match not_taken(&failures, sent.to.len()) {
        Some(problem) => Err(problem.into()),
        None => Ok(sent.to),
    }
}

pub(crate) async fn services(args: ServicesArgs, output: Output) -> Result {
    let caller = connect(&args.fleet, None).await?;
    let mut providers = caller.providers();
    caller.close().await;
    providers.retain(|one| args.all || one.address.service_name().is_some());
    let listed = listed(&args.fleet, providers).await?;
    output.print(&listed, |listed| table(listed))
}

pub(super) async fn listed(args: &FleetArgs, providers: Vec<Provider>) -> Result<Vec<Listed>> {
    let programs = with_fleet(args, async |fleet| Ok(fleet.programs().await?)).await?;
    let state_of = |program| {
        let found = programs.iter().find(|view| view.status.program == program);
        found.map_or("gone", |view| view.word())
    };
    let listed = providers.into_iter().map(|provider| Listed {
        state: state_of(provider.announcement.program),
        provider,
    });
    Ok(listed.collect())
}

/// A provider, and what became of its program: one that is lost with its engine stays announced.
#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    pub(super) provider: Provider,
    pub(super) state: &'static str,
}

pub(super) fn table(listed: &[Listed]) -> Text {
    if listed.is_empty() {
        return "no services: a program that calls 'serve' and was run with --allow-serve is one".into();
    }
    let row = |Listed { provider: one, state }: &Listed| {
        vec![
            one.address.to_string(),
            one.announcement.program.short(),
            one.announcement.name.clone(),
            one.announcement.engine.to_string(),
            (*state).to_owned(),
        ]
    };
    Text::table(
        &["ADDRESS", "PROGRAM", "NAME", "ENGINE", "STATE"],
        listed.iter().map(row),
    )
}

pub(super) async fn connect(args: &FleetArgs, address: Option<&Address>) -> Result<Caller> {
    let settings = Settings::load(args)?;
    let connected = Caller::connect(settings.broker, settings.topics, address, CONNECT_TIMEOUT).await;
    connected.map_err(connecting)
}
