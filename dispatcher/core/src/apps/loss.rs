//! Which engines are lost: gone by their own word, or silent for longer than a grace when they were asked.
//!
//! ```text
//!           connection ended                     silent for the grace
//!   here ---------------------> suspected, asked ----------------------> lost
//!    | ^                          |  ^                                   | |
//!    | '-------- it is back ------'  '----- it answers after all --------' |
//!    |                                                                     |
//!    '--- it does not answer ---> late --- for lost_ms, or it has stopped -'
//! ```
//! A last will is no proof: a broker that restarts publishes those of all engines, and one that gives a
//! session to a new connection of the same engine publishes the old connection's after that. What always
//! holds: an engine is given up only when it has said itself that it stops, or when a question has passed
//! through the broker, the time has passed, and after that everything that the broker had for us has been
//! read ([`Input::Read`](super::Input)). So a dispatcher that is behind with its reading takes nobody's
//! silence for more than it is. And where many are silent at the same time although their connections stand,
//! none is given up for that: they are late, and get nothing new, until fewer are. One that is dead loses its
//! connection.

use std::collections::{BTreeMap, BTreeSet};

use wayfare_protocol::ids::{BootId, EngineId, ProgramId};
use wayfare_scheduler::application::InstanceId;

use super::state::Doing;
use super::watched::{Health, Hearing, LossOptions, Watched};
use super::{Core, Effect};

/// More than so many are not asked by name: everybody is.
const ASKED_MAX: usize = 64;
/// Engines whose connections end at about the same time, or that do not answer at the same time, have a cause
/// in common, which is more likely to be the network or an overload than they: so many of them at least,
const COMMON_CAUSE_MIN: usize = 3;
/// and this share of all.
const COMMON_CAUSE_SHARE: usize = 50;

/// Of more engines than this the period of polls is so many times as long as they are more, so that a large
/// fleet does not answer faster than a broker and a dispatcher take it in;
const POLLED_MAX: usize = 200;
/// but no more than so many times. An engine whose connection ends is asked at once all the same.
const POLL_TIMES_MAX: usize = 6;

impl Core {
    /// Engines that do not answer, without having said that they stop, and what is known of them; `None`:
    /// that will be seen soon. One that people have cordoned is seen to.
    pub fn unreachable(&self) -> BTreeMap<EngineId, Option<&'static str>> {
        let engines = self.engines.iter().filter(|(engine, watched)| {
            let is_there = watched.view.as_ref().is_some_and(|view| !view.stopped);
            is_there && !self.state.marks.contains_key(*engine)
        });
        let words = engines.filter_map(|(engine, watched)| {
            let word = match watched.hearing.health {
                Health::Here => return None,
                Health::Suspected => None,
                Health::Late => Some("does not answer"),
                Health::Lost => Some("is lost"),
            };
            Some((engine.clone(), word))
        });
        words.collect()
    }

    /// Engines that answer, and which life of its process each is in.
    pub fn here(&self) -> BTreeMap<&EngineId, Option<BootId>> {
        let here = self.engines.iter().filter_map(|(engine, watched)| {
            let view = watched.view.as_ref().filter(|view| view.online)?;
            watched.hearing.is_here().then_some((engine, view.boot))
        });
        here.collect()
    }

    /// Whether the fleet has it, there or not.
    pub fn has_engine(&self, engine: &str) -> bool {
        self.engines.keys().any(|known| known.as_str() == engine)
    }

    pub(super) fn health(&self, engine: &EngineId) -> Health {
        self.engines
            .get(engine)
            .map_or(Health::Here, |watched| watched.hearing.health)
    }

    /// Whether something is judged by what has been read: then [`Input::Read`](super::Input::Read) is wanted
    /// soon.
    pub fn awaits_reading(&self) -> bool {
        let mut hearings = self.engines.values().map(|watched| &watched.hearing);
        let mut passing = self.passing.values();
        hearings.any(|hearing| hearing.question.is_some())
            || passing.any(|passing| passing.missing_since_ms.is_some())
            || self.awaits_what_is_back()
            || self.awaits_holders()
    }

    /// Everything that the broker had for us at `sent_ms` has been read by now.
    pub(super) fn has_read(&mut self, sent_ms: u64) {
        let now_ms = self.now.ms;
        let before_ms = self.read_ms.max(self.began_ms);
        self.read_ms = self.read_ms.max(sent_ms);
        self.put_off_leases(self.read_ms.saturating_sub(before_ms));
        for watched in self.engines.values_mut() {
            if let Some(question) = &mut watched.hearing.question
                && question.asked_ms <= sent_ms
            {
                question.passed_ms.get_or_insert(now_ms);
            }
        }
    }

    /// Who is suspected, late, lost or back.
    pub(super) fn judge_engines(&mut self) {
        for engine in self.unknown_seats() {
            self.engines.insert(engine, Watched::new(Health::Here));
        }
        self.poll();
        self.suspect();
        let limits = self.limits_by_now();
        let (mut news, mut lost) = (Vec::new(), Vec::new());
        for (engine, watched) in &mut self.engines {
            let (view, hearing) = (watched.view.as_ref(), &mut watched.hearing);
            let (health, why) = hearing.judge(view, self.read_ms, &limits);
            if std::mem::replace(&mut hearing.health, health) != health {
                self.plan_at_ms = 0;
                let has_stopped = view.is_some_and(|view| view.stopped);
                if health == Health::Lost && !has_stopped {
                    lost.push(engine.clone());
                }
            }
            // Nothing may come of a suspicion.
            if health != Health::Suspected && std::mem::replace(&mut hearing.told, health) != health {
                news.push((engine.clone(), health, why));
            }
        }
        for engine in lost {
            self.programs_lost_with(engine);
        }
        for (engine, health, why) in news {
            let (kind, text) = match health {
                Health::Here | Health::Suspected => {
                    ("engine-back", format!("engine {engine} is back: {why}"))
                }
                Health::Late => (
                    "engine-late",
                    format!("engine {engine} is late: {why}; it gets nothing new"),
                ),
                Health::Lost => (
                    "engine-lost",
                    format!("engine {engine} is lost: {why}; what it had is started elsewhere"),
                ),
            };
            self.tell_engine(kind, &engine, text);
            if health == Health::Lost {
                self.give_up_on(&engine);
            }
        }
    }

    /// What is not started elsewhere is there again when its engine is. An instance is started from what it
    /// last was, and knows itself what it was asked.
    fn programs_lost_with(&mut self, engine: EngineId) {
        // Those that may run on no other engine are as nobody's are.
        let movable = self
            .state
            .instances
            .values()
            .filter(|instance| instance.home.is_none());
        let instances: BTreeSet<ProgramId> = movable
            .filter_map(|instance| Some(instance.placed.as_ref()?.program))
            .collect();
        let there = self.programs.values().map(|view| &view.status);
        let programs: Vec<ProgramId> = there
            .filter(|status| status.engine == engine && !status.state.is_ended())
            .map(|status| status.program)
            .filter(|program| !instances.contains(program))
            .collect();
        if !programs.is_empty() {
            self.effects.push(Effect::Lost { engine, programs });
        }
    }

    /// Asks every engine, in its time.
    fn poll(&mut self) {
        let now_ms = self.now.ms;
        if now_ms < self.poll_at_ms {
            return;
        }
        let times = (self.engines.len() / POLLED_MAX).clamp(1, POLL_TIMES_MAX) as u64;
        let period_ms = self.options.loss.poll_ms.saturating_mul(times);
        self.poll_at_ms = now_ms.saturating_add(period_ms);
        for watched in self.engines.values_mut() {
            watched.hearing.ask(now_ms);
        }
        self.effects.push(Effect::Ask { engines: Vec::new() });
    }

    /// Asks those whose connections have ended, at once and again, and sees whether they have a cause in
    /// common.
    fn suspect(&mut self) {
        let (now_ms, limits) = (self.now.ms, self.options.loss);
        let has_begun = now_ms.saturating_sub(self.began_ms) < limits.reconnect_ms;
        let patient_ms = limits.grace_ms.max(limits.reconnect_ms);
        let mut asked = Vec::new();
        let mut fell = 0;
        for (engine, watched) in &mut self.engines {
            let is_offline = watched
                .view
                .as_ref()
                .is_some_and(|view| !view.online && !view.stopped);
            let hearing = &mut watched.hearing;
            let grace_ms = match has_begun && !hearing.has_answered {
                true => patient_ms,
                false => limits.grace_ms,
            };
            if is_offline && hearing.health != Health::Lost && hearing.suspect(grace_ms, now_ms) {
                asked.push(engine.clone());
            }
            let since_ms = hearing.fell_ms.map(|fell_ms| now_ms.saturating_sub(fell_ms));
            fell += usize::from(since_ms.is_some_and(|since_ms| since_ms < limits.reconnect_ms));
        }
        if fell >= self.common_cause_min() {
            let hearings = self.engines.values_mut().map(|watched| &mut watched.hearing);
            for suspicion in hearings.filter_map(|hearing| hearing.suspicion.as_mut()) {
                suspicion.grace_ms = patient_ms;
            }
        }
        if asked.is_empty() {
            return;
        }
        if asked.len() > ASKED_MAX {
            asked.clear();
        }
        self.effects.push(Effect::Ask { engines: asked });
    }

    /// No silence is a loss while it may have a common cause, and for as long after that as one engine may be
    /// silent.
    fn limits_by_now(&mut self) -> LossOptions {
        let (read_ms, limits) = (self.read_ms, self.options.loss);
        let is_silent = |hearing: &&Hearing| {
            hearing.suspicion.is_none()
                && hearing.health != Health::Lost
                && hearing.silent_ms(read_ms) >= limits.late_ms
        };
        let hearings = self.engines.values().map(|watched| &watched.hearing);
        if hearings.filter(is_silent).count() >= self.common_cause_min() {
            self.silence_until_ms = read_ms.saturating_add(limits.lost_ms);
        }
        match read_ms < self.silence_until_ms {
            true => LossOptions {
                lost_ms: u64::MAX,
                ..limits
            },
            false => limits,
        }
    }

    /// So many have a cause in common.
    fn common_cause_min(&self) -> usize {
        COMMON_CAUSE_MIN.max(self.engines.len() / COMMON_CAUSE_SHARE)
    }

    /// Commands to an engine that is lost are not waited for: whatever comes of them is fenced off.
    fn give_up_on(&mut self, engine: &EngineId) {
        let asked: Vec<InstanceId> = self
            .state
            .instances
            .iter()
            .filter(|(_, instance)| {
                instance
                    .pending
                    .as_ref()
                    .is_some_and(|p| p.doing.engine() == engine)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in asked {
            if let Some(instance) = self.state.instances.get_mut(&id)
                && let Some(pending) = instance.pending.take()
            {
                self.in_flight.remove(&pending.operation);
                let program = instance.placed.as_ref().map(|placed| placed.program);
                self.store(&id);
                if let (Some(program), Doing::Move { target, .. }) = (program, &pending.doing) {
                    // It may have arrived there, if that is lost as well.
                    self.may_be_left_on(program, target);
                }
            }
        }
    }
}
