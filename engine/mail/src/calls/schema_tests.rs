//! What schema a service has: whoever asks is told, from wherever the program is.

use wayfare_protocol::call::{self, Notice, SCHEMAS_BYTES_MAX};
use wayfare_protocol::grants::Grants;
use wayfare_protocol::ids::ProgramId;
use wayfare_protocol::topics::{Topic, Topics};

use super::tests::{copied, mail};
use crate::tests::someone;
use crate::{Accepted, Mail, Refusal};

const SCHEMA: &str = r#"{"functions":{"double":{}}}"#;
fn asking() -> ProgramId {
    ProgramId::from_bytes([9; 16])
}

/// Somebody asks for the schema of a service.
fn ask(provider: &mut Mail, service: &str) -> Accepted {
    let notice = Notice::Describe {
        from: asking(),
        service: service.into(),
    };
    let inbox = Topics::default().topic(&Topic::ProgramInbox(provider.home().program));
    provider.accept(&inbox, &call::encode(&notice, b""), false)
}

/// What those are told who have asked: the service, and its schema.
fn told(provider: &mut Mail) -> Vec<(String, String)> {
    let replies = Topics::default().topic(&Topic::ProgramReply(asking()));
    let mut all = Vec::new();
    while let Some(outgoing) = provider.next_to_send() {
        assert_eq!(outgoing.topic, replies);
        let (notice, schema) = call::decode::<Notice>(&outgoing.payload).expect("a notice");
        let Notice::Description { by, service } = notice else {
            panic!("{notice:?}")
        };
        assert_eq!(by, provider.home().program);
        all.push((service, String::from_utf8(schema.to_vec()).expect("text")));
        provider.sent(outgoing.number);
    }
    all
}

#[test]
fn whoever_asks_is_told_the_schema_also_after_a_move_and_nothing_of_it_takes_a_number() {
    let mut provider = mail(someone());
    provider.serve("calc", Some(SCHEMA)).unwrap();
    provider.serve("plain", None).unwrap();
    let itself = provider.home().program;
    for _ in 0..2 {
        assert!(matches!(ask(&mut provider, "calc"), Accepted::Taken(_)));
        ask(&mut provider, "plain");
        assert!(matches!(ask(&mut provider, "unknown"), Accepted::Dropped));
        assert!(provider.first().is_none(), "the program is not bothered");
        provider = copied(&provider, itself);
        let expected =
            [("calc", SCHEMA), ("plain", "")].map(|(of, schema)| (of.to_owned(), schema.to_owned()));
        assert_eq!(told(&mut provider), expected);
    }
    assert_eq!(
        provider.save()[0] & 1 << 7,
        1 << 7,
        "engines of earlier releases refuse it"
    );
    provider.serve("calc", None).unwrap();
    ask(&mut provider, "calc");
    assert_eq!(told(&mut provider), [("calc".to_owned(), String::new())]);
    assert_eq!(provider.save()[0] & 1 << 7, 0, "they take it again");
}

#[test]
fn schemas_of_a_program_are_bounded_and_one_that_may_not_serve_has_none() {
    let mut provider = mail(someone());
    let long = |bytes| "x".repeat(bytes);
    assert_eq!(
        provider.serve("a", Some(&long(SCHEMAS_BYTES_MAX + 1))),
        Err(Refusal::TooLarge)
    );
    provider.serve("a", Some(&long(SCHEMAS_BYTES_MAX - 1))).unwrap();
    assert_eq!(provider.serve("b", Some(&long(2))), Err(Refusal::TooLarge));
    provider.serve("b", Some(&long(1))).unwrap();
    provider.serve("a", Some(&long(SCHEMAS_BYTES_MAX - 1))).unwrap();
    let itself = provider.home().program;
    let mut moved = copied(&provider, itself);
    moved.serve("a", None).unwrap();
    ask(&mut moved, "b");
    assert_eq!(told(&mut moved), [("b".to_owned(), "x".to_owned())]);

    let mut saved = provider.save();
    let last = saved.len() - 1;
    saved.truncate(last);
    let mut damaged = Mail::new(provider.home().clone(), Grants::default());
    damaged.restore(&saved).expect_err("it ends too early");
    let mut without = Mail::new(provider.home().clone(), Grants::default());
    without.restore(&provider.save()).expect("it fits");
    assert_eq!(without.save()[0] & 1 << 7, 0, "what is not served has no schema");
}
