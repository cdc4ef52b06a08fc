//! What one sensor said at one time, and how stages write it to each other: `time,sensor` and the values, each empty where it is
//! missing. Numbers are written with as many digits as it takes to read the same number again.

/// What is observed, in this order, with SenML's unit.
pub const OBSERVED: [(&str, &str); 5] = [
    ("temperature", "Cel"),
    ("humidity", "%RH"),
    ("light", "lx"),
    ("dust", "ug/m3"),
    ("airquality", "ppm"),
];
pub const VALUES: usize = OBSERVED.len();

#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Seconds since 1970.
    pub time: u64,
    pub sensor: String,
    pub values: [Option<f64>; VALUES],
}

impl Row {
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let time = parts.next()?.parse().ok()?;
        let sensor = parts.next()?.to_owned();
        let mut values = [None; VALUES];
        for value in &mut values {
            *value = number(parts.next()?)?;
        }
        parts.next().is_none().then_some(Self { time, sensor, values })
    }

    pub fn text(&self) -> String {
        format!("{},{},{}", self.time, self.sensor, joined(&self.values))
    }
}

/// A number, or nothing.
pub fn number(text: &str) -> Option<Option<f64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Some)
}

pub fn joined(values: &[Option<f64>]) -> String {
    let texts: Vec<String> = values.iter().map(|value| value.map_or_else(String::new, |v| v.to_string())).collect();
    texts.join(",")
}
