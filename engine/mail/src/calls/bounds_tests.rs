//! What holds against peers that repeat themselves or never answer, against hostile ones, and of snapshots that anybody may have written.

use wayfare_protocol::call::{About, Expiry, FailureKind, Outcome};

use super::tests::{DEADLINE_NS, address, deliver, pair};
use crate::{Accepted, Mail};

fn receipt() -> About {
    About {
        receipt: true,
        ..About::default()
    }
}

fn kind(mail: &Mail, number: u64, now_ns: u64) -> Option<Result<(), FailureKind>> {
    match mail.outcome(Some(number), now_ns).unwrap()?.1 {
        Outcome::Done(_) => Some(Ok(())),
        Outcome::Failed(kind, _) => Some(Err(kind)),
    }
}

/// The broker sends it again on a new connection, later than it expires.
#[test]
fn a_repeat_of_a_message_that_came_in_time_is_not_reported_as_expired() {
    let (mut sender, mut receiver) = pair();
    let about = About {
        expires: Some(Expiry {
            sent_ms: 1_000,
            after_ms: 500,
        }),
        ..receipt()
    };
    let sent = sender.send_to(&address("service/calc"), b"a", &about, DEADLINE_NS);
    let (number, outgoing) = (sent.unwrap().unwrap(), sender.next_to_send().unwrap());
    receiver.set_time(1_200);
    receiver.accept(&outgoing.topic, &outgoing.payload, false);
    receiver.set_time(9_000);
    let repeat = receiver.accept(&outgoing.topic, &outgoing.payload, false);
    assert_eq!(repeat, Accepted::Dropped);
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, number, 0), None, "it is in the inbox");
    receiver.take_first();
    receiver.accept(&outgoing.topic, &outgoing.payload, false);
    deliver(&mut receiver, &mut sender);
    assert_eq!(kind(&sender, number, 0), Some(Ok(())));
}
