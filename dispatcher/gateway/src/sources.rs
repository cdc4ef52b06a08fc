//! Programs that come as source text: whoever opens the gateway may know languages, as the command does.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use wayfare_client::Client;
use wayfare_client::app::manifest::Made;
use wayfare_client::problem::Problem;
use wayfare_protocol::grants::Grants;

/// Makes source text ready to be run.
pub trait Sources: fmt::Debug + Send + Sync {
    /// `file`: the file's name, whose extension says in which language `content` is. `limit`: for each answer
    /// of the dispatcher.
    fn make<'a>(
        &'a self,
        client: &'a Client,
        file: &'a str,
        content: Vec<u8>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<SourceMade, Problem>>;
}

/// A program that is ready.
#[derive(Debug)]
pub struct SourceMade {
    /// Fit to name it.
    pub name: String,
    pub made: Made,
    /// What its text says that it wants, and the same in words; `None`: it says nothing.
    pub declared: Option<(Grants, String)>,
}
