//! What a service is, as whoever provides it tells.

use std::time::Duration;

use tokio::time::timeout;
use wayfare_link::{Event, Message};
use wayfare_protocol::address::Address;
use wayfare_protocol::call::{self, FailureKind, Notice};
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::topics::Topic;

use super::{CallError, Caller, Heard};

/// Providers that are asked, until one answers.
const ASKED_MAX: usize = 4;
/// How long each is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

impl Caller {
    /// The schema of a service, as JSON, from the first of its providers who answers; `None`: that has given
    /// it none. The service has to be among the addresses that this caller knows.
    ///
    /// # Errors
    /// [`CallError::Nobody`]; [`CallError::Failed`] where nobody answers who is asked.
    pub async fn schema(&mut self, service: &str) -> Result<Option<String>, CallError> {
        let of_it = |(address, _): &&(Address, ProgramId)| address.service_name() == Some(service);
        let providers: Vec<(Address, ProgramId)> = self.providers.keys().filter(of_it).cloned().collect();
        let Some((address, _)) = providers.first() else {
            let address =
                Address::of_service(service).ok_or_else(|| CallError::Function(service.to_owned()))?;
            return Err(CallError::Nobody(address));
        };
        let mut last = CallError::Failed {
            kind: FailureKind::Unavailable,
            text: format!("whoever provides '{address}' is lost with its engine"),
        };
        let there = providers.iter().map(|(_, program)| *program);
        let there: Vec<ProgramId> = there.filter(|program| !self.gone.contains(program)).collect();
        for provider in there.into_iter().take(ASKED_MAX) {
            match self.schema_by(provider, service, ANSWER_TIMEOUT).await {
                Err(error @ CallError::Failed { .. }) => last = error,
                answered => return answered,
            }
        }
        Err(last)
    }

    /// The schema that a program has given its service, as JSON; `None`: it has given it none. A program that
    /// stands still does not answer, and neither does an engine of an earlier release:
    /// [`FailureKind::DeadlineExceeded`].
    async fn schema_by(
        &mut self,
        provider: ProgramId,
        service: &str,
        limit: Duration,
    ) -> Result<Option<String>, CallError> {
        let notice = Notice::Describe {
            from: self.id,
            service: service.to_owned(),
        };
        let topic = self.topics.topic(&Topic::ProgramInbox(provider));
        let message = Message::new(topic, call::encode(&notice, &[]));
        let answered = async {
            self.link.publish_acknowledged(message).await?;
            loop {
                let Event::Received(incoming) = self.events.next().await.ok_or(CallError::Closed)? else {
                    continue;
                };
                match self.heard(&incoming) {
                    Some(Heard::Schema(by, of, schema)) if by == provider && of == service => {
                        return Ok(Some(schema).filter(|schema| !schema.is_empty()));
                    }
                    _ => {}
                }
            }
        };
        match timeout(limit, answered).await {
            Ok(answered) => answered,
            Err(_) => Err(CallError::Failed {
                kind: FailureKind::DeadlineExceeded,
                text: format!(
                    "program {} has not said what its service is: it stands still, or its engine is of an earlier release",
                    provider.short()
                ),
            }),
        }
    }
}
