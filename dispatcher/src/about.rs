//! Who acts: for people who ask, and for tests.

use serde_json::json;

use crate::context::Context;
use crate::requests::Inbox;

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    while let Some(asked) = inbox.recv().await {
        asked.answer(Ok(json!({
            "dispatcher": context.options.name,
            "term": context.term,
        })));
    }
}
