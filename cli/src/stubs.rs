//! Typed clients of a service, made from its schema: what `wayfare service stub` prints.
//!
//! ```text
//!   JSON --read--> Service --typescript, python or rust--> source text
//! ```
//! Always: a schema comes from whoever provides the service, and what it says is data in what is made of it.
//! No name or description ends a comment, a text or a line there.

mod names;
mod python;
mod rust;
mod schema;
#[cfg(test)]
mod tests;
mod typescript;

use clap::ValueEnum;

pub(crate) use schema::Service;

/// What a client is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// A module for TypeScript and JavaScript
    Ts,
    Python,
    Rust,
}

impl Language {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ts => "ts",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }

    pub(crate) fn client(self, service: &Service) -> String {
        match self {
            Self::Ts => typescript::client(service),
            Self::Python => python::client(service),
            Self::Rust => rust::client(service),
        }
    }
}

/// What all clients say of themselves.
fn made_by(service: &Service, language: Language) -> String {
    format!(
        "Client of service/{name}, made by `wayfare service stub {name} --lang {}`: make it anew when the schema has changed.",
        language.word(),
        name = service.name
    )
}
