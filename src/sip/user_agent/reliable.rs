//! Provisional responses that are acknowledged (RFC 3262), in both roles.
//!
//! Ours go out one behind the other: the next one waits for the PRACK of the one before, and so does a 2xx behind one that holds SDP
//! (RFC 3262 §3, §5). Without a PRACK for 64·T1 the INVITE is refused. The far end's are acknowledged in their order; each fork that
//! sends them has its own early dialog.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::finish::branch;
use super::leg::{Early, Leg, Outgoing, Pending, Reliable, Stage, Unpracked};
use super::transactions::{Errand, Originated, Ours};
use super::{UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event};
use crate::sip::dialog::{Dialog, OurSide};
use crate::sip::envelope::{Envelope, ResponseEnvelope};
use crate::sip::header::rack::{self, RAck};
use crate::sip::header::{Name, option_tags};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::refusal::{self, Refusal, SDP};
use crate::sip::timers::ClientId;
use crate::sip::transport::Peer;

/// The option tag (RFC 3262 §7.3).
const OPTION_TAG: &str = "100rel";

/// Provisional responses that wait for the PRACK of one before; further ones are left out, for only the last tells anything new.
const QUEUE_MAX: usize = 8;

/// Forks of an INVITE of ours whose provisional responses are acknowledged.
const FORKS_MAX: usize = 16;

/// Status of an INVITE whose provisional response was never acknowledged.
const NO_PRACK: u16 = 504;

impl UserAgent {
    /// Whether provisional responses to this INVITE are reliable (RFC 3262 §3).
    pub(super) fn has_to_be_reliable(&self, invite: &Message) -> bool {
        let names = |name| invite.values(name).any(|value| option_tags::names(value, OPTION_TAG));
        names(Name::Require) || (self.settings.reliable_progress && names(Name::Supported))
    }

    /// Sends a provisional response reliably, behind those that are open.
    pub(super) fn send_reliably(&mut self, now: Instant, id: LegId, status: u16, body: &[u8], out: &mut Vec<Action>) {
        // RFC 3262 §7.1: from 1 to 2³¹ − 1, so that it never wraps.
        let first = u32::try_from(1 + self.ids.below(0x7fff_0000)).unwrap_or(1);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let reliable = leg.reliable.get_or_insert_with(|| {
            Box::new(Reliable { next: first, open: None, queue: VecDeque::new(), described: false, held: None })
        });
        if reliable.held.is_some() || reliable.queue.len() >= QUEUE_MAX {
            return;
        }
        reliable.queue.push_back((status, Bytes::copy_from_slice(body)));
        if reliable.open.is_none() {
            self.send_next(now, id, out);
        }
    }

    /// Sends the provisional response that is the next in turn.
    fn send_next(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(Reliable { next, queue, .. }) = self.legs.get_mut(&id).and_then(|leg| leg.reliable.as_deref_mut())
        else {
            return;
        };
        let Some((status, body)) = queue.pop_front() else { return };
        let rseq = *next;
        *next += 1;
        let Some(leg) = self.legs.get(&id) else { return };
        let Some(pending) = &leg.pending else { return };
        let (server, cseq) = (pending.server, pending.cseq);
        let mut writer = self.respond_pending(leg, pending, status);
        writer.text("Require", OPTION_TAG);
        writer.header("RSeq", |out| rack::write_rseq(rseq, out));
        let response = writer.finish(SDP, &body);
        self.respond(now, server, status, response.clone(), out);
        let (t1, give_up) = (self.timing.t1, self.timing.give_up());
        if let Some(reliable) = self.legs.get_mut(&id).and_then(|leg| leg.reliable.as_mut()) {
            reliable.open = Some(Unpracked {
                rseq,
                cseq,
                describes: !body.is_empty(),
                response,
                resend_at: Some(now + t1),
                interval: t1,
                give_up_at: now + give_up,
            });
        }
        self.arm_leg(id);
    }

    /// Sends the open provisional response again, or gives up (RFC 3262 §3): from T1, doubling without bound, for 64·T1.
    pub(super) fn fire_reliable(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let server = leg.pending.as_ref().map(|pending| pending.server);
        let destination = server.and_then(|server| self.servers.get(server)).map(|server| server.destination);
        let Some(open) = leg.reliable.as_mut().and_then(|reliable| reliable.open.as_mut()) else {
            return self.arm_leg(id);
        };
        if open.give_up_at <= now {
            return self.refuse_unpracked(now, id, out);
        }
        if let Some(at) = open.resend_at.as_mut().filter(|at| **at <= now) {
            open.interval *= 2;
            *at += open.interval;
            if *at <= now {
                *at = now + open.interval;
            }
            if let Some(destination) = destination {
                send(destination, open.response.clone(), out);
            }
        }
        self.arm_leg(id);
    }

    fn refuse_unpracked(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(pending) = self.legs.get_mut(&id).and_then(|leg| leg.pending.take()) else { return };
        let Some(leg) = self.legs.get(&id) else { return };
        let response = self.respond_pending(leg, &pending, NO_PRACK).finish(SDP, b"");
        self.respond(now, pending.server, NO_PRACK, response, out);
        self.terminate_pending(now, id, out);
        self.finish(id, EndCause::NoPrack, out);
    }

    /// A PRACK: 481 unless it names what is open (RFC 3262 §3).
    #[expect(clippy::too_many_arguments, reason = "they are one request and where it belongs")]
    pub(super) fn receive_prack(
        &mut self,
        now: Instant,
        id: LegId,
        source: Peer,
        message: &Message,
        envelope: &Envelope<'_>,
        server: u64,
        out: &mut Vec<Action>,
    ) {
        let rack = message.value(Name::RAck).and_then(|value| RAck::parse(value).ok());
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let offerless = leg.pending.as_ref().is_some_and(|pending| !pending.request.has_body());
        let acknowledged = leg.reliable.as_mut().and_then(|reliable| {
            let names = |open: &mut Unpracked| {
                rack == Some(RAck { response: open.rseq, cseq: open.cseq, method: Method::Invite })
            };
            let open = reliable.open.take_if(names)?;
            reliable.described |= open.describes;
            Some(open)
        });
        let Some(open) = acknowledged else {
            let response = self.response(message, source, Refusal::NoDialog.status(), None).finish(SDP, b"");
            return self.respond(now, server, Refusal::NoDialog.status(), response, out);
        };
        let described = leg.reliable.as_ref().is_some_and(|reliable| reliable.described);
        let is_answer = offerless && open.describes;
        if refusal::is_sdp(message) && described && !is_answer && matches!(leg.stage, Stage::Incoming) {
            // RFC 3262 §5: another offer, whose answer goes into the 200.
            self.receive_offer(id, source, message, envelope, server, out);
        } else {
            self.respond_simply(now, source, message, server, out);
        }
        let answer = (is_answer && refusal::is_sdp(message)).then(|| message.body());
        out.push(Action::Event(Event::Acknowledged { leg: id, answer }));
        self.go_on(now, id, out);
        self.arm_leg(id);
    }

    /// What waited for the PRACK: the 2xx, or the next provisional response.
    pub(super) fn go_on(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| matches!(leg.stage, Stage::Incoming)) else { return };
        // The offer in a PRACK is answered before the INVITE is.
        if leg.early_offer.is_some() {
            return;
        }
        match leg.reliable.as_mut().and_then(|reliable| reliable.held.take()) {
            Some(answer) => self.accept_pending(now, id, &answer, out),
            None => self.send_next(now, id, out),
        }
    }

    /// Answers an offer that came by UPDATE or PRACK before the INVITE was answered.
    pub(super) fn accept_early(
        &mut self,
        now: Instant,
        id: LegId,
        early: &Pending,
        answer: &[u8],
        out: &mut Vec<Action>,
    ) {
        if let Some(dialog) = self.legs.get_mut(&id).and_then(|leg| leg.dialog.as_mut()) {
            dialog.refresh_target(&early.request, early.source);
        }
        let Some(leg) = self.legs.get(&id) else { return };
        let response = self.respond_pending(leg, early, 200).finish(SDP, answer);
        self.respond(now, early.server, 200, response, out);
        self.go_on(now, id, out);
    }

    /// A provisional response to our INVITE: acknowledged if it is reliable. `false` for one that came before, or too early
    /// (RFC 3262 §4): nobody is told of it.
    #[expect(clippy::too_many_arguments, reason = "they are one response and the request it answers")]
    pub(super) fn prack(
        &mut self,
        now: Instant,
        id: LegId,
        ours: &Originated,
        source: Peer,
        message: &Message,
        envelope: &ResponseEnvelope<'_>,
        out: &mut Vec<Action>,
    ) -> bool {
        let required = message.values(Name::Require).any(|value| option_tags::names(value, OPTION_TAG));
        let rseq = message.value(Name::RSeq).and_then(rack::rseq).filter(|_| required && envelope.status > 100);
        let (Some(rseq), Some(tag)) = (rseq, envelope.to.tag()) else { return true };
        let Some(Leg { stage: Stage::Outgoing(Outgoing { early, .. }), .. }) = self.legs.get_mut(&id) else {
            return true;
        };
        let known = early.iter().position(|early| early.dialog.remote_tag() == tag);
        let index = match known {
            Some(index) => index,
            None if early.len() >= FORKS_MAX => return true,
            None => {
                let side = OurSide { tag: ours.tag, uri: &ours.from, call_id: &ours.call_id, cseq: ours.cseq };
                let dialog = Dialog::from_answer(message, envelope, &side, &ours.target, source);
                early.push(Early { dialog, rseq: rseq.wrapping_sub(1) });
                early.len() - 1
            }
        };
        let Some(early) = early.get_mut(index) else { return true };
        if rseq != early.rseq.wrapping_add(1) {
            return false;
        }
        early.rseq = rseq;
        let client = ClientId { branch: self.ids.next_u64(), cancel: false };
        let (mut writer, destination) = early.dialog.request(Method::Prack, &branch(client), &self.settings.listeners);
        let rack = RAck { response: rseq, cseq: ours.cseq, method: Method::Invite };
        writer.header("RAck", |out| rack.write(out));
        writer.text("User-Agent", &self.settings.user_agent);
        let request = writer.finish(SDP, b"");
        self.begin_client(now, client, Some(id), Ours::Errand(Errand::Prack), (destination, request), out);
        true
    }
}

impl Leg {
    /// Whether the 2xx has to wait for the PRACK of SDP that was sent before; then it is kept (RFC 3262 §5).
    pub(super) fn holds_answer(&mut self, answer: &[u8]) -> bool {
        let Some(reliable) = self.reliable.as_mut().filter(|_| matches!(self.stage, Stage::Incoming)) else {
            return false;
        };
        let holds = reliable.open.as_ref().is_some_and(|open| open.describes);
        if holds {
            reliable.queue.clear();
            reliable.held.get_or_insert_with(|| Bytes::copy_from_slice(answer));
        }
        holds
    }

    /// A final response goes out: nothing provisional is sent any more, but a PRACK on its way is welcome (RFC 3262 §3). Whether SDP
    /// has been acknowledged before.
    pub(super) fn settle_progress(&mut self) -> bool {
        let Some(reliable) = &mut self.reliable else { return false };
        reliable.queue.clear();
        if let Some(open) = &mut reliable.open {
            open.resend_at = None;
        }
        std::mem::take(&mut reliable.described)
    }
}
