//! Values under keys, which outlive the programs that set them.
//!
//! ```text
//!  engines' requests, as many as wait --> core (decides) --> log (durable together) --> answers
//! ```
//! What always holds: a change is durable before it is answered, and is made once for each number of a
//! program's requests, as far back as [`core::RECORDS_MAX`] numbers.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;
use wayfare_protocol::error::Failure;
use wayfare_protocol::values::{ValueAnswer, ValueRequest};

use crate::context::Context;
use crate::durable::{FileError, RecordLog, cannot_store};
use crate::requests::Asked;
use crate::requests::Inbox;
use wayfare_dispatcher_core::values::Values;

/// Requests that are made durable together.
const BATCH_MAX: usize = 64;
/// A disk that could not be written to is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: Context, mut inbox: Inbox) {
    let Some(mut service) = open(&context, &mut inbox).await else {
        return;
    };
    while let Some(first) = inbox.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(asked) = inbox.try_recv()
        {
            batch.push(asked);
        }
        let serving = tokio::task::spawn_blocking(move || {
            let requests: Vec<_> = batch.iter().map(Asked::read::<ValueRequest>).collect();
            let answers = service.serve(&requests, Instant::now());
            (service, batch, answers)
        });
        let (batch, answers);
        (service, batch, answers) = match serving.await {
            Ok(served) => served,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if service.is_succeeded() {
            return tracing::warn!("another dispatcher has the values now");
        }
        // Before the answers: who was answered finds watchers told.
        for changed in service.values.take_changed() {
            context.client.publish_value(&changed).await;
        }
        for (asked, answer) in batch.into_iter().zip(answers) {
            asked.answer(answer.map(|answer| serde_json::to_value(answer).expect("plain data serialises")));
        }
    }
}

/// Until the folder can be read; who asks meanwhile is told why it cannot. `None`: the inbox has ended.
async fn open(context: &Context, inbox: &mut Inbox) -> Option<Service> {
    loop {
        let (place, term) = (context.place.clone(), context.term);
        let opened = tokio::task::spawn_blocking(move || RecordLog::open(&place, term)).await;
        let reason = match opened {
            Ok(Ok(log)) => return Some(Service::new(log)),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(reason, "no values: the dispatcher's folder cannot be used");
        let until = Instant::now() + RETRY;
        while let Ok(asked) = tokio::time::timeout_at(until, inbox.recv()).await {
            let reason = format!("the dispatcher keeps no values: {reason}");
            asked?.answer(Err(Failure::Internal { reason }));
        }
    }
}

/// The values and where they are kept; what cannot be stored is not changed.
struct Service {
    values: Values,
    log: RecordLog,
    /// Why the last change could not be stored, and when to try again.
    failing: Option<(FileError, Instant)>,
}

impl Service {
    fn new(log: RecordLog) -> Self {
        let mut service = Self {
            values: Values::load(log.records()),
            log,
            failing: None,
        };
        service.repair();
        service
    }

    /// With the next commit, ahead of what else it has.
    fn repair(&mut self) {
        for (key, json) in self.values.take_repairs() {
            self.log.put(&key, json);
        }
    }

    /// Somebody else acts, or thinks so: standing by is the way out.
    fn is_succeeded(&self) -> bool {
        self.failing
            .as_ref()
            .is_some_and(|(error, _)| error.is_succeeded())
    }

    /// The answers, in order; what they tell of is durable. While it cannot be stored, changes are refused
    /// and all else is answered.
    fn serve(
        &mut self,
        requests: &[Result<ValueRequest, Failure>],
        now: Instant,
    ) -> Vec<Result<ValueAnswer, Failure>> {
        if self
            .failing
            .as_ref()
            .is_some_and(|(_, retry_at)| *retry_at <= now)
        {
            let probed = self.log.probe();
            if probed.is_ok() {
                // What failed before took back what a crash had torn off and is to be stored with the next
                // commit.
                self.values = Values::load(self.log.records());
                self.repair();
            }
            self.noted(probed, now);
        }
        let error = match &self.failing {
            Some((error, _)) => error.clone(),
            None => {
                let answers = requests.iter().map(|request| self.change(request)).collect();
                let Err(error) = self.log.commit() else {
                    return answers;
                };
                self.noted(Err(error.clone()), now);
                self.values = Values::load(self.log.records());
                self.repair();
                error
            }
        };
        requests
            .iter()
            .map(|request| self.answer(request, &error))
            .collect()
    }

    fn noted(&mut self, stored: Result<(), FileError>, now: Instant) {
        if let Err(error) = &stored {
            tracing::error!(%error, "values cannot be stored: changes are refused");
        } else if self.failing.is_some() {
            tracing::info!("values can be stored again");
        }
        self.failing = stored.err().map(|error| (error, now + RETRY));
    }

    /// Decides, and puts what changes into the log.
    fn change(&mut self, request: &Result<ValueRequest, Failure>) -> Result<ValueAnswer, Failure> {
        let (answer, changes) = self.values.ask(request.clone()?);
        for (key, json) in changes {
            self.log.put(&key, json);
        }
        Ok(answer)
    }

    /// Answers what needs no change, and refuses the rest.
    fn answer(
        &self,
        request: &Result<ValueRequest, Failure>,
        error: &FileError,
    ) -> Result<ValueAnswer, Failure> {
        let known = self.values.known(request.as_ref().map_err(Clone::clone)?);
        known.ok_or_else(|| cannot_store(error))
    }
}
