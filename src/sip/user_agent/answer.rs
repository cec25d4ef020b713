//! What the exchange says to a peer's INVITE, re-INVITE or UPDATE (RFC 3261 §13.3.1, §14.2; RFC 3311 §5.2).

use std::time::Instant;

use super::UserAgent;
use super::leg::{Leg, Pending, Stage, Unacknowledged};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Rejection};
use crate::sip::dialog::Dialog;
use crate::sip::header::session_expires::Refresher;
use crate::sip::header::{Name, contact, retry_after, warning};
use crate::sip::message::Message;
use crate::sip::refusal::SDP;
use crate::sip::session_timer::{OPTION_TAG, Said, SessionTimer};
use crate::sip::transport::Peer;
use crate::sip::writer::Writer;

impl UserAgent {
    pub(super) fn send_progress(&mut self, now: Instant, id: LegId, status: u16, body: &[u8], out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get(&id) else { return };
        let (Stage::Incoming, Some(pending)) = (&leg.stage, &leg.pending) else { return };
        if !(101..200).contains(&status) {
            return;
        }
        if self.has_to_be_reliable(&pending.request) {
            return self.send_reliably(now, id, status, body, out);
        }
        let server = pending.server;
        let response = self.respond_pending(leg, pending, status).finish(SDP, body);
        self.respond(now, server, status, response, out);
    }

    pub(super) fn accept_pending(&mut self, now: Instant, id: LegId, answer: &[u8], out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(early) = leg.early_offer.take() {
            return self.accept_early(now, id, &early, answer, out);
        }
        if leg.pending.is_some() && leg.holds_answer(answer) {
            return;
        }
        let Some(pending) = leg.pending.take() else { return };
        let described = leg.settle_progress();
        let answer = if described { b"" } else { answer };
        let initial = pending.initial;
        if let Some(dialog) = leg.dialog.as_mut().filter(|_| !initial) {
            dialog.refresh_target(&pending.request, pending.source);
        }
        leg.stage = Stage::Established;
        leg.learn(&pending.request);
        let Some(leg) = self.legs.get(&id) else { return };
        let mut writer = self.respond_pending(leg, &pending, 200);
        self.agree_on_session(now, id, &pending.request, &mut writer);
        let response = writer.finish(SDP, answer);
        let destination = self.servers.get(pending.server).map(|server| server.destination);
        self.respond(now, pending.server, 200, response.clone(), out);
        let (true, Some(destination), Some(leg)) = (pending.invite, destination, self.legs.get_mut(&id)) else {
            return self.arm_leg(id);
        };
        // RFC 3261 §13.3.1.4: from T1, doubling up to T2, for 64·T1, whatever the transport.
        leg.unacknowledged = Some(Box::new(Unacknowledged {
            response,
            destination,
            resend_at: now + self.timing.t1,
            interval: self.timing.t1,
            give_up_at: now + self.timing.give_up(),
            cseq: pending.cseq,
            initial,
            late_offer: !pending.request.has_body() && !described,
            hangup: None,
        }));
        self.arm_leg(id);
    }

    pub(super) fn reject_pending(&mut self, now: Instant, id: LegId, rejection: &Rejection, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(pending) = leg.early_offer.take().or_else(|| leg.pending.take()) else { return };
        let initial = pending.initial;
        // A status that refuses nothing would leave the transaction open for ever.
        let status = if (300..700).contains(&rejection.status) { rejection.status } else { 500 };
        let Some(leg) = self.legs.get(&id) else { return };
        let mut writer = self.respond_pending(leg, &pending, status);
        if let Some(seconds) = rejection.retry_after {
            writer.header("Retry-After", |out| retry_after::write(seconds, out));
        }
        if let Some(text) = &rejection.warning {
            writer.header("Warning", |out| {
                warning::write(self.settings.listeners.advertised_to(&pending.source), text, out)
            });
        }
        self.respond(now, pending.server, status, writer.finish(SDP, b""), out);
        if initial {
            self.finish(id, EndCause::Refused(status), out);
        } else {
            self.go_on(now, id, out);
        }
    }

    /// Answers 487 to whatever waits: it was cancelled, or its dialog ends (RFC 3261 §9.2, §15.1.2).
    pub(super) fn terminate_pending(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let referral = leg.referral.as_mut().and_then(|subscription| subscription.pending.take());
        let waiting = [leg.early_offer.take(), leg.pending.take(), referral.map(Box::new)];
        for pending in waiting.into_iter().flatten() {
            let Some(leg) = self.legs.get(&id) else { return };
            let response = self.respond_pending(leg, &pending, 487).finish(SDP, b"");
            self.respond(now, pending.server, 487, response, out);
        }
    }

    /// Begins a response to a waiting request, with what makes or refreshes the dialog (RFC 3261 §12.1.1).
    pub(super) fn respond_pending(&self, leg: &Leg, pending: &Pending, status: u16) -> Writer {
        // The request that makes a dialog has no To tag yet (RFC 3261 §8.2.6.2).
        let mut writer = self.response(&pending.request, pending.source, status, pending.initial.then_some(leg.tag));
        if status < 300 {
            writer.copy(&pending.request, Name::RecordRoute);
            let sips = leg.dialog.as_ref().is_some_and(Dialog::is_sips);
            self.write_contact(&mut writer, &pending.source, sips);
            writer.text("Allow", self.allowed());
            writer.text("Supported", self.supported().join(", "));
        }
        writer
    }

    /// Adds to a 2xx what it says of the session's timer, which begins with it (RFC 4028 §9).
    pub(super) fn agree_on_session(&mut self, now: Instant, id: LegId, request: &Message, writer: &mut Writer) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let said = Said::read(request);
        // One that is too short was refused before.
        let agreed = self.settings.session.answer(&said, leg.session.as_deref()).ok().flatten();
        if let Some(agreed) = agreed {
            writer.header("Session-Expires", |out| agreed.write(out));
            if said.supported {
                writer.text("Require", OPTION_TAG);
            }
        }
        // There is no session before the INVITE is answered, whatever an UPDATE says: nothing ends it, and nobody could send BYE.
        let established = !matches!(leg.stage, Stage::Incoming);
        let agreed = agreed.filter(|_| established);
        leg.session = agreed.map(|agreed| Box::new(SessionTimer::new(now, agreed, Refresher::Uas)));
    }

    /// Adds our Contact as `peer` reaches it.
    pub(super) fn write_contact(&self, writer: &mut Writer, peer: &Peer, sips: bool) {
        let advertised = self.settings.listeners.advertised_to(peer);
        writer.header("Contact", |out| contact::write(peer.transport, advertised, sips, out));
    }
}
