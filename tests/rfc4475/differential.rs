//! Three readers of one message: ours, `sipx-sip` and `rsip`. Where they part, a table says who is right and why.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;

use bytes::Bytes;
use contesta::ids::Ids;
use contesta::sip::cursor::text;
use contesta::sip::envelope::{Envelope, ResponseEnvelope};
use contesta::sip::message::{Message, StartLine};
use contesta::sip::uri::Host;
use rsip::headers::ToTypedHeader;
use rsip::message::HeadersExt;
use sipx_sip::headers::{CSeq, CallId, From, To, Via};
use sipx_sip::{Limits, parse_datagram, validate};

use super::{MESSAGES, torture};
use crate::peer::mutation::{corpus, mutate};

/// What a message says, or why it cannot be read.
type Reading = Result<String, String>;

fn facts(
    what: &str,
    sequence: u32,
    call_id: &str,
    tags: [Option<String>; 2],
    branch: Option<String>,
    body: usize,
) -> String {
    let [from, to] = tags.map(Option::unwrap_or_default);
    format!("{what} {sequence} call={call_id} from={from} to={to} branch={} body={body}", branch.unwrap_or_default())
}

fn ours(datagram: &[u8]) -> Reading {
    let message = Message::scan(Bytes::copy_from_slice(datagram)).ok_or("not SIP")?;
    let body = message.body().len();
    if let StartLine::Response { .. } = message.start_line() {
        let envelope = ResponseEnvelope::read(&message).ok_or("no response of ours")?;
        let call_id = message.value(contesta::sip::header::Name::CallId).map(text).unwrap_or_default();
        let from = message.value(contesta::sip::header::Name::From);
        let from = from.and_then(|value| {
            contesta::sip::header::address::Address::parse(contesta::sip::header::Name::From, value).ok()
        });
        let tags = [from.and_then(|from| from.tag()).map(text), envelope.to.tag().map(text)];
        let status = envelope.status.to_string();
        return Ok(facts(&status, envelope.cseq.number, &call_id, tags, envelope.via.branch.map(text), body));
    }
    let envelope = Envelope::read(&message).map_err(|fault| fault.to_string())?;
    let host = match envelope.uri.host {
        Some(Host::Name(name)) => text(name).to_lowercase(),
        Some(host) => host.address().map(|ip| ip.to_string()).unwrap_or_default(),
        None => String::new(),
    };
    let what = format!("{} {host}", text(message.method_name()));
    let tags = [envelope.from.tag().map(text), envelope.to.tag().map(text)];
    Ok(facts(&what, envelope.cseq.number, &text(envelope.call_id), tags, envelope.via.branch.map(text), body))
}

fn sipx(datagram: &[u8]) -> Reading {
    let message =
        parse_datagram(Bytes::copy_from_slice(datagram), &Limits::datagram()).map_err(|error| error.to_string())?;
    // A request of RFC 2543 has no Max-Forwards: for an endpoint that is no fault.
    let findings: Vec<_> = validate(&message).into_iter().filter(|finding| !finding.is_repairable()).collect();
    if let Some(finding) = findings.first() {
        return Err(format!("{finding:?}"));
    }
    let headers = message.headers();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (from, to) = (headers.typed::<From>(), headers.typed::<To>());
    let tags = [
        from.and_then(Result::ok).and_then(|from| from.tag().map(lossy)),
        to.and_then(Result::ok).and_then(|to| to.tag().map(lossy)),
    ];
    let via = headers.typed::<Via>().and_then(Result::ok);
    let branch = via.and_then(|via| via.branch().map(lossy));
    let sequence = headers.typed::<CSeq>().and_then(Result::ok).map(|cseq| cseq.sequence).unwrap_or_default();
    let call_id = headers.typed::<CallId>().and_then(Result::ok).map(|id| lossy(&id.0)).unwrap_or_default();
    let what = match (message.as_request(), message.as_response()) {
        (Some(request), _) => {
            let host = request.uri.host().map(|host| host.to_string().trim_matches(['[', ']']).to_lowercase());
            format!("{} {}", lossy(request.method.as_bytes()), host.unwrap_or_default())
        }
        (_, Some(response)) => response.status.code().to_string(),
        (None, None) => return Err("neither".to_owned()),
    };
    Ok(facts(&what, sequence, &call_id, tags, branch, message.body().len()))
}

fn rsip(datagram: &[u8]) -> Reading {
    let datagram = datagram.to_vec();
    let read = catch_unwind(move || -> Result<String, rsip::Error> {
        let message = rsip::SipMessage::try_from(datagram.as_slice())?;
        let tag = |tag: Option<rsip::param::Tag>| tag.map(|tag| tag.value().to_owned());
        let tags = [tag(message.from_header()?.tag()?), tag(message.to_header()?.tag()?)];
        let via = message.via_header()?.typed()?;
        let branch = via.branch().map(|branch| branch.value().to_owned());
        let cseq = message.cseq_header()?.typed()?;
        let call_id = rsip::headers::UntypedHeader::value(message.call_id_header()?).to_owned();
        let (what, body) = match &message {
            rsip::SipMessage::Request(request) => {
                (format!("{} {}", request.method, request.uri.host()), request.body.len())
            }
            rsip::SipMessage::Response(response) => (response.status_code.code().to_string(), response.body.len()),
        };
        Ok(facts(&what, cseq.seq, &call_id, tags, branch, body))
    });
    match read {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("it panics".to_owned()),
    }
}

/// The table: what each reader makes of a message otherwise than we do, who is right, and why.
const TABLE: &str = include_str!("disagreements.md");

/// A message and how a reader's view of it differs, by what the table calls both.
type Disagreements = BTreeMap<(String, &'static str), String>;

fn compare(name: &str, datagram: &[u8], found: &mut Disagreements) {
    let ours = ours(datagram);
    for (reader, theirs) in [("sipx", sipx(datagram)), ("rsip", rsip(datagram))] {
        let how = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                let parts = ours.split(' ').zip(theirs.split(' ')).filter(|(one, other)| one != other);
                let differ: Vec<_> = parts.map(|(one, other)| format!("`{one}` / `{other}`")).collect();
                differ.join(", ")
            }
            (Err(_), Err(_)) => String::new(),
            (Ok(_), Err(_)) => "only we take it".to_owned(),
            (Err(why), Ok(_)) => format!("only they take it; we: {why}"),
        };
        if !how.is_empty() {
            found.insert((name.to_owned(), reader), how.replace('|', "/"));
        }
    }
}

/// Every torture message and every input of the fuzz targets that another reads otherwise stands in the table, and nothing else.
#[test]
fn every_disagreement_is_in_the_table_with_who_is_right() {
    let mut found = Disagreements::new();
    for (name, ..) in MESSAGES {
        compare(name, &std::fs::read(torture().join(format!("{name}.dat"))).unwrap(), &mut found);
    }
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/message"));
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("fuzz/{}", path.file_name().unwrap().to_str().unwrap());
        compare(&name, &std::fs::read(&path).unwrap(), &mut found);
    }
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("| ")).skip(1).filter(|row| !row.starts_with('-'));
    let mut faults = Vec::new();
    let mut known = Disagreements::new();
    for row in rows {
        let cells: Vec<_> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
        let [name, reader, how, right, why] = cells[..] else { panic!("not five cells: {row}") };
        let reader = if reader == "sipx" { "sipx" } else { "rsip" };
        if !["we", "they", "both"].contains(&right) || why.is_empty() {
            faults.push(format!("who is right, and why? {row}"));
        }
        known.insert((name.to_owned(), reader), how.to_owned());
    }
    for ((name, reader), how) in &found {
        if known.get(&(name.clone(), *reader)) != Some(how) {
            faults.push(format!("| {name} | {reader} | {how} | ? | ? |"));
        }
    }
    for ((name, reader), how) in known.iter().filter(|(key, _)| !found.contains_key(*key)) {
        faults.push(format!("no longer so: {name} {reader} {how}"));
    }
    assert!(faults.is_empty(), "out of date:\n{}", faults.join("\n"));
}

/// What two readers both take, they read alike: one of them would not know that it is wrong. The one host that is read otherwise is the address
/// with three colons of RFC 5118 §4.9, which stands in the table.
#[test]
fn mutants_that_both_take_are_read_as_sipx_reads_them() {
    let (mut dice, corpus) = (Ids::from_seed(3_261), corpus());
    let (mut alike, mut otherwise) = (0, Vec::new());
    for _ in 0..MUTANTS {
        let mut message = corpus[usize::try_from(dice.below(corpus.len() as u64)).unwrap()].clone();
        mutate(&mut dice, &corpus, &mut message);
        if let (Ok(ours), Ok(theirs)) = (ours(&message), sipx(&message)) {
            // An address that we take none from has an empty place.
            let known = ours.contains("  ") && !theirs.contains("  ") && without_host(&ours) == without_host(&theirs);
            if ours == theirs || known && three_colons(&message) {
                alike += 1;
            } else {
                otherwise.push(format!("{ours}\n{theirs}\n{}", String::from_utf8_lossy(&message)));
            }
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n----\n"));
    assert!(alike > MUTANTS / 10, "{alike} of {MUTANTS}: too few are read by both");
}

/// What was read, but the host.
fn without_host(facts: &str) -> Vec<&str> {
    facts.split(' ').enumerate().filter(|(place, _)| *place != 1).map(|(_, fact)| fact).collect()
}

fn three_colons(message: &[u8]) -> bool {
    message.windows(3).any(|bytes| bytes == b":::")
}

/// Most of them are whole enough for neither.
const MUTANTS: usize = 20_000;
