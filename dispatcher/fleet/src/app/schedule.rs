//! When a component's instances run that do not run all the time: five fields as cron has them, a time zone,
//! and what becomes of times at which nobody acted.
//!
//! ```text
//!   minute 0-59   hour 0-23   day of the month 1-31   month 1-12 or jan-dec   day of the week 0-7 or sun-sat
//!   each: * | value | from-to, with /step, and several with commas
//! ```
//! As in cron: where both days are restricted, either is enough. Always: a time that the clock skips as
//! summer begins comes when it has skipped it, and one that it shows twice comes once. Pure: moments are
//! passed in.

use std::fmt;

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Of the five fields together.
pub const SCHEDULE_BYTES_MAX: usize = 200;
/// The longest that two times lie apart: from one 29th of February to the next across 2100.
const DAYS_MAX: u64 = 8 * 366 + 1;

/// A schedule as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Schedule {
    pub schedule: String,
    /// As IANA names it, such as `Europe/Berlin`.
    pub zone: String,
    pub missed: Missed,
}

/// What becomes of times that passed while nobody could begin anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Nothing: the next one counts.
    #[default]
    Skip,
    /// It is made up for once, however many there were.
    Once,
}

/// A schedule that was understood.
#[derive(Debug, Clone)]
pub struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Which of the days are restricted.
    by_day: bool,
    by_weekday: bool,
    zone: Tz,
}

impl Schedule {
    /// Reads it, or says what is wrong with it.
    pub fn times(&self) -> Result<Times, String> {
        let text = &self.schedule;
        if text.len() > SCHEDULE_BYTES_MAX {
            return Err(format!(
                "the schedule has {} bytes, the limit is {SCHEDULE_BYTES_MAX}",
                text.len()
            ));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "the schedule '{text}' has {} fields: five are expected, minute, hour, day, month and day of the week, such as '30 3 * * 1-5'",
                fields.len()
            ));
        };
        let zone = self.zone.parse().map_err(|_| {
            format!(
                "'{}' is not a time zone: a name such as 'UTC' or 'Europe/Berlin' is expected",
                self.zone.chars().take(40).collect::<String>()
            )
        })?;
        let weekdays = set(weekday, "day of the week", 0, 7, &WEEKDAYS)?;
        let times = Times {
            minutes: set(minute, "minute", 0, 59, &[])?,
            hours: set(hour, "hour", 0, 23, &[])?,
            days: set(day, "day of the month", 1, 31, &[])?,
            months: set(month, "month", 1, 12, &MONTHS)?,
            // Sunday has two numbers.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            by_day: !day.starts_with('*'),
            by_weekday: !weekday.starts_with('*'),
            zone,
        };
        match times.days_in_year() {
            true => Ok(times),
            false => Err(format!("the schedule '{text}' names a day that never comes")),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' in {}", self.schedule, self.zone)?;
        match self.missed {
            Missed::Skip => Ok(()),
            Missed::Once => f.write_str(", missed ones once"),
        }
    }
}

impl Times {
    /// The first time after this moment, both in milliseconds since 1970. `None`: beyond what dates can say.
    pub fn after(&self, moment_ms: u64) -> Option<u64> {
        let moment = DateTime::from_timestamp_millis(i64::try_from(moment_ms).ok()?)?;
        let local = moment.with_timezone(&self.zone).naive_local();
        // What the clock shows twice, or skips, may belong to the day before.
        let first = local.date().checked_sub_days(Days::new(1))?;
        (0..DAYS_MAX)
            .filter_map(|days| first.checked_add_days(Days::new(days)))
            .filter(|date| self.is_on(*date))
            .find_map(|date| self.times_of(date).find(|time| *time > moment))
            .and_then(|time| u64::try_from(time.timestamp_millis()).ok())
    }

    /// All of a day, in order.
    fn times_of(&self, date: NaiveDate) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let hours = (0..24).filter(|hour| self.hours >> hour & 1 == 1);
        let minutes = |hour| (0..60).map(move |minute| (hour, minute));
        hours
            .flat_map(minutes)
            .filter(|(_, minute)| self.minutes >> minute & 1 == 1)
            .filter_map(move |(hour, minute)| self.moment(date.and_hms_opt(hour, minute, 0)?))
    }

    fn moment(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let found = match self.zone.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time,
            // What is skipped lasts no longer than a day.
            LocalResult::None => (1..=24 * 60).find_map(|minutes| {
                let later = local.checked_add_signed(TimeDelta::minutes(minutes))?;
                self.zone.from_local_datetime(&later).earliest()
            })?,
        };
        Some(found.with_timezone(&Utc))
    }

    fn is_on(&self, date: NaiveDate) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().num_days_from_sunday() & 1 == 1;
        let is_day = match (self.by_day, self.by_weekday) {
            (true, true) => day || weekday,
            _ => day && weekday,
        };
        is_day && self.months >> date.month() & 1 == 1
    }

    /// Whether any day of a leap year is one.
    fn days_in_year(&self) -> bool {
        let first = NaiveDate::from_ymd_opt(2024, 1, 1);
        first.is_some_and(|first| first.iter_days().take(366).any(|date| self.is_on(date)))
    }
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values that a field names, a bit each.
fn set(field: &str, what: &str, min: u32, max: u32, names: &[&str]) -> Result<u64, String> {
    let bad = || {
        let names = match names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "'{field}' is not a valid {what}: {min} to {max}{names}, with *, -, / and commas, is expected"
        )
    };
    let value = |text: &str| {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))
            .and_then(|at| u32::try_from(at).ok());
        let value = match named {
            Some(at) => Some(at + min),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        value.filter(|value| (min..=max).contains(value)).ok_or_else(bad)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().map_err(|_| bad())?)),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (min, max),
            (_, Some((from, to))) => (value(from)?, value(to)?),
            // As cron has it: from there on in steps.
            (from, None) => (value(from)?, step.map_or(value(from)?, |_| max)),
        };
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(0);
        if step == 0 || from > to {
            return Err(bad());
        }
        bits |= (from..=to)
            .step_by(step)
            .fold(0, |bits, value| bits | 1_u64 << value);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(schedule: &str, zone: &str) -> Schedule {
        Schedule {
            schedule: schedule.into(),
            zone: zone.into(),
            missed: Missed::Skip,
        }
    }

    fn ms(moment: &str) -> u64 {
        let moment = DateTime::parse_from_rfc3339(moment).unwrap();
        u64::try_from(moment.timestamp_millis()).unwrap()
    }

    /// The next three after a moment, as the zone's clock shows them.
    fn next(text: &str, zone: &str, after: &str) -> Vec<String> {
        let times = schedule(text, zone).times().unwrap();
        let mut at = ms(after);
        let three = (0..3).map(|_| {
            at = times.after(at).unwrap();
            let moment = DateTime::from_timestamp_millis(i64::try_from(at).unwrap()).unwrap();
            moment
                .with_timezone(&times.zone)
                .format("%a %d %b %Y %H:%M %Z")
                .to_string()
        });
        three.collect()
    }

    #[test]
    fn the_next_times_are_those_of_cron() {
        let from = "2026-11-24T19:05:00Z";
        for (text, zone, expected) in [
            (
                "*/20 * * * *",
                "UTC",
                [
                    "Tue 24 Nov 2026 19:20 UTC",
                    "Tue 24 Nov 2026 19:40 UTC",
                    "Tue 24 Nov 2026 20:00 UTC",
                ],
            ),
            (
                "5 19 * * *",
                "UTC",
                [
                    "Wed 25 Nov 2026 19:05 UTC",
                    "Thu 26 Nov 2026 19:05 UTC",
                    "Fri 27 Nov 2026 19:05 UTC",
                ],
            ),
            (
                "30 3 * * Mon-Fri",
                "Europe/Berlin",
                [
                    "Wed 25 Nov 2026 03:30 CET",
                    "Thu 26 Nov 2026 03:30 CET",
                    "Fri 27 Nov 2026 03:30 CET",
                ],
            ),
            // Either day is enough where both are restricted, and 7 is Sunday.
            (
                "0 0 1,15 * 7",
                "UTC",
                [
                    "Sun 29 Nov 2026 00:00 UTC",
                    "Tue 01 Dec 2026 00:00 UTC",
                    "Sun 06 Dec 2026 00:00 UTC",
                ],
            ),
            (
                "0 12 29 feb *",
                "UTC",
                [
                    "Tue 29 Feb 2028 12:00 UTC",
                    "Sun 29 Feb 2032 12:00 UTC",
                    "Fri 29 Feb 2036 12:00 UTC",
                ],
            ),
            (
                "40/10 6-7 * 1 *",
                "UTC",
                [
                    "Fri 01 Jan 2027 06:40 UTC",
                    "Fri 01 Jan 2027 06:50 UTC",
                    "Fri 01 Jan 2027 07:40 UTC",
                ],
            ),
        ] {
            assert_eq!(next(text, zone, from), expected, "{text}");
        }
    }

    #[test]
    fn a_time_that_the_clock_skips_comes_and_one_that_it_shows_twice_comes_once() {
        let spring = next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
        assert_eq!(
            spring,
            [
                "Sun 29 Mar 2026 03:00 CEST",
                "Mon 30 Mar 2026 02:30 CEST",
                "Tue 31 Mar 2026 02:30 CEST"
            ]
        );
        let autumn = next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
        assert_eq!(
            autumn,
            [
                "Sun 25 Oct 2026 02:30 CEST",
                "Mon 26 Oct 2026 02:30 CET",
                "Tue 27 Oct 2026 02:30 CET"
            ]
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_is_wrong() {
        for (text, zone, why) in [
            (
                "* * * *",
                "UTC",
                "the schedule '* * * *' has 4 fields: five are expected",
            ),
            ("60 * * * *", "UTC", "'60' is not a valid minute: 0 to 59"),
            ("* 5-3 * * *", "UTC", "'5-3' is not a valid hour"),
            ("*/0 * * * *", "UTC", "'*/0' is not a valid minute"),
            ("* * 0 * *", "UTC", "'0' is not a valid day of the month: 1 to 31"),
            (
                "* * * foo *",
                "UTC",
                "'foo' is not a valid month: 1 to 12, or jan to dec",
            ),
            ("* * * * +1", "UTC", "'+1' is not a valid day of the week"),
            (
                "0 0 30 2 *",
                "UTC",
                "the schedule '0 0 30 2 *' names a day that never comes",
            ),
            ("* * * * *", "Berlin", "'Berlin' is not a time zone"),
            ("* * * * *", "", "'' is not a time zone"),
        ] {
            let error = schedule(text, zone).times().unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
        assert!(schedule(&"1,".repeat(101), "UTC").times().is_err());
        assert_eq!(
            schedule("* * * * *", "UTC").times().unwrap().after(u64::MAX),
            None
        );
    }
}
