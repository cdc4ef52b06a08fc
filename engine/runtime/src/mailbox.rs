//! A program's messages as its MQTT session sees them: the mail, behind the mutex that the program's host
//! calls take too.

use std::sync::Arc;

use wayfare_mail::{Accepted, Mail, Outgoing};
use wayfare_protocol::qos::Qos;

use super::clock::now_ms;
use super::control::Control;

/// Cheap to clone. Outlives the program: what is done to the messages of one that is gone has no effect.
#[derive(Clone)]
pub struct Mailbox(pub(super) Arc<Control>);

impl Mailbox {
    /// Returns when the program published, subscribed or made room since this last returned. For one caller
    /// at a time.
    pub async fn changed(&self) {
        self.0.outgoing.notified().await;
    }

    pub fn accept(&self, topic: &str, payload: &[u8], retained: bool) -> Accepted {
        let accepted = self.with(|mail| {
            mail.set_time(now_ms());
            mail.accept(topic, payload, retained)
        });
        if matches!(accepted, Accepted::Taken(_)) {
            self.0.wake_program();
        }
        accepted
    }

    /// The broker has these, in the order in which they were to be sent.
    pub fn sent(&self, numbers: &[u64]) {
        self.with(|mail| numbers.iter().for_each(|number| mail.sent(*number)));
        self.0.wake_program();
    }

    /// The broker has granted a subscription.
    pub fn granted(&self, filter: &str, qos: Qos) {
        self.with(|mail| mail.granted(filter, qos));
        self.0.wake_program();
    }

    /// The broker will not have it.
    pub fn refused(&self, filter: &str) {
        self.with(|mail| mail.subscription_refused(filter));
        self.tell(&format!(
            "wayfare: the broker refused the subscription to '{filter}'"
        ));
        self.0.wake_program();
    }

    pub fn next_to_send(&self) -> Option<Outgoing> {
        self.with(Mail::next_to_send)
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Mail) -> T) -> T {
        look(&mut self.0.lock().mail)
    }

    /// A line in the program's log, as its standard error, if there is room for it.
    pub fn tell(&self, line: &str) {
        self.0.tell(line);
    }
}
