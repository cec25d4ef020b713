//! Call records: one for every call, whatever became of it.

use std::sync::{Arc, LazyLock};

use anyhow::Context;
use jiff::Timestamp;

use crate::call::CallRecord;
use crate::case::Folio;
use crate::ids::CallKey;
use crate::media::LegReport;
use crate::store::entry::{
    folios_from_json, media_as_json, media_from_json, path_as_json, path_from_json, recording_from_json,
    recording_to_json, segments_from_json, segments_to_json,
};
use crate::store::quality::{quality_from_json, quality_to_json};
use crate::store::sql::{Arg, Conn, Failure, Lines, Readers, Row, args};
use crate::store::{cases, events, millis, moment};

/// Which calls to list. Everything that is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Operator id.
    pub operator: Option<String>,
    /// What the call came to (`bloqueo`).
    pub result: Option<String>,
    /// Began at or after this moment.
    pub since: Option<Timestamp>,
    /// At most so many, the newest first.
    pub limit: u32,
}

/// Stores a record with its line in the event log, and notes the call in the history of the cases it consulted. A record
/// that exists stays as it is.
pub(crate) async fn save(conn: &mut Conn, record: &CallRecord) -> Result<(), Failure> {
    // It is one, or it is there.
    save_all(conn, &[record]).await.map(drop)
}

/// Stores several records as [`save`] would one after the other, with few statements. `false`: one of them exists, and others may
/// be in.
pub(crate) async fn save_all(conn: &mut Conn, records: &[&CallRecord]) -> Result<bool, Failure> {
    for (insert, portion) in INSERT.portions(conn, records) {
        let columns = portion.iter().flat_map(|record| columns(record)).collect();
        if conn.execute(insert, columns).await? != portion.len() as u64 {
            return Ok(false);
        }
        for record in portion {
            for folio in record.folios.iter().filter_map(|folio| Folio::parse(folio).ok()) {
                cases::consulted(conn, &folio, record.ended, &record.key).await?;
            }
        }
        let lines: Vec<_> =
            portion.iter().map(|record| (record.ended, "call_ended", &*record.operator, &*record.key.0)).collect();
        events::append_all(conn, &lines).await?;
    }
    Ok(true)
}

/// The columns of a record.
fn columns(record: &CallRecord) -> Vec<Arg> {
    // Numbers and texts: there is nothing that could not be written.
    let folios = serde_json::to_string(&record.folios).unwrap_or_default();
    let path = serde_json::to_string(&path_as_json(&record.path)).unwrap_or_default();
    let media = serde_json::to_string(&media_as_json(&record.media)).unwrap_or_default();
    let recording = record.recording.as_ref().map(|recording| recording_to_json(Some(recording)).to_string());
    let segments = (!record.segments.is_empty()).then(|| segments_to_json(&record.segments).to_string());
    let quality = quality_to_json(&record.media.quality);
    let quality = (!quality.is_null()).then(|| quality.to_string());
    args![
        &*record.key.0,
        record.operator.as_str(),
        record.flow.as_str(),
        record.sip_call_id.as_str(),
        record.called.as_str(),
        record.caller.as_str(),
        record.class.as_str(),
        millis(record.began),
        record.answered.map(millis),
        millis(record.ended),
        record.result.as_str(),
        record.cause.as_str(),
        folios,
        path,
        media,
        recording.as_deref(),
        quality.as_deref(),
        (!record.ladder.is_empty()).then_some(record.ladder.as_str()),
        segments.as_deref(),
    ]
}

pub(crate) async fn find(readers: &Readers, key: &str) -> anyhow::Result<Option<CallRecord>> {
    let rows = readers.fetch(BY_KEY, args![key]).await.context("cannot read calls")?;
    rows.first().map(read).transpose()
}

pub(crate) async fn list(readers: &Readers, filter: &CallFilter) -> anyhow::Result<Vec<CallRecord>> {
    let rows = readers
        .fetch(
            LIST,
            args![
                filter.operator.as_deref(),
                filter.result.as_deref(),
                filter.since.map(millis),
                i64::from(filter.limit)
            ],
        )
        .await
        .context("cannot read calls")?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> anyhow::Result<CallRecord> {
    let key = row.text(0)?;
    let json = |column: usize| -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(row.text(column)?).with_context(|| format!("the record of call {key}"))
    };
    let maybe_json = |column: usize| -> anyhow::Result<Option<serde_json::Value>> {
        let read = row.maybe_text(column)?.map(serde_json::from_str).transpose();
        read.with_context(|| format!("the record of call {key}"))
    };
    Ok(CallRecord {
        key: CallKey(Arc::from(key)),
        operator: row.text(1)?.to_owned(),
        flow: row.text(2)?.to_owned(),
        sip_call_id: row.text(3)?.to_owned(),
        called: row.text(4)?.to_owned(),
        caller: row.text(5)?.to_owned(),
        class: row.text(6)?.to_owned(),
        began: moment(row.int(7)?)?,
        answered: row.maybe_int(8)?.map(moment).transpose()?,
        ended: moment(row.int(9)?)?,
        result: row.text(10)?.to_owned(),
        cause: row.text(11)?.to_owned(),
        folios: folios_from_json(&json(12)?)?,
        path: path_from_json(&json(13)?)?,
        media: LegReport {
            quality: maybe_json(16)?.as_ref().map(quality_from_json).unwrap_or_default(),
            ..media_from_json(&json(14)?)?
        },
        segments: maybe_json(18)?.as_ref().map(segments_from_json).transpose()?.unwrap_or_default(),
        ladder: row.maybe_text(17)?.unwrap_or_default().to_owned(),
        recording: maybe_json(15)?.as_ref().and_then(recording_from_json),
    })
}

static INSERT: LazyLock<Lines> = LazyLock::new(|| {
    let begin = "INSERT INTO calls (call_key, operator, flow, sip_call_id, called, caller, class, began, answered, ended, \
         result, cause, folios, path, media, recording, quality, ladder, segments) VALUES";
    Lines::new(begin, 19, " ON CONFLICT DO NOTHING")
});
const BY_KEY: &str = "SELECT call_key, operator, flow, sip_call_id, called, caller, class, began, answered, ended, result, \
     cause, folios, path, media, recording, quality, ladder, segments FROM calls WHERE call_key = $1";
const LIST: &str = "SELECT call_key, operator, flow, sip_call_id, called, caller, class, began, answered, ended, result, \
     cause, folios, path, media, recording, quality, ladder, segments FROM calls WHERE ($1 IS NULL OR operator = $1) \
     AND ($2 IS NULL OR result = $2) AND ($3 IS NULL OR began >= $3) ORDER BY began DESC, call_key LIMIT $4";
