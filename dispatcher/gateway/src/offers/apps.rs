//! Applications. A manifest that comes over HTTP names samples, or files of the fleet, as its modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use wayfare_client::app::ask::{Ask, PlanAnswer, WouldAnswer};
use wayfare_client::app::manifest::{self, Made, Resolved};
use wayfare_client::files::{Extent, Files};
use wayfare_client::problem::Problem;
use wayfare_protocol::files::{FilePath, MOUNT};
use wayfare_protocol::limits::MODULE_BYTES_MAX;

use super::parameters::{APPLICATION, DRY_RUN, TIMEOUT};
use crate::answers::{Answer, bad_usage, json as answer, too_large};
use crate::asked::Asked;
use crate::offer::Method::{Delete, Get, Post};
use crate::offer::{Method, Offer, Run};
use crate::params::Body::{Bytes, Parameters};
use crate::params::Kind::{Count, Text};
use crate::params::{Body, param};
use crate::site::Site;

const MANIFEST: Body = Bytes {
    what: "the manifest",
    media_type: "application/toml",
    bytes_max: 1 << 20,
};

/// Of all modules of one manifest, which are in memory together.
const MODULES_BYTES_MAX: u64 = 4 * MODULE_BYTES_MAX;

pub(super) static OFFERS: &[Offer] = &[
    Offer {
        verb: Some("app status"),
        method: Get,
        path: "/api/v1/apps",
        about: "Show all applications and their instances",
        params: &[TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(status(site, asked)),
    },
    Offer {
        verb: Some("app apply"),
        method: Post,
        path: "/api/v1/apps",
        about: "Make what a manifest says so; its modules are samples, or files such as /fleet/web.wasm",
        params: &[
            param(
                "expects",
                Count,
                "Refuse if the application has changed since the plan with this serial",
            ),
            DRY_RUN,
            TIMEOUT,
        ],
        body: MANIFEST,
        run: |site, asked| Box::pin(apply(site, asked)),
    },
    Offer {
        verb: Some("app plan"),
        method: Post,
        path: "/api/v1/plan",
        about: "Show what applying a manifest would change",
        params: &[TIMEOUT],
        body: MANIFEST,
        run: |site, asked| Box::pin(plan(site, asked)),
    },
    Offer {
        verb: Some("app status"),
        method: Get,
        path: "/api/v1/apps/{application}",
        about: "Show an application and its instances",
        params: &[APPLICATION, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(status(site, asked)),
    },
    Offer {
        verb: Some("app history"),
        method: Get,
        path: "/api/v1/apps/{application}/history",
        about: "List an application's versions, the oldest first",
        params: &[APPLICATION, TIMEOUT],
        body: Parameters,
        run: |site, asked| Box::pin(history(site, asked)),
    },
    Offer {
        verb: Some("app revert"),
        method: Post,
        path: "/api/v1/apps/{application}/revert",
        about: "Go back to an earlier version of an application",
        params: &[
            APPLICATION,
            param(
                "version",
                Count,
                "Number of the version; the one before unless given",
            ),
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| {
            let version = asked.count("version");
            Box::pin(of_application(site, asked, move |application| Ask::Revert {
                application,
                version,
            }))
        },
    },
    Offer {
        verb: Some("app scale"),
        method: Post,
        path: "/api/v1/apps/{application}/scale",
        about: "Change the number of a component's instances",
        params: &[
            APPLICATION,
            param("component", Text, "The component"),
            param("count", Count, "How many instances"),
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| Box::pin(scale(site, asked)),
    },
    Offer {
        verb: Some("app restart"),
        method: Post,
        path: "/api/v1/apps/{application}/restart",
        about: "Have instances begin anew, a few at a time as in an update",
        params: &[
            APPLICATION,
            param("component", Text, "One component; all unless given"),
            DRY_RUN,
            TIMEOUT,
        ],
        body: Parameters,
        run: |site, asked| {
            let component = asked.text("component").map(str::to_owned);
            Box::pin(of_application(site, asked, move |application| Ask::Restart {
                application,
                component,
            }))
        },
    },
    change(
        "app promote",
        (Post, "/api/v1/apps/{application}/promote"),
        "Begin the next stage of a roll-out at once, or go on with one that was halted",
        |site, asked| {
            Box::pin(of_application(site, asked, |application| Ask::Promote {
                application,
            }))
        },
    ),
    change(
        "app halt",
        (Post, "/api/v1/apps/{application}/halt"),
        "Replace nothing more in a roll-out, until it is promoted",
        |site, asked| {
            Box::pin(of_application(site, asked, |application| Ask::Halt {
                application,
            }))
        },
    ),
    change(
        "app fail",
        (Post, "/api/v1/apps/{application}/fail"),
        "Say that a roll-out has failed: the version before comes back",
        |site, asked| {
            Box::pin(of_application(site, asked, |application| Ask::Fail {
                application,
            }))
        },
    ),
    change(
        "app pause",
        (Post, "/api/v1/apps/{application}/pause"),
        "Hold all instances of an application where they are",
        |site, asked| {
            Box::pin(of_application(site, asked, |application| Ask::Pause {
                application,
            }))
        },
    ),
    change(
        "app resume",
        (Post, "/api/v1/apps/{application}/resume"),
        "Let an application run on",
        |site, asked| {
            Box::pin(of_application(site, asked, |application| Ask::Resume {
                application,
            }))
        },
    ),
    change(
        "app rm",
        (Delete, "/api/v1/apps/{application}"),
        "End an application and forget it",
        |site, asked| {
            Box::pin(of_application(site, asked, |application| Ask::Remove {
                application,
            }))
        },
    ),
];

/// What changes an application, and is told no more than which.
const fn change(
    verb: &'static str,
    (method, path): (Method, &'static str),
    about: &'static str,
    run: Run,
) -> Offer {
    Offer {
        verb: Some(verb),
        method,
        path,
        about,
        params: &[APPLICATION, DRY_RUN, TIMEOUT],
        body: Parameters,
        run,
    }
}

async fn scale(site: Arc<Site>, asked: Asked) -> Answer {
    let component = asked.required("component")?.to_owned();
    asked.required("count")?;
    let count = asked.count("count").and_then(|count| u32::try_from(count).ok());
    let make = move |application| Ask::Scale {
        application,
        component,
        // More than any limit.
        count: count.unwrap_or(u32::MAX),
    };
    of_application(site, asked, make).await
}

/// Asks the acting dispatcher, or what it would answer.
pub(super) async fn ask(site: &Site, asked: &Asked, ask: Ask) -> Answer {
    let client = site.client();
    if asked.flag("dry_run") {
        let dry = Ask::DryRun { ask: Box::new(ask) };
        let would: WouldAnswer = client.ask_apps(&dry, asked.timeout()).await?;
        return Ok(answer(&would));
    }
    let is_change = ask.is_change();
    let answered: Result<Value, _> = client.ask_apps(&ask, asked.timeout()).await;
    if is_change {
        site.hub().stale().await?;
    }
    Ok(answer(&answered?))
}

async fn of_application(site: Arc<Site>, asked: Asked, make: impl FnOnce(String) -> Ask) -> Answer {
    let wanted = make(asked.required("application")?.to_owned());
    ask(&site, &asked, wanted).await
}

async fn status(site: Arc<Site>, asked: Asked) -> Answer {
    let statuses = site
        .client()
        .app_status(asked.text("application"), asked.timeout())
        .await?;
    Ok(answer(&statuses))
}

async fn history(site: Arc<Site>, asked: Asked) -> Answer {
    let application = asked.required("application")?;
    Ok(answer(
        &site.client().app_history(application, asked.timeout()).await?,
    ))
}

async fn plan(site: Arc<Site>, mut asked: Asked) -> Answer {
    let Resolved { spec, .. } = resolved(&site, &mut asked).await?;
    let plan: PlanAnswer = site
        .client()
        .ask_apps(&Ask::Plan { spec }, asked.timeout())
        .await?;
    Ok(answer(&plan))
}

async fn apply(site: Arc<Site>, mut asked: Asked) -> Answer {
    let Resolved { spec, blobs } = resolved(&site, &mut asked).await?;
    if !asked.flag("dry_run") {
        site.client().upload(&blobs, asked.timeout(), |_, _| {}).await?;
    }
    let expects = asked.count("expects");
    ask(&site, &asked, Ask::apply(spec, expects)).await
}

async fn resolved(site: &Site, asked: &mut Asked) -> Result<Resolved, Problem> {
    let wrong = |error: String| Problem::new("manifest", error);
    let text = String::from_utf8(asked.take_body()).map_err(|error| wrong(error.to_string()))?;
    let named = manifest::modules(&text).map_err(|error| wrong(error.to_string()))?;
    let (mut modules, mut bytes) = (BTreeMap::new(), 0);
    for name in named {
        let module = module(site, asked, &name).await?;
        bytes += module.len() as u64;
        if bytes > MODULES_BYTES_MAX {
            return Err(too_large("all modules of a manifest together", MODULES_BYTES_MAX));
        }
        modules.insert(name, module);
    }
    let make = |name: &str| {
        let module = modules.get(name).cloned().unwrap_or_default();
        Ok(Made::from(module))
    };
    let file = |name: &str| Err(format!("{name}: standard input is given only with the command"));
    manifest::resolve(&text, make, file).map_err(|error| wrong(error.to_string()))
}

async fn module(site: &Site, asked: &Asked, name: &str) -> Result<Vec<u8>, Problem> {
    if let Some(sample) = wayfare_samples::find(name) {
        return Ok(sample.wasm.to_vec());
    }
    if let Some(talker) = wayfare_samples::find_talker(name) {
        return Ok(talker.wasm.to_vec());
    }
    if !name.starts_with(MOUNT) {
        let text = format!("no sample '{name}'");
        return Err(Problem::new("no-module", text).hint("name a sample, or a file such as /fleet/web.wasm"));
    }
    let path = FilePath::try_from(name.to_owned()).map_err(bad_usage)?;
    let files = Files::new(site.client(), site.name().clone(), asked.timeout());
    let stat = files.stat(&path).await?;
    if stat.bytes > MODULE_BYTES_MAX {
        return Err(too_large(name, MODULE_BYTES_MAX));
    }
    // The one that was looked at, however long the next one is.
    let extent = Extent {
        node: Some(stat.node),
        version: Some(stat.version),
        bytes: Some(MODULE_BYTES_MAX),
        ..Extent::default()
    };
    let mut module = Vec::new();
    let sink = |piece: &[u8], _| {
        module.extend_from_slice(piece);
        Ok(())
    };
    files.read(&path, extent, sink).await?;
    Ok(module)
}
