//! `wayfare.toml` next to a module: what it is granted unless the command line grants more, and what it reads
//! and writes.
//!
//! ```toml
//! [grants]
//! sub = ["home/#"]
//! pub = ["home/heating"]
//! publishes_per_second_max = 10
//! devices = ["led"]
//!
//! [[input]]
//! topic = "home/+/temperature"
//! media_type = "text/plain"
//!
//! [[output]]
//! topic = "home/heating"
//! media_type = "text/plain"
//! ```

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use wayfare_client::app::manifest::{DeclaredPort, ports};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ports::Ports;

use crate::fail::{Fail, Result};

const FILE: &str = "wayfare.toml";
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    grants: Grants,
    #[serde(default)]
    input: Vec<DeclaredPort>,
    #[serde(default)]
    output: Vec<DeclaredPort>,
}

/// What the manifest next to `module` grants and declares; nothing where there is none.
pub(crate) fn beside(module: &Path) -> Result<(Grants, Ports)> {
    let path = module.with_file_name(FILE);
    if !module.is_file() || !path.is_file() {
        return Ok(Default::default());
    }
    let bad = |what: String| Fail::new("manifest", format!("{}: {what}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(&path).map_err(|error| Fail::file(&path, &error))?;
    file.take(BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| Fail::file(&path, &error))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(bad(format!("over {BYTES_MAX} bytes")));
    }
    parse(&text).map_err(bad)
}

fn parse(text: &str) -> std::result::Result<(Grants, Ports), String> {
    let manifest: Manifest = toml::from_str(text).map_err(|error| error.to_string())?;
    manifest.grants.check().map_err(|failure| failure.to_string())?;
    let ports = ports(manifest.input, manifest.output, &manifest.grants)?;
    Ok((manifest.grants, ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_grant_what_they_say_and_declare_only_what_they_grant() {
        let text = "
            [grants]
            sub = ['home/#']
            pub = ['home/heating']
            publishes_per_second_max = 10
            devices = ['led']
            [[input]]
            topic = 'home/+/temperature'
            media_type = 'text/plain'
            [[output]]
            topic = 'home/heating'
            media_type = 'text/plain'
        ";
        let (grants, ports) = parse(text).expect("sound");
        assert!(grants.may_subscribe("home/a") && grants.may_publish("home/heating"));
        assert_eq!(grants.publishes_per_second_max, Some(10));
        assert!(grants.devices.iter().map(|alias| alias.as_str()).eq(["led"]));
        assert_eq!(ports.inputs[0].to_string(), "home/+/temperature (text/plain)");
        assert_eq!(ports.outputs.len(), 1);
        assert_eq!(parse("").expect("nothing"), Default::default());
        for (bad, said) in [
            ("[grants]\nsubs = []", "unknown field"),
            ("[grants]\nsub = ['a#']", "not a topic filter"),
            ("[grants]\ndevices = ['a b']", "not an alias"),
            ("[[input]]\ntopic = 'a'\nmedia_type = 'text/plain'", "grants.sub"),
            (
                "[grants]\npub = ['a']\n[[output]]\ntopic = 'a'\nmedia_type = 'text'",
                "media type",
            ),
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains(said), "{error}");
        }
    }
}
