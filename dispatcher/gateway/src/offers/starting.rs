//! Starting programs: from a module, a sample or a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wayfare_client::problem::Problem;
use wayfare_client::{IdChoice, Order, Restore, Run};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::limits::MODULE_BYTES_MAX;

use super::orders::{COALESCE, EVEN_CORDONED, EXPIRES, NO_WAIT, SUPERSEDE, WAIT_FOR_ENGINE, give};
use super::parameters::{DRY_RUN, TIMEOUT};
use crate::answers::{Answer, bad_usage, json as answer};
use crate::asked::Asked;
use crate::offer::Method::{Get, Post};
use crate::offer::Offer;
use crate::params::Body::{Bytes, Parameters};
use crate::params::Kind::{Flag, List, Size, Text};
use crate::params::{Param, param};
use crate::site::Site;

/// Every module begins so.
const MAGIC: &[u8] = b"\0asm";
/// A snapshot has a module and memory in it.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;

const NAME: Param = param("name", Text, "The program's name");
const ON: Param = param("on", Text, "The engine; the best one unless given");

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: Some("run"),
        method: Post,
        path: "/api/v1/programs",
        about: "Run a program: the module or its source text is the body, or a sample is named",
        params: &[
            NAME,
            param(
                "sample",
                Text,
                "A sample that comes with Wayfare, such as primes: then the body is empty",
            ),
            param(
                "file",
                Text,
                "What the body is called where it is source text, such as app.js: by its extension it is run in its language",
            ),
            param(
                "allow_declared",
                Flag,
                "Grant what the source text itself declares",
            ),
            ON,
            param("arg", List, "The program's arguments"),
            param("env", List, "Variables of its environment, as NAME=VALUE"),
            param("stdin", Text, "What it reads from standard input"),
            param("memory", Size, "How much memory it may have"),
            param("allow_pub", List, "Topics that it may publish to"),
            param("allow_sub", List, "Topics that it may subscribe to"),
            param("allow_call", List, "Services that it may call"),
            param("allow_serve", List, "Services that it may provide"),
            param("allow_state", List, "Shared keys that it may read and write"),
            param("allow_fs", List, "Files that it may use, such as /fleet/data:rw"),
            param("allow_env", List, "Variables of the engine that it may read"),
            param("allow_device", List, "Devices that it may use, by alias"),
            EVEN_CORDONED,
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Bytes {
            what: "the module, or source text",
            media_type: "application/wasm",
            bytes_max: MODULE_BYTES_MAX,
        },
        run: |site, asked| Box::pin(run(site, asked)),
    },
    Offer {
        verb: Some("restore"),
        method: Post,
        path: "/api/v1/restore",
        about: "Go on with a program from a snapshot file, which is the body; it has the grants that the file says",
        params: &[
            NAME,
            ON,
            param(
                "keep_id",
                Flag,
                "Under the id in the file: only if the original is gone",
            ),
            EVEN_CORDONED,
            WAIT_FOR_ENGINE,
            EXPIRES,
            COALESCE,
            SUPERSEDE,
            NO_WAIT,
            DRY_RUN,
            TIMEOUT,
        ],
        body: Bytes {
            what: "the snapshot",
            media_type: "application/octet-stream",
            bytes_max: SNAPSHOT_BYTES_MAX,
        },
        run: |site, asked| Box::pin(restore(site, asked)),
    },
    Offer {
        verb: None,
        method: Get,
        path: "/api/v1/samples",
        about: "List the samples that come with Wayfare",
        params: &[],
        body: Parameters,
        run: |_, _| Box::pin(async { Ok(answer(&samples())) }),
    },
];

fn samples() -> Value {
    let plain = wayfare_samples::ALL
        .iter()
        .map(|sample| json!({ "name": sample.name, "about": sample.about, "talks": false }));
    let talkers = wayfare_samples::TALKERS
        .iter()
        .map(|talker| json!({ "name": talker.name, "about": talker.about, "talks": true }));
    plain.chain(talkers).collect()
}

async fn run(site: Arc<Site>, mut asked: Asked) -> Answer {
    let body = asked.take_body();
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(bad_usage("'env': NAME=VALUE is expected")),
    };
    let env: Result<BTreeMap<String, String>, Problem> = asked.list("env").iter().map(variable).collect();
    let mut run = Run {
        args: asked.list("arg").to_vec(),
        env: env?,
        memory_bytes_max: asked.size("memory"),
        grants: grants(&asked)?,
        on: asked.text("on").map(str::to_owned),
        ..Run::default()
    };
    let stdin = match (asked.text("sample"), body.is_empty()) {
        (Some(_), false) => {
            return Err(bad_usage(
                "a sample is named, and a module came: give one of them",
            ));
        }
        (None, true) => {
            return Err(bad_usage(
                "the body is empty: give the module, or name a 'sample'",
            ));
        }
        (None, false) => {
            match asked.text("file") {
                Some(file) if !body.starts_with(MAGIC) => {
                    in_its_language(&site, &asked, &mut run, file, body).await?;
                }
                _ => (run.name, run.module) = ("program".to_owned(), body),
            }
            None
        }
        (Some(sample), true) => {
            let (name, module, stdin) = sample_of(sample)?;
            (run.name, run.module) = (name, module);
            stdin
        }
    };
    run.stdin = asked.text("stdin").map(|text| text.as_bytes().to_vec()).or(stdin);
    if let Some(name) = asked.text("name") {
        name.clone_into(&mut run.name);
    }
    give(&site, &asked, Order::run(run)).await
}

/// What is run is the interpreter of this text, with that as its data.
async fn in_its_language(
    site: &Site,
    asked: &Asked,
    run: &mut Run,
    file: &str,
    content: Vec<u8>,
) -> Result<(), Problem> {
    let Some(sources) = site.sources() else {
        return Err(Problem::new("no-language", "this gateway runs modules alone"));
    };
    let source = sources
        .make(site.client(), file, content, asked.timeout())
        .await?;
    run.name = source.name;
    run.set_made(source.made);
    let Some((granted, text)) = source.declared else {
        return Ok(());
    };
    let is_granted = !run.grants.publish.is_empty() || !run.grants.subscribe.is_empty();
    match (asked.flag("allow_declared"), is_granted) {
        (true, _) => {
            run.grants.publish.extend(granted.publish);
            run.grants.subscribe.extend(granted.subscribe);
            Ok(())
        }
        // What was granted instead.
        (false, true) => Ok(()),
        (false, false) => Err(Problem::new(
            "not-granted",
            format!("{file} declares that it wants to {text}"),
        )
        .hint("'allow_declared' grants that; 'allow_pub' and 'allow_sub' grant something else")),
    }
}

type Module = (String, Vec<u8>, Option<Vec<u8>>);

fn sample_of(name: &str) -> Result<Module, Problem> {
    if let Some(sample) = wayfare_samples::find(name) {
        return Ok((
            name.to_owned(),
            sample.wasm.to_vec(),
            sample.stdin.map(<[u8]>::to_vec),
        ));
    }
    match wayfare_samples::find_talker(name) {
        Some(talker) => Ok((name.to_owned(), talker.wasm.to_vec(), None)),
        None => Err(Problem::new("no-module", format!("no sample '{name}'"))
            .hint("GET /api/v1/samples lists those that there are")),
    }
}

/// As a manifest has them: what is wrong with one is said in the same words.
fn grants(asked: &Asked) -> Result<Grants, Problem> {
    let document = json!({
        "pub": asked.list("allow_pub"), "sub": asked.list("allow_sub"),
        "call": asked.list("allow_call"), "serve": asked.list("allow_serve"),
        "state": asked.list("allow_state"), "fs": asked.list("allow_fs"),
        "env": asked.list("allow_env"), "devices": asked.list("allow_device"),
    });
    serde_json::from_value(document).map_err(|error| bad_usage(format!("grants: {error}")))
}

async fn restore(site: Arc<Site>, mut asked: Asked) -> Answer {
    let restore = Restore {
        file: asked.take_body(),
        on: asked.text("on").map(str::to_owned),
        name: asked.text("name").map(str::to_owned),
        id: match asked.flag("keep_id") {
            true => IdChoice::Kept,
            false => IdChoice::New,
        },
    };
    give(&site, &asked, Order::Restore(restore)).await
}
