//! One small face over two typed connections, so that each statement is written once.
//!
//! Statements use `$1` placeholders, `BIGINT`/`INTEGER` and `TEXT` columns and `ON CONFLICT DO NOTHING`, which SQLite and
//! PostgreSQL read alike. sqlx's own `Any` driver rewrites neither placeholders nor types reliably.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Column, ConnectOptions, Connection, Row as _, TypeInfo, ValueRef};

/// Where the database is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file; made when it does not exist.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

impl Place {
    /// Reads `sqlite:///path/contesta.db`, `sqlite:relative.db`, a bare path, or `postgres://…`.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The URL may hold a password, so the error does not repeat it.
            let options = PgConnectOptions::from_str(url).context("this is no usable postgres:// URL")?;
            return Ok(Self::Postgres(Box::new(options.application_name("contesta"))));
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
        if path.is_empty() || path.contains("://") {
            anyhow::bail!("`{url}` is no database: write a path, sqlite:///path or postgres://user@host/database");
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }

    /// Opens a connection that may write. `patience` is how long it waits for another process's lock.
    pub(crate) async fn connect(&self, patience: Duration) -> anyhow::Result<Conn> {
        match self {
            Self::Sqlite(path) => {
                let connection = sqlite_options(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // FULL makes a commit survive a power cut, not only a killed process.
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(patience)
                    .connect()
                    .await
                    .with_context(|| format!("cannot open the database {}", path.display()))?;
                Ok(Conn::Sqlite(connection))
            }
            Self::Postgres(options) => {
                let connection = options.connect().await.with_context(|| {
                    format!(
                        "cannot reach the database {} on {}",
                        options.get_database().unwrap_or("(default)"),
                        options.get_host()
                    )
                })?;
                Ok(Conn::Postgres(connection))
            }
        }
    }

    /// Connections for reading, opened when they are needed.
    pub(crate) fn readers(&self) -> Readers {
        match self {
            Self::Sqlite(path) => Readers::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(READERS_SQLITE)
                    .acquire_timeout(READ_PATIENCE)
                    .connect_lazy_with(sqlite_options(path).pragma("query_only", "1").busy_timeout(READ_PATIENCE)),
            ),
            Self::Postgres(options) => Readers::Postgres(
                PgPoolOptions::new()
                    .max_connections(READERS_POSTGRES)
                    .acquire_timeout(READ_PATIENCE)
                    .connect_lazy_with(options.as_ref().clone()),
            ),
        }
    }

    /// Connections that can do nothing but read, for whoever has no permission for more.
    pub(crate) fn only_readers(&self) -> Readers {
        match self {
            Self::Sqlite(path) => {
                // Without a write-ahead log nobody has the file open: it is whole as it is, and reading it must not begin a log.
                let log =
                    path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
                let options = sqlite_options(path).read_only(true).immutable(!log.exists()).busy_timeout(READ_PATIENCE);
                Readers::Sqlite(
                    SqlitePoolOptions::new()
                        .max_connections(READERS_SQLITE)
                        .acquire_timeout(READ_PATIENCE)
                        .connect_lazy_with(options),
                )
            }
            Self::Postgres(options) => {
                let options = options.as_ref().clone().options([("default_transaction_read_only", "on")]);
                Readers::Postgres(
                    PgPoolOptions::new()
                        .max_connections(READERS_POSTGRES)
                        .acquire_timeout(READ_PATIENCE)
                        .connect_lazy_with(options),
                )
            }
        }
    }
}

/// A database whose tables are of another version is not guessed at.
pub(crate) async fn check_version(place: &Place, readers: &Readers) -> anyhow::Result<()> {
    let (name, ours) = match place {
        Place::Sqlite(path) => (path.display().to_string(), &SQLITE),
        Place::Postgres(options) => (options.get_database().unwrap_or("(default)").to_owned(), &POSTGRES),
    };
    let ours = ours.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = match readers.fetch("SELECT MAX(version) FROM _sqlx_migrations", Vec::new()).await {
        // The pool does not say what it tried in vain.
        Err(sqlx::Error::PoolTimedOut) => bail!("the database {name} does not answer"),
        found => found.with_context(|| format!("cannot read the database {name}"))?,
    };
    let found = found.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
    match found.cmp(&ours) {
        Ordering::Equal => Ok(()),
        Ordering::Less => {
            bail!("the tables of {name} are older than this program: `contesta run` brings them up to date")
        }
        Ordering::Greater => bail!("the tables of {name} are newer than this program"),
    }
}

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).disable_statement_logging()
}

/// A connection of either kind, owned by whoever writes.
pub(crate) enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A value bound to a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<&str>> for Arg {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Arg {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

/// `args![a, b]`: anything that is text, a number, or maybe one of them.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::sql::Arg::from($value)),*] };
}
pub(crate) use args;

/// A statement that writes lines of a table, for 1, 2, 4 … 64 of them: so few are each prepared once, and write any number of lines.
///
/// SQLite's has places without names: binding one by its name searches all names before it, a third of the time that a thousand
/// of them need.
pub(crate) struct Lines([[String; 2]; 7]);

impl Lines {
    /// `begin`, the placeholders of each line, `end`: `INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING`.
    pub(crate) fn new(begin: &str, columns: usize, end: &str) -> Self {
        let line = |place: &dyn Fn(usize) -> String, line: usize| {
            let places: Vec<String> = (1..=columns).map(|column| place(line * columns + column)).collect();
            format!("({})", places.join(", "))
        };
        let statement = |place: &dyn Fn(usize) -> String, lines: usize| {
            let lines: Vec<String> = (0..lines).map(|number| line(place, number)).collect();
            format!("{begin} {}{end}", lines.join(", "))
        };
        Self(std::array::from_fn(|power| {
            [statement(&|_| "?".to_owned(), 1 << power), statement(&|number| format!("${number}"), 1 << power)]
        }))
    }

    /// Lines in portions, in their order, each with its statement.
    pub(crate) fn portions<'a, T>(
        &'static self,
        conn: &Conn,
        lines: &'a [T],
    ) -> impl Iterator<Item = (&'static str, &'a [T])> + use<'a, T> {
        let is_sqlite = matches!(conn, Conn::Sqlite(_));
        self.in_portions(lines).map(move |([sqlite, postgres], portion)| match is_sqlite {
            true => (sqlite.as_str(), portion),
            false => (postgres.as_str(), portion),
        })
    }

    fn in_portions<'a, T>(
        &'static self,
        lines: &'a [T],
    ) -> impl Iterator<Item = (&'static [String; 2], &'a [T])> + use<'a, T> {
        let mut rest = lines;
        std::iter::from_fn(move || {
            let (power, sql) = self.0.iter().enumerate().take_while(|(power, _)| 1 << power <= rest.len()).last()?;
            let (portion, left) = rest.split_at_checked(1 << power)?;
            rest = left;
            Some((sql, portion))
        })
    }
}

/// Binds every argument to a typed query.
macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match arg {
                Arg::Text(text) => query.bind(text),
                Arg::Int(number) => query.bind(number),
            };
        }
        query
    }};
}

impl Conn {
    /// Runs a statement; how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => Ok(bound!(sql, args).execute(connection).await?.rows_affected()),
            Self::Postgres(connection) => Ok(bound!(sql, args).execute(connection).await?.rows_affected()),
        }
    }

    /// Runs a question; all its rows.
    pub(crate) async fn fetch(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                bound!(sql, args).fetch_all(connection).await?.iter().map(Row::from_sqlite).collect()
            }
            Self::Postgres(connection) => {
                bound!(sql, args).fetch_all(connection).await?.iter().map(Row::from_postgres).collect()
            }
        }
    }

    /// The statement for this database, where the two differ.
    pub(crate) fn either(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    /// Begins a transaction that is going to write. On PostgreSQL one writer of the whole cluster goes at a time: numbers of
    /// the event log are then seen in their order, and two machines cannot both be first to block a device.
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => self.execute("BEGIN IMMEDIATE", Vec::new()).await?,
            Self::Postgres(_) => {
                self.execute("BEGIN", Vec::new()).await?;
                self.execute("SELECT pg_advisory_xact_lock($1)", args![WRITERS_LOCK]).await?
            }
        };
        Ok(())
    }

    /// Makes it durable.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT", Vec::new()).await.map(drop)
    }

    /// Applies the migrations that this database has not seen.
    pub(crate) async fn migrate(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(connection) => SQLITE.run(connection).await,
            Self::Postgres(connection) => POSTGRES.run(connection).await,
        }
        .context("cannot bring the database's tables up to date")
    }

    /// Says good-bye to the database.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}

/// A few connections that only read.
#[derive(Clone, Debug)]
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    /// Runs a question; all its rows.
    pub(crate) async fn fetch(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => bound!(sql, args).fetch_all(pool).await?.iter().map(Row::from_sqlite).collect(),
            Self::Postgres(pool) => bound!(sql, args).fetch_all(pool).await?.iter().map(Row::from_postgres).collect(),
        }
    }

    /// The statement for this database, where the two differ.
    pub(crate) fn either(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A row, its columns in the order of the `SELECT`.
#[derive(Clone, Debug)]
pub(crate) struct Row(Vec<Arg>);

/// Reads every column of a typed row by the type the database gave it.
macro_rules! cells {
    ($row:expr) => {{
        let row = $row;
        let mut cells = Vec::with_capacity(row.len());
        for column in row.columns() {
            let index = column.ordinal();
            let raw = row.try_get_raw(index)?;
            let is_number = matches!(raw.type_info().name(), "INTEGER" | "INT8");
            cells.push(if is_number { Arg::Int(row.try_get(index)?) } else { Arg::Text(row.try_get(index)?) });
        }
        Ok(Self(cells))
    }};
}

impl Row {
    fn from_sqlite(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        cells!(row)
    }

    fn from_postgres(row: &PgRow) -> Result<Self, sqlx::Error> {
        cells!(row)
    }

    pub(crate) fn text(&self, column: usize) -> anyhow::Result<&str> {
        self.maybe_text(column)?.with_context(|| format!("column {column} is empty"))
    }

    pub(crate) fn maybe_text(&self, column: usize) -> anyhow::Result<Option<&str>> {
        match self.0.get(column) {
            Some(Arg::Text(text)) => Ok(text.as_deref()),
            Some(Arg::Int(None)) => Ok(None),
            Some(Arg::Int(Some(_))) => anyhow::bail!("column {column} holds a number, not a text"),
            None => anyhow::bail!("there is no column {column}"),
        }
    }

    pub(crate) fn int(&self, column: usize) -> anyhow::Result<i64> {
        self.maybe_int(column)?.with_context(|| format!("column {column} is empty"))
    }

    pub(crate) fn maybe_int(&self, column: usize) -> anyhow::Result<Option<i64>> {
        match self.0.get(column) {
            Some(Arg::Int(number)) => Ok(*number),
            Some(Arg::Text(None)) => Ok(None),
            Some(Arg::Text(Some(_))) => anyhow::bail!("column {column} holds a text, not a number"),
            None => anyhow::bail!("there is no column {column}"),
        }
    }
}

impl Place {
    /// True when this error of [`Place::connect`] says that a server is not there now, and not that it refuses us.
    pub(crate) fn is_away(error: &anyhow::Error) -> bool {
        match error.downcast_ref::<sqlx::Error>() {
            Some(sqlx::Error::Io(_)) => true,
            // 57P03: it is starting up or shutting down; 53300: too many connections.
            Some(sqlx::Error::Database(fault)) => matches!(fault.code().as_deref(), Some("57P03" | "53300")),
            Some(_) | None => false,
        }
    }
}

/// Why a write failed, as far as its caller and its neighbours are concerned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The database is there and refuses this one: its neighbours are not touched, and trying again would not help.
    #[error("the database refuses it: {0}")]
    Refused(String),
    /// The database cannot be written now: locked, full, read-only, gone. What can be spooled is.
    #[error("the database cannot be written: {0}")]
    Unavailable(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let refused = if let sqlx::Error::Database(fault) = &error {
            match fault.code().as_deref() {
                // SQLite, primary code in the low byte: 18 TOOBIG, 19 CONSTRAINT, 20 MISMATCH, 25 RANGE.
                Some(code) if code.len() < 5 => {
                    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18 | 19 | 20 | 25))
                }
                // PostgreSQL: class 22 is bad data, 23 an integrity constraint.
                Some(code) => code.starts_with("22") || code.starts_with("23"),
                None => false,
            }
        } else {
            matches!(error, sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
        };
        if refused { Self::Refused(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(format!("{error:#}"))
    }
}

const READERS_SQLITE: u32 = 4;
const READERS_POSTGRES: u32 = 8;
/// How long a reader waits for a connection; shorter than any flow's patience with a service.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// Any number, the same for every version of the program: `contesta` in ASCII.
const WRITERS_LOCK: i64 = 0x636f_6e74_6573_7461;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_portions_of_powers_of_two() {
        static LINES: std::sync::LazyLock<Lines> =
            std::sync::LazyLock::new(|| Lines::new("INSERT INTO t VALUES", 2, ";"));
        let numbers: Vec<usize> = (0..150).collect();
        let sizes =
            |count: usize| LINES.in_portions(&numbers[..count]).map(|(_, lines)| lines.len()).collect::<Vec<_>>();
        assert_eq!((sizes(0), sizes(1), sizes(7)), (vec![], vec![1], vec![4, 2, 1]));
        assert_eq!(sizes(150), [64, 64, 16, 4, 2]);
        let (statements, two) = LINES.in_portions(&numbers[..2]).next().unwrap();
        assert_eq!(two, [0, 1]);
        assert_eq!(statements[0], "INSERT INTO t VALUES (?, ?), (?, ?);");
        assert_eq!(statements[1], "INSERT INTO t VALUES ($1, $2), ($3, $4);");
    }
}
