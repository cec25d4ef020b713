//! Our own INVITE: sending it, its answers, its CANCEL (RFC 3261 §13.2, §9.1), and every other answer to a request of ours.

use std::time::Instant;

use super::again::{Through, Trying};
use super::finish::branch;
use super::leg::{Leg, Outgoing, Stage};
use super::transactions::{Acknowledged, ClientMachine, Errand, Originated, Ours};
use super::{UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event, Invite};
use crate::sip::dialog::{Dialog, LocalTag, OurSide, bracket, is_sips};
use crate::sip::envelope::ResponseEnvelope;
use crate::sip::header::session_expires::{Refresher, SessionExpires};
use crate::sip::header::{Name, cseq, max_forwards, reason, via};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::refusal::SDP;
use crate::sip::session_timer::{Said, SessionTimer};
use crate::sip::timers::ClientId;
use crate::sip::transaction::invite_client::Answer;
use crate::sip::transport::Peer;
use crate::sip::uri::Uri;
use crate::sip::writer::Writer;

/// CSeq of an INVITE of ours: the first request of its Call-ID.
const FIRST_CSEQ: u32 = 1;
/// Length of the Call-IDs we make, in characters of 5 bits.
const CALL_ID_LENGTH: usize = 24;

impl UserAgent {
    pub(super) fn originate(
        &mut self,
        now: Instant,
        id: LegId,
        invite: &Invite,
        through: Option<&Through>,
        out: &mut Vec<Action>,
    ) {
        let tag = LocalTag(self.ids.next_u64());
        let readable = Uri::parse(invite.target.as_bytes()).is_ok_and(|uri| uri.host.is_some())
            && Uri::parse(invite.from.as_bytes()).is_ok();
        if !readable {
            return out.push(Action::Event(Event::Ended { leg: id, cause: EndCause::RemoteRefused(400) }));
        }
        let originated = Originated {
            target: invite.target.as_bytes().into(),
            offer: invite.offer.clone(),
            cseq: FIRST_CSEQ,
            min_se: 0,
            too_short: 0,
            from: invite.from.as_bytes().into(),
            tag,
            call_id: self.ids.token(CALL_ID_LENGTH).into_bytes().into_boxed_slice(),
            headers: through.map(|through| through.headers.as_slice().into()).unwrap_or_default(),
            proof: None,
            abandoned: false,
            acknowledged: None,
        };
        let client = self.send_invite(now, id, originated, invite.destination, out);
        let trying = through.map(|through| Box::new(Trying::new(now, through)));
        let stage =
            Stage::Outgoing(Outgoing { client, hangup: None, cancelled_until: None, early: Vec::new(), trying });
        self.insert_leg(id, Leg::new(tag, stage, None));
        self.arm_leg(id);
    }

    /// Sends an INVITE that makes a dialog.
    pub(super) fn send_invite(
        &mut self,
        now: Instant,
        leg: LegId,
        originated: Originated,
        destination: Peer,
        out: &mut Vec<Action>,
    ) -> ClientId {
        let client = ClientId { branch: self.ids.next_u64(), cancel: false };
        let mut writer = self.write_originated(Method::Invite, &originated, client, &destination, None);
        self.write_contact(&mut writer, &destination, is_sips(&originated.target));
        writer.text("Allow", self.allowed());
        let expires = self.settings.session.expires.map(|seconds| SessionExpires {
            seconds: seconds.max(originated.min_se),
            // The far end chooses (RFC 4028 §7.1).
            refresher: None,
        });
        self.write_session_request(&mut writer, expires, originated.min_se, !originated.offer.is_empty());
        for (name, value) in &originated.headers {
            writer.text(name, value);
        }
        writer.text("User-Agent", &self.settings.user_agent);
        let request = writer.finish(SDP, &originated.offer);
        self.begin_client(now, client, Some(leg), Ours::Invite(Box::new(originated)), (destination, request), out);
        client
    }

    /// Begins our INVITE, or the CANCEL or ACK that repeats its Request-URI, branch, From, Call-ID and CSeq number
    /// (RFC 3261 §9.1, §17.1.1.3). `to` is the To of the response that an ACK acknowledges.
    pub(super) fn write_originated(
        &self,
        method: Method,
        ours: &Originated,
        client: ClientId,
        destination: &Peer,
        to: Option<&[u8]>,
    ) -> Writer {
        let mut writer = Writer::request(method, &ours.target);
        let advertised = self.settings.listeners.advertised_to(destination);
        writer.header("Via", |out| via::write(destination.transport, advertised, &branch(client), out));
        writer.header("From", |out| {
            bracket(&ours.from, out);
            out.extend_from_slice(format!(";tag={}", ours.tag).as_bytes());
        });
        writer.header("To", |out| match to {
            Some(to) => out.extend_from_slice(to),
            None => bracket(&ours.target, out),
        });
        writer.text("Call-ID", &ours.call_id);
        writer.header("CSeq", |out| cseq::write(ours.cseq, method, out));
        writer.text("Max-Forwards", max_forwards::INITIAL.to_string());
        // RFC 3261 §22.1: an ACK has the credentials of its INVITE; nobody may challenge a CANCEL.
        if let (Some((name, value)), Method::Invite | Method::Ack) = (&ours.proof, method) {
            writer.text(name.text(), value);
        }
        writer
    }

    /// Sends CANCEL for a leg whose `hangup` is set, once its INVITE had a provisional response; before that it may not go out
    /// (RFC 3261 §9.1), and the next response or timer B takes care of it.
    pub(super) fn cancel(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(Leg { stage: Stage::Outgoing(outgoing), .. }) = self.legs.get(&id) else { return };
        let (client, Some(why), None) = (outgoing.client, outgoing.hangup.clone(), outgoing.cancelled_until) else {
            return;
        };
        let Some(transaction) = self.clients.get_mut(&client) else { return };
        let ClientMachine::Invite(machine, ours) = &mut transaction.machine else { return };
        if !machine.is_proceeding() {
            // A copy that arrives from now on would make somebody's phone ring for nobody.
            machine.fall_silent(now);
            return self.arm_client(client);
        }
        let (ours, destination) = (ours.clone(), transaction.destination);
        let mut writer = self.write_originated(Method::Cancel, &ours, client, &destination, None);
        if !why.is_empty() {
            writer.header("Reason", |out| reason::write(487, &why, out));
        }
        let request = writer.finish(SDP, b"");
        let ours = Ours::Errand(Errand::Cancel);
        self.begin_client(now, ClientId { cancel: true, ..client }, None, ours, (destination, request), out);
        if let Some(Leg { stage: Stage::Outgoing(outgoing), .. }) = self.legs.get_mut(&id) {
            outgoing.cancelled_until = Some(now + self.timing.give_up());
        }
        self.arm_leg(id);
    }

    /// A response: matched by branch and method (RFC 3261 §17.1.3). What matches nothing is dropped.
    pub(super) fn receive_response(&mut self, now: Instant, source: Peer, message: &Message, out: &mut Vec<Action>) {
        let Some(envelope) = ResponseEnvelope::read(message) else { return };
        let Some(id) = client_id(&envelope) else { return };
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.delivered(source);
        match &mut client.machine {
            ClientMachine::Invite(..) if envelope.cseq.method == Method::Invite => {
                self.receive_answer(now, id, source, message, &envelope, out);
            }
            ClientMachine::Reinvite(..) if envelope.cseq.method == Method::Invite => {
                self.receive_reanswer(now, id, source, message, &envelope, out);
            }
            ClientMachine::Other(machine, errand) if envelope.cseq.method == errand.method() => {
                let (ended, errand) = (machine.handle_response(now, envelope.status), *errand);
                let leg = client.leg.filter(|_| ended);
                self.arm_client(id);
                match (leg, errand) {
                    (_, Errand::Outside(_)) if ended => {
                        Self::responded(id, envelope.status, Some(message.whole()), out);
                    }
                    (Some(leg), Errand::Bye) => self.finish(leg, EndCause::LocalBye, out),
                    (Some(leg), Errand::Update) => {
                        self.receive_updated(now, leg, source, message, envelope.status, out);
                    }
                    (Some(leg), Errand::Info) => self.info_answered(now, leg, envelope.status, out),
                    (Some(leg), Errand::Refer) => self.refer_answered(leg, envelope.status, out),
                    (Some(leg), Errand::Notify) => self.notified(now, leg, envelope.status, out),
                    (Some(_), Errand::Cancel | Errand::Prack | Errand::Outside(_)) | (None, _) => {}
                }
            }
            ClientMachine::Invite(..) | ClientMachine::Reinvite(..) | ClientMachine::Other(..) => {}
        }
    }

    /// A response to our INVITE.
    fn receive_answer(
        &mut self,
        now: Instant,
        id: ClientId,
        source: Peer,
        message: &Message,
        envelope: &ResponseEnvelope<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(mut client) = self.clients.remove(&id) else { return };
        let ClientMachine::Invite(machine, ours) = &mut client.machine else { return };
        let ack = || {
            let writer = self.write_originated(Method::Ack, ours, id, &client.destination, message.value(Name::To));
            writer.finish(SDP, b"")
        };
        let answer = machine.handle_response(now, envelope.status, ack);
        let (destination, leg) = (client.destination, client.leg);
        match answer {
            Answer::ToUser if envelope.status >= 200 => {
                self.receive_2xx(now, id, ours, leg, source, message, envelope, out);
                self.insert_client(id, client);
            }
            Answer::ToUser => {
                let reliable = leg.is_none_or(|leg| self.prack(now, leg, ours, source, message, envelope, out));
                let abandoned = ours.abandoned;
                self.insert_client(id, client);
                if abandoned {
                    self.cancel_abandoned(now, id, out);
                }
                if let Some(leg) = leg.filter(|_| reliable) {
                    self.receive_provisional(now, leg, message, envelope.status, out);
                }
            }
            Answer::Refused(ack) => {
                send(destination, ack, out);
                let answer = (envelope.status, Some(message));
                let over =
                    leg.and_then(|leg| Some((leg, self.follow_refusal(now, leg, ours, destination, answer, out)?)));
                self.insert_client(id, client);
                if let Some((leg, cause)) = over {
                    self.finish(leg, cause, out);
                }
            }
            Answer::Again(ack) => {
                send(destination, ack, out);
                self.insert_client(id, client);
            }
            Answer::Absorbed => self.insert_client(id, client),
        }
    }

    fn receive_provisional(&mut self, now: Instant, leg: LegId, message: &Message, status: u16, out: &mut Vec<Action>) {
        if let Some(Leg { stage: Stage::Outgoing(Outgoing { trying: Some(trying), .. }), .. }) = self.legs.get_mut(&leg)
        {
            // Somebody is there: however long it rings, no other hop is tried for that.
            trying.next_at = None;
            self.arm_leg(leg);
        }
        match self.legs.get(&leg).map(|leg| &leg.stage) {
            Some(Stage::Outgoing(Outgoing { hangup: Some(_), .. })) => self.cancel(now, leg, out),
            Some(Stage::Outgoing(_)) if status > 100 => {
                out.push(Action::Event(Event::Ringing { leg, status, body: message.body() }));
            }
            Some(Stage::Outgoing(_) | Stage::Incoming | Stage::Established | Stage::Ending) | None => {}
        }
    }

    /// A 2xx: acknowledged each time it comes (RFC 3261 §13.2.2.4). The first one makes the dialog; one of another fork, or one that
    /// comes when nobody wants it any more, is acknowledged and ended with BYE.
    #[expect(clippy::too_many_arguments, reason = "they are one response and the request it answers")]
    fn receive_2xx(
        &mut self,
        now: Instant,
        client: ClientId,
        ours: &mut Originated,
        leg: Option<LegId>,
        source: Peer,
        message: &Message,
        envelope: &ResponseEnvelope<'_>,
        out: &mut Vec<Action>,
    ) {
        let remote_tag = envelope.to.tag().unwrap_or_default();
        if let Some(known) = ours.acknowledged.as_ref().filter(|known| *known.remote_tag == *remote_tag) {
            // Without an ACK yet, our answer to its offer is waited for.
            let ack = known.ack.iter().map(|ack| (known.destination, ack.clone()));
            return ack.for_each(|(destination, ack)| send(destination, ack, out));
        }
        let side = OurSide { tag: ours.tag, uri: &ours.from, call_id: &ours.call_id, cseq: ours.cseq };
        let mut dialog = Dialog::from_answer(message, envelope, &side, &ours.target, source);
        let first = ours.acknowledged.is_none();
        if let Some(Stage::Outgoing(Outgoing { early, .. })) =
            leg.and_then(|id| self.legs.get(&id)).map(|leg| &leg.stage)
            && let Some(early) = early.iter().find(|early| early.dialog.remote_tag() == remote_tag)
        {
            dialog.number_from(&early.dialog);
        }
        let wanted = leg.filter(|_| first).and_then(|id| Some((id, self.legs.get_mut(&id)?)));
        let hangup = match &mut wanted.as_ref().map(|(_, leg)| &leg.stage) {
            Some(Stage::Outgoing(outgoing)) => outgoing.hangup.clone(),
            Some(Stage::Incoming | Stage::Established | Stage::Ending) | None => None,
        };
        // RFC 3261 §13.2.1: without an offer in the INVITE, the ACK brings our answer to that of the 2xx.
        let owed = ours.offer.is_empty() && wanted.is_some() && hangup.is_none();
        let ack_id = ClientId { branch: self.ids.next_u64(), cancel: false };
        let (writer, destination) = dialog.ack(ours.cseq, &branch(ack_id), &self.settings.listeners);
        let mut writer = writer;
        if let Some((name, value)) = &ours.proof {
            writer.text(name.text(), value);
        }
        let ack = (!owed).then(|| writer.finish(SDP, b""));
        if let Some(ack) = &ack {
            send(destination, ack.clone(), out);
        }
        if first {
            ours.acknowledged = Some(Acknowledged { remote_tag: remote_tag.into(), ack, destination });
        }
        let Some((id, leg)) = wanted else {
            return self.send_bye(now, &mut dialog, None, (200, "answered elsewhere"), out);
        };
        leg.stage = Stage::Established;
        leg.dialog = Some(dialog);
        leg.owed_ack = owed.then_some(client);
        leg.learn(message);
        let agreed = Said::read(message).expires;
        leg.session = agreed.map(|agreed| Box::new(SessionTimer::new(now, agreed, Refresher::Uac)));
        self.arm_leg(id);
        match hangup {
            Some(why) => self.bye(now, id, &why, out),
            None => out.push(Action::Event(Event::Answered { leg: id, body: message.body() })),
        }
    }

    /// How a leg ends whose INVITE was refused with `status`, or timed out (408).
    pub(super) fn refused_cause(&self, leg: LegId, status: u16) -> EndCause {
        match self.legs.get(&leg).map(|leg| &leg.stage) {
            Some(Stage::Outgoing(Outgoing { hangup: Some(_), .. })) => EndCause::LocalBye,
            Some(_) | None => EndCause::RemoteRefused(status),
        }
    }
}

/// The transaction that a response names (RFC 3261 §17.1.3).
pub(super) fn client_id(envelope: &ResponseEnvelope<'_>) -> Option<ClientId> {
    let LocalTag(branch) = LocalTag::parse(envelope.via.branch?.strip_prefix(via::MAGIC_COOKIE)?)?;
    Some(ClientId { branch, cancel: envelope.cseq.method == Method::Cancel })
}
