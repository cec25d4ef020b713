//! Bytes as a datagram, and as a stream that comes in pieces.

use bytes::Bytes;
use contesta::sip::envelope::{Envelope, ResponseEnvelope};
use contesta::sip::framing::{Frame, Framer};
use contesta::sip::header::Name;
use contesta::sip::message::{HEADERS_MAX, MESSAGE_SIZE_MAX, Message, StartLine};

use super::lies_in;

/// Reads the bytes both ways.
pub fn run(data: &[u8]) {
    datagram(data);
    stream(data);
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

fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
    let (mut framer, mut found) = (Framer::default(), Vec::new());
    for chunk in chunks {
        framer.push(chunk);
        found.extend(std::iter::from_fn(|| framer.next_frame()));
    }
    found
}
