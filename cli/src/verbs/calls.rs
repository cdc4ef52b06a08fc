//! `wayfare call`, `send` and `services`: what programs do for each other, from outside.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};
use wayfare_client::calls::{CallError, Caller, Provider};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::FailureKind;

use crate::args::FleetArgs;
use crate::args::calls::{CallArgs, SendArgs, ServicesArgs};
use crate::config::Settings;
use crate::context::with_fleet;
use crate::fail::{Fail, Result, connecting};
use crate::output::{Foreign, Output, Text};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn call(args: CallArgs, output: Output) -> Result {
    if !args.raw
        && let Err(error) = serde_json::from_str::<Json>(&args.arguments)
    {
        return Err(Fail::usage(format!("the arguments are not JSON: {error}"))
            .hint("quote them for the shell, or give --raw"));
    }
    let mut caller = connect(&args.fleet, Some(&args.address)).await?;
    let result = caller
        .call(
            &args.address,
            &args.function,
            args.arguments.as_bytes(),
            args.deadline,
        )
        .await;
    caller.close().await;
    let result = result.map_err(failed)?;
    match output {
        // As it is, for pipes: only the caller knows what it is.
        Output::Human => {
            let mut foreign = Foreign::new();
            let shown = foreign
                .piece(&result)
                .and_then(|()| match result.ends_with(b"\n") {
                    true => Ok(()),
                    false => foreign.piece(b"\n"),
                });
            shown.map_err(|error| Fail::standard_output(&error))?;
            foreign.finish()
        }
        Output::Json => {
            let text = String::from_utf8_lossy(&result).into_owned();
            let value: Json = serde_json::from_slice(&result).unwrap_or(Json::String(text));
            output.print(&json!({ "result": value }), ToString::to_string)
        }
    }
}

pub(crate) async fn send(args: SendArgs, output: Output) -> Result {
    let mut caller = connect(&args.fleet, Some(&args.address)).await?;
    let sent = caller.send(&args.address, args.payload.as_bytes()).await;
    caller.close().await;
    let program = sent.map_err(failed)?;
    output.print(&json!({ "address": args.address, "program": program }), |_| {
        format!("sent to program {}", program.short())
    })
}

pub(crate) async fn services(args: ServicesArgs, output: Output) -> Result {
    let caller = connect(&args.fleet, None).await?;
    let mut providers = caller.providers();
    caller.close().await;
    providers.retain(|one| args.all || one.address.service_name().is_some());
    let programs = with_fleet(&args.fleet, async |fleet| Ok(fleet.programs().await?)).await?;
    let state_of = |program| {
        let found = programs.iter().find(|view| view.status.program == program);
        found.map_or("gone", |view| view.word())
    };
    let listed: Vec<Listed> = providers
        .into_iter()
        .map(|provider| Listed {
            state: state_of(provider.announcement.program),
            provider,
        })
        .collect();
    output.print(&listed, |listed| table(listed))
}

/// A provider, and what became of its program: one that is lost with its engine stays announced.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    provider: Provider,
    state: &'static str,
}

fn table(listed: &[Listed]) -> Text {
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

async fn connect(args: &FleetArgs, address: Option<&Address>) -> Result<Caller> {
    let settings = Settings::load(args)?;
    let connected = Caller::connect(settings.broker, settings.topics, address, CONNECT_TIMEOUT).await;
    connected.map_err(connecting)
}

fn failed(error: CallError) -> Fail {
    match error {
        CallError::Nobody(_) => {
            let fail = Fail::new(FailureKind::NotFound.word(), error.to_string());
            fail.hint("`wayfare services --all` lists who can be called")
        }
        CallError::Function(_) => Fail::usage(error.to_string()),
        CallError::Failed {
            kind: FailureKind::DeadlineExceeded,
            text,
        } => Fail::no_answer(text).hint("whether it was done is not known; --deadline waits longer"),
        CallError::NotTaken => Fail::no_answer(error.to_string()).hint("whether it was sent is not known"),
        CallError::Failed { kind, text } => Fail::new(kind.word(), format!("{}: {text}", kind.word())),
        CallError::Link(_) | CallError::Closed => Fail::new("broker", error.to_string()),
    }
}
