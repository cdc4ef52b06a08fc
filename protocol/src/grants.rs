//! What a program may do besides computing and printing. Nothing is allowed that is not granted.
//!
//! Grants are part of [`crate::command::ProgramSpec`]: given once, when the program is run, and unchanged on
//! every move. The engine that runs the program asks them at each call. Topics below `<root>/v1` are never
//! granted, whatever a filter says: a program that could publish there could command the fleet.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::device::{Alias, DEVICES_MAX};
use crate::error::Failure;
use crate::files::{Access, FileGrant, FilePath};
use crate::filter::covers;
use crate::folder::FolderName;
use crate::ids::Blob;
use crate::values::is_shared_key;

/// Filters in one list of grants.
pub const FILTERS_MAX: usize = 256;
/// Bytes of a topic or filter that a program names.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Levels of a topic that a program names; AWS IoT Core allows no more.
pub const TOPIC_LEVELS_MAX: usize = 8;
/// Bytes of a variable's name.
pub const VARIABLE_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Filters of the topics that it may publish to.
    #[serde(default, rename = "pub", skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// Filters that cover what it may subscribe to.
    #[serde(default, rename = "sub", skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// Messages published in a second; `None`: as fast as the broker takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishes_per_second_max: Option<u32>,
    /// Beginnings of the shared keys that it may read and set. Keys of its own need no grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
    /// What it may read, or read and change, of the fleet's files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fs: Vec<FileGrant>,
    /// Variables that it is given as the engine has them where it begins, unless it was run with a value of
    /// its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Filters of the addresses that it may call and send to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<String>,
    /// Filters of the addresses that it may send to, beside those that it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub send: Vec<String>,
    /// The services that it may provide, as filters of one level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serve: Vec<String>,
    /// What it may use of the devices that its engine offers. An engine that lacks one of them does not run
    /// it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<Alias>,
    /// Folders of files that it may read, packed in blobs. Here, because an engine refuses grants that it
    /// does not know: one of an earlier release does not run an interpreter without its program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<FolderName, Blob>,
}

impl Grants {
    /// Checks what came from outside.
    pub fn check(&self) -> Result<(), Failure> {
        let bad = |reason: String| Err(Failure::BadRequest { reason });
        let lists = [
            ("pub", &self.publish),
            ("sub", &self.subscribe),
            ("call", &self.call),
            ("send", &self.send),
            ("serve", &self.serve),
        ];
        for (what, filters) in lists {
            if filters.len() > FILTERS_MAX {
                return bad(format!(
                    "{} grants of '{what}' are over {FILTERS_MAX}",
                    filters.len()
                ));
            }
            if let Some(filter) = filters.iter().find(|filter| !is_filter(filter)) {
                let filter: String = filter.chars().take(80).collect();
                return bad(format!(
                    "'{filter}' is not a topic filter, in a grant of '{what}'"
                ));
            }
        }
        let counts = [
            ("state", self.state.len()),
            ("fs", self.fs.len()),
            ("env", self.env.len()),
        ];
        for (what, count) in counts {
            if count > FILTERS_MAX {
                return bad(format!("{count} grants of '{what}' are over {FILTERS_MAX}"));
            }
        }
        if let Some(prefix) = self.state.iter().find(|prefix| !is_shared_key(prefix)) {
            let prefix: String = prefix.chars().take(80).collect();
            return bad(format!(
                "'{prefix}' begins no shared key: these begin with '/', in a grant of 'state'"
            ));
        }
        if let Some(name) = self.env.iter().find(|name| !is_variable(name)) {
            let name: String = name.chars().take(80).collect();
            return bad(format!(
                "'{name}' is not a variable that can be granted, in a grant of 'env'"
            ));
        }
        if self.devices.len() > DEVICES_MAX {
            return bad(format!(
                "{} grants of devices are over {DEVICES_MAX}",
                self.devices.len()
            ));
        }
        match self.publishes_per_second_max {
            Some(0) => bad("a rate of 0 messages a second is not to publish: grant no 'pub'".into()),
            _ => Ok(()),
        }
    }

    /// Whether anybody may send it anything: what it was sent and has acknowledged is nowhere but with it.
    pub fn may_receive(&self) -> bool {
        !(self.subscribe.is_empty() && self.serve.is_empty())
    }

    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|granted| covers(granted, topic))
    }

    /// A filter is granted where one granted filter covers all that it can match.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        self.subscribe.iter().any(|granted| covers(granted, filter))
    }

    /// Whether an address may be called.
    pub fn may_call(&self, address: &Address) -> bool {
        self.call.iter().any(|granted| covers(granted, address.as_str()))
    }

    /// Whether messages may be sent to an address.
    pub fn may_send(&self, address: &Address) -> bool {
        self.may_call(address) || self.send.iter().any(|granted| covers(granted, address.as_str()))
    }

    pub fn may_serve(&self, service: &str) -> bool {
        self.serve.iter().any(|granted| covers(granted, service))
    }

    /// Whether a value may be read and set under this shared key.
    pub fn may_share(&self, key: &str) -> bool {
        is_shared_key(key) && self.state.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Whether a file or folder may be read, or changed.
    pub fn may_access(&self, path: &FilePath, access: Access) -> bool {
        let is_granted = |grant: &FileGrant| grant.access >= access && grant.path.covers(path);
        self.fs.iter().any(is_granted)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A variable of an engine's that a program may be given. The engine's own configuration, which may hold its
/// password, is none.
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= VARIABLE_BYTES_MAX
        && !name.contains(['=', '\0'])
        && !name.starts_with("WAYFARE_")
}

/// A topic that can be published to: bounded, without wildcards, not one of the broker's own.
pub fn is_topic(topic: &str) -> bool {
    is_plain(topic) && !topic.contains(['+', '#'])
}

/// A filter with each wildcard in its place.
pub fn is_filter(filter: &str) -> bool {
    is_plain(filter)
        && filter
            .split('/')
            .rev()
            .enumerate()
            .all(|(from_end, level)| match level {
                "+" => true,
                "#" => from_end == 0,
                level => !level.contains(['+', '#']),
            })
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOPIC_BYTES_MAX
        && !text.starts_with('$')
        && !text.contains('\0')
        && text.split('/').count() <= TOPIC_LEVELS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_by_default() {
        let grants = Grants::default();
        assert!(!grants.may_publish("a") && !grants.may_subscribe("a") && grants.is_empty());
    }

    #[test]
    fn addresses_and_services_are_granted_by_filters() {
        let grants = Grants {
            call: vec!["service/+".into(), "program/hall".into()],
            serve: vec!["calc".into()],
            ..Grants::default()
        };
        assert!(grants.check().is_ok() && !grants.is_empty());
        for (address, expected) in [("service/a", true), ("program/hall", true), ("program/p", false)] {
            assert_eq!(grants.may_call(&address.parse().unwrap()), expected, "{address}");
        }
        assert!(grants.may_serve("calc") && !grants.may_serve("other"));
        let sends = Grants {
            send: vec!["app/shop/#".into()],
            ..grants
        };
        for (address, expected) in [
            ("service/a", true),
            ("app/shop/web/0", true),
            ("app/other", false),
        ] {
            assert_eq!(sends.may_send(&address.parse().unwrap()), expected, "{address}");
        }
        assert!(!sends.may_call(&"app/shop".parse().unwrap()));
    }

    #[test]
    fn shared_keys_are_granted_by_their_beginning() {
        let grants = |prefix: &str| Grants {
            state: vec![prefix.into()],
            ..Grants::default()
        };
        assert!(grants("/count/").check().is_ok() && grants("mine").check().is_err());
        for (prefix, key, expected) in [
            ("/count/", "/count/a", true),
            ("/count/", "/count", false),
            ("/", "/a", true),
            ("/count", "count", false),
        ] {
            assert_eq!(grants(prefix).may_share(key), expected, "{prefix} {key}");
        }
    }

    #[test]
    fn files_are_granted_below_a_path_for_reading_or_for_both() {
        let path = |text: &str| FilePath::try_from(text.to_owned()).unwrap();
        let grants = Grants {
            fs: ["/fleet/in:ro", "/fleet/out:rw"]
                .map(|text| FileGrant::try_from(text.to_owned()).unwrap())
                .into(),
            ..Grants::default()
        };
        for (text, access, expected) in [
            ("/fleet/in/a", Access::Read, true),
            ("/fleet/in/a", Access::Write, false),
            ("/fleet/out", Access::Read, true),
            ("/fleet/out/a", Access::Write, true),
            ("/fleet", Access::Read, false),
            ("/fleet/other", Access::Read, false),
        ] {
            assert_eq!(
                grants.may_access(&path(text), access),
                expected,
                "{text} {access:?}"
            );
        }
    }

    #[test]
    fn the_engines_own_configuration_is_never_granted() {
        let grants = |name: &str| Grants {
            env: vec![name.into()],
            ..Grants::default()
        };
        assert!(grants("SITE").check().is_ok());
        for bad in ["", "A=B", "A\0", "WAYFARE_BROKER"] {
            assert!(grants(bad).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn grants_that_are_no_filters_are_refused() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        for bad in ["", "a#", "#/a", "a+", "$SYS/#", "a\0", "1/2/3/4/5/6/7/8/9", &long] {
            for grants in [
                Grants {
                    publish: vec![bad.into()],
                    ..Grants::default()
                },
                Grants {
                    subscribe: vec![bad.into()],
                    ..Grants::default()
                },
            ] {
                assert!(grants.check().is_err(), "{bad:.20}");
            }
        }
        let many = Grants {
            publish: vec!["a".into(); FILTERS_MAX + 1],
            ..Grants::default()
        };
        assert!(many.check().is_err());
        let devices = |count: usize| Grants {
            devices: (0..count).map(|n| format!("d{n}").parse().unwrap()).collect(),
            ..Grants::default()
        };
        assert!(devices(DEVICES_MAX).check().is_ok() && devices(DEVICES_MAX + 1).check().is_err());
    }
}
