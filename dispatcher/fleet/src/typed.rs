//! How long and how large, as people write it: in manifests, on the command line, in queries.

use std::time::Duration;

const DAY_MS: u64 = 86_400_000;

/// A time such as 500ms, 30s or 5m; no longer than a day.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text, "a time such as 500ms, 30s or 5m is expected")?;
    let Some(unit_ms) = unit_ms(unit) else {
        return Err(format!("'{unit}' is not a unit of time: use ms, s, m or h"));
    };
    match number.checked_mul(unit_ms) {
        Some(millis @ 1..=DAY_MS) => Ok(Duration::from_millis(millis)),
        _ => Err("a time from 1ms to 24h is expected".into()),
    }
}

/// The same of what may be longer, so that it may be in days, such as 7d.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    const DAYS_MAX: u64 = 36_500;
    let (number, unit) = split_unit(text, "a time such as 30s, 5m or 7d is expected")?;
    let unit_ms = if unit == "d" { Some(DAY_MS) } else { unit_ms(unit) };
    let Some(unit_ms) = unit_ms else {
        return Err(format!("'{unit}' is not a unit of time: use ms, s, m, h or d"));
    };
    number
        .checked_mul(unit_ms)
        .filter(|millis| (1..=DAYS_MAX * DAY_MS).contains(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("a time from 1ms to {DAYS_MAX}d is expected"))
}

fn unit_ms(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    }
}

/// A size such as 65536, 512K or 16M, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text, "a size such as 65536, 512K, 16M or 1G is expected")?;
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

/// The number before the unit.
fn split_unit<'a>(text: &'a str, expected: &str) -> Result<(u64, &'a str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse().map_err(|_| expected.to_owned())?;
    Ok((number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("30", 30_000),
            ("5 m", 300_000),
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
            "24h1",
            "25h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_age("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(parse_age("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(parse_age("36h"), Ok(Duration::from_secs(129_600)));
        assert!(parse_age("3w").unwrap_err().contains("use ms, s, m, h or d"));
        assert!(parse_age("0d").is_err() && parse_age("d").is_err() && parse_age("99999999d").is_err());
        for (text, bytes) in [("1", 1), ("64K", 65_536), ("16MiB", 16 << 20), ("2g", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for bad in ["", "0", "M", "1T", "99999999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
