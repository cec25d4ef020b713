//! Requests inside a dialog (RFC 3261 §12.2.2, §14.2, §15.1.2; RFC 3311 for UPDATE, RFC 6086 for INFO).

use std::time::Instant;

use super::leg::{Pending, Stage};
use super::transactions::ServerMachine;
use super::{UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event};
use crate::sip::dialog::{Dialog, LocalTag};
use crate::sip::envelope::Envelope;
use crate::sip::header::Name;
use crate::sip::header::content_type::ContentType;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::refusal::{self, INFO_TYPES, Refusal, SDP};
use crate::sip::session_timer::Said;
use crate::sip::transaction::key::Key;
use crate::sip::transaction::server::Server;
use crate::sip::transport::Peer;

impl UserAgent {
    /// The leg whose dialog this request names.
    fn find_leg(&self, envelope: &Envelope<'_>) -> Option<LegId> {
        let id = *self.by_tag.get(&LocalTag::parse(envelope.to.tag()?)?)?;
        let dialog = self.legs.get(&id)?.dialog.as_ref()?;
        dialog.matches(envelope).then_some(id)
    }

    /// A request with a To tag.
    pub(super) fn receive_within(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        key: Key,
        out: &mut Vec<Action>,
    ) {
        // RFC 3261 §12.2.2: a dialog that we do not have.
        let Some(id) = self.find_leg(envelope) else { return self.refuse(source, message, Refusal::NoDialog, out) };
        let server = if envelope.method == Method::Invite {
            self.begin_invite(source, message, envelope, id, key, None, out)
        } else {
            let destination = envelope.via.response_destination(source);
            self.servers.insert(
                ServerMachine::Other(Server::new(self.timing.over(source.transport))),
                destination,
                Some(id),
                key,
                None,
            )
        };
        if let Err(refusal) = self.check_within(id, source, message, envelope) {
            let mut writer = self.response(message, source, refusal.status(), None);
            refusal.write(message, self.settings.listeners.advertised_to(&source), &mut writer);
            return self.respond(now, server, refusal.status(), writer.finish(SDP, b""), out);
        }
        match envelope.method {
            Method::Bye => self.receive_bye(now, id, source, message, server, out),
            Method::Info => self.receive_info(now, id, source, message, server, out),
            Method::Refer => self.receive_refer(now, id, source, message, envelope, server, out),
            Method::Notify => self.receive_notify(now, id, source, message, server, out),
            Method::Prack => self.receive_prack(now, id, source, message, envelope, server, out),
            Method::Invite => self.receive_offer(id, source, message, envelope, server, out),
            Method::Update if message.has_body() => self.receive_offer(id, source, message, envelope, server, out),
            // An UPDATE without offer refreshes the target and asks nothing (RFC 3311 §5.2).
            Method::Update => self.receive_refresh(now, id, source, message, server, out),
            Method::Options
            | Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Subscribe
            | Method::Message
            | Method::Publish
            | Method::Other => {
                let response = self.respond_options(message, source, None).finish(SDP, b"");
                self.respond(now, server, 200, response, out);
            }
        }
    }

    /// Whether the dialog may take the request now.
    fn check_within(
        &mut self,
        id: LegId,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
    ) -> Result<(), Refusal> {
        let supported = self.supported();
        let retry_after = u32::try_from(self.ids.below(11)).unwrap_or_default();
        let leg = self.legs.get_mut(&id).ok_or(Refusal::NoDialog)?;
        let dialog = leg.dialog.as_mut().ok_or(Refusal::NoDialog)?;
        if !dialog.take_cseq(envelope.cseq.number) {
            return Err(Refusal::OutOfOrder { retry_after });
        }
        dialog.follow(source);
        if matches!(leg.stage, Stage::Ending) && envelope.method != Method::Bye {
            return Err(Refusal::NoDialog);
        }
        refusal::check_extensions(message, supported)?;
        if matches!(envelope.method, Method::Invite | Method::Update) {
            let session = self.settings.session.answer(&Said::read(message), leg.session.as_deref());
            session.map_err(|short| Refusal::SessionTooShort { min_se: short.min_se })?;
        }
        let offers = envelope.method == Method::Invite || (envelope.method == Method::Update && message.has_body());
        if offers {
            refusal::check_session(message)?;
            // RFC 3261 §14.2, RFC 3311 §5.2: the peer's former offer has no answer yet.
            let described = leg.reliable.as_ref().is_some_and(|reliable| reliable.described);
            let early = envelope.method == Method::Update && described && matches!(leg.stage, Stage::Incoming);
            if leg.early_offer.is_some() || (leg.pending.is_some() && !early) {
                return Err(Refusal::OutOfOrder { retry_after });
            }
            // RFC 3261 §14.2, RFC 3311 §5.2: our own has no answer yet, or our answer is not on its way.
            let ours = leg.asks() && leg.change.as_ref().is_some_and(|change| change.invite);
            if ours || leg.owed_ack.is_some() {
                return Err(Refusal::RequestPending);
            }
            // An INVITE of which our 2xx has no ACK is not settled: a second one has to wait; so has an UPDATE while
            // that 2xx holds our offer.
            let open = leg.unacknowledged.as_ref();
            if open.is_some_and(|open| envelope.method == Method::Invite || open.late_offer) {
                return Err(Refusal::RequestPending);
            }
        }
        Ok(())
    }

    /// An UPDATE without offer: a new target, and a refresh of the session (RFC 4028 §7.4).
    fn receive_refresh(
        &mut self,
        now: Instant,
        id: LegId,
        source: Peer,
        message: &Message,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(message, source);
        }
        leg.learn(message);
        let sips = leg.dialog.as_ref().is_some_and(Dialog::is_sips);
        let mut writer = self.response(message, source, 200, None);
        self.write_contact(&mut writer, &source, sips);
        writer.text("Allow", self.allowed());
        writer.text("Supported", self.supported().join(", "));
        self.agree_on_session(now, id, message, &mut writer);
        self.respond(now, server, 200, writer.finish(SDP, b""), out);
        self.arm_leg(id);
    }

    /// RFC 3261 §15.1.2.
    fn receive_bye(
        &mut self,
        now: Instant,
        id: LegId,
        source: Peer,
        message: &Message,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        self.respond_simply(now, source, message, server, out);
        self.terminate_pending(now, id, out);
        let ending = self.legs.get(&id).is_some_and(|leg| matches!(leg.stage, Stage::Ending));
        self.finish(id, if ending { EndCause::LocalBye } else { EndCause::RemoteBye }, out);
    }

    fn receive_info(
        &mut self,
        now: Instant,
        id: LegId,
        source: Peer,
        message: &Message,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let content_type = message.value(Name::ContentType).and_then(|value| ContentType::parse(value).ok());
        let known = content_type.filter(|found| INFO_TYPES.iter().any(|name| found.is(name)));
        // RFC 6086 §4.2.2: INFO without a body is a probe and fine; a body that we do not read is 415.
        if message.has_body() && known.is_none() {
            let mut writer = self.response(message, source, 415, None);
            Refusal::InfoType.write(message, self.settings.listeners.advertised_to(&source), &mut writer);
            return self.respond(now, server, 415, writer.finish(SDP, b""), out);
        }
        self.respond_simply(now, source, message, server, out);
        if let Some(content_type) = known {
            let event = Event::Info { leg: id, content_type: content_type.essence(), body: message.body() };
            out.push(Action::Event(event));
        }
    }

    /// A re-INVITE, or an UPDATE with an offer: the exchange decides.
    pub(super) fn receive_offer(
        &mut self,
        id: LegId,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let invite = envelope.method == Method::Invite;
        let pending =
            Pending { server, request: message.clone(), source, invite, initial: false, cseq: envelope.cseq.number };
        match leg.stage {
            Stage::Incoming => leg.early_offer = Some(Box::new(pending)),
            Stage::Outgoing(_) | Stage::Established | Stage::Ending => leg.pending = Some(Box::new(pending)),
        }
        let offer = message.has_body().then(|| message.body());
        out.push(Action::Event(Event::Reoffered { leg: id, offer }));
    }

    /// The ACK of a 2xx.
    pub(super) fn receive_acknowledgement(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(id) = self.find_leg(envelope) else { return };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(dialog) = &mut leg.dialog {
            dialog.follow(source);
        }
        let Some(open) = leg.unacknowledged.take_if(|open| open.cseq == envelope.cseq.number) else { return };
        self.arm_leg(id);
        if let Some(reason) = &open.hangup {
            return self.bye(now, id, reason, out);
        }
        if open.initial || open.late_offer {
            let answer = (open.late_offer && refusal::is_sdp(message)).then(|| message.body());
            out.push(Action::Event(Event::Confirmed { leg: id, answer }));
        }
    }

    /// A bare 200.
    pub(super) fn respond_simply(
        &mut self,
        now: Instant,
        source: Peer,
        message: &Message,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let mut writer = self.response(message, source, 200, None);
        writer.text("Allow", self.allowed());
        self.respond(now, server, 200, writer.finish(SDP, b""), out);
    }

    /// Gives a response to its transaction and sends what that lets through.
    pub(super) fn respond(
        &mut self,
        now: Instant,
        server: u64,
        status: u16,
        response: bytes::Bytes,
        out: &mut Vec<Action>,
    ) {
        let Some(transaction) = self.servers.get_mut(server) else { return };
        if let Some(response) = transaction.machine.respond(now, status, response) {
            send(transaction.destination, response, out);
        }
        self.arm_server(server);
    }
}
