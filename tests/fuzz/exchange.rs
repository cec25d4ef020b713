//! Bytes as a story: what far ends, media, services and the clock do to an exchange, step by step.
//!
//! Each step is a byte that says what happens, and a few that say how. At the end everyone hangs up and time passes: nothing may be
//! left, each call has one record, each leg that was opened was closed, and all that was sent is SIP.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::call::{self, Tenant};
use contesta::config;
use contesta::dtmf::{Digit, Road};
use contesta::exchange::{Exchange, Input, Limits, Output, Snapshot, Why, accounts};
use contesta::fault::SourceFile;
use contesta::flow::{self, Answer, RequestId};
use contesta::ids::{Ids, LegId, PlayId};
use contesta::media;
use contesta::now::Now;
use contesta::operator;
use contesta::sip::digest::{Algorithm, Ha1};
use contesta::sip::locate::{self, Question, Record};
use contesta::sip::message::Message;
use contesta::sip::registrar::{Account, Accounts, Offers, Registrar};
use contesta::sip::user_agent::Settings;
use contesta::sip::{Flow, Peer, Transport, UserAgent};
use contesta::value::Values;

/// Longest story: what takes longer shows nothing new.
const STEPS_MAX: usize = 400;
/// Timers that may fire in a minute of silence; beyond it something goes in circles.
const TIMEOUTS_MAX: usize = 100_000;

const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "REGISTER",
    "PRACK",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "XYZ",
];

const SDP: [&str; 7] = [
    "",
    "v=0\r\no=- 1 1 IN IP4 198.18.0.1\r\ns=-\r\nc=IN IP4 198.18.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 \
     telephone-event/8000\r\n",
    "v=0\r\no=- 1 2 IN IP4 198.18.0.1\r\ns=-\r\nc=IN IP4 198.18.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n",
    "v=0\r\no=- 1 3 IN IP4 198.18.0.9\r\ns=-\r\nc=IN IP4 198.18.0.9\r\nt=0 0\r\nm=audio 4002 RTP/AVP 8\r\n",
    "v=0\r\no=- 1 4 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 5 IN IP4 198.18.0.1\r\ns=-\r\nc=IN IP4 198.18.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n",
    "v=0\r\no=- 1 6 IN IP4 198.18.0.1\r\ns=-\r\nc=IN IP4 198.18.0.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 \
     AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw\r\n",
];

const HEADERS: [&str; 12] = [
    "",
    "Require: 100rel\r\n",
    "Supported: 100rel, timer, replaces\r\nSession-Expires: 90;refresher=uas\r\nMin-SE: 90\r\n",
    "Record-Route: <sip:198.18.0.2;lr>, <sip:198.18.0.3>\r\n",
    "Replaces: call0;to-tag=x;from-tag=far\r\n",
    "Refer-To: <sip:*2363@192.0.2.10>\r\n",
    "Authorization: Digest username=\"ana\", realm=\"contesta\", nonce=\"x\", uri=\"sip:192.0.2.10\", response=\"0\"\r\n",
    "Contact: *\r\nExpires: 0\r\n",
    "Expires: 60\r\n",
    "Max-Forwards: 0\r\n",
    "RAck: 1 1 INVITE\r\nRSeq: 1\r\n",
    "Reason: Q.850;cause=16\r\nEvent: refer\r\nSubscription-State: active\r\n",
];

/// A carrier that is found by its name, that we register with, and that is asked whether it is there.
const CARRIER: &str = r#"
[[trunks]]
name = "carrier"
gateways = ["sip:carrier.example"]
probe = "30s"
user = "2226057239"
password = "clave"
register = true
"#;

static SETTINGS: LazyLock<Arc<config::Config>> = LazyLock::new(|| {
    let written = SourceFile { path: "contesta.toml".to_owned(), text: CARRIER.to_owned() };
    Arc::new(config::load(&written).unwrap())
});

/// The shipped operators, with no sound in their prompts.
static SHIPPED: LazyLock<Vec<Arc<Tenant>>> = LazyLock::new(|| {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("flows").is_dir()).unwrap();
    let files = |id: &str| -> Vec<SourceFile> {
        let entries = std::fs::read_dir(root.join("flows").join(id)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: &std::path::PathBuf| SourceFile {
            text: std::fs::read_to_string(path).unwrap(),
            path: path.display().to_string(),
        };
        paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")).map(read).collect()
    };
    let folders = ["beneleit", "bluepoint"].map(files);
    let (operators, _) = operator::load_all(&folders).unwrap();
    let tenants = operators.into_iter().zip(&folders).map(|(operator, files)| {
        let flows = Arc::new(flow::load(&operator, files).unwrap());
        Arc::new(Tenant { operator: Arc::new(operator), flows, clips: Vec::new() })
    });
    tenants.collect()
});

/// Plays the story.
pub fn run(data: &[u8]) {
    let mut story = Story::new(data);
    for _ in 0..STEPS_MAX {
        let Some(step) = story.byte() else { break };
        story.step(step);
    }
    story.end();
}

struct Story<'a> {
    data: &'a [u8],
    exchange: Exchange,
    now: Now,
    /// For each call of the far end, the tag that we answered with.
    tags: [String; 4],
    /// What we sent last, and where.
    sent: VecDeque<(Peer, Bytes)>,
    legs: BTreeMap<LegId, Leg>,
    request: Option<(LegId, RequestId)>,
    questions: VecDeque<Question>,
    begun: bool,
    play: Option<(LegId, PlayId)>,
    wound: Option<(u16, u8)>,
    transport: Transport,
    records: usize,
}

#[derive(Default)]
struct Leg {
    started: bool,
    recorded: bool,
}

impl<'a> Story<'a> {
    fn new(data: &'a [u8]) -> Self {
        let now = Now { instant: Instant::now(), wall: "2026-03-10T17:00:00Z".parse().unwrap() };
        let config = SETTINGS.clone();
        let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, "ana", "contesta", "ana")).to_vec();
        let account = Account { user: "ana".into(), operator: "beneleit".into(), offers: Offers::Md5, secrets };
        let accounts_of = Accounts::new("contesta", Offers::Md5, [account]);
        let registrar = Registrar::new(
            now.instant,
            accounts::settings(&config.registrar),
            Arc::new(accounts_of),
            &mut Ids::from_seed(3),
        );
        let settings = Settings { transfers: true, ..Settings::new(SocketAddr::from(([192, 0, 2, 10], 5060))) };
        let user_agent = UserAgent::new(settings, Ids::from_seed(1));
        let owned: Vec<_> = SHIPPED.iter().map(|tenant| tenant.operator.as_ref().clone()).collect();
        let routes = operator::Routes::new(&owned).unwrap();
        let call = call::Limits {
            silent_after: Some(config.rtp.silence),
            max_call: config.limits.max_call,
            max_hold: config.limits.max_hold,
        };
        let snapshot = Snapshot::new(SHIPPED.clone(), routes, config);
        Self {
            data,
            exchange: Exchange::new(
                user_agent.with_registrar(registrar),
                Arc::new(snapshot),
                Limits { calls: 6, call },
                Ids::from_seed(2),
            ),
            now,
            tags: Default::default(),
            sent: VecDeque::new(),
            legs: BTreeMap::new(),
            request: None,
            questions: VecDeque::new(),
            begun: false,
            play: None,
            wound: None,
            transport: Transport::Udp,
            records: 0,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*first)
    }

    /// One of these; the first when the story has run out.
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let byte = self.byte().unwrap_or(0);
        all[usize::from(byte) % all.len()]
    }

    fn step(&mut self, step: u8) {
        match step % 16 {
            0 => self.raw(),
            1 => self.request("INVITE", false),
            2 | 3 => {
                let method = self.one_of(&METHODS);
                self.request(method, step % 16 == 2);
            }
            4 => self.respond(),
            5 => {
                let byte = u64::from(self.byte().unwrap_or(0));
                self.advance(Duration::from_millis(byte * byte * 4));
            }
            6 => self.press(),
            7 => self.media(),
            8 => self.answer(),
            9 => self.undelivered(),
            10 => {
                let input = match self.byte().unwrap_or(0) % 5 {
                    0 => Input::Overloaded(true),
                    1 => Input::Overloaded(false),
                    2 => Input::Drain { retry_after: 30 },
                    3 => Input::ShutDown,
                    _ => Input::Disconnected(Flow { listener: 0, connection: 1 }),
                };
                self.tell(input);
            }
            11 => {
                let (high, low) = (self.byte().unwrap_or(0), self.byte().unwrap_or(0));
                self.wound = Some((u16::from_be_bytes([high, low]), self.byte().unwrap_or(0)));
            }
            12 => self.transport = self.one_of(&Transport::ALL),
            13 => self.again(),
            14 => self.played(),
            _ => self.trunk(),
        }
    }

    /// What stands in the story, as it stands there.
    fn raw(&mut self) {
        let length = usize::from(self.byte().unwrap_or(0)) * 4;
        let (message, rest) = self.data.split_at(length.min(self.data.len()));
        self.data = rest;
        self.receive(message.to_vec());
    }

    /// A request of one of four calls, within its dialog or before it.
    fn request(&mut self, method: &str, within: bool) {
        let [call, cseq, how, more] = [0; 4].map(|_: u8| self.byte().unwrap_or(0));
        let call = usize::from(call) % self.tags.len();
        let tag =
            if within && !self.tags[call].is_empty() { format!(";tag={}", self.tags[call]) } else { String::new() };
        let (body, kind) = match how % 16 {
            sdp @ 0..=6 => (SDP[usize::from(sdp)].to_owned(), "application/sdp"),
            7 => (format!("Signal={}\r\nDuration=160\r\n", char::from(b'0' + more % 10)), "application/dtmf-relay"),
            8 => (char::from(more).to_string(), "application/dtmf"),
            9 => ("SIP/2.0 200 OK\r\n".to_owned(), "message/sipfrag"),
            _ => (String::new(), "application/sdp"),
        };
        let headers = HEADERS[usize::from(more) % HEADERS.len()];
        let number = 1 + u32::from(cseq % 8);
        // A CANCEL and an ACK of a refusal belong to the INVITE's transaction.
        let of_invite = matches!(method, "INVITE" | "CANCEL") || method == "ACK" && !within;
        let branch = if of_invite { format!("{call}i{number}") } else { format!("{call}{method}{number}{cseq}") };
        let user = ["*2363", "nobody", "*2583", "contesta"][usize::from(how >> 4) % 4];
        let via = self.transport.name();
        let length = body.len();
        let content_type = if body.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let contact = if headers.contains("Contact") { "" } else { "Contact: <sip:far@198.18.0.1:5070>\r\n" };
        let message = format!(
            "{method} sip:{user}@192.0.2.10 SIP/2.0\r\nVia: SIP/2.0/{via} 198.18.0.1:5070;branch=z9hG4bK{branch};rport\r\n\
             From: <sip:2221234567@198.18.0.1>;tag=far{call}\r\nTo: <sip:{user}@192.0.2.10>{tag}\r\nCall-ID: call{call}\r\n\
             CSeq: {number} {method}\r\n{contact}{headers}{content_type}Content-Length: {length}\r\n\r\n{body}"
        );
        self.receive(message.into_bytes());
    }

    /// A response to one of the requests that we sent.
    fn respond(&mut self) {
        let status = [100, 180, 183, 200, 202, 302, 401, 407, 408, 422, 481, 487, 491, 500, 503, 603];
        let [which, how] = [0; 2].map(|_: u8| self.byte().unwrap_or(0));
        let status = status[usize::from(how) % status.len()];
        let requests = self.sent.iter().filter(|(_, bytes)| !bytes.starts_with(b"SIP/2.0"));
        let requests: Vec<_> = requests.cloned().collect();
        let Some((_, request)) = requests.get(usize::from(which) % requests.len().max(1)) else { return };
        let text = String::from_utf8_lossy(request);
        let copied = text
            .lines()
            .take_while(|line| !line.is_empty())
            .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)));
        let copied: String = copied.flat_map(|line| [line, "\r\n"]).collect();
        let body = SDP[usize::from(how >> 4) % SDP.len()];
        let message = format!(
            "SIP/2.0 {status} Whatever\r\n{copied}Contact: <sip:far@198.18.0.1:5070>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.receive(message.into_bytes());
    }

    /// A key by one of its roads.
    fn press(&mut self) {
        let key = Digit::from_char(self.one_of(b"0123456789*#").into()).unwrap();
        let road = self.one_of(&[Road::TelephoneEvent, Road::Info, Road::InBand]);
        if let Some(leg) = self.leg(true) {
            self.tell(Input::Media(leg, media::Event::Digit(key, road)));
        }
    }

    fn media(&mut self) {
        let choice = self.byte().unwrap_or(0);
        let Some(leg) = self.leg(true) else { return };
        let event = match choice % 3 {
            0 => media::Event::Silent,
            1 => media::Event::Learned(SocketAddr::from(([198, 18, 0, 7], 4_000))),
            _ => {
                // The worker lost it.
                self.legs.remove(&leg);
                media::Event::Closed(media::LegReport::default())
            }
        };
        self.tell(Input::Media(leg, event));
    }

    fn answer(&mut self) {
        let result = self.one_of(&["ok", "not_found", "covered", "locked", "matches", ""]);
        let Some((leg, id)) = self.request.take() else { return };
        let mut values = Values::new();
        values.insert("folio".to_owned(), contesta::value::Value::Text("BLP-4821".to_owned()));
        let answer = match result {
            "" => Answer::Error("away".to_owned()),
            result => Answer::Result { result: result.to_owned(), values },
        };
        self.tell(Input::Answered { leg, id, answer });
    }

    fn played(&mut self) {
        if let Some((leg, play)) = self.play.take() {
            self.tell(Input::Media(leg, media::Event::Played(play)));
        }
    }

    /// The engine serves, or the DNS says something.
    fn trunk(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            return self.tell(Input::Begin);
        }
        let [choice, how] = [0; 2].map(|_: u8| self.byte().unwrap_or(0));
        let Some(question) = self.questions.pop_front() else { return };
        let target = ["carrier.example", "a.carrier.example", "b.carrier.example", ""][usize::from(how) % 4].to_owned();
        let ttl = Duration::from_secs(u64::from(how) * 4);
        let record = match (choice % 8, question.kind) {
            (0, _) => None,
            (1, _) => {
                let answer = locate::Answer::Failed("nobody".to_owned());
                return self.tell(Input::LookedUp { question, answer });
            }
            (2, locate::Kind::Aaaa) => Some(Record::Address("2001:db8::7".parse().unwrap())),
            (_, locate::Kind::A | locate::Kind::Aaaa) => Some(Record::Address([198, 18, 0, how].into())),
            (_, locate::Kind::Srv) => {
                Some(Record::Srv { priority: how.into(), weight: choice.into(), port: 5_060, target })
            }
            (_, locate::Kind::Naptr) => Some(Record::Naptr {
                order: how.into(),
                preference: 0,
                flags: ["s", "a", "u", ""][usize::from(choice >> 3) % 4].to_owned(),
                service: ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"][usize::from(choice >> 5) % 4].to_owned(),
                replacement: target,
            }),
        };
        let answer = match record {
            Some(record) => locate::Answer::Records { records: vec![record.clone(), record], ttl },
            None => locate::Answer::Nothing { ttl },
        };
        self.tell(Input::LookedUp { question, answer });
    }

    fn undelivered(&mut self) {
        let which = usize::from(self.byte().unwrap_or(0));
        let last = which.checked_rem(self.sent.len()).and_then(|which| self.sent.get(which)).cloned();
        if let Some((destination, bytes)) = last {
            self.tell(Input::Undelivered { destination, bytes });
        }
    }

    /// The network brings back what we sent.
    fn again(&mut self) {
        if let Some((_, bytes)) = self.sent.back().cloned() {
            self.receive(bytes.to_vec());
        }
    }

    fn leg(&mut self, started: bool) -> Option<LegId> {
        let legs: Vec<_> = self.legs.iter().filter(|(_, leg)| leg.started == started).map(|(id, _)| *id).collect();
        let which = usize::from(self.byte().unwrap_or(0));
        legs.get(which.checked_rem(legs.len())?).copied()
    }

    fn receive(&mut self, mut bytes: Vec<u8>) {
        if let Some((at, by)) = self.wound.take()
            && let Some(byte) = usize::from(at).checked_rem(bytes.len()).and_then(|at| bytes.get_mut(at))
        {
            *byte ^= by;
        }
        let flow = (self.transport != Transport::Udp).then_some(Flow { listener: 0, connection: 1 });
        let source = Peer { flow, ..Peer::new(self.transport, SocketAddr::from(([198, 18, 0, 1], 5_070))) };
        self.tell(Input::Message { source, bytes: bytes.into() });
    }

    fn tell(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.exchange.handle(self.now, input, &mut outputs);
        self.carry_out(outputs);
    }

    fn advance(&mut self, duration: Duration) {
        let end = self.now.instant + duration;
        for timeouts in 0.. {
            assert!(timeouts < TIMEOUTS_MAX, "timers go in circles");
            let Some((at, _)) = self.exchange.poll_timeout().filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            let mut outputs = Vec::new();
            self.exchange.handle_timeout(self.now, &mut outputs);
            self.carry_out(outputs);
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.instant));
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            let mut next = Vec::new();
            let mut tell = |input| self.exchange.handle(self.now, input, &mut next);
            match output {
                Output::Send { destination, bytes } => self.keep(destination, bytes),
                Output::OpenMedia { leg, .. } => {
                    self.legs.entry(leg).or_default();
                    let port = 10_000 + 2 * u16::try_from(leg.0 % 20_000).unwrap();
                    tell(Input::MediaOpened { leg, local: Ok(SocketAddr::new(IpAddr::from([192, 0, 2, 10]), port)) });
                }
                Output::StartMedia { leg, .. } => {
                    let known = self.legs.get_mut(&leg).expect("a leg that starts was opened");
                    assert!(!std::mem::replace(&mut known.started, true), "a leg starts once");
                }
                Output::Play(leg, play, _) => self.play = Some((leg, play)),
                Output::StartRecording { leg, .. } => {
                    if let Some(leg) = self.legs.get_mut(&leg) {
                        leg.recorded = true;
                    }
                }
                Output::CloseMedia(leg) => {
                    if let Some(Leg { started, recorded }) = self.legs.remove(&leg) {
                        if recorded {
                            tell(Input::Recorded(leg, media::RecordingReport::default()));
                        }
                        if started {
                            tell(Input::Media(leg, media::Event::Closed(media::LegReport::default())));
                        }
                    }
                }
                Output::LookUp(question) => self.questions.push_back(question),
                Output::Request { leg, id, .. } => self.request = Some((leg, id)),
                Output::Record(record) => {
                    self.records += 1;
                    assert!(!record.cause.starts_with("internal fault"), "a bug in a call's code");
                    assert!(
                        !record.cause.is_empty() && !record.result.is_empty(),
                        "a record says what became of its call"
                    );
                }
                _ => {}
            }
            outputs.extend(next);
        }
    }

    /// Whatever was said to us, what we say is SIP, and no line of it is broken.
    fn keep(&mut self, destination: Peer, bytes: Bytes) {
        // A keep-alive's answer is none.
        if let Some(message) = Message::scan(bytes.clone()) {
            assert_eq!(message.fault(), None, "we sent {:?}", String::from_utf8_lossy(&bytes));
            assert_eq!(message.repeated(), None, "we sent {:?}", String::from_utf8_lossy(&bytes));
            let text = String::from_utf8_lossy(&bytes);
            if let Some((_, tag)) =
                text.lines().find(|line| line.starts_with("To:")).and_then(|to| to.split_once(";tag="))
                && let Some(call) = text.lines().find_map(|line| line.strip_prefix("Call-ID: call"))
                && let Some(known) = call.parse().ok().and_then(|call: usize| self.tags.get_mut(call))
                && bytes.starts_with(b"SIP/2.0")
            {
                tag.clone_into(known);
            }
        }
        self.sent.push_back((destination, bytes));
        if self.sent.len() > 16 {
            self.sent.pop_front();
        }
    }

    /// Everyone hangs up, and all timers run out.
    fn end(mut self) {
        self.tell(Input::Drain { retry_after: 30 });
        self.tell(Input::ShutDown);
        self.advance(Duration::from_secs(300));
        assert_eq!(self.exchange.calls(), 0, "calls are left");
        assert_eq!(self.legs.len(), 0, "legs are left");
        // Registrations end at their own time.
        self.advance(Duration::from_secs(1_800));
        // Where gateways are is looked up for as long as the engine stands: calls that go on may need one.
        let left = self.exchange.poll_timeout().filter(|(_, why)| *why != Why::Trunk);
        assert_eq!(left, None, "timers are left");
    }
}
