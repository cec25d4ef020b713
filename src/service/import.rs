//! From CSV files to tables: every bad row is named, and with one every table stays as it was. Secrets are sealed on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use csv::StringRecord;

use crate::fault::did_you_mean;
use crate::operator::{Operator, Source, Table};
use crate::service::secret::{SecretKey, SecretPlace};
use crate::store::{NewTable, Store, TableRow, row_key};
use crate::value::{Kind, Value, Values};

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// The file as people know it (`flows/data/beneleit/coverage.csv`).
    pub file: String,
    /// Line of the file where the row begins, from 1.
    pub line: u64,
    /// Column by name; empty when the whole row is meant.
    pub column: String,
    /// What is wrong, one line.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.column.is_empty() {
            write!(f, "{}: ", self.column)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(meant) => write!(f, "; did you mean «{meant}»?"),
            None => Ok(()),
        }
    }
}

/// Why a table was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file has bad rows, at most [`FAULTS_MAX`] of them are named. Nothing was changed.
    #[error("bad rows: {}\n{}", .0.len(), .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rows(Vec<RowFault>),
    /// The database could not take it.
    #[error("{0:#}")]
    Store(anyhow::Error),
}

/// So many bad rows are named before reading stops.
pub const FAULTS_MAX: usize = 50;

/// A table whose file was read without a fault.
#[derive(Debug)]
pub struct Ready<'a> {
    /// Whose table.
    pub operator: &'a Operator,
    /// The table.
    pub table: &'a Table,
    /// Its file, as people know it.
    pub file: String,
    /// What the file holds.
    pub rows: Vec<TableRow>,
}

impl Ready<'_> {
    /// Puts what `key` makes of each secret in its place.
    fn seal(&mut self, key: &SecretKey) {
        let (operator, table) = (self.operator.id.as_str(), self.table.name.as_str());
        for TableRow { key: row, cells } in &mut self.rows {
            for column in &self.table.secrets {
                if let Some(cell) = cells.get_mut(column) {
                    let place = SecretPlace { operator, table, row, column };
                    *cell = Value::Text(key.seal(place, &cell.to_string()));
                }
            }
        }
    }
}

/// Replaces tables by what was read, all of them or none; `key` seals their secrets. `progress` is told which one (by its place) has how many rows in.
///
/// # Errors
/// The database could not take it: every table is as it was.
pub async fn replace_all(
    store: &Store,
    key: &SecretKey,
    ready: &mut [Ready<'_>],
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> anyhow::Result<()> {
    ready.iter_mut().for_each(|ready| ready.seal(key));
    let tables: Vec<NewTable<'_>> = ready
        .iter()
        .map(|Ready { operator, table, rows, .. }| NewTable { operator: &operator.id, name: &table.name, rows })
        .collect();
    store.replace_tables(&tables, progress).await
}

/// Fills the tables that were never imported: what `run` does at its first start. `read` gives the bytes of a path below the
/// folder of the flows (`data/beneleit/coverage.csv`), `None` when there is no such file; `key` seals secrets. The files that were
/// imported with their rows; a table without a file is left out with a warning.
///
/// # Errors
/// [`ImportError`], with the bad rows of every table: nothing is imported then, of any table.
pub async fn import_all_if_empty(
    store: &Store,
    key: &SecretKey,
    operators: &[Arc<Operator>],
    read: &(dyn Fn(&str) -> Option<Vec<u8>> + Sync),
) -> Result<Vec<(String, usize)>, ImportError> {
    let (mut ready, mut faults) = (Vec::new(), Vec::new());
    for operator in operators {
        for table in operator.tables.values() {
            if store.table(&operator.id, &table.name).await.map_err(ImportError::Store)?.is_some() {
                continue;
            }
            let found = csv_paths(&operator.id, &table.name).into_iter().find_map(|path| Some((read(&path)?, path)));
            let Some((bytes, path)) = found else {
                let [file, _] = csv_paths(&operator.id, &table.name);
                tracing::warn!("the table {} of {} is empty: there is no {file}", table.name, operator.id);
                continue;
            };
            match read_table(operator, table, &path, &bytes) {
                Ok(rows) => ready.push(Ready { operator, table, file: path, rows }),
                Err(found) => faults.extend(found),
            }
        }
    }
    if !faults.is_empty() {
        return Err(ImportError::Rows(faults));
    }
    replace_all(store, key, &mut ready, &mut |_, _| {}).await.map_err(ImportError::Store)?;
    Ok(ready.into_iter().map(|ready| (ready.file, ready.rows.len())).collect())
}

/// Where a table's file may lie below the folder of the flows, the operator's own before the shared one.
#[must_use]
pub fn csv_paths(operator: &str, table: &str) -> [String; 2] {
    [format!("data/{operator}/{table}.csv"), format!("data/{table}.csv")]
}

/// Reads a CSV file as this table's rows: UTF-8, commas, the declared columns in any order under a header line.
///
/// # Errors
/// Every bad row, up to [`FAULTS_MAX`].
pub fn read_table(operator: &Operator, table: &Table, file: &str, csv: &[u8]) -> Result<Vec<TableRow>, Vec<RowFault>> {
    let mut reading = Reading { operator, table, file, faults: Vec::new(), seen: BTreeMap::new() };
    // A byte order mark is what spreadsheets put before the header.
    let csv = csv.strip_prefix(b"\xef\xbb\xbf").unwrap_or(csv);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(csv);
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(fault) => {
            reading.fault(1, "", format!("the header cannot be read: {fault}"), None);
            return Err(reading.faults);
        }
    };
    let Some(places) = reading.places(&header) else { return Err(reading.faults) };
    let mut rows = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => rows.extend(reading.row(&record, header.len(), &places)),
            Err(fault) => {
                let line = fault.position().map_or(0, csv::Position::line);
                let why = if matches!(fault.kind(), csv::ErrorKind::Utf8 { .. }) {
                    "the row is not UTF-8: save the file as UTF-8".to_owned()
                } else {
                    fault.to_string()
                };
                reading.fault(line, "", why, None);
            }
        }
        if reading.faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if reading.faults.is_empty() { Ok(rows) } else { Err(reading.faults) }
}

/// What is known while a file is read.
struct Reading<'a> {
    operator: &'a Operator,
    table: &'a Table,
    file: &'a str,
    faults: Vec<RowFault>,
    /// Line of each key.
    seen: BTreeMap<String, u64>,
}

impl Reading<'_> {
    fn fault(&mut self, line: u64, column: &str, message: String, suggestion: Option<String>) {
        self.faults.push(RowFault { file: self.file.to_owned(), line, column: column.to_owned(), message, suggestion });
    }

    /// Where each declared column stands in the file; `None` with faults when the header does not fit.
    fn places(&mut self, header: &StringRecord) -> Option<Vec<usize>> {
        let declared: Vec<String> = self.table.columns.iter().map(|(name, _)| name.clone()).collect();
        for (place, name) in header.iter().enumerate() {
            if !declared.iter().any(|column| column == name) {
                let meant = did_you_mean(name, declared.iter().map(String::as_str));
                self.fault(1, name, format!("the table {} has no such column", self.table.name), meant);
            } else if header.iter().take(place).any(|earlier| earlier == name) {
                self.fault(1, name, "the column stands here twice".into(), None);
            }
        }
        let mut places = Vec::new();
        for column in &declared {
            match header.iter().position(|name| name == column) {
                Some(place) => places.push(place),
                None => self.fault(1, column, "the column is missing".into(), None),
            }
        }
        self.faults.is_empty().then_some(places)
    }

    /// One row; `None` with faults.
    fn row(&mut self, record: &StringRecord, width: usize, places: &[usize]) -> Option<TableRow> {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != width {
            self.fault(line, "", format!("the row has {} cells, the header {width}", record.len()), None);
            return None;
        }
        let before = self.faults.len();
        let mut cells = Values::new();
        let table = self.table;
        for ((column, kind), place) in table.columns.iter().zip(places) {
            let text = record.get(*place).unwrap_or_default();
            if let Some(value) = self.cell(line, column, *kind, text) {
                cells.insert(column.clone(), value);
            }
        }
        if self.faults.len() == before {
            self.check_results(line, &cells);
        }
        let values: Vec<String> =
            table.key.iter().filter_map(|column| cells.get(column)).map(ToString::to_string).collect();
        let key = row_key(values.iter().map(String::as_str));
        if self.faults.len() == before
            && let Some(first) = self.seen.insert(key.clone(), line)
        {
            let column = table.key.join(", ");
            self.fault(line, &column, format!("«{}» stands in line {first} already", values.join(", ")), None);
        }
        (self.faults.len() == before).then_some(TableRow { key, cells })
    }

    fn cell(&mut self, line: u64, column: &str, kind: Kind, text: &str) -> Option<Value> {
        let is_key = self.table.key.iter().any(|key| key == column);
        if text.is_empty() && (is_key || kind != Kind::Text) {
            let why = if is_key { "the cell is empty, and it is part of the key" } else { "the cell is empty" };
            self.fault(line, column, why.into(), None);
            return None;
        }
        if kind == Kind::Prompt && self.operator.prompts.id(text).is_none() {
            let meant = self.operator.prompts.did_you_mean(text);
            self.fault(line, column, format!("there is no prompt «{text}»"), meant);
            return None;
        }
        // A spreadsheet's «4821.0» or a typist's «48 21» would lock its customer out.
        if self.table.secrets.iter().any(|secret| secret == column) && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.fault(line, column, "the secret is not digits only".into(), None);
            return None;
        }
        match read_cell(text, kind) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.fault(line, column, format!("«{text}» is not {expected}"), None);
                None
            }
        }
    }

    /// A row whose column names a service's result must name one that the service declares.
    fn check_results(&mut self, line: u64, cells: &Values) {
        for service in self.operator.services.values() {
            let Source::Table { table, found: Err(column), .. } = &service.source else { continue };
            if *table != self.table.name {
                continue;
            }
            let result = cells.get(column).map(ToString::to_string).unwrap_or_default();
            if !service.results.contains_key(&result) {
                let meant = did_you_mean(&result, service.results.keys().map(String::as_str));
                self.fault(line, column, format!("«{result}» is no result of {}", service.name), meant);
            }
        }
    }
}

/// Reads one cell as its column's kind; `Err` says what it should have been.
fn read_cell(text: &str, kind: Kind) -> Result<Value, &'static str> {
    Ok(match kind {
        Kind::Text | Kind::Prompt => Value::Text(text.to_owned()),
        Kind::Number => Value::Number(text.parse().map_err(|_| "a whole number (15)")?),
        Kind::Money => Value::Money(centavos(text).ok_or("an amount in pesos (101.50)")?),
        Kind::Date => Value::Date(text.parse().map_err(|_| "a day as year-month-day (2026-03-15)")?),
        Kind::Moment => {
            Value::Moment(text.parse().map_err(|_| "a moment with its offset (2026-03-15T02:30:00-06:00)")?)
        }
        Kind::Flag => Value::Flag(match text {
            "true" | "si" | "sí" | "1" => true,
            "false" | "no" | "0" => false,
            _ => return Err("true or false"),
        }),
    })
}

/// `101.50`, `101.5`, `101`, `-3.20`; no thousands separators, for they mean different things to different people.
fn centavos(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (pesos, cents) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if pesos.is_empty() || !all_digits(pesos) || !all_digits(cents) || cents.len() > 2 || digits.ends_with('.') {
        return None;
    }
    let cents: i64 = format!("{cents:0<2}").parse().ok()?;
    let total = pesos.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents)?;
    Some(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_to_the_centavo_or_not_at_all() {
        let cases = [
            ("101.50", Some(10_150)),
            ("101.5", Some(10_150)),
            ("101", Some(10_100)),
            ("0.85", Some(85)),
            ("-3.20", Some(-320)),
            ("92233720368547758.07", Some(i64::MAX)),
            ("92233720368547758.08", None),
            ("1,000.00", None),
            ("101.505", None),
            ("101.", None),
            (".50", None),
            ("$5", None),
            ("", None),
            ("-", None),
            ("1.-5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(centavos(text), expected, "{text}");
        }
    }
}
