//! The status topics of the programs that are here: another engine that claims one of them is heard there.

use std::collections::BTreeSet;

use wayfare_link::Qos;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::topics::Topic;

use super::agent::Agent;

impl Agent {
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

    pub(super) fn unwatch(&mut self, known: &BTreeSet<ProgramId>) {
        let gone: Vec<ProgramId> = self.watched.difference(known).copied().collect();
        for program in gone {
            self.watched.remove(&program);
            let topic = self.out.topics.topic(&Topic::ProgramStatus(program));
            let link = self.out.link.clone();
            self.subscribing.spawn(async move {
                // Closed, or not granted any more: nothing is received either way.
                let _ = link.unsubscribe(&topic).await;
            });
        }
    }
}
