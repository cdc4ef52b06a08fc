//! How much of a processor the thread of a program has used, as the kernel counts it: read when somebody
//! asks, and costing nothing else.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// The time of one thread, read from any other, during its life and after it.
#[derive(Debug, Default)]
pub(super) struct ThreadTime(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    NotBegun,
    /// Its number in the kernel.
    Runs(u32),
    Ended(Option<Duration>),
}

impl ThreadTime {
    /// The calling thread is the one that counts, until what this gives is dropped.
    pub(super) fn begin(&self) -> Counting<'_> {
        let thread = std::fs::read_link("/proc/thread-self").ok();
        let number = thread.and_then(|path| path.file_name()?.to_str()?.parse().ok());
        self.set(number.map_or(State::Ended(None), State::Runs));
        Counting(self)
    }

    /// `None` where the system does not tell, or before the thread has begun.
    pub(super) fn used(&self) -> Option<Duration> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::NotBegun => None,
            // Under the mutex, so that the number is still this thread's.
            State::Runs(number) => of_thread(number),
            State::Ended(used) => used,
        }
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// While there is one, the thread lives.
pub(super) struct Counting<'a>(&'a ThreadTime);

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        let used = self.0.used();
        self.0.set(State::Ended(used));
    }
}

/// The first number of `schedstat` is nanoseconds on a processor (Documentation/scheduler/sched-stats.rst of
/// the kernel).
fn of_thread(number: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{number}/schedstat")).ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_uses_time_and_what_it_used_is_kept_when_it_ends() {
        let time = ThreadTime::default();
        assert_eq!(time.used(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _counting = time.begin();
                let before = time.used().expect("this is Linux");
                let mut number = 1_u64;
                // Until the kernel has seen it work.
                while time.used().expect("this is Linux") <= before {
                    number = std::hint::black_box(number.wrapping_mul(3));
                }
            });
        });
        let used = time.used().expect("it is kept");
        assert!(used > Duration::ZERO);
        assert_eq!(time.used(), Some(used), "nothing is added any more");
    }
}
