//! `wayfare completion`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::fail::Result;

pub(crate) fn print(shell: Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wayfare", &mut script);
    crate::output::write_out(&script)
}
