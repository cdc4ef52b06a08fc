//! What is said of open calls to who looks.

use wayfare_protocol::open_calls::LISTED_MAX;

use super::tests::{answer, call, call_with, copied, deliver, done, pair};
use crate::CallOptions;

const MADE_MS: u64 = 1_700_000_000_000;

#[test]
fn an_open_call_is_listed_on_both_sides_until_it_has_ended_and_so_after_a_move() {
    let (mut caller, mut provider) = pair();
    caller.set_time(MADE_MS);
    let number = call(&mut caller, b"a").unwrap().unwrap();
    let listed = caller.open_calls(400, MADE_MS + 1);
    assert_eq!(
        (listed.clock_ms, listed.made_count, listed.received_count),
        (MADE_MS + 1, 1, 0)
    );
    let made = &listed.made[0];
    assert_eq!((made.number, made.address.as_str()), (number, "service/calc"));
    assert_eq!(made.provider, provider.home().program);
    assert_eq!(made.function.as_deref(), Some("double"));
    assert_eq!((made.since_ms, made.ended), (Some(MADE_MS), false));

    deliver(&mut caller, &mut provider);
    let queued = &provider.open_calls(0, 0).received[0];
    assert_eq!((queued.number, queued.caller), (number, caller.home().program));
    assert_eq!((queued.queued, queued.since_ms), (true, None));
    assert_eq!(
        (queued.function.as_deref(), queued.deadline_ms),
        (Some("double"), Some(5))
    );
    provider.set_time(MADE_MS + 2);
    let first = provider.first().cloned().unwrap();
    provider.take_first();
    let taken = &provider.open_calls(0, 0).received[0];
    assert_eq!(
        (taken.queued, taken.since_ms, taken.number),
        (false, Some(MADE_MS + 2), number)
    );
    assert_eq!(
        taken.address.as_ref().map(|one| one.as_str()),
        Some("service/calc")
    );

    // Elsewhere it is not known when, and of what was taken not what; but whose.
    let itself = (caller.home().program, provider.home().program);
    caller = copied(&caller, itself.0);
    provider = copied(&provider, itself.1);
    let (made, taken) = (caller.open_calls(0, 0), provider.open_calls(0, 0));
    assert_eq!((made.made[0].number, made.made[0].since_ms), (number, None));
    assert_eq!(
        (taken.received[0].caller, taken.received[0].function.as_ref()),
        (itself.0, None)
    );

    let reply_to = super::tests::reply_topic(itself.0);
    provider
        .answer(&reply_to, first.stamp.unwrap().number, &done(b"a"))
        .unwrap();
    assert_eq!(provider.open_calls(0, 0).received, []);
    deliver(&mut provider, &mut caller);
    assert!(caller.open_calls(0, 0).made[0].ended, "until it was taken");
    caller.end_call(number);
    assert_eq!(caller.open_calls(0, 0).made, []);
}

#[test]
fn what_is_left_of_a_calls_time_is_by_the_programs_clock_and_one_without_time_has_ended() {
    let (mut caller, _) = pair();
    let number = caller.call(
        &super::tests::address("service/calc"),
        ("double", b""),
        5,
        7_000_000,
        &CallOptions::default(),
    );
    number.unwrap().unwrap();
    for (now_ns, left_ms, ended) in [(0, 7, false), (4_000_000, 3, false), (8_000_000, 0, true)] {
        let listed = caller.open_calls(now_ns, 0);
        assert_eq!(
            (listed.made[0].left_ms, listed.made[0].ended),
            (left_ms, ended),
            "{now_ns}"
        );
    }
}

#[test]
fn of_many_the_first_are_listed_and_all_are_counted() {
    let (mut caller, mut provider) = pair();
    for _ in 0..=LISTED_MAX {
        call_with(&mut caller, b"", &CallOptions::default())
            .unwrap()
            .unwrap();
        deliver(&mut caller, &mut provider);
    }
    let (made, received) = (caller.open_calls(0, 0), provider.open_calls(0, 0));
    let all = LISTED_MAX as u64 + 1;
    assert_eq!((made.made.len(), made.made_count), (LISTED_MAX, all));
    assert_eq!(
        (received.received.len(), received.received_count),
        (LISTED_MAX, all)
    );
    let numbers: Vec<u64> = made.made.iter().map(|one| one.number).collect();
    assert!(numbers.is_sorted());
    assert_eq!(answer(&mut provider, done), LISTED_MAX + 1);
    assert_eq!(provider.open_calls(0, 0).received_count, 0);
}
