//! What a device says by itself: edges of a line, bytes of a serial port. Kept in order and numbered, up to a
//! limit, so that each program that listens has a place of its own and loses nothing while it does something
//! else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Holder;

/// Makes a program that waits look again. Called on the thread of the device.
pub type Waker = Box<dyn Fn() + Send>;

pub(super) struct Feed<T> {
    state: Mutex<State<T>>,
    kept_max: usize,
}

struct State<T> {
    /// The number of the first that is kept.
    first: u64,
    kept: VecDeque<T>,
    /// Each is woken once: who waits on asks again.
    waiting: BTreeMap<Holder, Waker>,
    /// The device says nothing any more.
    failed: Option<String>,
}

impl<T: Copy> Feed<T> {
    pub(super) fn new(kept_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                first: 0,
                kept: VecDeque::new(),
                waiting: BTreeMap::new(),
                failed: None,
            }),
            kept_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest make room where nobody has taken them.
    pub(super) fn push(&self, items: &[T]) {
        let mut state = self.lock();
        state.failed = None;
        state.kept.extend(items);
        while state.kept.len() > self.kept_max {
            state.kept.pop_front();
            state.first += 1;
        }
        Self::wake(state);
    }

    pub(super) fn fail(&self, reason: String) {
        let mut state = self.lock();
        state.failed = Some(reason);
        Self::wake(state);
    }

    /// After a failure it is tried again.
    pub(super) fn begin(&self) {
        self.lock().failed = None;
    }

    /// A woken program takes locks of its own: ours is given back before.
    fn wake(mut state: MutexGuard<'_, State<T>>) {
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.values().for_each(|wake| wake());
    }

    /// Where what comes next will be.
    pub(super) fn end(&self) -> u64 {
        let state = self.lock();
        state.first + state.kept.len() as u64
    }

    /// What has come at `place` or later, and where its first is: later than `place` if what was there is
    /// lost. If there is nothing, `wake` is called when something comes.
    pub(super) fn after(
        &self,
        place: u64,
        holder: Holder,
        wake: impl FnOnce() -> Waker,
    ) -> Result<(u64, Vec<T>), String> {
        let mut state = self.lock();
        let from = place.max(state.first);
        let skipped = usize::try_from(from - state.first).unwrap_or(usize::MAX);
        let there: Vec<T> = state.kept.iter().skip(skipped).copied().collect();
        if there.is_empty() {
            if let Some(reason) = &state.failed {
                return Err(reason.clone());
            }
            state.waiting.insert(holder, wake());
        }
        Ok((from, there))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_listener_has_its_place_and_the_oldest_make_room() {
        let feed = Feed::new(3);
        let none = || -> Waker { Box::new(|| ()) };
        feed.push(b"ab");
        assert_eq!(feed.after(0, Holder(1), none), Ok((0, b"ab".to_vec())));
        assert_eq!(feed.after(1, Holder(2), none), Ok((1, b"b".to_vec())));
        feed.push(b"cd");
        assert_eq!(feed.after(0, Holder(1), none), Ok((1, b"bcd".to_vec())));
        assert_eq!(feed.end(), 4);
    }

    #[test]
    fn who_waits_is_woken_once_and_hears_of_a_failure() {
        let feed = Feed::<u8>::new(3);
        let woken = Arc::new(AtomicUsize::new(0));
        let waker = || -> Waker {
            let woken = woken.clone();
            Box::new(move || {
                woken.fetch_add(1, Ordering::Relaxed);
            })
        };
        assert_eq!(feed.after(0, Holder(1), waker), Ok((0, vec![])));
        feed.push(b"a");
        feed.push(b"b");
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert_eq!(feed.after(2, Holder(1), waker), Ok((2, vec![])));
        feed.fail("unplugged".into());
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        assert_eq!(
            feed.after(0, Holder(1), waker),
            Ok((0, b"ab".to_vec())),
            "what came before"
        );
        assert_eq!(feed.after(2, Holder(1), waker), Err("unplugged".into()));
    }
}
