//! Values under keys, which outlive the programs that set them.
//!
//! ```text
//!  engines' requests, as many as wait --> core (decides) --> journal (durable together) --> answers
//! ```
//! What always holds: a change is durable before it is answered, and is made once for each number of a program's requests, as far
//! back as [`core::RECORDS_MAX`] numbers.

mod core;
#[cfg(test)]
mod tests;

use std::time::Duration;

use wayfare_protocol::error::Failure;
use wayfare_protocol::values::{ValueAnswer, ValueRequest};

use self::core::Values;
use super::apps::journal::Journal;
use super::requests::Asked;
use super::{Context, Inbox};

/// Requests that are made durable together.
const BATCH_MAX: usize = 64;
/// A disk that could not be written to is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(context: Context, mut inbox: Inbox) {
    let (data, term) = (context.data.clone(), context.term);
    let opened = tokio::task::spawn_blocking(move || Journal::open(&data, term)).await;
    let mut journal = match opened {
        Ok(Ok(journal)) => journal,
        Ok(Err(error)) => return refuse_all(inbox, &error.to_string()).await,
        Err(error) => return refuse_all(inbox, &error.to_string()).await,
    };
    let mut values = Values::load(journal.records());
    while let Some(first) = inbox.recv().await {
        let mut answers = vec![decide(&mut values, &mut journal, first)];
        while answers.len() < BATCH_MAX
            && let Ok(asked) = inbox.try_recv()
        {
            answers.push(decide(&mut values, &mut journal, asked));
        }
        journal = commit(journal).await;
        for (asked, answer) in answers {
            asked.answer(answer.map(|answer| serde_json::to_value(answer).expect("plain data serialises")));
        }
    }
}

fn decide(values: &mut Values, journal: &mut Journal, asked: Asked) -> (Asked, Result<ValueAnswer, Failure>) {
    let answer = asked.read::<ValueRequest>().map(|request| {
        let (answer, changes) = values.ask(request);
        for (key, json) in changes {
            journal.put(&key, json);
        }
        answer
    });
    (asked, answer)
}

/// Until it is durable: nothing is answered before.
async fn commit(mut journal: Journal) -> Journal {
    loop {
        let work = move || {
            let result = journal.commit();
            (journal, result)
        };
        let result;
        (journal, result) = match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        match result {
            Ok(()) => return journal,
            Err(error) => tracing::error!(%error, "values cannot be stored: what changes them waits"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn refuse_all(mut inbox: Inbox, reason: &str) {
    tracing::error!(reason, "no values: the dispatcher's folder cannot be used");
    while let Some(asked) = inbox.recv().await {
        let reason = format!("the dispatcher keeps no values: {reason}");
        asked.answer(Err(Failure::Internal { reason }));
    }
}
