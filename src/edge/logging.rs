//! Where log lines go: standard error, in the form and at the levels of `[log]`.

use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Takes the filter's place for one run (`CONTESTA_LOG=debug contesta run`).
const FILTER_VARIABLE: &str = "CONTESTA_LOG";

/// Parts of other people's whose lines help nobody.
const QUIET: [&str; 2] = ["symphonia_core=off", "symphonia_metadata=off"];

/// Starts logging for the whole process. Once only.
///
/// # Errors
/// The filter is none.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| log.filter.clone());
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("«{filter}» is no log filter"))?;
    // Its decoder logs what it cannot read without the file's name; we say both.
    let filter = QUIET.iter().try_fold(filter, |filter, part| anyhow::Ok(filter.add_directive(part.parse()?)))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    // Colours are for a terminal; in a file they stand between a key and its value.
    let subscriber = subscriber.with_ansi(io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    // A second start, in a test that runs two engines in one process, changes nothing.
    started.or_else(|_| Ok(()))
}
