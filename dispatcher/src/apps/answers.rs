//! What people ask about applications, and for them.

use wayfare_client::app::AppSpec;
use wayfare_client::app::ComponentSpec;
use wayfare_client::app::ask::Ask;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

use super::{Service, now};
use crate::durable::cannot_store;
use crate::requests::Asked;

impl Service {
    pub(super) fn asked(&mut self, asked: Asked) {
        let by = asked.by.clone();
        let answer = match asked.read::<Ask>() {
            Err(failure) => Err(failure),
            Ok(Ask::Take {
                transfer,
                from,
                blobs,
            }) => self
                .take(transfer, from, blobs)
                .map(|lacking| serde_json::json!(lacking)),
            Ok(Ask::Lacks { blobs }) => Ok(serde_json::json!(self.blobs.lacking(blobs))),
            Ok(Ask::Put { blob, offset, hex }) => self.blobs.put(blob, offset, &hex).map(Into::into),
            Ok(Ask::Alarms { after }) => Ok(serde_json::json!(self.alarms.page(after))),
            Ok(Ask::StandsBy { dispatcher, every_ms }) => {
                self.stands_by(dispatcher, every_ms);
                Ok(serde_json::Value::Null)
            }
            Ok(Ask::Events {
                since_ms,
                after,
                wanted,
            }) => {
                let read = self.timeline.read(since_ms, after, &wanted);
                read.map(|decisions| serde_json::json!(decisions))
                    .map_err(|error| Failure::Internal {
                        reason: format!("the dispatcher cannot read its events: {error}"),
                    })
            }
            Ok(Ask::Apply { spec, .. } | Ask::ApplyWhole { spec, .. } | Ask::Acquire { spec, .. })
                if self.lacks_any(&spec).is_some() =>
            {
                let missing = self
                    .lacks_any(&spec)
                    .map_or_else(String::new, |digest| digest.short());
                Err(Failure::BadRequest {
                    reason: format!("the dispatcher has no blob {missing}: send it first"),
                })
            }
            Ok(Ask::DryRun { ask }) => match &self.failing {
                Some(failing) if ask.is_change() => Err(cannot_store(&failing.error)),
                _ => self.core.would(*ask, by, now(self.begun)),
            },
            Ok(Ask::Forget { engine }) => {
                let answer = self.asked_core(
                    Ask::Forget {
                        engine: engine.clone(),
                    },
                    by,
                );
                if answer.is_ok() {
                    self.forget_engine(&engine);
                }
                answer
            }
            Ok(ask) => self.asked_core(ask, by),
        };
        asked.answer(answer);
    }

    fn asked_core(&mut self, ask: Ask, by: Option<String>) -> Result<serde_json::Value, Failure> {
        let is_change = ask.is_change();
        match &self.failing {
            Some(failing) if is_change => return Err(cannot_store(&failing.error)),
            // As it was known when something could still be decided.
            Some(failing) => return self.core.clone().ask(ask, by, failing.since).0,
            None => {}
        }
        let before = is_change.then(|| self.core.clone());
        let (answer, effects) = self.core.ask(ask, by, now(self.begun));
        let Err(error) = self.carry_out(effects) else {
            return answer;
        };
        let failure = cannot_store(&error);
        self.fail(error);
        match before {
            Some(before) => {
                self.core = before;
                Err(failure)
            }
            None => answer,
        }
    }

    fn lacks_any(&self, spec: &AppSpec) -> Option<Digest> {
        let blobs = spec.components.values().flat_map(ComponentSpec::blobs);
        blobs
            .map(|blob| blob.digest)
            .find(|digest| !self.blobs.has(*digest))
    }
}
