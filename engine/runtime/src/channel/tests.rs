use serde_json::{Value as Json, json};
use wayfare_mail::{Manner, ReceivedMessage};
use wayfare_protocol::qos::Qos;

use super::format::{Action, Event, Line, Number, parse};
use super::*;

fn action(line: &str) -> Action {
    parse(line.as_bytes()).action.unwrap()
}

#[test]
fn lines_say_what_the_imports_are_asked_for() {
    let publish = |payload: &[u8], manner| Action::Publish {
        topic: "a/b".into(),
        payload: payload.to_vec(),
        manner,
    };
    let reliable = Manner {
        qos: Qos::AtLeastOnce,
        ..Manner::default()
    };
    let line = parse(br#" {"do":"publish","topic":"a/b","payload":"x\ny","id":7} "#);
    let expected = Line {
        number: Some(Number(7)),
        action: Ok(publish(b"x\ny", reliable)),
    };
    assert_eq!(line, expected);
    let all = Manner {
        qos: Qos::AtMostOnce,
        retain: true,
        plain: true,
    };
    for (line, expected) in [
        (
            r#"{"do":"publish","topic":"a/b","payload_base64":"/wA=","qos":0,"retain":true,"plain":true}"#,
            publish(b"\xff\0", all),
        ),
        (
            r#"{"do":"reply","to":"4294967297 a/b c","payload":""}"#,
            Action::Reply {
                reply_to: "a/b c".into(),
                answers: 4_294_967_297,
                payload: Vec::new(),
            },
        ),
        (
            r#"{"do":"compare_and_set","key":"k","value":"v","version":0}"#,
            Action::Set {
                key: "k".into(),
                value: b"v".to_vec(),
                expected: Some(0),
            },
        ),
    ] {
        assert_eq!(action(line), expected, "{line}");
    }
}

#[test]
fn a_bad_line_is_an_error_with_a_kind_and_with_its_number_where_that_can_be_read() {
    for (line, kind, number) in [
        (r#"publish"#, "malformed", None),
        (r#"[1]"#, "malformed", None),
        (r#"{"do":"publish","id":-1}"#, "malformed", None),
        (r#"{"do":"publish","id":1}"#, "malformed", Some(1)),
        (r#"{"do":"get","key":1,"id":2}"#, "malformed", Some(2)),
        (r#"{"do":"get","key":"k","kye":1,"id":3}"#, "malformed", Some(3)),
        (
            r#"{"do":"set","key":"k","value":"","value_base64":"","id":4}"#,
            "malformed",
            Some(4),
        ),
        (
            r#"{"do":"set","key":"k","value_base64":"%","id":5}"#,
            "malformed",
            Some(5),
        ),
        (
            r#"{"do":"subscribe","filter":"a","qos":2,"id":6}"#,
            "malformed",
            Some(6),
        ),
        (
            r#"{"do":"reply","to":"x","payload":"","id":7}"#,
            "malformed",
            Some(7),
        ),
        (
            r#"{"do":"compare_and_set","key":"k","value":"","id":8}"#,
            "malformed",
            Some(8),
        ),
        (r#"{"do":"dance","how":"well","id":9}"#, "unknown-action", Some(9)),
        ("{\"do\":\"\u{1}", "malformed", None),
    ] {
        let found = parse(line.as_bytes());
        assert_eq!(found.number, number.map(Number), "{line}");
        assert_eq!(found.action.unwrap_err().kind, kind, "{line}");
    }
    assert_eq!(parse(b"\xff\xfe").action.unwrap_err().kind, "malformed");
    let deep = "[".repeat(100_000);
    assert_eq!(parse(deep.as_bytes()).action.unwrap_err().kind, "malformed");
}

#[test]
fn bytes_that_are_no_text_are_in_base64() {
    let message = |payload: &[u8]| ReceivedMessage {
        number: 0,
        topic: "a".into(),
        payload: payload.to_vec(),
        retained: true,
        stamp: None,
    };
    for (payload, field, expected) in [
        (&b"\"\n"[..], "payload", json!("\"\n")),
        (b"\xff\0", "payload_base64", json!("/wA=")),
    ] {
        let line: Json = serde_json::from_str(&Event::message(&message(payload), None).line()).unwrap();
        let expected = json!({"event": "message", "topic": "a", "retained": true, field: expected});
        assert_eq!(line, expected);
    }
}

#[test]
fn a_line_that_is_too_long_is_dropped_as_a_whole_and_the_next_one_is_not() {
    let mut channel = Channel::default();
    let half = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
    assert!(matches!(channel.take(&half, false), Taken::Begun));
    assert!(matches!(channel.take(&half, false), Taken::Begun));
    assert!(channel.begun.is_empty(), "what is dropped is not kept");
    assert!(matches!(channel.take(&half, false), Taken::Begun));
    assert!(matches!(channel.take(b"x", true), Taken::TooLong));
    assert!(matches!(channel.take(b"y", true), Taken::Line(line) if line == b"y"));
    assert!(channel.is_unused());
}

#[test]
fn answers_are_bounded_by_their_number_and_by_their_bytes() {
    let (mut many, mut long) = (Channel::default(), Channel::default());
    for _ in 0..ANSWERS_MAX {
        assert!(!many.is_full());
        many.answer("x".into());
    }
    assert!(many.is_full() && many.is_sound());
    long.answer("x".repeat(ANSWERS_BYTES_MAX));
    assert!(long.is_full() && long.is_sound());
    many.answer("x".into());
    assert!(!many.is_sound(), "more than a program can have");
}
