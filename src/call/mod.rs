//! One call, from INVITE to call record. Reads from top to bottom.
//!
//! A [`Call`] owns its leg's life, the flow session and the record; nothing else. Stages:
//!
//! ```text
//!           offer understood, socket bound           flow over, or the caller gone
//!  Opening ────────────────────────────────► InFlow ──────────────────────────────► Closing ──► record
//!     └── no common codec, no socket, CANCEL ───────────────────────────────────────────▲
//! ```
//!
//! In `Closing` three things end, in any order: the dialog (`Ended`), the stream (`Closed`) and the flow (its silent
//! `on_hangup` steps). When all have ended the record is written, once, whatever happened before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, info, warn};

use crate::audio::FRAME_MS;
use crate::dtmf::{self, Digit, Ledger, Road};
use crate::flow::{self, CallFacts, Session};
use crate::ids::{CallKey, Ids};
use crate::media::{self, LegSettings};
use crate::now::Now;
use crate::rtp::rtcp::{Cname, NtpTime};
use crate::sdp::{self, Local, Negotiated, Offer, Offered, Terms};
use crate::sip::{EndCause, Rejection};

pub mod action;
mod path;
mod playback;
pub mod record;
mod recording;
pub mod tenant;

pub use action::{Action, Event};
pub use record::{CallRecord, PathEntry};
pub use tenant::Tenant;

use path::Path;
use playback::Playback;
use recording::Recording;

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
    session: Session,
    ledger: Ledger,
    playback: Playback,
    stream: StreamIdentity,
    /// What its trunk agrees to.
    terms: Arc<Terms>,
    source: IpAddr,
    /// Makes the keys of SRTP.
    ids: Ids,
    /// What was agreed on last.
    agreed: Option<Box<Negotiated>>,
    /// An offer of ours whose answer comes in the ACK.
    offered: Option<Box<Offered>>,
    /// Where the far end sends to, once the socket is bound.
    local: Option<SocketAddr>,
    /// The far end of a leg that may share its socket, for as long as it stays where its offer said.
    far: Option<SocketAddr>,
    /// A re-INVITE, with its offer, that waits for a socket of the leg's own.
    moving: Option<Option<Bytes>>,
    /// The trunk lets its calls share sockets.
    shared_audio: bool,
    dialog: Part,
    media: Part,
    flow: Part,
    recording: Recording,
    recorded: bool,
    /// When the stage became `Closing`.
    closing_since: Option<Instant>,
    path: Path,
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

/// The life of each part that must end before the record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    NotBegun,
    Running,
    Over,
}

/// Our stream's identity for the leg's whole life (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug)]
struct StreamIdentity {
    ssrc: u32,
    first_sequence: u16,
    first_timestamp: u32,
    cname: Cname,
    /// Decides when the stream is reported on.
    reports: u64,
    /// `o=` session id and version (RFC 8866 §5.2).
    session: u64,
    version: u64,
}

/// What the INVITE said, after routing; its offer goes to [`Call::begin`].
#[derive(Clone, Debug)]
pub struct Invited {
    /// Flow id to begin in.
    pub flow: String,
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
        let session = Session::new(tenant.flows.clone(), tenant.operator.clone(), &invited.flow, facts)?;
        let record = Box::new(CallRecord {
            key,
            operator: tenant.operator.id.clone(),
            flow: invited.flow,
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
            ladder: String::new(),
            media: media::LegReport::default(),
            recording: None,
        });
        let began = now.wall.to_zoned(tenant.operator.time_zone.clone());
        let file = format!("{}/{}.wav", began.strftime("%Y-%m-%d"), record.key);
        let recording = Recording::new(tenant.operator.recording, file);
        let random = ids.next_u64();
        let mut name = [0; 12];
        ids.fill(&mut name);
        Some(Self {
            tenant,
            limits,
            began: now,
            stage: Stage::Closing,
            session,
            ledger: Ledger::default(),
            playback: Playback::default(),
            stream: StreamIdentity {
                ssrc: (random >> 32) as u32,
                first_sequence: random as u16,
                first_timestamp: ids.next_u64() as u32,
                cname: Cname::from_random(name),
                reports: ids.next_u64(),
                session: ids.next_u64() >> 2,
                version: 1,
            },
            terms: invited.terms,
            source: invited.source,
            ids: ids.fork(),
            agreed: None,
            offered: None,
            local: None,
            far: None,
            moving: None,
            shared_audio: invited.shared_audio,
            dialog: Part::Running,
            media: Part::NotBegun,
            flow: Part::NotBegun,
            recording,
            recorded: false,
            closing_since: None,
            path: Path::default(),
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
        self.far = offer.as_ref().filter(|_| self.shared_audio).and_then(Offer::only_audio);
        self.stage = Stage::Opening { offer };
        out.push(Action::OpenMedia(self.far));
    }

    /// Tells the call what happened.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::MediaOpened(local) => self.media_opened(now, local, out),
            // The re-INVITE is refused, and the stream stays where it was (RFC 3261 §14.2).
            Event::MediaFailed(why) if self.moving.take().is_some() => {
                warn!(cause = %why, "no socket for a far end that moves");
                out.push(Action::Reject(Rejection { status: 488, retry_after: None, warning: Some(why) }));
            }
            Event::MediaFailed(why) => {
                warn!(cause = %why, "no socket for the call's media");
                self.refuse(now, 503, format!("no media port: {why}"), out);
            }
            Event::Confirmed(answer) => self.confirmed(now, answer, out),
            Event::Reoffered(offer) => self.reoffered(now, offer, out),
            Event::OfferWanted => self.offer_again(out),
            Event::Reanswered(answer) => self.reoffer_answered(now, Some(answer), out),
            Event::Unchanged(status) => {
                self.offered = None;
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
                self.media = Part::Over;
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
            Event::ShutDown => self.hang_up(now, "the engine stops", out),
        }
        self.finish_if_over(now, out);
    }

    /// When the call wants to be woken, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        let flow = (self.flow == Part::Running).then(|| self.session.poll_timeout()).flatten();
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
        flow.into_iter().chain(unplayed).chain(held).chain([limit]).min_by_key(|(at, _)| *at)
    }

    /// Tells the call that the moment of [`Call::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.instant >= self.began.instant + self.limits.max_call && !matches!(self.stage, Stage::Closing) {
            self.record.cause = "the longest call allowed was reached".into();
            self.hang_up(now, "maximum duration", out);
        } else if self.closing_since.is_some_and(|since| now.instant >= since + CLOSING_MAX) {
            self.note(now, "call", format!("parts that did not end: {}", self.unended()));
            [self.dialog, self.media, self.flow] = [Part::Over; 3];
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
        } else if self.flow == Part::Running {
            let mut actions = Vec::new();
            self.session.handle_timeout(now, &mut actions);
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
        if self.media == Part::NotBegun {
            self.media = Part::Over;
        }
        if self.dialog == Part::Running {
            out.push(match self.record.answered {
                Some(_) => Action::HangUp("internal fault"),
                None => Action::Reject(Rejection { status: 500, retry_after: None, warning: None }),
            });
        }
        out.push(Action::CloseMedia);
        self.finish_if_over(now, out);
    }

    fn media_opened(&mut self, now: Now, local: SocketAddr, out: &mut Vec<Action>) {
        self.local = Some(local);
        if matches!(self.stage, Stage::InFlow { .. })
            && let Some(offer) = self.moving.take()
        {
            return self.reoffered(now, offer, out);
        }
        let Stage::Opening { offer } = std::mem::replace(&mut self.stage, Stage::Closing) else {
            return out.push(Action::CloseMedia);
        };
        match offer {
            Some(offer) => match self.answer_offer(&offer, local, self.stream.version) {
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
                return out.push(Action::Accept(self.offer(local, self.stream.version)));
            }
        }
        self.flow = Part::Running;
        self.tell_flow(now, flow::Event::Start, out);
    }

    /// The answer to an offer of the far end's, which is then what was agreed on.
    fn answer_offer(
        &mut self,
        offer: &Offer,
        local: SocketAddr,
        version: u64,
    ) -> Result<(Bytes, Negotiated), sdp::Unacceptable> {
        let source = Some(self.source);
        let local = Local { address: local, session: self.stream.session, version, terms: &self.terms, source };
        sdp::answer(offer, &local, self.agreed.as_deref(), &mut self.ids)
    }

    /// Our own offer, whose answer is waited for.
    fn offer(&mut self, local: SocketAddr, version: u64) -> Bytes {
        let source = Some(self.source);
        let local = Local { address: local, session: self.stream.session, version, terms: &self.terms, source };
        let offered = sdp::offer(&local, self.agreed.as_deref(), &mut self.ids);
        let description = offered.sdp.clone();
        self.offered = Some(Box::new(offered));
        description
    }

    fn start_media(&mut self, now: Now, negotiated: Negotiated, out: &mut Vec<Action>) {
        self.media = Part::Running;
        self.recording.media_runs(negotiated.codec.sample_rate());
        self.note(now, "media", describe(&negotiated));
        out.push(Action::StartMedia(self.leg_settings(now, &negotiated)));
        if !negotiated.send {
            out.extend(self.playback.hold(now.instant));
        }
        self.agreed = Some(Box::new(negotiated));
    }

    /// What was agreed on again within the call.
    fn retarget(&mut self, now: Now, negotiated: Negotiated, out: &mut Vec<Action>) {
        self.note(now, "sip", format!("re-INVITE: {}", describe(&negotiated)));
        out.push(Action::Retarget(self.leg_settings(now, &negotiated)));
        self.follow_hold(now, negotiated.send, out);
        self.agreed = Some(Box::new(negotiated));
    }

    /// The far end holds the call or comes back to it (RFC 3264 §8.4): nobody listens meanwhile, so nothing is said and no
    /// patience runs out. A call that begins held is answered first: only then can its far end come back.
    fn follow_hold(&mut self, now: Now, listens: bool, out: &mut Vec<Action>) {
        if !listens {
            if self.playback.held_since().is_none() {
                out.extend(self.playback.hold(now.instant));
                self.begin_hold(now, out);
            }
            return;
        }
        let Some((since, again)) = self.playback.resume(now.instant) else { return };
        let held = now.instant.saturating_duration_since(since);
        self.note(now, "sip", format!("the far end is back after {} s", held.as_secs()));
        out.extend(again);
        self.tell_flow(now, flow::Event::Resumed, out);
    }

    fn leg_settings(&self, now: Now, negotiated: &Negotiated) -> LegSettings {
        LegSettings {
            codec: negotiated.codec,
            payload_type: negotiated.payload_type,
            opus: negotiated.opus,
            telephone_event: negotiated.telephone_event,
            event_clock_rate: negotiated.event_clock_rate,
            remote: negotiated.remote,
            rtcp: negotiated.rtcp,
            srtp: negotiated.srtp.clone().map(Box::new),
            send: negotiated.send,
            ssrc: self.stream.ssrc,
            first_sequence: self.stream.first_sequence,
            first_timestamp: self.stream.first_timestamp,
            both_ways: self.record.answered.is_some() && negotiated.send && negotiated.receive,
            // The exchange knows it.
            peer: None,
            cname: self.stream.cname,
            random: self.stream.reports,
            wall: NtpTime::from(now.wall),
            // A far end that holds us keeps quiet (RFC 3264 §8.4): its silence says nothing.
            silent_after: self.limits.silent_after.filter(|_| negotiated.receive),
        }
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
        if let Some(agreed) = self.agreed.as_deref() {
            out.push(Action::Retarget(self.leg_settings(now, agreed)));
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
            .zip(self.offered.take())
            .ok_or_else(|| "the ACK brought no answer to our offer".to_owned())
            .and_then(|(answer, offered)| offered.read_answer(&answer).map_err(|error| error.to_string()));
        match negotiated {
            Ok(negotiated) => {
                self.stage = Stage::InFlow { answer: Bytes::new() };
                self.start_media(now, negotiated, out);
                self.flow = Part::Running;
                self.tell_flow(now, flow::Event::Start, out);
                self.begin_hold(now, out);
            }
            Err(why) => {
                self.record.cause = why;
                self.hang_up(now, "no usable SDP answer", out);
            }
        }
    }

    /// RFC 3264 §8: the same stream goes on, perhaps elsewhere, perhaps held.
    fn reoffered(&mut self, now: Now, offer: Option<Bytes>, out: &mut Vec<Action>) {
        let (Some(local), Stage::InFlow { .. }) = (self.local, &self.stage) else {
            return out.push(Action::Reject(Rejection { status: 491, retry_after: None, warning: None }));
        };
        if self.moves(offer.as_ref()) {
            // RFC 3264 §8.3.1: the answer may name another port than before.
            self.moving = Some(offer);
            return out.push(Action::OpenMedia(None));
        }
        // RFC 3264 §8: one more than in the description before, which a refused offer does not bring.
        let version = self.stream.version + 1;
        let Some(offer) = offer else {
            self.stream.version = version;
            // RFC 3261 §14.2: a re-INVITE without SDP asks for our offer. The stream stays as it is until the ACK brings the answer.
            return out.push(Action::Accept(self.offer(local, version)));
        };
        let result = Offer::parse(&offer).map_err(|error| (error.status(), error.to_string())).and_then(|offer| {
            self.answer_offer(&offer, local, version).map_err(|error| (error.status(), error.to_string()))
        });
        match result {
            Ok((answer, negotiated)) => {
                self.stream.version = version;
                out.push(Action::Accept(answer));
                self.retarget(now, negotiated, out);
            }
            Err((status, why)) => {
                out.push(Action::Reject(Rejection { status, retry_after: None, warning: Some(why) }));
            }
        }
    }

    /// Whether a leg that may share its socket could be moved by this offer, or by the answer to ours: only where its first offer
    /// said can it be told from others. True once: it has a socket of its own then.
    fn moves(&mut self, offer: Option<&Bytes>) -> bool {
        let Some(far) = self.far else { return false };
        let new = offer.and_then(|offer| Offer::parse(offer).ok()).and_then(|offer| offer.only_audio());
        let moves = new != Some(far);
        if moves {
            self.far = None;
        }
        moves
    }

    /// A re-INVITE of ours, with what the stream is already: a refresh asks for nothing else.
    fn offer_again(&mut self, out: &mut Vec<Action>) {
        let (Some(local), Stage::InFlow { .. }, None) = (self.local, &self.stage, &self.moving) else { return };
        self.stream.version += 1;
        out.push(Action::Reoffer(self.offer(local, self.stream.version)));
    }

    /// The answer to an offer that we made within the call. Without a usable one the stream stays as it was.
    fn reoffer_answered(&mut self, now: Now, answer: Option<Bytes>, out: &mut Vec<Action>) {
        let Some(offered) = self.offered.take() else { return };
        match answer.map(|answer| offered.read_answer(&answer)) {
            Some(Ok(negotiated)) => self.retarget(now, negotiated, out),
            Some(Err(error)) => self.note(now, "sip", format!("re-INVITE: the answer cannot be used: {error}")),
            None => self.note(now, "sip", "re-INVITE: the ACK brought no answer to our offer"),
        }
    }

    /// A key by any road; `held` is how long an INFO says that it was down.
    fn pressed(&mut self, now: Now, digit: Digit, road: Road, held: Duration, out: &mut Vec<Action>) {
        if self.ledger.enter(now.instant, road, digit, held) {
            self.tell_flow(now, flow::Event::Digit(digit), out);
        }
    }

    fn media_silent(&mut self, now: Now, out: &mut Vec<Action>) {
        self.record.cause = "no RTP from the caller: check the path of media, NAT and firewalls".into();
        warn!("no RTP from the caller for the configured time: the call ends");
        self.hang_up(now, "no RTP", out);
    }

    fn tell_flow(&mut self, now: Now, event: flow::Event, out: &mut Vec<Action>) {
        if self.flow == Part::Running {
            let mut actions = Vec::new();
            self.session.handle(now, event, &mut actions);
            self.carry_out(now, actions, out);
        }
    }

    fn carry_out(&mut self, now: Now, actions: Vec<flow::Action>, out: &mut Vec<Action>) {
        for action in actions {
            match action {
                flow::Action::Answer => self.answer(now, out),
                flow::Action::Play { play, utterances } => {
                    let segments = self.tenant.segments(&utterances);
                    if self.media == Part::Running {
                        out.extend(self.playback.play(now.instant, play, segments));
                    }
                }
                flow::Action::StopPlaying => {
                    if self.media == Part::Running {
                        out.extend(self.playback.stop());
                    }
                }
                flow::Action::Request { id, request, timeout } => {
                    out.push(Action::Request { id, request, timeout });
                }
                flow::Action::Record(recorded) => self.recording.noticed(recorded, out),
                flow::Action::Secret(secret) => self.recording.secret(secret, out),
                flow::Action::Trace(trace) => self.note(now, &trace.place, trace.what),
                flow::Action::Result(result) => self.record.result = result,
                flow::Action::Finished { cause } => {
                    self.flow = Part::Over;
                    if self.record.cause.is_empty() && !matches!(self.stage, Stage::Closing) {
                        self.record.cause = format!("the flow ended: {cause}");
                    }
                    self.close(out);
                }
            }
        }
    }

    /// The caller is gone, or has to go: the flow's silent steps still run.
    fn hang_up(&mut self, now: Now, reason: &'static str, out: &mut Vec<Action>) {
        if self.record.cause.is_empty() {
            self.record.cause = reason.into();
        }
        self.close(out);
        if self.flow == Part::NotBegun {
            self.flow = Part::Over;
        }
        self.tell_flow(now, flow::Event::HungUp, out);
    }

    /// Ends dialog and stream, whichever still runs; the flow goes on until it says `Finished`.
    fn close(&mut self, out: &mut Vec<Action>) {
        let was_open = !matches!(self.stage, Stage::Closing);
        self.stage = Stage::Closing;
        if self.dialog == Part::Running && was_open {
            match self.record.answered {
                Some(_) => out.push(Action::HangUp("normal call clearing")),
                // RFC 3261 §21.4.18: the flow ended without answering.
                None => out.push(Action::Reject(Rejection { status: 480, retry_after: None, warning: None })),
            }
        }
        if was_open {
            if self.media == Part::NotBegun {
                self.media = Part::Over;
            }
            out.push(Action::CloseMedia);
        }
    }

    fn refuse(&mut self, now: Now, status: u16, why: String, out: &mut Vec<Action>) {
        self.note(now, "sip", format!("refused with {status}: {why}"));
        self.record.cause = format!("{status}: {why}");
        self.stage = Stage::Closing;
        self.flow = Part::Over;
        self.media = Part::Over;
        let retry_after = (status == 503).then_some(RETRY_AFTER_SECONDS);
        out.push(Action::Reject(Rejection { status, retry_after, warning: Some(why) }));
    }

    fn dialog_ended(&mut self, now: Now, cause: &EndCause, out: &mut Vec<Action>) {
        self.dialog = Part::Over;
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
                self.record.result = "abandono".into();
            }
        }
        self.close_quietly(out);
        if self.flow == Part::NotBegun {
            self.flow = Part::Over;
        }
        if caller_left {
            self.tell_flow(now, flow::Event::HungUp, out);
        }
    }

    /// Ends the stream of a leg whose dialog is over.
    fn close_quietly(&mut self, out: &mut Vec<Action>) {
        if !matches!(self.stage, Stage::Closing) {
            self.stage = Stage::Closing;
            if self.media == Part::NotBegun {
                self.media = Part::Over;
            }
            out.push(Action::CloseMedia);
        }
    }

    /// The parts that are not over, for the record.
    fn unended(&self) -> String {
        let parts = [("dialog", self.dialog), ("media", self.media), ("flow", self.flow)];
        let unended = parts.iter().filter(|(_, part)| *part != Part::Over).map(|(name, _)| *name);
        let unended = unended.chain(self.recording.is_running().then_some("recording"));
        unended.collect::<Vec<_>>().join(", ")
    }

    fn finish_if_over(&mut self, now: Now, out: &mut Vec<Action>) {
        if matches!(self.stage, Stage::Closing) && self.closing_since.is_none() && self.flow != Part::NotBegun {
            self.closing_since = Some(now.instant);
        }
        let all_over =
            [self.dialog, self.media, self.flow].iter().all(|part| *part == Part::Over) && !self.recording.is_running();
        if !all_over || self.recorded {
            return;
        }
        self.recorded = true;
        if self.record.result.is_empty() {
            self.record.result = match (self.record.answered, self.record.cause.as_str()) {
                (None, _) => "rechazada",
                (Some(_), cause) if cause.starts_with("the flow ended") => "informacion",
                (Some(_), _) => "abandono",
            }
            .into();
        }
        self.record.recording = self.recording.report();
        self.record.ended = now.wall;
        out.push(Action::Record(Box::new(CallRecord { path: self.path.entries(), ..(*self.record).clone() })));
    }

    fn note(&mut self, now: Now, place: &str, what: impl AsRef<str>) {
        let what = what.as_ref();
        let at_ms = now.instant.saturating_duration_since(self.began.instant).as_millis();
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
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
