//! Bytes from anywhere as a signed message, a roster, and an offer with an order: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wayfare_protocol::code::SecretKey;
use wayfare_protocol::peer::Envelope;
use wayfare_protocol::trust::roster::Roster;
use wayfare_protocol::trust::signed::{Answers, Signature, answers, sign};

fuzz_target!(|data: &[u8]| {
    let key = SecretKey::from_random([1; 32]);
    let _ = Signature::of(data).map(|signature| signature.is_good("topic"));
    let _ = answers(data);
    let _ = Envelope::order_of(data);
    let _ = Roster::verify(&key.public(), "topic", data);
    // What the root key has signed is read as well, whatever it is.
    if data.starts_with(b"{") && data.ends_with(b"}") {
        let _ = Roster::verify(&key.public(), "topic", &sign(&key, "topic", data, &Answers::new()));
    }
});
