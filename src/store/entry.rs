//! One write as the store keeps it until it is in the database, and its line in the spool.
//!
//! An entry decides everything a repetition needs (its folio, its moment, its id), so that doing it twice is doing it once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::audio::Codec;
use crate::call::{CallRecord, PathEntry, Segment, What};
use crate::case::{self, Folio};
use crate::flow::action::Message;
use crate::ids::CallKey;
use crate::media::{LegReport, Quality, RecordingReport};
use crate::rtp::srtp::Suite;
use crate::store::orders::{Order, OrderKind};
use crate::store::quality::{quality_from_json, quality_to_json};
use crate::value::{Value, Values};

/// A write, and what makes it the same write again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Random; the once-only rows of the database carry it.
    pub(crate) id: String,
    /// When the store was asked.
    pub(crate) at: Timestamp,
    pub(crate) write: Write,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// The folio is a candidate until the entry is committed or spooled, and the case's for ever after.
    OpenCase {
        open: case::Open,
        folio: Folio,
    },
    UpdateCase(case::Update),
    SaveCall(Box<CallRecord>),
    Enqueue(Message),
    Order(Order),
}

impl Write {
    /// The case that this opens or changes.
    pub(crate) fn folio(&self) -> Option<&Folio> {
        match self {
            Self::OpenCase { folio, .. } => Some(folio),
            Self::UpdateCase(update) => Some(&update.folio),
            Self::SaveCall(_) | Self::Enqueue(_) | Self::Order(_) => None,
        }
    }
}

impl Entry {
    /// One line of JSON.
    pub(crate) fn to_json(&self) -> Json {
        let (name, body) = match &self.write {
            Write::OpenCase { open, folio } => ("open_case", open_to_json(open, folio)),
            Write::UpdateCase(update) => ("update_case", update_to_json(update)),
            Write::SaveCall(record) => ("save_call", record_to_json(record)),
            Write::Enqueue(message) => ("enqueue", message_to_json(message)),
            Write::Order(order) => ("order", order_to_json(order)),
        };
        json!({ "id": self.id, "at": self.at.as_millisecond(), (name): body })
    }

    /// Reads [`to_json`](Self::to_json)'s line.
    ///
    /// # Errors
    /// Something is missing or of another type.
    pub(crate) fn from_json(line: &Json) -> anyhow::Result<Self> {
        let write = if let Some(body) = line.get("open_case") {
            let (open, folio) = open_from_json(body)?;
            Write::OpenCase { open, folio }
        } else if let Some(body) = line.get("update_case") {
            Write::UpdateCase(update_from_json(body)?)
        } else if let Some(body) = line.get("save_call") {
            Write::SaveCall(Box::new(record_from_json(body)?))
        } else if let Some(body) = line.get("enqueue") {
            Write::Enqueue(message_from_json(body)?)
        } else if let Some(body) = line.get("order") {
            Write::Order(order_from_json(body)?)
        } else {
            anyhow::bail!("an entry of an unknown kind");
        };
        Ok(Self { id: text(line, "id")?, at: moment(line, "at")?, write })
    }
}

fn open_to_json(open: &case::Open, folio: &Folio) -> Json {
    json!({
        "folio": folio.as_str(), "operator": open.operator, "kind": open.kind, "subkind": open.subkind,
        "fields": values_to_json(&open.fields), "channel": open.channel, "call": &*open.call.0,
        "received": open.received.as_millisecond(), "due": open.due.map(Timestamp::as_millisecond),
        "idempotency": open.idempotency,
    })
}

fn open_from_json(body: &Json) -> anyhow::Result<(case::Open, Folio)> {
    let folio = Folio::parse(&text(body, "folio")?)?;
    let open = case::Open {
        operator: text(body, "operator")?,
        prefix: folio.prefix(),
        kind: text(body, "kind")?,
        subkind: text(body, "subkind")?,
        fields: values_from_json(member(body, "fields")?)?,
        channel: text(body, "channel")?,
        call: CallKey(Arc::from(text(body, "call")?)),
        received: moment(body, "received")?,
        due: maybe_moment(body, "due")?,
        idempotency: text(body, "idempotency")?,
    };
    Ok((open, folio))
}

fn update_to_json(update: &case::Update) -> Json {
    json!({
        "operator": update.operator, "folio": update.folio.as_str(), "state": update.state.map(case::State::as_str),
        "fields": values_to_json(&update.fields), "call": &*update.call.0, "when": update.at.as_millisecond(),
    })
}

fn update_from_json(body: &Json) -> anyhow::Result<case::Update> {
    Ok(case::Update {
        operator: text(body, "operator")?,
        folio: Folio::parse(&text(body, "folio")?)?,
        state: member(body, "state")?.as_str().map(str::parse).transpose()?,
        fields: values_from_json(member(body, "fields")?)?,
        call: CallKey(Arc::from(text(body, "call")?)),
        at: moment(body, "when")?,
    })
}

fn record_to_json(record: &CallRecord) -> Json {
    json!({
        "key": &*record.key.0, "operator": record.operator, "flow": record.flow, "sip_call_id": record.sip_call_id,
        "called": record.called, "caller": record.caller, "class": record.class,
        "began": record.began.as_millisecond(), "answered": record.answered.map(Timestamp::as_millisecond),
        "ended": record.ended.as_millisecond(), "result": record.result, "cause": record.cause,
        "folios": record.folios, "path": path_as_json(&record.path), "media": media_as_json(&record.media),
        "quality": quality_to_json(&record.media.quality), "ladder": record.ladder, "segments": segments_to_json(&record.segments), "recording": recording_to_json(record.recording.as_ref()),
    })
}

fn record_from_json(body: &Json) -> anyhow::Result<CallRecord> {
    Ok(CallRecord {
        key: CallKey(Arc::from(text(body, "key")?)),
        operator: text(body, "operator")?,
        flow: text(body, "flow")?,
        sip_call_id: text(body, "sip_call_id")?,
        called: text(body, "called")?,
        caller: text(body, "caller")?,
        class: text(body, "class")?,
        began: moment(body, "began")?,
        answered: maybe_moment(body, "answered")?,
        ended: moment(body, "ended")?,
        result: text(body, "result")?,
        cause: text(body, "cause")?,
        folios: folios_from_json(member(body, "folios")?)?,
        path: path_from_json(member(body, "path")?)?,
        media: LegReport {
            quality: body.get("quality").map(quality_from_json).unwrap_or_default(),
            ..media_from_json(member(body, "media")?)?
        },
        segments: body.get("segments").map(segments_from_json).transpose()?.unwrap_or_default(),
        ladder: body.get("ladder").and_then(Json::as_str).unwrap_or_default().to_owned(),
        recording: body.get("recording").and_then(recording_from_json),
    })
}

fn message_to_json(message: &Message) -> Json {
    json!({
        "operator": message.operator, "channel": message.channel, "to": message.to, "template": message.template,
        "text": message.text, "folio": message.folio.as_ref().map(Folio::as_str), "call": &*message.call.0,
        "idempotency": message.idempotency,
    })
}

fn message_from_json(body: &Json) -> anyhow::Result<Message> {
    Ok(Message {
        operator: text(body, "operator")?,
        channel: text(body, "channel")?,
        to: text(body, "to")?,
        template: text(body, "template")?,
        text: text(body, "text")?,
        folio: member(body, "folio")?.as_str().map(Folio::parse).transpose()?,
        call: CallKey(Arc::from(text(body, "call")?)),
        idempotency: text(body, "idempotency")?,
    })
}

fn order_to_json(order: &Order) -> Json {
    json!({
        "operator": order.operator, "kind": order.kind.as_str(), "imei": order.imei, "line": order.line,
        "folio": order.folio.as_str(), "reason": order.reason,
    })
}

fn order_from_json(body: &Json) -> anyhow::Result<Order> {
    Ok(Order {
        operator: text(body, "operator")?,
        kind: OrderKind::parse(&text(body, "kind")?)?,
        imei: text(body, "imei")?,
        line: text(body, "line")?,
        folio: Folio::parse(&text(body, "folio")?)?,
        reason: text(body, "reason")?,
    })
}

/// `{"linea": {"text": "2221234567"}}`: each value under the name of its kind.
pub(crate) fn values_to_json(values: &Values) -> Json {
    let members = values.iter().map(|(name, value)| {
        let typed = match value {
            Value::Text(text) => json!({ "text": text }),
            Value::Number(number) => json!({ "number": number }),
            Value::Money(centavos) => json!({ "money": centavos }),
            Value::Date(date) => json!({ "date": date.to_string() }),
            Value::Moment(moment) => json!({ "moment": moment.to_string() }),
            Value::Flag(flag) => json!({ "flag": flag }),
        };
        (name.clone(), typed)
    });
    Json::Object(members.collect())
}

/// Reads [`values_to_json`]'s object.
pub(crate) fn values_from_json(object: &Json) -> anyhow::Result<Values> {
    let members: &Map<String, Json> = object.as_object().context("values are no object")?;
    members
        .iter()
        .map(|(name, typed)| {
            let value = value_from_json(typed).with_context(|| format!("the value `{name}`"))?;
            Ok((name.clone(), value))
        })
        .collect()
}

fn value_from_json(typed: &Json) -> anyhow::Result<Value> {
    let (kind, value) =
        typed.as_object().and_then(|members| members.iter().next()).context("a value without a kind")?;
    let words = || value.as_str().context("a value that should be text");
    let number = || value.as_i64().context("a value that should be a whole number");
    Ok(match kind.as_str() {
        "text" => Value::Text(words()?.to_owned()),
        "number" => Value::Number(number()?),
        "money" => Value::Money(number()?),
        "date" => Value::Date(words()?.parse()?),
        "moment" => Value::Moment(words()?.parse()?),
        "flag" => Value::Flag(value.as_bool().context("a value that should be true or false")?),
        other => anyhow::bail!("a value of the unknown kind `{other}`"),
    })
}

/// `[[1200, "beneleit.principal/menu", "key 1"], …]`.
pub(crate) fn path_as_json(path: &[PathEntry]) -> impl Serialize {
    path.iter().map(|entry| (entry.at_ms, &*entry.place, &*entry.what)).collect::<Vec<_>>()
}

pub(crate) fn path_from_json(path: &Json) -> anyhow::Result<Vec<PathEntry>> {
    let entry = |entry: &Json| {
        Some(PathEntry {
            at_ms: entry.get(0)?.as_u64()?,
            place: entry.get(1)?.as_str()?.to_owned(),
            what: entry.get(2)?.as_str()?.to_owned(),
        })
    };
    path.as_array().and_then(|entries| entries.iter().map(entry).collect()).context("a path that is none")
}

/// `[["talk", "ana", 9000, 61000], …]`: what, who, when it began and how long it was, in milliseconds.
#[must_use]
pub fn segments_to_json(segments: &[Segment]) -> Json {
    segments.iter().map(|segment| json!([segment.what.name(), segment.who, segment.at_ms, segment.ms])).collect()
}

pub(crate) fn segments_from_json(segments: &Json) -> anyhow::Result<Vec<Segment>> {
    let segment = |segment: &Json| {
        let name = segment.get(0)?.as_str()?;
        Some(Segment {
            what: What::ALL.into_iter().find(|what| what.name() == name)?,
            who: segment.get(1)?.as_str()?.to_owned(),
            at_ms: segment.get(2)?.as_u64()?,
            ms: segment.get(3)?.as_u64()?,
        })
    };
    segments.as_array().and_then(|all| all.iter().map(segment).collect()).context("segments that are none")
}

pub(crate) fn folios_from_json(folios: &Json) -> anyhow::Result<Vec<String>> {
    let folio = |folio: &Json| folio.as_str().map(str::to_owned);
    folios.as_array().and_then(|folios| folios.iter().map(folio).collect()).context("folios that are none")
}

#[derive(Serialize)]
struct Media {
    packets_received: u64,
    packets_sent: u64,
    packets_lost: u64,
    packets_ignored: u64,
    packets_forged: u64,
    digits: u32,
    codec: Option<&'static str>,
    srtp: Option<&'static str>,
}

/// Totals by their names, codec and suite; the quality is kept beside it.
pub(crate) fn media_as_json(media: &LegReport) -> impl Serialize {
    Media {
        packets_received: media.packets_received,
        packets_sent: media.packets_sent,
        packets_lost: media.packets_lost,
        packets_ignored: media.packets_ignored,
        packets_forged: media.packets_forged,
        digits: media.digits,
        codec: media.codec.map(Codec::encoding_name),
        srtp: media.srtp.map(Suite::name),
    }
}

/// Reads [`media_as_json`]'s object; a total that an older version did not keep is 0, and a name that it did not keep is `None`. The quality is kept beside it.
pub(crate) fn media_from_json(media: &Json) -> anyhow::Result<LegReport> {
    let total = |name: &str| media.get(name).and_then(Json::as_u64).unwrap_or(0);
    let name = |name: &str| media.get(name).and_then(Json::as_str);
    Ok(LegReport {
        packets_received: total("packets_received"),
        packets_sent: total("packets_sent"),
        packets_lost: total("packets_lost"),
        packets_ignored: total("packets_ignored"),
        packets_forged: total("packets_forged"),
        digits: u32::try_from(total("digits")).map_err(|_| anyhow!("more digits than a call can have"))?,
        codec: name("codec").and_then(Codec::from_encoding_name),
        srtp: name("srtp").and_then(Suite::from_name),
        quality: Quality::default(),
    })
}

/// `{"file": …, "seconds": 12.5, "lost_seconds": 0.0, "fault": null}`; null when nothing was recorded.
#[must_use]
pub fn recording_to_json(recording: Option<&RecordingReport>) -> Json {
    recording.map_or(Json::Null, |recording| {
        json!({
            "file": recording.file, "seconds": recording.duration.as_secs_f64(),
            "lost_seconds": recording.lost.as_secs_f64(), "fault": recording.fault,
        })
    })
}

/// Reads [`recording_to_json`]'s object; `None` for null, and for what is none.
pub(crate) fn recording_from_json(recording: &Json) -> Option<RecordingReport> {
    let seconds = |name: &str| {
        let seconds = recording.get(name).and_then(Json::as_f64).unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    };
    Some(RecordingReport {
        file: recording.get("file")?.as_str()?.to_owned(),
        duration: seconds("seconds"),
        lost: seconds("lost_seconds"),
        fault: recording.get("fault").and_then(Json::as_str).map(str::to_owned),
    })
}

fn member<'a>(body: &'a Json, name: &str) -> anyhow::Result<&'a Json> {
    body.get(name).with_context(|| format!("`{name}` is missing"))
}

fn text(body: &Json, name: &str) -> anyhow::Result<String> {
    Ok(member(body, name)?.as_str().with_context(|| format!("`{name}` is no text"))?.to_owned())
}

fn moment(body: &Json, name: &str) -> anyhow::Result<Timestamp> {
    maybe_moment(body, name)?.with_context(|| format!("`{name}` is no moment"))
}

fn maybe_moment(body: &Json, name: &str) -> anyhow::Result<Option<Timestamp>> {
    member(body, name)?.as_i64().map(Timestamp::from_millisecond).transpose().context("a moment outside the calendar")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Ids;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            ".*".prop_map(Value::Text),
            any::<i64>().prop_map(Value::Number),
            any::<i64>().prop_map(Value::Money),
            (1i16..9999, 1i8..13, 1i8..29).prop_map(|(y, m, d)| Value::Date(jiff::civil::date(y, m, d))),
            (0i64..4_000_000_000_000).prop_map(|ms| Value::Moment(Timestamp::from_millisecond(ms).unwrap())),
            any::<bool>().prop_map(Value::Flag),
        ]
    }

    fn any_write() -> impl Strategy<Value = Write> {
        let values = proptest::collection::btree_map("[a-z]{1,8}", any_value(), 0..4);
        let moment = (0i64..4_000_000_000_000).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap());
        (any::<u64>(), ".*", values, moment, 0u8..5, proptest::option::of(0usize..5)).prop_map(
            |(seed, word, fields, at, which, state)| {
                let folio = Folio::draw(3, &mut Ids::from_seed(seed));
                let call = CallKey(Arc::from(word.as_str()));
                match which {
                    0 => Write::OpenCase {
                        open: case::Open {
                            operator: word.clone(),
                            prefix: 3,
                            kind: word.clone(),
                            subkind: String::new(),
                            fields,
                            channel: "telefono".into(),
                            call,
                            received: at,
                            due: state.map(|_| at),
                            idempotency: word,
                        },
                        folio,
                    },
                    1 => Write::UpdateCase(case::Update {
                        operator: word,
                        folio,
                        state: state.and_then(|index| case::State::ALL.get(index).copied()),
                        fields,
                        call,
                        at,
                    }),
                    2 => Write::SaveCall(Box::new(CallRecord {
                        key: call,
                        operator: word.clone(),
                        flow: word.clone(),
                        sip_call_id: word.clone(),
                        called: word.clone(),
                        caller: word.clone(),
                        class: "gratuito".into(),
                        began: at,
                        answered: state.map(|_| at),
                        ended: at,
                        result: word.clone(),
                        cause: word.clone(),
                        folios: vec![folio.to_string()],
                        path: vec![PathEntry { at_ms: seed, place: word.clone(), what: word.clone() }],
                        segments: vec![Segment { what: What::Talk, who: word.clone(), at_ms: seed, ms: 7 }],
                        ladder: word,
                        media: LegReport {
                            packets_received: seed,
                            digits: 7,
                            quality: Quality { one_way: 1, ..Quality::default() },
                            ..LegReport::default()
                        },
                        recording: state.map(|state| RecordingReport {
                            file: "2026-03-15/x.wav".into(),
                            duration: Duration::from_millis(20 * u64::from(seed as u16)),
                            lost: Duration::from_millis(500 * state as u64),
                            fault: (state > 2).then(|| "no room".into()),
                        }),
                    })),
                    3 => Write::Enqueue(Message {
                        operator: word.clone(),
                        channel: "sms".into(),
                        to: word.clone(),
                        template: word.clone(),
                        text: word.clone(),
                        folio: state.map(|_| folio),
                        call,
                        idempotency: word,
                    }),
                    _ => Write::Order(Order {
                        operator: word.clone(),
                        kind: if state.is_some() { OrderKind::DeviceBlock } else { OrderKind::LineSuspension },
                        imei: word.clone(),
                        line: word.clone(),
                        folio,
                        reason: word,
                    }),
                }
            },
        )
    }

    proptest! {
        /// What the spool keeps is what was asked for, whatever characters it holds.
        #[test]
        fn an_entry_survives_its_line(write in any_write(), ms in 0i64..4_000_000_000_000) {
            let entry = Entry { id: "x7".into(), at: Timestamp::from_millisecond(ms).unwrap(), write };
            let line = entry.to_json().to_string();
            prop_assert!(!line.contains('\n'));
            let back = Entry::from_json(&serde_json::from_str(&line).unwrap()).unwrap();
            prop_assert_eq!(back, entry);
        }

        #[test]
        fn a_strange_line_is_an_error_not_a_panic(text in "\\{\"(open_case|order|save_call)\":.{0,60}\\}") {
            if let Ok(json) = serde_json::from_str::<Json>(&text) {
                prop_assert!(Entry::from_json(&json).is_err());
            }
        }
    }
}
