//! One call, from INVITE to call record. Reads from top to bottom.
//!
//! A [`Call`] owns its legs' lives, the flow session and the record; nothing else. Stages:
//!
//! ```text
//!           offer understood, socket bound           flow over, or the caller gone
//!  Opening ────────────────────────────────► InFlow ──────────────────────────────► Closing ──► record
//!     │                                       ▲  │ a leg answers (`company`)           ▲
//!     │                                       └──┴ bridged, until either side leaves ──┤
//!     └── no common codec, no socket, CANCEL ──────────────────────────────────────────┘
//! ```
//!
//! In `Closing` three things end, in any order: the dialogs (`Ended`), the streams (`Closed`) and the flow (its silent
//! `on_hangup` steps). When all have ended the record is written, once, whatever happened before.
//!
//! A call that is for somebody's phone has no flow: it ends when they part, or when nobody is reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, info, warn};

use crate::audio::FRAME_MS;
use crate::dtmf::{self, Digit, Road};
use crate::flow::{self, CallFacts, Callee, Session};
use crate::ids::{CallKey, Ids, LegId};
use crate::media::{self, LegSettings};
use crate::now::Now;
use crate::sdp::{Negotiated, Offer, Terms};
use crate::sip::{EndCause, Rejection};

pub mod action;
mod company;
mod leg;
mod path;
mod playback;
pub mod record;
mod recording;
mod sounds;
pub mod tenant;
pub mod timeline;

pub use action::{Action, Event, Led, Way};
pub use record::{CallRecord, PathEntry};
pub use tenant::Tenant;
pub use timeline::{Segment, What};

use company::Company;
use leg::{Leg, Part};
use path::Path;
use playback::Playback;
use recording::Recording;
use timeline::Timeline;

/// Lines of path that a record holds at most; a longer call keeps its first ones and says so.
pub const PATH_LINES_MAX: usize = 500;

/// How long a closing call waits for its parts: a BYE without an answer gives up after 32 s (RFC 3261 §17.1.2.2), silent steps
/// of a flow after 60 s. Beyond that a report was lost, and the record must not be.
pub const CLOSING_MAX: Duration = Duration::from_secs(75);

/// What a call needs to know of its world, fixed when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No RTP for this long ends the call; `None`: never.
    pub silent_after: Option<Duration>,
    /// No call lasts longer, whatever its flow says.
    pub max_call: Duration,
    /// No far end holds the call for longer.
    pub max_hold: Duration,
}

/// One call. Made by [`Call::new`], told by [`Call::handle`], over when it returned [`Action::Record`].
pub struct Call {
    tenant: Arc<Tenant>,
    limits: Limits,
    began: Now,
    stage: Stage,
    /// `None`: the call is for somebody's phone.
    session: Option<Session>,
    playback: Playback,
    caller: Leg,
    /// Makes the keys of SRTP.
    ids: Ids,
    /// Who rings for the caller, or is with them; most calls never have any.
    company: Option<Box<Company>>,
    /// The trunk lets its calls share sockets.
    shared_audio: bool,
    flow: Part,
    recording: Recording,
    recorded: bool,
    /// When nothing of the caller was left: the call's end, though other legs may take longer for theirs.
    served_until: Option<jiff::Timestamp>,
    /// When the stage became `Closing`.
    closing_since: Option<Instant>,
    path: Path,
    timeline: Timeline,
    /// Somebody was with the caller.
    talked: bool,
    /// Whom a call without a flow is for, until they are called.
    callee: Option<Callee>,
    record: Box<CallRecord>,
}

/// Where a call is in its life.
#[derive(Debug)]
enum Stage {
    /// The socket is being bound; `offer` is the INVITE's, `None` for a late offer.
    Opening { offer: Option<Offer> },
    /// The INVITE had no offer: ours went out in the 200, the ACK brings the answer (RFC 3264 §4). The flow begins then.
    AwaitingAnswer,
    /// The flow runs.
    InFlow {
        /// Our SDP answer, until the flow answers the call.
        answer: Bytes,
    },
    /// Waiting for the last parts to end.
    Closing,
}

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This flow serves the caller.
    Flow(String),
    /// Somebody's phones.
    Callee(Callee),
}

/// What the INVITE said, after routing; its offer goes to [`Call::begin`].
#[derive(Clone, Debug)]
pub struct Invited {
    /// The caller's leg.
    pub leg: LegId,
    /// What the call is for.
    pub to: Destination,
    /// The called number as it arrived.
    pub called: String,
    /// The called number as the route matched it.
    pub number: String,
    /// An extension that came with the INVITE.
    pub extension: Option<String>,
    /// The caller's number, normalised.
    pub caller: Option<String>,
    /// SIP Call-ID.
    pub sip_call_id: String,
    /// Where the INVITE came from.
    pub source: IpAddr,
    /// Its trunk lets calls share sockets.
    pub shared_audio: bool,
    /// What its trunk agrees to.
    pub terms: Arc<Terms>,
}

impl Call {
    /// A call that has just been invited; [`Call::begin`] makes it act.
    ///
    /// `None` when the flow does not exist in this snapshot, which a checked snapshot rules out.
    #[must_use]
    pub fn new(now: Now, invited: Invited, tenant: Arc<Tenant>, limits: Limits, ids: &mut Ids) -> Option<Self> {
        let key = CallKey(call_key(now, ids).into());
        let facts = CallFacts {
            key: key.clone(),
            caller: invited.caller.clone(),
            called: invited.number.clone(),
            extension: invited.extension.clone(),
            began: now,
        };
        let (session, flow, callee) = match invited.to {
            Destination::Flow(flow) => {
                (Some(Session::new(tenant.flows.clone(), tenant.operator.clone(), &flow, facts)?), flow, None)
            }
            Destination::Callee(callee) => (None, String::new(), Some(callee)),
        };
        let record = Box::new(CallRecord {
            key,
            operator: tenant.operator.id.clone(),
            flow,
            sip_call_id: invited.sip_call_id,
            called: invited.called,
            caller: invited.caller.unwrap_or_default(),
            class: tenant.operator.class.clone(),
            began: now.wall,
            answered: None,
            ended: now.wall,
            result: String::new(),
            cause: String::new(),
            folios: Vec::new(),
            path: Vec::new(),
            segments: Vec::new(),
            ladder: String::new(),
            media: media::LegReport::default(),
            recording: None,
        });
        let began = now.wall.to_zoned(tenant.operator.time_zone.clone());
        let file = format!("{}/{}.wav", began.strftime("%Y-%m-%d"), record.key);
        let recording = Recording::new(tenant.operator.recording, file);
        let caller = Leg::new(invited.leg, invited.source, invited.terms, ids);
        Some(Self {
            tenant,
            limits,
            began: now,
            stage: Stage::Closing,
            session,
            playback: Playback::default(),
            caller,
            ids: ids.fork(),
            company: None,
            shared_audio: invited.shared_audio,
            flow: Part::NotBegun,
            recording,
            recorded: false,
            served_until: None,
            closing_since: None,
            path: Path::default(),
            timeline: Timeline::default(),
            talked: false,
            callee,
            record,
        })
    }

    /// The call's key.
    #[must_use]
    pub fn key(&self) -> &CallKey {
        &self.record.key
    }

    /// Begins with the INVITE's offer. The first actions say whether the call opens or is refused (400 for an offer that is none; 488
    /// without a common codec follows once there is a socket).
    pub fn begin(&mut self, now: Now, offer: Option<Bytes>, out: &mut Vec<Action>) {
        let offer = match offer.map(|offer| Offer::parse(&offer)).transpose() {
            Ok(offer) => offer,
            Err(error) => return self.refuse(now, error.status(), format!("{error} (SDP of the INVITE)"), out),
        };
        self.caller.far = offer.as_ref().filter(|_| self.shared_audio).and_then(Offer::only_audio);
        self.stage = Stage::Opening { offer };
        out.push(Action::OpenMedia(self.caller.far));
    }

    /// The caller's leg: what [`Action`]s concern that name no other.
    #[must_use]
    pub fn leg(&self) -> LegId {
        self.caller.id
    }

    /// The caller's number; empty when anonymous.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.record.caller
    }

    /// The operator that the call is served for.
    #[must_use]
    pub fn operator(&self) -> &str {
        &self.record.operator
    }

    /// Tells the call what happened, to this leg or at all.
    pub fn handle(&mut self, now: Now, leg: LegId, event: Event, out: &mut Vec<Action>) {
        // The call's recording is of the leg that was the caller's when it began.
        let of_call = matches!(event, Event::Answered(..) | Event::Found(_) | Event::Recorded(_) | Event::ShutDown);
        if leg == self.caller.id || of_call {
            self.handle_caller(now, event, out);
        } else {
            self.handle_beside(now, leg, event, out);
        }
        self.finish_if_over(now, out);
    }

    fn handle_caller(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::MediaOpened(local) => self.media_opened(now, local, out),
            // The re-INVITE is refused, and the stream stays where it was (RFC 3261 §14.2).
            Event::MediaFailed(why) if self.caller.moving.take().is_some() => {
                warn!(cause = %why, "no socket for a far end that moves");
                out.push(Action::Reject(Rejection { status: 488, retry_after: None, warning: Some(why) }));
            }
            Event::MediaFailed(why) => {
                warn!(cause = %why, "no socket for the call's media");
                self.refuse(now, 503, format!("no media port: {why}"), out);
            }
            Event::Confirmed(answer) => self.confirmed(now, answer, out),
            Event::Reoffered(offer) => self.reoffered(now, offer, out),
            Event::OfferWanted => {
                if let Stage::InFlow { .. } = self.stage {
                    self.caller.offer_again(&mut self.ids, out);
                }
            }
            Event::Reanswered(answer) => self.reoffer_answered(now, Some(answer), out),
            Event::Unchanged(status) => {
                self.caller.forget_offer();
                self.note(now, "sip", format!("re-INVITE of ours refused with {status}: all stays as it was"));
            }
            Event::Info { content_type, body } => match dtmf::info::parse(&content_type, &body) {
                Ok((digit, held)) => self.pressed(now, digit, Road::Info, held, out),
                Err(error) => debug!(%error, "INFO without a digit"),
            },
            Event::Ended(cause) => self.dialog_ended(now, &cause, out),
            Event::Media(media::Event::Digit(digit, road)) => self.pressed(now, digit, road, Duration::ZERO, out),
            Event::Media(media::Event::Played(play)) => {
                self.playback.played(play);
                self.tell_flow(now, flow::Event::Played(play), out);
            }
            Event::Media(media::Event::Learned(address)) => {
                self.note(now, "media", format!("sends to {address}, where the caller's packets come from"));
            }
            Event::Media(media::Event::OneWay(found)) => {
                if found.is_fault() {
                    warn!(cause = %found, "one-way audio");
                }
                self.note(now, "media", found.to_string());
            }
            Event::Media(media::Event::Bridged { parties, transcoded }) => {
                let transcoded = transcoded
                    .map(|(from, to)| format!(", transcoded {} → {}", from.encoding_name(), to.encoding_name()));
                self.note(now, "media", format!("{parties} in the bridge{}", transcoded.unwrap_or_default()));
            }
            Event::Media(media::Event::Silent) => self.media_silent(now, out),
            Event::Media(media::Event::Closed(report)) => {
                self.record.media = report;
                self.caller.media = Part::Over;
                if !matches!(self.stage, Stage::Closing) {
                    // Nobody asked for it: a media worker lost the leg. A caller who hears nothing must not be kept.
                    self.record.cause = "the media of this call broke off: see the log".into();
                    self.hang_up(now, "media fault", out);
                }
            }
            Event::Recorded(report) => self.recording.ended(report),
            Event::Answered(id, answer) => {
                if let flow::Answer::Result { values, .. } = &answer
                    && let Some(folio) = values.get("folio")
                {
                    let folio = folio.to_string();
                    if !self.record.folios.contains(&folio) {
                        self.record.folios.push(folio);
                    }
                }
                self.tell_flow(now, flow::Event::Answered(id, answer), out);
            }
            Event::Found(found) => self.found(now, found, out),
            Event::Referred(led) => self.referred(now, self.caller.id, led, out),
            // The caller called us.
            Event::Ringing(..) | Event::PickedUp(_) => {}
            Event::ShutDown => self.hang_up(now, "the engine stops", out),
        }
    }

    /// When the call wants to be woken, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        let session = self.session.as_ref().filter(|_| self.flow == Part::Running);
        let flow = session.and_then(Session::poll_timeout);
        let limit = match (&self.stage, self.closing_since) {
            (Stage::Closing, Some(since)) => (since + CLOSING_MAX, Why::Closing),
            (Stage::Closing, None) => (self.began.instant + CLOSING_MAX, Why::Closing),
            (Stage::Opening { .. } | Stage::AwaitingAnswer | Stage::InFlow { .. }, _) => {
                (self.began.instant + self.limits.max_call, Why::MaxCall)
            }
        };
        let flow = flow.map(|(at, why)| (at, Why::Flow(why)));
        let unplayed = self.unplayed().map(|at| (at, Why::Unplayed));
        let held = self.hold_ends().map(|at| (at, Why::Held));
        let beside = self.rings_until().map(|at| (at, Why::Rings));
        let held_beside = self.party_hold_ends().map(|at| (at, Why::Held));
        let all = flow.into_iter().chain(unplayed).chain(held).chain(beside).chain(held_beside).chain([limit]);
        all.min_by_key(|(at, _)| *at)
    }

    /// Tells the call that the moment of [`Call::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.instant >= self.began.instant + self.limits.max_call && !matches!(self.stage, Stage::Closing) {
            self.record.cause = "the longest call allowed was reached".into();
            self.hang_up(now, "maximum duration", out);
        } else if self.closing_since.is_some_and(|since| now.instant >= since + CLOSING_MAX) {
            self.note(now, "call", format!("parts that did not end: {}", self.unended()));
            [self.caller.dialog, self.caller.media, self.flow] = [Part::Over; 3];
            self.company = None;
            self.recording.give_up();
        } else if self.hold_ends().is_some_and(|at| at <= now.instant) {
            self.record.cause = "the caller's end held the call for too long".into();
            self.hang_up(now, "held too long", out);
        } else if self.unplayed().is_some_and(|at| at <= now.instant)
            && let Some(play) = self.playback.take_overdue(now.instant)
        {
            warn!("a media worker did not report the end of a prompt: the flow goes on without it");
            self.note(now, "media", "the end of what played was not reported: the flow goes on");
            self.tell_flow(now, flow::Event::Played(play), out);
        } else if self.rings_until().is_some_and(|at| at <= now.instant) {
            self.rang_out(now, out);
        } else if self.party_hold_ends().is_some_and(|at| at <= now.instant) {
            self.note(now, "sip", "the other side held the call for too long: it is hung up");
            self.part(now, "held too long", out);
        } else if let (Part::Running, Some(session)) = (self.flow, &mut self.session) {
            let mut actions = Vec::new();
            session.handle_timeout(now, &mut actions);
            self.carry_out(now, actions, out);
        }
        self.finish_if_over(now, out);
    }

    /// When the play under way is given up; what a closing call plays matters to nobody.
    fn unplayed(&self) -> Option<Instant> {
        self.playback.poll_timeout().filter(|_| matches!(self.stage, Stage::InFlow { .. }))
    }

    fn hold_ends(&self) -> Option<Instant> {
        let since = self.playback.held_since().filter(|_| matches!(self.stage, Stage::InFlow { .. }))?;
        Some(since + self.limits.max_hold)
    }

    /// A bug in this call's own code was caught, wherever it stood: end everything, write what is known, leave the others alone.
    /// Whoever is asked to end what has ended does nothing.
    pub fn abort(&mut self, now: Now, out: &mut Vec<Action>) {
        self.record.cause = "internal fault: the call was ended, see the log".into();
        self.stage = Stage::Closing;
        self.flow = Part::Over;
        if self.caller.media == Part::NotBegun {
            self.caller.media = Part::Over;
        }
        if self.caller.dialog == Part::Running {
            out.push(match self.record.answered {
                Some(_) => Action::HangUp("internal fault"),
                None => Action::Reject(Rejection { status: 500, retry_after: None, warning: None }),
            });
        }
        out.push(Action::CloseMedia);
        for leg in self.company.iter().flat_map(|company| company.legs()) {
            out.push(Action::at(leg, Action::HangUp("internal fault")));
            out.push(Action::at(leg, Action::CloseMedia));
        }
        // Nobody waits for them: whatever state the bug has left them in.
        self.company = None;
        self.finish_if_over(now, out);
    }

    fn media_opened(&mut self, now: Now, local: SocketAddr, out: &mut Vec<Action>) {
        self.caller.local = Some(local);
        if matches!(self.stage, Stage::InFlow { .. })
            && let Some(offer) = self.caller.moving.take()
        {
            return self.reoffered(now, offer, out);
        }
        let Stage::Opening { offer } = std::mem::replace(&mut self.stage, Stage::Closing) else {
            return out.push(Action::CloseMedia);
        };
        match offer {
            Some(offer) => match self.caller.answer(&offer, local, &mut self.ids) {
                Ok((answer, negotiated)) => {
                    self.stage = Stage::InFlow { answer };
                    self.start_media(now, negotiated, out);
                }
                Err(error) => {
                    out.push(Action::CloseMedia);
                    return self.refuse(now, error.status(), error.explain(&offer), out);
                }
            },
            None => {
                self.stage = Stage::AwaitingAnswer;
                self.record.answered = Some(now.wall);
                return out.push(Action::Accept(self.caller.offer(local, None, &mut self.ids)));
            }
        }
        self.serve(now, out);
    }

    fn start_media(&mut self, now: Now, negotiated: Negotiated, out: &mut Vec<Action>) {
        self.caller.media = Part::Running;
        self.recording.media_runs(negotiated.codec.sample_rate());
        self.note(now, "media", describe(&negotiated));
        out.push(Action::StartMedia(self.caller_settings(now, &negotiated)));
        if !negotiated.send {
            out.extend(self.playback.hold(now.instant));
        }
        self.caller.agreed = Some(Box::new(negotiated));
    }

    /// What was agreed on again within the call.
    fn retarget(&mut self, now: Now, negotiated: Negotiated, out: &mut Vec<Action>) {
        self.note(now, "sip", format!("re-INVITE: {}", describe(&negotiated)));
        out.push(Action::Retarget(self.caller_settings(now, &negotiated)));
        self.follow_hold(now, negotiated.send, out);
        self.caller.agreed = Some(Box::new(negotiated));
    }

    /// The far end holds the call or comes back to it (RFC 3264 §8.4): nobody listens meanwhile, so nothing is said and no
    /// patience runs out. A call that begins held is answered first: only then can its far end come back.
    fn follow_hold(&mut self, now: Now, listens: bool, out: &mut Vec<Action>) {
        if !listens {
            if self.playback.held_since().is_none() {
                out.extend(self.playback.hold(now.instant));
                self.begin_hold(now, out);
                self.follow_holds(now, out);
            }
            return;
        }
        let Some((since, again)) = self.playback.resume(now.instant) else { return };
        let held = now.instant.saturating_duration_since(since);
        self.note(now, "sip", format!("the far end is back after {} s", held.as_secs()));
        out.extend(again);
        self.tell_flow(now, flow::Event::Resumed, out);
        self.follow_holds(now, out);
    }

    fn caller_settings(&self, now: Now, negotiated: &Negotiated) -> LegSettings {
        self.caller.settings(now, negotiated, self.record.answered.is_some(), self.limits.silent_after)
    }

    /// What the call is for begins.
    fn serve(&mut self, now: Now, out: &mut Vec<Action>) {
        if let Some(callee) = self.callee.take() {
            self.flow = Part::Over;
            return self.seek(now, callee, RING, out);
        }
        self.flow = Part::Running;
        self.tell_flow(now, flow::Event::Start, out);
    }

    /// The call goes on in another flow of the operator.
    fn begin_flow(&mut self, now: Now, flow: &str, number: String, out: &mut Vec<Action>) {
        let facts = CallFacts {
            key: self.record.key.clone(),
            caller: Some(self.record.caller.clone()).filter(|caller| !caller.is_empty()),
            called: number,
            extension: None,
            began: self.began,
        };
        let session = Session::new(self.tenant.flows.clone(), self.tenant.operator.clone(), flow, facts);
        let Some(mut session) = session else { return self.hang_up(now, "the flow does not exist", out) };
        session.begin_at(now, self.session.as_ref());
        (self.session, self.flow) = (Some(session), Part::Running);
        self.tell_flow(now, flow::Event::Start, out);
    }

    /// The flow wants the call answered: 200 with our SDP.
    fn answer(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.record.answered.is_some() {
            return;
        }
        let Stage::InFlow { answer } = &mut self.stage else { return };
        out.push(Action::Accept(std::mem::take(answer)));
        self.record.answered = Some(now.wall);
        self.recording.answered(out);
        info!("answered");
        self.note(now, "sip", "answered");
        // From here on the caller can hear us, and should be heard.
        if let Some(agreed) = self.caller.agreed.as_deref() {
            out.push(Action::Retarget(self.caller_settings(now, agreed)));
        }
        self.begin_hold(now, out);
    }

    /// The flow waits while the far end holds, in a call that began so from its answer on.
    fn begin_hold(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.playback.held_since().is_some() {
            self.note(now, "sip", "the far end holds the call: the flow waits");
            self.tell_flow(now, flow::Event::Held, out);
        }
    }

    fn confirmed(&mut self, now: Now, answer: Option<Bytes>, out: &mut Vec<Action>) {
        match self.stage {
            Stage::AwaitingAnswer => {}
            Stage::InFlow { .. } => return self.reoffer_answered(now, answer, out),
            Stage::Opening { .. } | Stage::Closing => return,
        }
        let negotiated = answer
            .and_then(|answer| self.caller.answered(&answer))
            .ok_or_else(|| "the ACK brought no answer to our offer".to_owned())
            .and_then(|read| read.map_err(|error| error.to_string()));
        match negotiated {
            Ok(negotiated) => {
                self.stage = Stage::InFlow { answer: Bytes::new() };
                self.start_media(now, negotiated, out);
                self.serve(now, out);
                self.begin_hold(now, out);
            }
            Err(why) => {
                self.record.cause = why;
                self.hang_up(now, "no usable SDP answer", out);
            }
        }
    }

    /// The answer to an offer that we made within the call. Without a usable one the stream stays as it was.
    fn reoffer_answered(&mut self, now: Now, answer: Option<Bytes>, out: &mut Vec<Action>) {
        match answer.map(|answer| self.caller.answered(&answer)) {
            Some(Some(Ok(negotiated))) => self.retarget(now, negotiated, out),
            Some(Some(Err(error))) => self.note(now, "sip", format!("re-INVITE: the answer cannot be used: {error}")),
            None if self.caller.forget_offer() => {
                self.note(now, "sip", "re-INVITE: the ACK brought no answer to our offer");
            }
            Some(None) | None => {}
        }
    }

    /// RFC 3264 §8: the same stream goes on, perhaps elsewhere, perhaps held.
    fn reoffered(&mut self, now: Now, offer: Option<Bytes>, out: &mut Vec<Action>) {
        if self.caller.local.is_none() || !matches!(self.stage, Stage::InFlow { .. }) {
            return out.push(Action::Reject(Rejection { status: 491, retry_after: None, warning: None }));
        }
        if let Some(negotiated) = self.caller.reoffered(offer, &mut self.ids, out) {
            self.retarget(now, negotiated, out);
        }
    }

    /// A key by any road; `held` is how long an INFO says that it was down.
    fn pressed(&mut self, now: Now, digit: Digit, road: Road, held: Duration, out: &mut Vec<Action>) {
        if self.caller.ledger.enter(now.instant, road, digit, held) && !self.pass_key_on(digit, road, out) {
            self.tell_flow(now, flow::Event::Digit(digit), out);
        }
    }

    fn media_silent(&mut self, now: Now, out: &mut Vec<Action>) {
        self.record.cause = "no RTP from the caller: check the path of media, NAT and firewalls".into();
        warn!("no RTP from the caller for the configured time: the call ends");
        self.hang_up(now, "no RTP", out);
    }

    fn tell_flow(&mut self, now: Now, event: flow::Event, out: &mut Vec<Action>) {
        if let (Part::Running, Some(session)) = (self.flow, &mut self.session) {
            let mut actions = Vec::new();
            session.handle(now, event, &mut actions);
            self.carry_out(now, actions, out);
        }
    }

    fn carry_out(&mut self, now: Now, actions: Vec<flow::Action>, out: &mut Vec<Action>) {
        for action in actions {
            match action {
                flow::Action::Answer => self.answer(now, out),
                flow::Action::Play { play, utterances } => {
                    let segments = self.tenant.segments(&utterances);
                    if self.caller.media == Part::Running {
                        out.extend(self.playback.play(now.instant, play, segments));
                    }
                }
                flow::Action::StopPlaying => {
                    if self.caller.media == Part::Running {
                        out.extend(self.playback.stop());
                    }
                }
                flow::Action::Request { id, request, timeout } => {
                    out.push(Action::Request { id, request, timeout });
                }
                flow::Action::Transfer { to, ring } => self.seek(now, to, ring, out),
                flow::Action::Record(recorded) => self.recording.noticed(recorded, out),
                flow::Action::Secret(secret) => self.recording.secret(secret, out),
                flow::Action::Trace(trace) => self.note(now, &trace.place, trace.what),
                flow::Action::Result(result) => self.record.result = result,
                flow::Action::Finished { cause } => {
                    self.flow = Part::Over;
                    if self.record.cause.is_empty() && !matches!(self.stage, Stage::Closing) {
                        self.record.cause = format!("the flow ended: {cause}");
                    }
                    self.close(now, out);
                }
            }
        }
    }

    /// The caller is gone, or has to go: the flow's silent steps still run.
    fn hang_up(&mut self, now: Now, reason: &'static str, out: &mut Vec<Action>) {
        if self.record.cause.is_empty() {
            self.record.cause = reason.into();
        }
        self.close(now, out);
        if self.flow == Part::NotBegun {
            self.flow = Part::Over;
        }
        self.tell_flow(now, flow::Event::HungUp, out);
    }

    /// Ends dialog and stream, whichever still runs; the flow goes on until it says `Finished`.
    fn close(&mut self, now: Now, out: &mut Vec<Action>) {
        // RFC 3261 §21.4.18: the flow ended without answering.
        self.close_with(now, 480, out);
    }

    /// The same, where this status refuses a call that was not answered.
    fn close_with(&mut self, now: Now, status: u16, out: &mut Vec<Action>) {
        let was_open = !matches!(self.stage, Stage::Closing);
        self.stage = Stage::Closing;
        if self.caller.dialog == Part::Running && was_open {
            match self.record.answered {
                Some(_) => out.push(Action::HangUp("normal call clearing")),
                None => out.push(Action::Reject(Rejection { status, retry_after: None, warning: None })),
            }
        }
        if was_open {
            self.leave_all(now, out);
            if self.caller.media == Part::NotBegun {
                self.caller.media = Part::Over;
            }
            out.push(Action::CloseMedia);
        }
    }

    fn refuse(&mut self, now: Now, status: u16, why: String, out: &mut Vec<Action>) {
        self.note(now, "sip", format!("refused with {status}: {why}"));
        self.record.cause = format!("{status}: {why}");
        self.stage = Stage::Closing;
        self.flow = Part::Over;
        self.caller.media = Part::Over;
        let retry_after = (status == 503).then_some(RETRY_AFTER_SECONDS);
        out.push(Action::Reject(Rejection { status, retry_after, warning: Some(why) }));
    }

    fn dialog_ended(&mut self, now: Now, cause: &EndCause, out: &mut Vec<Action>) {
        self.caller.dialog = Part::Over;
        self.note(now, "sip", cause.explain());
        // A missing ACK is what ops must know, also when the flow came to its end before our 200 was given up.
        if self.record.cause.is_empty() || matches!(cause, EndCause::NoAck) {
            self.record.cause = cause.explain();
        }
        info!(cause = %cause.explain(), "ended");
        let caller_left = !matches!(self.stage, Stage::Closing);
        if caller_left {
            self.record.cause = cause.explain();
            // Before the answer as behind it: who gives up was not refused. The flow may still say more.
            if self.record.result.is_empty() && matches!(cause, EndCause::Cancelled | EndCause::RemoteBye) {
                self.record.result = if self.talked { ATTENDED } else { "abandono" }.into();
            }
        }
        self.close_quietly(now, out);
        if self.flow == Part::NotBegun {
            self.flow = Part::Over;
        }
        if caller_left {
            self.tell_flow(now, flow::Event::HungUp, out);
        }
    }

    /// Ends the stream of a leg whose dialog is over.
    fn close_quietly(&mut self, now: Now, out: &mut Vec<Action>) {
        if !matches!(self.stage, Stage::Closing) {
            self.stage = Stage::Closing;
            self.leave_all(now, out);
            if self.caller.media == Part::NotBegun {
                self.caller.media = Part::Over;
            }
            out.push(Action::CloseMedia);
        }
    }

    /// Whoever rings for the caller, or is with them, is hung up.
    fn leave_all(&mut self, now: Now, out: &mut Vec<Action>) {
        self.timeline.end(self.elapsed_ms(now));
        if let Some(company) = &mut self.company {
            company.dismiss_all("the caller is gone", out);
        }
    }

    /// The parts that are not over, for the record.
    fn unended(&self) -> String {
        let parts = [("dialog", self.caller.dialog), ("media", self.caller.media), ("flow", self.flow)];
        let unended = parts.iter().filter(|(_, part)| *part != Part::Over).map(|(name, _)| *name);
        let unended = unended.chain(self.recording.is_running().then_some("recording"));
        let beside = self.company.as_ref().is_some_and(|company| !company.is_over());
        let unended = unended.chain(beside.then_some("other legs"));
        unended.collect::<Vec<_>>().join(", ")
    }

    fn finish_if_over(&mut self, now: Now, out: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Closing) && self.closing_since.is_none() && self.flow != Part::NotBegun {
            self.closing_since = Some(now.instant);
        }
        let parts = [self.caller.dialog, self.caller.media, self.flow];
        if !parts.iter().all(|part| *part == Part::Over) || self.recording.is_running() || self.recorded {
            return;
        }
        // What other legs take to end is not the caller's time.
        let ended = *self.served_until.get_or_insert(now.wall);
        if self.company.as_ref().is_some_and(|company| !company.is_over()) {
            return;
        }
        self.recorded = true;
        if self.record.result.is_empty() {
            self.record.result = match (self.record.answered, self.record.cause.as_str()) {
                (Some(_), _) if self.talked => ATTENDED,
                (None, _) => "rechazada",
                (Some(_), cause) if cause.starts_with("the flow ended") => "informacion",
                (Some(_), _) => "abandono",
            }
            .into();
        }
        self.record.recording = self.recording.report();
        self.record.ended = ended;
        let total = self.record.ended.as_millisecond() - self.began.wall.as_millisecond();
        self.record.segments = self.timeline.segments(u64::try_from(total).unwrap_or_default());
        out.push(Action::Record(Box::new(CallRecord { path: self.path.entries(), ..(*self.record).clone() })));
    }

    /// Milliseconds since the INVITE.
    fn elapsed_ms(&self, now: Now) -> u64 {
        let elapsed = now.instant.saturating_duration_since(self.began.instant).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    fn note(&mut self, now: Now, place: &str, what: impl AsRef<str>) {
        let what = what.as_ref();
        let at_ms = self.elapsed_ms(now);
        debug!(step = %place, "{what}");
        match self.path.len() {
            0..PATH_LINES_MAX => self.path.push(at_ms, place, what),
            PATH_LINES_MAX => {
                let what = format!("the path is longer than {PATH_LINES_MAX} lines: the rest is not kept");
                self.path.push(at_ms, "call", &what);
            }
            _ => {}
        }
    }
}

/// Why a call wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A timer of the running flow.
    Flow(flow::Why),
    /// The leg has not reported the end of what it plays.
    Unplayed,
    /// The longest hold allowed.
    Held,
    /// Nobody has answered for as long as it may ring.
    Rings,
    /// The longest call allowed.
    MaxCall,
    /// A part of a closing call has not ended: the record is written without it.
    Closing,
}

/// What was agreed on, for a record: `opus with 192.0.2.1:4000, SRTP AEAD_AES_256_GCM`.
fn describe(negotiated: &Negotiated) -> String {
    let mut text = format!("{} with {}", negotiated.codec.encoding_name(), negotiated.remote);
    if let Some(keys) = &negotiated.srtp {
        text.push_str(", SRTP ");
        text.push_str(keys.ours.suite().name());
    }
    if negotiated.telephone_event.is_none() {
        text.push_str(", keys in the audio");
    }
    if let Some(ms) = negotiated.packet_max_ms {
        text.push_str(&format!(", which asks for packets of {ms} ms at most and gets {FRAME_MS}"));
    }
    text
}

/// `20260315-083000-k7m2p9`: sorts by time, and six random characters tell calls of one second apart.
fn call_key(now: Now, ids: &mut Ids) -> String {
    format!("{}-{}", now.wall.strftime("%Y%m%d-%H%M%S"), ids.token(6))
}

/// How long a peer should wait after a 503 for want of ports.
const RETRY_AFTER_SECONDS: u32 = 5;

/// How long somebody's phones ring where no flow says so.
const RING: Duration = Duration::from_secs(60);

/// The result of a call whose caller talked with somebody, unless its flow says more.
const ATTENDED: &str = "atendida";
