//! The load generator behind `contesta load`: real callers, as many as are wanted, on one thread.
//!
//! Each caller is a SIP dialog of our own user agent and a stream of 50 packets a second, spread over the 20 ms. One loop wakes
//! each millisecond: it reads SIP, dials and hangs up what is due, sends for the callers of one slot of twenty, and reads some
//! of the ports. Reading may wait, because the kernel stamps what arrives: a port with one caller is visited each 200 ms and
//! gives ten packets for one system call, so that thousands of callers cost less than the server they call.
//!
//! ```text
//!  Dialing ─ all answered or refused ─► Settling ─► Measuring ─► Reading ─► HangingUp ─► Over
//!     │ nothing at all comes back                     (the last stamps)        ▲
//!     └──────────► Over             Ctrl-C, from anywhere ─────────────────────┘
//! ```
//!
//! `port` is a socket with stamps, `caller` one call, `heard` the counting of a stream, `spread` percentiles, `process` what
//! the server used, `summary` what comes of it.
#![expect(clippy::disallowed_methods, reason = "this is the edge: it waits for the next millisecond")]

mod caller;
mod heard;
mod port;
mod process;
mod spread;
mod summary;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use heard::Counts;
pub use process::{Usage, usage};
pub use spread::Spread;
pub use summary::{Server, Summary};

use caller::{Caller, Habit, State};
use port::Port;

use crate::dtmf::{Digit, Road, info};
use crate::edge::batch::{Arrivals, BATCH, Outbox};
use crate::edge::clock;
use crate::ids::{Ids, LegId};
use crate::media::MAX_PACKET;
use crate::sdp::{self, Local, Terms};
use crate::sip::user_agent::Settings;
use crate::sip::{Action, EndCause, Event, Invite, Peer, Rejection, UserAgent};

/// Most calls of one run, and most at a time.
pub const CALLS_MAX: usize = 20_000;

/// Most new calls a second.
pub const RATE_MAX: u32 = 2_000;

/// Longest window, and longest call of a turnover.
pub const WINDOW_MAX: Duration = Duration::from_secs(3_600);

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Request-URI (`sip:*2363@127.0.0.1:5060`).
    pub target: String,
    /// Where INVITEs go.
    pub destination: SocketAddr,
    /// Our own address.
    pub address: IpAddr,
    /// From user; empty calls anonymously.
    pub from: String,
    /// What callers offer.
    pub terms: Terms,
    /// Calls to place: 1 to [`CALLS_MAX`].
    pub calls: usize,
    /// New calls a second: 1 to [`RATE_MAX`].
    pub rate: u32,
    /// How many ports all callers share; `None` gives each its own.
    pub ports: Option<usize>,
    /// How long to wait, once all calls are up, before the window opens.
    pub settle: Duration,
    /// How long the window is.
    pub measure: Duration,
    /// Each call hangs up this long after its answer, in place of all at the end; the window is then the whole run.
    pub talk: Option<Duration>,
    /// A key to press whenever the far end falls quiet for this long.
    pub press: Option<(Digit, Duration)>,
    /// How it is pressed. By tones: let `terms` offer no telephone events.
    pub road: Road,
    /// The server's process on this machine, to be watched.
    pub server: Option<u32>,
}

/// One run under way.
struct Load<'a> {
    plan: &'a Plan,
    user_agent: UserAgent,
    ids: Ids,
    actions: Vec<Action>,
    sip: Port,
    /// The callers' ports; one caller's own is closed when its call is over.
    ports: Vec<Option<Port>>,
    callers: Vec<Caller>,
    by_leg: BTreeMap<LegId, usize>,
    /// Whose packet it is, on ports that callers share.
    by_source: BTreeMap<(usize, SocketAddr), usize>,
    /// Callers that send in each millisecond of the 20, by port.
    slots: [Vec<usize>; SLOTS],
    outbox: Outbox<MAX_PACKET>,
    arrivals: Arrivals<DATAGRAM_LENGTH_MAX>,
    phase: Phase,
    window: Option<Window>,
    summary: Summary,
    began: Instant,
    tick: u64,
    /// Something came back from the far end.
    reached: bool,
    /// The first caller that may still have to be hung up, in a turnover or at the end.
    next_hang_up: usize,
    memory_before_kb: u64,
    fault: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialing,
    Settling { until: Instant },
    Measuring { until: Instant },
    Reading { until: Instant },
    HangingUp { until: Instant },
    Over,
}

/// The measured time, by the clock of the stamps; `until_ns` is the end of time while it is open.
#[derive(Clone, Copy, Debug)]
struct Window {
    from_ns: u64,
    until_ns: u64,
    server_cpu: Duration,
    own_cpu: Duration,
}

const SLOTS: usize = 20;
const SLOT: Duration = Duration::from_millis(1);
const NS_A_SECOND: u64 = 1_000_000_000;

/// Longest datagram that is read whole; SIP with SDP stays far below.
const DATAGRAM_LENGTH_MAX: usize = 8_192;

/// A port with one caller is read each so many milliseconds.
const VISIT_MS: usize = 200;

/// Batches taken from a port in one visit.
const VISIT_BATCHES: usize = 16;

/// Datagrams of SIP taken in one millisecond, in batches.
const SIP_BATCHES: usize = 4;

/// When nothing at all has come back by then, nobody is there.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(5);

/// A far end that rings, but does not answer, is given up.
const RING_MAX_NS: u64 = 40 * NS_A_SECOND;

/// INVITEs, or BYEs, sent in one millisecond at most.
const REQUESTS_A_TICK: usize = 2;

/// How long the answers to the last BYEs are waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How far a loop that was kept from running catches up.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// A press begins somewhere within a second: no beat between generator and server.
const HESITATION_NS: u64 = NS_A_SECOND;

/// No key is pressed so shortly before the window's end: its answer would not be seen.
const REACTION_TIME: Duration = Duration::from_millis(500);

/// Carries out the plan. `stop` counts Ctrl-C: at one all calls are hung up, at two the run ends where it is. `progress` is told
/// once a second how many calls are placed and how many are up.
///
/// # Errors
/// When no socket can be had, or the server's process cannot be watched. What the far end does is no error.
pub fn run(plan: &Plan, mut ids: Ids, stop: &AtomicUsize, progress: impl FnMut(usize, usize)) -> io::Result<Summary> {
    let sip = Port::open(plan.address)?;
    let shared = plan.ports.unwrap_or(0);
    let ports = (0..shared).map(|_| Port::open(plan.address).map(Some)).collect::<io::Result<Vec<_>>>()?;
    let memory_before_kb = plan.server.map(process::usage).transpose()?.map_or(0, |usage| usage.memory_kb);
    let settings = Settings { max_dialogs: CALLS_MAX, ..Settings::new(sip.local()) };
    let load = Load {
        plan,
        user_agent: UserAgent::new(settings, Ids::from_seed(ids.next_u64())),
        ids,
        actions: Vec::new(),
        sip,
        ports,
        callers: Vec::with_capacity(plan.calls),
        by_leg: BTreeMap::new(),
        by_source: BTreeMap::new(),
        slots: Default::default(),
        outbox: Outbox::new(BATCH),
        arrivals: Arrivals::new(),
        phase: Phase::Dialing,
        window: None,
        summary: Summary::default(),
        began: Instant::now(),
        tick: 0,
        reached: false,
        next_hang_up: 0,
        memory_before_kb,
        fault: None,
    };
    load.run(stop, progress)
}

impl Load<'_> {
    fn run(mut self, stop: &AtomicUsize, mut progress: impl FnMut(usize, usize)) -> io::Result<Summary> {
        if self.plan.talk.is_some() {
            self.open_window();
        }
        let mut due = self.began;
        while self.phase != Phase::Over {
            let mut now = Instant::now();
            if let Some(early) = due.checked_duration_since(now) {
                std::thread::sleep(early);
                now = Instant::now();
            }
            let late = now.saturating_duration_since(due);
            self.summary.own_lateness.add_ns(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
            due = if late > BEHIND_MAX { now } else { due } + SLOT;
            self.listen_to_sip(now);
            self.advance(now, stop.load(Ordering::Relaxed));
            self.dial(now);
            self.speak(now);
            self.listen();
            self.hang_up_in_turn(now);
            self.tick += 1;
            if self.tick.is_multiple_of(1_000) {
                progress(self.summary.placed, self.up());
            }
        }
        self.close_window();
        self.count_calls();
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.summary),
        }
    }

    fn up(&self) -> usize {
        self.callers.iter().filter(|caller| caller.state == State::Up).count()
    }

    // ---- SIP ----

    fn listen_to_sip(&mut self, now: Instant) {
        for _ in 0..SIP_BATCHES {
            let more = self.sip.receive(&mut self.arrivals);
            // The user agent keeps what it is handed, and what it asks for needs this whole.
            let datagrams: Vec<(SocketAddr, u64, Bytes)> = self
                .arrivals
                .iter_mut()
                .map(|arrival| {
                    let stamp = arrival.stamp.unwrap_or_else(now_ns);
                    (arrival.source, stamp, Bytes::copy_from_slice(arrival.datagram))
                })
                .collect();
            self.reached |= !datagrams.is_empty();
            for (source, stamp, datagram) in datagrams {
                self.user_agent.handle_message(now, Peer::udp(source), datagram, &mut self.actions);
                self.act(now, stamp);
            }
            if !more {
                break;
            }
        }
        self.user_agent.handle_timeout(now, &mut self.actions);
        self.act(now, now_ns());
    }

    /// Does what the user agent asks; `stamp` is when what it was told has happened.
    fn act(&mut self, now: Instant, stamp: u64) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { destination, message } => {
                    self.sip.send(&message, destination.address);
                }
                Action::Event(Event::Answered { leg, body }) => self.answered(now, stamp, leg, &body),
                Action::Event(Event::Ended { leg, cause }) => self.ended(leg, &cause),
                Action::Event(Event::InfoAnswered { status, .. }) => {
                    self.summary.keys_refused += u64::from(status >= 300);
                }
                Action::Event(Event::Reoffered { leg, .. }) => {
                    let refusal = Rejection { status: 488, retry_after: None, warning: None };
                    self.user_agent.reject(now, leg, &refusal, &mut self.actions);
                }
                Action::Event(Event::Invited { leg, .. }) => {
                    let refusal = Rejection { status: 480, retry_after: None, warning: None };
                    self.user_agent.reject(now, leg, &refusal, &mut self.actions);
                }
                Action::Event(
                    Event::Acknowledged { .. }
                    | Event::Confirmed { .. }
                    | Event::Info { .. }
                    | Event::OfferWanted { .. }
                    | Event::Reanswered { .. }
                    | Event::ReferAnswered { .. }
                    | Event::ReferReported { .. }
                    | Event::Referred { .. }
                    | Event::Registrar(_)
                    | Event::Rerouted { .. }
                    | Event::Responded { .. }
                    | Event::Ringing { .. }
                    | Event::Unchanged { .. },
                ) => {}
            }
        }
        // What was asked of the user agent meanwhile: refusals and BYEs, which ask for nothing but to be sent.
        actions.append(&mut self.actions);
        for action in actions.drain(..) {
            if let Action::Send { destination, message } = action {
                self.sip.send(&message, destination.address);
            } else {
                self.actions.push(action);
            }
        }
    }

    fn dial(&mut self, now: Instant) {
        let elapsed_ms = now.saturating_duration_since(self.began).as_millis();
        let due = usize::try_from(elapsed_ms * u128::from(self.plan.rate) / 1_000).unwrap_or(usize::MAX);
        for _ in 0..REQUESTS_A_TICK {
            let index = self.callers.len();
            if self.phase != Phase::Dialing || index >= self.plan.calls.min(due.saturating_add(1)) {
                return;
            }
            let place = match self.plan.ports {
                Some(shared) => index % shared.max(1),
                None => match Port::open(self.plan.address) {
                    Ok(port) => {
                        self.ports.push(Some(port));
                        index
                    }
                    Err(error) => {
                        self.fault = Some(error);
                        self.begin_hanging_up(now);
                        return;
                    }
                },
            };
            let Some(Some(port)) = self.ports.get(place) else { return };
            let session = self.ids.next_u64() >> 2;
            let local = Local { address: port.local(), session, version: 1, terms: &self.plan.terms, source: None };
            let offered = sdp::offer(&local, None, &mut self.ids);
            let user = if self.plan.from.is_empty() { "anonymous" } else { &self.plan.from };
            let invite = Invite {
                target: self.plan.target.clone(),
                destination: Peer::udp(self.plan.destination),
                from: format!("sip:{user}@{}", self.sip.local()),
                offer: offered.sdp.clone(),
            };
            let leg = self.user_agent.invite(now, invite, &mut self.actions);
            self.callers.push(Caller::new(leg, now_ns(), index % SLOTS, place, offered));
            self.by_leg.insert(leg, index);
            self.summary.placed += 1;
            self.act(now, now_ns());
        }
    }

    fn answered(&mut self, now: Instant, stamp: u64, leg: LegId, body: &Bytes) {
        let known = self.by_leg.get(&leg).copied();
        let understood =
            known.and_then(|index| self.callers.get_mut(index)).and_then(|caller| caller.read_answer(body));
        let Some((index, negotiated)) = known.zip(understood) else {
            // An answer of nothing in common: the call ends as one that was not acceptable (RFC 3261 §13.2.2.4).
            if let Some(caller) = self.by_leg.get(&leg).and_then(|&index| self.callers.get_mut(index)) {
                caller.state = State::HangingUp;
            }
            *self.summary.refused.entry(488).or_default() += 1;
            return self.user_agent.hangup(now, leg, "no usable SDP answer", &mut self.actions);
        };
        let random = self.ids.next_u64();
        let Some(caller) = self.callers.get_mut(index) else { return };
        let suite = negotiated.srtp.as_ref().map(|keys| keys.ours.suite());
        *self.summary.audio.entry((negotiated.codec, suite)).or_default() += 1;
        caller.answered(stamp, &negotiated, random);
        self.summary.answered += 1;
        self.summary.set_up.add_ns(stamp.saturating_sub(caller.invited_ns));
        let (slot, place) = (caller.slot, caller.port);
        if self.plan.ports.is_some() {
            self.by_source.insert((place, negotiated.remote), index);
        } else if let Some(Some(port)) = self.ports.get_mut(place) {
            // One that stays open to everybody only costs a little more.
            let _connected = port.connect(negotiated.remote);
        }
        // By port, so that one call sends for all callers of a slot that share one.
        let callers = &self.callers;
        let port_of = |index: usize| callers.get(index).map_or(0, |caller| caller.port);
        if let Some(slot) = self.slots.get_mut(slot) {
            let at = slot.partition_point(|&other| port_of(other) <= place);
            slot.insert(at, index);
        }
    }

    fn ended(&mut self, leg: LegId, cause: &EndCause) {
        let Some(index) = self.by_leg.remove(&leg) else { return };
        self.visit(self.callers.get(index).map_or(0, |caller| caller.port));
        let Some(caller) = self.callers.get_mut(index) else { return };
        let before = std::mem::replace(&mut caller.state, State::Over);
        match (before, cause) {
            (State::Ringing, EndCause::RemoteRefused(status)) => {
                *self.summary.refused.entry(*status).or_default() += 1;
            }
            // We gave up waiting.
            (State::Ringing, _) if !self.summary.interrupted => *self.summary.refused.entry(408).or_default() += 1,
            (State::Up, _) => self.summary.broken_off += 1,
            (State::Ringing | State::HangingUp | State::Over, _) => {}
        }
        let (slot, place, far) = (caller.slot, caller.port, caller.far());
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.retain(|&other| other != index);
        }
        if let Some(far) = far {
            self.by_source.remove(&(place, far));
        }
        if self.plan.ports.is_none()
            && let Some(port) = self.ports.get_mut(place).and_then(Option::take)
        {
            self.summary.lost_here += u64::from(port.overflows());
        }
    }

    // ---- media ----

    /// Sends for the callers of this millisecond.
    fn speak(&mut self, now: Instant) {
        let habit = match (self.phase, self.plan.press) {
            (Phase::Measuring { until }, Some((digit, quiet))) if until > now + REACTION_TIME => {
                // What was heard is known only after the visit that reads it.
                let visit_ns = VISIT_MS as u64 * 1_000_000;
                let quiet_ns = u64::try_from(quiet.as_nanos()).unwrap_or(u64::MAX).saturating_add(visit_ns);
                Some(Habit { digit, road: self.plan.road, quiet_ns, hesitation_ns: HESITATION_NS })
            }
            _ => None,
        };
        let measuring = self.window.is_some_and(|window| window.until_ns == u64::MAX);
        let slot = usize::try_from(self.tick).unwrap_or(0) % SLOTS;
        let mut informed: Vec<LegId> = Vec::new();
        let Some(speakers) = self.slots.get(slot) else { return };
        let stamp = now_ns();
        let mut sending: Option<usize> = None;
        for &index in speakers {
            let Some(caller) = self.callers.get_mut(index) else { continue };
            if sending.is_some_and(|port| port != caller.port) {
                self.summary.unsent += flush(&self.ports, sending, &mut self.outbox);
            }
            sending = Some(caller.port);
            let Some(packet) = self.outbox.blank() else { continue };
            let Some(spoken) = caller.speak(stamp, habit, self.ids.next_u64(), packet) else { continue };
            self.summary.sent += u64::from(measuring);
            self.summary.presses += u64::from(spoken.pressed);
            if spoken.pressed && self.plan.road == Road::Info {
                informed.push(caller.leg);
            }
            self.summary.presses_unanswered += u64::from(spoken.unanswered);
            if self.plan.ports.is_none() {
                // A connected socket of its own: one plain send is cheapest.
                if let (Some(Some(port)), Some(datagram)) = (self.ports.get(caller.port), packet.get(..spoken.length)) {
                    self.summary.unsent += u64::from(!port.send(datagram, spoken.far));
                }
            } else if self.outbox.add(spoken.length, spoken.far) {
                self.summary.unsent += flush(&self.ports, sending, &mut self.outbox);
            }
        }
        self.summary.unsent += flush(&self.ports, sending, &mut self.outbox);
        let Some((digit, _)) = self.plan.press.filter(|_| !informed.is_empty()) else { return };
        let body = info::relay(digit, caller::PRESS);
        for leg in informed {
            self.user_agent.info(now, leg, info::RELAY, body.as_bytes(), &mut self.actions);
        }
        self.act(now, stamp);
    }

    /// Reads the ports whose turn it is: the more callers share one, the more often.
    fn listen(&mut self) {
        let callers_a_port = self.plan.ports.map_or(1, |ports| self.plan.calls.div_ceil(ports.max(1)));
        let period = (VISIT_MS / callers_a_port.max(1)).max(1);
        let turn = usize::try_from(self.tick).unwrap_or(0) % period;
        for place in (turn..self.ports.len()).step_by(period) {
            self.visit(place);
        }
    }

    fn visit(&mut self, place: usize) {
        let listens = self.plan.press.is_some();
        for _ in 0..VISIT_BATCHES {
            let Some(Some(port)) = self.ports.get_mut(place) else { return };
            let more = port.receive(&mut self.arrivals);
            for arrival in self.arrivals.iter_mut() {
                let index = match self.plan.ports {
                    None => Some(place),
                    Some(_) => self.by_source.get(&(place, arrival.source)).copied(),
                };
                let Some(caller) = index.and_then(|index| self.callers.get_mut(index)) else { continue };
                let stamp = arrival.stamp.unwrap_or_else(now_ns);
                let window = self.window.filter(|window| window.from_ns <= stamp);
                let within = window.is_some_and(|window| stamp < window.until_ns);
                if within && caller.counted.is_none() {
                    caller.heard.forget_counts();
                }
                let Some(noticed) = caller.hear(stamp, arrival.datagram, listens) else { continue };
                if let Some(first) = noticed.first_after_ns {
                    self.summary.first_audio.add_ns(first);
                }
                if let Some(reaction) = noticed.reaction_ns {
                    self.summary.reaction.add_ns(reaction);
                }
                if within {
                    caller.counted = Some(caller.heard.counts());
                    noticed.gap_ns.into_iter().for_each(|gap| self.summary.spacing.add_ns(gap));
                }
            }
            if !more {
                return;
            }
        }
    }

    // ---- the run ----

    fn advance(&mut self, now: Instant, stops: usize) {
        if stops > 0 && !self.summary.interrupted {
            self.summary.interrupted = true;
            self.begin_hanging_up(now);
        }
        match self.phase {
            _ if stops > 1 => self.phase = Phase::Over,
            Phase::Dialing => {
                self.give_up_ringing(now);
                let waited = now.saturating_duration_since(self.began);
                if !self.reached && waited >= UNREACHABLE_AFTER {
                    self.summary.unreachable = true;
                    self.phase = Phase::Over;
                } else if self.callers.len() == self.plan.calls {
                    let ringing = self.callers.iter().any(|caller| caller.state == State::Ringing);
                    let over = self.callers.iter().all(|caller| caller.state == State::Over);
                    if over {
                        self.phase = Phase::Over;
                    } else if !ringing && self.plan.talk.is_none() {
                        self.phase = Phase::Settling { until: now + self.plan.settle };
                    }
                }
            }
            Phase::Settling { until } if until <= now => {
                self.open_window();
                self.phase = Phase::Measuring { until: now + self.plan.measure };
            }
            Phase::Measuring { until } if until <= now => {
                self.close_window();
                self.phase = Phase::Reading { until: now + Duration::from_millis(VISIT_MS as u64 + 50) };
            }
            Phase::Reading { until } if until <= now => self.begin_hanging_up(now),
            Phase::HangingUp { until } => {
                let over = self.callers.iter().all(|caller| caller.state == State::Over);
                if over || until <= now {
                    self.phase = Phase::Over;
                }
            }
            Phase::Settling { .. } | Phase::Measuring { .. } | Phase::Reading { .. } | Phase::Over => {}
        }
    }

    fn give_up_ringing(&mut self, now: Instant) {
        if !self.tick.is_multiple_of(1_000) {
            return;
        }
        let at = now_ns();
        let patient =
            |caller: &&Caller| caller.state == State::Ringing && at.saturating_sub(caller.invited_ns) > RING_MAX_NS;
        for leg in self.callers.iter().filter(patient).map(|caller| caller.leg).collect::<Vec<_>>() {
            self.user_agent.hangup(now, leg, "no answer", &mut self.actions);
        }
        self.act(now, at);
    }

    fn begin_hanging_up(&mut self, now: Instant) {
        self.close_window();
        self.next_hang_up = 0;
        let pace = Duration::from_millis((self.callers.len() / REQUESTS_A_TICK) as u64);
        self.phase = Phase::HangingUp { until: now + pace + LAST_WORDS };
    }

    /// Hangs up the calls whose time it is: in a turnover each after its talk, at the end all.
    fn hang_up_in_turn(&mut self, now: Instant) {
        let talk_ns = match (self.phase, self.plan.talk) {
            (Phase::HangingUp { .. }, _) => 0,
            (Phase::Dialing, Some(talk)) => u64::try_from(talk.as_nanos()).unwrap_or(u64::MAX),
            _ => return,
        };
        let (at, everyone) = (now_ns(), matches!(self.phase, Phase::HangingUp { .. }));
        while self.callers.get(self.next_hang_up).is_some_and(|caller| caller.is_leaving()) {
            self.next_hang_up += 1;
        }
        let (mut index, mut sent) = (self.next_hang_up, 0);
        while let Some(caller) = self.callers.get_mut(index).filter(|_| sent < REQUESTS_A_TICK) {
            index += 1;
            match caller.state {
                State::Up if caller.answered_ns.is_some_and(|answered| at.saturating_sub(answered) >= talk_ns) => {}
                State::Ringing if everyone => {}
                // Those behind it were answered later.
                State::Up => break,
                State::Ringing | State::HangingUp | State::Over => continue,
            }
            caller.state = State::HangingUp;
            let leg = caller.leg;
            self.user_agent.hangup(now, leg, "load test over", &mut self.actions);
            self.act(now, at);
            sent += 1;
        }
    }

    fn open_window(&mut self) {
        let server = self.plan.server.and_then(|id| process::usage(id).ok());
        let own = process::usage(std::process::id()).ok();
        self.window = Some(Window {
            from_ns: now_ns(),
            until_ns: u64::MAX,
            server_cpu: server.map_or(Duration::ZERO, |usage| usage.cpu),
            own_cpu: own.map_or(Duration::ZERO, |usage| usage.cpu),
        });
    }

    /// Ends the window, if one is open, and notes what was used in it.
    fn close_window(&mut self) {
        let Some(window) = self.window.as_mut().filter(|window| window.until_ns == u64::MAX) else { return };
        window.until_ns = now_ns();
        self.summary.window = Duration::from_nanos(window.until_ns.saturating_sub(window.from_ns));
        if let Some(usage) = self.plan.server.and_then(|id| process::usage(id).ok()) {
            self.summary.server = Some(Server {
                cpu: usage.cpu.saturating_sub(window.server_cpu),
                memory_kb: usage.memory_kb,
                memory_before_kb: self.memory_before_kb,
            });
        }
        if let Ok(usage) = process::usage(std::process::id()) {
            self.summary.own_cpu = usage.cpu.saturating_sub(window.own_cpu);
        }
        if self.plan.talk.is_none() {
            self.summary.measured = self.up();
            let up = self.callers.iter_mut().filter(|caller| caller.state == State::Up);
            up.for_each(|caller| caller.measured = true);
        }
    }

    /// Adds the callers' counts up, once nothing follows.
    fn count_calls(&mut self) {
        let summary = &mut self.summary;
        let due = summary.window.as_secs_f64() * 50.0;
        summary.worst_share = 1.0;
        for caller in &self.callers {
            summary.forged += caller.forged;
            summary.silent += usize::from(caller.answered_ns.is_some() && !caller.heard.anything());
            summary.not_hung_up += usize::from(caller.state == State::HangingUp);
            summary.presses_unanswered += u64::from(caller.waits_for_reaction());
            let counts = caller.counted.unwrap_or_default();
            if self.plan.talk.is_none() && !caller.measured {
                continue;
            }
            summary.heard.received += counts.received;
            summary.heard.lost += counts.lost;
            summary.heard.late += counts.late;
            summary.heard.misordered += counts.misordered;
            if caller.measured && due > 0.0 {
                summary.worst_share = summary.worst_share.min(counts.received as f64 / due);
            }
        }
        summary.expected = (due * summary.measured as f64) as u64;
        summary.lost_here += self.ports.iter().flatten().map(|port| u64::from(port.overflows())).sum::<u64>();
    }
}

/// Sends what waits through the port in turn; gives how many packets the system would not take.
fn flush(ports: &[Option<Port>], port: Option<usize>, outbox: &mut Outbox<MAX_PACKET>) -> u64 {
    match port.and_then(|port| ports.get(port)) {
        Some(Some(port)) => port.send_all(outbox) as u64,
        Some(None) | None => 0,
    }
}

/// This moment by the clock that the kernel stamps with.
fn now_ns() -> u64 {
    u64::try_from(clock::now().wall.as_nanosecond()).unwrap_or(0)
}
