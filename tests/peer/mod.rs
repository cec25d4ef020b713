//! A far end for tests: it speaks SIP as plain text and owns the clock, so that a test reads as a story.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

pub mod mutation;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::ids::{Ids, LegId};
use contesta::sip::{Action, Event, Peer, Settings, UserAgent};

/// Where the user agent lives.
pub const US: &str = "192.0.2.10:5060";
/// Where the far end sends from.
pub const PEER: &str = "192.0.2.20:5062";
/// A small offer.
pub const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
/// A small answer.
pub const ANSWER: &str =
    "v=0\r\no=- 2 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n";

/// A user agent, the time, and the far end.
pub struct Line {
    pub agent: UserAgent,
    pub now: Instant,
    pub start: Instant,
    pub peer: Peer,
    /// For each leg ever heard of, how often it ended.
    pub ends: BTreeMap<LegId, u32>,
}

impl Line {
    pub fn new() -> Self {
        Self::with(Settings::new(US.parse().unwrap()))
    }

    pub fn with(settings: Settings) -> Self {
        let start = Instant::now();
        Self {
            agent: UserAgent::new(settings, Ids::from_seed(7)),
            now: start,
            start,
            peer: Peer::udp(PEER.parse().unwrap()),
            ends: BTreeMap::new(),
        }
    }

    /// Gives the user agent a message.
    pub fn receive(&mut self, message: impl Into<Bytes>) -> Vec<Action> {
        let mut out = Vec::new();
        self.agent.handle_message(self.now, self.peer, message.into(), &mut out);
        self.note(&out);
        out
    }

    /// Asks something of the user agent.
    pub fn ask(&mut self, what: impl FnOnce(&mut UserAgent, Instant, &mut Vec<Action>)) -> Vec<Action> {
        let mut out = Vec::new();
        what(&mut self.agent, self.now, &mut out);
        self.note(&out);
        out
    }

    /// Keeps `ends`, and holds each leg to it: nothing is told of a leg behind its end.
    fn note(&mut self, actions: &[Action]) {
        for event in events(actions) {
            let leg = match &event {
                Event::Invited { leg, .. }
                | Event::Confirmed { leg, .. }
                | Event::Reoffered { leg, .. }
                | Event::Acknowledged { leg, .. }
                | Event::Referred { leg, .. }
                | Event::InfoAnswered { leg, .. }
                | Event::ReferAnswered { leg, .. }
                | Event::ReferReported { leg, .. }
                | Event::OfferWanted { leg }
                | Event::Reanswered { leg, .. }
                | Event::Unchanged { leg, .. }
                | Event::Rerouted { leg, .. }
                | Event::Info { leg, .. }
                | Event::Ringing { leg, .. }
                | Event::Answered { leg, .. }
                | Event::Ended { leg, .. } => *leg,
                Event::Registrar(_) | Event::Responded { .. } => continue,
            };
            let ends = self.ends.entry(leg).or_default();
            assert_eq!(*ends, 0, "told of a leg that is over: {event:?}");
            *ends += u32::from(matches!(event, Event::Ended { .. }));
        }
    }

    pub fn accept(&mut self, leg: LegId) -> Vec<Action> {
        self.ask(|agent, now, out| agent.accept(now, leg, Bytes::from_static(ANSWER.as_bytes()), out))
    }

    /// Lets time pass, firing every timer at its moment. Each action comes with the milliseconds since the start.
    pub fn advance(&mut self, duration: Duration) -> Vec<(u128, Action)> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while let Some((at, _)) = self.agent.poll_timeout().filter(|(at, _)| *at <= end) {
            assert!(at >= self.now, "a timer in the past");
            self.now = at;
            let mut out = Vec::new();
            self.agent.handle_timeout(at, &mut out);
            self.note(&out);
            all.extend(out.into_iter().map(|action| ((at - self.start).as_millis(), action)));
        }
        self.now = end;
        all
    }

    /// An INVITE, its 100, and the leg that it made.
    pub fn invited(&mut self, call: &Call) -> LegId {
        let actions = self.receive(call.invite());
        match &actions[..] {
            [Action::Send { message, .. }, Action::Event(Event::Invited { leg, .. })] => {
                assert_eq!(status(message), 100);
                *leg
            }
            other => panic!("not invited: {other:?}"),
        }
    }

    /// A call that was answered and acknowledged.
    pub fn established(&mut self, call: &mut Call) -> LegId {
        let leg = self.invited(call);
        let actions = self.accept(leg);
        call.to_tag = to_tag(&sent(&actions)[0]);
        let actions = self.receive(call.request("ACK", 1, "ack", "", ""));
        assert_eq!(actions, [Action::Event(Event::Confirmed { leg, answer: None })]);
        leg
    }

    /// Whether OPTIONS outside any dialog gets its 200.
    pub fn is_alive(&mut self, unique: &str) -> bool {
        let options = format!(
            "OPTIONS sip:contesta@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKalive{unique}\r\n\
            From: <sip:probe@{PEER}>;tag=p\r\nTo: <sip:contesta@{US}>\r\nCall-ID: alive{unique}\r\nCSeq: 1 OPTIONS\r\n\
            Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        statuses(&self.receive(options)) == [200]
    }
}

/// One call of the far end.
#[derive(Clone)]
pub struct Call {
    pub id: String,
    pub to_tag: String,
    pub headers: String,
    pub body: String,
}

impl Call {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), to_tag: String::new(), headers: String::new(), body: OFFER.to_owned() }
    }

    pub fn invite(&self) -> String {
        let headers = format!("Contact: <sip:alice@{PEER}>\r\n{}", self.headers);
        let headers =
            if self.body.is_empty() { headers } else { format!("{headers}Content-Type: application/sdp\r\n") };
        self.request("INVITE", 1, "invite", &headers, &self.body)
    }

    /// A request of this call. `branch` names its transaction, `headers` are whole lines.
    pub fn request(&self, method: &str, cseq: u32, branch: &str, headers: &str, body: &str) -> String {
        let Self { id, to_tag, .. } = self;
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        format!(
            "{method} sip:*2363@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{id}{branch};rport\r\n\
            From: \"Alice\" <sip:alice@example.com>;tag=far{id}\r\nTo: <sip:*2363@{US}>{to_tag}\r\nCall-ID: {id}\r\n\
            CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// A response to a request of ours: its Via, From, To, Call-ID and CSeq copied.
pub fn response(request: &[u8], status: u16, to_tag: &str, headers: &str, body: &str) -> String {
    let text = String::from_utf8_lossy(request);
    let mut out = format!("SIP/2.0 {status} Whatever\r\n");
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            out.push_str(&format!("{line}\r\n"));
        } else if line.starts_with("To:") {
            let tag =
                if line.contains(";tag=") || to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
            out.push_str(&format!("{line}{tag}\r\n"));
        }
    }
    format!("{out}{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The datagrams among the actions.
pub fn sent(actions: &[Action]) -> Vec<Bytes> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { message, .. } => Some(message.clone()),
            Action::Event(_) => None,
        })
        .collect()
}

/// The events among the actions.
pub fn events(actions: &[Action]) -> Vec<Event> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send { .. } => None,
            Action::Event(event) => Some(event.clone()),
        })
        .collect()
}

/// First lines of what was sent, without `SIP/2.0`: `180 Ringing`, `BYE sip:…`.
pub fn first_lines(actions: &[Action]) -> Vec<String> {
    sent(actions).iter().map(|datagram| first_line(datagram)).collect()
}

pub fn first_line(datagram: &[u8]) -> String {
    let text = String::from_utf8_lossy(datagram);
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("SIP/2.0 ").trim_end_matches(" SIP/2.0").to_owned()
}

/// The statuses of the responses sent.
pub fn statuses(actions: &[Action]) -> Vec<u16> {
    sent(actions).iter().map(|datagram| status(datagram)).collect()
}

/// The status of a response; 0 for a request.
pub fn status(datagram: &[u8]) -> u16 {
    first_line(datagram).split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The value of the first line of this header.
pub fn header(datagram: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(datagram);
    let prefix = format!("{name}: ");
    text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

pub fn to_tag(datagram: &[u8]) -> String {
    header(datagram, "To").and_then(|to| to.split(";tag=").nth(1).map(str::to_owned)).unwrap_or_default()
}
