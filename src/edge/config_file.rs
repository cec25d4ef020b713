//! The settings in force: `contesta.toml`, then the environment, then the command line.
#![expect(clippy::disallowed_methods, reason = "reading a file is what this file is for")]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::config::{self, Config, StoreUrl};
use crate::fault::{self, SourceFile};

/// The file that is read when none is named.
const DEFAULT: &str = "contesta.toml";

/// Names the store as `[store] url` does: a database's password should not stand in a file.
const STORE_VARIABLE: &str = "CONTESTA_STORE_URL";

/// What a command line says in place of the file.
#[derive(Debug, Default)]
pub struct Overrides {
    /// `[sip] listen`
    pub sip: Option<SocketAddr>,
    /// `[paths] data`. The store follows only while nothing else names one.
    pub data: Option<PathBuf>,
    /// `[store] url`
    pub database: Option<String>,
    /// `[paths] flows`
    pub flows: Option<PathBuf>,
    /// `[paths] prompts`
    pub prompts: Option<PathBuf>,
}

/// The settings of every command that works on the engine's data: the file `config` (see [`load`]), over it
/// `CONTESTA_STORE_URL`, over both `overrides`. What stands beside the engine so finds the same store as the engine.
///
/// # Errors
/// Those of [`load`]; the variable or `database` names no store.
pub fn settings(config: Option<&Path>, overrides: &Overrides) -> anyhow::Result<Config> {
    let variable = match std::env::var(STORE_VARIABLE) {
        Ok(url) => Some(url),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(_)) => bail!("{STORE_VARIABLE} is not UTF-8"),
    };
    settle(load(config)?, variable.as_deref(), overrides)
}

fn settle(mut config: Config, variable: Option<&str>, overrides: &Overrides) -> anyhow::Result<Config> {
    let named = config.store != config.default_store();
    if let Some(sip) = overrides.sip {
        config.sip.listen = vec![sip];
    }
    let folders = [
        (&mut config.paths.data, &overrides.data),
        (&mut config.paths.flows, &overrides.flows),
        (&mut config.paths.prompts, &overrides.prompts),
    ];
    for (folder, said) in folders {
        if let Some(said) = said {
            folder.clone_from(said);
        }
    }
    if let Some(url) = &overrides.database {
        config.store = url.parse::<StoreUrl>().context("--database")?;
    } else if let Some(url) = variable {
        config.store = url.parse::<StoreUrl>().context(STORE_VARIABLE)?;
    } else if !named {
        config.store = config.default_store();
    }
    Ok(config)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn store(file: &str, variable: Option<&str>, data: Option<&str>, database: Option<&str>) -> StoreUrl {
        let source = SourceFile { path: DEFAULT.into(), text: file.into() };
        let overrides =
            Overrides { data: data.map(PathBuf::from), database: database.map(str::to_owned), ..Overrides::default() };
        settle(config::load(&source).unwrap(), variable, &overrides).unwrap().store
    }

    #[test]
    fn the_store_is_the_one_that_was_named_last_and_follows_the_data_folder_only_when_none_was() {
        let sqlite = |path: &str| StoreUrl::Sqlite(path.into());
        let postgres = |url: &str| StoreUrl::Postgres(url.to_owned());
        let (file, paths) = ("[store]\nurl = 'cases.db'", "[paths]\ndata = '/srv/data'");
        assert_eq!(store("", None, None, None), sqlite("data/contesta.db"));
        assert_eq!(store(paths, None, None, None), sqlite("/srv/data/contesta.db"));
        assert_eq!(store(paths, None, Some("/tmp/d"), None), sqlite("/tmp/d/contesta.db"));
        assert_eq!(store(file, None, Some("/tmp/d"), None), sqlite("cases.db"));
        assert_eq!(store(file, Some("postgres://db/c"), Some("/tmp/d"), None), postgres("postgres://db/c"));
        assert_eq!(store(file, Some("sqlite:///srv/c.db"), None, None), sqlite("/srv/c.db"));
        assert_eq!(store(file, Some("/srv/c.db"), None, None), sqlite("/srv/c.db"));
        assert_eq!(store(file, Some("postgres://db/c"), None, Some("own.db")), sqlite("own.db"));
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let source = SourceFile {
            path: DEFAULT.into(),
            text: "[sip]\nlisten = '0.0.0.0:5070'\n[paths]\nflows = 'a'\nprompts = 'b'".into(),
        };
        let overrides = Overrides {
            sip: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            flows: Some("mine".into()),
            ..Overrides::default()
        };
        let config = settle(config::load(&source).unwrap(), None, &overrides).unwrap();
        assert_eq!(
            (config.sip.listen[0].port(), config.paths.flows, config.paths.prompts),
            (0, "mine".into(), "b".into())
        );
    }

    #[test]
    fn a_url_of_no_store_is_refused_without_its_password() {
        let refused = |variable, database: Option<&str>| {
            let overrides = Overrides { database: database.map(str::to_owned), ..Overrides::default() };
            format!("{:#}", settle(Config::default(), variable, &overrides).unwrap_err())
        };
        let why =
            "this is no store: write a SQLite file like data/contesta.db, or postgres://user:password@host/contesta";
        assert_eq!(refused(Some("mysql://ana:secret@db/c"), None), format!("CONTESTA_STORE_URL: {why}"));
        assert_eq!(refused(Some(""), None), format!("CONTESTA_STORE_URL: {why}"));
        assert_eq!(refused(None, Some("mysql://ana:secret@db/c")), format!("--database: {why}"));
    }
}
