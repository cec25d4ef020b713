//! Cases, call records, orders, messages and tables, durable in SQLite or PostgreSQL. SQL lives here only, one file a noun.
//!
//! A write is answered when it is on the disk: in the database, or in the [`spool`] of the data directory while the database
//! is away. One [`writer`] gathers concurrent writes into one commit. Reads go past it, to a few connections of their own.
#![expect(clippy::disallowed_methods, reason = "the store stamps what it is given and has its own writer thread")]

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rand::TryRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::call::CallRecord;
use crate::case::{self, Case, Folio};
use crate::flow::action::{Lockout, Message};
use crate::ids::Ids;
use crate::store::entry::{Entry, Write};
use crate::store::pending::Pending;
use crate::store::spool::Spool;
use crate::store::sql::{Conn, Failure, Place, Readers};
use crate::store::writer::{Job, Outcome, Writer};
use crate::value::Values;

mod calls;
mod cases;
mod entry;
mod events;
mod orders;
mod outbox;
mod pending;
mod quality;
mod registrations;
mod spool;
mod sql;
mod tables;
mod tries;
mod writer;

pub use calls::CallFilter;
pub use cases::{CaseEvent, CaseFilter, Change, Opened};
pub use entry::{recording_to_json, segments_to_json};
pub use events::LoggedEvent;
pub use orders::{Order, OrderKind, Ordered, StoredOrder, device};
pub use outbox::Queued;
pub use quality::quality_to_json;
pub use registrations::{RegistrationChange, StoredRegistration};
pub use tables::{NewTable, TableRow, TableState, row_key};
pub use tries::Tried;

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    readers: Readers,
    jobs: mpsc::Sender<Job>,
    /// Call records that nobody waits for.
    records: mpsc::Sender<Box<CallRecord>>,
    pending: Arc<Mutex<Pending>>,
    ids: Mutex<Ids>,
    /// True once the database has been there: its tables are ours, its folios are known.
    seen: watch::Receiver<bool>,
    /// For tries to verify an account, which go past the writer: they are answered one after the other, and never spooled.
    tries: tokio::sync::Mutex<Option<Conn>>,
    /// For registrations, which go past it as well.
    registrations: tokio::sync::Mutex<Option<Conn>>,
}

impl Store {
    /// Opens the engine's store: makes and migrates the database, takes the spool of `data` for this process alone, and
    /// brings what an earlier run left there into the database.
    ///
    /// `url` is `sqlite:///path/contesta.db`, a bare path, or `postgres://user@host/database`. A server that is not there now is
    /// no error: writes go to the spool, reads fail, and all of the above is done when it is back ([`Store::database_seen`]).
    ///
    /// # Errors
    /// The database cannot be opened or migrated, or the server refuses us; another engine runs on `data`.
    pub async fn open(url: &str, data: &Path) -> anyhow::Result<Self> {
        let place = Place::parse(url)?;
        make_folder(&place)?;
        let (spool, backlog) = Spool::open(data)?;
        Self::start(place, Some(spool), backlog).await
    }

    /// Opens the store for a command that only looks: nothing is written, so that whoever may read the files may look. Look-ups
    /// also find what lies in the spool of `data`.
    ///
    /// # Errors
    /// There is no such database, it cannot be opened, or its tables are those of another version.
    pub async fn connect(url: &str, data: &Path) -> anyhow::Result<Self> {
        let place = Place::parse(url)?;
        if let Place::Sqlite(path) = &place {
            let there = path.try_exists().with_context(|| format!("cannot look at the database {}", path.display()))?;
            anyhow::ensure!(
                there,
                "there is no database at {}: `contesta run` or `contesta import` makes it",
                path.display()
            );
        }
        let readers = place.only_readers();
        sql::check_version(&place, &readers).await?;
        // Nobody takes the jobs: whoever wants to write is told that this store is closed for it.
        let (jobs, _) = mpsc::channel(1);
        let (records, _) = mpsc::channel(1);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let ids = Mutex::new(os_ids()?);
        let (_, seen) = watch::channel(true);
        let inner = Inner {
            readers,
            place,
            jobs,
            records,
            pending,
            ids,
            seen,
            tries: tokio::sync::Mutex::default(),
            registrations: tokio::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) }.with_spool_of(data))
    }

    /// Opens the store for a command that writes beside the engine, and makes the database when there is none: for `contesta
    /// import` before the first run. Nothing is spooled, so a write that fails is an error at once.
    ///
    /// # Errors
    /// It cannot be made, opened or migrated.
    pub async fn prepare(url: &str, data: &Path) -> anyhow::Result<Self> {
        let place = Place::parse(url)?;
        make_folder(&place)?;
        Ok(Self::start(place, None, Vec::new()).await?.with_spool_of(data))
    }

    /// Where the database lies when nobody says otherwise: `contesta.db` in the data directory.
    #[must_use]
    pub fn default_url(data: &Path) -> String {
        data.join("contesta.db").display().to_string()
    }

    /// Knows what the engine has put aside.
    fn with_spool_of(self, data: &Path) -> Self {
        let mut pending = self.pending();
        Spool::peek(data).iter().for_each(|entry| pending.spooled(entry));
        drop(pending);
        self
    }

    async fn start(place: Place, spool: Option<Spool>, backlog: Vec<Entry>) -> anyhow::Result<Self> {
        let mut taken: BTreeSet<u64> =
            backlog.iter().filter_map(|entry| entry.write.folio().map(Folio::number)).collect();
        let known = match timeout(FIRST_PATIENCE, place.connect(writer::LOCK_PATIENCE)).await {
            Ok(Ok(mut conn)) => {
                conn.migrate().await?;
                taken.extend(cases::folios(&mut conn).await?);
                // The writer has a runtime of its own, and a connection belongs to the runtime that opened it.
                conn.close().await.context("cannot close the first connection")?;
                true
            }
            Ok(Err(fault)) if spool.is_some() && Place::is_away(&fault) => {
                tracing::warn!(cause = format!("{fault:#}"), "{AWAY_AT_THE_START}");
                false
            }
            Ok(Err(fault)) => return Err(fault),
            Err(_) if spool.is_some() => {
                tracing::warn!(cause = format!("no answer in {} s", FIRST_PATIENCE.as_secs()), "{AWAY_AT_THE_START}");
                false
            }
            Err(_) => anyhow::bail!("the database does not answer in {} s", FIRST_PATIENCE.as_secs()),
        };

        let mut pending = Pending::default();
        backlog.iter().for_each(|entry| pending.spooled(entry));
        let pending = Arc::new(Mutex::new(pending));
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (records, records_queue) = mpsc::channel(QUEUE_MAX);
        let (tell, seen) = watch::channel(known);
        let writer = Writer {
            place: place.clone(),
            conn: None,
            readers: None,
            spool,
            backlog,
            pending: Arc::clone(&pending),
            seen: tell,
            taken,
            ids: os_ids()?,
            jobs: queue,
            records: records_queue,
            retry_at: tokio::time::Instant::now(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || runtime.block_on(writer.run()))
            .context("cannot start the store's writer")?;
        let inner = Inner {
            readers: place.readers(),
            place,
            jobs,
            records,
            pending,
            ids: Mutex::new(os_ids()?),
            seen,
            tries: tokio::sync::Mutex::default(),
            registrations: tokio::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// True once the database has been there. A store that was opened without it knows only what it was told since.
    #[must_use]
    pub fn has_seen_database(&self) -> bool {
        *self.inner.seen.borrow()
    }

    /// Returns when the database has been there, its tables brought up to date: at once, unless the store was opened without it.
    pub async fn database_seen(&self) {
        // The writer is gone: nobody will see it any more, and whoever waits goes on to find the store closed.
        let _ = self.inner.seen.clone().wait_for(|seen| *seen).await;
    }

    /// Opens a case, or finds the one that this idempotency key opened before. Returns when that is durable, so the folio
    /// may be spoken.
    ///
    /// # Errors
    /// Neither the database nor the spool could keep it.
    pub async fn open_case(&self, open: &case::Open) -> anyhow::Result<Opened> {
        let mut open = open.clone();
        // The database keeps milliseconds; what is answered now is what is read later.
        open.received = to_millisecond(open.received);
        open.due = open.due.map(to_millisecond);
        let folio = Folio::draw(open.prefix, &mut self.ids());
        match self.write(Timestamp::now(), Write::OpenCase { open, folio }).await? {
            Outcome::Opened(opened) => Ok(*opened),
            other @ (Outcome::Changed(_) | Outcome::Ordered(_) | Outcome::Done) => Err(crossed(&other)),
        }
    }

    /// Changes a case of this operator.
    ///
    /// # Errors
    /// It could not be kept.
    pub async fn update_case(&self, update: &case::Update) -> anyhow::Result<Change> {
        match self.write(update.at, Write::UpdateCase(update.clone())).await? {
            Outcome::Changed(change) => Ok(change),
            other @ (Outcome::Opened(_) | Outcome::Ordered(_) | Outcome::Done) => Err(crossed(&other)),
        }
    }

    /// Finds a case of this operator. A folio of another operator is `None`, like one that nobody has.
    ///
    /// # Errors
    /// The database cannot be read, and the case is not known without it.
    pub async fn find_case(&self, operator: &str, folio: &Folio) -> anyhow::Result<Option<Case>> {
        Ok(self.case(folio).await?.filter(|case| case.open.operator == operator))
    }

    /// Finds a case of any operator, for commands.
    ///
    /// # Errors
    /// The database cannot be read, and the case is not known without it.
    pub async fn case(&self, folio: &Folio) -> anyhow::Result<Option<Case>> {
        let waiting = self.pending().waiting_case(folio).cloned();
        if waiting.is_some() {
            return Ok(waiting);
        }
        let found = cases::find(&self.inner.readers, folio).await;
        let known = self.pending().case(folio).cloned();
        match (found, known) {
            (Ok(Some(case)), _) | (Ok(None), Some(case)) | (Err(_), Some(case)) => Ok(Some(case)),
            (Ok(None), None) => Ok(None),
            (Err(fault), None) => Err(fault),
        }
    }

    /// Cases that fit, the newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn cases(&self, filter: &CaseFilter) -> anyhow::Result<Vec<Case>> {
        cases::list(&self.inner.readers, filter).await
    }

    /// What happened to a case, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn history(&self, folio: &Folio) -> anyhow::Result<Vec<CaseEvent>> {
        cases::history(&self.inner.readers, folio).await
    }

    /// Puts a message into the outbox, once for its operator and idempotency key.
    ///
    /// # Errors
    /// It could not be kept.
    pub async fn enqueue(&self, message: &Message) -> anyhow::Result<()> {
        self.write(Timestamp::now(), Write::Enqueue(message.clone())).await.map(drop)
    }

    /// The oldest messages that wait to be delivered.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn outbox(&self, limit: u32) -> anyhow::Result<Vec<Queued>> {
        outbox::pending(&self.inner.readers, limit).await
    }

    /// Stores a call's record, once, and returns when that is durable.
    ///
    /// # Errors
    /// It could not be kept.
    pub async fn save_call(&self, record: &CallRecord) -> anyhow::Result<()> {
        let record = Box::new(in_milliseconds(record.clone()));
        self.write(record.ended, Write::SaveCall(record)).await.map(drop)
    }

    /// Takes a call's record, to be stored soon, once, together with others; [`close`](Self::close) waits for it. One that cannot be
    /// kept is told of in the log.
    ///
    /// # Errors
    /// The record comes back when thousands wait already: [`save_call`](Self::save_call) waits its turn.
    pub fn take_call(&self, record: Box<CallRecord>) -> Result<(), Box<CallRecord>> {
        let Ok(place) = self.inner.records.try_reserve() else { return Err(record) };
        place.send(Box::new(in_milliseconds(*record)));
        Ok(())
    }

    /// The record of a call.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn call(&self, key: &str) -> anyhow::Result<Option<CallRecord>> {
        calls::find(&self.inner.readers, key).await
    }

    /// Records that fit, the newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn calls(&self, filter: &CallFilter) -> anyhow::Result<Vec<CallRecord>> {
        calls::list(&self.inner.readers, filter).await
    }

    /// The numbered log after `seq`, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn events_after(&self, seq: i64, limit: u32) -> anyhow::Result<Vec<LoggedEvent>> {
        events::after(&self.inner.readers, seq, limit).await
    }

    /// Orders a block or a suspension, once for its folio, unless another report's order is in force.
    ///
    /// # Errors
    /// It could not be kept.
    pub async fn order(&self, order: &Order) -> anyhow::Result<Ordered> {
        match self.write(Timestamp::now(), Write::Order(order.clone())).await? {
            Outcome::Ordered(ordered) => Ok(ordered),
            other @ (Outcome::Opened(_) | Outcome::Changed(_) | Outcome::Done) => Err(crossed(&other)),
        }
    }

    /// The folio of the order in force for this subject (see [`Order::subject`]).
    ///
    /// # Errors
    /// The database cannot be read, and no order waits in the spool.
    pub async fn order_in_force(
        &self,
        operator: &str,
        kind: OrderKind,
        subject: &str,
    ) -> anyhow::Result<Option<Folio>> {
        let found = orders::in_force(&self.inner.readers, operator, kind, subject).await;
        let known = self.pending().order(operator, kind, subject).cloned();
        match (found, known) {
            (Ok(Some(folio)), _) | (Ok(None), Some(folio)) | (Err(_), Some(folio)) => Ok(Some(folio)),
            (Ok(None), None) => Ok(None),
            (Err(fault), None) => Err(fault),
        }
    }

    /// The orders that a report covers.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn orders(&self, folio: &Folio) -> anyhow::Result<Vec<StoredOrder>> {
        orders::of_case(&self.inner.readers, folio).await
    }

    /// Counts a try to verify an account, unless it is locked. `subject` names the account, `at` is the caller's moment.
    ///
    /// # Errors
    /// It could not be counted: then it must not be taken.
    pub async fn count_try(
        &self,
        operator: &str,
        subject: &str,
        lockout: Lockout,
        at: Timestamp,
    ) -> anyhow::Result<Tried> {
        let id = self.ids().token(16);
        self.with_tries(async |conn| tries::count(conn, operator, subject, lockout, at, id).await).await
    }

    /// A try was not compared after all: it does not count.
    ///
    /// # Errors
    /// It goes on counting.
    pub async fn take_back_try(&self, id: &str) -> anyhow::Result<()> {
        self.with_tries(async |conn| tries::take_back(conn, id).await).await
    }

    /// A try was right: no earlier one counts.
    ///
    /// # Errors
    /// They go on counting.
    pub async fn forgive_tries(&self, operator: &str, subject: &str) -> anyhow::Result<()> {
        self.with_tries(async |conn| tries::forgive(conn, operator, subject).await).await
    }

    /// Runs one transaction on the tries' connection.
    async fn with_tries<T>(&self, work: impl AsyncFnOnce(&mut Conn) -> Result<T, Failure>) -> anyhow::Result<T> {
        self.aside(&self.inner.tries, work).await
    }

    /// Stores what became of registrations, in their order; all of them or none.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn change_registrations(&self, changes: &[RegistrationChange]) -> anyhow::Result<()> {
        let work = async |conn: &mut Conn| {
            for change in changes {
                registrations::change(conn, Timestamp::now(), change).await?;
            }
            Ok(())
        };
        self.aside(&self.inner.registrations, work).await
    }

    /// Registrations that have not ended by `now`; the others are forgotten.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub async fn restore_registrations(&self, now: Timestamp) -> anyhow::Result<Vec<StoredRegistration>> {
        self.aside(&self.inner.registrations, async |conn: &mut Conn| registrations::forget(conn, now).await).await?;
        registrations::list(&self.inner.readers, now).await
    }

    /// Registrations that have not ended by `now`, by operator and user.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn registrations(&self, now: Timestamp) -> anyhow::Result<Vec<StoredRegistration>> {
        registrations::list(&self.inner.readers, now).await
    }

    /// Runs one transaction on a connection of its own. One that failed is not used again.
    async fn aside<T>(
        &self,
        kept: &tokio::sync::Mutex<Option<Conn>>,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Failure>,
    ) -> anyhow::Result<T> {
        let mut kept = kept.lock().await;
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => self.inner.place.connect(writer::LOCK_PATIENCE).await?,
        };
        conn.begin().await?;
        let done = work(&mut conn).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        conn.commit().await?;
        *kept = Some(conn);
        Ok(done)
    }

    /// Replaces tables whole, all of them in one step, or leaves every one as it is. `progress` is told which table (by its place)
    /// has how many rows in. Of two that replace the same table at once, the one that is done last is read.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn replace_tables(
        &self,
        tables: &[NewTable<'_>],
        progress: &mut (dyn FnMut(usize, usize) + Send),
    ) -> anyhow::Result<()> {
        let mut conn = self.inner.place.connect(IMPORT_PATIENCE).await?;
        let now = Timestamp::now();
        let name = |at: i64| format!("{at:013}");
        let import = format!("{}-{}", name(millis(now)), self.ids().token(16));
        let long_ago = name(millis(now).saturating_sub(BROKEN_OFF_AFTER_MS));
        let replaced = tables::replace(&mut conn, &import, tables, now, progress).await;
        let gone = match &replaced {
            Ok(before) => before.clone(),
            Err(_) => {
                // The connection may be in the midst of a transaction: what was staged is swept away on another.
                conn = match self.inner.place.connect(IMPORT_PATIENCE).await {
                    Ok(another) => another,
                    Err(_) => return replaced.map(drop),
                };
                vec![import; tables.len()]
            }
        };
        for (table, gone) in tables.iter().zip(&gone) {
            if let Err(fault) = tables::sweep(&mut conn, table, gone, &long_ago).await {
                tracing::warn!(
                    cause = format!("{fault:#}"),
                    "rows that nobody reads stay until an import of another day"
                );
                break;
            }
        }
        // The rows are in, or out: how the connection ends changes nothing.
        let _ = conn.close().await;
        replaced.map(drop)
    }

    /// How many rows a table has; `None` when it was never imported.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn table(&self, operator: &str, name: &str) -> anyhow::Result<Option<TableState>> {
        tables::state(&self.inner.readers, operator, name).await
    }

    /// The row with this key (see [`row_key`]).
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn table_row(&self, operator: &str, name: &str, key: &str) -> anyhow::Result<Option<Values>> {
        tables::by_key(&self.inner.readers, operator, name, key).await
    }

    /// All rows of a table in the order of its file; with `(column, value)` those whose text cell is exactly that.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn table_rows(
        &self,
        operator: &str,
        name: &str,
        only: Option<(&str, &str)>,
    ) -> anyhow::Result<Vec<Values>> {
        match only {
            Some((column, value)) => tables::by_column(&self.inner.readers, operator, name, column, value).await,
            None => tables::all(&self.inner.readers, operator, name).await,
        }
    }

    /// Waits until everything asked so far is kept, and closes the database.
    pub async fn close(self) {
        let (closed, waiting) = oneshot::channel();
        if self.inner.jobs.send(Job::Close(closed)).await.is_ok() {
            // The writer answers when it is done; a writer that is gone has nothing left to do.
            let _ = waiting.await;
        }
        for kept in [&self.inner.tries, &self.inner.registrations] {
            if let Some(conn) = kept.lock().await.take() {
                let _ = conn.close().await;
            }
        }
        self.inner.readers.close().await;
    }

    /// Hands a write to the writer and waits until it is durable. A full queue makes callers wait their turn.
    async fn write(&self, at: Timestamp, write: Write) -> anyhow::Result<Outcome> {
        let id = self.ids().token(writer::ENTRY_ID_LENGTH);
        let (reply, answer) = oneshot::channel();
        let entry = Entry { id, at, write };
        self.inner
            .jobs
            .send(Job::Write(Box::new(entry), reply))
            .await
            .map_err(|_| anyhow::anyhow!("the store is closed"))?;
        Ok(answer.await.context("the store was closed before it answered")??)
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, Ids> {
        self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the folder of a SQLite file; numbers and folios of callers are nobody else's to read.
fn make_folder(place: &Place) -> anyhow::Result<()> {
    let Place::Sqlite(path) = place else { return Ok(()) };
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display())),
        None => Ok(()),
    }
}

/// Milliseconds since 1970, the form of every moment in the database.
fn millis(moment: Timestamp) -> i64 {
    moment.as_millisecond()
}

fn moment(millis: i64) -> anyhow::Result<Timestamp> {
    Timestamp::from_millisecond(millis).context("a stored moment is outside the calendar")
}

fn to_millisecond(moment: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(moment.as_millisecond()).unwrap_or(moment)
}

/// A record as the database keeps it: what is known of it now is what is read later.
fn in_milliseconds(record: CallRecord) -> CallRecord {
    CallRecord {
        began: to_millisecond(record.began),
        answered: record.answered.map(to_millisecond),
        ended: to_millisecond(record.ended),
        ..record
    }
}

/// Folios must not be guessable: their seed comes from the operating system.
fn os_ids() -> anyhow::Result<Ids> {
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).context("the operating system gives no randomness")?;
    Ok(Ids::from_entropy(seed))
}

fn crossed(outcome: &Outcome) -> anyhow::Error {
    tracing::error!(cause = ?outcome, "the store's writer answered another question");
    anyhow::anyhow!("the store's writer answered another question")
}

/// What an engine that starts without its database says.
const AWAY_AT_THE_START: &str = "the database is away: calls are answered all the same, cases and records wait in the spool, and what tables and \
                                 earlier cases know cannot be told until it is back";
/// How long a start waits for the database's first word.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// So many writes may wait for the writer; whoever comes next waits to get in.
const QUEUE_MAX: usize = 4_096;
/// An import waits for the engine's commits, and its user is watching.
const IMPORT_PATIENCE: Duration = Duration::from_secs(10);
/// An import that began longer ago and is not read was broken off: nobody waits for one for a day.
const BROKEN_OFF_AFTER_MS: i64 = 24 * 3_600 * 1_000;
