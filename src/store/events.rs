//! The numbered log of everything that happened: a listener that was away resumes from the last number it saw.

use std::sync::LazyLock;

use anyhow::Context;
use jiff::Timestamp;

use crate::store::sql::{Conn, Failure, Lines, Readers, args};
use crate::store::{millis, moment};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its number: ever growing, in the order of the commits, maybe with gaps.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// `case_opened`, `case_updated`, `call_ended`, `message_queued`, `device_block_ordered`, `line_suspension_ordered`,
    /// `verification_locked`, `phone_registered`, `phone_gone`.
    pub kind: String,
    /// Operator id; empty when no number matched.
    pub operator: String,
    /// The folio, call key, message number or agent it is about.
    pub subject: String,
}

pub(crate) async fn append(
    conn: &mut Conn,
    at: Timestamp,
    kind: &'static str,
    operator: &str,
    subject: &str,
) -> Result<(), Failure> {
    append_all(conn, &[(at, kind, operator, subject)]).await
}

/// Several lines at once, in this order: when, what kind, operator, subject.
pub(crate) async fn append_all(
    conn: &mut Conn,
    lines: &[(Timestamp, &'static str, &str, &str)],
) -> Result<(), Failure> {
    for (insert, portion) in INSERT.portions(conn, lines) {
        let columns = |(at, kind, operator, subject): &(Timestamp, &str, &str, &str)| {
            args![millis(*at), *kind, *operator, *subject]
        };
        conn.execute(insert, portion.iter().flat_map(columns).collect()).await?;
    }
    Ok(())
}

static INSERT: LazyLock<Lines> =
    LazyLock::new(|| Lines::new("INSERT INTO events (at, kind, operator, subject) VALUES", 4, ""));

pub(crate) async fn after(readers: &Readers, seq: i64, limit: u32) -> anyhow::Result<Vec<LoggedEvent>> {
    let rows = readers
        .fetch(
            "SELECT seq, at, kind, operator, subject FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
            args![seq, i64::from(limit)],
        )
        .await
        .context("cannot read the event log")?;
    rows.iter()
        .map(|row| {
            Ok(LoggedEvent {
                seq: row.int(0)?,
                at: moment(row.int(1)?)?,
                kind: row.text(2)?.to_owned(),
                operator: row.text(3)?.to_owned(),
                subject: row.text(4)?.to_owned(),
            })
        })
        .collect()
}
