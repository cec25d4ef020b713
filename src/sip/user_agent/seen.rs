//! Looking at a message before it is handled: whoever stands at the door has to know whether it belongs to something that we
//! have, and what it asks for if it does not.

use std::time::Instant;

use bytes::Bytes;

use super::UserAgent;
use super::originate::client_id;
use crate::ids::LegId;
use crate::sip::action::Action;
use crate::sip::dialog::LocalTag;
use crate::sip::envelope::{Envelope, ResponseEnvelope};
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::refusal::Refusal;
use crate::sip::registrar::claimed_user;
use crate::sip::transport::Peer;

/// A message that was looked at.
#[derive(Debug)]
pub struct Seen {
    source: Peer,
    message: Message,
    /// What it is.
    pub what: What,
}

/// What a message is, to whoever stands at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A response, or a request of a transaction or a dialog that we have.
    Known,
    /// A REGISTER.
    Register {
        /// Whom its credentials name, if it has any.
        user: Option<String>,
    },
    /// Another request, outside dialogs.
    Request(Method),
}

impl UserAgent {
    /// Looks at a message. `None`: SIP answers nothing of the kind, and nothing is to be done with it.
    #[must_use]
    pub fn look(&self, source: Peer, message: Bytes) -> Option<Seen> {
        let message = Message::scan(message)?;
        let what = match message.start_line() {
            StartLine::Response { .. } => What::Known,
            StartLine::Request { method, .. } => match Envelope::read(&message) {
                Ok(envelope) if self.is_known(&message, &envelope) => What::Known,
                Ok(_) if method == Method::Register => What::Register { user: claimed_user(&message) },
                Ok(_) | Err(_) => What::Request(method),
            },
        };
        Some(Seen { source, message, what })
    }

    /// Handles what was looked at, as [`handle_message`](Self::handle_message) does.
    pub fn handle_seen(&mut self, now: Instant, seen: &Seen, out: &mut Vec<Action>) {
        self.receive_message(now, seen.source, &seen.message, out);
    }

    /// Refuses what was looked at with 403, and remembers nothing of it (RFC 3261 §8.2.7).
    pub fn turn_away(&self, seen: &Seen, out: &mut Vec<Action>) {
        if !matches!(seen.what, What::Request(Method::Ack)) {
            self.refuse(seen.source, &seen.message, Refusal::Forbidden, out);
        }
    }

    /// The leg that a message belongs to: by its transaction, or by our tag. What knows no more of a call than its Call-ID belongs to none.
    #[must_use]
    pub fn leg_of(&self, message: Bytes) -> Option<LegId> {
        let message = Message::scan(message)?;
        match message.start_line() {
            StartLine::Response { .. } => {
                let client = self.clients.get(&client_id(&ResponseEnvelope::read(&message)?)?)?;
                client.leg
            }
            StartLine::Request { .. } => {
                let envelope = Envelope::read(&message).ok()?;
                let by_tag = our_tag(&envelope).and_then(|tag| self.by_tag.get(&tag).copied());
                by_tag.or_else(|| self.servers.get(self.transaction_of(&message, &envelope)?)?.leg)
            }
        }
    }

    fn is_known(&self, message: &Message, envelope: &Envelope<'_>) -> bool {
        our_tag(envelope).is_some_and(|tag| self.by_tag.contains_key(&tag))
            || self.transaction_of(message, envelope).is_some()
    }

    /// The transaction of a request (RFC 3261 §17.2.3, §9.2): ACK and CANCEL belong to an INVITE.
    fn transaction_of(&self, message: &Message, envelope: &Envelope<'_>) -> Option<u64> {
        let of_invite = matches!(envelope.method, Method::Ack | Method::Cancel);
        let of = if of_invite { Method::Invite } else { envelope.method };
        self.servers.find(self.servers.keys.of(message, envelope, of))
    }
}

fn our_tag(envelope: &Envelope<'_>) -> Option<LocalTag> {
    envelope.to.tag().and_then(LocalTag::parse)
}
