//! Holds on the fleet: while one stands nothing is decided and nothing is changed.
//!
//! What always holds: a hold is stored, so that it stands for whoever acts next. What was begun before it
//! ends as it would have; engines are still seen to be late and lost, and nothing follows from it until the
//! hold is over. Copies of instances' states are still made.

use serde_json::{Value, json};
use wayfare_fleet::app::hold::HoldRecord;
use wayfare_protocol::error::Failure;
use wayfare_protocol::reason::shortened;

use super::{Core, Effect, to_json};

/// Of the reason.
const REASON_BYTES_MAX: usize = 256;
/// Its record in the journal.
const KEY: &str = "hold:fleet";

impl Core {
    /// The hold that stands.
    pub(super) fn hold(&self) -> Option<HoldRecord> {
        let hold = self.state.hold.as_ref()?;
        let left_ms = hold
            .until_ms
            .map(|until_ms| until_ms.saturating_sub(self.now.wall_ms));
        (left_ms != Some(0)).then(|| HoldRecord {
            left_ms,
            ..hold.clone()
        })
    }

    /// Refuses a change while the fleet is held.
    pub(super) fn check_not_held(&self) -> Result<(), Failure> {
        match self.hold() {
            None => Ok(()),
            Some(hold) => Err(Failure::Unknown {
                error: "held".to_owned(),
                reason: hold.to_string(),
            }),
        }
    }

    pub(super) fn begin_hold(
        &mut self,
        for_ms: Option<u64>,
        reason: Option<String>,
    ) -> Result<Value, Failure> {
        let now_ms = self.now.wall_ms;
        let hold = HoldRecord {
            by: self.asker.clone(),
            reason: reason.map(|reason| shortened(reason, REASON_BYTES_MAX)),
            since_ms: now_ms,
            until_ms: for_ms.map(|for_ms| now_ms.saturating_add(for_ms)),
            left_ms: None,
        };
        self.effects.push(Effect::Store {
            key: KEY.to_owned(),
            json: Some(to_json(&hold)),
        });
        let limit = for_ms.map_or_else(
            || "until it is released".to_owned(),
            |for_ms| format!("for {} s", for_ms.div_ceil(1_000)),
        );
        let why = hold
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        self.state.hold = Some(hold.clone());
        self.tell_fleet("hold", format!("the fleet is held {limit}{why}"));
        Ok(json!(self.hold().unwrap_or(hold)))
    }

    pub(super) fn release(&mut self) -> Result<Value, Failure> {
        let changed = self.hold().is_some();
        if changed {
            self.erase_hold();
            self.tell_fleet("release", "the fleet is released".to_owned());
        }
        Ok(json!({ "changed": changed }))
    }

    /// Ends a hold whose time is up.
    pub(super) fn end_hold(&mut self) {
        if self.state.hold.is_some() && self.hold().is_none() {
            self.erase_hold();
            self.tell_fleet("release", "the time of the hold on the fleet is up".to_owned());
        }
    }

    fn erase_hold(&mut self) {
        self.state.hold = None;
        self.plan_at_ms = 0;
        // Nothing could become healthy meanwhile: roll-outs have their whole time again.
        self.progress_ms.clear();
        // Nobody's word was taken meanwhile.
        self.leases.forget_all();
        self.effects.push(Effect::Store {
            key: KEY.to_owned(),
            json: None,
        });
    }

    fn tell_fleet(&mut self, kind: &str, text: String) {
        let decision = self.decision(kind, text);
        self.effects.push(Effect::Tell(Box::new(decision)));
    }
}
