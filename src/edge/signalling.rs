//! The only loop: it sleeps on the SIP sockets and the inbox, hands what it finds to the exchange with the time, and does
//! what the exchange asks. It never waits for anything else.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tracing::{debug, error, info, warn};

use crate::call::CallRecord;
use crate::config::Config;
use crate::edge::capture::Capture;
use crate::edge::clock;
use crate::edge::inbox::{Inbox, Sender};
use crate::edge::leg_media::{LegMedia, Lost};
use crate::edge::poll::Poll;
use crate::edge::preparation::Preparation;
use crate::edge::recordings::{Order, Recordings};
use crate::edge::registrations::Registrations;
use crate::edge::resolver::Resolver;
use crate::edge::rtp_socket::RtpSocket;
use crate::edge::sip_socket::SipSocket;
use crate::edge::streams::{self, Arrival, Parcel, Streams};
use crate::exchange::{Exchange, Input, Output};
use crate::flow::{Answer, Request, RequestId};
use crate::ids::{Ids, LegId};
use crate::media::{self, RecordingReport};
use crate::now::Now;
use crate::service::Services;
use crate::sip::ladder::Direction;
use crate::sip::locate::Question;
use crate::sip::{Flow, Listeners, Peer, Transport};
use crate::store::{RegistrationChange, Store};

/// What other threads put into the inbox.
#[derive(Debug)]
pub enum Message {
    /// For the exchange.
    Input(Input),
    /// From a connection.
    Stream(streams::Event),
    /// A signal: the first drains, the second hangs up at once.
    Stop,
}

/// How the engine stops.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long calls may go on after the first signal.
    pub patience: Duration,
    /// How long calls have to end in order after that.
    pub last_words: Duration,
}

/// The signalling thread and all it owns.
pub struct Signalling {
    /// The engine.
    pub exchange: Exchange,
    /// SIP over UDP; the number of a socket is that of its listener.
    pub sockets: Vec<SipSocket>,
    /// SIP over everything else.
    pub streams: Streams,
    /// Where peers reach us.
    pub listeners: Listeners,
    /// Looks names up.
    pub resolver: Resolver,
    /// Reports of workers, answers of tasks, signals.
    pub inbox: Inbox<Message>,
    /// For tasks that will answer.
    pub sender: Sender<Message>,
    /// The legs, and the media threads that have them.
    pub legs: LegMedia,
    /// Prepares prompts in the codecs that calls are in.
    pub preparation: Preparation,
    /// The thread that writes recordings.
    pub recordings: Recordings,
    /// Address that RTP sockets bind.
    pub rtp_address: IpAddr,
    /// The same for far ends of the other family, where SIP listens at an address of it and no address is named for audio.
    pub rtp_address_other: Option<IpAddr>,
    /// This machine's address towards the world, for sockets that are bound to all of them.
    pub own_address: IpAddr,
    /// The same for the other family.
    pub own_address_other: IpAddr,
    /// This machine's settings.
    pub config: Arc<Config>,
    /// Randomness for ports.
    pub ids: Ids,
    /// Carries out what calls ask of the outside.
    pub services: Arc<Services>,
    /// Takes the call records.
    pub store: Store,
    /// Takes what becomes of registrations.
    pub registrations: Registrations,
    /// Where tasks run.
    pub runtime: tokio::runtime::Handle,
    /// One permit for each request that may be under way: [`REQUESTS_MAX`].
    pub requests: Arc<Semaphore>,
    /// Held by everything on its way to the store: when all are gone, the store has all of it.
    pub writing: tokio::sync::mpsc::Sender<Infallible>,
    /// How the engine stops.
    pub drain: Drain,
    /// Takes what crosses the wire, where that is asked for.
    pub capture: Option<Capture>,
}

/// Where the engine is in its life.
enum Life {
    Serving,
    Draining { until: Instant, farewell: Instant },
    HangingUp { until: Instant, farewell: Instant },
}

/// Messages and datagrams taken before timers get their turn.
const BATCH: usize = 64;

/// How long datagrams may gather: what it adds to the answer of one is nothing on a network.
const GATHER: Duration = Duration::from_micros(500);

/// Requests of flows that may be under way at once: beyond it a database hangs, and a flow is told at once.
pub const REQUESTS_MAX: usize = 8_192;

/// How soon a worker whose queue was full is told again that a leg has ended.
const CLOSE_AGAIN: Duration = Duration::from_millis(20);

/// How often the media workers are asked whether they are overloaded; each new call asks as well.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often packets of strangers are told of in the log.
const STRANGE_EVERY: Duration = Duration::from_secs(60);

/// How long a carrier may take to hear that we no longer register: a challenge, and one lost datagram.
const FAREWELL: Duration = Duration::from_secs(2);

/// Seconds that refused callers are told to wait while the engine stops.
const RETRY_AFTER_SECONDS: u32 = 30;

impl Signalling {
    /// Runs until a [`Message::Stop`] has been carried out: when the last call is over, or its time is up. What the connections
    /// have still to write comes back with them.
    pub fn run(mut self) -> Streams {
        let sockets = self.sockets.iter().map(SipSocket::descriptor);
        let mut poll = Poll::new(sockets.chain([self.inbox.descriptor()]));
        let mut nap = Poll::new([self.inbox.descriptor()]);
        let mut crowd = Crowd::default();
        let mut outputs: Vec<Output> = Vec::new();
        let mut life = Life::Serving;
        let mut dropped = 0;
        let mut overloaded = false;
        let mut strange = Strange { packets: 0, told: None };
        self.tell(Input::Begin, &mut outputs);
        loop {
            let timer = self.exchange.poll_timeout().map(|(at, _)| at);
            let again = self.legs.close_lost().then(|| clock::now().instant + CLOSE_AGAIN);
            // Overload is noticed on media threads, which ring no bell for it.
            let look = (self.exchange.calls() > 0).then(|| clock::now().instant + LOOK_EVERY);
            // Nobody is waited for once the last call is over, but the carriers.
            let farewell = life.farewell().filter(|_| self.exchange.calls() == 0);
            let wake = [timer, again, look, farewell, life.deadline(), self.streams.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            match crowd.gathers_until() {
                Some(until) => nap.wait(Some(wake.map_or(until, |wake| wake.min(until)))),
                None => poll.wait(wake),
            }

            // Priority 1: what workers, tasks and signals say.
            for message in self.inbox.take(BATCH) {
                match message {
                    Message::Input(input) => self.tell(input, &mut outputs),
                    Message::Stream(event) => {
                        if let Some(arrival) = self.streams.handle(event) {
                            self.tell(input_of(arrival), &mut outputs);
                        }
                    }
                    Message::Stop => self.stop(&mut life, &mut outputs),
                }
            }
            if self.legs.overloaded() != overloaded {
                overloaded = !overloaded;
                self.tell(Input::Overloaded(overloaded), &mut outputs);
            }
            strange.tell(self.legs.packets_strange());
            // Priority 2: the network.
            let mut datagrams = 0;
            for listener in 0..self.sockets.len() {
                for _ in 0..BATCH {
                    let Some((source, bytes)) = self.sockets.get_mut(listener).and_then(SipSocket::receive) else {
                        break;
                    };
                    let flow = Flow { listener: u16::try_from(listener).unwrap_or_default(), connection: 0 };
                    let source = Peer { flow: Some(flow), ..Peer::udp(source) };
                    self.tell(Input::Message { source, bytes }, &mut outputs);
                    datagrams += 1;
                }
            }
            crowd.came(clock::now().instant, datagrams);
            // Priority 3: what is due.
            let now = clock::now();
            self.exchange.handle_timeout(now, &mut outputs);
            self.carry_out(now, &mut outputs);
            self.streams.sweep(now.instant, || self.exchange.flows_in_use());
            if self.inbox.dropped() > dropped {
                error!("the inbox was full: {} messages were dropped", self.inbox.dropped() - dropped);
                dropped = self.inbox.dropped();
            }
            // Priority 4: the end.
            match life {
                Life::Serving => {}
                _ if self.exchange.calls() == 0
                    && (self.exchange.trunks().are_over() || life.farewell().is_none_or(|at| at <= now.instant)) =>
                {
                    break;
                }
                Life::Draining { until, .. } if until <= now.instant => {
                    self.stop(&mut life, &mut outputs);
                }
                Life::HangingUp { until, .. } if until <= now.instant => {
                    warn!("{} calls did not end in time; they are left", self.exchange.calls());
                    break;
                }
                Life::Draining { .. } | Life::HangingUp { .. } => {}
            }
        }
        self.streams
    }

    fn stop(&mut self, life: &mut Life, outputs: &mut Vec<Output>) {
        let now = clock::now();
        match life {
            Life::Serving => {
                info!("draining: no new calls, {} go on; a second signal hangs up", self.exchange.calls());
                self.tell(Input::Drain { retry_after: RETRY_AFTER_SECONDS }, outputs);
                let farewell = now.instant + FAREWELL;
                *life = Life::Draining { until: now.instant + self.drain.patience, farewell };
            }
            Life::Draining { farewell, .. } => {
                let farewell = *farewell;
                info!("hanging up {} calls", self.exchange.calls());
                self.tell(Input::ShutDown, outputs);
                *life = Life::HangingUp { until: now.instant + self.drain.last_words, farewell };
            }
            Life::HangingUp { until, farewell } => (*until, *farewell) = (now.instant, now.instant),
        }
    }

    fn tell(&mut self, input: Input, outputs: &mut Vec<Output>) {
        let now = clock::now();
        if let Input::Media(leg, media::Event::Closed(_)) = &input {
            self.legs.closed(*leg);
        }
        if let Input::Message { source, bytes } = &input {
            self.capture(now, Direction::In, source, bytes);
        }
        self.exchange.handle(now, input, outputs);
        self.carry_out(now, outputs);
    }

    /// Does what the exchange asks. Binding a socket answers at once, which may ask for more: hence the loop.
    fn carry_out(&mut self, now: Now, outputs: &mut Vec<Output>) {
        while !outputs.is_empty() {
            let mut next = Vec::new();
            for output in outputs.drain(..) {
                match output {
                    Output::Send { destination, bytes } => {
                        self.capture(now, Direction::Out, &destination, &bytes);
                        if let Some(arrival) = self.send(destination, bytes) {
                            self.exchange.handle(now, input_of(arrival), &mut next);
                        }
                    }
                    Output::LookUp(question) => self.look_up(question),
                    Output::Named { address, name } => self.streams.name(address, &name),
                    Output::OpenMedia { leg, peer, shared } => {
                        let local = self.open(leg, peer, shared).map_err(|error| error.to_string());
                        self.exchange.handle(now, Input::MediaOpened { leg, local }, &mut next);
                    }
                    Output::StartMedia { leg, settings, beside } => {
                        self.preparation.want(settings.codec);
                        let sent = self.legs.start(leg, settings, beside);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::Retarget(leg, settings) => {
                        self.preparation.want(settings.codec);
                        let sent = self.legs.retarget(leg, settings);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::Play(leg, play, segments) => {
                        let sent = self.legs.play(leg, play, segments);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::StopPlaying(leg) => {
                        let sent = self.legs.stop(leg);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::Switch(leg, switch) => {
                        let sent = self.legs.switch(leg, switch);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::Press(leg, digit, length) => {
                        let sent = self.legs.press(leg, digit, length);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::StartRecording { leg, file, rate } => {
                        match self.recordings.begin(Order { leg, file, rate }) {
                            // A leg that is on no worker any more drops its recording, which ends it.
                            Ok(recording) => {
                                let sent = self.legs.record(leg, recording);
                                self.mind(now, leg, sent, &mut next);
                            }
                            Err(fault) => {
                                error!(leg = leg.0, "the call is not recorded: {fault}");
                                let report = RecordingReport { fault: Some(fault), ..RecordingReport::default() };
                                self.exchange.handle(now, Input::Recorded(leg, report), &mut next);
                            }
                        }
                    }
                    Output::ChangeRecording(leg, change) => {
                        let sent = self.legs.change_recording(leg, change);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::CloseMedia(leg) => {
                        let sent = self.legs.close(leg);
                        self.mind(now, leg, sent, &mut next);
                    }
                    Output::Request { leg, id, request, timeout: _ } => self.request(leg, id, request),
                    Output::Record(record) => self.record(record),
                    Output::Registered { registration, is_new, ends } => {
                        self.registrations.tell(RegistrationChange::Kept { registration, is_new, ends });
                    }
                    Output::Unregistered { operator, user, contact } => {
                        self.registrations.tell(RegistrationChange::Gone { operator, user, contact });
                    }
                }
            }
            outputs.append(&mut next);
        }
    }

    /// Asks the DNS in a task. Few are under way: trunks ask each question once.
    fn look_up(&self, question: Question) {
        let (resolver, sender) = (self.resolver.clone(), self.sender.clone());
        self.runtime.spawn(async move {
            let answer = resolver.ask(&question).await;
            sender.send(Message::Input(Input::LookedUp { question, answer }));
        });
    }

    fn capture(&mut self, now: Now, direction: Direction, far: &Peer, message: &Bytes) {
        if let Some(capture) = &mut self.capture {
            capture.take(now.wall, direction, far, self.listeners.advertised_to(far), message);
        }
    }

    /// Sends a message by the way it should go. What no connection takes comes back.
    fn send(&mut self, destination: Peer, bytes: Bytes) -> Option<Arrival> {
        if destination.transport != Transport::Udp {
            return self.streams.send(Parcel { destination, bytes });
        }
        let number = destination.flow.map(|flow| flow.listener).or_else(|| self.listeners.towards(&destination));
        let socket = self.sockets.get(usize::from(number.unwrap_or_default())).or(self.sockets.first());
        match socket {
            Some(socket) => socket.send(destination.address, &bytes),
            None => debug!(peer = %destination, "a datagram was not sent: we do not listen on UDP"),
        }
        None
    }

    /// A place for a leg to receive at, and the address that `peer` should send to: as configured for its trunk, or else the bound one; of a
    /// socket that is bound to every address, loopback for a neighbour on this machine.
    fn open(&mut self, leg: LegId, peer: IpAddr, shared: Option<SocketAddr>) -> std::io::Result<SocketAddr> {
        let (first, last) = self.config.rtp.ports;
        let same_family = peer.is_ipv4() == self.rtp_address.is_ipv4();
        let (bound, own) = match self.rtp_address_other {
            Some(other) if !same_family => (other, self.own_address_other),
            Some(_) | None => (self.rtp_address, self.own_address),
        };
        let ids = &mut self.ids;
        let bind = || RtpSocket::open_pair(bound, first..=last, ids.next_u64());
        let port = self.legs.open(leg, shared, bind)?.port();
        let address = match self.exchange.snapshot().config().advertised_to(peer) {
            Some(address) if address.is_ipv4() == bound.is_ipv4() || self.rtp_address_other.is_none() => address,
            Some(_) | None if !bound.is_unspecified() => bound,
            Some(_) | None if peer.is_loopback() => peer,
            Some(_) | None => own,
        };
        Ok(SocketAddr::new(address, port))
    }

    /// A leg that its worker takes no command for is lost: its call is told at once.
    fn mind(&mut self, now: Now, leg: LegId, sent: Result<(), Lost>, out: &mut Vec<Output>) {
        if sent.is_err() {
            let closed = Input::Media(leg, media::Event::Closed(media::LegReport::default()));
            self.exchange.handle(now, closed, out);
        }
    }

    /// The session gives up by itself when its time is up; the work goes on, so that a write that was begun is finished.
    fn request(&self, leg: LegId, id: RequestId, request: Request) {
        let (services, sender) = (self.services.clone(), self.sender.clone());
        let permit = self.requests.clone().try_acquire_owned();
        self.runtime.spawn(async move {
            let answer = match permit {
                Ok(_permit) => services.carry_out(request).await,
                Err(_) => Answer::Error(format!("more than {REQUESTS_MAX} requests are under way")),
            };
            if !sender.send(Message::Input(Input::Answered { leg, id, answer })) {
                warn!("an answer came after the engine had stopped, or found its inbox full");
            }
        });
    }

    /// Nobody waits for a record, but when the store has thousands to write.
    fn record(&self, record: Box<CallRecord>) {
        let Err(record) = self.store.take_call(record) else { return };
        let store = self.store.clone();
        let writing = self.writing.clone();
        self.runtime.spawn(async move {
            if let Err(error) = store.save_call(&record).await {
                // The store has a spool for a database that is away: this is the disk itself.
                error!(call = %record.key, "the call record could not be stored: {error:#}");
            }
            drop(writing);
        });
    }
}

/// Whether so many datagrams come that it pays to let some gather: to wake for each costs as much as to handle it, and what is
/// done several times in a row is done faster.
#[derive(Debug, Default)]
struct Crowd {
    /// When the last ones were taken, while they come densely.
    last: Option<Instant>,
    dense: bool,
}

impl Crowd {
    /// So many datagrams were taken in the turn that ends at `now`.
    fn came(&mut self, now: Instant, datagrams: usize) {
        let since_last = self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        if datagrams > 0 {
            self.dense = datagrams > 1 || since_last <= GATHER * 2;
            self.last = Some(now);
        } else if since_last >= GATHER {
            self.dense = false;
        }
    }

    /// Until when they are let gather; what other threads say is heard meanwhile.
    fn gathers_until(&self) -> Option<Instant> {
        self.last.filter(|_| self.dense).map(|last| last + GATHER)
    }
}

/// What a connection has to say, in the exchange's words.
fn input_of(arrival: Arrival) -> Input {
    match arrival {
        Arrival::Message { source, bytes } => Input::Message { source, bytes },
        Arrival::Undelivered(Parcel { destination, bytes }, _) => Input::Undelivered { destination, bytes },
        Arrival::Closed(flow) => Input::Disconnected(flow),
    }
}

/// Packets to shared sockets that are nobody's far end's, as they were told last.
struct Strange {
    packets: u64,
    told: Option<Instant>,
}

impl Strange {
    /// Says in the log that there are more, once a minute at most.
    fn tell(&mut self, packets: u64) {
        let now = clock::now().instant;
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= STRANGE_EVERY);
        if packets > self.packets && due {
            warn!(
                "{} packets came to shared audio ports from addresses that no call's SDP names: a stranger, or a trunk for which \
                 audio = \"own\" is right",
                packets - self.packets
            );
            *self = Self { packets, told: Some(now) };
        }
    }
}

impl Life {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Serving => None,
            Self::Draining { until, .. } | Self::HangingUp { until, .. } => Some(*until),
        }
    }

    /// Until when carriers may answer that we are gone.
    fn farewell(&self) -> Option<Instant> {
        match self {
            Self::Serving => None,
            Self::Draining { farewell, .. } | Self::HangingUp { farewell, .. } => Some(*farewell),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One datagram in a while is answered at once; those of a crowd are let gather, until none has come for that long.
    #[test]
    fn datagrams_gather_while_they_come_densely() {
        let start = clock::now().instant;
        let at = |us| start + Duration::from_micros(us);
        let mut crowd = Crowd::default();
        crowd.came(at(0), 1);
        assert_eq!(crowd.gathers_until(), None, "the first of all");
        crowd.came(at(5_000), 1);
        assert_eq!(crowd.gathers_until(), None, "long after it");
        crowd.came(at(5_300), 1);
        assert_eq!(crowd.gathers_until(), Some(at(5_800)));
        crowd.came(at(5_500), 0);
        assert_eq!(crowd.gathers_until(), Some(at(5_800)), "another thread had something to say");
        crowd.came(at(5_800), 4);
        assert_eq!(crowd.gathers_until(), Some(at(6_300)));
        crowd.came(at(6_300), 0);
        assert_eq!(crowd.gathers_until(), None);
    }
}
