//! How large the machine code becomes, and how long making it takes.

use wasmtime::Module;

use crate::machine::Way;
use crate::table::{Table, geometric_mean};
use crate::workshop::Workshop;

pub(crate) fn show(workshop: &Workshop) {
    let title = format!("Machine code and compile time, {}", workshop.target.name());
    let mut table = Table::new(
        &title,
        &[
            "program",
            "raw kB",
            "ours / raw",
            "with twins / raw",
            "Wasm / raw",
            "rewritten functions",
            "rewrite ms",
            "compile raw ms",
            "compile ours ms",
            "compile twins ms",
        ],
    );
    let (mut without_twins, mut with_twins) = (Vec::new(), Vec::new());
    for piece in &workshop.pieces {
        let raw = size(&piece.code(Way::Raw).module);
        let original = size(&piece.ours().module);
        let all = original + piece.ours().resuming.as_ref().map_or(0, size);
        let report = &piece.report;
        without_twins.push(original as f64 / raw as f64);
        with_twins.push(all as f64 / raw as f64);
        table.row(vec![
            piece.name.to_owned(),
            format!("{:.0}", raw as f64 / 1e3),
            format!("{:.2}", original as f64 / raw as f64),
            format!("{:.2}", all as f64 / raw as f64),
            format!("{:.2}", piece.rewritten_bytes as f64 / piece.wasm_bytes as f64),
            format!("{} of {}", report.functions_rewritten, report.functions),
            format!("{:.1}", piece.rewrite_ms),
            format!("{:.0}", piece.compile_ms[Way::Raw as usize]),
            format!("{:.0}", piece.compile_ms[Way::Ours as usize]),
            format!("{:.0}", piece.resuming_ms),
        ]);
    }
    let mut row = vec![String::new(); 10];
    row[0] = "**geometric mean**".to_owned();
    row[2] = format!("**{:.2}**", geometric_mean(&without_twins));
    row[3] = format!("**{:.2}**", geometric_mean(&with_twins));
    table.row(row);
    table.print();
}

/// Bytes of machine code in functions.
fn size(module: &Module) -> usize {
    module.functions().map(|function| function.len).sum()
}
