//! `contesta calls show KEY`, `contesta calls list`: the way a call took. Digits of sensitive collects were never stored.

use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::audio::Codec;
use crate::call::{CallRecord, Segment};
use crate::cli::audio::describe;
use crate::cli::columns::{aligned, counted};
use crate::cli::ladder;
use crate::cli::moment::{self, local};
use crate::cli::store::{StoreArgs, StorePlace, block_on};
use crate::media::{Quality, RecordingReport, StreamQuality};
use crate::rtp::srtp::Suite;
use crate::store::{CallFilter, quality_to_json, recording_to_json, segments_to_json};

/// Look at calls.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// One call as a timeline.
    Show {
        /// The call's key, as `calls list` and cases name it.
        key: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Calls, the newest first.
    List {
        /// Only this operator's.
        #[arg(long)]
        operator: Option<String>,
        /// Only those that came to this (`bloqueo`, `abandono`).
        #[arg(long)]
        result: Option<String>,
        /// Only those that began since: 2026-03-15, 2026-03-15T02:30 (the operator's time) or an instant with its offset.
        #[arg(long)]
        since: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Prints what was asked for.
///
/// # Errors
/// There is no such call, or the store cannot be read.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.question {
        Question::Show { key, json, store } => block_on(show(&key, json, &store.settle()?)),
        Question::List { operator, result, since, limit, json, store } => {
            let place = store.settle()?;
            let zone = place.zone(operator.as_deref())?;
            let since = since.map(|since| moment::read(&since, &zone)).transpose()?;
            let filter = CallFilter { operator, result, since, limit };
            block_on(list(&filter, json, &place, &zone))
        }
    }
}

async fn show(key: &str, as_json: bool, place: &StorePlace) -> anyhow::Result<()> {
    let store = place.connect().await?;
    let record = store.call(key).await?.with_context(|| format!("there is no call with the key «{key}»"))?;
    store.close().await;
    if as_json {
        println!("{:#}", to_json(&record));
    } else {
        print(&record, &place.zone(Some(&record.operator)).unwrap_or(TimeZone::UTC));
    }
    Ok(())
}

async fn list(filter: &CallFilter, as_json: bool, place: &StorePlace, zone: &TimeZone) -> anyhow::Result<()> {
    let store = place.connect().await?;
    let calls = store.calls(filter).await?;
    store.close().await;
    if as_json {
        println!("{:#}", calls.iter().map(to_json).collect::<Json>());
        return Ok(());
    }
    let rows: Vec<Vec<String>> = calls
        .iter()
        .map(|record| {
            vec![
                local(record.began, zone),
                record.key.to_string(),
                format!("{:>8} s", seconds(duration_ms(record))),
                record.operator.clone(),
                record.called.clone(),
                caller(record).to_owned(),
                record.result.clone(),
                record.folios.join(" "),
            ]
        })
        .collect();
    aligned(&rows).iter().for_each(|line| println!("{line}"));
    eprintln!("{}", counted(calls.len(), "call"));
    Ok(())
}

fn print(record: &CallRecord, zone: &TimeZone) {
    println!("call      {}", record.key);
    println!("operator  {}  flow {}  class {}", record.operator, record.flow, record.class);
    println!("caller    {}", caller(record));
    println!("called    {}", record.called);
    println!("sip       {}", record.sip_call_id);
    println!("began     {}", local(record.began, zone));
    println!("result    {}  ({})", record.result, record.cause);
    if !record.folios.is_empty() {
        println!("folios    {}", record.folios.join(" "));
    }
    let media = record.media;
    if let Some(codec) = media.codec {
        println!("audio     {}", describe(codec, media.srtp));
    }
    let forged = match media.packets_forged {
        0 => String::new(),
        forged => format!(" ({forged} of them not authentic)"),
    };
    println!(
        "media     {} packets in, {} out, {} lost, {} ignored{forged}, {} keys",
        media.packets_received, media.packets_sent, media.packets_lost, media.packets_ignored, media.digits
    );
    quality_lines(&media.quality).iter().for_each(|line| println!("{line}"));
    if let Some(recording) = &record.recording {
        let seconds = seconds(u64::try_from(recording.duration.as_millis()).unwrap_or(u64::MAX));
        println!("recording {}  {seconds} s{}", recording.file, missing(recording));
    }
    println!();
    let answered_ms = record.answered.map(|answered| answered.as_millisecond() - record.began.as_millisecond());
    let mut lines: Vec<(u64, &str, &str)> =
        record.path.iter().map(|entry| (entry.at_ms, entry.place.as_str(), entry.what.as_str())).collect();
    lines.push((0, "sip", "INVITE"));
    lines.extend(answered_ms.and_then(|ms| u64::try_from(ms).ok()).map(|ms| (ms, "sip", "200 OK")));
    lines.push((duration_ms(record), "sip", "end"));
    // Stable: what happened in one millisecond keeps its order, and INVITE comes before it.
    lines.sort_by_key(|(at_ms, place, what)| (*at_ms, *place == "sip" && *what == "end", *what != "INVITE"));
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|(at_ms, place, what)| {
            vec![format!("{:>9}", format!("+{}", seconds(*at_ms))), (*place).to_owned(), (*what).to_owned()]
        })
        .collect();
    aligned(&rows).iter().for_each(|line| println!("{line}"));
    if !record.segments.is_empty() {
        println!();
        segment_lines(&record.segments).iter().for_each(|line| println!("{line}"));
    }
    let ladder = ladder::lines(&record.ladder);
    if !ladder.is_empty() {
        println!();
        ladder.iter().for_each(|line| println!("{line}"));
    }
}

fn to_json(record: &CallRecord) -> Json {
    let path: Json = record
        .path
        .iter()
        .map(|entry| json!({ "at_ms": entry.at_ms, "place": entry.place, "what": entry.what }))
        .collect();
    json!({
        "key": &*record.key.0, "operator": record.operator, "flow": record.flow, "sip_call_id": record.sip_call_id,
        "called": record.called, "caller": record.caller, "class": record.class, "began": record.began.to_string(),
        "answered": record.answered.map(|answered| answered.to_string()), "ended": record.ended.to_string(),
        "duration_ms": duration_ms(record), "result": record.result, "cause": record.cause, "folios": record.folios,
        "path": path, "segments": segments_to_json(&record.segments),
        "ladder": ladder::to_json(&record.ladder), "quality": quality_to_json(&record.media.quality), "recording": recording_to_json(record.recording.as_ref()),
        "media": {
            "packets_received": record.media.packets_received, "packets_sent": record.media.packets_sent,
            "packets_lost": record.media.packets_lost, "packets_ignored": record.media.packets_ignored,
            "packets_forged": record.media.packets_forged, "digits": record.media.digits,
            "codec": record.media.codec.map(Codec::encoding_name), "srtp": record.media.srtp.map(Suite::name),
        },
    })
}

/// What the visit was made of, a line a stretch, and their sum, which is the call.
fn segment_lines(segments: &[Segment]) -> Vec<String> {
    let row = |at: String, what: &str, ms: u64, who: &str| {
        vec![format!("{at:>9}"), what.to_owned(), format!("{:>9} s", seconds(ms)), who.to_owned()]
    };
    let mut rows: Vec<Vec<String>> = segments
        .iter()
        .map(|segment| row(format!("+{}", seconds(segment.at_ms)), segment.what.name(), segment.ms, &segment.who))
        .collect();
    rows.push(row("sum".to_owned(), "", segments.iter().map(|segment| segment.ms).sum(), ""));
    aligned(&rows)
}

/// The round trip, then each direction on a line of its own; nothing of a call without media.
fn quality_lines(quality: &Quality) -> Vec<String> {
    if *quality == Quality::default() {
        return Vec::new();
    }
    let trip = match quality.round_trip {
        Some(trip) => format!("round trip {} ms (longest {} ms)", tenths(trip.mean), tenths(trip.longest)),
        None => "round trip not known: the far end did not report (RTCP)".to_owned(),
    };
    let one_way = match quality.one_way {
        0 => String::new(),
        times => format!(", ONE-WAY AUDIO {times} time{}", if times == 1 { "" } else { "s" }),
    };
    let of = |stream: StreamQuality| {
        format!(
            "loss {}.{:02} %, jitter {} ms (highest {} ms), MOS {}",
            stream.loss / 100,
            stream.loss % 100,
            tenths(stream.jitter),
            tenths(stream.jitter_highest),
            stream.mos
        )
    };
    let nothing = |who: &str| format!("nothing{who}");
    vec![
        format!("quality   {trip}{one_way}"),
        format!("  heard   {}", quality.heard.map_or_else(|| nothing(" came"), of)),
        format!("  hears   {}", quality.reported.map_or_else(|| nothing(" reported"), of)),
    ]
}

/// Milliseconds with one decimal.
fn tenths(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1_000.0)
}

fn caller(record: &CallRecord) -> &str {
    if record.caller.is_empty() { "anonymous" } else { &record.caller }
}

/// What a recording lacks, behind its length; nothing when it is complete.
fn missing(recording: &RecordingReport) -> String {
    let lost = (!recording.lost.is_zero()).then(|| format!("{:?} lost", recording.lost));
    let what: Vec<String> = lost.into_iter().chain(recording.fault.clone()).collect();
    if what.is_empty() { String::new() } else { format!("  INCOMPLETE: {}", what.join(", ")) }
}

fn duration_ms(record: &CallRecord) -> u64 {
    u64::try_from(record.ended.as_millisecond() - record.began.as_millisecond()).unwrap_or(0)
}

/// `83.250` for 83,250 ms.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Mos, RoundTrip};

    #[test]
    fn both_directions_have_a_line_and_what_is_not_known_says_so() {
        assert_eq!(quality_lines(&Quality::default()), Vec::<String>::new());
        let heard = StreamQuality {
            loss: 105,
            jitter: Duration::from_micros(2_140),
            jitter_highest: Duration::from_millis(40),
            mos: Mos(409),
        };
        let known = Quality { heard: Some(heard), one_way: 1, ..Quality::default() };
        let expected = [
            "quality   round trip not known: the far end did not report (RTCP), ONE-WAY AUDIO 1 time",
            "  heard   loss 1.05 %, jitter 2.1 ms (highest 40.0 ms), MOS 4.09",
            "  hears   nothing reported",
        ];
        assert_eq!(quality_lines(&known), expected);
        let round_trip = RoundTrip { mean: Duration::from_micros(12_340), longest: Duration::from_millis(40) };
        let lines = quality_lines(&Quality { round_trip: Some(round_trip), one_way: 0, ..known });
        assert_eq!(lines[0], "quality   round trip 12.3 ms (longest 40.0 ms)");
    }
}
