//! Draws `wayfare top`. All that is foreign is escaped where its cell is made.

use std::io::Stdout;

use ratatui::backend::TermionBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::termion::raw::{IntoRawMode, RawTerminal};
use ratatui::termion::screen::{AlternateScreen, IntoAlternateScreen};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row as TableRow, Table, TableState};
use ratatui::{Frame, Terminal};

use super::state::{Prompt, Row, Top, name_of};
use crate::fail::{Fail, Result};
use crate::output::{age, bytes, micros, one_line, percent};
use crate::verbs::fleet::{Listed, ListedEngine};
use crate::verbs::numbers::{degrees, per_second};

pub(super) const ENGINE_HEAD: [&str; 8] = [
    "ENGINE", "STATE", "CPU", "MEMORY", "FREE", "DISK", "TEMP", "BROKER",
];
const ENGINE_WIDTHS: [u16; 8] = [12, 8, 7, 10, 10, 10, 8, 8];
pub(super) const PROGRAM_HEAD: [&str; 12] = [
    "NAME", "ENGINE", "STATE", "CPU", "MEMORY", "IN/S", "OUT/S", "WAIT", "AGE", "LINES", "MOVES", "RESTARTS",
];
/// The first takes what is left; the last are seen on wide terminals only.
const PROGRAM_WIDTHS: [u16; 12] = [16, 9, 8, 7, 9, 6, 6, 5, 5, 9, 5, 8];
const KEYS: &str = "q quit  < > r sort  / filter  f fold  e engines  k kill  m move";

/// The terminal as long as it is ours: what it was before comes back when this is dropped, also by a panic.
pub(super) struct Screen(Terminal<TermionBackend<AlternateScreen<RawTerminal<Stdout>>>>);

impl Screen {
    #[expect(
        clippy::disallowed_methods,
        reason = "the whole screen is drawn here, with foreign text escaped"
    )]
    pub(super) fn open() -> Result<Self> {
        let raw = std::io::stdout().into_raw_mode().map_err(undrawable)?;
        let screen = raw.into_alternate_screen().map_err(undrawable)?;
        let mut terminal = Terminal::new(TermionBackend::new(screen)).map_err(undrawable)?;
        terminal.hide_cursor().map_err(undrawable)?;
        Ok(Self(terminal))
    }

    pub(super) fn draw(&mut self, top: &Top, now_ms: u64) -> Result {
        let drawn = self.0.draw(|frame| draw(frame, top, now_ms));
        drawn.map(drop).map_err(undrawable)
    }
}

fn undrawable(error: std::io::Error) -> Fail {
    Fail::new("terminal", format!("the terminal cannot be drawn on: {error}"))
}

fn draw(frame: &mut Frame<'_>, top: &Top, now_ms: u64) {
    let engine_lines = match top.shows_engines {
        // At most a third of the screen.
        true => u16::try_from(top.engines().len().saturating_add(2))
            .unwrap_or(u16::MAX)
            .min(frame.area().height / 3),
        false => 0,
    };
    let parts = [
        Constraint::Length(1),
        Constraint::Length(engine_lines),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, engines, programs, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(head_line(top)), head);
    if engine_lines > 0 {
        draw_engines(frame, top, engines);
    }
    draw_programs(frame, top, programs, now_ms);
    frame.render_widget(Paragraph::new(foot_line(top)), foot);
}

fn head_line(top: &Top) -> Line<'static> {
    let online = top.engines().iter().filter(|one| one.view.online).count();
    let loads = top.engines().iter().filter_map(|one| one.numbers.as_ref());
    let used = sum(loads.filter_map(|load| load.cpu_millicores));
    let mut text = format!(
        "{online} of {} engines, {} programs, {} of a processor; by {}",
        top.engines().len(),
        top.programs().count(),
        percent(used),
        top.sort(),
    );
    if !top.filter().is_empty() {
        text.push_str(&format!("; where {}", one_line(top.filter())));
    }
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn foot_line(top: &Top) -> Line<'static> {
    let (text, is_wrong) = match (&top.prompt, &top.told) {
        (Some(Prompt::Filter(typed)), None) => (format!("where: {}_", one_line(typed)), false),
        (Some(Prompt::Filter(typed)), Some(told)) => {
            (format!("where: {}_   {}", one_line(typed), one_line(told)), true)
        }
        (Some(Prompt::Kill { name, .. }), _) => (format!("kill {}? y or n", one_line(name)), true),
        (Some(Prompt::Move { name, to, .. }), _) => (
            format!("move {} to engine: {}_", one_line(name), one_line(to)),
            false,
        ),
        (None, Some(told)) => (one_line(told), false),
        (None, None) if !top.is_measured => (
            "nobody measures: is a dispatcher of this release running?".to_owned(),
            true,
        ),
        (None, None) => (KEYS.to_owned(), false),
    };
    let style = if is_wrong {
        colored(Color::Red)
    } else {
        Style::new().add_modifier(Modifier::DIM)
    };
    Line::from(Span::styled(text, style))
}

fn draw_engines(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let rows = top.engines().iter().map(|one| {
        let style = if one.view.online {
            Style::new()
        } else {
            colored(Color::Red)
        };
        TableRow::new(engine_cells(one).map(|cell| one_line(&cell))).style(style)
    });
    let widths = ENGINE_WIDTHS.map(Constraint::Length);
    let table = Table::new(rows, widths)
        .header(header(&ENGINE_HEAD))
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn draw_programs(frame: &mut Frame<'_>, top: &Top, area: Rect, now_ms: u64) {
    let columns = columns_in(area.width);
    let rows = top.rows();
    let lines = rows.iter().map(|row| {
        let (cells, style) = match row {
            Row::Program(place) => match top.program(*place) {
                Some(one) => (program_cells(one, now_ms), style_of(one)),
                None => (Default::default(), Style::new()),
            },
            Row::Folded(app, places) => (folded_cells(top, app, places), colored(Color::Cyan)),
        };
        TableRow::new(cells.into_iter().take(columns).map(|cell| one_line(&cell))).style(style)
    });
    let widths = PROGRAM_WIDTHS.iter().take(columns).enumerate();
    let widths = widths.map(|(place, width)| match place {
        0 => Constraint::Min(*width),
        _ => Constraint::Length(*width),
    });
    let table = Table::new(lines, widths)
        .header(header(&PROGRAM_HEAD[..columns]))
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(top.selected_place());
    frame.render_stateful_widget(table, area, &mut state);
}

/// As many as fit.
fn columns_in(width: u16) -> usize {
    let mut left = width;
    let fits = |column: &&u16| match left.checked_sub(**column) {
        Some(rest) => {
            left = rest.saturating_sub(1);
            true
        }
        None => false,
    };
    PROGRAM_WIDTHS.iter().take_while(fits).count().max(1)
}

fn header(names: &[&'static str]) -> TableRow<'static> {
    TableRow::new(names.to_vec()).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED))
}

fn style_of(one: &Listed) -> Style {
    match one.view.word() {
        "running" => Style::new(),
        "lost" | "failed" | "unreachable" => colored(Color::Red),
        _ => colored(Color::Yellow),
    }
}

/// Nothing where the terminal's user asked for no colours.
fn colored(color: Color) -> Style {
    match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => Style::new(),
        _ => Style::new().fg(color),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

pub(super) fn engine_cells(one: &ListedEngine) -> [String; 8] {
    let numbers = one.numbers.as_ref().map(|load| &load.numbers);
    [
        one.view.engine.to_string(),
        one.view.word().split(',').next().unwrap_or_default().to_owned(),
        or_dash(
            one.numbers
                .as_ref()
                .and_then(|load| load.cpu_millicores)
                .map(percent),
        ),
        or_dash(numbers.and_then(|numbers| numbers.memory_bytes).map(bytes)),
        or_dash(
            numbers
                .and_then(|numbers| numbers.machine_memory_available_bytes)
                .map(bytes),
        ),
        or_dash(numbers.and_then(|numbers| numbers.disk_free_bytes).map(bytes)),
        or_dash(
            numbers
                .and_then(|numbers| numbers.temperature_millidegrees)
                .map(degrees),
        ),
        or_dash(numbers.and_then(|numbers| numbers.round_trip_us).map(micros)),
    ]
}

pub(super) fn program_cells(one: &Listed, now_ms: u64) -> [String; 12] {
    let load = one.numbers.as_ref();
    let about = one.about.as_ref();
    let since_ms = about.and_then(|about| about.since_ms);
    [
        name_of(one).to_owned(),
        one.view.status.engine.to_string(),
        one.view.word().to_owned(),
        or_dash(load.and_then(|load| load.cpu_millicores).map(percent)),
        or_dash(Some(one.memory_bytes()).filter(|many| *many > 0).map(bytes)),
        or_dash(load.map(|load| per_second(load.received_per_minute))),
        or_dash(load.map(|load| per_second(load.sent_per_minute))),
        or_dash(load.map(|load| load.numbers.waiting_messages.to_string())),
        or_dash(since_ms.map(|since_ms| age(now_ms.saturating_sub(since_ms)))),
        or_dash(load.map(|load| load.numbers.log_lines.to_string())),
        or_dash(about.and_then(|about| about.moves).map(|moves| moves.to_string())),
        or_dash(
            about
                .and_then(|about| about.restarts)
                .map(|restarts| restarts.to_string()),
        ),
    ]
}

/// The sums of its programs.
fn folded_cells(top: &Top, app: &str, places: &[usize]) -> [String; 12] {
    let all = || places.iter().filter_map(|place| top.program(*place));
    let loads = || all().filter_map(|one| one.numbers.as_ref());
    let running = all().filter(|one| one.view.word() == "running").count();
    [
        format!("+ {app}"),
        String::new(),
        format!("{running} of {}", places.len()),
        percent(sum(loads().filter_map(|load| load.cpu_millicores))),
        bytes(sum(all().map(Listed::memory_bytes))),
        per_second(sum(loads().map(|load| load.received_per_minute))),
        per_second(sum(loads().map(|load| load.sent_per_minute))),
        sum(loads().map(|load| load.numbers.waiting_messages)).to_string(),
        String::new(),
        sum(loads().map(|load| load.numbers.log_lines)).to_string(),
        String::new(),
        String::new(),
    ]
}

/// Engines say what they measure, and no number of theirs ends this.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::verbs::top::state::Key;
    use crate::verbs::top::state::tests::{fleet, top};

    fn shown(top: &Top, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, top, 61_000)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y: u16| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn eighty_columns_hold_what_matters() {
        let mut top = top();
        top.take_in(fleet());
        let lines = shown(&top, 80, 12);
        assert_eq!(
            lines[0],
            "1 of 1 engines, 3 programs, 75.0% of a processor; by -cpu"
        );
        assert!(lines[1].starts_with("ENGINE"), "{lines:#?}");
        assert!(lines[2].starts_with("a            online   75.0%"), "{lines:#?}");
        let head: Vec<&str> = lines[4].split_whitespace().collect();
        assert_eq!(head, PROGRAM_HEAD[..9], "{lines:#?}");
        let first: Vec<&str> = lines[5].split_whitespace().collect();
        assert_eq!(
            first,
            [
                "shop/web/0",
                "a",
                "running",
                "50.0%",
                "1.0",
                "MiB",
                "1.0",
                "0",
                "3",
                "60s"
            ]
        );
        assert_eq!(lines[11], KEYS);
        // A wide one holds all, and a narrow one what fits.
        assert!(shown(&top, 120, 12)[4].ends_with("RESTARTS"));
        assert_eq!(shown(&top, 30, 12)[4].split_whitespace().count(), 2);
    }

    #[test]
    fn a_folded_application_is_a_line_of_sums_and_foreign_text_steers_nothing() {
        let mut top = top();
        top.take_in(fleet());
        top.key(Key::Char('f'));
        let lines = shown(&top, 80, 12);
        assert!(lines[5].starts_with("+ shop"), "{lines:#?}");
        assert!(lines[5].contains("2 of 2   70.0%"), "{lines:#?}");
        assert!(lines[6].starts_with("evil\\u{1b}[2J"), "{lines:#?}");
    }

    #[test]
    fn numbers_that_cannot_be_are_drawn_all_the_same() {
        let mut top = top();
        let mut seen = fleet();
        for one in &mut seen.programs {
            let load = one.numbers.as_mut().unwrap();
            (load.cpu_millicores, load.sent_per_minute) = (Some(u64::MAX), u64::MAX);
            (load.numbers.memory_bytes, load.numbers.waiting_messages) = (u64::MAX, u64::MAX);
        }
        let engine = &mut seen.engines[0];
        engine.numbers.as_mut().unwrap().cpu_millicores = Some(u64::MAX);
        let again = engine.clone();
        seen.engines.push(again);
        top.take_in(seen);
        top.key(Key::End);
        top.key(Key::Char('f'));
        let lines = shown(&top, 120, 12);
        assert!(lines.iter().any(|line| line.starts_with("+ shop")), "{lines:#?}");
    }
}
