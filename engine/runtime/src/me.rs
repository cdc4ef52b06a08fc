//! What a program may read of itself in `/wayfare/me`: a JSON object of one line.

use serde_json::json;
use wayfare_protocol::life;

use super::channel::format::FORMAT;
use super::context::Context;

pub(super) fn text(context: &Context) -> String {
    let (home, life) = {
        let shared = context.control.lock();
        (shared.mail.home().clone(), shared.mail.life())
    };
    // Every owner of a program has a generation of its own, and a life begins with its first.
    let first = life::generation_of(life);
    let text = json!({
        "format": FORMAT,
        "program": home.program.to_string(),
        "name": context.arguments.first(),
        "engine": home.engine,
        "generation": context.generation.0,
        // Of a fresh program here: what recursion may use. Interpreters end it with an error of their own
        // before that.
        "stack_bytes": context.stack_bytes,
        "moves": context.generation.0.saturating_sub(first.0),
        "grants": *context.grants,
    });
    format!("{text}\n")
}
