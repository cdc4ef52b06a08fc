//! What can be typed about a list: which rows, in which order, printed how.

use clap::Args;
use wayfare_client::lists::Listing;

/// Which rows of a list, and in which order.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct QueryArgs {
    /// Only what is so, such as 'state = running and memory > 8M and not (engine = a or engine = b)'.
    /// Operators are = != < <= > >= and ~, which means contains; an unknown field is answered with those that
    /// there are
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,
    /// In the order of a field; with '-' in front the largest first
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// No more than the first
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Only ids or names, one a line
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How it is printed: rows as wide as they are, JSON, ids or names alone, or fields as comma-separated
    /// values
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        value_name = "FORM",
        conflicts_with = "quiet"
    )]
    pub(crate) form: Option<Form>,
}

impl QueryArgs {
    /// What the acting dispatcher is asked for.
    pub(crate) fn listing<K>(&self) -> Listing<K> {
        Listing {
            filter: self.filter.clone(),
            sort: self.sort.clone(),
            limit: self.limit,
            numbers: !self.quiet && self.form != Some(Form::Name),
            ..Listing::default()
        }
    }
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    Wide,
    Json,
    Name,
    Csv,
}
