//! What arrives, before anything is done about it: whether somebody may have ordered it.

use std::time::Instant;

use bytes::Bytes;
use wayfare_core::Core;
use wayfare_core::types::Input;
use wayfare_protocol::peer::{Envelope, PeerMessage};

use super::Judgement;
use crate::shell::agent::Agent;
use crate::shell::inbound::Arrived;

impl Agent {
    /// What arrived, if it may be acted on. Otherwise its sender has an answer, or signs it again when it has
    /// seen the present challenge.
    pub(in crate::shell) fn permitted(&mut self, arrived: Arrived, payload: &Bytes) -> Option<Arrived> {
        let now = Instant::now();
        let is_permitted = match &arrived {
            Arrived::Command(command) => match self.trust.judge(payload, command, now) {
                Judgement::Taken => true,
                Judgement::Stale => false,
                Judgement::Refused(failure) => {
                    let (operation, client) = (command.operation, command.client.clone());
                    self.refuse(operation, client, command.action.verb(), failure);
                    false
                }
            },
            Arrived::Device(request) => match self.trust.judge_device(payload, now) {
                Judgement::Taken => true,
                Judgement::Stale => false,
                Judgement::Refused(failure) => {
                    self.answer_about_device(&request.clone().take_apart().0, Err(failure));
                    false
                }
            },
            Arrived::Peer(Input::Peer(envelope), _) if is_new_offer(&self.core, envelope) => {
                let order = Envelope::order_of(payload);
                let shown = (order.as_deref(), Envelope::warrant_of(payload));
                let judged = self.trust.judge_offer(envelope, shown, now);
                let refused = judged.err();
                if let Some(failure) = refused.clone() {
                    let message = PeerMessage::Refused { failure };
                    self.out
                        .peer(envelope.from.clone(), envelope.operation, message, &[]);
                }
                refused.is_none()
            }
            Arrived::Other(Input::Report { .. }) => {
                self.trust.asked(now);
                true
            }
            _ => true,
        };
        if std::mem::take(&mut self.trust.is_to_show) {
            self.feed(Input::StatusChanged);
        }
        is_permitted.then_some(arrived)
    }
}

/// Whether it offers a program that nothing is known of here; what has begun, or was decided, goes on.
fn is_new_offer(core: &Core, envelope: &Envelope) -> bool {
    matches!(envelope.message, PeerMessage::Prepare { .. }) && !core.knows_arrival(envelope.operation)
}
