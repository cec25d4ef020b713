//! Rows of the tables that self-services read, each operator's its own, replaced whole by an import.
//!
//! ```text
//! stage: rows of the new import beside the old ─► publish: every table shows its new rows, or none ─► sweep: the old rows go
//! ```
//! A reader sees the rows of the import that its table names, in one statement: never some of each.

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

/// A table as an import brings it.
#[derive(Clone, Copy, Debug)]
pub struct NewTable<'a> {
    /// Whose table.
    pub operator: &'a str,
    /// Its name.
    pub name: &'a str,
    /// All of its rows, no two with one key.
    pub rows: &'a [TableRow],
}

/// Replaces tables, all of them or none. `import` is the new import's name: of two, the earlier one's sorts first. `progress`
/// is told which table (by its place) has how many rows in. The imports that were read before, table by table.
pub(crate) async fn replace(
    conn: &mut Conn,
    import: &str,
    tables: &[NewTable<'_>],
    at: Timestamp,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> anyhow::Result<Vec<String>> {
    for (place, table) in tables.iter().enumerate() {
        stage(conn, import, table, &mut |rows| progress(place, rows))
            .await
            .with_context(|| format!("cannot bring in the table {} of {}", table.name, table.operator))?;
    }
    publish(conn, import, tables, at).await.context("cannot replace the tables")
}

/// Brings a table's rows in under the name of an import, beside those that are read. Statement by statement: whoever opens a
/// case meanwhile waits for one of them at most.
async fn stage(
    conn: &mut Conn,
    import: &str,
    table: &NewTable<'_>,
    progress: &mut (dyn FnMut(usize) + Send),
) -> anyhow::Result<()> {
    let insert = conn.either(INSERT_SQLITE, INSERT_POSTGRES);
    let mut done = 0usize;
    for chunk in table.rows.chunks(ROWS_A_STATEMENT) {
        let batch: serde_json::Value = chunk
            .iter()
            .enumerate()
            .map(|(place, row)| json!({ "o": done + place, "k": row.key, "c": values_to_json(&row.cells).to_string() }))
            .collect();
        conn.execute(insert, args![table.operator, table.name, import, batch.to_string()]).await?;
        done += chunk.len();
        progress(done);
    }
    Ok(())
}

/// Lets readers see what was staged, all tables in one transaction. The imports they saw before.
async fn publish(conn: &mut Conn, import: &str, tables: &[NewTable<'_>], at: Timestamp) -> anyhow::Result<Vec<String>> {
    let mut before = Vec::new();
    conn.begin().await?;
    for NewTable { operator, name, rows } in tables {
        let known = "SELECT import FROM tables WHERE operator = $1 AND name = $2";
        let known = conn.fetch(known, args![*operator, *name]).await?;
        before.push(known.first().map(|row| row.text(0)).transpose()?.unwrap_or_default().to_owned());
        conn.execute("DELETE FROM tables WHERE operator = $1 AND name = $2", args![*operator, *name]).await?;
        conn.execute(
            "INSERT INTO tables (operator, name, size, imported, import) VALUES ($1, $2, $3, $4, $5)",
            args![*operator, *name, i64::try_from(rows.len())?, millis(at), import],
        )
        .await?;
    }
    conn.commit().await?;
    Ok(before)
}

/// Removes rows that no reader sees: those of `gone`, which is not read any more or never was, and those of imports before
/// `long_ago` that were broken off. Another import that is just being staged is not touched.
pub(crate) async fn sweep(conn: &mut Conn, table: &NewTable<'_>, gone: &str, long_ago: &str) -> anyhow::Result<()> {
    let delete = conn.either(SWEEP_SQLITE, SWEEP_POSTGRES);
    while conn.execute(delete, args![table.operator, table.name, gone, long_ago]).await? > 0 {}
    Ok(())
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
            "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 AND row_key = $3 \
             AND import = (SELECT import FROM tables WHERE operator = $1 AND name = $2)",
            args![operator, name, key],
        )
        .await
        .context("cannot read a table")?;
    rows.first().map(cells).transpose()
}

/// All rows, in the order of the file.
pub(crate) async fn all(readers: &Readers, operator: &str, name: &str) -> anyhow::Result<Vec<Values>> {
    let rows = readers
        .fetch(
            "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 \
             AND import = (SELECT import FROM tables WHERE operator = $1 AND name = $2) ORDER BY ordinal",
            args![operator, name],
        )
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
const INSERT_SQLITE: &str = "INSERT INTO table_rows (operator, name, import, ordinal, row_key, cells) \
     SELECT $1, $2, $3, value ->> '$.o', value ->> '$.k', value ->> '$.c' FROM json_each($4)";
const INSERT_POSTGRES: &str = "INSERT INTO table_rows (operator, name, import, ordinal, row_key, cells) \
     SELECT $1, $2, $3, (value ->> 'o')::bigint, value ->> 'k', value ->> 'c' FROM json_array_elements($4::json)";
const BY_COLUMN_SQLITE: &str = "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 \
     AND import = (SELECT import FROM tables WHERE operator = $1 AND name = $2) \
     AND EXISTS (SELECT 1 FROM json_each(cells) AS cell WHERE cell.key = $3 AND cell.value ->> '$.text' = $4) \
     ORDER BY ordinal";
const BY_COLUMN_POSTGRES: &str = "SELECT cells FROM table_rows WHERE operator = $1 AND name = $2 \
     AND import = (SELECT import FROM tables WHERE operator = $1 AND name = $2) \
     AND cells::json -> $3 ->> 'text' = $4 ORDER BY ordinal";
// So many rows at a time that nobody who writes waits long.
const SWEEP_SQLITE: &str = "DELETE FROM table_rows WHERE rowid IN (SELECT rowid FROM table_rows \
     WHERE operator = $1 AND name = $2 AND (import = $3 OR import < $4) \
     AND import NOT IN (SELECT import FROM tables WHERE operator = $1 AND name = $2) LIMIT 5000)";
const SWEEP_POSTGRES: &str = "DELETE FROM table_rows WHERE ctid IN (SELECT ctid FROM table_rows \
     WHERE operator = $1 AND name = $2 AND (import = $3 OR import < $4) \
     AND import NOT IN (SELECT import FROM tables WHERE operator = $1 AND name = $2) LIMIT 5000)";
