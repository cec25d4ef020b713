//! An agent's telephone in simulated time: a user agent and real legs for its audio. It is registered from the beginning, rings, answers or
//! refuses as it is told, holds, and transfers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::audio::Codec;
use contesta::dtmf::Digit;
use contesta::ids::{Ids, LegId};
use contesta::media::{self, Leg, MAX_PACKET};
use contesta::rtp::RtpHeader;
use contesta::sdp::{self, Local, Offer, Terms};
use contesta::sip::registrar::Registration;
use contesta::sip::user_agent::Settings;
use contesta::sip::{Action, Event, Invite, Peer, ReferTo, Rejection, UserAgent};

use super::phone::{Ear, settings};
use super::{AUDIO_PACKET, Happening, Sim, US};

/// What a caller's audio is made of.
pub const VOICE: u8 = 0x2b;

/// One telephone with as many calls as it likes.
pub struct Desk {
    pub user: String,
    pub address: SocketAddr,
    pub agent: UserAgent,
    /// What it does to an INVITE: this status after so long. `None`: it rings for ever.
    pub answers: Option<(Duration, u16)>,
    /// Says that it rings.
    pub rings: bool,
    /// Formats of its descriptions.
    pub formats: &'static str,
    /// Nothing of it arrives any more, and nothing at it.
    pub cut: bool,
    /// What every sample of its audio is, as µ-law has it.
    pub voice: u8,
    pub lines: BTreeMap<LegId, Line>,
    /// What its user agent told, with the moment in ms.
    pub events: Vec<(u64, Event)>,
    /// First lines of what it sent and got.
    pub log: Vec<String>,
    next_port: u16,
}

/// One call of it.
pub struct Line {
    pub rtp: SocketAddr,
    offer: Option<Bytes>,
    pub talk: Option<Leg>,
    /// What came since somebody looked last, and how many packets in all.
    pub ear: Ear,
    pub packets: u64,
    pub rtp_breaks: u32,
    last: Option<RtpHeader>,
    pub keys: String,
}

/// A registration as it is from the beginning.
pub fn registration(user: &str, address: &str) -> Registration {
    Registration {
        operator: "beneleit".to_owned(),
        user: user.to_owned(),
        contact: format!("sip:{user}@{address}"),
        instance: None,
        reg_id: None,
        call_id: format!("{user}{address}"),
        cseq: 1,
        q: None,
        peer: Peer::udp(address.parse().unwrap()),
        symmetric: true,
        user_agent: String::new(),
        lasts: Duration::from_secs(86_400),
    }
}

impl Sim {
    /// The telephone at this address, which [`Setup::desks`](super::Setup) has registered.
    pub fn desk(&mut self, user: &str, address: &str) -> usize {
        let number = self.telephones.len();
        let address: SocketAddr = address.parse().unwrap();
        let mut settings = Settings::new(address);
        settings.transfers = true;
        self.telephones.push(Desk {
            user: user.to_owned(),
            address,
            agent: UserAgent::new(settings, Ids::from_seed(900 + number as u64)),
            answers: Some((Duration::from_secs(2), 200)),
            rings: true,
            formats: "0 8 101",
            cut: false,
            voice: 0x10 + u8::try_from(number).unwrap(),
            lines: BTreeMap::new(),
            events: Vec::new(),
            log: Vec::new(),
            next_port: 6_000,
        });
        number
    }

    /// The only call of a telephone.
    pub fn line(&mut self, desk: usize) -> &mut Line {
        let count = self.telephones[desk].lines.len();
        assert_eq!(count, 1, "calls of {}", self.telephones[desk].user);
        self.telephones[desk].lines.values_mut().next().unwrap()
    }

    /// Whether a telephone of a caller and one of an agent hear each other now, and nothing else.
    pub fn hear_each_other(&mut self, phone: usize, desk: usize) -> bool {
        self.phones[phone].sounds = Some([VOICE; 160]);
        self.advance(Duration::from_millis(500));
        let voice = self.telephones[desk].voice;
        let _before = (self.phones[phone].ear.is(0), self.line(desk).ear.is(0));
        self.advance(Duration::from_secs(2));
        self.phones[phone].sounds = None;
        self.phones[phone].ear.is(voice) && self.line(desk).ear.is(VOICE)
    }

    pub fn leg(&self, desk: usize) -> LegId {
        *self.telephones[desk].lines.keys().next_back().unwrap()
    }

    /// Lets a telephone do something.
    pub fn at_desk(&mut self, desk: usize, ask: impl FnOnce(&mut UserAgent, Instant, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        ask(&mut self.telephones[desk].agent, self.now.instant, &mut actions);
        self.desk_acts(desk, actions);
    }

    pub fn desk_hangs_up(&mut self, desk: usize, leg: LegId) {
        self.at_desk(desk, |agent, now, out| agent.hangup(now, leg, "", out));
    }

    /// Offers its audio again, in this direction.
    pub fn desk_reoffers(&mut self, desk: usize, leg: LegId, direction: &str) {
        let sdp = self.telephones[desk].sdp(leg, direction);
        self.at_desk(desk, |agent, now, out| agent.reoffer(now, leg, sdp, out));
    }

    pub fn desk_refers(&mut self, desk: usize, leg: LegId, to: &ReferTo) {
        self.at_desk(desk, |agent, now, out| agent.refer(now, leg, to, out));
    }

    /// Calls this user part.
    pub fn desk_calls(&mut self, desk: usize, target: &str) -> LegId {
        let one = &mut self.telephones[desk];
        one.next_port += 2;
        let rtp = SocketAddr::new(one.address.ip(), one.next_port);
        let leg = one.agent.reserve_leg();
        one.lines.insert(leg, Line::new(rtp, None));
        self.desk_audio.insert(rtp, (desk, leg));
        let one = &self.telephones[desk];
        let invite = Invite {
            target: format!("sip:{target}@{US}"),
            destination: Peer::udp(US.parse().unwrap()),
            from: format!("sip:{}@{US}", one.user),
            offer: one.sdp(leg, "sendrecv"),
        };
        self.at_desk(desk, |agent, now, out| agent.invite_as(now, leg, &invite, out));
        leg
    }

    /// Whether these calls of two telephones hear each other now, and nothing else.
    pub fn desks_hear(&mut self, one: (usize, LegId), other: (usize, LegId)) -> bool {
        self.advance(Duration::from_millis(500));
        let voices = [one.0, other.0].map(|desk| self.telephones[desk].voice);
        let ear = |sim: &mut Self, (desk, leg): (usize, LegId), voice| {
            sim.telephones[desk].lines.get_mut(&leg).is_some_and(|line| line.ear.is(voice))
        };
        let _before = (ear(self, one, 0), ear(self, other, 0));
        self.advance(Duration::from_secs(2));
        ear(self, one, voices[1]) && ear(self, other, voices[0])
    }

    /// What a telephone heard of the statuses of its transfers.
    pub fn reports(&self, desk: usize) -> Vec<u16> {
        let reports = self.telephones[desk].events.iter().filter_map(|(_, event)| {
            let Event::ReferReported { status, .. } = event else { return None };
            Some(*status)
        });
        reports.collect()
    }

    pub(super) fn desk_receives(&mut self, to: SocketAddr, bytes: &Bytes) {
        let Some(desk) = self.telephones.iter().position(|desk| desk.address == to && !desk.cut) else { return };
        self.telephones[desk].log.push(format!("← {}", crate::peer::first_line(bytes)));
        let source = Peer::udp(US.parse().unwrap());
        self.at_desk(desk, |agent, now, out| agent.handle_message(now, source, bytes.clone(), out));
    }

    pub(super) fn desks_wake(&mut self) {
        for desk in 0..self.telephones.len() {
            self.at_desk(desk, |agent, now, out| agent.handle_timeout(now, out));
        }
    }

    pub(super) fn desk_decides(&mut self, desk: usize, leg: LegId, status: u16) {
        let one = &mut self.telephones[desk];
        let Some(line) = one.lines.get_mut(&leg) else { return };
        if status != 200 {
            let rejection = Rejection { status, retry_after: None, warning: None };
            return self.at_desk(desk, |agent, now, out| agent.reject(now, leg, &rejection, out));
        }
        let offer = line.offer.take();
        line.open(self.now.instant, one.formats, offer.as_deref());
        let sdp = one.sdp(leg, "sendrecv");
        self.at_desk(desk, |agent, now, out| agent.accept(now, leg, sdp, out));
    }

    fn desk_acts(&mut self, desk: usize, actions: Vec<Action>) {
        let ms = self.ms();
        for action in actions {
            let event = match action {
                Action::Send { message, .. } => {
                    let one = &mut self.telephones[desk];
                    one.log.push(format!("→ {}", crate::peer::first_line(&message)));
                    let (from, cut) = (one.address, one.cut);
                    for after in self.fates(self.sip_weather).filter(|_| !cut).collect::<Vec<_>>() {
                        self.later(after, Happening::SipToEngine(from, message.clone()));
                    }
                    continue;
                }
                Action::Event(event) => event,
            };
            let (now, one) = (self.now.instant, &mut self.telephones[desk]);
            one.events.push((ms, event.clone()));
            match event {
                Event::Invited { leg, invitation } => {
                    one.next_port += 2;
                    let rtp = SocketAddr::new(one.address.ip(), one.next_port);
                    one.lines.insert(leg, Line::new(rtp, invitation.offer));
                    self.desk_audio.insert(rtp, (desk, leg));
                    let (rings, answers) = (one.rings, one.answers);
                    if rings {
                        self.at_desk(desk, |agent, now, out| agent.progress(now, leg, 180, Bytes::new(), out));
                    }
                    if let Some((after, status)) = answers {
                        self.later(after, Happening::Desk { desk, leg, status });
                    }
                }
                Event::Answered { leg, body } | Event::Reanswered { leg, body } => {
                    if let Some(line) = one.lines.get_mut(&leg) {
                        line.open(now, one.formats, Some(&body));
                    }
                }
                Event::Reoffered { leg, offer } => {
                    if let Some(line) = one.lines.get_mut(&leg) {
                        line.open(now, one.formats, offer.as_deref());
                    }
                    let sdp = one.sdp(leg, "sendrecv");
                    self.at_desk(desk, |agent, now, out| agent.accept(now, leg, sdp, out));
                }
                Event::Ended { leg, .. } => {
                    if let Some(line) = one.lines.remove(&leg) {
                        self.desk_audio.remove(&line.rtp);
                    }
                }
                Event::Confirmed { .. }
                | Event::Acknowledged { .. }
                | Event::OfferWanted { .. }
                | Event::Unchanged { .. }
                | Event::Referred { .. }
                | Event::ReferAnswered { .. }
                | Event::ReferReported { .. }
                | Event::Info { .. }
                | Event::InfoAnswered { .. }
                | Event::Ringing { .. }
                | Event::Rerouted { .. }
                | Event::Responded { .. }
                | Event::Registrar(_) => {}
            }
        }
    }

    /// Every call of every telephone sends its next 20 ms.
    pub(super) fn desks_speak(&mut self) {
        let now = self.now.instant;
        let mut packets = Vec::new();
        for desk in self.telephones.iter_mut().filter(|desk| !desk.cut) {
            let voice = desk.voice;
            for line in desk.lines.values_mut() {
                let Some(leg) = &mut line.talk else { continue };
                let mut packet = [0; MAX_PACKET];
                let Some(length) = leg.tick(now, &mut packet, &mut Vec::new()) else { continue };
                if length == AUDIO_PACKET {
                    packet[AUDIO_PACKET - 160..AUDIO_PACKET].fill(voice);
                }
                packets.push((line.rtp, leg.destination(), packet[..length].to_vec()));
            }
        }
        packets.into_iter().for_each(|(from, to, packet)| self.send_rtp(from, to, &packet));
    }

    pub(super) fn desk_hears(&mut self, to: SocketAddr, from: SocketAddr, packet: &[u8]) {
        let Some((desk, leg)) = self.desk_audio.get(&to).copied() else { return };
        let now = self.now.instant;
        if let Some(line) = self.telephones[desk].lines.get_mut(&leg) {
            line.hear(now, from, packet);
        }
    }
}

impl Desk {
    fn sdp(&self, leg: LegId, direction: &str) -> Bytes {
        let rtp = self.lines[&leg].rtp;
        let (ip, port) = (rtp.ip(), rtp.port());
        Bytes::from(format!(
            "v=0\r\no=- 1 {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {}\r\n\
             a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n",
            self.log.len(),
            self.formats,
        ))
    }
}

impl Line {
    fn new(rtp: SocketAddr, offer: Option<Bytes>) -> Self {
        Self { rtp, offer, talk: None, ear: Ear::default(), packets: 0, rtp_breaks: 0, last: None, keys: String::new() }
    }

    /// Takes what the other end says of its audio.
    fn open(&mut self, now: Instant, formats: &str, body: Option<&[u8]>) {
        let Some(offer) = body.and_then(|body| Offer::parse(body).ok()) else { return };
        let codecs = if formats.starts_with('8') { vec![Codec::Pcma] } else { Vec::new() };
        let terms = Terms { srtp: sdp::SrtpPolicy::Off, codecs, ..Terms::default() };
        let local = Local { address: self.rtp, session: 1, version: 1, terms: &terms, source: None };
        let Ok((_, negotiated)) = sdp::answer(&offer, &local, None, &mut Ids::from_seed(1)) else { return };
        match &mut self.talk {
            Some(leg) => leg.retarget(settings(&negotiated), now),
            None => self.talk = Some(Leg::new(settings(&negotiated), now)),
        }
    }

    fn hear(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) {
        let Some(leg) = &mut self.talk else { return };
        let (mut packet, mut events) = (packet.to_vec(), Vec::new());
        let Some(packet) = leg.handle_packet(now, from, &mut packet, &mut events) else { return };
        for event in events {
            if let media::Event::Digit(digit, _) = event {
                self.keys.push(Digit::as_char(digit));
            }
        }
        let (header, payload) = RtpHeader::parse(packet).unwrap();
        if let Some(last) = self.last {
            self.rtp_breaks += u32::from(header.ssrc != last.ssrc || header.sequence != last.sequence.next());
        }
        self.last = Some(header);
        self.packets += 1;
        if header.payload_type != 101 {
            self.ear.hear(&packet[payload]);
        }
    }
}
