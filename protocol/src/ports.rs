//! What a program declares of its messages: the topics that it reads and writes, with their media types.
//! People and tools read it; it grants nothing, and nothing depends on it.

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::grants::is_filter;
use crate::wire;

/// Of all of a program's ports as JSON: they are in its status, which is a small message.
pub const PORTS_BYTES_MAX: usize = 2 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ports {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Port>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// A topic, or a filter of several.
    pub topic: String,
    /// As in RFC 6838, such as `application/senml+json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

impl Ports {
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let text = |port: &Port| port.topic.len() + port.media_type.as_ref().map_or(0, String::len);
        let all = || self.inputs.iter().chain(&self.outputs);
        all().map(|port| text(port) + size_of::<Port>()).sum()
    }

    /// Checks what came from outside.
    pub fn check(&self) -> Result<(), Failure> {
        let bad = |reason: String| Err(Failure::BadRequest { reason });
        for port in self.inputs.iter().chain(&self.outputs) {
            let cut = |text: &str| text.chars().take(80).collect::<String>();
            if !is_filter(&port.topic) {
                return bad(format!(
                    "'{}' is declared, and is not a topic filter",
                    cut(&port.topic)
                ));
            }
            if let Some(media_type) = port.media_type.as_ref().filter(|one| !is_media_type(one)) {
                return bad(format!(
                    "'{}' is not a media type such as text/plain",
                    cut(media_type)
                ));
            }
        }
        let bytes = wire::to_json(self).len();
        if bytes > PORTS_BYTES_MAX {
            return Err(Failure::TooLarge {
                what: "inputs and outputs that are declared".into(),
                bytes: bytes as u64,
                bytes_max: PORTS_BYTES_MAX as u64,
            });
        }
        Ok(())
    }
}

/// With its media type behind it, where it has one.
impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.media_type {
            Some(media_type) => write!(f, "{} ({media_type})", self.topic),
            None => f.write_str(&self.topic),
        }
    }
}

fn is_media_type(text: &str) -> bool {
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    text.split_once('/')
        .is_some_and(|(kind, name)| is_plain(kind) && is_plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(topic: &str, media_type: Option<&str>) -> Port {
        Port {
            topic: topic.into(),
            media_type: media_type.map(str::to_owned),
        }
    }

    #[test]
    fn ports_are_topics_with_media_types_and_small_together() {
        let ports = |inputs: Vec<Port>| Ports {
            inputs,
            outputs: vec![port("a/b", Some("text/plain"))],
        };
        assert_eq!(ports(vec![port("a/+", None)]).check(), Ok(()));
        for (bad, says) in [
            (port("a/#/b", None), "not a topic filter"),
            (port("a", Some("text")), "not a media type"),
            (port("a", Some("text/a b")), "not a media type"),
        ] {
            let failure = ports(vec![bad]).check().unwrap_err().to_string();
            assert!(failure.contains(says), "{failure}");
        }
        let many = ports(vec![port("sensors/temperature", None); 100]).check();
        assert!(matches!(many, Err(Failure::TooLarge { .. })), "{many:?}");
    }
}
