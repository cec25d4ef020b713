//! One operator's declared world: numbers, calendars, prompts, services, case kinds.
//!
//! Everything here is an immutable snapshot, built from the files of `flows/<operator>/` by [`load`](load::load) with all
//! faults at once. A call keeps the snapshot it began with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::value::Kind;

pub mod agent;
pub mod calendar;
mod hours_file;
pub mod load;
pub mod number;
pub mod prompts;
pub mod service;
pub mod sla;

pub use agent::{Agent, AgentSecret, Digest};
pub use calendar::{Calendar, HoursState};
pub use load::{load, load_all};
pub use number::{CalledNumber, Route, Routes};
pub use prompts::Prompts;
pub use sla::due;

/// A prompt of an operator's catalogue, by its place there. Recorded words of `speech` have one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptId(pub u32);

/// One operator, as declared in its folder.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Folder name and id (`beneleit`).
    pub id: String,
    /// As people write it (`Beneleit Móvil`).
    pub name: String,
    /// First digit of its folios, 1 to 9, no two operators alike.
    pub folio_prefix: u8,
    /// Rating class written to every call record (`gratuito`, B-11).
    pub class: String,
    /// IANA zone of every wall-clock rule (`America/Mexico_City`).
    pub time_zone: jiff::tz::TimeZone,
    /// The numbers that lead here, in the order of the file.
    pub numbers: Vec<Number>,
    /// Opening hours by name (`asesores`).
    pub calendars: BTreeMap<String, Calendar>,
    /// Spoken texts and their audio.
    pub prompts: Prompts,
    /// Self-services that `ask` may use.
    pub services: BTreeMap<String, Service>,
    /// Tables the services read.
    pub tables: BTreeMap<String, Table>,
    /// Kinds of case by name (`bloqueo`).
    pub kinds: BTreeMap<String, CaseKind>,
    /// Which calls may be recorded.
    pub recording: Recording,
    /// Those who answer, by the user name of their phones.
    pub agents: BTreeMap<String, Agent>,
    /// Message templates by name: text with `${…}`, for `notify`.
    pub templates: BTreeMap<String, String>,
}

/// Which calls of an operator are recorded (`[recording] calls`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// `"none"`: none, whatever a notice says.
    None,
    /// `"notice"`: from a notice on that says so, and is not declined.
    #[default]
    Notice,
    /// `"all"`: from the answer on; a notice that is declined ends it.
    All,
}

/// A called number that leads to a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// As published (`*2363`, `2226057239`, `300`); `*` is a digit, never a wildcard.
    pub number: String,
    /// Flow id (`beneleit.principal`).
    pub flow: String,
    /// An extension that came with the INVITE (`;ext=300`) leads straight to its flow.
    pub extensions: BTreeMap<String, String>,
}

/// A self-service: what `ask` may ask and what comes back. Carried out by `service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name (`coverage.lookup`).
    pub name: String,
    /// Arguments, all mandatory, with their kinds.
    pub args: BTreeMap<String, Kind>,
    /// Arguments that are compared with a secret column: whoever asks has to count wrong tries.
    pub secrets: Vec<String>,
    /// Results by name; each has its values.
    pub results: BTreeMap<String, BTreeMap<String, Kind>>,
    /// Who answers.
    pub source: Source,
}

/// Who answers a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A row of an imported table (`flows/data/<operator>/<table>.csv`).
    Table {
        /// Table name (`coverage`).
        table: String,
        /// Every pair: this column equals this argument.
        keys: Vec<(String, String)>,
        /// The argument (from 1) that says which of the matching rows is meant, in the order of the table's key; `None`: the first.
        position: Option<String>,
        /// The result's name when a row was found; `Err(column)`: the row's value of that column is the result's name.
        found: Result<String, String>,
        /// The result's name when none was.
        missing: String,
    },
    /// Something the product does itself, by its name: `device.block`, `device.status`, `line.suspend`.
    Builtin,
}

/// A table that services read, filled by `contesta import` from `flows/data/<operator>/<name>.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name (`coverage`).
    pub name: String,
    /// Columns in the order of the file, with their kinds. A column of kind `Prompt` holds keys of the catalogue.
    pub columns: Vec<(String, Kind)>,
    /// Columns of digits that prove who calls (`"secret"`): kept sealed, compared and never given back. Their kind is `Text`.
    pub secrets: Vec<String>,
    /// The columns that together identify a row.
    pub key: Vec<String>,
}

/// A kind of case and its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseKind {
    /// Name (`falla`).
    pub name: String,
    /// What may stand in `subkind`; empty: none is asked for.
    pub subkinds: Vec<String>,
    /// Time to answer and the clock it runs on.
    pub deadline: Option<(Duration, SlaClock)>,
}

/// Which hours count towards a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlaClock {
    /// Every hour (B-23: 24 natural hours).
    Natural,
    /// Only the open hours of this calendar.
    Calendar(String),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An operator of that id in central Mexico, with nothing declared.
    pub(crate) fn operator(id: &str) -> Operator {
        Operator {
            id: id.to_owned(),
            name: id.to_owned(),
            folio_prefix: 2,
            class: String::new(),
            time_zone: jiff::tz::TimeZone::get("America/Mexico_City").unwrap(),
            numbers: Vec::new(),
            calendars: BTreeMap::new(),
            prompts: Prompts::new(id, Vec::new()),
            services: BTreeMap::new(),
            tables: BTreeMap::new(),
            kinds: BTreeMap::new(),
            recording: Recording::default(),
            agents: BTreeMap::new(),
            templates: BTreeMap::new(),
        }
    }
}
