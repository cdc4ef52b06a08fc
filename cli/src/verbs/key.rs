//! `wayfare key`: the fleet's keys, in the dispatcher's folder on this machine.

use serde_json::json;
use wayfare_dispatcher::keys::{self, KeyFileError};
use wayfare_protocol::code::SecretKey;

use crate::args::{KeyArgs, KeyVerb};
use crate::config::state_folder;
use crate::fail::{Fail, Result};
use crate::output::{Output, Text, say, say_json};

pub(crate) fn run(args: &KeyArgs, output: Output) -> Result {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => state_folder()
            .map(|folder| folder.join("dispatcher"))
            .ok_or_else(|| {
                Fail::usage("no home folder to keep keys in: give the dispatcher's with --data")
            })?,
    };
    let path = keys::key_path(&data);
    let fail = |error: KeyFileError| Fail::new("key", error.to_string());
    let remark = match args.what {
        KeyVerb::Init => {
            keys::init(&path).map_err(fail)?;
            "engines load what it signs when they are started with --trust and this key"
        }
        KeyVerb::Show => "",
        KeyVerb::Rotate { finish: false } => {
            keys::rotate(&path).map_err(fail)?;
            "add the first one to every engine's trusted keys, start the dispatchers again, then 'wayfare key rotate --finish'"
        }
        KeyVerb::Rotate { finish: true } => {
            keys::forget_old(&path).map_err(fail)?;
            "start the dispatchers again, and take the other keys from the engines' trusted ones"
        }
    };
    let public: Vec<String> = keys::load(&path)
        .map_err(fail)?
        .iter()
        .map(|key: &SecretKey| key.public().to_string())
        .collect();
    match output {
        Output::Json => say_json(&json!({ "keys": public, "file": path })),
        Output::Human => {
            say(Text::from_iter(&public))?;
            if !remark.is_empty() {
                output.remark(remark);
            }
            Ok(())
        }
    }
}
