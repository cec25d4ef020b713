//! What we ask within a dialog: re-INVITE (RFC 3261 §14.1), UPDATE (RFC 3311 §5.1), and with both the refresh of the session
//! (RFC 4028 §7.4, §10).
//!
//! | what we sent | its answer | what follows |
//! |---|---|---|
//! | either | 2xx | the session goes on, its timer begins again |
//! | either | 408, or none | the far end has vanished: BYE |
//! | either | 481 | it has forgotten the call: BYE |
//! | re-INVITE | 1xx, and nothing more for 64·T1 | CANCEL; nothing for as long again: it has vanished |
//! | either | 491 | again, after a time that depends on whose Call-ID it is |
//! | either | 422 | again at once, as long as it says, a few times |
//! | UPDATE | 405, 501 | again at once, as re-INVITE |
//! | either | another | all is as it was; a refresh is tried again before the session ends |

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::finish::branch;
use super::leg::{Change, Leg, Stage, Stands};
use super::transactions::{ClientMachine, Errand, Ours, Reinvited};
use super::{UserAgent, send};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event};
use crate::sip::dialog::Dialog;
use crate::sip::envelope::ResponseEnvelope;
use crate::sip::header::session_expires::{Refresher, SessionExpires, min_se, write_min_se};
use crate::sip::header::{Name, allow, cseq, max_forwards, retry_after};
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::refusal::SDP;
use crate::sip::session_timer::{Due, OPTION_TAG, SHORTEST, Said, SessionTimer, Who};
use crate::sip::timers::ClientId;
use crate::sip::transaction::invite_client::Answer;
use crate::sip::transport::Peer;
use crate::sip::writer::Writer;

/// The longest session that a 422 makes us ask for, in seconds: a day. One of years would be one that is never looked at.
pub(super) const MIN_SE_MAX: u32 = 86_400;

/// So many 422 one behind the other are followed: each hop on the way may want a longer session than the one before it.
pub(super) const TOO_SHORT_MAX: u8 = 4;

/// A refresh that something else stands in the way of is tried again after this long.
const BUSY: Duration = Duration::from_secs(2);

impl UserAgent {
    /// Sends a re-INVITE with this offer, or with none, so that the far end offers.
    pub(super) fn send_reinvite(&mut self, now: Instant, id: LegId, offer: &[u8], out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get(&id) else { return };
        if !matches!(leg.stage, Stage::Established) || leg.asks() {
            return;
        }
        // RFC 3261 §14.1: not while another INVITE is open in either direction. An offer that is not answered is in the way, too.
        if leg.pending.is_some() || leg.unacknowledged.is_some() || leg.owed_ack.is_some() {
            return self.ask_again(now, id, true);
        }
        self.ask_within(now, id, Some(offer), out);
    }

    /// Sends a re-INVITE, or without `reinvite` an UPDATE that has no offer.
    fn ask_within(&mut self, now: Instant, id: LegId, reinvite: Option<&[u8]>, out: &mut Vec<Action>) {
        let Some(mut dialog) = self.legs.get_mut(&id).and_then(|leg| leg.dialog.take()) else { return };
        let client = ClientId { branch: self.ids.next_u64(), cancel: false };
        let method = if reinvite.is_some() { Method::Invite } else { Method::Update };
        let (mut writer, destination) = dialog.request(method, &branch(client), &self.settings.listeners);
        self.write_contact(&mut writer, &destination, dialog.is_sips());
        writer.text("Allow", self.allowed());
        if let Some(leg) = self.legs.get(&id) {
            let expires = leg.session.as_ref().map(|timer| timer.request(leg.min_se));
            self.write_session_request(&mut writer, expires, leg.min_se, false);
        }
        writer.text("User-Agent", &self.settings.user_agent);
        let request = writer.finish(SDP, reinvite.unwrap_or_default());
        let cseq = dialog.local_cseq();
        let until = reinvite.map(|_| now + self.timing.give_up());
        let ours = match reinvite {
            Some(offer) => Ours::Reinvite(Box::new(Reinvited {
                request: request.clone(),
                offers: !offer.is_empty(),
                cseq,
                ack: None,
            })),
            None => Ours::Errand(Errand::Update),
        };
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.dialog = Some(dialog);
            let stands = Stands::Sent { client, until };
            leg.change = Some(Box::new(Change { invite: reinvite.is_some(), stands }));
        }
        self.begin_client(now, client, Some(id), ours, (destination, request), out);
        self.arm_leg(id);
    }

    /// Adds what an INVITE or UPDATE of ours says of session timers (RFC 4028 §7.1).
    pub(super) fn write_session_request(
        &self,
        writer: &mut Writer,
        expires: Option<SessionExpires>,
        min_se: u32,
        offers: bool,
    ) {
        // What the far end offers in a provisional response, nobody here would answer in a PRACK.
        writer.text("Supported", if offers { self.supported().join(", ") } else { OPTION_TAG.to_owned() });
        if let Some(expires) = expires {
            writer.header("Session-Expires", |out| expires.write(out));
        }
        let least = min_se.max(self.settings.session.min);
        // RFC 4028 §5: absent, it is the shortest that there is.
        if expires.is_some() && least > SHORTEST {
            writer.header("Min-SE", |out| write_min_se(least, out));
        }
    }

    /// A response to a re-INVITE of ours. Its 2xx is acknowledged each time it comes.
    pub(super) fn receive_reanswer(
        &mut self,
        now: Instant,
        id: ClientId,
        source: Peer,
        message: &Message,
        envelope: &ResponseEnvelope<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let ClientMachine::Reinvite(machine, ours) = &mut client.machine else { return };
        let ack = || repeated(&ours.request, Method::Ack, message.value(Name::To)).unwrap_or_default();
        let answer = machine.handle_response(now, envelope.status, ack);
        let (destination, leg) = (client.destination, client.leg.filter(|leg| self.legs.contains_key(leg)));
        match answer {
            Answer::ToUser if envelope.status >= 200 => match (&ours.ack, leg) {
                (Some((destination, ack)), _) => send(*destination, ack.clone(), out),
                (None, Some(leg)) => self.reinvite_accepted(now, id, leg, source, message, out),
                // The call is over; whoever sent the 2xx still waits for its ACK.
                (None, None) => {
                    let ack = repeated(&ours.request, Method::Ack, message.value(Name::To));
                    ack.into_iter().for_each(|ack| send(destination, ack, out));
                }
            },
            Answer::ToUser | Answer::Absorbed => {}
            Answer::Refused(ack) => {
                send(destination, ack, out);
                if let Some(leg) = leg {
                    self.change_refused(now, leg, envelope.status, Some(message), out);
                }
            }
            Answer::Again(ack) => send(destination, ack, out),
        }
        self.arm_client(id);
    }

    fn reinvite_accepted(
        &mut self,
        now: Instant,
        id: ClientId,
        leg: LegId,
        source: Peer,
        message: &Message,
        out: &mut Vec<Action>,
    ) {
        let Some(ClientMachine::Reinvite(_, ours)) = self.clients.get(&id).map(|client| &client.machine) else {
            return;
        };
        let offers = ours.offers;
        let Some(state) = self.legs.get_mut(&leg) else { return };
        if state.owed_ack == Some(id) {
            // The same 2xx again, while our answer to its offer is waited for.
            return;
        }
        state.owed_ack = Some(id);
        let wanted = state.asks();
        if wanted {
            self.change_accepted(now, leg, source, message);
        }
        if offers || !wanted {
            self.acknowledge_offer(leg, b"", out);
        }
        if wanted {
            out.push(Action::Event(Event::Reanswered { leg, body: message.body() }));
        }
    }

    /// Sends the ACK that a 2xx to our INVITE without offer waits for, with our answer.
    pub(super) fn acknowledge_offer(&mut self, id: LegId, answer: &[u8], out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some((owed, dialog)) = leg.owed_ack.take().zip(leg.dialog.as_ref()) else { return };
        let ack_branch = branch(ClientId { branch: self.ids.next_u64(), cancel: false });
        let Some(client) = self.clients.get_mut(&owed) else { return };
        let cseq = match &client.machine {
            ClientMachine::Invite(_, ours) => ours.cseq,
            ClientMachine::Reinvite(_, ours) => ours.cseq,
            ClientMachine::Other(..) => return,
        };
        let (writer, destination) = dialog.ack(cseq, &ack_branch, &self.settings.listeners);
        let ack = writer.finish(SDP, answer);
        send(destination, ack.clone(), out);
        match &mut client.machine {
            ClientMachine::Invite(_, ours) => {
                if let Some(acknowledged) = &mut ours.acknowledged {
                    (acknowledged.ack, acknowledged.destination) = (Some(ack), destination);
                }
            }
            ClientMachine::Reinvite(_, ours) => ours.ack = Some((destination, ack)),
            ClientMachine::Other(..) => {}
        }
    }

    /// An answer to our UPDATE.
    pub(super) fn receive_updated(
        &mut self,
        now: Instant,
        leg: LegId,
        source: Peer,
        message: &Message,
        status: u16,
        out: &mut Vec<Action>,
    ) {
        match status {
            ..300 => self.change_accepted(now, leg, source, message),
            300.. => self.change_refused(now, leg, status, Some(message), out),
        }
    }

    /// A 2xx to our re-INVITE or UPDATE.
    fn change_accepted(&mut self, now: Instant, id: LegId, source: Peer, message: &Message) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        (leg.change, leg.too_short) = (None, 0);
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(message, source);
        }
        leg.learn(message);
        let ours =
            leg.session.as_ref().filter(|timer| timer.refresher == Who::We).map(|timer| timer.request(leg.min_se));
        // RFC 4028 §7.2 would end the timer where the answer leaves it out; who refreshed goes on, which harms nobody.
        let agreed = Said::read(message).expires.or(ours);
        leg.session = agreed.map(|agreed| Box::new(SessionTimer::new(now, agreed, Refresher::Uac)));
        self.arm_leg(id);
    }

    /// Our re-INVITE or UPDATE got this status, or what no answer amounts to.
    pub(super) fn change_refused(
        &mut self,
        now: Instant,
        id: LegId,
        status: u16,
        message: Option<&Message>,
        out: &mut Vec<Action>,
    ) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| matches!(leg.stage, Stage::Established)) else { return };
        let Some(invite) = leg.change.take().map(|change| change.invite) else { return };
        let after = message.and_then(|message| retry_after::parse(message.value(Name::RetryAfter)?));
        match status {
            // RFC 3261 §12.2.1.2.
            408 => return self.give_up(now, id, EndCause::Vanished, (408, "no answer within the dialog"), out),
            481 => return self.give_up(now, id, EndCause::Forgotten, (481, "the dialog is unknown there"), out),
            491 => return self.ask_again(now, id, invite),
            422 => {
                // RFC 4028 §7.3: as long as it says, at once; one that asks for no more than it had is refused for good.
                let least = message.and_then(|message| min_se(message.value(Name::MinSe)?)).unwrap_or_default();
                if least > leg.min_se && least <= MIN_SE_MAX && leg.too_short < TOO_SHORT_MAX {
                    (leg.min_se, leg.too_short) = (least, leg.too_short + 1);
                    return self.ask_anew(now, id, invite, out);
                }
            }
            405 | 501 if !invite => {
                leg.takes_update = false;
                return self.ask_anew(now, id, true, out);
            }
            _ => {}
        }
        if let Some(timer) = leg.session.as_mut().filter(|timer| timer.refresher == Who::We) {
            timer.retry(now, after.map(|seconds| Duration::from_secs(seconds.into())));
        }
        if invite {
            out.push(Action::Event(Event::Unchanged { leg: id, status }));
        }
        self.arm_leg(id);
    }

    /// RFC 3261 §14.1: who owns the Call-ID waits 2.1 to 4 s, the other one up to 2 s, both in steps of 10 ms, so that they do not
    /// meet again.
    fn ask_again(&mut self, now: Instant, id: LegId, invite: bool) {
        let (longer, shorter) = (2_100 + 10 * self.ids.below(191), 10 * self.ids.below(201));
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let owner = leg.dialog.as_ref().is_some_and(Dialog::owns_call_id);
        let at = now + Duration::from_millis(if owner { longer } else { shorter });
        leg.change = Some(Box::new(Change { invite, stands: Stands::Again(at) }));
        self.arm_leg(id);
    }

    fn ask_anew(&mut self, now: Instant, id: LegId, invite: bool, out: &mut Vec<Action>) {
        if invite {
            out.push(Action::Event(Event::OfferWanted { leg: id }));
        } else {
            self.ask_within(now, id, None, out);
        }
    }

    /// A re-INVITE that got a provisional response and then nothing stands in the way of everything else (RFC 3261 §14.1): it is
    /// cancelled, and its answer waited for as long again.
    fn cancel_reinvite(&mut self, now: Instant, id: LegId, client: ClientId, out: &mut Vec<Action>) {
        let Some(ClientMachine::Reinvite(machine, ours)) = self.clients.get(&client).map(|client| &client.machine)
        else {
            return;
        };
        let destination = self.clients.get(&client).map(|client| client.destination);
        let cancel = repeated(&ours.request, Method::Cancel, None).filter(|_| machine.is_proceeding());
        if let Some(request) = destination.zip(cancel) {
            let ours = Ours::Errand(Errand::Cancel);
            self.begin_client(now, ClientId { cancel: true, ..client }, None, ours, request, out);
        }
        if let Some(change) = self.legs.get_mut(&id).and_then(|leg| leg.change.as_mut()) {
            change.stands = Stands::Sent { client, until: None };
        }
    }

    /// What is due of a session: its refresh, its end, or what crossed the far end's.
    pub(super) fn fire_session(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let due = leg.session.as_mut().map_or(Due::Nothing, |timer| timer.handle_timeout(now));
        if due == Due::End {
            let they = leg.session.as_ref().is_some_and(|timer| timer.refresher == Who::They);
            let cause = match leg.asks() {
                _ if they => EndCause::NotRefreshed,
                true => EndCause::Vanished,
                false => EndCause::RefreshFailed,
            };
            return self.give_up(now, id, cause, (408, "the session was not refreshed"), out);
        }
        if let Some(Stands::Sent { client, until: Some(until) }) = leg.change.as_ref().map(|change| change.stands)
            && until <= now
        {
            self.cancel_reinvite(now, id, client, out);
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let again = leg.change.take_if(|change| matches!(change.stands, Stands::Again(at) if at <= now));
        let again = again.map(|change| change.invite);
        let busy = leg.asks();
        match (again, due) {
            (Some(invite), _) => self.ask_anew(now, id, invite, out),
            (None, Due::Refresh) if busy => {
                if let Some(timer) = &mut leg.session {
                    timer.retry(now, Some(BUSY));
                }
            }
            (None, Due::Refresh) => {
                let invite = !leg.takes_update;
                if let Some(timer) = leg.session.as_mut().filter(|_| invite) {
                    // Whether there will be an offer, we do not know.
                    timer.retry(now, None);
                }
                self.ask_anew(now, id, invite, out);
            }
            (None, Due::Nothing | Due::End) => {}
        }
        self.arm_leg(id);
    }
}

impl Leg {
    /// Takes note of what a message says of its sender.
    pub(super) fn learn(&mut self, message: &Message) {
        if message.value(Name::Allow).is_some() {
            self.takes_update = allow::names(message.values(Name::Allow), Method::Update);
        }
    }
}

/// The ACK of a refusal of this request, or its CANCEL: what the request said, and the To of the response (RFC 3261 §17.1.1.3, §9.1).
fn repeated(request: &Bytes, method: Method, to: Option<&[u8]>) -> Option<Bytes> {
    let request = Message::scan(request.clone())?;
    let StartLine::Request { uri, .. } = request.start_line() else { return None };
    let mut writer = Writer::request(method, uri);
    for name in [Name::Via, Name::Route, Name::From] {
        writer.copy(&request, name);
    }
    writer.text("To", to.or(request.value(Name::To))?);
    writer.text("Call-ID", request.value(Name::CallId)?);
    let number = cseq::CSeq::parse(request.value(Name::CSeq)?).ok()?.number;
    writer.header("CSeq", |out| cseq::write(number, method, out));
    writer.text("Max-Forwards", max_forwards::INITIAL.to_string());
    Some(writer.finish(SDP, b""))
}
