//! Times, sizes and settings as people type them, the same wherever they are asked for: on the command
//! line, in a query, in an address of the gateway.

use std::time::Duration;

use wayfare_protocol::device::{DeviceKind, Setting};

/// A time such as 500ms, 30s or 5m.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "a time such as 500ms, 30s or 5m is expected".to_owned())?;
    let millis = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("'{unit}' is not a unit of time: use ms, s, m or h")),
    };
    match millis {
        Some(millis @ 1..=86_400_000) => Ok(Duration::from_millis(millis)),
        _ => Err("a time from 1ms to 24h is expected".into()),
    }
}

/// As a duration, but also in days.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    const DAYS_MAX: u64 = 36_500;
    match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days @ 1..=DAYS_MAX)) => Ok(Duration::from_secs(days * 86_400)),
        Some(_) => Err("a number of days such as 7d is expected".into()),
        None => parse_duration(text),
    }
}

/// A time ago, a moment in RFC 3339 or in milliseconds since 1970; as the latter. The same wherever times are
/// asked for.
pub fn parse_time(text: &str) -> Result<u64, String> {
    const FIRST_MOMENT_MS: u64 = 1_000_000_000_000;
    if let Some(moment) = text.parse().ok().filter(|ms| *ms >= FIRST_MOMENT_MS) {
        return Ok(moment);
    }
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        return u64::try_from(moment.timestamp_millis())
            .map_err(|_| "a time since 1970 is expected".to_owned());
    }
    let expected =
        |_| "how long ago, such as 10m or 1d, or a time such as 2026-11-24T19:05:00Z is expected".to_owned();
    let ago = parse_age(text).map_err(expected)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    Ok(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
}

/// A size such as 65536, 512K or 16M, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "a size such as 65536, 512K, 16M or 1G is expected".to_owned())?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        _ => return Err(format!("'{unit}' is not a unit of size: use K, M or G")),
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "the size is out of range".into())
}

/// What programs are to read of a simulated device: on or off, a number, text that a serial port receives.
pub fn parse_setting(kind: DeviceKind, text: &str) -> Result<Setting, String> {
    match kind {
        DeviceKind::GpioIn => match text {
            "on" | "1" => Ok(Setting::Level { active: true }),
            "off" | "0" => Ok(Setting::Level { active: false }),
            _ => Err(format!("'{text}' is not a level: 'on' or 'off' is expected")),
        },
        DeviceKind::Adc => match text.parse() {
            Ok(scaled) if f64::is_finite(scaled) => Ok(Setting::Sample { scaled }),
            _ => Err(format!("'{text}' is not a number")),
        },
        DeviceKind::Serial => Ok(Setting::Received {
            bytes: text.as_bytes().to_vec(),
        }),
        DeviceKind::GpioOut | DeviceKind::I2c | DeviceKind::Spi => Err(format!(
            "a device of kind {kind} gives nothing by itself: there is nothing to set"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_the_device_can_give() {
        for (kind, value, setting) in [
            (DeviceKind::GpioIn, "on", Setting::Level { active: true }),
            (DeviceKind::GpioIn, "0", Setting::Level { active: false }),
            (DeviceKind::Adc, "-2.5", Setting::Sample { scaled: -2.5 }),
            (
                DeviceKind::Serial,
                "on",
                Setting::Received {
                    bytes: b"on".to_vec(),
                },
            ),
        ] {
            assert_eq!(parse_setting(kind, value).ok(), Some(setting));
        }
        for (kind, value) in [
            (DeviceKind::GpioIn, "2"),
            (DeviceKind::Adc, "warm"),
            (DeviceKind::Adc, "inf"),
            (DeviceKind::GpioOut, "on"),
        ] {
            assert!(parse_setting(kind, value).is_err(), "{kind} {value}");
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
        for bad in [
            "",
            "s",
            "0",
            "-1s",
            "1d",
            "25h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_age("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(parse_age("2h"), Ok(Duration::from_secs(7_200)));
        assert!(parse_age("0d").is_err() && parse_age("d").is_err() && parse_age("99999999d").is_err());
        assert_eq!(parse_time("2026-11-24T20:05:01.250+01:00"), Ok(1_795_547_101_250));
        assert_eq!(parse_time("1795547101250"), Ok(1_795_547_101_250));
        assert!(parse_time("1d").unwrap() < parse_time("1m").unwrap());
        assert!(parse_time("yesterday").is_err());
        for (text, bytes) in [("1", 1), ("64K", 65_536), ("16MiB", 16 << 20), ("2g", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for bad in ["", "0", "M", "1T", "99999999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
