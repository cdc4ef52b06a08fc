//! What programs say of themselves.

use wayfare_protocol::health::{Claims, HOLD_MS_MAX, Health, HealthClaim, HoldClaim};

use super::bench::*;
use crate::types::{Effect, Input};

const SECOND: u64 = 1_000_000;

fn claim(claims: Claims) -> Input {
    Input::Claimed {
        program: program(1),
        claims,
    }
}

fn healthy(for_ms: Option<u64>) -> Input {
    claim(Claims {
        health: Some(HealthClaim { for_ms }),
        hold: None,
    })
}

fn hold(at_most_ms: u64) -> Input {
    claim(Claims {
        health: None,
        hold: Some(HoldClaim::hold("flashing", at_most_ms)),
    })
}

fn release() -> Input {
    claim(Claims {
        health: None,
        hold: Some(HoldClaim::Release),
    })
}

fn health(bench: &Bench) -> Option<Health> {
    bench.core.statuses()[0].health
}

fn held(bench: &Bench) -> Option<String> {
    bench.core.statuses()[0].hold.clone()
}

/// How many statuses of programs are published for it.
fn published(bench: &mut Bench, input: Input) -> usize {
    let effects = bench.feed(input).iter();
    let statuses = effects.filter(|effect| matches!(effect, Effect::PublishProgram(_)));
    statuses.count()
}

fn freezes(words: &[String]) -> bool {
    words.iter().any(|word| word == "freeze and capture")
}

#[test]
fn a_program_is_what_it_says_until_it_does_not_say_it_in_time() {
    let mut bench = Bench::running();
    assert_eq!(health(&bench), None);
    assert_eq!(published(&mut bench, healthy(None)), 1);
    assert_eq!(health(&bench), Some(Health::Ready));
    // For ever, as long as it has named no time. What is said again is not published again.
    assert_eq!(published(&mut bench, healthy(None)), 0);
    bench.wait(1000 * SECOND);
    assert_eq!(health(&bench), Some(Health::Ready));
    for _ in 0..10 {
        assert_eq!(published(&mut bench, healthy(Some(5_000))), 0);
        bench.wait(4 * SECOND);
        assert_eq!(health(&bench), Some(Health::Ready));
    }
    bench.wait(SECOND);
    assert_eq!(health(&bench), Some(Health::Unhealthy));
    assert_eq!(published(&mut bench, healthy(Some(1))), 1);
    bench.wait(SECOND - 1);
    assert_eq!(health(&bench), Some(Health::Ready), "a second at least");
    bench.wait(1);
    assert_eq!(health(&bench), Some(Health::Unhealthy));
}

#[test]
fn a_program_that_stands_still_is_not_judged() {
    let mut bench = Bench::running();
    bench.feed(healthy(Some(5_000)));
    bench.feed(command(2, wayfare_protocol::command::Action::Pause { on: on(1) }));
    bench.feed(captured(1, "paused"));
    assert_eq!(bench.state(), "paused");
    bench.wait(60 * SECOND);
    assert_eq!(health(&bench), Some(Health::Ready));
    let force = false;
    bench.feed(command(
        3,
        wayfare_protocol::command::Action::Resume { on: on(1), force },
    ));
    bench.wait(4 * SECOND);
    assert_eq!(health(&bench), Some(Health::Ready), "it has its whole time again");
    bench.wait(SECOND);
    assert_eq!(health(&bench), Some(Health::Unhealthy));
}

/// Up to where everything but the last snapshot is at the target.
fn about_to_stop(bench: &mut Bench) {
    bench.feed(move_to(2, "e2"));
    assert_eq!(bench.words(acknowledges("e2", 2, "module")), ["capture"]);
    bench.feed(captured(1, "base"));
}

#[test]
fn a_move_waits_for_a_program_that_holds_and_goes_on_when_it_lets_go() {
    for by_time in [false, true] {
        let mut bench = Bench::running();
        bench.feed(hold(10_000));
        assert_eq!(held(&bench).as_deref(), Some("flashing"));
        about_to_stop(&mut bench);
        let words = bench.words(acknowledges("e2", 2, "base"));
        assert!(!freezes(&words), "{words:?}");
        bench.wait(9 * SECOND);
        let words = match by_time {
            true => bench.wait(SECOND),
            false => bench.words(release()),
        };
        assert!(freezes(&words), "{words:?}");
        bench.wait(SECOND);
        assert_eq!(held(&bench), None);
    }
}

#[test]
fn an_engine_that_stops_waits_for_nobody() {
    let mut bench = Bench::running();
    bench.feed(hold(10_000));
    about_to_stop(&mut bench);
    bench.feed(acknowledges("e2", 2, "base"));
    let words = bench.words(Input::Stopping);
    assert!(freezes(&words), "{words:?}");
    let words = bench.words(captured(2, "as it stands"));
    assert!(freezes(&words), "the move goes on: {words:?}");
}

#[test]
fn a_move_that_has_waited_for_its_whole_time_says_for_what() {
    let mut bench = Bench::running();
    bench.feed(hold(60_000));
    about_to_stop(&mut bench);
    bench.feed(acknowledges("e2", 2, "base"));
    let words = bench.wait(30 * SECOND);
    assert_eq!(words.last().map(String::as_str), Some("reply failed"));
    let failure = bench.failure().to_string();
    assert!(
        failure.contains("not to be stopped now, as it says itself ('flashing')"),
        "{failure}"
    );
    assert_eq!(bench.state(), "running");
    assert_eq!(held(&bench).as_deref(), Some("flashing"), "and it still holds");
}

#[test]
fn however_often_a_program_holds_there_is_a_time_at_which_it_does_not() {
    let mut bench = Bench::running();
    let mut held_ms = 0;
    loop {
        bench.feed(hold(u64::MAX));
        if !bench.core.programs[&program(1)].report.is_held(bench.core.now) {
            break;
        }
        bench.wait(SECOND / 2);
        held_ms += 500;
        assert!(held_ms <= HOLD_MS_MAX, "it holds for ever");
    }
    assert_eq!(held_ms, HOLD_MS_MAX);
    // It is to be stopped in the time after that.
    bench.wait(SECOND);
    bench.feed(hold(1_000));
    assert!(bench.core.programs[&program(1)].report.is_held(bench.core.now));
}

#[test]
fn one_that_lets_go_and_holds_again_is_told_of_no_more_than_once_a_second() {
    let mut bench = Bench::running();
    let mut count = 0;
    for _ in 0..100 {
        for input in [hold(1_000), release()] {
            count += published(&mut bench, input);
        }
        bench.wait(SECOND / 100);
    }
    assert_eq!(count, 1);
    bench.wait(SECOND);
    assert_eq!(held(&bench), None);
}
