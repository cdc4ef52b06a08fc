//! The list of operations: each with its address, its parameters and what it does. Routes, the checks of what
//! is asked, the OpenAPI document and the page `/api` are made from it, and the command's tests hold it
//! against the command's verbs.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::answers::Answer;
use crate::asked::Asked;
use crate::server::Site;

/// One operation.
#[derive(Debug)]
pub struct Offer {
    /// The command's verb that does the same, such as `app apply`; `None`: only the gateway has it.
    pub verb: Option<&'static str>,
    pub method: Method,
    /// With `{name}` where a parameter is.
    pub path: &'static str,
    pub about: &'static str,
    pub params: &'static [Param],
    pub body: Body,
    /// What does it.
    pub(crate) run: Run,
}

pub(crate) type Run = fn(Arc<Site>, Asked) -> BoxFuture<'static, Answer>;

/// What is done to what the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
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

impl Offer {
    /// Whether this parameter is in the path.
    pub fn is_in_path(&self, name: &str) -> bool {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .any(|part| part.trim_start_matches('*') == name)
    }

    /// Whether it changes nothing.
    pub fn only_looks(&self) -> bool {
        self.method == Method::Get
    }
}

/// All operations, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Offer> {
    crate::offers::GROUPS.iter().flat_map(|(_, offers)| offers.iter())
}
