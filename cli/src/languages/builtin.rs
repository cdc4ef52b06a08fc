//! JavaScript, which comes with the command: no fleet has to be told of it, and no dispatcher is asked.

use super::Language;
use super::kept::Made;
use super::source::Source;
use crate::fail::Result;

pub(crate) const EXTENSIONS: [&str; 3] = ["js", "mjs", "cjs"];

/// How it is listed beside those of the fleet.
pub(crate) fn language() -> Language {
    Language {
        name: "javascript".into(),
        module: "built in".into(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        args: super::only_the_program(),
        library: None,
        env: Default::default(),
        memory: None,
    }
}

/// Makes `source` ready, if it is in a language that is built in.
pub(crate) fn make(source: &Source) -> Result<Option<Made>> {
    if !EXTENSIONS.contains(&source.extension.as_str()) {
        return Ok(None);
    }
    Made::new(language(), wayfare_languages::JAVASCRIPT.to_vec(), source).map(Some)
}
