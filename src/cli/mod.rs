//! The commands, one file each: its arguments, its `run`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::edge::pipe;

pub mod agents;
pub mod audio;
pub mod call;
mod callees;
pub mod calls;
pub mod cases;
pub mod check;
mod columns;
mod folders;
pub mod hours;
pub mod import;
mod interrupt;
mod ladder;
pub mod load;
mod moment;
pub mod prompts;
pub mod route;
pub mod run;
pub mod say;
pub mod simulate;
pub mod store;
pub mod trunk;

/// The voice of an operator's customer-service centre.
#[derive(Debug, Parser)]
#[command(name = "contesta", version, about)]
struct Cli {
    /// Without one, the engine runs.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Simulate(simulate::Args),
    Call(call::Args),
    Load(load::Args),
    Route(route::Args),
    Hours(hours::Args),
    Say(say::Args),
    Import(import::Args),
    Prompts(prompts::Args),
    Cases(cases::Args),
    Calls(calls::Args),
    Agents(agents::Args),
    Trunk(trunk::Args),
}

/// Reads the command line and runs its command. A failure is told on standard error, with its causes, and ends with status 1.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| Command::Run(run::Args::default()));
    if !matches!(command, Command::Run(_)) {
        pipe::end_with_the_reader();
    }
    let result = match command {
        Command::Import(args) => import::run(args),
        Command::Cases(args) => cases::run(args),
        Command::Calls(args) => calls::run(args),
        Command::Agents(args) => agents::run(args),
        Command::Trunk(args) => trunk::run(args),
        Command::Check(args) => check::run(args),
        Command::Run(args) => run::run(args),
        Command::Call(args) => call::run(args),
        Command::Load(args) => load::run(&args),
        Command::Say(args) => say::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Hours(args) => hours::run(args),
        Command::Route(args) => route::run(args),
        Command::Prompts(args) => prompts::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        super::Cli::command().debug_assert();
    }
}
