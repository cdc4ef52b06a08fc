//! Moved programs print what unmoved programs print: every sample, around a ring of three engines.

use wayfare_protocol::status::ProgramState;
use wayfare_tests::broker::Kind;
use wayfare_tests::fleet::Fleet;
use wayfare_tests::job::Job;

use crate::fleet;

const RING: [&str; 3] = ["a", "b", "c"];

/// Starts on `a` and moves it on, each time when it has printed some lines more.
async fn around_the_ring(broker: Kind, job: Job, lines_before: usize, lines_between: usize, moves: usize) {
    let fleet = fleet(broker).engines(&RING).start().await;
    on_a_ring(&fleet, job, lines_before, lines_between, moves).await;
}

async fn on_a_ring(fleet: &Fleet, job: Job, lines_before: usize, lines_between: usize, moves: usize) {
    let expected = fleet.expected(&job, "a").await;
    fleet.loads(&job, &RING).await;
    let watched = fleet.run(&job, "a").await;
    watched.printed(lines_before).await;
    for number in 1..=moves {
        watched.printed((number - 1) * lines_between).await;
        fleet.moves(watched.program, RING[number % 3]).await;
    }
    let (engine, state) = fleet.settled(watched.program).await;
    assert_eq!((engine.as_str(), state), (RING[moves % 3], ProgramState::Running));
    watched.must_print(&expected).await;
    fleet.spy.check_history();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primes_never_yields_and_is_moved_in_mid_loop() {
    around_the_ring(Kind::Mosquitto, Job::sample("primes", &["5000000"]), 5, 10, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primes_is_moved_on_the_embedded_broker() {
    around_the_ring(Kind::Embedded, Job::sample("primes", &["5000000"]), 5, 10, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counter_is_moved_in_its_sleep_with_a_full_heap() {
    around_the_ring(Kind::Mosquitto, Job::counter(200, 20, 1024), 5, 10, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn factorial_is_moved_with_a_number_that_grows() {
    around_the_ring(Kind::Mosquitto, Job::sample("factorial", &["45000"]), 0, 0, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fib_is_moved_in_its_recursion() {
    around_the_ring(Kind::Mosquitto, Job::sample("fib", &["40", "10000"]), 30, 0, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sort_is_moved_with_memory_that_changes_all_over() {
    around_the_ring(Kind::Mosquitto, Job::sample("sort", &["1024", "60"]), 5, 5, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wordfreq_is_moved_in_mid_file() {
    let fleet = fleet(Kind::Mosquitto).engines(&RING).start().await;
    on_a_ring(&fleet, Job::wordfreq(1), 1, 0, 6).await;
}

/// Each call waits for the one below it; the deepest prints lines and computes in between. What it says at
/// the end has passed through every frame.
pub(crate) const DEEP: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Eight hexadecimal digits and a newline, at 100.
  (func $print (param $value i32) (local $at i32) (local $digit i32)
    (local.set $at (i32.const 7))
    (loop $next
      (local.set $digit (i32.and (local.get $value) (i32.const 15)))
      (i32.store8 offset=100 (local.get $at)
        (i32.add (local.get $digit)
          (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
      (local.set $value (i32.shr_u (local.get $value) (i32.const 4)))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $next (i32.ge_s (local.get $at) (i32.const 0))))
    (i32.store8 (i32.const 108) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 100))
    (i32.store (i32.const 4) (i32.const 9))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $mix (param $value i32) (param $rounds i32) (result i32)
    (loop $again
      (local.set $value
        (i32.add (i32.mul (local.get $value) (i32.const 1664525)) (i32.const 1013904223)))
      (local.set $value
        (i32.xor (local.get $value) (i32.shr_u (local.get $value) (i32.const 15))))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $value))
  (func $deepest (param $seed i32) (result i32) (local $lines i32)
    (local.set $lines (i32.const 400))
    (loop $line
      (local.set $seed (call $mix (local.get $seed) (i32.const 10000000)))
      (call $print (local.get $seed))
      (br_if $line (local.tee $lines (i32.sub (local.get $lines) (i32.const 1)))))
    (local.get $seed))
  (func $descend (param $depth i32) (param $seed i32) (result i32)
    (if (i32.eqz (local.get $depth)) (then (return (call $deepest (local.get $seed)))))
    (i32.xor
      (i32.mul
        (call $descend
          (i32.sub (local.get $depth) (i32.const 1))
          (call $mix (i32.add (local.get $seed) (local.get $depth)) (i32.const 3)))
        (i32.const 31))
      (local.get $seed)))
  (func (export "_start")
    (call $print (call $descend (i32.const 10000) (i32.const 1)))))
"#;

/// Captured again and again before the first resumed frame has returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_frames_are_moved_again_before_the_first_of_them_returns() {
    around_the_ring(Kind::Mosquitto, Job::text("deep", DEEP), 3, 4, 7).await;
}
