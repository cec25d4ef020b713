//! Bytes as a datagram, and as a stream that comes in pieces.

use bytes::Bytes;
use contesta::sip::envelope::{Envelope, ResponseEnvelope};
use contesta::sip::framing::{Frame, Framer};
use contesta::sip::header::Name;
use contesta::sip::header::auth_parameters::read_digest;
use contesta::sip::header::content_type::ContentType;
use contesta::sip::masking::masked;
use contesta::sip::message::{HEADERS_MAX, MESSAGE_SIZE_MAX, Message, StartLine};

use super::lies_in;

/// Reads the bytes both ways.
pub fn run(data: &[u8]) {
    datagram(data);
    stream(data);
    capture(data);
}

/// A message's parts lie in it, in their bounds; one that is well formed has what every request has; and what was read once is
/// read again in the same way.
fn datagram(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Some(message) = Message::scan(bytes.clone()) else { return };
    for name in
        [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq, Name::Contact, Name::ContentType, Name::Require]
    {
        let values: Vec<_> = message.values(name).collect();
        assert!(values.len() <= HEADERS_MAX && values.iter().all(|value| lies_in(value, &bytes)));
        assert_eq!(values.first().copied(), message.value(name));
    }
    assert!(lies_in(&message.body(), &bytes) && message.has_body() != message.body().is_empty());
    assert!(message.fault().is_some() || data.len() <= MESSAGE_SIZE_MAX);
    match message.start_line() {
        StartLine::Request { method, uri } => {
            assert!(lies_in(uri, &bytes));
            let Ok(envelope) = Envelope::read(&message) else { return };
            assert_eq!((envelope.method, message.fault(), message.repeated()), (method, None, None));
            assert!(!envelope.call_id.is_empty() && lies_in(envelope.call_id, &bytes));
        }
        StartLine::Response { .. } => {
            if let Some(envelope) = ResponseEnvelope::read(&message) {
                assert!(envelope.status >= 100);
            }
        }
    }
}

/// What is found in a stream does not depend on where it is cut, and a message that was found whole is a message.
fn stream(data: &[u8]) {
    let whole = frames(&[data]);
    let middle = data.len() / 2;
    assert_eq!(whole, frames(&[&data[..middle], &data[middle..]]), "cut at {middle}");
    if data.len() <= 2_048 {
        assert_eq!(whole, frames(&data.chunks(1).collect::<Vec<_>>()), "byte by byte");
    }
    for frame in whole {
        if let Frame::Message(bytes) = frame
            && let Some(message) = Message::scan(bytes)
        {
            let says = message.value(Name::ContentLength).is_some() || message.fault().is_some();
            assert!(says, "a message of a stream says how long it is");
        }
    }
}

/// What is captured is the same message, as long as it was; of a body that is no description, which may be a key that was pressed, nothing is
/// left but the status that a transfer reports, and of a proof no answer to a challenge.
fn capture(data: &[u8]) {
    let shown = masked(data);
    assert_eq!(shown.len(), data.len());
    let (was, is) = (Message::scan(Bytes::copy_from_slice(data)), Message::scan(Bytes::from(shown)));
    let (Some(was), Some(is)) = (was, is) else { return };
    // Stars may mend a header that was broken.
    if was.fault().is_some() {
        return;
    }
    assert_eq!((was.body().len(), None), (is.body().len(), is.fault()));
    let kind = was.value(Name::ContentType).and_then(|value| ContentType::parse(value).ok());
    let kind = kind.map(|kind| kind.essence()).unwrap_or_default().to_ascii_lowercase();
    let hidden = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'*' | b'\r' | b'\n' | b' ' | b'\t'));
    let body = is.body();
    match kind.as_str() {
        "application/sdp" => {}
        "message/sipfrag" => assert!(hidden(&body) || body.starts_with(b"SIP/2.0 ")),
        _ => assert!(hidden(&body), "{kind}"),
    }
    for value in is.values(Name::Authorization) {
        let _read = read_digest(value, |name, value| {
            assert!(!name.eq_ignore_ascii_case(b"response") || hidden(value), "a proof is shown");
        });
    }
}

fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
    let (mut framer, mut found) = (Framer::default(), Vec::new());
    for chunk in chunks {
        framer.push(chunk);
        found.extend(std::iter::from_fn(|| framer.next_frame()));
    }
    found
}
