//! The status topics of the programs that are here: another engine that claims one of them is heard there.

use std::collections::BTreeSet;

use wayfare_link::Qos;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::topics::Topic;

use super::agent::Agent;

impl Agent {
    /// Subscribes to our own status, until the fence is passed: it says whether another process has been here
    /// under our id. Where the broker does not let us read it, two with one id are only seen by their taking
    /// the session from each other.
    pub(super) fn look_at_ourselves(&mut self) {
        let topic = self
            .out
            .topics
            .topic(&Topic::EngineStatus(self.out.engine.clone()));
        let link = self.out.link.clone();
        self.subscribing.spawn(async move {
            if let Err(error) = link.subscribe(&topic, Qos::AtLeastOnce).await {
                tracing::debug!(topic, %error, "cannot see whether another engine has this id");
            }
        });
    }

    /// Hears of other engines that claim the program.
    pub(super) fn watch(&mut self, program: ProgramId) {
        if self.watched.insert(program) {
            let topic = self.out.topics.topic(&Topic::ProgramStatus(program));
            let link = self.out.link.clone();
            self.subscribing.spawn(async move {
                if let Err(error) = link.subscribe(&topic, Qos::AtLeastOnce).await {
                    tracing::warn!(topic, %error, "cannot watch a program's status");
                }
            });
        }
    }

    pub(super) fn look_away(&mut self) {
        let topic = Topic::EngineStatus(self.out.engine.clone());
        self.hear_no_more(self.out.topics.topic(&topic));
    }

    /// Ends a subscription.
    pub(super) fn hear_no_more(&mut self, filter: String) {
        let link = self.out.link.clone();
        self.subscribing.spawn(async move {
            // Closed, or not granted any more: nothing is received either way.
            let _ = link.unsubscribe(&filter).await;
        });
    }

    pub(super) fn unwatch(&mut self, known: &BTreeSet<ProgramId>) {
        self.statuses.keep_only(known);
        let gone: Vec<ProgramId> = self.watched.difference(known).copied().collect();
        for program in gone {
            self.watched.remove(&program);
            self.hear_no_more(self.out.topics.topic(&Topic::ProgramStatus(program)));
        }
    }
}
