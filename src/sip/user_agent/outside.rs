//! Our requests outside dialogs: REGISTER (RFC 3261 §10.2) and OPTIONS (§11.1). Whoever asks says all but Via and what the transaction
//! needs, and hears of exactly one end: the first final response, or why there is none.

use std::time::Instant;

use bytes::Bytes;

use super::UserAgent;
use super::finish::branch;
use super::transactions::{Errand, Ours};
use crate::sip::action::{Action, Event};
use crate::sip::dialog::{LocalTag, bracket};
use crate::sip::header::{cseq, max_forwards, via};
use crate::sip::method::Method;
use crate::sip::refusal::SDP;
use crate::sip::timers::ClientId;
use crate::sip::transport::Peer;
use crate::sip::writer::Writer;

/// Names a request of ours outside dialogs; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutsideId(u64);

/// A request outside dialogs, other than INVITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// REGISTER or OPTIONS.
    pub method: Method,
    /// Request-URI.
    pub target: String,
    /// Where it goes.
    pub destination: Peer,
    /// From URI, without brackets.
    pub from: String,
    /// Our tag.
    pub tag: LocalTag,
    /// To URI, without brackets.
    pub to: String,
    /// Call-ID: one for all REGISTERs of a registration (RFC 3261 §10.2).
    pub call_id: String,
    /// Goes up with each request of one Call-ID.
    pub cseq: u32,
    /// What else it says: names and values without control characters.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl UserAgent {
    /// Sends a request outside dialogs. Its end comes as [`Event::Responded`], exactly once.
    pub fn request(&mut self, now: Instant, outside: &Outside, out: &mut Vec<Action>) -> OutsideId {
        let id = ClientId { branch: self.ids.next_u64(), cancel: false };
        let destination = outside.destination;
        let advertised = self.settings.listeners.advertised_to(&destination);
        let mut writer = Writer::request(outside.method, outside.target.as_bytes());
        writer.header("Via", |out| via::write(destination.transport, advertised, &branch(id), out));
        writer.header("From", |out| {
            bracket(outside.from.as_bytes(), out);
            out.extend_from_slice(format!(";tag={}", outside.tag).as_bytes());
        });
        writer.header("To", |out| bracket(outside.to.as_bytes(), out));
        writer.text("Call-ID", &outside.call_id);
        writer.header("CSeq", |out| cseq::write(outside.cseq, outside.method, out));
        writer.text("Max-Forwards", max_forwards::INITIAL.to_string());
        for (name, value) in &outside.headers {
            writer.text(name, value);
        }
        writer.text("User-Agent", &self.settings.user_agent);
        let ours = Ours::Errand(Errand::Outside(outside.method));
        self.begin_client(now, id, None, ours, (destination, writer.finish(SDP, b"")), out);
        OutsideId(id.branch)
    }

    /// The end of a request outside dialogs: `message` is the response, if one came.
    pub(super) fn responded(id: ClientId, status: u16, message: Option<Bytes>, out: &mut Vec<Action>) {
        out.push(Action::Event(Event::Responded { request: OutsideId(id.branch), status, message }));
    }
}
