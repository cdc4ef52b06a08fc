//! Which rows of a list the command line asks for, in the read language of all front ends, and in which form.

mod printing;

use wayfare_client::query::{self, Kind, Value};

pub(crate) use wayfare_client::query::Field;

use crate::args::query::{Form, QueryArgs};
use crate::fail::{Fail, Result};

/// Which rows of a collection are shown, in which order and how.
pub(crate) struct Query<R: 'static> {
    fields: &'static [Field<R>],
    rows: query::Query<R>,
    form: Option<Form>,
}

impl<R> Query<R> {
    /// What is wrong with it is said before anybody is asked.
    pub(crate) fn new(args: &QueryArgs, fields: &'static [Field<R>]) -> Result<Self> {
        let limit = args.limit.map(|limit| limit as usize);
        let rows = query::Query::new(args.filter.as_deref(), args.sort.as_deref(), limit, fields);
        Ok(Self {
            fields,
            rows: rows.map_err(|error| Fail::usage(format!("--{}: {error}", error.part())))?,
            form: args.form.or(args.quiet.then_some(Form::Name)),
        })
    }

    /// Whether a row is shown, for those that come one by one.
    pub(crate) fn takes(&self, row: &R) -> bool {
        self.rows.takes(row)
    }

    /// Rows have to be there together to be shown.
    pub(crate) fn needs_all(&self) -> bool {
        self.rows.needs_all() || self.form.is_some()
    }

    /// Not every row is shown, or not in the order in which they come.
    pub(crate) fn chooses(&self) -> bool {
        self.rows.chooses()
    }

    pub(crate) fn of(&self, rows: Vec<R>) -> Vec<R> {
        self.rows.of(rows)
    }
}
