//! What `wayfare top` shows and what its keys do, without a terminal and without a fleet.
//!
//! ```text
//!             '/'                    'k'                     'm'
//!  looking -------> filter   looking -----> kill?    looking -----> move to
//!     ^ enter: taken  |         ^  y: order  |          ^ enter: order |
//!     '---- esc ------'         '--- else ---'          '---- esc -----'
//! ```
//! Always: what is selected stays selected while rows come, go and change places; an order is given for what
//! was selected when its key was pressed.

use std::collections::BTreeSet;

use wayfare_client::Order;
use wayfare_protocol::ids::ProgramId;

use crate::args::looking::TopArgs;
use crate::args::query::QueryArgs;
use crate::fail::Result;
use crate::query::Query;
use crate::verbs::fleet::{Listed, ListedEngine};
use wayfare_client::rows::PROGRAM_FIELDS;

/// What '<' and '>' go through.
const SORTS: [&str; 9] = [
    "cpu", "memory", "received", "sent", "waiting", "age", "name", "engine", "state",
];
/// Characters of what is typed.
const TYPED_MAX: usize = 200;
/// Rows that a page has, as far as keys know.
const PAGE_ROWS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Interrupt,
    Other,
}

/// What a key asks for.
#[derive(Debug)]
pub(super) enum Wanted {
    Nothing,
    End,
    /// For the program of this name.
    Order(String, Order),
}

/// The fleet as it was measured.
pub(super) struct Seen {
    pub(super) programs: Vec<Listed>,
    pub(super) engines: Vec<ListedEngine>,
    /// Somebody measures.
    pub(super) is_measured: bool,
}

/// A question at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Filter(String),
    Kill {
        program: ProgramId,
        name: String,
    },
    Move {
        program: ProgramId,
        name: String,
        to: String,
    },
}

/// One row of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// Its place among the programs.
    Program(usize),
    /// An application that is folded, with the places of its programs.
    Folded(String, Vec<usize>),
}

/// What a row is told by, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RowId {
    Program(ProgramId),
    Folded(String),
}

pub(super) struct Top {
    engines: Vec<ListedEngine>,
    /// Of all those that pass the filter, in order.
    programs: Vec<Listed>,
    query: Query<Listed>,
    filter: String,
    sort: String,
    folded: BTreeSet<String>,
    pub(super) shows_engines: bool,
    pub(super) is_measured: bool,
    selected: Option<RowId>,
    pub(super) prompt: Option<Prompt>,
    /// What happened last.
    pub(super) told: Option<String>,
}

impl Top {
    pub(super) fn new(args: &TopArgs) -> Result<Self> {
        let filter = args.filter.clone().unwrap_or_default();
        Ok(Self {
            engines: Vec::new(),
            programs: Vec::new(),
            query: query(&filter, &args.sort)?,
            filter,
            sort: args.sort.clone(),
            folded: BTreeSet::new(),
            shows_engines: true,
            is_measured: true,
            selected: None,
            prompt: None,
            told: None,
        })
    }

    pub(super) fn take_in(&mut self, seen: Seen) {
        let place = self.selected_place();
        self.is_measured = seen.is_measured;
        self.engines = seen.engines;
        let live = seen
            .programs
            .into_iter()
            .filter(|one| !one.view.status.state.is_ended());
        self.programs = self.query.of(live.collect());
        self.select_again(place);
    }

    pub(super) fn tell(&mut self, text: String) {
        self.told = Some(text);
    }

    pub(super) fn engines(&self) -> &[ListedEngine] {
        &self.engines
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = &Listed> {
        self.programs.iter()
    }

    pub(super) fn program(&self, place: usize) -> Option<&Listed> {
        self.programs.get(place)
    }

    pub(super) fn sort(&self) -> &str {
        &self.sort
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    /// A folded application stands where its first program would.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (place, one) in self.programs.iter().enumerate() {
            let app = app_of(one).filter(|app| self.folded.contains(*app));
            let Some(app) = app else {
                rows.push(Row::Program(place));
                continue;
            };
            let known = rows.iter_mut().find_map(|row| match row {
                Row::Folded(name, places) if name == app => Some(places),
                _ => None,
            });
            match known {
                Some(places) => places.push(place),
                None => rows.push(Row::Folded(app.to_owned(), vec![place])),
            }
        }
        rows
    }

    /// Which of [`Top::rows`] is selected.
    pub(super) fn selected_place(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.rows()
            .iter()
            .position(|row| self.id(row).as_ref() == Some(selected))
    }

    pub(super) fn key(&mut self, key: Key) -> Wanted {
        if key == Key::Interrupt {
            return Wanted::End;
        }
        match self.prompt.take() {
            Some(prompt) => self.prompted(prompt, key),
            None => self.looking(key),
        }
    }

    fn looking(&mut self, key: Key) -> Wanted {
        self.told = None;
        match key {
            Key::Char('q') | Key::Escape => return Wanted::End,
            Key::Up => self.go(-1),
            Key::Down => self.go(1),
            Key::PageUp => self.go(-(PAGE_ROWS as isize)),
            Key::PageDown => self.go(PAGE_ROWS as isize),
            Key::Home => self.go(isize::MIN),
            Key::End => self.go(isize::MAX),
            Key::Char('>' | '.') => self.sort_by(1),
            Key::Char('<' | ',') => self.sort_by(SORTS.len() - 1),
            Key::Char('r') => {
                let reversed = match self.sort.strip_prefix('-') {
                    Some(name) => name.to_owned(),
                    None => format!("-{}", self.sort),
                };
                self.set_sort(reversed);
            }
            Key::Char('e') => self.shows_engines = !self.shows_engines,
            Key::Char(' ' | 'f') => self.fold(),
            Key::Char('/') => self.prompt = Some(Prompt::Filter(self.filter.clone())),
            Key::Char('k') => {
                self.prompt = self
                    .selected_program()
                    .map(|(program, name)| Prompt::Kill { program, name });
            }
            Key::Char('m') => {
                self.prompt = self.selected_program().map(|(program, name)| Prompt::Move {
                    program,
                    name,
                    to: String::new(),
                });
            }
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt | Key::Other => {}
        }
        Wanted::Nothing
    }

    fn prompted(&mut self, prompt: Prompt, key: Key) -> Wanted {
        if key == Key::Escape {
            return Wanted::Nothing;
        }
        match prompt {
            Prompt::Kill { program, name } => match key {
                Key::Char('y') => {
                    let program = program.to_string();
                    return Wanted::Order(name, Order::Kill { program });
                }
                Key::Other => self.prompt = Some(Prompt::Kill { program, name }),
                _ => {}
            },
            Prompt::Filter(typed) if key == Key::Enter => match query(&typed, &self.sort) {
                Ok(query) => (self.query, self.filter) = (query, typed),
                Err(fail) => {
                    self.told = Some(fail.in_a_line());
                    self.prompt = Some(Prompt::Filter(typed));
                }
            },
            Prompt::Filter(typed) => self.prompt = Some(Prompt::Filter(edited(typed, key))),
            Prompt::Move { program, name, to } if key == Key::Enter && !to.is_empty() => {
                let program = program.to_string();
                return Wanted::Order(name, Order::Move { program, to });
            }
            Prompt::Move { program, name, to } => {
                let to = edited(to, key);
                self.prompt = Some(Prompt::Move { program, name, to });
            }
        }
        Wanted::Nothing
    }

    fn selected_program(&self) -> Option<(ProgramId, String)> {
        let Some(RowId::Program(program)) = &self.selected else {
            return None;
        };
        let one = self
            .programs
            .iter()
            .find(|one| one.view.status.program == *program)?;
        Some((*program, name_of(one).to_owned()))
    }

    fn go(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let place = match self.selected_place() {
            Some(place) => place.saturating_add_signed(by).min(last),
            None => 0,
        };
        self.selected = rows.get(place).and_then(|row| self.id(row));
    }

    /// What was selected is not there any more: what took its place is.
    fn select_again(&mut self, place: Option<usize>) {
        if self.selected_place().is_some() {
            return;
        }
        let rows = self.rows();
        let place = place.unwrap_or(0).min(rows.len().saturating_sub(1));
        self.selected = rows.get(place).and_then(|row| self.id(row));
    }

    fn fold(&mut self) {
        let place = self.selected_place();
        let app = match &self.selected {
            Some(RowId::Folded(app)) => Some(app.clone()),
            Some(RowId::Program(program)) => {
                let one = self
                    .programs
                    .iter()
                    .find(|one| one.view.status.program == *program);
                one.and_then(app_of).map(str::to_owned)
            }
            None => None,
        };
        let Some(app) = app else {
            self.told = Some("only programs of applications can be folded".into());
            return;
        };
        if !self.folded.remove(&app) {
            self.folded.insert(app.clone());
            self.selected = Some(RowId::Folded(app));
        }
        self.select_again(place);
    }

    fn sort_by(&mut self, steps: usize) {
        let (name, sign) = match self.sort.strip_prefix('-') {
            Some(name) => (name, "-"),
            None => (self.sort.as_str(), ""),
        };
        let place = SORTS.iter().position(|one| *one == name);
        let next = place.map_or(0, |place| (place + steps) % SORTS.len());
        self.set_sort(format!("{sign}{}", SORTS[next]));
    }

    fn set_sort(&mut self, sort: String) {
        match query(&self.filter, &sort) {
            Ok(query) => {
                (self.query, self.sort) = (query, sort);
                let programs = std::mem::take(&mut self.programs);
                self.programs = self.query.of(programs);
            }
            Err(fail) => self.told = Some(fail.in_a_line()),
        }
    }

    fn id(&self, row: &Row) -> Option<RowId> {
        match row {
            Row::Program(place) => {
                let one = self.programs.get(*place)?;
                Some(RowId::Program(one.view.status.program))
            }
            Row::Folded(app, _) => Some(RowId::Folded(app.clone())),
        }
    }
}

/// As `app/component/number` where it is an instance.
pub(super) fn name_of(one: &Listed) -> &str {
    one.instance().unwrap_or(&one.view.status.name)
}

fn app_of(one: &Listed) -> Option<&str> {
    one.instance()?.split('/').next()
}

fn query(filter: &str, sort: &str) -> Result<Query<Listed>> {
    let args = QueryArgs {
        filter: Some(filter.to_owned()).filter(|filter| !filter.trim().is_empty()),
        sort: Some(sort.to_owned()),
        ..QueryArgs::default()
    };
    Query::new(&args, &PROGRAM_FIELDS)
}

fn edited(mut typed: String, key: Key) -> String {
    match key {
        Key::Char(character) if typed.chars().count() < TYPED_MAX => typed.push(character),
        Key::Backspace => drop(typed.pop()),
        _ => {}
    }
    typed
}

#[cfg(test)]
pub(super) mod tests;
