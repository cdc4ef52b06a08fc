//! Programs that are never captured: raw, with epochs, with fuel, rewritten, in turn.

use crate::machine::Way;
use crate::options::Options;
use crate::table::{Table, geometric_mean, median};
use crate::workshop::{Piece, Workshop};

pub(crate) fn measure(options: &Options, workshop: &Workshop) {
    let title = format!(
        "Time over raw wasmtime, {}, median of {} rounds",
        workshop.target.name(),
        options.rounds
    );
    let mut table = Table::new(&title, &["program", "raw ms", "epochs", "fuel", "ours"]);
    let mut ratios = [const { Vec::new() }; 3];
    for piece in &workshop.pieces {
        let rounds: Vec<[f64; 4]> = rounds(options, workshop, piece);
        let raw: Vec<f64> = rounds.iter().map(|times| times[0] * 1e3).collect();
        let mut row = vec![piece.name.to_owned(), format!("{:.0}", median(&raw))];
        for (way, ratios) in ratios.iter_mut().enumerate() {
            let of_rounds: Vec<f64> = rounds.iter().map(|times| times[way + 1] / times[0]).collect();
            ratios.push(median(&of_rounds));
            row.push(format!("{:.3}", median(&of_rounds)));
        }
        table.row(row);
    }
    let summary = |name: &str, of: &dyn Fn(&[f64]) -> f64| {
        let mut row = vec![format!("**{name}**"), String::new()];
        row.extend(ratios.iter().map(|ratios| format!("**{:.3}**", of(ratios))));
        row
    };
    table.row(summary("geometric mean", &geometric_mean));
    table.row(summary("worst", &|ratios| {
        ratios.iter().copied().fold(0.0, f64::max)
    }));
    table.print();
}

/// Seconds in each way, by round.
fn rounds(options: &Options, workshop: &Workshop, piece: &Piece) -> Vec<[f64; 4]> {
    let mut printed: Option<String> = None;
    let round = |_| {
        Way::ALL.map(|way| {
            let machine = &workshop.machines[way as usize];
            let mut process = machine.start(piece.code(way), options.per_mille(workshop.target));
            process.run();
            let expected = printed.get_or_insert_with(|| process.stdout().to_owned());
            assert_eq!(process.stdout(), expected, "{}: another result", piece.name);
            process.busy.as_secs_f64()
        })
    };
    (0..options.rounds).map(round).collect()
}
