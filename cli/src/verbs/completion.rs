//! `wayfare completion`.

use clap_complete::Shell;

use crate::completing;
use crate::fail::Result;

pub(crate) fn print(shell: Shell) -> Result {
    crate::output::write_out(&completing::script(&shell.to_string())?)
}
