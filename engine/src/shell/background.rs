//! Makes what programs that run already need of their modules' code besides, on threads of its own: one piece
//! at a time on a thread that lets everything else go first, and one at a time of those that somebody waits
//! for on another.
//!
//! First comes resuming code, of whatever tier, then what succeeds code of the baseline tier.
//!
//! What always holds: nobody waits for more than what is being made and what others wait for. None of the
//! threads that store and encode snapshots makes or awaits such code, so a program that stands still for a
//! capture does not wait for it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use wayfare_protocol::error::Failure;
use wayfare_protocol::ids::Digest;

use super::code_workshop::CodeWorkshop;
use super::store::BlobSource;
use wayfare_runtime::{Loaded, Tier};

pub(super) struct Background {
    workshop: Arc<CodeWorkshop>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    /// Resuming code that nobody waits for yet.
    later: VecDeque<Job>,
    /// Baseline code that is to be succeeded.
    baseline: VecDeque<Job>,
    urgent: VecDeque<Job>,
    making: Vec<Digest>,
    waiting: Vec<(Digest, oneshot::Sender<Result<(), Failure>>)>,
    has_patient: bool,
    has_urgent: bool,
    is_closed: bool,
}

struct Job {
    what: What,
    module: Digest,
    /// A module that nobody has loaded any more when its turn comes is passed over.
    loaded: Weak<Loaded>,
    source: Option<BlobSource>,
}

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Resuming,
    Successor,
}

/// Which thread it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worker {
    /// Takes whatever is to be made, and lets everything else go first.
    Patient,
    /// Takes only what somebody waits for.
    Urgent,
}

impl Background {
    pub(super) fn new(workshop: Arc<CodeWorkshop>) -> Self {
        Self {
            workshop,
            queue: Arc::default(),
        }
    }

    /// Some time: its resuming code, unless that is `kept`, and what succeeds baseline code. Nothing if it
    /// could not begin: whoever needs resuming code asks for it then.
    pub(super) fn make(&self, loaded: &Arc<Loaded>, source: Option<BlobSource>, is_kept: bool) {
        let mut queue = lock(&self.queue);
        if queue.is_closed {
            return;
        }
        if !loaded.can_resume() && !is_kept {
            let job = Job::new(What::Resuming, loaded, source.clone());
            queue.later.push_back(job);
        }
        if loaded.tier() == Tier::Baseline {
            let job = Job::new(What::Successor, loaded, source);
            queue.baseline.push_back(job);
        }
        if !(queue.later.is_empty() && queue.baseline.is_empty()) {
            self.work(&mut queue, Worker::Patient);
        }
    }

    /// As soon as can be. What is returned ends without an answer when the engine ends, or nobody could
    /// begin.
    pub(super) fn hurry(
        &self,
        loaded: &Arc<Loaded>,
        source: Option<BlobSource>,
    ) -> oneshot::Receiver<Result<(), Failure>> {
        let (answer, answered) = oneshot::channel();
        let module = loaded.digest();
        let mut queue = lock(&self.queue);
        if queue.is_closed {
            return answered;
        }
        queue.waiting.push((module, answer));
        if !queue.making.contains(&module) && !queue.urgent.iter().any(|job| job.module == module) {
            queue.later.retain(|job| job.module != module);
            let job = Job::new(What::Resuming, loaded, source);
            queue.urgent.push_back(job);
            self.work(&mut queue, Worker::Urgent);
        }
        answered
    }

    /// Has a thread for it, unless there is one.
    fn work(&self, queue: &mut Queue, worker: Worker) {
        if std::mem::replace(queue.has(worker), true) {
            return;
        }
        let (workshop, shared) = (self.workshop.clone(), self.queue.clone());
        let thread = std::thread::Builder::new().name("resuming-code".into());
        // Nobody joins it: a compilation cannot be interrupted, and nothing is lost if the process ends under
        // it.
        if let Err(error) = thread.spawn(move || worker.work(&workshop, &shared)) {
            tracing::warn!(%error, "no thread to compile resuming code");
            *queue.has(worker) = false;
            if worker == Worker::Urgent {
                queue.urgent.clear();
                queue.waiting.clear();
            }
        }
    }

    /// Waits until nothing is left to be made.
    #[cfg(test)]
    pub(super) fn finish(&self) {
        while {
            let queue = lock(&self.queue);
            queue.has_patient || queue.has_urgent
        } {
            std::thread::yield_now();
        }
    }

    /// Nothing more is begun, and nobody waits any more.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        queue.later.clear();
        queue.baseline.clear();
        queue.urgent.clear();
        queue.waiting.clear();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.close();
    }
}

impl Worker {
    /// Until there is nothing for it.
    fn work(self, workshop: &CodeWorkshop, queue: &Mutex<Queue>) {
        if self == Self::Patient {
            wayfare_runtime::step_back();
        }
        loop {
            // A guard in the head of a loop would be held through its body.
            let next = lock(queue).next(self);
            let Some(job) = next else {
                return;
            };
            let loaded = job.loaded.upgrade();
            match job.what {
                What::Resuming => {
                    let made = loaded.map(|loaded| make(workshop, &loaded, job.source));
                    lock(queue).made(job.module, made);
                }
                What::Successor => loaded
                    .iter()
                    .for_each(|loaded| succeed(workshop, loaded, job.source.clone())),
            }
        }
    }
}

fn make(workshop: &CodeWorkshop, loaded: &Loaded, source: Option<BlobSource>) -> Result<(), Failure> {
    let module = loaded.digest().short();
    let made = catch_unwind(AssertUnwindSafe(|| workshop.finish(loaded, source)));
    let made = made.unwrap_or_else(|_| {
        let reason = "compiling the code that resumes the program panicked".into();
        Err(Failure::Internal { reason })
    });
    match &made {
        Ok(()) => tracing::debug!(module, "resuming code is here"),
        Err(failure) => tracing::warn!(
            module,
            %failure,
            "no resuming code: programs of this module run, but can be neither stored nor moved"
        ),
    }
    made
}

/// Programs run on as they are where that cannot be.
fn succeed(workshop: &CodeWorkshop, loaded: &Loaded, source: Option<BlobSource>) {
    let module = loaded.digest().short();
    match catch_unwind(AssertUnwindSafe(|| workshop.optimise(loaded, source))) {
        Ok(Ok(())) => tracing::debug!(module, "optimised code is here"),
        Ok(Err(failure)) => {
            tracing::warn!(module, %failure, "no optimised code: its programs run on, slower")
        }
        Err(_) => tracing::error!(
            module,
            "compiling optimised code panicked: its programs run on, slower"
        ),
    }
}

impl Job {
    fn new(what: What, loaded: &Arc<Loaded>, source: Option<BlobSource>) -> Self {
        Self {
            what,
            module: loaded.digest(),
            loaded: Arc::downgrade(loaded),
            source,
        }
    }
}

impl Queue {
    fn has(&mut self, worker: Worker) -> &mut bool {
        match worker {
            Worker::Patient => &mut self.has_patient,
            Worker::Urgent => &mut self.has_urgent,
        }
    }

    fn next(&mut self, worker: Worker) -> Option<Job> {
        let later = || match worker {
            Worker::Patient => self.later.pop_front().or_else(|| self.baseline.pop_front()),
            Worker::Urgent => None,
        };
        let next = self.urgent.pop_front().or_else(later);
        match &next {
            Some(job) if job.what == What::Resuming => self.making.push(job.module),
            Some(_) => {}
            None => *self.has(worker) = false,
        }
        next
    }

    /// Answers who waited; `None`: nobody has the module any more.
    fn made(&mut self, module: Digest, made: Option<Result<(), Failure>>) {
        self.making.retain(|other| *other != module);
        for (_, answer) in self.waiting.extract_if(.., |(other, _)| *other == module) {
            if let Some(made) = &made {
                // Whose program is gone has stopped to wait.
                let _ = answer.send(made.clone());
            }
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
