//! Rows of the tables that self-services read, each operator's its own, replaced whole by an import.

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use crate::store::entry::{values_from_json, values_to_json};
use crate::store::sql::{Conn, Readers, Row, args};
use crate::store::{millis, moment};
use crate::value::Values;

/// A row to be stored: its cells with their kinds, empty cells left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// The values of the key columns, joined by [`row_key`].
    pub key: String,
    /// Cells by column.
    pub cells: Values,
}

/// How many rows a table has and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Rows.
    pub rows: u64,
    /// When they were imported.
    pub imported: Timestamp,
}

/// Joins the values of the key columns, in the order of the declaration, by U+001F, which no keyed value contains.
pub fn row_key<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    values.into_iter().collect::<Vec<_>>().join("\u{1f}")
}

/// Replaces a table in one transaction. `progress` is told how many rows are in.
pub(crate) async fn replace(
    conn: &mut Conn,
    operator: &str,
    name: &str,
    rows: &[TableRow],
    at: Timestamp,
    progress: &mut (dyn FnMut(usize) + Send),
) -> anyhow::Result<()> {
    let insert = match conn {
        Conn::Sqlite(_) => INSERT_SQLITE,
        Conn::Postgres(_) => INSERT_POSTGRES,
    };
    conn.begin().await?;
    conn.execute("DELETE FROM table_rows WHERE operator = $1 AND name = $2", args![operator, name]).await?;
    let mut done = 0usize;
    for chunk in rows.chunks(ROWS_A_STATEMENT) {
        let batch: serde_json::Value = chunk
            .iter()
            .enumerate()
            .map(|(place, row)| json!({ "o": done + place, "k": row.key, "c": values_to_json(&row.cells).to_string() }))
            .collect();
        conn.execute(insert, args![operator, name, batch.to_string()]).await?;
        done += chunk.len();
        progress(done);
    }
    conn.execute("DELETE FROM tables WHERE operator = $1 AND name = $2", args![operator, name]).await?;
    conn.execute(
        "INSERT INTO tables (operator, name, size, imported) VALUES ($1, $2, $3, $4)",
        args![operator, name, i64::try_from(rows.len())?, millis(at)],
    )
    .await?;
    Ok(conn.commit().await?)
}

/// What is known of a table; `None` when it was never imported.
pub(crate) async fn state(readers: &Readers, operator: &str, name: &str) -> anyhow::Result<Option<TableState>> {
    let rows = readers
        .fetch("SELECT size, imported FROM tables WHERE operator = $1 AND name = $2", args![operator, name])
        .await
        .context("cannot read the tables' state")?;
    rows.first()
        .map(|row| Ok(TableState { rows: u64::try_from(row.int(0)?)?, imported: moment(row.int(1)?)? }))
        .transpose()
}

/// The row with this key (see [`row_key`]).
pub(crate) async fn by_key(readers: &Readers, operator: &str, name: &str, key: &str) -> anyhow::Result<Option<Values>> {
    let rows = readers
        .fetch(
            "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 AND row_key = $3",
            args![operator, name, key],
        )
        .await
        .context("cannot read a table")?;
    rows.first().map(cells).transpose()
}

/// All rows, in the order of the file.
pub(crate) async fn all(readers: &Readers, operator: &str, name: &str) -> anyhow::Result<Vec<Values>> {
    let rows = readers
        .fetch("SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 ORDER BY ordinal", args![operator, name])
        .await
        .context("cannot read a table")?;
    rows.iter().map(cells).collect()
}

/// Rows whose text cell `column` is exactly `value`, in the order of the file.
pub(crate) async fn by_column(
    readers: &Readers,
    operator: &str,
    name: &str,
    column: &str,
    value: &str,
) -> anyhow::Result<Vec<Values>> {
    let sql = readers.either(BY_COLUMN_SQLITE, BY_COLUMN_POSTGRES);
    let rows = readers.fetch(sql, args![operator, name, column, value]).await.context("cannot read a table")?;
    rows.iter().map(cells).collect()
}

fn cells(row: &Row) -> anyhow::Result<Values> {
    values_from_json(&serde_json::from_str(row.text(0)?).context("a stored row")?)
}

/// One statement takes so many rows: few round trips, and a progress bar that moves.
const ROWS_A_STATEMENT: usize = 1_000;
const INSERT_SQLITE: &str = "INSERT INTO table_rows (operator, name, ordinal, row_key, cells) \
     SELECT $1, $2, value ->> '$.o', value ->> '$.k', value ->> '$.c' FROM json_each($3)";
const INSERT_POSTGRES: &str = "INSERT INTO table_rows (operator, name, ordinal, row_key, cells) \
     SELECT $1, $2, (value ->> 'o')::bigint, value ->> 'k', value ->> 'c' FROM json_array_elements($3::json)";
const BY_COLUMN_SQLITE: &str = "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 \
     AND EXISTS (SELECT 1 FROM json_each(cells) AS cell WHERE cell.key = $3 AND cell.value ->> '$.text' = $4) \
     ORDER BY ordinal";
const BY_COLUMN_POSTGRES: &str = "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 \
     AND cells::json -> $3 ->> 'text' = $4 ORDER BY ordinal";
