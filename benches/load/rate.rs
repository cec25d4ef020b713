//! Calls that begin and end at once, at a rate: INVITE, 100, 200, ACK, BYE, 200. What they cost the engine, how soon they are answered, and
//! whether its memory stays where it is; alone, and beside a flood of INVITEs from strangers.
//!
//! The callers are one user agent of ours on core 1, which sends what is lost again as any phone does. What the engine plays
//! meanwhile goes to a port that nobody reads. Each INVITE of the flood comes from another address of 127.0.0.0/8.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::edge::load::{Spread, usage};
use contesta::edge::poll::Poll;
use contesta::ids::{Ids, LegId};
use contesta::sip::user_agent::Settings;
use contesta::sip::{Action, EndCause, Event, Invite, Peer, UserAgent};

use super::server::{Server, pin_to_core_1};

/// How often the engine's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is on its way when the last call was begun has so long to end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Calls that may be begun late in one turn of the loop.
const CATCH_UP_MAX: usize = 20;

const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// What is done to a server.
#[derive(Clone, Copy)]
pub struct Rates {
    /// Calls a second.
    pub calls: u32,
    /// INVITEs a second from strangers.
    pub flood: u32,
    /// For how long.
    pub lasts: Duration,
}

/// Calls, and says what came of it.
pub fn run(server: &Server, rates: Rates) {
    pin_to_core_1();
    let mut callers = Callers::new(server.address);
    let mut flood = Flood::new(server.address);
    let before = usage(server.id()).unwrap();
    let (began, mut looked, mut memory) = (Instant::now(), Instant::now(), Vec::new());
    loop {
        let elapsed = began.elapsed();
        let due = |rate: u32| (elapsed.as_micros() * u128::from(rate) / 1_000_000) as usize;
        if elapsed < rates.lasts {
            callers.dial(due(rates.calls));
            flood.send(due(rates.flood));
        } else if elapsed > rates.lasts + LAST_WORDS {
            break;
        }
        callers.listen();
        if looked.elapsed() >= LOOK_EVERY {
            looked += LOOK_EVERY;
            memory.push(usage(server.id()).unwrap().memory_kb / 1_024);
        }
    }
    let used = usage(server.id()).unwrap().cpu - before.cpu;
    let told = &callers.told;
    let ms = |percent| told.set_up.percentile_ms(percent).unwrap_or(f64::NAN);
    let seconds = rates.lasts.as_secs_f64();
    println!(
        "{} calls a second for {seconds} s{}: {} placed, {} answered and ended, {} refused {:?}, {} broken off, {} sent again; \
         {:.0} µs of CPU a call, {:.0} % of a core; INVITE to 200 p50 {:.2} p99 {:.2} longest {:.2} ms; engine {} MB before, then {memory:?}",
        rates.calls,
        if rates.flood > 0 {
            format!(" beside {} INVITEs a second of strangers ({} sent)", rates.flood, flood.sent)
        } else {
            String::new()
        },
        told.placed,
        told.ended,
        told.refused.values().sum::<usize>(),
        told.refused,
        told.placed - told.ended - told.refused.values().sum::<usize>(),
        told.sent - 3 * told.ended.min(told.sent / 3),
        used.as_secs_f64() * 1e6 / told.ended as f64,
        used.as_secs_f64() * 100.0 / seconds,
        ms(50.0),
        ms(99.0),
        told.set_up.longest_ms().unwrap_or(f64::NAN),
        before.memory_kb / 1_024,
    );
}

#[derive(Default)]
struct Told {
    placed: usize,
    ended: usize,
    refused: BTreeMap<u16, usize>,
    sent: usize,
    set_up: Spread,
}

struct Callers {
    agent: UserAgent,
    sip: UdpSocket,
    poll: Poll,
    local: SocketAddr,
    destination: SocketAddr,
    offer: Bytes,
    /// Nobody reads it.
    _audio: UdpSocket,
    invited: BTreeMap<LegId, Instant>,
    actions: Vec<Action>,
    buffer: Box<[u8]>,
    told: Told,
}

impl Callers {
    fn new(destination: SocketAddr) -> Self {
        let sip = socket();
        let local = sip.local_addr().unwrap();
        let audio = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = audio.local_addr().unwrap().port();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
        );
        let settings = Settings { max_dialogs: 100_000, ..Settings::new(local) };
        Self {
            agent: UserAgent::new(settings, Ids::from_seed(1)),
            poll: Poll::new([sip.as_raw_fd()]),
            sip,
            local,
            destination,
            offer: offer.into(),
            _audio: audio,
            invited: BTreeMap::new(),
            actions: Vec::new(),
            buffer: vec![0; 65_536].into(),
            told: Told::default(),
        }
    }

    /// Begins as many calls as are due by now.
    fn dial(&mut self, due: usize) {
        for _ in self.told.placed..due.min(self.told.placed + CATCH_UP_MAX) {
            let invite = Invite {
                target: format!("sip:100@{}", self.destination),
                destination: Peer::udp(self.destination),
                from: format!("sip:2221234567@{}", self.local),
                offer: self.offer.clone(),
            };
            let now = Instant::now();
            let leg = self.agent.invite(now, invite, &mut self.actions);
            self.invited.insert(leg, now);
            self.told.placed += 1;
            self.act(now);
        }
    }

    /// Waits a millisecond for what comes, and takes all of it.
    fn listen(&mut self) {
        self.poll.wait(Some(Instant::now() + Duration::from_millis(1)));
        while let Ok(length) = self.sip.recv(&mut self.buffer) {
            let now = Instant::now();
            let message = Bytes::copy_from_slice(&self.buffer[..length]);
            self.agent.handle_message(now, Peer::udp(self.destination), message, &mut self.actions);
            self.act(now);
        }
        let now = Instant::now();
        self.agent.handle_timeout(now, &mut self.actions);
        self.act(now);
    }

    fn act(&mut self, now: Instant) {
        let mut actions = VecDeque::from(std::mem::take(&mut self.actions));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send { message, .. } => {
                    self.told.sent += 1;
                    let _lost = self.sip.send_to(&message, self.destination);
                }
                Action::Event(Event::Answered { leg, .. }) => {
                    if let Some(invited) = self.invited.remove(&leg) {
                        self.told.set_up.add_ns((now - invited).as_nanos() as u64);
                    }
                    self.agent.hangup(now, leg, "", &mut self.actions);
                }
                Action::Event(Event::Ended { cause, .. }) => {
                    if cause == EndCause::LocalBye {
                        self.told.ended += 1;
                    } else if let EndCause::RemoteRefused(status) = cause {
                        *self.told.refused.entry(status).or_default() += 1;
                    } else {
                        println!("  a call ended otherwise: {}", cause.explain());
                    }
                }
                Action::Event(_) => {}
            }
            actions.extend(self.actions.drain(..));
        }
    }
}

/// INVITEs of strangers.
struct Flood {
    destination: SocketAddr,
    sent: usize,
    text: String,
}

impl Flood {
    fn new(destination: SocketAddr) -> Self {
        Self { destination, sent: 0, text: String::new() }
    }

    fn send(&mut self, due: usize) {
        for number in self.sent..due.min(self.sent + CATCH_UP_MAX) {
            // 127.1.0.1 and what follows, none of them twice in 16 million.
            let address = Ipv4Addr::from(0x7f01_0001 + number as u32);
            let Ok(socket) = UdpSocket::bind((address, 0)) else { continue };
            let local = socket.local_addr().unwrap();
            self.text.clear();
            let _written = write!(
                self.text,
                "INVITE sip:{number}@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKflood{number};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{number}@{local}>;tag=t{number}\r\nTo: <sip:{number}@{0}>\r\n\
                 Call-ID: {number}@{local}\r\nCSeq: 1 INVITE\r\nContact: <sip:{number}@{local}>\r\nUser-Agent: friendly-scanner\r\n\
                 Content-Length: 0\r\n\r\n",
                self.destination
            );
            let _lost = socket.send_to(self.text.as_bytes(), self.destination);
        }
        self.sent = due.min(self.sent + CATCH_UP_MAX);
    }
}

fn socket() -> UdpSocket {
    let bind = || -> io::Result<UdpSocket> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        let _granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().unwrap()
}
