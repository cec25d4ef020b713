//! What SIP costs: reading an INVITE beside `rsip`, and a whole call through the user agent, and through the exchange.
//!
//! `cargo bench --bench sip_parse`. The bars: an INVITE of 1,300 bytes with its typed headers in 1.5 µs and twelve allocations (the
//! table counts them), a call in 40 µs.
#![expect(clippy::disallowed_methods, reason = "a bench reads files, and begins its simulated time somewhere")]
#![expect(clippy::expect_used, reason = "a bench that cannot run must stop")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::call;
use contesta::config::Config;
use contesta::edge::serving::{self, Served};
use contesta::exchange::{Exchange, Input, Limits, Output, Snapshot};
use contesta::ids::Ids;
use contesta::media::{self, LegReport};
use contesta::now::Now;
use contesta::sip::envelope::Envelope;
use contesta::sip::header::{Name, contact};
use contesta::sip::message::Message;
use contesta::sip::{Action, Event, Peer, Settings, UserAgent};

const INVITE: &str = concat!(
    "INVITE sip:*2363@192.0.2.10:5060 SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 192.0.2.20:5062;branch=z9hG4bK74bf9;rport\r\n",
    "Max-Forwards: 70\r\n",
    "From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n",
    "To: <sip:2363@192.0.2.10>\r\n",
    "Call-ID: 3848276298220188511@atlanta.example.com\r\n",
    "CSeq: 1 INVITE\r\n",
    "Contact: <sip:alice@192.0.2.20:5062;transport=udp>\r\n",
    "User-Agent: Phone 1.0\r\n",
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY\r\n",
    "Supported: replaces, timer\r\n",
    "Content-Type: application/sdp\r\n",
    "Content-Length: 138\r\n\r\n",
    "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n",
    "m=audio 49172 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n",
);

/// The INVITE of a carrier's trunk, 1,300 bytes: a proxy on the way, an identity, a phone's whole description.
const LARGE_INVITE: &str = concat!(
    "INVITE sip:2363@192.0.2.10:5060;user=phone SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK0c8f1e4d2a6b7;rport\r\n",
    "Via: SIP/2.0/UDP 192.0.2.20:5062;branch=z9hG4bK74bf9a1e;received=192.0.2.20;rport=5062\r\n",
    "Record-Route: <sip:198.51.100.7;lr;ftag=9fxced76sl>\r\n",
    "Max-Forwards: 69\r\n",
    "From: \"Alicia Hernández\" <sip:+522221234567@atlanta.example.com;user=phone>;tag=9fxced76sl\r\n",
    "To: <sip:2363@192.0.2.10;user=phone>\r\n",
    "Call-ID: 3848276298220188511@atlanta.example.com\r\n",
    "CSeq: 102 INVITE\r\n",
    "Contact: <sip:+522221234567@192.0.2.20:5062;transport=udp>;expires=3600\r\n",
    "P-Asserted-Identity: <sip:+522221234567@atlanta.example.com>\r\n",
    "P-Charging-Vector: icid-value=8f1e4d2a6b70;orig-ioi=atlanta.mx\r\n",
    "User-Agent: Trunk Gateway 7.4.2\r\n",
    "Date: Sun, 15 Mar 2026 08:30:00 GMT\r\n",
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, PRACK, UPDATE\r\n",
    "Supported: replaces, timer, 100rel\r\n",
    "Session-Expires: 1800;refresher=uac\r\n",
    "Min-SE: 90\r\n",
    "Content-Type: application/sdp\r\n",
    "Content-Length: 314\r\n\r\n",
    "v=0\r\no=gateway 2890844526 2890844526 IN IP4 192.0.2.20\r\ns=call\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n",
    "m=audio 49172 RTP/AVP 8 0 9 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\n",
    "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n",
    "a=ptime:20\r\na=sendrecv\r\n",
);

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A message whose name in the table is its length.
#[derive(Clone, Copy)]
struct Named(&'static str);

impl std::fmt::Display for Named {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// Scanning, then Via, From, To, Call-ID, CSeq, Request-URI and Contact, typed.
#[divan::bench(args = [INVITE, LARGE_INVITE].map(Named))]
fn invite_ours(bencher: divan::Bencher, invite: Named) {
    let datagram = Bytes::from_static(invite.0.as_bytes());
    bencher.bench(|| {
        let message = Message::scan(black_box(datagram.clone())).expect("a message");
        let envelope = Envelope::read(&message).expect("well formed");
        let contact = contact::parse(message.value(Name::Contact).expect("a Contact")).expect("well formed");
        (envelope.cseq.number, contact.uri.port)
    });
}

/// The same with `rsip`. Its URIs cannot hold `*`.
#[divan::bench(args = [INVITE, LARGE_INVITE].map(Named))]
fn invite_rsip(bencher: divan::Bencher, invite: Named) {
    use rsip::headers::ToTypedHeader;
    use rsip::message::HeadersExt;
    let text = invite.0.replace("*2363", "2363");
    bencher.bench(|| {
        let request = rsip::Request::try_from(black_box(text.as_bytes())).expect("a request");
        let via = request.via_header().expect("Via").typed().expect("well formed");
        let from = request.from_header().expect("From").typed().expect("well formed");
        let to = request.to_header().expect("To").typed().expect("well formed");
        let cseq = request.cseq_header().expect("CSeq").typed().expect("well formed");
        let contact = request.contact_header().expect("Contact").typed().expect("well formed");
        (via, from, to, cseq, contact)
    });
}

/// INVITE, 100, 180, 200, ACK, BYE, 200, and the timers that end its transactions:
/// 10,000 samples are 100 s of simulated time, so that timers fire as often as they are set.
#[divan::bench(sample_count = 10_000)]
fn whole_call(bencher: divan::Bencher) {
    let mut caller = Caller::new();
    bencher.bench_local(|| caller.call());
}

/// The same beside 10,000 calls that are up.
#[divan::bench(sample_count = 10_000)]
fn whole_call_beside_10_000(bencher: divan::Bencher) {
    let mut caller = Caller::new();
    for _ in 0..10_000 {
        caller.set_up();
    }
    bencher.bench_local(|| caller.call());
}

/// A call to the shipped menu through the whole exchange: routed, its SDP answered, its flow begun and ended, its ladder and its record
/// written. What a media worker and the store do with it is not in the figure.
#[divan::bench(sample_count = 10_000)]
fn whole_call_through_exchange(bencher: divan::Bencher) {
    let mut caller = ExchangeCaller::new();
    bencher.bench_local(|| caller.call());
}

struct ExchangeCaller {
    exchange: Exchange,
    now: Now,
    source: Peer,
    number: u64,
    out: Vec<Output>,
    tag: String,
    recorded: usize,
}

impl ExchangeCaller {
    fn new() -> Self {
        let Served { tenants, routes, .. } =
            serving::load(Path::new("flows"), Path::new("prompts")).expect("the shipped flows");
        let config = Arc::new(Config::default());
        let call = call::Limits {
            silent_after: Some(config.rtp.silence),
            max_call: config.limits.max_call,
            max_hold: config.limits.max_hold,
        };
        let agent = UserAgent::new(Settings::new(SocketAddr::from(([192, 0, 2, 10], 5060))), Ids::from_seed(1));
        let snapshot = Arc::new(Snapshot::new(tenants, routes, config));
        Self {
            exchange: Exchange::new(agent, snapshot, Limits { calls: 20_000, call }, Ids::from_seed(2)),
            now: Now { instant: Instant::now(), wall: "2026-03-10T17:00:00Z".parse().expect("a moment") },
            source: Peer::udp(SocketAddr::from(([192, 0, 2, 20], 5062))),
            number: 0,
            out: Vec::new(),
            tag: String::new(),
            recorded: 0,
        }
    }

    fn tell(&mut self, input: Input) {
        self.exchange.handle(self.now, input, &mut self.out);
        self.carry_out();
    }

    /// What the edge does, but for the outside.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it asks for, this call has no use for it")]
    fn carry_out(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::OpenMedia { leg, .. } => {
                    let local = Ok(SocketAddr::from(([192, 0, 2, 10], 20_000)));
                    self.tell(Input::MediaOpened { leg, local });
                }
                Output::Send { bytes, .. } if bytes.starts_with(b"SIP/2.0 200") => self.tag = to_tag(&bytes),
                Output::CloseMedia(leg) => self.tell(Input::Media(leg, media::Event::Closed(LegReport::default()))),
                Output::Record(record) => self.recorded += usize::from(!record.ladder.is_empty()),
                _ => {}
            }
        }
    }

    fn call(&mut self) {
        self.number += 1;
        for (method, number) in [("INVITE", 1), ("ACK", 1), ("BYE", 2)] {
            let tag = if method == "INVITE" { "" } else { &self.tag };
            let bytes = message(self.number, method, number, tag);
            self.tell(Input::Message { source: self.source, bytes });
        }
        self.now = self.now.after(Duration::from_millis(10));
        self.exchange.handle_timeout(self.now, &mut self.out);
        self.carry_out();
        assert_eq!(self.recorded as u64, self.number, "every call is answered, ended and recorded");
    }
}

struct Caller {
    agent: UserAgent,
    now: Instant,
    source: SocketAddr,
    number: u64,
    out: Vec<Action>,
}

impl Caller {
    fn new() -> Self {
        let settings = Settings::new(SocketAddr::from(([192, 0, 2, 10], 5060)));
        let agent = UserAgent::new(settings, Ids::from_seed(1));
        let source = SocketAddr::from(([192, 0, 2, 20], 5062));
        Self { agent, now: Instant::now(), source, number: 0, out: Vec::new() }
    }

    fn message(&self, method: &str, number: u32, to_tag: &str) -> Bytes {
        message(self.number, method, number, to_tag)
    }

    fn receive(&mut self, datagram: Bytes) {
        self.agent.handle_message(self.now, Peer::udp(self.source), datagram, &mut self.out);
    }

    /// Up to the ACK; our tag.
    fn set_up(&mut self) -> String {
        self.number += 1;
        self.receive(self.message("INVITE", 1, ""));
        let leg = self.out.iter().find_map(|action| match action {
            Action::Event(Event::Invited { leg, .. }) => Some(*leg),
            Action::Event(_) | Action::Send { .. } => None,
        });
        let leg = leg.expect("invited");
        self.out.clear();
        self.agent.progress(self.now, leg, 180, Bytes::new(), &mut self.out);
        self.agent.accept(self.now, leg, Bytes::from_static(b"v=0\r\n"), &mut self.out);
        let tag = match self.out.last() {
            Some(Action::Send { message: datagram, .. }) => to_tag(datagram),
            Some(Action::Event(_)) | None => panic!("no answer"),
        };
        self.receive(self.message("ACK", 1, &tag));
        self.out.clear();
        tag
    }

    fn call(&mut self) {
        let tag = self.set_up();
        self.receive(self.message("BYE", 2, &tag));
        self.out.clear();
        // A hundred calls a second: at any moment 3,200 of them have a transaction that waits for its end.
        self.now += Duration::from_millis(10);
        self.agent.handle_timeout(self.now, &mut self.out);
        self.out.clear();
    }
}

/// A message of a call. What this costs is in the figures too: a tenth of a microsecond each.
fn message(call: u64, method: &str, number: u32, to_tag: &str) -> Bytes {
    let (head, rest) = INVITE.split_at("INVITE".len());
    debug_assert_eq!(head, "INVITE");
    let mut text = String::with_capacity(INVITE.len() + 64);
    text.push_str(method);
    let mut rest = rest;
    let mut change = |what: &str, to: std::fmt::Arguments<'_>| {
        let (before, after) = rest.split_once(what).expect("it stands in the INVITE");
        rest = after;
        text.push_str(before);
        let _written = std::fmt::write(&mut text, to);
    };
    change("74bf9", format_args!("{call}{method}"));
    let tag = if to_tag.is_empty() { "" } else { ";tag=" };
    change("<sip:2363@192.0.2.10>", format_args!("<sip:2363@192.0.2.10>{tag}{to_tag}"));
    change("3848276298220188511", format_args!("{call}"));
    change("1 INVITE", format_args!("{number} {method}"));
    text.push_str(rest);
    Bytes::from(text)
}

fn to_tag(datagram: &[u8]) -> String {
    let message = Message::scan(Bytes::copy_from_slice(datagram)).expect("a message");
    let to = message.value(Name::To).map(|to| String::from_utf8_lossy(to).into_owned()).unwrap_or_default();
    to.split(";tag=").nth(1).unwrap_or_default().to_owned()
}
