//! What the commands that look into the store have in common: where it is, and how its moments are written.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::config::Config;
use crate::edge::config_file::{self, Overrides};
use crate::edge::{files, secret_key};
use crate::service::secret::SecretKey;
use crate::store::Store;
use crate::value::{Value, Values};

/// Where the store is: as `contesta run` finds it.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Settings of this machine; without it `contesta.toml`, if there is one here.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Data directory of the engine.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Database: a path or postgres://…; without it `CONTESTA_STORE_URL`, or the one of the settings.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Folder of the operators: their time zones, and the data to import.
    #[arg(long)]
    flows: Option<PathBuf>,
}

impl StoreArgs {
    /// The engine's settings, with these arguments over them.
    pub(super) fn settle(self) -> anyhow::Result<StorePlace> {
        let Self { config, data, database, flows } = self;
        let overrides = Overrides { data, database, flows, ..Overrides::default() };
        Ok(StorePlace { config: config_file::settings(config.as_deref(), &overrides)? })
    }
}

/// Where the store and the operators are.
#[derive(Debug)]
pub(super) struct StorePlace {
    config: Config,
}

impl StorePlace {
    /// Folder of the operators.
    pub(super) fn flows(&self) -> &Path {
        &self.config.paths.flows
    }

    /// Opens the store beside a running engine. It must exist.
    pub(super) async fn connect(&self) -> anyhow::Result<Store> {
        Store::connect(&self.config.store.to_url(), &self.config.paths.data).await
    }

    /// Opens the store beside a running engine, and makes it when there is none.
    pub(super) async fn prepare(&self) -> anyhow::Result<Store> {
        Store::prepare(&self.config.store.to_url(), &self.config.paths.data).await
    }

    /// The key of the tables' secrets, made when there is none.
    pub(super) fn secret_key(&self) -> anyhow::Result<SecretKey> {
        secret_key::read_or_make(&self.config.secret_key())
    }

    /// The time zone of an operator; of the first when none is named, and UTC when the flows cannot be read: that must not keep
    /// anybody from looking at a case.
    ///
    /// # Errors
    /// The flows can be read, and there is no such operator in them.
    pub(super) fn zone(&self, operator: Option<&str>) -> anyhow::Result<TimeZone> {
        let Ok((operators, _)) = files::load_operators(self.flows()) else { return Ok(TimeZone::UTC) };
        let found = match operator {
            Some(id) => Some(files::find_operator(&operators, id)?),
            None => operators.first(),
        };
        Ok(found.map_or(TimeZone::UTC, |operator| operator.time_zone.clone()))
    }
}

/// Runs a command's future to its end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?.block_on(work)
}

/// Values as programs read them: numbers and flags as such, all else as text.
pub(super) fn values_json(values: &Values) -> Json {
    let members = values.iter().map(|(name, value)| {
        let json = match value {
            Value::Number(number) => json!(number),
            Value::Flag(flag) => json!(flag),
            Value::Text(_) | Value::Money(_) | Value::Date(_) | Value::Moment(_) => json!(value.to_string()),
        };
        (name.clone(), json)
    });
    Json::Object(members.collect())
}

/// The bytes of a file below the flows' folder, with the name people know it by.
pub(super) fn read_below(flows: &Path, path: &str) -> anyhow::Result<Option<(String, Vec<u8>)>> {
    let path = flows.join(path);
    match files::read_bytes(&path) {
        Ok(bytes) => Ok(Some((path.display().to_string(), bytes))),
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault).with_context(|| format!("cannot read {}", path.display())),
    }
}
