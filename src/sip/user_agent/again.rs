//! Our INVITE once more: with proof of who we are (RFC 3261 §22.2, §22.3), by another hop (RFC 3263 §4.3), or with a session that is long
//! enough (RFC 4028 §7.3).
//!
//! | what came of it | what follows |
//! |---|---|
//! | 401, 407 | again with an answer to the challenge, once; once more for a nonce that grew old, and for a proxy before the server |
//! | 503, no connection | the next hop, at once |
//! | not a word for [`Through::patience`], or until timer B | the next hop; what comes late is cancelled, or acknowledged and hung up |
//! | 422 | again with a longer session |
//! | another final response | it is final, whatever other hops there are |
//!
//! It stays one call, so Call-ID and From stay; CSeq goes up, and each has a branch of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::UserAgent;
use super::change::{MIN_SE_MAX, TOO_SHORT_MAX};
use super::leg::{Leg, Outgoing, Stage};
use super::transactions::{ClientMachine, Errand, Originated, Ours};
use crate::ids::LegId;
use crate::sip::action::{Action, EndCause, Event};
use crate::sip::digest::answer::Hopeless;
use crate::sip::digest::{Answers, Login};
use crate::sip::header::Name;
use crate::sip::header::session_expires::min_se;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::refusal::SDP;
use crate::sip::timers::ClientId;
use crate::sip::transport::Peer;

/// How an INVITE gets to its far end, where more has to be said or tried than one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// Where else it may go, in order, when the one before cannot be reached.
    pub hops: Vec<Hop>,
    /// How long a hop may be silent while there is another one.
    pub patience: Duration,
    /// What proves who we are.
    pub login: Option<Login>,
    /// What else it says: names, and values without control characters.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

/// One place where an INVITE may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Request-URI, as text.
    pub target: String,
    /// Where it goes.
    pub destination: Peer,
}

/// What is left to try for an INVITE under way.
#[derive(Debug)]
pub struct Trying {
    hops: VecDeque<Hop>,
    patience: Duration,
    answers: Option<Answers>,
    /// Challenges of this hop that were answered.
    challenges: u32,
    /// When the next hop is tried, unless this one says something.
    pub next_at: Option<Instant>,
}

/// Challenges of one hop that are answered: one of a proxy, one of the server, and a nonce that grew old.
const CHALLENGES_MAX: u32 = 3;

impl Trying {
    /// Nothing was tried yet but the first hop, now.
    pub fn new(now: Instant, through: &Through) -> Self {
        let answers = through.login.clone().map(Answers::new);
        let mut trying = Self {
            hops: through.hops.iter().cloned().collect(),
            patience: through.patience,
            answers,
            challenges: 0,
            next_at: None,
        };
        trying.wait(now);
        trying
    }

    /// A hop was asked now.
    fn wait(&mut self, now: Instant) {
        self.next_at = (!self.hops.is_empty()).then(|| now + self.patience);
    }
}

impl UserAgent {
    /// What follows from a final answer to our INVITE, or from none (`message` is `None`): the cause of the leg's end, unless it goes out again.
    pub(super) fn follow_refusal(
        &mut self,
        now: Instant,
        id: LegId,
        ours: &Originated,
        destination: Peer,
        (status, message): (u16, Option<&Message>),
        out: &mut Vec<Action>,
    ) -> Option<EndCause> {
        let refused = self.refused_cause(id, status);
        if !matches!(self.legs.get(&id).map(|leg| &leg.stage), Some(Stage::Outgoing(Outgoing { hangup: None, .. }))) {
            return Some(refused);
        }
        match (status, message) {
            (422, Some(message)) => {
                let again = self.lengthened(ours, message);
                let again = again.map(|again| self.invite_again(now, id, again, destination, out));
                again.is_none().then_some(refused)
            }
            (401 | 407, Some(message)) => match self.proven(id, ours, message) {
                Ok(Some(again)) => {
                    self.invite_again(now, id, again, destination, out);
                    None
                }
                Ok(None) => Some(refused),
                Err(hopeless) => Some(EndCause::Unproven(hopeless)),
            },
            (503, _) | (408, None) if self.next_hop(now, id, ours, destination, status, out) => None,
            _ => Some(refused),
        }
    }

    fn invite_again(&mut self, now: Instant, id: LegId, again: Originated, destination: Peer, out: &mut Vec<Action>) {
        let least = again.min_se;
        let client = self.send_invite(now, id, again, destination, out);
        if let Some(Leg { stage: Stage::Outgoing(outgoing), min_se, .. }) = self.legs.get_mut(&id) {
            (outgoing.client, *min_se) = (client, least);
            outgoing.early.clear();
            if let Some(trying) = &mut outgoing.trying {
                trying.wait(now);
            }
        }
        self.arm_leg(id);
    }

    /// RFC 4028 §7.3: the same call, with an interval that is long enough. Each time it has to grow.
    fn lengthened(&self, ours: &Originated, message: &Message) -> Option<Originated> {
        let least = message.value(Name::MinSe).and_then(min_se).unwrap_or_default();
        let asked = self.settings.session.expires.unwrap_or_default().max(ours.min_se);
        let follows = least > asked && least <= MIN_SE_MAX && ours.too_short < TOO_SHORT_MAX;
        follows.then(|| Originated { min_se: least, too_short: ours.too_short + 1, ..ours.next() })
    }

    /// The INVITE with an answer to this challenge; `None` where nothing proves who we are.
    fn proven(&mut self, id: LegId, ours: &Originated, message: &Message) -> Result<Option<Originated>, Hopeless> {
        let cnonce = self.ids.token(16);
        let Some(Leg { stage: Stage::Outgoing(Outgoing { trying: Some(trying), .. }), .. }) = self.legs.get_mut(&id)
        else {
            return Ok(None);
        };
        let Some(answers) = &mut trying.answers else { return Ok(None) };
        // Only an answer to this hop's own challenge says something about the password.
        answers.challenged(message, ours.proof.is_some() && trying.challenges > 0)?;
        if trying.challenges >= CHALLENGES_MAX {
            return Err(Hopeless::Endless);
        }
        trying.challenges += 1;
        let proof = answers.answer(b"INVITE", &ours.target, &cnonce).map(|(name, value)| (name, value.into()));
        Ok(Some(Originated { proof, ..ours.next() }))
    }

    /// Sends the INVITE to the next hop, if there is one.
    fn next_hop(
        &mut self,
        now: Instant,
        id: LegId,
        ours: &Originated,
        failed: Peer,
        status: u16,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(Leg { stage: Stage::Outgoing(Outgoing { trying: Some(trying), .. }), .. }) = self.legs.get_mut(&id)
        else {
            return false;
        };
        let Some(hop) = trying.hops.pop_front() else { return false };
        trying.challenges = 0;
        // What it answered to another hop's challenge says nothing here.
        let again = Originated { target: hop.target.as_bytes().into(), proof: None, ..ours.next() };
        out.push(Action::Event(Event::Rerouted { leg: id, failed, status, next: hop.destination }));
        self.invite_again(now, id, again, hop.destination, out);
        true
    }

    /// The hop has said nothing for as long as it may: the next one. What it says now is too late.
    pub(super) fn give_up_hop(&mut self, now: Instant, id: LegId, out: &mut Vec<Action>) {
        let Some(Leg { stage: Stage::Outgoing(outgoing), .. }) = self.legs.get_mut(&id) else { return };
        let client = outgoing.client;
        let Some(trying) = outgoing.trying.as_mut().filter(|trying| trying.next_at.is_some_and(|at| at <= now)) else {
            return self.arm_leg(id);
        };
        trying.next_at = None;
        let Some(transaction) = self.clients.get_mut(&client) else { return self.arm_leg(id) };
        let ClientMachine::Invite(machine, ours) = &mut transaction.machine else { return };
        if machine.is_proceeding() || !machine.is_open() {
            return self.arm_leg(id);
        }
        machine.fall_silent(now);
        transaction.leg = None;
        ours.abandoned = true;
        let (ours, destination) = (ours.clone(), transaction.destination);
        self.arm_client(client);
        self.next_hop(now, id, &ours, destination, 408, out);
    }

    /// A provisional response to an INVITE that another hop has taken the place of: it rings there, and must not.
    pub(super) fn cancel_abandoned(&mut self, now: Instant, id: ClientId, out: &mut Vec<Action>) {
        let cancel = ClientId { cancel: true, ..id };
        let Some(transaction) = self.clients.get(&id).filter(|_| !self.clients.contains_key(&cancel)) else { return };
        let ClientMachine::Invite(_, ours) = &transaction.machine else { return };
        let request = self.write_originated(Method::Cancel, ours, id, &transaction.destination, None);
        let request = (transaction.destination, request.finish(SDP, b""));
        self.begin_client(now, cancel, None, Ours::Errand(Errand::Cancel), request, out);
    }
}

impl Originated {
    /// The same with the next number.
    fn next(&self) -> Self {
        Self { cseq: self.cseq + 1, acknowledged: None, abandoned: false, ..self.clone() }
    }
}
