//! How many columns of a table can be seen, and whether it is to be cut to them.

use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;

/// Whoever asks for whole rows does so once, for the whole command.
static WHOLE_ROWS: AtomicBool = AtomicBool::new(false);

/// From now on rows are shown whole: `--no-trunc`.
pub(crate) fn show_whole_rows() {
    WHOLE_ROWS.store(true, Ordering::Relaxed);
}

/// `None`: rows are not cut, because they are to be whole, or because standard output is no terminal.
pub(super) fn of_standard_output() -> Option<usize> {
    if WHOLE_ROWS.load(Ordering::Relaxed) {
        return None;
    }
    let (_, columns) = Term::stdout().size_checked()?;
    Some(usize::from(columns))
}
