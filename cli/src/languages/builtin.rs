//! JavaScript and TypeScript, which come with the command: no fleet has to be told of them, and no dispatcher
//! is asked.

use super::Language;
use super::declared::Declared;
use super::made::Made;
use super::requires::Required;
use super::source::{EXTENSIONS, Source, packed};
use crate::fail::Result;
use crate::output::Output;

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

/// Whether `source` is in a language that is built in.
pub(crate) fn is_of(source: &Source) -> bool {
    EXTENSIONS.contains(&source.extension.as_str())
}

/// Makes `source` ready, with all that it requires, if it is in a language that is built in.
pub(crate) fn make(source: &Source, output: Output) -> Result<Option<Made>> {
    if !is_of(source) {
        return Ok(None);
    }
    let required = Required::of(source)?;
    for (what, file) in &required.lacking {
        output.remark(format!("{file} requires {what}, which is not there"));
    }
    let folder = packed(&source.path, &required.read()?)?;
    let module = wayfare_languages::JAVASCRIPT.to_vec();
    let program = (required.main.as_str(), folder);
    let mut made = Made::new(language(), module, source.name(), program);
    made.ports = Declared::of(&source.main_path())?.0;
    Ok(Some(made))
}
