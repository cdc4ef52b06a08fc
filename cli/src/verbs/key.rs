//! `wayfare key`: the fleet's keys, in the dispatcher's folder on this machine.

use std::path::{Path, PathBuf};

use serde_json::json;
use wayfare_client::keys::{self, KeyFileError};
use wayfare_protocol::code::SecretKey;

use crate::args::services::{KeyArgs, KeyVerb};
use crate::fail::{Fail, Result};
use crate::folders::state_folder;
use crate::output::{Output, Text, say, say_json};

pub(crate) fn run(args: &KeyArgs, output: Output) -> Result {
    let places = Places::of(args.data.as_deref())?;
    let path = places.key(args.what)?;
    let fail = |error: KeyFileError| match &error {
        KeyFileError::None(_) => places.none(),
        _ => Fail::new("key", error.to_string()),
    };
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

/// The folders that a dispatcher of this machine keeps its key in.
struct Places(Vec<PathBuf>);

impl Places {
    fn of(data: Option<&Path>) -> Result<Self> {
        let state = state_folder();
        let folders = match (data, &state) {
            // The dispatcher's folder, or the one that `wayfare up` was given.
            (Some(data), _) => vec![data.to_owned(), data.join("dispatcher")],
            (None, Some(state)) => vec![state.join("dispatcher"), state.join("up/dispatcher")],
            (None, None) => {
                let message = "no home folder to keep keys in: give the dispatcher's with --data";
                return Err(Fail::usage(message));
            }
        };
        Ok(Self(
            folders.iter().map(|folder| keys::key_path(folder)).collect(),
        ))
    }

    /// The key that is there, or else where the first one is to be made. A second one would be one that no
    /// engine trusts.
    fn key(&self, what: KeyVerb) -> Result<PathBuf> {
        let there: Vec<&PathBuf> = self.0.iter().filter(|path| path.exists()).collect();
        match (there.as_slice(), what) {
            ([one], KeyVerb::Init) => {
                let error = KeyFileError::Exists((*one).clone());
                Err(Fail::new("key", error.to_string()))
            }
            ([one], _) => Ok((*one).clone()),
            ([], _) => Ok(self.0[0].clone()),
            (several, _) => {
                let list: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
                let message = format!("there are several keys: {}", list.join(" and "));
                Err(Fail::new("key", message)
                    .hint("say which fleet's is meant: give its dispatcher's folder with --data"))
            }
        }
    }

    fn none(&self) -> Fail {
        let list: Vec<String> = self.0.iter().map(|path| path.display().to_string()).collect();
        Fail::new("key", format!("there is no key: neither {}", list.join(" nor "))).hint(
            "if a dispatcher runs already, it has one: give its folder with --data; otherwise `wayfare key init` makes the first",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(data: &Path, what: KeyVerb) -> std::result::Result<PathBuf, String> {
        let places = Places::of(Some(data)).map_err(|fail| fail.message().to_owned())?;
        places.key(what).map_err(|fail| fail.message().to_owned())
    }

    #[test]
    fn the_key_of_up_is_found_and_no_second_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let (own, of_up) = (keys::key_path(data), keys::key_path(&data.join("dispatcher")));
        assert_eq!(key_of(data, KeyVerb::Init), Ok(own.clone()));
        let text = Places::of(Some(data)).unwrap().none().text().to_string();
        assert!(text.contains("give its folder with --data"), "{text}");
        keys::init(&of_up).unwrap();
        assert_eq!(key_of(data, KeyVerb::Show), Ok(of_up.clone()));
        assert_eq!(key_of(data, KeyVerb::Rotate { finish: false }), Ok(of_up.clone()));
        let error = key_of(data, KeyVerb::Init).unwrap_err();
        assert!(error.contains("is there already"), "{error}");
        keys::init(&own).unwrap();
        let error = key_of(data, KeyVerb::Show).unwrap_err();
        assert!(error.starts_with("there are several keys: "), "{error}");
    }
}
