//! Whether engines' clocks are right, by this dispatcher's.
//!
//! ```text
//!   here --> asked --> right ---------------------------------> asked again after an hour
//!              |  '--> wrong --> asked again after a minute --> it is an alarm, asked again after 15 minutes
//!              '-----> no answer -----------------------------> asked again after 15 minutes
//! ```
//! A clock is wrong beyond [`WRONG_MS`] and right within half of that, whatever the answer's way may have
//! taken; in between it stays what it was. A board whose clock is set some seconds after its start is none to
//! tell of.

use std::collections::BTreeMap;

use wayfare_protocol::ids::{BootId, EngineId};

use super::Steady;

/// A clock that is further off is wrong: what engines say when something happened does not fit together any
/// more.
pub const WRONG_MS: u64 = 10_000;
/// One that is nearer is right.
const RIGHT_MS: u64 = WRONG_MS / 2;
/// For so long it is wrong before it is told.
const WRONG_FOR_MS: u64 = 60_000;
/// What is right is looked at again after this,
const RIGHT_AGAIN_MS: u64 = 3_600_000;
/// what is wrong, or does not answer, after this.
const AGAIN_MS: u64 = 900_000;
/// Engines that are asked at a time.
const ASKED_MAX: usize = 64;

/// What an engine's clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The engine's, in milliseconds since 1970,
    pub clock_ms: u64,
    /// and this host's when the answer came, and how long it took from the question.
    pub answered_ms: u64,
    pub took_ms: u64,
}

impl ClockReading {
    /// How far the engine's clock is ahead, if the answer was made half-way.
    fn ahead_ms(self) -> i64 {
        let made_ms = self.answered_ms.saturating_sub(self.took_ms / 2);
        self.clock_ms.cast_signed().saturating_sub(made_ms.cast_signed())
    }

    /// `None`: in between.
    fn is_wrong(self) -> Option<bool> {
        let (off_ms, unsure_ms) = (self.ahead_ms().unsigned_abs(), self.took_ms.div_ceil(2));
        if off_ms.saturating_sub(unsure_ms) > WRONG_MS {
            return Some(true);
        }
        (off_ms.saturating_add(unsure_ms) < RIGHT_MS).then_some(false)
    }
}

/// What is to become of an engine's alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockNews {
    /// In words.
    Wrong(String),
    Right,
}

#[derive(Debug, Clone, Default)]
pub struct Clocks {
    engines: BTreeMap<EngineId, Clock>,
}

#[derive(Debug, Clone)]
struct Clock {
    steady: Steady,
    /// `None`: it is being asked.
    ask_at_ms: Option<u64>,
    boot: Option<BootId>,
}

impl Clocks {
    /// Which of the engines that are here are to be asked now. Each is to be [`read`](Self::read) then. One
    /// that was started again, which nobody need have missed, begins anew: its clock may have been set.
    pub fn due(&mut self, here: &BTreeMap<&EngineId, Option<BootId>>, now_ms: u64) -> Vec<EngineId> {
        self.engines
            .retain(|engine, clock| here.get(engine).is_some_and(|boot| clock.boot == *boot));
        for (engine, boot) in here {
            if !self.engines.contains_key(*engine) {
                let clock = Clock {
                    steady: Steady::new(WRONG_FOR_MS, 0),
                    ask_at_ms: Some(now_ms),
                    boot: *boot,
                };
                self.engines.insert((*engine).clone(), clock);
            }
        }
        let under_way = self.engines.values().filter(|clock| clock.ask_at_ms.is_none());
        let room = ASKED_MAX.saturating_sub(under_way.count());
        let due = self
            .engines
            .iter_mut()
            .filter(|(_, clock)| clock.ask_at_ms.is_some_and(|at_ms| at_ms <= now_ms));
        due.take(room)
            .map(|(engine, clock)| {
                clock.ask_at_ms = None;
                engine.clone()
            })
            .collect()
    }

    /// Takes in what an engine has answered; `None`: nothing. `None` is to be done where nothing is settled.
    pub fn read(
        &mut self,
        engine: &EngineId,
        reading: Option<ClockReading>,
        now_ms: u64,
    ) -> Option<ClockNews> {
        let clock = self.engines.get_mut(engine)?;
        let Some(reading) = reading else {
            clock.ask_at_ms = Some(now_ms.saturating_add(AGAIN_MS));
            return None;
        };
        let settled = clock.steady.see(reading.is_wrong(), now_ms);
        // Where it shows something else than what was settled before, nothing is to be done yet.
        let settled = settled.filter(|_| clock.steady.is_settled());
        let again_ms = match (settled, reading.is_wrong()) {
            (Some(false), _) => RIGHT_AGAIN_MS,
            (None, Some(true)) => WRONG_FOR_MS,
            (Some(true), _) | (None, Some(false) | None) => AGAIN_MS,
        };
        clock.ask_at_ms = Some(now_ms.saturating_add(again_ms));
        Some(match settled? {
            true => ClockNews::Wrong(words(engine, reading.ahead_ms())),
            false => ClockNews::Right,
        })
    }
}

fn words(engine: &EngineId, ahead_ms: i64) -> String {
    let way = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let seconds = ahead_ms.unsigned_abs().saturating_add(500) / 1_000;
    format!(
        "the clock of engine {engine} is {seconds} s {way} the dispatcher's: times of logs and files do not fit together; set both by NTP"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTE: u64 = 60_000;
    const WALL_MS: u64 = 1_800_000_000_000;

    fn engine() -> EngineId {
        "a".parse().unwrap()
    }

    fn reading(ahead_ms: i64, took_ms: u64) -> Option<ClockReading> {
        let made_ms = (WALL_MS - took_ms / 2).cast_signed();
        Some(ClockReading {
            clock_ms: (made_ms + ahead_ms).cast_unsigned(),
            answered_ms: WALL_MS,
            took_ms,
        })
    }

    /// Lets time pass until the engine is asked, which takes so long exactly.
    fn asked_after(clocks: &mut Clocks, from_ms: u64, wait_ms: u64) -> u64 {
        let engine = engine();
        let here = BTreeMap::from([(&engine, None)]);
        if wait_ms > 0 {
            assert_eq!(clocks.due(&here, from_ms + wait_ms - 1), []);
        }
        assert_eq!(
            clocks.due(&here, from_ms + wait_ms),
            std::slice::from_ref(&engine)
        );
        assert_eq!(clocks.due(&here, from_ms + wait_ms), [], "it is being asked");
        from_ms + wait_ms
    }

    fn is_wrong(news: Option<ClockNews>) -> Option<bool> {
        news.map(|news| news != ClockNews::Right)
    }

    #[test]
    fn a_wrong_clock_is_told_when_it_is_still_wrong_a_minute_later() {
        let (mut clocks, mut now) = (Clocks::default(), 5);
        // Until it is asked, what it answers, what is told.
        for (wait_ms, answer, told) in [
            (0, reading(-20_000, 40), None),
            (MINUTE, reading(-20_000, 40), Some(true)),
            (15 * MINUTE, reading(-19_000, 40), Some(true)),
            // In between it stays what it is.
            (15 * MINUTE, reading(-7_000, 40), None),
            (15 * MINUTE, reading(-12_000, 40), Some(true)),
            (15 * MINUTE, reading(-5, 40), Some(false)),
            (60 * MINUTE, reading(7_000, 40), None),
            (15 * MINUTE, None, None),
            (15 * MINUTE, reading(60_000, 40), None),
            // As of a board that sets its clock a little after its start.
            (MINUTE, reading(1, 40), Some(false)),
            (60 * MINUTE, reading(60_000, 40), None),
            (MINUTE, reading(60_000, 40), Some(true)),
        ] {
            now = asked_after(&mut clocks, now, wait_ms);
            assert_eq!(is_wrong(clocks.read(&engine(), answer, now)), told, "at {now}");
        }
    }

    #[test]
    fn an_answer_that_was_long_on_its_way_proves_less() {
        for (answer, expected) in [
            (reading(10_001, 0), Some(true)),
            (reading(10_000, 0), None),
            (reading(-10_001, 0), Some(true)),
            (reading(11_000, 1_998), Some(true)),
            (reading(11_000, 2_000), None),
            (reading(4_999, 0), Some(false)),
            (reading(5_000, 0), None),
            (reading(-4_500, 1_000), None),
            (reading(0, 1_000_000), None),
        ] {
            assert_eq!(answer.unwrap().is_wrong(), expected, "{answer:?}");
        }
        let endless = ClockReading {
            clock_ms: 5,
            answered_ms: WALL_MS,
            took_ms: u64::MAX,
        };
        assert_eq!(endless.is_wrong(), None);
        // A board without a clock that keeps running, and one that is ahead by more than there is.
        for clock_ms in [0, u64::MAX] {
            let reading = ClockReading {
                clock_ms,
                answered_ms: WALL_MS,
                took_ms: 10,
            };
            assert_eq!(reading.is_wrong(), Some(true), "{clock_ms}");
        }
    }

    #[test]
    fn an_engine_that_comes_back_is_asked_at_once_and_what_stood_before_is_left_to_that() {
        let engine = engine();
        let (mut clocks, mut now) = (Clocks::default(), 0);
        now = asked_after(&mut clocks, now, 0);
        clocks.read(&engine, reading(20_000, 40), now);
        now = asked_after(&mut clocks, now, MINUTE);
        assert_eq!(
            is_wrong(clocks.read(&engine, reading(20_000, 40), now)),
            Some(true)
        );
        assert_eq!(clocks.due(&BTreeMap::new(), now), []);
        // Late answers are of before.
        assert_eq!(clocks.read(&engine, reading(0, 40), now), None);
        now = asked_after(&mut clocks, now, 0);
        assert_eq!(clocks.read(&engine, reading(20_000, 40), now), None);
        now = asked_after(&mut clocks, now, MINUTE);
        assert_eq!(is_wrong(clocks.read(&engine, reading(0, 40), now)), Some(false));
        // It was away so shortly that nobody saw it.
        let here = BTreeMap::from([(&engine, Some(BootId::from_bytes([1; 16])))]);
        assert_eq!(clocks.due(&here, now), std::slice::from_ref(&engine));
        clocks.read(&engine, reading(0, 40), now);
        assert_eq!(clocks.due(&here, now), []);
    }

    #[test]
    fn of_many_engines_some_are_asked_at_a_time_and_all_in_the_end() {
        let engines: Vec<EngineId> = (0..150)
            .map(|number| format!("e-{number}").parse().unwrap())
            .collect();
        let here: BTreeMap<&EngineId, Option<BootId>> = engines.iter().map(|engine| (engine, None)).collect();
        let (mut clocks, mut asked) = (Clocks::default(), BTreeSet::new());
        for now_ms in 0..3 {
            let due = clocks.due(&here, now_ms);
            assert!(due.len() <= ASKED_MAX);
            assert_eq!(clocks.due(&here, now_ms), []);
            for engine in due {
                clocks.read(&engine, reading(0, 40), now_ms);
                assert!(asked.insert(engine), "each once");
            }
        }
        assert_eq!(asked.len(), engines.len());
    }
}
