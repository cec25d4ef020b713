//! Messages in: what each request is checked for, in which order (RFC 3261 §8.2), and where it goes. Refusals that follow from the
//! request alone are stateless (§8.2.7): the same request gets the same answer, and leaves nothing behind.

use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use super::leg::{Leg, Pending, Stage};
use super::transactions::ServerMachine;
use super::{DIALOG_HEADROOM, UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event, Invitation};
use crate::sip::cursor::text;
use crate::sip::dialog::{Dialog, LocalTag};
use crate::sip::envelope::Envelope;
use crate::sip::header::Name;
use crate::sip::header::address::Address;
use crate::sip::header::via::Via;
use crate::sip::message::{Fault, Message, StartLine};
use crate::sip::method::Method;
use crate::sip::refusal::{self, Refusal, SDP};
use crate::sip::session_timer::Said;
use crate::sip::stun;
use crate::sip::transaction::invite_server::{Ack, InviteServer};
use crate::sip::transaction::key::Key;
use crate::sip::transport::Peer;
use crate::sip::uri::decoded;
use crate::sip::writer::Writer;

/// Retry-After of a 503 when there is no room, in seconds: the length of a short call.
const FULL_RETRY_AFTER: u32 = 30;

impl UserAgent {
    pub(super) fn receive(&mut self, now: Instant, source: Peer, message: Bytes, out: &mut Vec<Action>) {
        match Message::scan(message.clone()) {
            Some(message) => self.receive_message(now, source, &message, out),
            // A registered phone keeps its way through a NAT open (RFC 5626 §4.4.2); what others send gets no answer.
            None if self.registrar.as_ref().is_some_and(|registrar| registrar.user_at(&source).is_some()) => {
                out.extend(
                    stun::answer(&message, source.address).map(|message| Action::Send { destination: source, message }),
                );
            }
            None => {}
        }
    }

    /// What is SIP.
    pub(super) fn receive_message(&mut self, now: Instant, source: Peer, message: &Message, out: &mut Vec<Action>) {
        let endless = source.transport.is_stream() && message.value(Name::ContentLength).is_none();
        match message.start_line() {
            StartLine::Response { .. } if endless => {}
            StartLine::Response { .. } => self.receive_response(now, source, message, out),
            StartLine::Request { method, .. } => match Envelope::read(message).and_then(|envelope| {
                // RFC 3261 §18.3: over a stream nobody knows where such a message ends.
                if endless { Err(Fault::Missing(Name::ContentLength)) } else { Ok(envelope) }
            }) {
                Ok(envelope) => self.receive_request(now, source, message, &envelope, out),
                // RFC 3261 §17.1.1.3: nothing ever answers an ACK.
                Err(_) if method == Method::Ack => {}
                Err(fault) => {
                    debug!(peer = %source, %fault, "bad request");
                    self.refuse(source, message, Refusal::Fault(fault), out);
                }
            },
        }
    }

    fn receive_request(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        out: &mut Vec<Action>,
    ) {
        match envelope.method {
            Method::Ack => return self.receive_ack(now, source, message, envelope, out),
            Method::Cancel => return self.receive_cancel(now, source, message, envelope, out),
            Method::Invite
            | Method::Bye
            | Method::Options
            | Method::Info
            | Method::Update
            | Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Message
            | Method::Refer
            | Method::Publish
            | Method::Prack
            | Method::Other => {}
        }
        let key = self.servers.keys.of(message, envelope, envelope.method);
        if let Some(server) = self.servers.find(key).and_then(|id| self.servers.get_mut(id)) {
            // Nothing is repeated over a connection, so the one before was lost: the answer goes by the new one.
            if source.transport.is_reliable() {
                server.destination = envelope.via.response_destination(source);
            }
            if let Some(response) = server.machine.handle_request() {
                send(server.destination, response, out);
            }
            return;
        }
        if let Err(refusal) = self.check(envelope) {
            return self.refuse(source, message, refusal, out);
        }
        if envelope.to.tag().is_some() {
            return self.receive_within(now, source, message, envelope, key, out);
        }
        if envelope.method == Method::Register {
            return self.receive_register(now, source, message, envelope, key, out);
        }
        match self.check_outside(message, envelope) {
            Err(refusal) => self.refuse(source, message, refusal, out),
            Ok(()) if envelope.method == Method::Invite => self.receive_invite(source, message, envelope, key, out),
            Ok(()) => {
                let tag = stateless_tag(message);
                let writer = self.respond_options(message, source, Some(tag));
                send(envelope.via.response_destination(source), writer.finish(SDP, b""), out);
            }
        }
    }

    /// What is checked for every request but ACK and CANCEL.
    fn check(&self, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        if envelope.method != Method::Register || self.registrar.is_none() {
            refusal::check_method(envelope.method)?;
        }
        refusal::check_scheme(&envelope.uri)?;
        let headroom = match envelope.to.tag() {
            Some(_) => self.settings.max_dialogs.saturating_mul(DIALOG_HEADROOM),
            None => 0,
        };
        if self.servers.len() >= self.settings.max_transactions.saturating_add(headroom) {
            return Err(Refusal::Unavailable { retry_after: FULL_RETRY_AFTER });
        }
        Ok(())
    }

    /// What is checked for a request outside dialogs.
    fn check_outside(&self, message: &Message, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        let invite = envelope.method == Method::Invite;
        // Nobody outside a call tells us whom to call.
        if envelope.method == Method::Refer {
            return Err(Refusal::Forbidden);
        }
        if !invite && envelope.method != Method::Options {
            return Err(Refusal::NoDialog);
        }
        if invite && self.servers.has_merged(self.servers.keys.merged(envelope)) {
            return Err(Refusal::Merged);
        }
        refusal::check_extensions(message, self.supported())?;
        if invite {
            refusal::check_session(message)?;
            let session = self.settings.session.answer(&Said::read(message), None);
            session.map_err(|short| Refusal::SessionTooShort { min_se: short.min_se })?;
        }
        // RFC 3261 §11.2: OPTIONS gets the status that an INVITE would get, so that a balancer's probe sees the drain.
        match self.draining {
            Some(retry_after) => Err(Refusal::Unavailable { retry_after }),
            None if self.legs.len() >= self.settings.max_dialogs => {
                Err(Refusal::Unavailable { retry_after: FULL_RETRY_AFTER })
            }
            None => Ok(()),
        }
    }

    /// A new INVITE that passed all checks (RFC 3261 §13.3.1).
    fn receive_invite(
        &mut self,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        key: Key,
        out: &mut Vec<Action>,
    ) {
        let replaces = match self.replaced(message) {
            Ok(replaces) => replaces,
            Err(refusal) => return self.refuse(source, message, refusal, out),
        };
        let (id, tag) = self.new_leg();
        let dialog = match Dialog::from_invite(message, envelope, tag, source) {
            Ok(dialog) => dialog,
            Err(malformed) => {
                return self.refuse(source, message, Refusal::Fault(Fault::Malformed(malformed)), out);
            }
        };
        let merged = Some(self.servers.keys.merged(envelope));
        let server = self.begin_invite(source, message, envelope, id, key, merged, out);
        let pending = Pending {
            server,
            request: message.clone(),
            source,
            invite: true,
            initial: true,
            cseq: envelope.cseq.number,
        };
        let mut leg = Leg::new(tag, Stage::Incoming, Some(dialog));
        leg.pending = Some(Box::new(pending));
        leg.learn(message);
        self.insert_leg(id, leg);
        let invitation = Box::new(Invitation { replaces, ..invitation(message, envelope, source) });
        debug!(leg = id.0, sip_call_id = %invitation.call_id, peer = %source, "invited");
        out.push(Action::Event(Event::Invited { leg: id, invitation }));
    }

    /// Makes the transaction of an INVITE and sends its 100 (RFC 3261 §17.2.1, §8.2.6.1).
    #[expect(clippy::too_many_arguments, reason = "they are one request and where it belongs")]
    pub(super) fn begin_invite(
        &mut self,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        leg: LegId,
        key: Key,
        merged: Option<Key>,
        out: &mut Vec<Action>,
    ) -> u64 {
        let mut trying = self.response(message, source, 100, None);
        trying.copy(message, Name::Timestamp);
        let trying = trying.finish(SDP, b"");
        let destination = envelope.via.response_destination(source);
        send(destination, trying.clone(), out);
        let machine = ServerMachine::Invite(InviteServer::new(self.timing.over(source.transport), trying));
        self.servers.insert(machine, destination, Some(leg), key, merged)
    }

    fn receive_ack(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        out: &mut Vec<Action>,
    ) {
        let id = self.servers.find(self.servers.keys.of(message, envelope, Method::Invite));
        if let Some(id) = id
            && let Some(server) = self.servers.get_mut(id)
            && let ServerMachine::Invite(machine) = &mut server.machine
            && machine.handle_ack(now) == Ack::Absorbed
        {
            return self.arm_server(id);
        }
        // The ACK of a 2xx has a branch of its own (RFC 3261 §13.2.2.4), or the INVITE's when its sender errs.
        self.receive_acknowledgement(now, source, message, envelope, out);
    }

    /// RFC 3261 §9.2.
    fn receive_cancel(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(id) = self.servers.find(self.servers.keys.of(message, envelope, Method::Invite)) else {
            return self.refuse(source, message, Refusal::NoDialog, out);
        };
        let Some(leg_id) = self.servers.get(id).and_then(|server| server.leg) else { return };
        let leg = self.legs.get(&leg_id);
        let tag = leg.map_or_else(|| stateless_tag(message), |leg| leg.tag);
        let tag = envelope.to.tag().is_none().then_some(tag);
        let initial = leg.is_some_and(|leg| matches!(leg.stage, Stage::Incoming));
        let waits = leg.and_then(|leg| leg.pending.as_ref()).is_some_and(|pending| pending.server == id);
        let response = self.response(message, source, 200, tag).finish(SDP, b"");
        send(envelope.via.response_destination(source), response, out);
        // A CANCEL behind the final response has no effect beyond its 200.
        if waits {
            self.terminate_pending(now, leg_id, out);
            if initial {
                self.finish(leg_id, EndCause::Cancelled, out);
            }
        }
    }

    /// Begins a response with the headers that all of ours have.
    pub(super) fn response(&self, request: &Message, source: Peer, status: u16, tag: Option<LocalTag>) -> Writer {
        let via = request.value(Name::Via).and_then(|value| Via::parse(value).ok());
        let tag = tag.map(|tag| tag.to_string());
        let mut writer = Writer::response(request, via.as_ref(), source.address, status, tag.as_deref());
        writer.text("Server", &self.settings.user_agent);
        writer
    }

    /// The answer to OPTIONS (RFC 3261 §11.2).
    pub(super) fn respond_options(&self, request: &Message, source: Peer, tag: Option<LocalTag>) -> Writer {
        let mut writer = self.response(request, source, 200, tag);
        let register = if self.registrar.is_some() { ", REGISTER" } else { "" };
        writer.text("Allow", format!("{}{register}", self.allowed()));
        writer.text("Accept", SDP);
        writer.text("Accept-Encoding", "identity");
        writer.text("Accept-Language", "es-MX");
        writer.text("Supported", self.supported().join(", "));
        writer
    }

    /// Refuses without a transaction (RFC 3261 §8.2.7). A request whose Via is unreadable is answered where it came from; one
    /// without any Via is dropped.
    pub(super) fn refuse(&self, source: Peer, message: &Message, refusal: Refusal, out: &mut Vec<Action>) {
        let Some(via) = message.value(Name::Via).map(Via::parse) else { return };
        let to = message.value(Name::To).and_then(|value| Address::parse(Name::To, value).ok());
        let tag = to.filter(|to| to.tag().is_none()).map(|_| stateless_tag(message));
        let mut writer = self.response(message, source, refusal.status(), tag);
        refusal.write(message, self.settings.listeners.advertised_to(&source), &mut writer);
        let destination = via.map_or(source, |via| via.response_destination(source));
        send(destination, writer.finish(SDP, b""), out);
    }
}

/// A To tag that is the same for every copy of a request (RFC 3261 §8.2.7): from Call-ID, Via and From, which copies share.
pub(super) fn stateless_tag(message: &Message) -> LocalTag {
    let mut hasher = DefaultHasher::new();
    for name in [Name::CallId, Name::Via, Name::From] {
        hasher.write(message.value(name).unwrap_or_default());
    }
    LocalTag(hasher.finish())
}

/// An INVITE in the exchange's words.
fn invitation(message: &Message, envelope: &Envelope<'_>, source: Peer) -> Invitation {
    Invitation {
        request_user: envelope.uri.user_text(),
        request_parameters: envelope.uri.all_parameters(),
        to_user: envelope.to.uri.user_text(),
        called_party: first_user(message, Name::PCalledPartyId),
        diverted_by: first_user(message, Name::Diversion),
        called_first: first_user(message, Name::HistoryInfo),
        from_user: envelope.from.uri.user.map(decoded).filter(|user| user != "anonymous").unwrap_or_default(),
        from_display: envelope.from.display_text(),
        call_id: text(envelope.call_id),
        user_agent: message.value(Name::UserAgent).map(text).unwrap_or_default(),
        source,
        offer: message.has_body().then(|| message.body()),
        replaces: None,
    }
}

/// The user part of the first address of a header; empty where there is none that can be read.
fn first_user(message: &Message, name: Name) -> String {
    let mut first = None;
    if let Some(value) = message.value(name) {
        // What is broken behind the first one is no business of ours.
        let _ = Address::parse_list(name, value, |address| {
            first.get_or_insert_with(|| address.uri.user_text());
        });
    }
    first.unwrap_or_default()
}
