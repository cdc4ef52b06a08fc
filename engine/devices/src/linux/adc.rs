//! Converters and sensors of the kernel's Industrial I/O, through its files in sysfs
//! (`Documentation/ABI/testing/sysfs-bus-iio`).
//!
//! A channel has a file `in_<channel>_raw`, and is scaled by `_scale` and `_offset`, its own or of all
//! channels of its type; or it has one of processed values, `in_<channel>_input`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::at;
use crate::port::{Sample, Sensor};

/// A number and a newline.
const FILE_BYTES_MAX: u64 = 64;

pub(super) struct Channel {
    folder: PathBuf,
    channel: String,
    is_processed: bool,
}

impl Channel {
    pub(super) fn find(folder: &Path, channel: &str) -> io::Result<Self> {
        let is_there = |what: &str| folder.join(format!("in_{channel}_{what}")).exists();
        let is_processed = !is_there("raw");
        if is_processed && !is_there("input") {
            let reason =
                format!("it has no channel '{channel}': no file in_{channel}_raw or in_{channel}_input");
            return Err(at(folder, &reason));
        }
        Ok(Self {
            folder: folder.to_owned(),
            channel: channel.to_owned(),
            is_processed,
        })
    }

    /// `None` where there is no such file.
    fn number(&self, channel: &str, what: &str) -> io::Result<Option<f64>> {
        let path = self.folder.join(format!("in_{channel}_{what}"));
        let mut text = String::new();
        match std::fs::File::open(&path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_string(&mut text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        }
        .map_err(|error| at(&path, &error))?;
        let number = text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(at(&path, &format!("'{}' is not a number", text.trim()))),
        }
    }

    /// The channel's own, or that of its type: `in_voltage_scale` for `voltage0`.
    fn factor(&self, what: &str) -> io::Result<Option<f64>> {
        if let Some(own) = self.number(&self.channel, what)? {
            return Ok(Some(own));
        }
        let kind = self.channel.trim_end_matches(|c: char| c.is_ascii_digit());
        if kind == self.channel {
            return Ok(None);
        }
        self.number(kind, what)
    }
}

impl Sensor for Channel {
    fn sample(&self) -> io::Result<Sample> {
        let what = if self.is_processed { "input" } else { "raw" };
        let Some(value) = self.number(&self.channel, what)? else {
            return Err(at(&self.folder, &format!("channel '{}' is gone", self.channel)));
        };
        let scaled = match self.is_processed {
            true => value,
            false => (value + self.factor("offset")?.unwrap_or(0.0)) * self.factor("scale")?.unwrap_or(1.0),
        };
        Ok(Sample {
            raw: value as i64,
            scaled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as the kernel makes it.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn values_are_scaled_as_the_kernel_documents_it() {
        for (files, channel, expected) in [
            // The BeagleBone's converter: 12 bits over 1.8 V.
            (
                &[
                    ("in_voltage0_raw", "2048\n"),
                    ("in_voltage_scale", "0.439453125\n"),
                ][..],
                "voltage0",
                (2048, 900.0),
            ),
            (
                &[
                    ("in_temp_raw", "100\n"),
                    ("in_temp_offset", "-20\n"),
                    ("in_temp_scale", "62.5\n"),
                ],
                "temp",
                (100, 5000.0),
            ),
            (
                &[
                    ("in_voltage1_raw", "4"),
                    ("in_voltage1_scale", "2"),
                    ("in_voltage_scale", "9"),
                ],
                "voltage1",
                (4, 8.0),
            ),
            (&[("in_voltage2_raw", "-7\n")], "voltage2", (-7, -7.0)),
            (
                &[("in_humidityrelative_input", "45250\n")],
                "humidityrelative",
                (45250, 45250.0),
            ),
        ] {
            let folder = folder(files);
            let channel = Channel::find(folder.path(), channel).unwrap();
            let (raw, scaled) = expected;
            assert_eq!(channel.sample().unwrap(), Sample { raw, scaled }, "{files:?}");
        }
    }

    #[test]
    fn what_is_not_there_or_no_number_is_named() {
        let folder = folder(&[("in_voltage0_raw", "much\n"), ("in_voltage1_raw", "1")]);
        let error = Channel::find(folder.path(), "voltage7")
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("no channel 'voltage7'"), "{error}");
        let channel = Channel::find(folder.path(), "voltage0").unwrap();
        let error = channel.sample().unwrap_err().to_string();
        assert!(error.contains("'much' is not a number"), "{error}");
        let channel = Channel::find(folder.path(), "voltage1").unwrap();
        std::fs::remove_file(folder.path().join("in_voltage1_raw")).unwrap();
        let error = channel.sample().unwrap_err().to_string();
        assert!(error.contains("is gone"), "{error}");
    }
}
