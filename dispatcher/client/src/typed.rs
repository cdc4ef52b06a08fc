//! Times, sizes and settings as people type them, the same wherever they are asked for: on the command line,
//! in a query, in an address of the gateway. How long and how large is read as manifests say it
//! ([`wayfare_fleet::typed`]).

pub use wayfare_fleet::typed::{parse_age, parse_duration, parse_size};
use wayfare_protocol::device::{DeviceKind, Setting};

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
    fn moments_are_times_ago_or_written_out() {
        assert_eq!(parse_time("2026-11-24T20:05:01.250+01:00"), Ok(1_795_547_101_250));
        assert_eq!(parse_time("1795547101250"), Ok(1_795_547_101_250));
        assert!(parse_time("1d").unwrap() < parse_time("1m").unwrap());
        assert!(parse_time("yesterday").is_err());
    }
}
