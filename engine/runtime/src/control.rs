//! Where a program's handle and its thread meet: requests one way, the log both ways, and the flag that
//! makes the program look.
//!
//! Always: a request is queued before the flag is raised, both under the mutex; the thread enters Wasm only
//! under the mutex and with nothing queued. So no request is overlooked. The flag is there exactly while the
//! thread is inside Wasm.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wayfare_mail::Mail;
use wayfare_protocol::health::{Claims, HealthClaim};
use wayfare_protocol::ids::Generation;
use wayfare_protocol::life;
use wayfare_protocol::log::Stream;

use super::clock::{Clock, now_ms};
use super::cpu::ThreadTime;
use super::flag::Flag;
use super::log::Log;
use super::service_requests::ServiceRequests;

pub(super) struct Control {
    shared: Mutex<Shared>,
    /// A request came, or the log got room.
    changed: Condvar,
    memory_bytes: AtomicU64,
    /// Of the program's thread.
    pub(super) time: ThreadTime,
    /// The program published or subscribed, or took a message: its session looks.
    pub(super) outgoing: Notify,
}

pub(super) struct Shared {
    requests: VecDeque<Request>,
    discarded: bool,
    /// By request: stays where it is once it is stopped.
    frozen: bool,
    flag: Option<Flag>,
    #[cfg(feature = "compiler")]
    better: Better,
    pub(super) log: Log,
    pub(super) mail: Mail,
    pub(super) service_requests: ServiceRequests,
    pub(super) said: SelfReport,
    /// The program's, as it was when it last began to run or stopped.
    pub(super) clock: Clock,
}

/// What the program says of itself.
#[derive(Debug, Default)]
pub(super) struct SelfReport {
    /// Not taken yet.
    news: Claims,
    /// Somebody was told that there is news.
    is_announced: bool,
    /// What counts where it goes on.
    health: Option<HealthClaim>,
}

impl SelfReport {
    pub(super) fn claim(&mut self, claim: impl FnOnce(&mut Claims)) {
        claim(&mut self.news);
        self.health = self.news.health.or(self.health);
    }

    pub(super) fn restore(&mut self, health: Option<HealthClaim>) {
        (self.health, self.news.health) = (health, health);
    }

    pub(super) fn health(&self) -> Option<HealthClaim> {
        self.health
    }

    /// Whether there is news that nobody was told of.
    pub(super) fn announce(&mut self) -> bool {
        let is_news = self.news != Claims::default();
        is_news && !std::mem::replace(&mut self.is_announced, true)
    }

    pub(super) fn take(&mut self) -> Claims {
        self.is_announced = false;
        std::mem::take(&mut self.news)
    }
}

/// Whether there is code to change over to: what succeeds that of the program's module.
#[cfg(feature = "compiler")]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Better {
    #[default]
    None,
    /// The program tries when it next stands still.
    Waiting,
    /// The program is to stop for it.
    Pressing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Freeze,
    Capture { run_on: bool, tag: u64 },
    Unfreeze,
}

/// What a stopped program does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Run,
    /// To the code that succeeds its module's.
    #[cfg(feature = "compiler")]
    Change,
    Freeze,
    Capture {
        run_on: bool,
        tag: u64,
    },
    Vanish,
}

impl Shared {
    /// See [`life`]. Nothing if it has begun.
    pub(super) fn begin_life(&mut self, begun: Generation) {
        self.mail.begin_life(begun);
        self.log.begin_life(life::first_number(begun));
    }
}

impl Control {
    pub(super) fn new(frozen: bool, mail: Mail) -> Self {
        Self {
            shared: Mutex::new(Shared {
                requests: VecDeque::new(),
                discarded: false,
                frozen,
                flag: None,
                #[cfg(feature = "compiler")]
                better: Better::default(),
                log: Log::new(),
                mail,
                service_requests: ServiceRequests::default(),
                said: SelfReport::default(),
                clock: Clock::new(),
            }),
            changed: Condvar::new(),
            memory_bytes: AtomicU64::new(0),
            time: ThreadTime::default(),
            outgoing: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing is left half done where a panic could come from: the data is good either way.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn request(&self, request: Request) {
        let mut shared = self.lock();
        let idle = shared.requests.is_empty() && !shared.frozen;
        if request == Request::Unfreeze && idle {
            return; // It runs already: no need to make it stop.
        }
        shared.requests.push_back(request);
        self.attract(&shared);
    }

    /// There is better code, and the program changes over to it at its next poll.
    #[cfg(feature = "compiler")]
    pub(super) fn improve(&self) {
        let mut shared = self.lock();
        shared.better = Better::Pressing;
        self.attract(&shared);
    }

    /// The program could not, and has run on since: now that it is stopped for something else it tries again.
    #[cfg(feature = "compiler")]
    pub(super) fn improve_again(&self) {
        let mut shared = self.lock();
        if shared.better == Better::None {
            shared.better = Better::Waiting;
        }
    }

    pub(super) fn discard(&self) {
        let mut shared = self.lock();
        shared.discarded = true;
        self.attract(&shared);
    }

    fn attract(&self, shared: &Shared) {
        if let Some(flag) = &shared.flag {
            flag.raise();
        }
        self.changed.notify_all();
    }

    /// The log changed in a way that a blocked program may have waited for.
    pub(super) fn log_changed(&self) {
        self.changed.notify_all();
    }

    /// A message came, or the outbox got room.
    pub(super) fn wake_program(&self) {
        self.changed.notify_all();
    }

    /// The same for who changed something that is not behind this mutex: taking it makes sure that the
    /// program either has not looked yet, or waits already.
    pub(super) fn wake_program_surely(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// A line of the host's in the program's log, if there is room for it.
    pub(super) fn tell(&self, line: &str) {
        let mut shared = self.lock();
        if shared.log.has_room() {
            let line = format!("{line}\n");
            shared.log.append(Stream::Stderr, line.as_bytes(), now_ms());
        }
    }

    /// Waits, if it must, for what a stopped program is to do next.
    pub(super) fn next(&self) -> Next {
        let mut shared = self.lock();
        loop {
            if shared.discarded {
                return Next::Vanish;
            }
            match shared.requests.pop_front() {
                Some(Request::Unfreeze) => shared.frozen = false,
                Some(Request::Freeze) => {
                    shared.frozen = true;
                    return Next::Freeze;
                }
                Some(Request::Capture { run_on, tag }) => {
                    shared.frozen |= !run_on;
                    return Next::Capture {
                        run_on: !shared.frozen,
                        tag,
                    };
                }
                None if shared.frozen => shared = self.wait(shared, None),
                None => return shared.go(),
            }
        }
    }

    /// Lets the thread into Wasm: from here on requests raise `flag`, until the guard is dropped. `None`, and
    /// not to be entered, if something was requested.
    pub(super) fn enter(&self, flag: Flag) -> Option<Inside<'_>> {
        let mut shared = self.lock();
        if shared.wants() {
            return None;
        }
        shared.flag = Some(flag);
        Some(Inside { control: self })
    }

    /// Waits for a change, or until the time is over. For blocked host calls, which check [`Shared::wants`]
    /// first.
    pub(super) fn wait<'a>(
        &self,
        shared: MutexGuard<'a, Shared>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Shared> {
        match timeout {
            None => self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.changed
                    .wait_timeout(shared, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }

    /// Waits until somebody wants something, at most this long.
    pub(super) fn pause(&self, time: Duration) {
        let shared = self.lock();
        if !shared.wants() {
            drop(self.wait(shared, Some(time)));
        }
    }

    pub(super) fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Somebody wants the program to stop.
    pub(super) fn wants(&self) -> bool {
        #[cfg(feature = "compiler")]
        let changes = self.better == Better::Pressing;
        #[cfg(not(feature = "compiler"))]
        let changes = false;
        self.discarded || !self.requests.is_empty() || changes
    }

    /// Nothing is asked of it any more.
    fn go(&mut self) -> Next {
        #[cfg(feature = "compiler")]
        if std::mem::take(&mut self.better) != Better::None {
            return Next::Change;
        }
        Next::Run
    }

    /// It stays where it is when it is stopped, until it is unfrozen or goes on elsewhere.
    pub(super) fn stands_still(&self) -> bool {
        self.frozen
    }

    pub(super) fn is_discarded(&self) -> bool {
        self.discarded
    }
}

/// The thread is inside Wasm. Leaving withdraws the flag, also when a panic leaves.
pub(super) struct Inside<'a> {
    control: &'a Control,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.control.lock().flag = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_served_in_the_order_they_were_made() {
        let control = Control::new(false, Mail::nobody());
        assert_eq!(control.next(), Next::Run);
        control.request(Request::Unfreeze);
        assert!(!control.lock().wants(), "nothing to do for a program that runs");
        control.request(Request::Freeze);
        control.request(Request::Capture { run_on: true, tag: 1 });
        control.request(Request::Unfreeze);
        control.request(Request::Capture { run_on: true, tag: 2 });
        control.request(Request::Capture {
            run_on: false,
            tag: 3,
        });
        assert!(control.lock().wants());
        assert_eq!(control.next(), Next::Freeze);
        assert_eq!(
            control.next(),
            Next::Capture {
                run_on: false,
                tag: 1
            },
            "a frozen program stays frozen"
        );
        assert_eq!(control.next(), Next::Capture { run_on: true, tag: 2 });
        assert_eq!(
            control.next(),
            Next::Capture {
                run_on: false,
                tag: 3
            }
        );
        control.request(Request::Unfreeze);
        assert_eq!(control.next(), Next::Run);
        control.request(Request::Freeze);
        control.discard();
        assert_eq!(control.next(), Next::Vanish);
    }
}
