//! Who is sought for the caller, and who is with them: the other legs of a call.
//!
//! ```text
//!          transfer                 a leg answers                    it hangs up, or vanishes
//! nobody ───────────► Seek (forks) ─────────────► Party, in a bridge ────────────────────────► nobody: the flow goes on
//!    ▲                  │ all refuse, `ring` is over                      │ either end holds: the other one hears music
//!    └──────────────────┘
//! ```
//! Every place that somebody is reached at rings at once, each as a leg of its own. The first to answer wins; the others are hung up,
//! which is a CANCEL, or a BYE for an answer that was on its way (RFC 3261 §13.2.2.4). A leg that was hung up is kept until the user agent and the
//! media worker have reported its end: the record is written behind the last of them.
//!
//! The caller hears it all as one stream: ringing, whoever answers, music and the flow again are sources behind it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{info, warn};

use crate::dtmf::{self, Digit, Road};
use crate::flow::{self, Callee, Outcome};
use crate::ids::{BridgeId, LegId};
use crate::media::{self, Role, Switch};
use crate::now::Now;
use crate::sip::{EndCause, Invite, Rejection};

use super::action::{Led, Way};
use super::leg::{Leg, Part};
use super::timeline::What;
use super::{Action, Call, Event, Stage, describe, sounds};

/// The other legs of a call.
#[derive(Default)]
pub(super) struct Company {
    seek: Option<Seek>,
    party: Option<Party>,
    /// Legs that were hung up, or hung up, and have not ended in all their parts.
    leaving: Vec<Leg>,
    /// The caller hears music, because the other side holds the call.
    caller_waits: bool,
}

/// Somebody is called for the caller.
struct Seek {
    to: Callee,
    until: Instant,
    forks: Vec<Fork>,
    /// The best of the refusals so far.
    refusal: Option<u16>,
    rings: bool,
    /// The leg whose REFER asked for it, which is told what comes of it.
    referrer: Option<LegId>,
}

/// A place that is called.
struct Fork {
    leg: Leg,
    way: Way,
    /// SDP of a provisional response: the answer, where the final one has none.
    early: Bytes,
}

/// Who is with the caller.
struct Party {
    leg: Leg,
    who: Callee,
    /// Since when its end holds the call.
    held: Option<Instant>,
    /// It hears music, because the caller's end holds the call.
    waits: bool,
}

/// How long somebody may ring whom a REFER names.
const RING_REFERRED: Duration = Duration::from_secs(30);

/// How long a press that is passed on lasts: nobody knows yet how long the key will be down.
const PASSED_KEY: Duration = Duration::from_millis(100);

impl Company {
    /// Whether no other leg is left.
    pub(super) fn is_over(&self) -> bool {
        self.seek.is_none() && self.party.is_none() && self.leaving.iter().all(Leg::is_over)
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        let forks = self.seek.iter_mut().flat_map(|seek| &mut seek.forks).map(|fork| &mut fork.leg);
        let party = self.party.iter_mut().map(|party| &mut party.leg);
        forks.chain(party).chain(&mut self.leaving).find(|leg| leg.id == id)
    }

    /// Every leg that has not ended.
    pub(super) fn legs(&self) -> impl Iterator<Item = LegId> {
        let forks = self.seek.iter().flat_map(|seek| &seek.forks).map(|fork| fork.leg.id);
        forks.chain(self.party.iter().map(|party| party.leg.id)).chain(self.leaving.iter().map(|leg| leg.id))
    }

    /// Hangs a leg up.
    fn dismiss(&mut self, mut leg: Leg, reason: &'static str, out: &mut Vec<Action>) {
        match leg.dialog {
            // It was about to be called.
            Part::NotBegun => leg.dialog = Part::Over,
            Part::Running => out.push(Action::at(leg.id, Action::HangUp(reason))),
            Part::Over => {}
        }
        if leg.media == Part::NotBegun {
            leg.media = Part::Over;
        }
        out.push(Action::at(leg.id, Action::CloseMedia));
        if !leg.is_over() {
            self.leaving.push(leg);
        }
    }

    /// Hangs everybody up.
    pub(super) fn dismiss_all(&mut self, reason: &'static str, out: &mut Vec<Action>) {
        let seek = self.seek.take();
        // Nobody is left to be led anywhere.
        let referrer = seek.as_ref().and_then(|seek| seek.referrer);
        out.extend(referrer.map(|referrer| Action::at(referrer, Action::ReportReferral(487))));
        let forks = seek.map(|seek| seek.forks).unwrap_or_default();
        let legs = forks.into_iter().map(|fork| fork.leg).chain(self.party.take().map(|party| party.leg));
        legs.for_each(|leg| self.dismiss(leg, reason, out));
    }
}

impl Call {
    /// Calls somebody for the caller.
    pub(super) fn seek(&mut self, now: Now, to: Callee, ring: Duration, out: &mut Vec<Action>) {
        self.seek_for(now, to, ring, None, out);
    }

    /// The same, where a leg's REFER may have asked for it.
    fn seek_for(&mut self, now: Now, to: Callee, ring: Duration, referrer: Option<LegId>, out: &mut Vec<Action>) {
        let company = self.company.get_or_insert_default();
        company.seek = Some(Seek {
            to: to.clone(),
            until: now.instant + ring,
            forks: Vec::new(),
            refusal: None,
            rings: false,
            referrer,
        });
        self.tell_timeline(now, What::Ring, &to);
        out.push(Action::Find(to));
    }

    /// Where they are reached, or the status that says why they are not.
    pub(super) fn found(&mut self, now: Now, found: Result<Vec<Way>, Rejection>, out: &mut Vec<Action>) {
        let Some(seek) = self.company.as_mut().and_then(|company| company.seek.as_mut()) else { return };
        match found {
            Err(Rejection { status, warning, .. }) => {
                seek.refusal = Some(status);
                self.note(now, "call", warning.unwrap_or_default());
            }
            Ok(ways) => {
                for way in ways {
                    let mut leg = Leg::new(way.leg, way.peer.address.ip(), way.terms.clone(), &mut self.ids);
                    leg.dialog = Part::NotBegun;
                    out.push(Action::at(leg.id, Action::OpenMedia(None)));
                    seek.forks.push(Fork { leg, way, early: Bytes::new() });
                }
            }
        }
        if self.seek_if_open().is_none_or(|seek| seek.forks.is_empty()) {
            return self.seek_over(now, out);
        }
        if self.record.answered.is_some() {
            out.push(Action::Switch(Switch::Music(Some(sounds::ringing()))));
        }
    }

    /// What happened to another leg than the caller's.
    pub(super) fn handle_beside(&mut self, now: Now, id: LegId, event: Event, out: &mut Vec<Action>) {
        let is_party = self.party().is_some_and(|party| party.leg.id == id);
        match event {
            Event::MediaOpened(local) => self.invite(id, local, out),
            Event::MediaFailed(why) => {
                warn!(leg = id.0, cause = %why, "no socket for a leg's media");
                self.fork_refused(now, id, 503, out);
            }
            Event::Ringing(status, body) => self.rings(now, id, status, body, out),
            Event::PickedUp(body) => self.picked_up(now, id, &body, out),
            Event::Ended(cause) => self.beside_ended(now, id, &cause, out),
            Event::Media(media::Event::Closed(report)) => {
                self.note(
                    now,
                    "media",
                    format!(
                        "the other leg: {} packets in, {} out, {} lost",
                        report.packets_received, report.packets_sent, report.packets_lost
                    ),
                );
                if let Some(company) = &mut self.company {
                    if let Some(leg) = company.leg_mut(id) {
                        leg.media = Part::Over;
                    }
                    company.leaving.retain(|leg| !leg.is_over());
                }
                if is_party {
                    warn!(leg = id.0, "the media of the other leg broke off");
                    self.part(now, "media fault", out);
                }
            }
            Event::Media(media::Event::Digit(digit, road)) if is_party => {
                self.pass_key_to_caller(now, digit, road, Duration::ZERO, out);
            }
            Event::Info { content_type, body } if is_party => {
                if let Ok((digit, held)) = dtmf::info::parse(&content_type, &body) {
                    self.pass_key_to_caller(now, digit, Road::Info, held, out);
                }
            }
            Event::Media(media::Event::Silent) if is_party => {
                self.note(now, "media", "no RTP from the other side: it is hung up");
                self.part(now, "no RTP", out);
            }
            Event::Media(media::Event::Learned(address)) => {
                self.note(now, "media", format!("sends to {address}, where the other side's packets come from"));
            }
            Event::Media(media::Event::OneWay(found)) => self.note(now, "media", format!("the other side: {found}")),
            Event::Media(media::Event::Bridged { transcoded: Some((from, to)), .. }) => {
                let (from, to) = (from.encoding_name(), to.encoding_name());
                self.note(now, "media", format!("the other side hears it transcoded {from} → {to}"));
            }
            Event::Reoffered(offer) if is_party => {
                let (ids, mut own) = (&mut self.ids, Vec::new());
                let party = self.company.as_mut().and_then(|company| company.party.as_mut());
                let agreed = party.and_then(|party| party.leg.reoffered(offer, ids, &mut own));
                out.extend(own.into_iter().map(|action| Action::at(id, action)));
                if let Some(negotiated) = agreed {
                    self.retarget_party(now, negotiated, out);
                }
            }
            Event::Reoffered(_) => {
                let rejection = Rejection { status: 491, retry_after: None, warning: None };
                out.push(Action::at(id, Action::Reject(rejection)));
            }
            Event::OfferWanted => {
                let (ids, mut own) = (&mut self.ids, Vec::new());
                if let Some(leg) = self.company.as_mut().and_then(|company| company.leg_mut(id)) {
                    leg.offer_again(ids, &mut own);
                }
                out.extend(own.into_iter().map(|action| Action::at(id, action)));
            }
            Event::Reanswered(answer) => self.party_answers(now, id, Some(answer), out),
            Event::Confirmed(answer) => self.party_answers(now, id, answer, out),
            Event::Unchanged(status) => {
                if let Some(leg) = self.company.as_mut().and_then(|company| company.leg_mut(id)) {
                    leg.forget_offer();
                }
                self.note(
                    now,
                    "sip",
                    format!("re-INVITE to the other side refused with {status}: all stays as it was"),
                );
            }
            // What a leg that leaves still says, and what no other leg does.
            Event::Media(
                media::Event::Digit(..)
                | media::Event::Silent
                | media::Event::Played(_)
                | media::Event::Bridged { transcoded: None, .. },
            )
            | Event::Info { .. }
            | Event::Recorded(_)
            | Event::Answered(..)
            | Event::Found(_)
            | Event::ShutDown => {}
            Event::Referred(led) => self.referred(now, id, led, out),
        }
    }

    /// The leg has its socket: its INVITE goes out.
    fn invite(&mut self, id: LegId, local: std::net::SocketAddr, out: &mut Vec<Action>) {
        let ids = &mut self.ids;
        // What both ends speak goes on as it came.
        let first = self.caller.agreed.as_ref().map(|agreed| agreed.codec);
        let seek = self.company.as_mut().and_then(|company| company.seek.as_mut());
        let Some(fork) = seek.and_then(|seek| seek.forks.iter_mut().find(|fork| fork.leg.id == id)) else {
            // Nobody wants it any more.
            return out.push(Action::at(id, Action::CloseMedia));
        };
        fork.leg.local = Some(local);
        fork.leg.dialog = Part::Running;
        let invite = Invite {
            target: fork.way.target.clone(),
            destination: fork.way.peer,
            from: fork.way.from.clone(),
            offer: fork.leg.offer(local, first, ids),
        };
        out.push(Action::at(id, Action::Invite(Box::new(invite))));
    }

    fn rings(&mut self, now: Now, id: LegId, status: u16, body: Bytes, out: &mut Vec<Action>) {
        let answered = self.record.answered.is_some();
        let Some(seek) = self.company.as_mut().and_then(|company| company.seek.as_mut()) else { return };
        let Some(fork) = seek.forks.iter_mut().find(|fork| fork.leg.id == id) else { return };
        if !body.is_empty() {
            fork.early = body;
        }
        if std::mem::replace(&mut seek.rings, true) {
            return;
        }
        let (to, referrer) = (seek.to.clone(), seek.referrer);
        if !answered {
            out.push(Action::Ring);
        }
        out.extend(referrer.map(|referrer| Action::at(referrer, Action::ReportReferral(180))));
        self.note(now, "sip", format!("{to} rings ({status})"));
    }

    /// The first to answer wins.
    fn picked_up(&mut self, now: Now, id: LegId, body: &Bytes, out: &mut Vec<Action>) {
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(seek) = company.seek.as_mut() else { return };
        let Some(index) = seek.forks.iter().position(|fork| fork.leg.id == id) else { return };
        let Fork { mut leg, early, .. } = seek.forks.swap_remove(index);
        let answer = if body.is_empty() { early } else { body.clone() };
        let negotiated = match leg.answered(&answer) {
            Some(Ok(negotiated)) => negotiated,
            Some(Err(error)) => {
                let why = format!("{} answered with what cannot be used: {error}", seek.to);
                company.dismiss(leg, "no usable SDP answer", out);
                self.note(now, "sip", why);
                return self.one_less(now, 488, out);
            }
            None => return company.dismiss(leg, "no offer was made", out),
        };
        let who = seek.to.clone();
        let (referrer, losers) = company.seek.take().map(|seek| (seek.referrer, seek.forks)).unwrap_or_default();
        out.extend(referrer.map(|referrer| Action::at(referrer, Action::ReportReferral(200))));
        if let Some(former) = company.party.take() {
            company.dismiss(former.leg, "transferred", out);
        }
        company.caller_waits = false;
        losers.into_iter().for_each(|loser| company.dismiss(loser.leg, "answered elsewhere", out));
        leg.media = Part::Running;
        let settings = leg.settings(now, &negotiated, true, self.limits.silent_after);
        out.push(Action::at(id, Action::StartMedia(settings)));
        let held = (!negotiated.send).then_some(now.instant);
        let told = describe(&negotiated);
        leg.agreed = Some(Box::new(negotiated));
        company.party = Some(Party { leg, who: who.clone(), held, waits: false });
        self.answer(now, out);
        info!(leg = id.0, "bridged");
        self.note(now, "sip", format!("{who} answers"));
        self.note(now, "media", format!("{who}: {told}"));
        self.join(now, out);
        self.tell_flow(now, flow::Event::Connected, out);
    }

    /// Lets the caller and whoever is with them hear each other. Their keys go through the call, which counts each press once.
    fn join(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(party) = self.party() else { return };
        let join = Switch::Join { bridge: BridgeId(self.caller.id.0), role: Role::Talks, passes_keys: false };
        out.push(Action::Switch(Switch::Music(None)));
        out.push(Action::Switch(join.clone()));
        out.push(Action::at(party.leg.id, Action::Switch(join)));
        self.talked = true;
        self.follow_holds(now, out);
    }

    /// Who holds the call is heard by nobody and hears nobody; the other one hears music meanwhile.
    pub(super) fn follow_holds(&mut self, now: Now, out: &mut Vec<Action>) {
        let caller_holds = self.playback.held_since().is_some();
        let Some(company) = self.company.as_deref_mut() else { return };
        // Whoever leads the caller elsewhere is with them no more: the caller hears it ring there, and if it comes to nothing they are
        // joined again.
        if company.seek.is_some() {
            return;
        }
        let Some(party) = &mut company.party else { return };
        let switch = |waits| if waits { Switch::Hold(sounds::music()) } else { Switch::Resume };
        let party_holds = party.held.is_some();
        if party_holds != std::mem::replace(&mut company.caller_waits, party_holds) {
            out.push(Action::Switch(switch(party_holds)));
        }
        if caller_holds != std::mem::replace(&mut party.waits, caller_holds) {
            out.push(Action::at(party.leg.id, Action::Switch(switch(caller_holds))));
        }
        let who = party.who.clone();
        self.tell_timeline(now, if party_holds || caller_holds { What::Hold } else { What::Talk }, &who);
    }

    /// The other side's end has agreed on something else.
    fn retarget_party(&mut self, now: Now, negotiated: crate::sdp::Negotiated, out: &mut Vec<Action>) {
        let silent_after = self.limits.silent_after;
        let Some(party) = self.company.as_mut().and_then(|company| company.party.as_mut()) else { return };
        let who = party.who.clone();
        let settings = party.leg.settings(now, &negotiated, true, silent_after);
        out.push(Action::at(party.leg.id, Action::Retarget(settings)));
        let (held, told) = (!negotiated.send, describe(&negotiated));
        let changed = party.held.is_some() != held;
        party.held = held.then(|| party.held.unwrap_or(now.instant));
        party.leg.agreed = Some(Box::new(negotiated));
        self.note(now, "sip", format!("re-INVITE of {who}: {told}"));
        if changed {
            self.note(now, "sip", if held { format!("{who} holds the call") } else { format!("{who} is back") });
        }
        self.follow_holds(now, out);
    }

    /// The answer to an offer that we made to the other side.
    fn party_answers(&mut self, now: Now, id: LegId, answer: Option<Bytes>, out: &mut Vec<Action>) {
        let leg = self.company.as_mut().and_then(|company| company.leg_mut(id));
        let Some(leg) = leg.filter(|leg| leg.media == Part::Running) else { return };
        match answer.and_then(|answer| leg.answered(&answer)) {
            Some(Ok(negotiated)) => self.retarget_party(now, negotiated, out),
            Some(Err(error)) => self.note(now, "sip", format!("re-INVITE: the answer cannot be used: {error}")),
            None => {}
        }
    }

    /// A key of the other side's: it is pressed on the caller's leg.
    fn pass_key_to_caller(&mut self, now: Now, digit: Digit, road: Road, held: Duration, out: &mut Vec<Action>) {
        let hears_events = has_events(&self.caller);
        let Some(party) = self.company.as_mut().and_then(|company| company.party.as_mut()) else { return };
        if party.leg.ledger.enter(now.instant, road, digit, held) && (road != Road::InBand || hears_events) {
            out.push(Action::Press(digit, PASSED_KEY));
        }
    }

    /// A key of the caller's, which was counted: it is pressed on the other side's leg. False when nobody is with the caller.
    pub(super) fn pass_key_on(&self, digit: Digit, road: Road, out: &mut Vec<Action>) -> bool {
        let Some(party) = self.party() else { return false };
        // Tones that came in the audio have gone on in it.
        if road != Road::InBand || has_events(&party.leg) {
            out.push(Action::at(party.leg.id, Action::Press(digit, PASSED_KEY)));
        }
        true
    }

    fn beside_ended(&mut self, now: Now, id: LegId, cause: &EndCause, out: &mut Vec<Action>) {
        let is_party = self.party().is_some_and(|party| party.leg.id == id);
        let is_fork = self.seek_if_open().is_some_and(|seek| seek.forks.iter().any(|fork| fork.leg.id == id));
        let Some(company) = self.company.as_deref_mut() else { return };
        if let Some(leg) = company.leg_mut(id) {
            leg.dialog = Part::Over;
        }
        company.leaving.retain(|leg| !leg.is_over());
        if is_fork {
            if matches!(cause, EndCause::Unproven(_) | EndCause::RemoteRefused(401 | 407)) {
                self.note(now, "sip", cause.explain());
            }
            let status = match cause {
                EndCause::RemoteRefused(status) => *status,
                EndCause::Unproven(_) => 403,
                EndCause::RemoteBye
                | EndCause::Cancelled
                | EndCause::LocalBye
                | EndCause::Refused(_)
                | EndCause::NoAck
                | EndCause::NoPrack
                | EndCause::NotRefreshed
                | EndCause::RefreshFailed
                | EndCause::Vanished
                | EndCause::Forgotten => 480,
            };
            return self.fork_refused(now, id, status, out);
        }
        if is_party {
            self.note(now, "sip", format!("the other side: {}", cause.explain()));
            self.part(now, "the other side is gone", out);
        }
    }

    /// A place that was called will not answer.
    fn fork_refused(&mut self, now: Now, id: LegId, status: u16, out: &mut Vec<Action>) {
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(seek) = company.seek.as_mut() else { return };
        let Some(index) = seek.forks.iter().position(|fork| fork.leg.id == id) else { return };
        let to = seek.to.clone();
        let mut leg = seek.forks.swap_remove(index).leg;
        leg.dialog = Part::Over;
        company.dismiss(leg, "", out);
        self.note(now, "sip", format!("{to} refuses: {status}"));
        self.one_less(now, status, out);
    }

    /// One place less is called, for this reason.
    fn one_less(&mut self, now: Now, status: u16, out: &mut Vec<Action>) {
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(seek) = company.seek.as_mut() else { return };
        seek.refusal = Some(seek.refusal.filter(|known| rank(*known) >= rank(status)).unwrap_or(status));
        if status >= 600 {
            // RFC 3261 §21.6: nobody there wants it, whichever phone said so.
            let others = std::mem::take(&mut seek.forks);
            others.into_iter().for_each(|fork| company.dismiss(fork.leg, "declined elsewhere", out));
        }
        if self.seek_if_open().is_some_and(|seek| seek.forks.is_empty()) {
            self.seek_over(now, out);
        }
    }

    /// It has rung for long enough.
    pub(super) fn rang_out(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(seek) = company.seek.as_mut() else { return };
        let forks = std::mem::take(&mut seek.forks);
        seek.refusal = seek.refusal.filter(|known| rank(*known) >= rank(480)).or(Some(480));
        forks.into_iter().for_each(|fork| company.dismiss(fork.leg, "no answer in time", out));
        self.seek_over(now, out);
    }

    /// Nobody was found.
    fn seek_over(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(seek) = self.company.as_mut().and_then(|company| company.seek.take()) else { return };
        let status = seek.refusal.unwrap_or(480);
        let outcome = outcome(status);
        self.note(now, "call", format!("{} was not reached: {}", seek.to, outcome.output()));
        if self.record.answered.is_some() {
            out.push(Action::Switch(Switch::Music(None)));
        }
        if let Some(referrer) = seek.referrer {
            out.push(Action::at(referrer, Action::ReportReferral(status)));
            if self.party().is_some() {
                // Pain 11: whoever wanted to be rid of the caller has them back.
                self.note(now, "call", "the caller goes back to whom they were with");
                return self.join(now, out);
            }
        }
        // Nobody is left whom the flow had led them to.
        let outcome = if seek.referrer.is_some() { Outcome::Failed } else { outcome };
        self.conclude(now, outcome, status, out);
    }

    /// Whoever is with the caller goes, or is gone.
    pub(super) fn part(&mut self, now: Now, reason: &'static str, out: &mut Vec<Action>) {
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(party) = company.party.take() else { return };
        info!(leg = party.leg.id.0, "no longer bridged");
        company.dismiss(party.leg, reason, out);
        if company.seek.is_some() {
            // Whoever led the caller elsewhere is gone before anybody has answered there: the caller stays.
            return self.note(now, "call", format!("{} is gone; the caller waits", party.who));
        }
        company.caller_waits = false;
        out.push(Action::Switch(Switch::Leave));
        self.conclude(now, Outcome::Done, 200, out);
    }

    /// One of both ends wants the other one led elsewhere. Whatever it does from here on, the other one is kept.
    pub(super) fn referred(&mut self, now: Now, id: LegId, led: Led, out: &mut Vec<Action>) {
        let is_caller = id == self.caller.id;
        let is_party = self.party().is_some_and(|party| is_caller || party.leg.id == id);
        let is_free = self.seek_if_open().is_none() && matches!(self.stage, Stage::InFlow { .. });
        if !is_party || !is_free {
            return out.push(Action::at(id, Action::RefuseReferral(603)));
        }
        if let Led::Nowhere(why) = led {
            self.note(now, "call", format!("REFER: {}", why.warning.unwrap_or_default()));
            out.push(Action::at(id, Action::AcceptReferral));
            return out.push(Action::at(id, Action::ReportReferral(why.status)));
        }
        if is_caller {
            self.change_sides(now);
        }
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(party) = &mut company.party else { return };
        (company.caller_waits, party.waits) = (false, false);
        let who = party.who.clone();
        out.push(Action::at(id, Action::AcceptReferral));
        out.push(Action::Switch(Switch::Leave));
        out.push(Action::at(id, Action::Switch(Switch::Leave)));
        match led {
            Led::Callee(to) => {
                self.note(now, "call", format!("{who} leads the caller to {to}"));
                self.seek_for(now, to, RING_REFERRED, Some(id), out);
            }
            Led::Flow { flow, number } => {
                self.note(now, "call", format!("{who} leads the caller to {number}"));
                out.push(Action::at(id, Action::ReportReferral(200)));
                if let Some(party) = company_party(&mut self.company)
                    && let Some(company) = &mut self.company
                {
                    company.dismiss(party.leg, "transferred", out);
                }
                self.timeline.begin(self.elapsed_ms(now), What::Ivr, "");
                self.begin_flow(now, &flow, number, out);
            }
            Led::Nowhere(_) => {}
        }
    }

    /// The caller leads the other side elsewhere and leaves: from here on the other side is the one whom the call is for.
    fn change_sides(&mut self, now: Now) {
        let caller = Callee::Agent(self.record.caller.clone());
        let Some(company) = self.company.as_deref_mut() else { return };
        let Some(party) = &mut company.party else { return };
        std::mem::swap(&mut self.caller, &mut party.leg);
        let held = std::mem::replace(&mut party.held, self.playback.held_since());
        self.playback.change_sides(held);
        party.who = caller;
        // What the flow had to say was for the one who leaves.
        (self.session, self.flow) = (None, Part::Over);
        self.note(now, "call", "the caller leaves the call to the other side");
    }

    /// The caller is alone again: the flow goes on, or the call without one ends.
    fn conclude(&mut self, now: Now, outcome: Outcome, status: u16, out: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Closing) {
            return;
        }
        self.timeline.begin(self.elapsed_ms(now), What::Ivr, "");
        if self.session.is_some() {
            return self.tell_flow(now, flow::Event::Transferred(outcome), out);
        }
        let what = match outcome {
            Outcome::Done => "the other side hung up".to_owned(),
            Outcome::Busy | Outcome::NoAnswer | Outcome::Failed => format!("nobody was reached: {status}"),
        };
        self.record.cause = what;
        self.close_with(now, status, out);
    }

    /// When it has rung for long enough.
    pub(super) fn rings_until(&self) -> Option<Instant> {
        self.seek_if_open().map(|seek| seek.until)
    }

    /// When the other side has held the call for long enough.
    pub(super) fn party_hold_ends(&self) -> Option<Instant> {
        Some(self.party()?.held? + self.limits.max_hold)
    }

    fn party(&self) -> Option<&Party> {
        self.company.as_ref()?.party.as_ref()
    }

    fn seek_if_open(&self) -> Option<&Seek> {
        self.company.as_ref()?.seek.as_ref()
    }

    fn tell_timeline(&mut self, now: Now, what: What, who: &Callee) {
        self.timeline.begin(self.elapsed_ms(now), what, &who.to_string());
    }
}

fn company_party(company: &mut Option<Box<Company>>) -> Option<Party> {
    company.as_mut()?.party.take()
}

/// Whether keys reach a leg's far end as telephone events.
fn has_events(leg: &Leg) -> bool {
    leg.agreed.as_ref().is_some_and(|agreed| agreed.telephone_event.is_some())
}

/// What a refusal means to the caller.
fn outcome(status: u16) -> Outcome {
    match status {
        486 | 600 | 603 => Outcome::Busy,
        408 | 480 | 487 => Outcome::NoAnswer,
        _ => Outcome::Failed,
    }
}

/// Of several refusals, the one of the highest rank says what became of it.
fn rank(status: u16) -> u8 {
    match outcome(status) {
        Outcome::Busy => 2,
        Outcome::NoAnswer => 1,
        Outcome::Failed | Outcome::Done => 0,
    }
}
