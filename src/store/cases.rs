//! Cases and what happened to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;

use crate::case::{self, Case, Folio, State};
use crate::ids::{CallKey, Ids};
use crate::store::entry::{values_from_json, values_to_json};
use crate::store::sql::{Conn, Failure, Readers, Row, args};
use crate::store::{events, millis, moment};
use crate::value::{Value, Values};

/// What became of an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The case with its folio.
    pub case: Case,
    /// False when the same idempotency key had opened it before.
    pub new: bool,
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Done; the case as it stands now.
    Done(Box<Case>),
    /// This operator has no such case.
    NotFound,
    /// The case's state may not become what was asked ([`State::may_become`]). Nothing was changed.
    Illegal {
        /// The state it stays in.
        from: State,
        /// The state that was asked for.
        to: State,
    },
}

/// One line of a case's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseEvent {
    /// When.
    pub at: Timestamp,
    /// `opened`, `updated`, `consulted`.
    pub kind: String,
    /// The call in which it happened.
    pub call: CallKey,
    /// What changed, as `campo=valor` pairs; empty for a consultation.
    pub detail: String,
}

/// Which cases to list. Everything that is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct CaseFilter {
    /// Operator id.
    pub operator: Option<String>,
    /// Where they stand.
    pub state: Option<State>,
    /// Received at or after this moment.
    pub since: Option<Timestamp>,
    /// At most so many, the newest first.
    pub limit: u32,
}

/// Inserts a case, drawing other folios while the candidate is taken. `kept` says that the folio was already given away
/// (a spooled entry that is being replayed).
pub(crate) async fn open(
    conn: &mut Conn,
    open: &case::Open,
    folio: &mut Folio,
    kept: bool,
    ids: &mut Ids,
) -> Result<Opened, Failure> {
    let mut open = open.clone();
    let spoken = folio.clone();
    for _ in 0..DRAWS_MAX {
        if insert(conn, &open, folio).await? {
            let case = Case { folio: folio.clone(), state: State::Open, next_step: String::new(), open };
            let detail = format!("{} {}", case.open.kind, case.open.subkind);
            let once = format!("opened:{folio}");
            note(conn, folio, case.open.received, "opened", &case.open.call, detail.trim(), &once).await?;
            events::append(conn, case.open.received, "case_opened", &case.open.operator, folio.as_str()).await?;
            return Ok(Opened { case, new: true });
        }
        if let Some(case) = find_by_key(conn, &open.operator, &open.idempotency).await? {
            let dictated =
                matches!(case.open.fields.get(SPOKEN_FIELD), Some(Value::Text(other)) if *other == spoken.as_str());
            if case.folio == *folio || dictated || !kept {
                return Ok(Opened { case, new: false });
            }
            // Another folio was spoken for this key while the database was away: both must lead to a case.
            open.idempotency = format!("{}#{folio}", open.idempotency);
            continue;
        }
        *folio = Folio::draw(open.prefix, ids);
        if kept {
            // Another machine gave this folio to somebody else while neither could see the database.
            tracing::error!(case = %spoken, "a spoken folio was taken; the case is kept under another");
            open.fields.insert(SPOKEN_FIELD.into(), Value::Text(spoken.to_string()));
        }
    }
    Err(Failure::Refused(format!("no free folio with the prefix {} in {DRAWS_MAX} draws", open.prefix)))
}

/// False when the folio or the idempotency key exists.
async fn insert(conn: &mut Conn, open: &case::Open, folio: &Folio) -> Result<bool, Failure> {
    let changed = conn
        .execute(
            "INSERT INTO cases (folio, operator, kind, subkind, fields, channel, call_key, received, due, state, \
             next_step, idempotency) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11) ON CONFLICT DO NOTHING",
            args![
                folio.as_str(),
                open.operator.as_str(),
                open.kind.as_str(),
                open.subkind.as_str(),
                values_to_json(&open.fields).to_string(),
                open.channel.as_str(),
                &*open.call.0,
                millis(open.received),
                open.due.map(millis),
                State::Open.as_str(),
                open.idempotency.as_str(),
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Applies an update. `once` is the entry's id.
pub(crate) async fn update(conn: &mut Conn, update: &case::Update, once: &str) -> Result<Change, Failure> {
    let rows = conn.fetch(BY_FOLIO, args![update.folio.as_str()]).await?;
    let Some(mut case) = rows.first().map(read).transpose()?.filter(|case| case.open.operator == update.operator)
    else {
        return Ok(Change::NotFound);
    };
    let once = format!("updated:{once}");
    // A repetition must not be judged by the state that later updates left.
    if !conn.fetch("SELECT id FROM case_events WHERE once = $1", args![once.as_str()]).await?.is_empty() {
        return Ok(Change::Done(Box::new(case)));
    }
    if let Some(refused) = apply(&mut case, update) {
        return Ok(refused);
    }
    let detail = describe(update);
    if note(conn, &update.folio, update.at, "updated", &update.call, &detail, &once).await? {
        conn.execute(
            "UPDATE cases SET state = $2, fields = $3 WHERE folio = $1",
            args![update.folio.as_str(), case.state.as_str(), values_to_json(&case.open.fields).to_string()],
        )
        .await?;
        events::append(conn, update.at, "case_updated", &update.operator, update.folio.as_str()).await?;
    }
    Ok(Change::Done(Box::new(case)))
}

/// Changes the case in memory; `Some` when its state forbids it, and then nothing was changed.
pub(crate) fn apply(case: &mut Case, update: &case::Update) -> Option<Change> {
    if let Some(to) = update.state {
        if !case.state.may_become(to) {
            return Some(Change::Illegal { from: case.state, to });
        }
        case.state = to;
    }
    case.open.fields.extend(update.fields.clone());
    None
}

/// Adds a line to a case's history; false when it was there.
pub(crate) async fn note(
    conn: &mut Conn,
    folio: &Folio,
    at: Timestamp,
    kind: &'static str,
    call: &CallKey,
    detail: &str,
    once: &str,
) -> Result<bool, Failure> {
    let changed = conn
        .execute(
            "INSERT INTO case_events (folio, at, kind, call_key, detail, once) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT DO NOTHING",
            args![folio.as_str(), millis(at), kind, &*call.0, detail, once],
        )
        .await?;
    Ok(changed == 1)
}

/// Notes that a call asked for this case, unless the case was opened in that very call.
pub(crate) async fn consulted(conn: &mut Conn, folio: &Folio, at: Timestamp, call: &CallKey) -> Result<(), Failure> {
    conn.execute(
        "INSERT INTO case_events (folio, at, kind, call_key, detail, once) \
         SELECT folio, $2, 'consulted', $3, '', $4 FROM cases WHERE folio = $1 AND call_key <> $3 ON CONFLICT DO NOTHING",
        args![folio.as_str(), millis(at), &*call.0, format!("consulted:{folio}:{call}")],
    )
    .await?;
    Ok(())
}

async fn find_by_key(conn: &mut Conn, operator: &str, idempotency: &str) -> Result<Option<Case>, Failure> {
    let rows = conn.fetch(BY_KEY, args![operator, idempotency]).await?;
    Ok(rows.first().map(read).transpose()?)
}

/// The case that this key opened, by reading only.
pub(crate) async fn keyed(readers: &Readers, operator: &str, idempotency: &str) -> anyhow::Result<Option<Case>> {
    let rows = readers.fetch(BY_KEY, args![operator, idempotency]).await.context("cannot read cases")?;
    rows.first().map(read).transpose()
}

pub(crate) async fn find(readers: &Readers, folio: &Folio) -> anyhow::Result<Option<Case>> {
    let rows = readers.fetch(BY_FOLIO, args![folio.as_str()]).await.context("cannot read cases")?;
    rows.first().map(read).transpose()
}

pub(crate) async fn list(readers: &Readers, filter: &CaseFilter) -> anyhow::Result<Vec<Case>> {
    let rows = readers
        .fetch(
            LIST,
            args![
                filter.operator.as_deref(),
                filter.state.map(State::as_str),
                filter.since.map(millis),
                i64::from(filter.limit)
            ],
        )
        .await
        .context("cannot read cases")?;
    rows.iter().map(read).collect()
}

pub(crate) async fn history(readers: &Readers, folio: &Folio) -> anyhow::Result<Vec<CaseEvent>> {
    let rows = readers
        .fetch("SELECT at, kind, call_key, detail FROM case_events WHERE folio = $1 ORDER BY id", args![folio.as_str()])
        .await
        .context("cannot read a case's history")?;
    rows.iter()
        .map(|row| {
            Ok(CaseEvent {
                at: moment(row.int(0)?)?,
                kind: row.text(1)?.to_owned(),
                call: CallKey(Arc::from(row.text(2)?)),
                detail: row.text(3)?.to_owned(),
            })
        })
        .collect()
}

/// The number of every folio there is.
pub(crate) async fn folios(conn: &mut Conn) -> anyhow::Result<BTreeSet<u64>> {
    let rows = conn.fetch("SELECT folio FROM cases", Vec::new()).await?;
    rows.iter().map(|row| Ok(Folio::parse(row.text(0)?)?.number())).collect()
}

fn read(row: &Row) -> anyhow::Result<Case> {
    let folio = Folio::parse(row.text(0)?).context("a stored folio")?;
    Ok(Case {
        open: case::Open {
            operator: row.text(1)?.to_owned(),
            prefix: folio.prefix(),
            kind: row.text(2)?.to_owned(),
            subkind: row.text(3)?.to_owned(),
            fields: fields(row.text(4)?).with_context(|| format!("the fields of case {folio}"))?,
            channel: row.text(5)?.to_owned(),
            call: CallKey(Arc::from(row.text(6)?)),
            received: moment(row.int(7)?)?,
            due: row.maybe_int(8)?.map(moment).transpose()?,
            idempotency: row.text(11)?.to_owned(),
        },
        state: row.text(9)?.parse()?,
        next_step: row.text(10)?.to_owned(),
        folio,
    })
}

fn fields(json: &str) -> anyhow::Result<Values> {
    values_from_json(&serde_json::from_str(json)?)
}

fn describe(update: &case::Update) -> String {
    let state = update.state.map(|state| format!("estado={state}"));
    let fields = update.fields.iter().map(|(name, value)| format!("{name}={value}"));
    state.into_iter().chain(fields).collect::<Vec<_>>().join(" ")
}

const BY_FOLIO: &str = "SELECT folio, operator, kind, subkind, fields, channel, call_key, received, due, state, next_step, \
     idempotency FROM cases WHERE folio = $1";
const BY_KEY: &str = "SELECT folio, operator, kind, subkind, fields, channel, call_key, received, due, state, next_step, \
     idempotency FROM cases WHERE operator = $1 AND idempotency = $2";
const LIST: &str = "SELECT folio, operator, kind, subkind, fields, channel, call_key, received, due, state, next_step, \
     idempotency FROM cases WHERE ($1 IS NULL OR operator = $1) AND ($2 IS NULL OR state = $2) \
     AND ($3 IS NULL OR received >= $3) ORDER BY received DESC, folio LIMIT $4";
/// Field of a case whose folio had to change: what its caller was told.
const SPOKEN_FIELD: &str = "folio_dictado";
/// With a million cases of the 10⁸, 32 taken draws in a row are a fault of the generator, not bad luck.
const DRAWS_MAX: u32 = 32;
