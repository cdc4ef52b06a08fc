//! `wayfare inspect service/NAME` and `wayfare service stub`: what a service's providers say of it.

use std::path::Path;

use serde_json::{Value as Json, json};
use wayfare_client::ProgramView;
use wayfare_client::calls::{CallError, Provider};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{FailureKind, SCHEMAS_BYTES_MAX};

use super::calls::{Listed, connect, listed, table};
use super::open_calls::{self, OfProvider};
use crate::args::calls::StubArgs;
use crate::args::fleet::FleetArgs;
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::languages::source::read_bounded;
use crate::output::{Output, Text};
use crate::stubs::Service;

/// A schema, or why there is none.
enum Schema {
    Given(Json),
    /// Its provider has given none.
    None,
    /// Nobody has answered who was asked.
    Unknown(CallError),
}

/// Who provides it, and what functions it has.
pub(super) async fn inspect(name: &str, args: &FleetArgs, output: Output) -> Result {
    let (providers, schema) = asked(name, args).await?;
    let providers = listed(args, providers).await?;
    let (schema, remark) = match schema {
        Schema::Given(schema) => (schema, None),
        Schema::None => (Json::Null, Some("its provider has given it no schema".to_owned())),
        Schema::Unknown(why) => (Json::Null, Some(why.to_string())),
    };
    let (calls, names) = open(name, &providers, args).await?;
    let document = json!({ "service": name, "providers": providers, "schema": schema, "calls": calls });
    output.print(&document, |_| {
        let page = table(&providers).line("");
        let page = match remark {
            Some(remark) => page.line(format!("functions are not known: {remark}")),
            None => match Service::read(name, &schema) {
                Ok(service) => functions(page, &service),
                Err(why) => page.line(format!("its schema cannot be read: {why}")),
            },
        };
        open_calls::service_text(page, &calls, &names)
    })
}

/// What calls its providers have open, and what all programs are called.
async fn open(
    name: &str,
    providers: &[Listed],
    args: &FleetArgs,
) -> Result<(Vec<OfProvider>, open_calls::Names)> {
    let address = Address::of_service(name).ok_or_else(|| Fail::usage(format!("'{name}' is no service")))?;
    with_fleet(args, async |fleet| {
        let programs = fleet.programs().await?;
        let names = open_calls::names(programs.iter());
        let is_one = |view: &&ProgramView| {
            let mut all = providers.iter();
            all.any(|one| one.provider.announcement.program == view.status.program)
        };
        let providers: Vec<ProgramView> = programs.iter().filter(is_one).cloned().collect();
        Ok((open_calls::of_service(fleet, &address, &providers).await, names))
    })
    .await
}

fn functions(page: Text, service: &Service) -> Text {
    let rows = service.functions.iter().map(|function| {
        let about = function.description.lines().next().unwrap_or_default();
        vec![service.signature(function), about.to_owned()]
    });
    page.then(Text::table(&["FUNCTION", "ABOUT"], rows))
}

/// Prints a client as it is, to be written to a file.
pub(super) async fn stub(args: StubArgs, output: Output) -> Result {
    let schema = match &args.schema {
        Some(file) => read(file)?,
        None => given(&args).await?,
    };
    let service = Service::read(&args.name, &schema).map_err(|why| {
        Fail::new(
            "schema",
            format!("the schema of service/{} cannot be read: {why}", args.name),
        )
    })?;
    let source = args.lang.client(&service);
    let document = json!({ "service": args.name, "lang": args.lang.word(), "source": source });
    output.print(&document, |_| {
        source.lines().fold(Text::new(), |text, line| text.line(line))
    })
}

fn read(file: &Path) -> Result<Json> {
    let text = read_bounded(file, SCHEMAS_BYTES_MAX as u64)?;
    let failed = |error| Fail::new("schema", format!("'{}' is no schema: {error}", file.display()));
    serde_json::from_slice(&text).map_err(failed)
}

async fn given(args: &StubArgs) -> Result<Json> {
    match asked(&args.name, &args.fleet).await?.1 {
        Schema::Given(schema) => Ok(schema),
        Schema::None => Err(Fail::new(
            FailureKind::NotFound.word(),
            format!(
                "service/{} has no schema: its provider has given it none",
                args.name
            ),
        )
        .hint("a provider gives one with `serve`; --schema FILE reads one")),
        Schema::Unknown(why) => Err(why.into()),
    }
}

/// Who provides the service, and the schema of the first of them who answers.
async fn asked(name: &str, args: &FleetArgs) -> Result<(Vec<Provider>, Schema)> {
    let address = Address::of_service(name).ok_or_else(|| Fail::usage(format!("'{name}' is no service")))?;
    let mut caller = connect(args, Some(&address)).await?;
    let providers = caller.providers();
    let schema = caller.schema(name).await;
    caller.close().await;
    let schema = match schema {
        Ok(None) => Schema::None,
        Ok(Some(schema)) => serde_json::from_str(&schema)
            .map(Schema::Given)
            .map_err(|error| {
                Fail::new(
                    "schema",
                    format!("what service/{name} says of itself is no schema: {error}"),
                )
            })?,
        Err(error @ CallError::Failed { .. }) => Schema::Unknown(error),
        Err(error) => return Err(error.into()),
    };
    Ok((providers, schema))
}
