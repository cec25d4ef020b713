//! Reads `contesta.toml`.
#![expect(clippy::disallowed_methods, reason = "reading a file is what this file is for")]

use std::io;
use std::path::Path;

use anyhow::{Context, bail};

use crate::config::{self, Config};
use crate::fault::{self, SourceFile};

/// The file that is read when none is named.
const DEFAULT: &str = "contesta.toml";

/// The settings of `path`; without one those of `contesta.toml` in the working directory, or the defaults when it is not there.
///
/// # Errors
/// The named file cannot be read, or a file has faults: the error is their drawing.
pub fn load(path: Option<&Path>) -> anyhow::Result<Config> {
    let text = match path {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => match std::fs::read_to_string(DEFAULT) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => return Err(error).context("cannot read contesta.toml"),
        },
    };
    let path = path.map_or_else(|| DEFAULT.to_owned(), |path| path.display().to_string());
    let source = SourceFile { path, text };
    match config::load(&source) {
        Ok(config) => Ok(config),
        Err(faults) => bail!("{} fault(s) in the settings\n\n{}", faults.len(), fault::render_all(&faults, &[source])),
    }
}
