//! One operation: its address, its parameters and what it does.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::answers::Answer;
use crate::asked::Asked;
use crate::params::{Accepts, Body, Param};
use crate::site::Site;

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

impl Offer {
    /// What a request to it may bring.
    pub(crate) fn accepts(&self) -> Accepts {
        Accepts {
            path: self.path,
            params: self.params,
            body: self.body,
        }
    }

    /// Whether this parameter is in the path.
    pub fn is_in_path(&self, name: &str) -> bool {
        self.accepts().is_in_path(name)
    }

    /// Whether it changes nothing.
    pub fn only_looks(&self) -> bool {
        self.method == Method::Get
    }
}
