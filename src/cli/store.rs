//! What the commands that look into the store have in common: where it is, and how its moments are written.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::edge::files;
use crate::store::Store;
use crate::value::{Value, Values};

/// Where the store is.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Data directory of the engine.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Database: a path or postgres://…; contesta.db in the data directory without it.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Folder of the operators; their time zones are used.
    #[arg(long, default_value = "flows")]
    pub(super) flows: PathBuf,
}

impl StoreArgs {
    /// Opens the store beside a running engine. It must exist.
    pub(super) async fn connect(&self) -> anyhow::Result<Store> {
        Store::connect(&self.url(), &self.data).await
    }

    /// Opens the store beside a running engine, and makes it when there is none.
    pub(super) async fn prepare(&self) -> anyhow::Result<Store> {
        Store::prepare(&self.url(), &self.data).await
    }

    fn url(&self) -> String {
        self.database.clone().unwrap_or_else(|| Store::default_url(&self.data))
    }

    /// The time zone of an operator; of the first when none is named, and UTC when the flows cannot be read: that must not keep
    /// anybody from looking at a case.
    pub(super) fn zone(&self, operator: Option<&str>) -> TimeZone {
        let operators = files::load_operators(&self.flows).map(|(operators, _)| operators).unwrap_or_default();
        let found = operators.iter().find(|found| operator.is_none_or(|wanted| wanted == found.id));
        found.map_or(TimeZone::UTC, |operator| operator.time_zone.clone())
    }
}

/// Runs a command's future to its end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?.block_on(work)
}

/// `2026-03-15`, `2026-03-15T02:30` in `zone`, or an instant with its offset.
pub(super) fn moment(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let local: jiff::civil::DateTime = text.parse().with_context(|| {
        format!("`{text}` is no moment: write 2026-03-15, 2026-03-15T02:30 or 2026-03-15T08:30:00Z")
    })?;
    Ok(local.to_zoned(zone.clone())?.timestamp())
}

/// A moment as people read it: `2026-03-15 02:30:00 CST`.
pub(super) fn local(moment: Timestamp, zone: &TimeZone) -> String {
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
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
