//! `wayfare operator`: whose orders count.

use std::path::PathBuf;

use serde_json::json;
use wayfare_protocol::ids::{PeerName, is_name};
use wayfare_protocol::trust::roster::{Role, Roster};

use crate::args::fleet::FleetArgs;
use crate::args::operator::{
    OperatorAddArgs, OperatorArgs, OperatorInitArgs, OperatorKeyArgs, OperatorLsArgs, OperatorVerb,
    RosterArgs,
};
use crate::config::Settings;
use crate::context::{connect_to, with_fleet};
use crate::fail::{Fail, Result};
use crate::folders::{operator_key_path, root_key_path};
use crate::output::{Output, Text};
use crate::trusting::{Authority, make_key};

pub(crate) async fn run(args: OperatorArgs, output: Output) -> Result {
    match args.verb {
        OperatorVerb::Init(args) => init(args, output).await,
        OperatorVerb::Key(args) => key(&args, output),
        OperatorVerb::Add(args) => add(args, output).await,
        OperatorVerb::Rm(args) => {
            change(&args.roster, output, |authority| {
                let before = authority.roster.members.len();
                authority.roster.members.retain(|member| member.name != args.name);
                if authority.roster.members.len() == before {
                    let message = format!("the roster names no '{}'", args.name);
                    return Err(
                        Fail::new("operator", message).hint("`wayfare operator ls` lists whom it names")
                    );
                }
                Ok(())
            })
            .await
        }
        OperatorVerb::Ls(args) => list(&args, output).await,
        OperatorVerb::Orders(args) => {
            change(&args.roster, output, |authority| {
                authority.roster.orders = args.orders;
                Ok(())
            })
            .await
        }
        OperatorVerb::Engines(args) => {
            change(&args.roster, output, |authority| {
                authority.roster.engines = args.rule;
                Ok(())
            })
            .await
        }
        OperatorVerb::Publish(args) => change(&args, output, |_| Ok(())).await,
    }
}

async fn init(args: OperatorInitArgs, output: Output) -> Result {
    let path = root_key(&args.roster)?;
    if path.exists() {
        let message = format!("{} is there already", path.display());
        return Err(Fail::new("key", message).hint("`wayfare operator ls` prints its public key"));
    }
    let name = match args.name {
        Some(name) => name,
        None => user_name()?,
    };
    let own = make_key(&own_key(&args.roster.fleet)?)?;
    let mut authority = Authority::open_or_init(&path)?;
    let before = authority.roster.clone();
    authority.add(name, own, [Role::Operator]);
    authority.keep(&before)?;
    with_fleet(&args.roster.fleet, async |client| authority.publish(client).await).await?;
    output.remark("start engines with --trust-root and the root key below; `wayfare operator orders require` makes them refuse what is not signed");
    show(&authority, output)
}

fn key(args: &OperatorKeyArgs, output: Output) -> Result {
    let file = own_key(&args.fleet)?;
    let key = make_key(&file)?;
    output.print(&json!({ "key": key, "file": file }), |_| key.to_string())
}

async fn add(args: OperatorAddArgs, output: Output) -> Result {
    change(&args.roster, output, |authority| {
        authority.add(args.name, args.key, args.roles);
        Ok(())
    })
    .await
}

/// Changes the roster, keeps it, and publishes it.
pub(super) async fn change(
    args: &RosterArgs,
    output: Output,
    change: impl FnOnce(&mut Authority) -> Result,
) -> Result {
    let mut authority = Authority::open(&root_key(args)?)?;
    with_fleet(&args.fleet, async |client| {
        let retained = client.roster(&authority.public()).await?;
        // What another key has signed is nobody's here.
        authority.learn(retained.and_then(|found| found.ok()));
        let before = authority.known()?.clone();
        change(&mut authority)?;
        authority.keep(&before)?;
        let published = authority.publish(client).await;
        published.map_err(|fail| {
            fail.hint("the roster is changed here; `wayfare operator publish` tells the fleet")
        })
    })
    .await?;
    show(&authority, output)
}

async fn list(args: &OperatorLsArgs, output: Output) -> Result {
    let Some(root) = args.trust_root else {
        return show(&Authority::open(&root_key(&args.roster)?)?, output);
    };
    let client = connect_to(Settings::load(&args.roster.fleet)?).await?;
    let roster = client.roster(&root).await;
    client.close().await;
    match roster? {
        Some(Ok(roster)) => print(&root.to_string(), &roster, output),
        Some(Err(error)) => Err(Fail::new("roster", error.to_string())),
        None => Err(Fail::new("roster", "the broker has no roster")
            .hint("who has the root key publishes it with `wayfare operator publish`")),
    }
}

fn show(authority: &Authority, output: Output) -> Result {
    print(&authority.public().to_string(), authority.known()?, output)
}

fn print(root: &str, roster: &Roster, output: Output) -> Result {
    let document = json!({
        "root": root,
        "version": roster.version,
        "orders": roster.orders,
        "members": roster.members,
        "engines": roster.engines,
        "revoked": roster.revoked,
    });
    output.print(&document, |_| {
        let rows = roster.members.iter().map(|member| {
            let roles: Vec<String> = member.roles.iter().map(Role::to_string).collect();
            vec![member.name.to_string(), roles.join(", "), member.key.to_string()]
        });
        let table = Text::table(&["NAME", "ROLES", "KEY"], rows);
        Text::page(&[
            ("root key", root.to_owned()),
            ("version", roster.version.to_string()),
            ("orders", roster.orders.to_string()),
            ("engines", roster.engines.to_string()),
        ])
        .line("")
        .then(table)
    })
}

pub(super) fn root_key(args: &RosterArgs) -> Result<PathBuf> {
    let given = args.root_key.clone();
    let variable = || std::env::var_os("WAYFARE_ROOT_KEY").filter(|path| !path.is_empty());
    given
        .or_else(|| variable().map(PathBuf::from))
        .or_else(root_key_path)
        .ok_or_else(|| {
            Fail::usage("no home folder to keep keys in: give the root key's file with --root-key")
        })
}

pub(super) fn own_key(fleet: &FleetArgs) -> Result<PathBuf> {
    let given = Settings::load(fleet)?.operator_key;
    given.or_else(operator_key_path).ok_or_else(|| {
        Fail::usage("no home folder to keep keys in: give your key's file with --operator-key")
    })
}

fn user_name() -> Result<PeerName> {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let name = name.ok().filter(|name| is_name(name));
    let name = name.and_then(|name| name.parse().ok());
    name.ok_or_else(|| Fail::usage("say under which name you stand in the roster: --name"))
}
