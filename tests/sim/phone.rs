//! A telephone of the simulation: SIP as plain text, written without the engine's own stack, and a real leg for its audio and keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use contesta::audio::g711;
use contesta::dtmf::{Digit, ToneGenerator};
use contesta::ids::Ids;
use contesta::media::{self, Leg, LegSettings};
use contesta::rtp::RtpHeader;
use contesta::rtp::srtp::MasterKey;
use contesta::sdp::{self, Local, Negotiated, Offer, SrtpPolicy, Terms};

use super::{Happening, Sim, US, home, prompt_in};
use crate::peer::{first_line, header, response, status, to_tag};

/// T1 of RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);

/// How long each key is held.
const PRESS: Duration = Duration::from_millis(100);

/// One telephone with at most one call.
pub struct Phone {
    pub name: String,
    pub sip: SocketAddr,
    pub rtp: SocketAddr,
    /// The caller's number.
    pub from: String,
    /// User part of the Request-URI, and of To.
    pub called: String,
    pub to: String,
    /// The INVITE carries an offer.
    pub offers: bool,
    /// Payload types of the offer's audio, and its attributes.
    pub formats: &'static str,
    /// Attributes of the audio, each with its end of line.
    pub attributes: &'static str,
    /// `RTP/AVP`, and what protects its audio: tag and key of `a=crypto`.
    pub profile: &'static str,
    pub key: Option<(u32, MasterKey)>,
    pub acks: bool,
    pub answers_bye: bool,
    /// What its answers to offers of the engine's say.
    pub direction: &'static str,
    /// Answers UPDATE and re-INVITE.
    pub answers_changes: bool,
    /// Whole lines that its INVITE has beside the usual ones.
    pub invite_headers: &'static str,
    /// Sends its packets.
    pub speaks: bool,
    /// What its next packets of audio hold.
    pub sounds: Option<[u8; 160]>,
    pub to_tag: String,
    pub cseq: u32,
    branches: u32,
    invite: Option<Bytes>,
    waiting: Vec<(String, &'static str)>,
    /// Branches of INVITEs that have a final answer.
    answered: Vec<String>,
    /// The audio once there is an answer.
    pub talk: Option<Talk>,
    /// Final statuses of the INVITE and the re-INVITEs, in order.
    pub finals: Vec<u16>,
    /// The last message of each kind that came.
    pub last_response: Bytes,
    pub bye: Option<Bytes>,
    /// `(ms, true for ours, first line)`.
    pub log: Vec<(u64, bool, String)>,
    /// Prompts whose beginning came, with their moment.
    pub heard: Vec<(u64, &'static str)>,
    playing: Option<(&'static str, u16)>,
    /// The moment of the last packet that held sound.
    pub sound_at: u64,
    /// The last RTP packet, and where how many came.
    pub last_rtp: Option<RtpHeader>,
    pub rtp_packets: u64,
    /// Packets that this telephone could not take.
    pub rtp_refused: u64,
    pub rtp_here: u64,
    /// What came since somebody looked last.
    pub ear: Ear,
    /// Keys that came.
    pub keys_heard: String,
    /// Packets that were not the next of the same stream, and those whose timestamp was not 20 ms later.
    pub rtp_breaks: u32,
    pub rtp_jumps: u32,
}

/// What packets of audio held: how many were the same byte all over, and how many were not.
#[derive(Debug, Default)]
pub struct Ear(BTreeMap<Option<u8>, u32>);

impl Ear {
    pub fn hear(&mut self, payload: &[u8]) {
        let first = payload.first().copied().filter(|first| payload.iter().all(|byte| byte == first));
        *self.0.entry(first).or_default() += 1;
    }

    /// Whether it was this voice and next to nothing else.
    pub fn is(&mut self, voice: u8) -> bool {
        let all = std::mem::take(&mut self.0);
        let voices = all.get(&Some(voice)).copied().unwrap_or_default();
        voices * 10 > all.values().sum::<u32>() * 8
    }

    /// Whether there was music, or a tone, and nothing of this voice.
    pub fn is_music(&mut self, voice: u8) -> bool {
        let all = std::mem::take(&mut self.0);
        all.get(&None).is_some_and(|music| *music > 20) && all.get(&Some(voice)).is_none_or(|voice| *voice < 10)
    }
}

/// The audio of a call.
pub struct Talk {
    pub leg: Leg,
    pub negotiated: Negotiated,
}

/// A request that waits for its response.
#[derive(Clone)]
pub struct Pending {
    branch: String,
    method: &'static str,
    bytes: Bytes,
    interval: Duration,
    left: Duration,
}

impl Phone {
    /// The description of this telephone's audio.
    pub fn sdp(&self, direction: &str) -> String {
        let (ip, port) = (self.rtp.ip(), self.rtp.port());
        let crypto = self.key.as_ref().map_or_else(String::new, |(tag, key)| {
            let material = base64::engine::general_purpose::STANDARD.encode(key.material());
            format!("a=crypto:{tag} {} inline:{material}\r\n", key.suite())
        });
        format!(
            "v=0\r\no=- 1 {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} {} {}\r\n\
            a=rtpmap:101 telephone-event/8000\r\n{}{crypto}a={direction}\r\n",
            self.cseq, self.profile, self.formats, self.attributes
        )
    }

    /// What the engine's description means to this telephone.
    fn read(&self, body: &[u8]) -> Option<Negotiated> {
        // Of an answer that names one codec, an answer agrees to that one.
        let srtp = if self.key.is_some() { SrtpPolicy::Offered } else { SrtpPolicy::Off };
        let terms = Terms { srtp, ..Terms::default() };
        let local = Local { address: self.rtp, session: 1, version: 1, terms: &terms, source: None };
        let (_, mut negotiated) = sdp::answer(&Offer::parse(body).ok()?, &local, None, &mut Ids::from_seed(1)).ok()?;
        if let (Some(keys), Some((_, key))) = (&mut negotiated.srtp, &self.key) {
            keys.ours = key.clone();
        }
        Some(negotiated)
    }

    /// A request of this call.
    pub fn request(&self, method: &str, cseq: u32, branch: &str, headers: &str, body: &str) -> String {
        let Self { name, sip, from, called, to, to_tag, .. } = self;
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let kind = if body.starts_with("v=0") { "Content-Type: application/sdp\r\n" } else { "" };
        format!(
            "{method} sip:{called}@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {sip};branch=z9hG4bK{branch};rport\r\n\
            From: <sip:{from}@example.com>;tag=far{name}\r\nTo: <sip:{to}@{US}>{to_tag}\r\nCall-ID: {name}\r\n\
            CSeq: {cseq} {method}\r\nContact: <sip:{from}@{sip}>\r\nMax-Forwards: 70\r\n{headers}{kind}\
            Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The keys of the prompts heard so far.
    pub fn keys(&self) -> Vec<&'static str> {
        self.heard.iter().map(|(_, key)| *key).collect()
    }

    pub fn has_heard(&self, key: &str) -> bool {
        self.heard.iter().any(|(_, heard)| *heard == key)
    }

    /// How often this prompt began.
    pub fn times_heard(&self, key: &str) -> usize {
        self.heard.iter().filter(|(_, heard)| *heard == key).count()
    }

    /// True when there was a call, or a refusal, and there is none any more.
    pub fn is_over(&self) -> bool {
        self.talk.is_none() && !self.finals.is_empty()
    }

    /// What crossed the line, one message a line.
    pub fn ladder(&self) -> String {
        let line =
            |(ms, ours, line): &(u64, bool, String)| format!("{ms:>6} {} {line}\n", if *ours { "→" } else { "  ←" });
        self.log.iter().map(line).collect()
    }

    fn note(&mut self, ms: u64, ours: bool, bytes: &[u8]) {
        self.log.push((ms, ours, first_line(bytes)));
    }

    /// Takes an RTP packet.
    pub fn hear(&mut self, now: Instant, ms: u64, from: SocketAddr, to: SocketAddr, packet: &[u8]) {
        let Some(talk) = &mut self.talk else { return };
        let mut packet = packet.to_vec();
        let mut events = Vec::new();
        let Some(packet) = talk.leg.handle_packet(now, from, &mut packet, &mut events) else {
            self.rtp_refused += 1;
            return;
        };
        for event in events {
            if let media::Event::Digit(digit, _) = event {
                self.keys_heard.push(digit.as_char());
            }
        }
        let (header, payload) = RtpHeader::parse(packet).unwrap();
        if header.payload_type != 101 {
            self.ear.hear(&packet[payload.clone()]);
        }
        if let Some(last) = self.last_rtp {
            let follows = header.ssrc == last.ssrc && header.sequence == last.sequence.next();
            self.rtp_breaks += u32::from(!follows);
            self.rtp_jumps += u32::from(header.timestamp != last.timestamp.plus(160));
        }
        self.last_rtp = Some(header);
        self.rtp_packets += 1;
        self.rtp_here += u64::from(to == self.rtp);
        let found = prompt_in(&packet[payload]);
        if let Some((key, frame)) = found {
            self.sound_at = ms;
            if self.playing.is_none_or(|(playing, last)| playing != key || frame <= last) {
                self.heard.push((ms, key));
            }
        }
        self.playing = found;
    }
}

impl Sim {
    /// A new telephone: its name is its Call-ID too.
    pub fn phone(&mut self, name: &str) -> usize {
        let number = self.phones.len();
        let (sip, rtp) = (SocketAddr::new(home(number), 5060), SocketAddr::new(home(number), 4000));
        self.homes.extend([(sip, number), (rtp, number)]);
        self.phones.push(Phone {
            name: name.to_owned(),
            sip,
            rtp,
            from: "2225550101".to_owned(),
            called: String::new(),
            to: String::new(),
            offers: true,
            formats: "0 8 101",
            attributes: "",
            profile: "RTP/AVP",
            key: None,
            acks: true,
            answers_bye: true,
            answers_changes: true,
            direction: "sendrecv",
            invite_headers: "",
            speaks: true,
            sounds: None,
            to_tag: String::new(),
            cseq: 0,
            branches: 0,
            invite: None,
            waiting: Vec::new(),
            answered: Vec::new(),
            talk: None,
            finals: Vec::new(),
            last_response: Bytes::new(),
            bye: None,
            log: Vec::new(),
            heard: Vec::new(),
            playing: None,
            sound_at: 0,
            last_rtp: None,
            rtp_packets: 0,
            rtp_refused: 0,
            rtp_here: 0,
            ear: Ear::default(),
            keys_heard: String::new(),
            rtp_breaks: 0,
            rtp_jumps: 0,
        });
        number
    }

    /// A telephone that calls `number` at once.
    pub fn dial(&mut self, name: &str, number: &str) -> usize {
        let phone = self.phone(name);
        self.invite(phone, number);
        phone
    }

    /// A telephone whose call was answered and is on.
    pub fn talk(&mut self, name: &str, number: &str) -> usize {
        let phone = self.dial(name, number);
        self.until("answered", Duration::from_secs(5), |sim| sim.phones[phone].talk.is_some());
        phone
    }

    /// Sends the INVITE.
    pub fn invite(&mut self, phone: usize, number: &str) {
        let caller = &mut self.phones[phone];
        caller.called = number.to_owned();
        if caller.to.is_empty() {
            caller.to = number.to_owned();
        }
        let body = if caller.offers { caller.sdp("sendrecv") } else { String::new() };
        let headers = caller.invite_headers;
        self.ask(phone, "INVITE", headers, &body);
    }

    /// Sends a request that wants a response, and again until one comes.
    pub fn ask(&mut self, phone: usize, method: &'static str, headers: &str, body: &str) -> String {
        let caller = &mut self.phones[phone];
        caller.cseq += 1;
        caller.branches += 1;
        let branch = format!("{}{}", caller.name, caller.branches);
        let bytes = Bytes::from(caller.request(method, caller.cseq, &branch, headers, body));
        if method == "INVITE" {
            caller.invite = Some(bytes.clone());
        }
        caller.waiting.push((branch.clone(), method));
        let request = Pending { branch: branch.clone(), method, bytes, interval: T1, left: 64 * T1 };
        self.again_or_first(phone, request);
        branch
    }

    pub(super) fn again(&mut self, phone: usize, request: Pending) {
        if self.phones[phone].waiting.iter().any(|(branch, _)| *branch == request.branch) {
            self.again_or_first(phone, request);
        }
    }

    fn again_or_first(&mut self, phone: usize, mut request: Pending) {
        self.send_sip(phone, request.bytes.clone());
        let after = request.interval;
        if let Some(left) = request.left.checked_sub(after) {
            request.left = left;
            request.interval =
                if request.method == "INVITE" { after * 2 } else { (after * 2).min(Duration::from_secs(4)) };
            self.later(after, Happening::Again { phone, request });
        }
    }

    /// Sends a whole message as it is.
    pub fn send_sip(&mut self, phone: usize, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let ms = self.ms();
        self.phones[phone].note(ms, true, &bytes);
        let source = self.phones[phone].sip;
        for after in self.fates(self.sip_weather) {
            self.later(after, Happening::SipToEngine(source, bytes.clone()));
        }
    }

    /// The INVITE's own bytes.
    pub fn invite_bytes(&self, phone: usize) -> String {
        String::from_utf8(self.phones[phone].invite.as_ref().unwrap().to_vec()).unwrap()
    }

    /// CANCEL of the INVITE: its branch, its CSeq (RFC 3261 §9.1).
    pub fn cancel(&mut self, phone: usize) {
        let caller = &mut self.phones[phone];
        let branch = format!("{}{}", caller.name, caller.branches);
        let tag = std::mem::take(&mut caller.to_tag);
        let cancel = caller.request("CANCEL", caller.cseq, &branch, "", "");
        caller.to_tag = tag;
        self.send_sip(phone, cancel);
    }

    /// Hangs up.
    pub fn bye(&mut self, phone: usize) {
        self.phones[phone].talk = None;
        self.ask(phone, "BYE", "", "");
    }

    /// A key by SIP INFO.
    pub fn info(&mut self, phone: usize, key: char) {
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        self.ask(phone, "INFO", "Content-Type: application/dtmf-relay\r\n", &body);
    }

    /// Offers this description within the call.
    pub fn reinvite(&mut self, phone: usize, direction: &str) {
        let body = self.phones[phone].sdp(direction);
        self.ask(phone, "INVITE", "", &body);
    }

    /// From now on the telephone's audio lives at another port.
    pub fn move_audio(&mut self, phone: usize) {
        let caller = &mut self.phones[phone];
        caller.rtp.set_port(caller.rtp.port() + 2);
        caller.rtp_here = 0;
        let rtp = caller.rtp;
        self.homes.insert(rtp, phone);
    }

    /// Sounds these keys for so long each, as tones in place of its silence, whatever was agreed on.
    pub fn sound(&mut self, phone: usize, keys: &str, length_ms: u32) {
        let caller = &self.phones[phone];
        let Some(talk) = &caller.talk else { return };
        let law = talk.leg.codec().law().unwrap();
        for key in keys.chars() {
            let mut tones = ToneGenerator::new(Digit::from_char(key).unwrap(), length_ms * 8, 8_000);
            while !tones.is_over() {
                let mut samples = [0; 160];
                tones.fill(&mut samples);
                self.phones[phone].sounds = Some(samples.map(|sample| g711::encode(law, sample)));
                self.advance(Duration::from_millis(20));
            }
        }
        self.phones[phone].sounds = None;
    }

    /// Presses these keys one after the other, as telephone events, or as tones where those were not agreed on.
    pub fn press(&mut self, phone: usize, keys: &str) {
        let Some(talk) = &mut self.phones[phone].talk else { return };
        for key in keys.chars() {
            assert!(talk.leg.press(Digit::from_char(key).unwrap(), PRESS), "{key} cannot be pressed");
        }
    }

    /// Lets time pass until this prompt has begun once more.
    pub fn until_heard(&mut self, phone: usize, key: &str) {
        let before = self.phones[phone].times_heard(key);
        self.until(key, Duration::from_secs(90), |sim| sim.phones[phone].times_heard(key) > before);
    }

    /// Lets the engine speak to its end: until something was heard from now on, and then nothing for 600 ms.
    pub fn listen(&mut self, phone: usize) {
        let from = self.ms();
        self.until("quiet", Duration::from_secs(120), |sim| {
            let caller = &sim.phones[phone];
            caller.is_over() || (caller.sound_at > from && sim.ms() >= caller.sound_at + 600)
        });
    }

    /// Presses each group of keys, separated by commas, after the engine has spoken.
    pub fn keys(&mut self, phone: usize, groups: &str) {
        for group in groups.split(',') {
            self.listen(phone);
            self.press(phone, group);
            let pressing = |sim: &Self| sim.phones[phone].talk.as_ref().is_some_and(|talk| talk.leg.is_pressing());
            self.until("pressed", Duration::from_secs(30), |sim| !pressing(sim));
        }
    }

    pub(super) fn phone_receives(&mut self, phone: usize, bytes: &Bytes) {
        // What is said of other people's calls is not for this telephone.
        if header(bytes, "Call-ID").is_none_or(|id| id != self.phones[phone].name) {
            return;
        }
        let ms = self.ms();
        self.phones[phone].note(ms, false, bytes);
        match status(bytes) {
            0 => self.phone_is_asked(phone, bytes),
            status => self.phone_is_answered(phone, status, bytes),
        }
    }

    fn phone_is_asked(&mut self, phone: usize, bytes: &Bytes) {
        let (now, line) = (self.now.instant, first_line(bytes));
        let caller = &mut self.phones[phone];
        match line.split(' ').next().unwrap() {
            "BYE" if caller.answers_bye => {
                caller.talk = None;
                caller.bye = Some(bytes.clone());
                self.send_sip(phone, response(bytes, 200, "", "", ""));
            }
            "UPDATE" if caller.answers_changes => {
                let session = header(bytes, "Session-Expires").unwrap_or_default();
                self.send_sip(phone, response(bytes, 200, "", &format!("Session-Expires: {session}\r\n"), ""));
            }
            "INVITE" if caller.answers_changes => {
                if let Some((negotiated, talk)) = caller.read(&body_of(bytes)).zip(caller.talk.as_mut()) {
                    talk.leg.retarget(settings(&negotiated), now);
                    talk.negotiated = negotiated;
                }
                let session = header(bytes, "Session-Expires").unwrap_or_default();
                let headers = format!(
                    "Session-Expires: {session}\r\nContact: <sip:{}@{}>\r\nContent-Type: application/sdp\r\n",
                    caller.from, caller.sip
                );
                let ok = response(bytes, 200, "", &headers, &caller.sdp(caller.direction));
                self.send_sip(phone, ok);
            }
            _ => {}
        }
    }

    fn phone_is_answered(&mut self, phone: usize, status: u16, bytes: &Bytes) {
        let (now, caller) = (self.now.instant, &mut self.phones[phone]);
        caller.last_response = bytes.clone();
        let via = header(bytes, "Via").unwrap();
        let branch = via.split("branch=z9hG4bK").nth(1).unwrap().split(';').next().unwrap();
        let cseq = header(bytes, "CSeq").unwrap();
        let (number, method) = cseq.split_once(' ').unwrap();
        if status >= 200 || method == "INVITE" {
            caller.waiting.retain(|(waiting, asked)| waiting != branch || *asked != method);
        }
        if method != "INVITE" || status < 200 {
            return;
        }
        let is_new = !caller.answered.iter().any(|answered| answered == branch);
        if is_new {
            caller.answered.push(branch.to_owned());
            caller.finals.push(status);
        }
        if status < 300 {
            caller.to_tag = to_tag(bytes);
            let body = body_of(bytes);
            if caller.talk.is_none() && caller.bye.is_none() && is_new {
                caller.open(now, &body);
            } else if is_new
                && let Some(negotiated) = caller.read(&body)
                && let Some(talk) = &mut caller.talk
            {
                talk.leg.retarget(settings(&negotiated), now);
                talk.negotiated = negotiated;
            }
            if caller.acks {
                let answer = if caller.offers { String::new() } else { caller.sdp("sendrecv") };
                let branch = format!("{branch}ack");
                let ack = caller.request("ACK", number.parse().unwrap(), &branch, "", &answer);
                self.send_sip(phone, ack);
            }
        } else {
            let tag = std::mem::replace(&mut caller.to_tag, to_tag(bytes));
            let ack = caller.request("ACK", number.parse().unwrap(), branch, "", "");
            if !tag.is_empty() {
                caller.to_tag = tag;
            }
            self.send_sip(phone, ack);
        }
    }
}

impl Phone {
    fn open(&mut self, now: Instant, body: &[u8]) {
        let Some(negotiated) = self.read(body) else { return };
        self.talk = Some(Talk { leg: Leg::new(settings(&negotiated), now), negotiated });
    }
}

pub(super) fn settings(negotiated: &Negotiated) -> LegSettings {
    LegSettings {
        ssrc: 0xfa4,
        first_sequence: 100,
        first_timestamp: 1_000,
        silent_after: None,
        ..LegSettings::from(negotiated)
    }
}

fn body_of(bytes: &Bytes) -> Bytes {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    bytes.slice(at + 4..)
}
