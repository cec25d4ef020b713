//! The one writer: gathers what has queued into a transaction, commits once, answers all; spools what cannot be written.
//!
//! ```text
//!   who waits for it ──► bounded channel ──► batch ──► BEGIN · savepoint each · COMMIT ──► answers
//!   call records ──────► bounded channel ──────┤ │ the database is away
//!                        20 ms at most         ┘ └─────► spool, one fsync ──► answers        replay ──► the spool is emptied
//! ```
//!
//! A write whose caller waits is begun at once. A call's record, for which nobody waits, is written beside the next of those, or after
//! [`GATHER`] together with the records that came meanwhile: a commit costs the same for one of them as for fifty.
//!
//! While anything is in the spool, new writes join it behind the old ones: the database sees all of them in order. It has a
//! thread and a small runtime of its own, so that an `fsync` keeps nobody else waiting. A database that was away at the start
//! is asked for every second: its tables are brought up to date and its folios learnt before anything is written.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use crate::call::CallRecord;
use crate::case::{Case, Folio, State};
use crate::ids::{CallKey, Ids};
use crate::store::cases::{self, Change, Opened};
use crate::store::entry::{Entry, Write};
use crate::store::orders::{self, Ordered};
use crate::store::pending::Pending;
use crate::store::spool::Spool;
use crate::store::sql::{Conn, Failure, Place, Readers};
use crate::store::{calls, outbox};

/// What a write came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Opened(Box<Opened>),
    Changed(Change),
    Ordered(Ordered),
    Done,
}

type Reply = oneshot::Sender<Result<Outcome, Failure>>;

/// What the writer is told.
pub(crate) enum Job {
    Write(Box<Entry>, Reply),
    /// Finish what came before, then stop.
    Close(oneshot::Sender<()>),
}

/// The writer's own things; it ends when every sender of its channel is gone.
pub(crate) struct Writer {
    pub(crate) place: Place,
    pub(crate) conn: Option<Conn>,
    /// For looking things up while nothing can be written; opened when that happens.
    pub(crate) readers: Option<Readers>,
    /// `None`: a command beside the engine; it has no promise to keep.
    pub(crate) spool: Option<Spool>,
    /// What is in the spool, in order.
    pub(crate) backlog: Vec<Entry>,
    pub(crate) pending: Arc<Mutex<Pending>>,
    /// Told `true` once the database has been there.
    pub(crate) seen: watch::Sender<bool>,
    /// The number of every folio this process knows of: one that is drawn while the database is away must not be anybody's.
    pub(crate) taken: BTreeSet<u64>,
    pub(crate) ids: Ids,
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// Call records that nobody waits for.
    pub(crate) records: mpsc::Receiver<Box<CallRecord>>,
    pub(crate) retry_at: Instant,
}

/// What is committed together: entries, and who is told of each.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    told: Vec<Told>,
}

enum Told {
    /// Who waits for it.
    Caller(Reply),
    /// Only of a failure: this call's record is lost.
    Log(CallKey),
}

impl Writer {
    /// Serves until it is told to close, or nobody is left to ask.
    pub(crate) async fn run(mut self) {
        self.replay().await;
        loop {
            let waits_for_it = !self.backlog.is_empty() || !*self.seen.borrow();
            let mut batch = Batch::default();
            let first = tokio::select! {
                biased;
                job = self.jobs.recv() => match job {
                    Some(job) => Some(job),
                    None => break,
                },
                Some(record) = self.records.recv() => {
                    batch.add_record(record, &mut self.ids);
                    let company = timeout(GATHER, self.jobs.recv()).await;
                    company.ok().flatten()
                }
                () = tokio::time::sleep_until(self.retry_at), if waits_for_it => {
                    self.replay().await;
                    continue;
                }
            };
            let close = self.gather(first, &mut batch);
            if !self.backlog.is_empty() && Instant::now() >= self.retry_at {
                self.replay().await;
            }
            self.serve(batch).await;
            if let Some(closed) = close {
                self.end().await;
                // The spool's lock and the channel are gone before anybody hears that they are.
                drop(self);
                let _ = closed.send(());
                return;
            }
        }
        self.end().await;
    }

    /// Writes the records that are left, and says good-bye to the database.
    async fn end(&mut self) {
        loop {
            let mut batch = Batch::default();
            self.gather(None, &mut batch);
            if batch.entries.is_empty() {
                break;
            }
            self.serve(batch).await;
        }
        self.replay().await;
        if let Some(conn) = self.conn.take()
            && let Err(fault) = conn.close().await
        {
            warn!(cause = %fault, "the database did not close cleanly");
        }
    }

    /// Adds everything that waits by now, up to a batch; those that somebody waits for come first.
    fn gather(&mut self, first: Option<Job>, batch: &mut Batch) -> Option<oneshot::Sender<()>> {
        let mut close = None;
        let mut next = first;
        let mut awaited = Batch::default();
        while let Some(job) = next {
            match job {
                Job::Write(entry, reply) => awaited.add(*entry, Told::Caller(reply)),
                Job::Close(closed) => {
                    close = Some(closed);
                    break;
                }
            }
            next = if awaited.entries.len() < BATCH_MAX { self.jobs.try_recv().ok() } else { None };
        }
        while batch.entries.len() < BATCH_MAX
            && let Ok(record) = self.records.try_recv()
        {
            batch.add_record(record, &mut self.ids);
        }
        awaited.entries.append(&mut batch.entries);
        awaited.told.append(&mut batch.told);
        *batch = awaited;
        close
    }

    async fn serve(&mut self, batch: Batch) {
        let Batch { mut entries, told } = batch;
        if entries.is_empty() {
            return;
        }
        let mut sent = false;
        let committed = if self.backlog.is_empty() {
            let committed = self.commit(&mut entries, false, &mut sent).await;
            if let Err(failure) = &committed {
                warn!(cause = %failure, "writes go to the spool");
                self.retry_at = Instant::now() + RETRY_EVERY;
            }
            committed
        } else {
            Err(Failure::Unavailable("earlier writes wait for it".into()))
        };
        let outcomes = match committed {
            Ok(outcomes) => outcomes,
            Err(failure) => {
                let seen = self.look_up(&entries).await;
                self.put_aside(entries, seen, sent, &failure)
            }
        };
        self.learn(&outcomes);
        for (told, outcome) in told.into_iter().zip(outcomes) {
            match (told, outcome) {
                // Whoever asked may have stopped waiting; the write stands.
                (Told::Caller(reply), outcome) => drop(reply.send(outcome)),
                // There is a spool for a database that is away: this is the disk itself.
                (Told::Log(call), Err(failure)) => {
                    error!(%call, cause = %failure, "the call record could not be stored")
                }
                (Told::Log(_), Ok(_)) => {}
            }
        }
    }

    /// Commits entries in one transaction, each in a savepoint. `Err`: none of them is in, as far as we know; `sent` says
    /// whether the database was told of them. After a commit in doubt the same entries, with the same folios and ids, may be
    /// written again without harm.
    async fn commit(
        &mut self,
        entries: &mut [Entry],
        kept: bool,
        sent: &mut bool,
    ) -> Result<Vec<Result<Outcome, Failure>>, Failure> {
        // A server that was restarted since the last batch is found out by a dead connection: ask once more on a new one.
        if let Some(Conn::Postgres(conn)) = &mut self.conn
            && !timeout(CONNECT_PATIENCE, sqlx::Connection::ping(conn)).await.is_ok_and(|alive| alive.is_ok())
        {
            self.conn = None;
        }
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        *sent = true;
        match timeout(COMMIT_PATIENCE, transact(&mut conn, entries, kept, &mut self.ids, &self.taken)).await {
            Ok(Ok(outcomes)) => {
                self.conn = Some(conn);
                Ok(outcomes)
            }
            // The connection is dropped with whatever it was doing.
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Unavailable(format!("no answer in {} s", COMMIT_PATIENCE.as_secs()))),
        }
    }

    async fn connect(&mut self) -> Result<Conn, Failure> {
        let away = |fault: anyhow::Error| Failure::Unavailable(format!("{fault:#}"));
        let mut conn = match timeout(CONNECT_PATIENCE, self.place.connect(LOCK_PATIENCE)).await {
            Ok(connected) => connected.map_err(away)?,
            Err(_) => {
                return Err(Failure::Unavailable(format!("no connection in {} s", CONNECT_PATIENCE.as_secs())));
            }
        };
        if !*self.seen.borrow() {
            conn.migrate().await.map_err(away)?;
            self.taken.extend(cases::folios(&mut conn).await.map_err(away)?);
            self.seen.send_replace(true);
            info!("the database is there");
        }
        Ok(conn)
    }

    /// Looks whether a database that was away at the start is there by now.
    async fn look_out(&mut self) {
        match self.connect().await {
            Ok(conn) => self.conn = Some(conn),
            Err(failure) => {
                debug!(cause = %failure, "the database is still away");
                self.retry_at = Instant::now() + RETRY_EVERY;
            }
        }
    }

    /// What the database knows of the things these entries are about: one that cannot be written can often be read. The first
    /// failure ends the asking; callers wait.
    async fn look_up(&mut self, entries: &[Entry]) -> Vec<Seen> {
        let mut seen: Vec<Seen> = Vec::new();
        seen.resize_with(entries.len(), Seen::default);
        if self.spool.is_none() {
            return seen;
        }
        let readers = self.readers.get_or_insert_with(|| self.place.readers());
        for (entry, seen) in entries.iter().zip(&mut seen) {
            match timeout(LOOK_UP_PATIENCE, see(readers, entry)).await {
                Ok(Ok(found)) => *seen = found,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        seen
    }

    /// Keeps entries in the spool and answers as the database will when it is back.
    fn put_aside(
        &mut self,
        entries: Vec<Entry>,
        seen: Vec<Seen>,
        sent: bool,
        failure: &Failure,
    ) -> Vec<Result<Outcome, Failure>> {
        let unavailable = || Err(Failure::Unavailable(failure.to_string()));
        let Some(spool) = self.spool.as_mut() else {
            return entries.iter().map(|_| unavailable()).collect();
        };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept: Vec<Entry> = Vec::new();
        let mut outcomes = Vec::new();
        // Entries of one batch may depend on each other, so each is noted before the next is judged. Should the disk
        // refuse, their callers hear of an error and ask again under the same keys.
        let room = BACKLOG_MAX.saturating_sub(self.backlog.len());
        for (mut entry, seen) in entries.into_iter().zip(seen) {
            if let Some(case) = seen.case
                && pending.case(&case.folio).is_none()
            {
                pending.remember(case);
            }
            let outcome = if kept.len() >= room {
                Err(Failure::Unavailable(format!("{BACKLOG_MAX} writes wait for it already")))
            } else {
                judge(&mut entry, &pending, seen.order.as_ref(), sent, &mut self.taken, &mut self.ids)
            };
            if let Ok((_, true)) = &outcome {
                pending.spooled(&entry);
                kept.push(entry);
            }
            outcomes.push(outcome.map(|(outcome, _)| outcome));
        }
        if kept.is_empty() {
            return outcomes;
        }
        // The disk may take its time: look-ups of other calls do not wait for it.
        drop(pending);
        if let Err(fault) = spool.append(&kept) {
            error!(cause = format!("{fault:#}"), "neither the database nor the spool can be written");
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).unspool(&kept, &self.backlog);
            return outcomes.into_iter().map(|outcome| outcome.and_then(|_| unavailable())).collect();
        }
        self.backlog.append(&mut kept);
        outcomes
    }

    /// Brings the spool into the database, in order, and empties it.
    async fn replay(&mut self) {
        if self.backlog.is_empty() {
            if !*self.seen.borrow() {
                self.look_out().await;
            }
            return;
        }
        let mut backlog = std::mem::take(&mut self.backlog);
        let mut refused = Vec::new();
        let mut learned = Vec::new();
        for start in (0..backlog.len()).step_by(BATCH_MAX) {
            let end = backlog.len().min(start + BATCH_MAX);
            let Some(chunk) = backlog.get_mut(start..end) else { break };
            match self.commit(chunk, true, &mut false).await {
                Ok(outcomes) => {
                    for (entry, outcome) in chunk.iter().zip(&outcomes) {
                        if let Some(why) = refusal(outcome) {
                            refused.push((entry.clone(), why));
                        }
                    }
                    learned.extend(outcomes);
                }
                Err(failure) => {
                    warn!(cause = %failure, "{} writes wait in the spool", backlog.len());
                    self.backlog = backlog;
                    self.retry_at = Instant::now() + RETRY_EVERY;
                    return;
                }
            }
        }
        if let Err(fault) = self.empty_spool(&refused) {
            // All of it is in the database; being replayed once more does no harm.
            error!(cause = format!("{fault:#}"), "the spool cannot be emptied");
            self.backlog = backlog;
            self.retry_at = Instant::now() + RETRY_EVERY;
            return;
        }
        info!("the spool is in the database: {} writes", backlog.len());
        self.learn(&learned);
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).replayed();
    }

    fn empty_spool(&mut self, refused: &[(Entry, String)]) -> anyhow::Result<()> {
        let Some(spool) = self.spool.as_mut() else { return Ok(()) };
        for (entry, why) in refused {
            spool.reject(entry, why)?;
        }
        spool.clear()
    }

    /// Remembers cases as they stand, and their folios.
    fn learn(&mut self, outcomes: &[Result<Outcome, Failure>]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let cases = outcomes.iter().filter_map(|outcome| match outcome {
            Ok(Outcome::Opened(opened)) => Some(&opened.case),
            Ok(Outcome::Changed(Change::Done(case))) => Some(&**case),
            Ok(Outcome::Changed(Change::NotFound | Change::Illegal { .. }) | Outcome::Ordered(_) | Outcome::Done)
            | Err(_) => None,
        });
        for case in cases {
            self.taken.insert(case.folio.number());
            if self.backlog.is_empty() {
                pending.remember(case.clone());
            }
        }
    }
}

impl Batch {
    fn add(&mut self, entry: Entry, told: Told) {
        self.entries.push(entry);
        self.told.push(told);
    }

    fn add_record(&mut self, record: Box<CallRecord>, ids: &mut Ids) {
        let (id, at, call) = (ids.token(ENTRY_ID_LENGTH), record.ended, record.key.clone());
        self.add(Entry { id, at, write: Write::SaveCall(record) }, Told::Log(call));
    }
}

/// One transaction.
async fn transact(
    conn: &mut Conn,
    entries: &mut [Entry],
    kept: bool,
    ids: &mut Ids,
    taken: &BTreeSet<u64>,
) -> Result<Vec<Result<Outcome, Failure>>, Failure> {
    conn.begin().await?;
    let mut outcomes = Vec::with_capacity(entries.len());
    let is_record = |entry: &Entry| matches!(entry.write, Write::SaveCall(_));
    for run in entries.chunk_by_mut(|one, next| is_record(one) && is_record(next)) {
        if save_together(conn, run).await? {
            outcomes.extend(run.iter().map(|_| Ok(Outcome::Done)));
            continue;
        }
        for entry in run {
            conn.execute("SAVEPOINT entry", Vec::new()).await?;
            let outcome = write(conn, entry, kept, ids, taken).await;
            match &outcome {
                Ok(_) => conn.execute("RELEASE SAVEPOINT entry", Vec::new()).await?,
                Err(Failure::Refused(_)) => conn.execute("ROLLBACK TO SAVEPOINT entry", Vec::new()).await?,
                Err(Failure::Unavailable(why)) => return Err(Failure::Unavailable(why.clone())),
            };
            outcomes.push(outcome);
        }
    }
    conn.commit().await?;
    Ok(outcomes)
}

/// Stores several call records with few statements. `false`: it leaves no trace, for one of them has to be looked at alone.
async fn save_together(conn: &mut Conn, entries: &[Entry]) -> Result<bool, Failure> {
    let records = entries.iter().map(|entry| match &entry.write {
        Write::SaveCall(record) => Some(&**record),
        Write::OpenCase { .. } | Write::UpdateCase(_) | Write::Enqueue(_) | Write::Order(_) => None,
    });
    let Some(records) = records.collect::<Option<Vec<&CallRecord>>>().filter(|records| records.len() > 1) else {
        return Ok(false);
    };
    conn.execute("SAVEPOINT entries", Vec::new()).await?;
    let saved = match calls::save_all(conn, &records).await {
        Ok(all_new) => all_new,
        Err(Failure::Refused(_)) => false,
        Err(failure @ Failure::Unavailable(_)) => return Err(failure),
    };
    if !saved {
        conn.execute("ROLLBACK TO SAVEPOINT entries", Vec::new()).await?;
    }
    conn.execute("RELEASE SAVEPOINT entries", Vec::new()).await?;
    Ok(saved)
}

async fn write(
    conn: &mut Conn,
    entry: &mut Entry,
    kept: bool,
    ids: &mut Ids,
    taken: &BTreeSet<u64>,
) -> Result<Outcome, Failure> {
    match &mut entry.write {
        Write::OpenCase { open, folio } => {
            while !kept && taken.contains(&folio.number()) {
                *folio = Folio::draw(open.prefix, ids);
            }
            cases::open(conn, open, folio, kept, ids).await.map(|opened| Outcome::Opened(Box::new(opened)))
        }
        Write::UpdateCase(update) => cases::update(conn, update, &entry.id).await.map(Outcome::Changed),
        Write::SaveCall(record) => calls::save(conn, record).await.map(|()| Outcome::Done),
        Write::Enqueue(message) => outbox::enqueue(conn, message, entry.at).await.map(|()| Outcome::Done),
        Write::Order(order) => orders::place(conn, order, entry.at).await.map(Outcome::Ordered),
    }
}

/// What the database knows of the thing that an entry is about.
#[derive(Default)]
struct Seen {
    case: Option<Case>,
    order: Option<Folio>,
}

async fn see(readers: &Readers, entry: &Entry) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    match &entry.write {
        Write::OpenCase { open, .. } => seen.case = cases::keyed(readers, &open.operator, &open.idempotency).await?,
        Write::UpdateCase(update) => seen.case = cases::find(readers, &update.folio).await?,
        Write::Order(order) => {
            seen.order = orders::in_force(readers, &order.operator, order.kind, order.subject()).await?;
        }
        Write::SaveCall(_) | Write::Enqueue(_) => {}
    }
    Ok(seen)
}

/// What an entry comes to without the database, and whether it must be spooled for that to become true. `sent`: the database
/// may have it already, under its folio.
fn judge(
    entry: &mut Entry,
    pending: &Pending,
    in_force: Option<&Folio>,
    sent: bool,
    taken: &mut BTreeSet<u64>,
    ids: &mut Ids,
) -> Result<(Outcome, bool), Failure> {
    match &mut entry.write {
        Write::OpenCase { open, folio } => {
            if let Some(case) = pending.case_by_key(&open.operator, &open.idempotency) {
                return Ok((Outcome::Opened(Box::new(Opened { case: case.clone(), new: false })), false));
            }
            // Other machines, and this one before it was started, gave folios that cannot be looked up now.
            while (!sent && !folio.is_apart()) || !taken.insert(folio.number()) {
                *folio = Folio::draw_apart(open.prefix, ids);
            }
            let case = Case { folio: folio.clone(), open: open.clone(), state: State::Open, next_step: String::new() };
            Ok((Outcome::Opened(Box::new(Opened { case, new: true })), true))
        }
        Write::UpdateCase(update) => {
            let known = pending.case(&update.folio).filter(|case| case.open.operator == update.operator);
            let Some(mut case) = known.cloned() else {
                return Err(Failure::Unavailable("and this case is not known without it".into()));
            };
            Ok(match cases::apply(&mut case, update) {
                Some(refused) => (Outcome::Changed(refused), false),
                None => (Outcome::Changed(Change::Done(Box::new(case))), true),
            })
        }
        Write::Order(order) => Ok(match in_force.or(pending.order(&order.operator, order.kind, order.subject())) {
            Some(folio) if *folio == order.folio => (Outcome::Ordered(Ordered::Accepted), false),
            Some(folio) => (Outcome::Ordered(Ordered::Already(folio.clone())), false),
            None => (Outcome::Ordered(Ordered::Accepted), true),
        }),
        Write::SaveCall(_) | Write::Enqueue(_) => Ok((Outcome::Done, true)),
    }
}

/// Why a replayed entry has to be looked at by people.
fn refusal(outcome: &Result<Outcome, Failure>) -> Option<String> {
    match outcome {
        Ok(Outcome::Changed(Change::NotFound)) => Some("there is no such case".into()),
        Ok(Outcome::Changed(Change::Illegal { from, to })) => Some(format!("a case cannot go from {from} to {to}")),
        Ok(Outcome::Ordered(Ordered::Already(folio))) => Some(format!("the order of {folio} was in force already")),
        Ok(
            Outcome::Opened(_)
            | Outcome::Changed(Change::Done(_))
            | Outcome::Ordered(Ordered::Accepted)
            | Outcome::Done,
        ) => None,
        Err(failure) => Some(failure.to_string()),
    }
}

/// So many callers are answered by one commit, and so many records written beside them.
const BATCH_MAX: usize = 256;
/// Characters of an entry's id.
pub(crate) const ENTRY_ID_LENGTH: usize = 16;
/// How long a call's record waits for others.
const GATHER: Duration = Duration::from_millis(20);
/// So many writes may wait for the database before new ones are refused.
const BACKLOG_MAX: usize = 200_000;
/// How long a write waits for another process's lock before it goes to the spool; a caller waits for the folio meanwhile.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_millis(750);
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_UP_PATIENCE: Duration = Duration::from_millis(300);
const COMMIT_PATIENCE: Duration = Duration::from_secs(3);
/// How often the spool asks whether the database is back.
const RETRY_EVERY: Duration = Duration::from_secs(1);
