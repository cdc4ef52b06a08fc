//! What a request may bring: the parameters of its path and query, and its body.

/// What a request to one address may bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepts {
    /// With `{name}` where a parameter is.
    pub(crate) path: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) body: Body,
}

impl Accepts {
    /// Whether this parameter is in the path.
    pub(crate) fn is_in_path(&self, name: &str) -> bool {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .any(|part| part.trim_start_matches('*') == name)
    }
}

/// What a request brings besides parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing, or its parameters as a JSON object.
    Parameters,
    /// Bytes, of which this says what they are; parameters are in the query.
    Bytes {
        what: &'static str,
        media_type: &'static str,
        bytes_max: u64,
    },
}

/// A parameter: in the path, the query, or the JSON object of the body.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    pub name: &'static str,
    pub kind: Kind,
    pub about: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// `true` or `false`.
    Flag,
    Count,
    /// As 64K or 8M.
    Size,
    /// As 500ms, 30s or 5m.
    Time,
    /// As 10m ago, or in RFC 3339.
    Moment,
    /// Any number of texts.
    List,
}

impl Kind {
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Flag => "true or false",
            Self::Count => "a number",
            Self::Size => "a size such as 65536, 512K or 16M",
            Self::Time => "a time such as 500ms, 30s or 5m",
            Self::Moment => "how long ago, such as 10m or 1d, or a time such as 2026-11-24T19:05:00Z",
            Self::List => "a list of texts",
        }
    }
}

pub(crate) const fn param(name: &'static str, kind: Kind, about: &'static str) -> Param {
    Param { name, kind, about }
}
