//! Names that this machine has itself, and how names are offered to a shell.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::contexts::Contexts;
use crate::folders::contexts_path;

/// More names than this are no help.
const NAMES_MAX: usize = 1_000;

/// The contexts of this user.
pub(crate) fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let kept = contexts_path()
            .and_then(|path| Contexts::load(&path).ok())
            .unwrap_or_default();
        let named = kept
            .context
            .into_iter()
            .map(|(name, context)| (name, context.shown_broker().unwrap_or_default()));
        candidates(begun, named.collect())
    })
}

/// Those that begin like this, each with what is known of it.
pub(super) fn candidates(begun: &OsStr, mut found: Vec<(String, String)>) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str() else {
        return Vec::new();
    };
    found.retain(|(name, _)| name.starts_with(begun));
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    found.truncate(NAMES_MAX);
    // What is foreign is escaped by nobody behind this: names are checked where they are given, words are
    // not.
    let words = |text: String| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(60)
            .collect::<String>()
    };
    found
        .into_iter()
        .filter(|(name, _)| !name.chars().any(char::is_control))
        .map(|(name, about)| CompletionCandidate::new(name).help(Some(words(about).into())))
        .collect()
}
