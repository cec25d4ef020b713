//! What remains of a call: one record, whatever became of it.

use jiff::Timestamp;

use crate::ids::CallKey;
use crate::media::{LegReport, RecordingReport};

use super::timeline::Segment;

/// One call's record, written once when its last leg has closed. Every call has one, also one abandoned in the greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The call.
    pub key: CallKey,
    /// Operator id. An INVITE for a number of no operator makes no call, and no record.
    pub operator: String,
    /// Flow id the call began in; empty for one that was for somebody's phone.
    pub flow: String,
    /// SIP Call-ID.
    pub sip_call_id: String,
    /// The called number as it arrived, percent-decoded.
    pub called: String,
    /// The caller's number, normalised; empty when anonymous.
    pub caller: String,
    /// Rating class: `gratuito`.
    pub class: String,
    /// When the INVITE arrived.
    pub began: Timestamp,
    /// When we sent the 200, if we did.
    pub answered: Option<Timestamp>,
    /// When the last leg closed.
    pub ended: Timestamp,
    /// What the call came to, as the flow says (`tag`: `bloqueo`), or `abandono` (the caller left, also before
    /// the answer), `informacion`, `rechazada` (we refused).
    pub result: String,
    /// Who ended it and how, one line.
    pub cause: String,
    /// Folios opened or consulted in this call.
    pub folios: Vec<String>,
    /// The way through the flow.
    pub path: Vec<PathEntry>,
    /// What the visit was made of, without a gap from its beginning to its end; empty for a call that nobody was called for.
    pub segments: Vec<Segment>,
    /// Its SIP messages, as [`Ladder`](crate::sip::ladder::Ladder) has them; empty for a call of before there were ladders.
    pub ladder: String,
    /// Totals of the caller's leg.
    pub media: LegReport,
    /// The call's recording, if one was begun.
    pub recording: Option<RecordingReport>,
}

/// One thing that happened on the way, milliseconds after the call began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// Milliseconds since the INVITE.
    pub at_ms: u64,
    /// Flow and step (`beneleit.principal/menu`), or the part of the call (`sip`, `media`).
    pub place: String,
    /// What happened: `enter`, `key 1`, `→ ok`, `says folio`. Digits of sensitive collects are `*`.
    pub what: String,
}
