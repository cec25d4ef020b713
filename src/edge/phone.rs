//! A telephone for test calls: it calls a number over real sockets, presses keys like a caller, and keeps what it heard.
//!
//! It listens before it presses: a group of keys goes out when the far end has been heard and has then been quiet for
//! `patience`, or, for a group that barges in, as soon as something is heard.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dtmf::{Digit, Road, info};
use crate::edge::clock;
use crate::edge::poll::Poll;
use crate::edge::refusal_text;
use crate::edge::rtp_socket::{self, RtpSocket};
use crate::edge::streams::Arrival;
use crate::edge::wire::{Wire, WireTo};
use crate::ids::{Ids, LegId};
use crate::media::{CONTROL_LENGTH_MAX, Leg, LegSettings, Listener, MAX_PACKET};
use crate::rtp::rtcp::{Cname, NtpTime};
use crate::sdp::{self, Local, Negotiated, Offered, Terms};
use crate::sip::uri;
use crate::sip::user_agent::Settings;
use crate::sip::{Action, EndCause, Event, Invite, Peer, Rejection, UserAgent};

/// How a test call goes.
#[derive(Clone, Debug)]
pub struct Script {
    /// Request-URI (`sip:*2363@127.0.0.1:5060`).
    pub target: String,
    /// Where the INVITE goes, and over what: UDP, TCP or TLS.
    pub destination: Peer,
    /// The name that the far end's certificate must hold; `None`: its address.
    pub name: Option<String>,
    /// Certificates that are trusted; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// From user; empty calls anonymously.
    pub from: String,
    /// Our own address.
    pub address: IpAddr,
    /// What to offer.
    pub terms: Terms,
    /// How keys are pressed. By tones: let `terms` offer no telephone events.
    pub road: Road,
    /// Keys, in groups.
    pub keys: Vec<Group>,
    /// Quiet that means the far end waits for us.
    pub patience: Duration,
    /// After the last keys, this much quiet ends the call from our side.
    pub linger: Duration,
    /// No call lasts longer.
    pub longest: Duration,
}

/// Keys that are pressed without a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// At least one.
    pub digits: Vec<Digit>,
    /// Pressed as soon as something is heard, through the prompt.
    pub barge_in: bool,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The final status of the INVITE: 200, or why not.
    pub status: u16,
    /// Why no connection could be made, or kept.
    pub unreachable: Option<String>,
    /// What the far end said of its refusal ([`refusal_text`]).
    pub refusal: Option<String>,
    /// INVITE sent to 200 received.
    pub answered_after: Option<Duration>,
    /// 200 received to first RTP packet.
    pub audio_after: Option<Duration>,
    /// Everything heard, 8 kHz.
    pub heard: Vec<i16>,
    /// What was agreed on last.
    pub agreed: Option<Negotiated>,
    /// Keys pressed, with the moment of their first packet since the 200.
    pub pressed: Vec<(Duration, Digit)>,
    /// Groups that were never pressed because the call was over.
    pub keys_left: usize,
    /// The status that the far end refused a key with which came by INFO.
    pub key_refused: Option<u16>,
    /// Who ended the call.
    pub ended: Option<EndCause>,
    /// INVITE sent to the end.
    pub lasted: Duration,
    /// It was told to stop.
    pub interrupted: bool,
}

/// One packet's time.
const FRAME_TIME: Duration = Duration::from_millis(20);

/// Length of a press, and the quiet after it in 20 ms frames: a person's quick fingers.
const PRESS: Duration = Duration::from_millis(100);
const PRESS_FRAMES: u16 = 5;
const GAP_FRAMES: u16 = 3;

/// How often it looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// A far end that sends no RTP for this long will not be heard any more.
const UNHEARD_MAX: Duration = Duration::from_secs(5);

/// How long an answer to our BYE or CANCEL is waited for: a test call need not see a dead far end out for 32 s.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A sample louder than this is sound (about −60 dBFS).
const SOUND: u16 = 33;

/// Sound that an impatient caller hears before pressing: 200 ms.
const IMPATIENT_SAMPLES: usize = 1_600;

/// Places the call and sees it to its end.
///
/// # Errors
/// When no socket can be had. What the far end does is no error: it stands in the report.
pub fn call(script: Script, ids: Ids) -> io::Result<Report> {
    call_until(&AtomicUsize::new(0), script, ids, || {})
}

/// Places the call and sees it to its end, or hangs up when `stop` is no longer zero. `answered` is told of the 200.
///
/// # Errors
/// See [`call`].
pub fn call_until(stop: &AtomicUsize, script: Script, mut ids: Ids, answered: impl FnOnce()) -> io::Result<Report> {
    let line = WireTo {
        destination: script.destination,
        name: script.name.clone(),
        ca: script.ca.clone(),
        address: script.address,
    };
    let (wire, listeners) = Wire::open(&line)?;
    let rtp = RtpSocket::open(script.address, None, 0)?;
    let rtp_address = rtp.local();
    let began = clock::now().instant;
    let random = [ids.next_u64(), ids.next_u64()];
    let mut name = [0; 12];
    ids.fill(&mut name);
    let local =
        Local { address: rtp.local(), session: ids.next_u64() >> 2, version: 1, terms: &script.terms, source: None };
    let offered = sdp::offer(&local, None, &mut ids);
    let mut phone = Phone {
        user_agent: UserAgent::new(Settings::at(listeners), ids),
        leg: LegId(0),
        wire,
        rtp,
        inbox: rtp_socket::Inbox::new(),
        offered,
        line: None,
        listened_from: 0,
        report: Report {
            status: 0,
            unreachable: None,
            refusal: None,
            answered_after: None,
            audio_after: None,
            heard: Vec::new(),
            agreed: None,
            pressed: Vec::new(),
            keys_left: script.keys.len(),
            key_refused: None,
            ended: None,
            lasted: Duration::ZERO,
            interrupted: false,
        },
        groups: script.keys.iter().cloned().collect(),
        began,
        hung_up: None,
        random,
        cname: Cname::from_random(name),
        script,
    };
    phone.run(rtp_address, stop, answered);
    Ok(phone.report)
}

struct Phone {
    script: Script,
    user_agent: UserAgent,
    leg: LegId,
    wire: Wire,
    rtp: RtpSocket,
    inbox: rtp_socket::Inbox,
    offered: Offered,
    line: Option<Line>,
    groups: VecDeque<Group>,
    /// Sample from which the far end is listened to for the next group.
    listened_from: usize,
    report: Report,
    began: Instant,
    /// When we said BYE or CANCEL.
    hung_up: Option<Instant>,
    /// For our stream's identity.
    random: [u64; 2],
    cname: Cname,
}

/// The call once it is answered.
struct Line {
    leg: Leg,
    listener: Listener,
    answered: Instant,
    next_frame: Instant,
    /// When the last packet came; at first, when the call was answered.
    last_packet: Instant,
    road: Road,
    /// Digits of the current group still to press.
    digits: VecDeque<Digit>,
    /// Frames for which a key that went by INFO is still held, and whether the INFO has no answer yet: one at a time, for nothing else
    /// keeps two of them in order.
    held: u16,
    unanswered: bool,
    /// Frames of quiet still to keep after a press.
    gap: u16,
}

impl Line {
    fn is_pressing(&self) -> bool {
        !self.digits.is_empty() || self.is_holding() || self.gap > 0
    }

    fn is_holding(&self) -> bool {
        self.leg.is_pressing() || self.held > 0 || self.unanswered
    }

    /// Starts the next press if the last one and its gap are over; gives back the digit that begins, which the user agent is to send
    /// if keys go by INFO.
    fn press_next(&mut self) -> Option<Digit> {
        self.held = self.held.saturating_sub(1);
        if self.is_holding() {
            self.gap = GAP_FRAMES;
            return None;
        }
        if self.gap > 0 {
            self.gap -= 1;
            return None;
        }
        let digit = self.digits.pop_front()?;
        if self.road == Road::Info {
            (self.held, self.unanswered) = (PRESS_FRAMES, true);
            return Some(digit);
        }
        self.leg.press(digit, PRESS).then_some(digit)
    }
}

impl Phone {
    fn run(&mut self, rtp_address: SocketAddr, stop: &AtomicUsize, answered: impl FnOnce()) {
        let mut tell_answered = Some(answered);
        let mut actions = Vec::new();
        let invite = Invite {
            target: self.script.target.clone(),
            destination: self.script.destination,
            from: if self.script.from.is_empty() {
                uri::ANONYMOUS.to_owned()
            } else {
                uri::at(&self.script.from, rtp_address.ip())
            },
            offer: self.offered.sdp.clone(),
        };
        self.leg = self.user_agent.invite(self.began, invite, &mut actions);
        self.act(&mut actions);
        let mut poll = Poll::new([self.wire.descriptor(), self.rtp.descriptor()]);
        while self.report.ended.is_none() {
            let frame = self.line.as_ref().map(|line| line.next_frame);
            let timer = self.user_agent.poll_timeout().map(|(at, _)| at);
            let limit = self.began + self.script.longest;
            let limit = self.hung_up.map_or(limit, |at| at + LAST_WORDS);
            let look = clock::now().instant + STOP_LOOK;
            let wake = [frame, timer, Some(limit), Some(look)].into_iter().flatten().min();
            poll.wait(wake);
            let now = clock::now().instant;
            for arrival in self.wire.receive() {
                self.arrived(now, arrival, &mut actions);
            }
            self.user_agent.handle_timeout(now, &mut actions);
            self.act(&mut actions);
            self.listen(now);
            self.speak(now);
            if self.line.is_some()
                && let Some(tell) = tell_answered.take()
            {
                tell();
            }
            self.report.interrupted |= stop.load(Ordering::Relaxed) > 0;
            if self.hung_up.is_some_and(|at| now >= at + LAST_WORDS) {
                // Nobody said a word to our BYE, or our CANCEL.
                self.report.ended.get_or_insert(EndCause::Vanished);
            }
            if self.wants_to_leave(now) && self.hung_up.is_none() {
                self.hung_up = Some(now);
                self.user_agent.hangup(now, self.leg, "test call over", &mut actions);
                self.act(&mut actions);
            }
        }
        if let Some(line) = &self.line {
            self.report.heard = line.listener.pcm().to_vec();
        }
        self.report.keys_left = self.groups.len();
        self.report.lasted = clock::now().instant - self.began;
    }

    fn arrived(&mut self, now: Instant, arrival: Arrival, actions: &mut Vec<Action>) {
        match arrival {
            Arrival::Message { source, bytes } => {
                self.report.refusal = refusal_text::of(&bytes).or(self.report.refusal.take());
                self.user_agent.handle_message(now, source, bytes, actions);
            }
            Arrival::Undelivered(parcel, why) => {
                self.report.unreachable.get_or_insert_with(|| why.to_string());
                self.user_agent.handle_undelivered(now, parcel.bytes, actions);
            }
            Arrival::Closed(flow) => self.user_agent.flow_closed(flow, actions),
        }
    }

    fn act(&mut self, actions: &mut Vec<Action>) {
        let mut undelivered = Vec::new();
        self.carry_out(actions, &mut undelivered);
        // What no connection takes at once ends the call, which asks for nothing more.
        for arrival in undelivered {
            self.arrived(clock::now().instant, arrival, actions);
        }
        self.carry_out(actions, &mut Vec::new());
    }

    fn carry_out(&mut self, actions: &mut Vec<Action>, undelivered: &mut Vec<Arrival>) {
        for action in std::mem::take(actions) {
            match action {
                Action::Send { destination, message } => {
                    if let Some(arrival) = self.wire.send(destination, message) {
                        undelivered.push(arrival);
                    }
                }
                Action::Event(Event::Answered { body, .. }) => {
                    let now = clock::now().instant;
                    self.report.status = 200;
                    self.report.answered_after = Some(now - self.began);
                    self.answered(now, &body);
                }
                Action::Event(Event::Ended { cause, .. }) => {
                    if let EndCause::RemoteRefused(status) = cause {
                        self.report.status = status;
                    }
                    self.report.ended = Some(cause);
                }
                Action::Event(Event::InfoAnswered { status, .. }) => {
                    self.report.key_refused = self.report.key_refused.or((status >= 300).then_some(status));
                    if let Some(line) = &mut self.line {
                        line.unanswered = false;
                    }
                }
                // It has said what it can, and stays where it is.
                Action::Event(Event::Reoffered { leg, .. }) => {
                    let refusal = Rejection { status: 488, retry_after: None, warning: None };
                    self.user_agent.reject(clock::now().instant, leg, &refusal, actions);
                }
                // A phone that is only called in tests of its own has nothing to do for these.
                Action::Event(
                    Event::Invited { .. }
                    | Event::Confirmed { .. }
                    | Event::Acknowledged { .. }
                    | Event::OfferWanted { .. }
                    | Event::Reanswered { .. }
                    | Event::Unchanged { .. }
                    | Event::Info { .. }
                    | Event::Ringing { .. }
                    | Event::ReferAnswered { .. }
                    | Event::ReferReported { .. }
                    | Event::Referred { .. }
                    | Event::Registrar(_)
                    | Event::Rerouted { .. }
                    | Event::Responded { .. },
                ) => {}
            }
        }
    }

    fn answered(&mut self, now: Instant, body: &Bytes) {
        match self.offered.read_answer(body) {
            Ok(negotiated) => {
                self.report.agreed = Some(negotiated.clone());
                if negotiated.telephone_event.is_none() && self.script.road == Road::TelephoneEvent {
                    tracing::warn!("the far end takes no telephone events: keys are pressed as tones");
                }
                let listener = Listener::new(negotiated.codec, negotiated.payload_type);
                let [identity, first] = self.random;
                let settings = LegSettings {
                    ssrc: (identity >> 32) as u32,
                    first_sequence: identity as u16,
                    first_timestamp: first as u32,
                    silent_after: None,
                    both_ways: negotiated.send && negotiated.receive,
                    peer: Some(self.script.destination.address.ip()),
                    cname: self.cname,
                    random: first,
                    wall: NtpTime::from(clock::now().wall),
                    ..LegSettings::from(&negotiated)
                };
                self.line = Some(Line {
                    leg: Leg::new(settings, now),
                    listener,
                    answered: now,
                    next_frame: now,
                    last_packet: now,
                    road: self.script.road,
                    digits: VecDeque::new(),
                    held: 0,
                    unanswered: false,
                    gap: 0,
                });
            }
            Err(error) => {
                self.report.refusal = Some(error.to_string());
                self.groups.clear();
            }
        }
    }

    fn listen(&mut self, now: Instant) {
        let Some(line) = &mut self.line else { return };
        let mut events = Vec::new();
        self.rtp.receive(&mut self.inbox);
        for (source, packet) in self.inbox.iter_mut() {
            let Some(packet) = line.leg.handle_packet(now, source, packet, &mut events) else { continue };
            if self.report.audio_after.is_none() {
                self.report.audio_after = Some(now.saturating_duration_since(line.answered));
            }
            line.last_packet = now;
            line.listener.handle_packet(packet);
        }
    }

    /// Sends the frames that are due: silence, or a press.
    fn speak(&mut self, now: Instant) {
        loop {
            let Some(line) = &mut self.line else { return };
            if self.hung_up.is_some() {
                line.next_frame = now + FRAME_TIME;
            }
            if line.next_frame > now {
                return;
            }
            line.next_frame += FRAME_TIME;
            let heard = line.listener.pcm();
            if !line.is_pressing()
                && let Some(group) = self.groups.front()
                && waits_for_us(heard, self.listened_from, group.barge_in, self.script.patience)
            {
                line.digits.extend(self.groups.pop_front().map(|group| group.digits).unwrap_or_default());
            }
            if line.is_pressing() {
                self.listened_from = line.listener.pcm().len();
            }
            let pressed = line.press_next();
            if let Some(digit) = pressed {
                self.report.pressed.push((now.saturating_duration_since(line.answered), digit));
            }
            let mut packet = [0_u8; MAX_PACKET];
            if let Some(length) = line.leg.tick(now, &mut packet, &mut Vec::new()) {
                let sent = self.rtp.send(packet.get(..length).unwrap_or_default(), line.leg.destination());
                if let Err(error) = sent {
                    tracing::debug!(%error, "a packet was not sent");
                }
            }
            let mut report = [0_u8; CONTROL_LENGTH_MAX];
            // It has no socket beside that of RTP: its offer asks for both on one.
            if let Some(control) = line.leg.control(now, &mut report).filter(|control| control.is_multiplexed) {
                let _ = self.rtp.send(report.get(..control.length).unwrap_or_default(), control.destination);
            }
            if let (Some(digit), Road::Info) = (pressed, self.script.road) {
                let mut actions = Vec::new();
                let body = info::relay(digit, PRESS);
                self.user_agent.info(now, self.leg, info::RELAY, body.as_bytes(), &mut actions);
                self.act(&mut actions);
            }
        }
    }

    fn wants_to_leave(&self, now: Instant) -> bool {
        let too_long = now.saturating_duration_since(self.began) >= self.script.longest;
        let too_long = too_long || self.report.interrupted;
        let Some(line) = &self.line else { return too_long || self.report.status == 200 };
        let heard = line.listener.pcm();
        let quiet = quiet_samples(heard, self.listened_from.min(heard.len()));
        let done = self.groups.is_empty() && !line.is_pressing();
        let unheard = now.saturating_duration_since(line.last_packet);
        too_long
            || unheard >= self.script.linger.max(UNHEARD_MAX)
            || (done && (samples_of(self.script.linger) <= quiet || self.script.linger <= unheard))
    }
}

/// Whether the far end has said something since `from` and now lets us speak.
fn waits_for_us(heard: &[i16], from: usize, barge_in: bool, patience: Duration) -> bool {
    let since = heard.get(from..).unwrap_or_default();
    let sounding = since.iter().filter(|sample| sample.unsigned_abs() > SOUND).count();
    if barge_in {
        sounding >= IMPATIENT_SAMPLES
    } else {
        sounding > 0 && quiet_samples(heard, from) >= samples_of(patience)
    }
}

/// Quiet samples at the end of what was heard since `from`.
fn quiet_samples(heard: &[i16], from: usize) -> usize {
    heard.get(from..).unwrap_or_default().iter().rev().take_while(|sample| sample.unsigned_abs() <= SOUND).count()
}

fn samples_of(duration: Duration) -> usize {
    usize::try_from(duration.as_millis() * 8).unwrap_or(usize::MAX)
}
