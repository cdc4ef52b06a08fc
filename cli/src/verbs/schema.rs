//! `wayfare schema`: what `--json` prints, verb by verb.

use crate::args::project::SchemaArgs;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text};
use crate::schema::{NOT_JSON, verbs};

pub(crate) fn run(args: &SchemaArgs, output: Output) -> Result {
    let wanted = args.verb.join(" ");
    let all = verbs();
    if wanted.is_empty() {
        let names: Vec<&str> = all.iter().map(|printed| printed.verb).collect();
        return output.print(&names, |names| names.iter().collect::<Text>());
    }
    if let Some(printed) = all.iter().find(|printed| printed.verb == wanted) {
        return output.print(&printed.document(), |document| {
            let text = serde_json::to_string_pretty(document).expect("plain data serialises");
            text.lines().collect::<Text>()
        });
    }
    if let Some((_, why)) = NOT_JSON.iter().find(|(verb, _)| *verb == wanted) {
        return Err(Fail::new(
            "no-schema",
            format!("`wayfare {wanted}` prints no documents: {why}"),
        ));
    }
    let group = format!("{wanted} ");
    let of_group: Vec<&str> = all
        .iter()
        .map(|printed| printed.verb)
        .filter(|verb| verb.starts_with(&group))
        .collect();
    let fail = Fail::usage(format!("no verb '{wanted}' has a schema"));
    Err(match of_group.is_empty() {
        true => fail.hint("`wayfare schema` lists those that have one"),
        false => fail.hint(format!("give one of: {}", of_group.join(", "))),
    })
}
