//! One SIP message over the datagram it came in (RFC 3261 §7): a scanner that finds lines and keeps offsets, copying nothing.
//!
//! Scanning decides what is a header and what is body; what a header means is read later, by those who ask for it
//! (`header/*`). A message with a fault is still a message: its readable headers carry the 400 back to the sender.

use bytes::Bytes;

use super::cursor::{decimal, is_token, trim};
use super::header::{Malformed, Name, content_length};
use super::method::Method;

/// Longest message we read, in bytes: what a UDP datagram can carry.
pub const MESSAGE_SIZE_MAX: usize = 65_535;
/// Most header lines of a message.
pub const HEADERS_MAX: usize = 256;
/// Header lines that there is room for at once.
const HEADERS_USUAL: usize = 24;
/// Most Via hops of a message: each costs a copy in every response.
pub const VIAS_MAX: usize = 70;

/// Why a message cannot be handled. Caused by the peer; [`status`](Fault::status) is what it gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something other than `SIP/2.0`.
    #[error("SIP version is not 2.0")]
    Version,
    /// The request line breaks its grammar.
    #[error("bad request line: {0}")]
    RequestLine(&'static str),
    /// A header line without a colon, or with a name that is no token.
    #[error("bad header line")]
    HeaderLine,
    /// The datagram ends before the empty line.
    #[error("no empty line behind the headers")]
    Truncated,
    /// More than [`HEADERS_MAX`] lines.
    #[error("too many headers")]
    TooManyHeaders,
    /// More than [`VIAS_MAX`] hops.
    #[error("too many Via hops")]
    TooManyVias,
    /// More than [`MESSAGE_SIZE_MAX`] bytes.
    #[error("message too large")]
    TooLarge,
    /// Content-Length says more than the datagram holds (RFC 3261 §18.3).
    #[error("body shorter than Content-Length")]
    ShortBody,
    /// A mandatory header is missing (RFC 3261 §8.1.1).
    #[error("{0} is missing")]
    Missing(Name),
    /// A header that may stand once stands twice (RFC 4475 §3.3.8).
    #[error("more than one {0}")]
    Repeated(Name),
    /// A header breaks its grammar.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// CSeq names another method than the request line (RFC 3261 §8.1.1.5).
    #[error("method of CSeq is not the request's")]
    CSeqMethod,
}

impl Fault {
    /// The status that tells the peer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::TooLarge => 513,
            Self::RequestLine(_)
            | Self::HeaderLine
            | Self::Truncated
            | Self::TooManyHeaders
            | Self::TooManyVias
            | Self::ShortBody
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Malformed(_)
            | Self::CSeqMethod => 400,
        }
    }
}

/// What the first line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request.
    Request {
        /// Its method.
        method: Method,
        /// The Request-URI as written.
        uri: &'a [u8],
    },
    /// A response.
    Response {
        /// 100 to 699; 0 when what stands there is no status.
        status: u16,
    },
}

/// A scanned message. Its spans lie within `bytes`.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    start: Start,
    fields: Vec<Field>,
    /// Behind which number of fields the first of each name stands; 0: there is none.
    firsts: [u16; Name::COUNT],
    /// The first name that may stand once and came again.
    repeated: Option<Name>,
    body: Span,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Request { method: Method, method_name: Span, uri: Span },
    Response { status: u16 },
}

/// One header line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: Name,
    value: Span,
}

/// Where a part of the bytes stands. Half as wide as a `usize`, for each header line has one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Message {
    /// Scans a datagram. `None` when it is nothing that SIP would answer: a keep-alive of line ends (RFC 5626 §3.5.1), STUN,
    /// noise. Bytes behind the body are left out (RFC 3261 §18.3).
    #[must_use]
    pub fn scan(datagram: Bytes) -> Option<Self> {
        let mut lines = Lines::new(&datagram);
        // RFC 3261 §7.5: empty lines before the start line are ignored.
        let first = loop {
            let line = lines.next()?;
            if !line.is_empty() {
                break line;
            }
        };
        let (start, mut fault) = read_start_line(&datagram, first)?;
        let mut fields: Vec<Field> = Vec::with_capacity(HEADERS_USUAL);
        let (mut firsts, mut repeated) = ([0; Name::COUNT], None);
        let mut ended = false;
        // The line before is no header, so what continues it is none either.
        let mut broken = false;
        while let Some(line) = lines.next() {
            let text = line.of(&datagram);
            match text.first() {
                None => {
                    ended = true;
                    break;
                }
                // RFC 3261 §7.3.1: a line that begins with a blank continues the one before.
                Some(b' ' | b'\t') if broken => {}
                Some(b' ' | b'\t') => match fields.last_mut() {
                    Some(field) => field.value.end = line.end,
                    None => fault = fault.or(Some(Fault::HeaderLine)),
                },
                Some(_) if fields.len() == HEADERS_MAX => {
                    fault = fault.or(Some(Fault::TooManyHeaders));
                    break;
                }
                Some(_) => match read_field(text, line.start()) {
                    Some(field) => {
                        fields.push(field);
                        match &mut firsts[field.name as usize] {
                            first @ 0 => *first = fields.len() as u16, // HEADERS_MAX at most
                            _ if field.name.is_single() => repeated = repeated.or(Some(field.name)),
                            _ => {}
                        }
                        broken = false;
                    }
                    None => {
                        fault = fault.or(Some(Fault::HeaderLine));
                        broken = true;
                    }
                },
            }
        }
        if !ended {
            fault = fault.or(Some(Fault::Truncated));
        }
        if datagram.len() > MESSAGE_SIZE_MAX {
            fault = Some(Fault::TooLarge);
        }
        let body = Span::new(lines.at.min(datagram.len()), datagram.len());
        let mut message = Self { bytes: datagram, start, fields, firsts, repeated, body, fault };
        message.cut_body();
        Some(message)
    }

    /// Applies Content-Length (RFC 3261 §18.3).
    fn cut_body(&mut self) {
        let Some(value) = self.value(Name::ContentLength) else { return };
        match content_length::parse(value) {
            Ok(length) if length <= self.body.end() - self.body.start() => {
                self.body = Span::new(self.body.start(), self.body.start() + length);
            }
            // Whoever announces such a body shall not be asked for the rest of it.
            Ok(MESSAGE_SIZE_MAX..) => self.fault = self.fault.or(Some(Fault::TooLarge)),
            Ok(_) => self.fault = self.fault.or(Some(Fault::ShortBody)),
            Err(malformed) => self.fault = self.fault.or(Some(Fault::Malformed(malformed))),
        }
    }

    /// What scanning found wrong first, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The first line.
    #[must_use]
    pub fn start_line(&self) -> StartLine<'_> {
        match self.start {
            Start::Request { method, uri, .. } => StartLine::Request { method, uri: uri.of(&self.bytes) },
            Start::Response { status } => StartLine::Response { status },
        }
    }

    /// A request's method as written; empty for a response.
    #[must_use]
    pub fn method_name(&self) -> &[u8] {
        match self.start {
            Start::Request { method_name, .. } => method_name.of(&self.bytes),
            Start::Response { .. } => b"",
        }
    }

    /// The first value of this header, without white space at its ends.
    #[must_use]
    pub fn value(&self, name: Name) -> Option<&[u8]> {
        self.since_first(name).first().map(|field| trim(field.value.of(&self.bytes)))
    }

    /// The values of all lines of this header, top down.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let fields = self.since_first(name).iter().filter(move |field| field.name == name);
        fields.map(|field| trim(field.value.of(&self.bytes)))
    }

    /// The fields from the first of this name on.
    fn since_first(&self, name: Name) -> &[Field] {
        let before = usize::from(self.firsts[name as usize]).checked_sub(1);
        before.and_then(|before| self.fields.get(before..)).unwrap_or_default()
    }

    /// The first header that may stand once and stands more often.
    #[must_use]
    pub fn repeated(&self) -> Option<Name> {
        self.repeated
    }

    /// All of it, as it came.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The body, sharing the datagram's memory.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body.start()..self.body.end())
    }

    /// Whether there is a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.body.end > self.body.start
    }
}

impl Field {
    pub(super) fn name(&self) -> Name {
        self.name
    }

    pub(super) fn value(&self) -> Span {
        self.value
    }
}

impl Span {
    /// No message is as long as that; behind it nothing is found.
    fn new(start: usize, end: usize) -> Self {
        Self { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Lines ended by CRLF. A bare LF is taken as well: it costs nothing, and test tools send it.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn next(&mut self) -> Option<Span> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let Some(length) = memchr::memchr(b'\n', rest) else {
            self.at = self.bytes.len();
            return Some(Span::new(start, self.bytes.len()));
        };
        self.at = start + length + 1;
        let carriage_return = rest.get(..length).is_some_and(|line| line.last() == Some(&b'\r'));
        Some(Span::new(start, start + length - usize::from(carriage_return)))
    }
}

/// Reads the first line; `None` when it is not SIP's.
fn read_start_line(bytes: &[u8], line: Span) -> Option<(Start, Option<Fault>)> {
    const VERSION: &[u8] = b"SIP/2.0";
    let text = line.of(bytes);
    if let Some(rest) = text.strip_prefix(b"SIP/") {
        // A response of another version or with a status of its own matches nothing and is dropped later.
        let status =
            rest.strip_prefix(b"2.0 ").and_then(|rest| decimal::<u16>(rest.get(..3)?).filter(|_| !more_digits(rest)));
        return Some((
            Start::Response { status: status.filter(|status| (100..700).contains(status)).unwrap_or(0) },
            None,
        ));
    }
    if !text.ends_with(VERSION) && !text.windows(4).any(|window| window == b"SIP/") {
        return None;
    }
    let first = text.iter().position(|&byte| byte == b' ')?;
    let last = text.iter().rposition(|&byte| byte == b' ')?;
    let name = text.get(..first)?;
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return None;
    }
    let version = text.get(last + 1..).unwrap_or_default();
    let uri = Span::new(line.start() + first + 1, line.start() + last);
    let fault = if uri.is_empty() || uri.of(bytes).contains(&b' ') {
        Some(Fault::RequestLine("blanks in it do not separate three parts"))
    } else if version.eq_ignore_ascii_case(VERSION) {
        None
    } else if version.starts_with(b"SIP/") {
        Some(Fault::Version)
    } else {
        Some(Fault::RequestLine("no version at its end"))
    };
    let method_name = Span::new(line.start(), line.start() + first);
    Some((Start::Request { method: Method::of(name), method_name, uri }, fault))
}

fn more_digits(status: &[u8]) -> bool {
    status.get(3).is_some_and(u8::is_ascii_digit)
}

/// Reads a header line that begins at `start`; `None` without a colon, or with a name that is no token.
pub(super) fn read_field(line: &[u8], start: usize) -> Option<Field> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let text = trim(line.get(..colon)?);
    let name = Name::of(text);
    // The names that we know are tokens.
    if name == Name::Other && (text.is_empty() || !text.iter().copied().all(is_token)) {
        return None;
    }
    Some(Field { name, value: Span::new(start + colon + 1, start + line.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Message {
        Message::scan(Bytes::copy_from_slice(text.as_bytes())).expect("a message")
    }

    #[test]
    fn headers_and_body_are_found_where_they_stand() {
        let message = scan(concat!(
            "\r\n\r\nINVITE sip:*2363@example.com SIP/2.0\r\nv: SIP/2.0/UDP a\r\nVia:SIP/2.0/UDP b\r\n",
            "Subject : one\r\n two\r\n\tthree \r\nContent-Length: 4\r\n\r\nv=0\nSIP/2.0 200 OK\r\n\r\n",
        ));
        assert_eq!(message.fault(), None);
        assert_eq!(message.start_line(), StartLine::Request { method: Method::Invite, uri: b"sip:*2363@example.com" });
        assert_eq!(message.values(Name::Via).collect::<Vec<_>>(), [b"SIP/2.0/UDP a", b"SIP/2.0/UDP b"]);
        assert_eq!(message.value(Name::Other), Some(&b"one\r\n two\r\n\tthree"[..]));
        assert_eq!(message.body(), "v=0\n");
    }

    #[test]
    fn what_is_not_sip_is_nothing() {
        let stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl";
        for noise in [&b""[..], b"\r\n\r\n", b"\r\n", stun, b"hello\r\n\r\n", b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"] {
            assert!(Message::scan(Bytes::copy_from_slice(noise)).is_none(), "{noise:?}");
        }
    }

    #[test]
    fn faults_name_what_is_wrong() {
        let table = [
            ("OPTIONS sip:a SIP/7.0\r\n\r\n", Fault::Version),
            ("OPTIONS  sip:a SIP/2.0\r\n\r\n", Fault::RequestLine("blanks in it do not separate three parts")),
            ("OPTIONS sip:a SIP/2.0 \r\n\r\n", Fault::RequestLine("blanks in it do not separate three parts")),
            ("OPTIONS sip:a;SIP/2.0 x\r\n\r\n", Fault::RequestLine("no version at its end")),
            ("OPTIONS sip:a SIP/2.0\r\nno colon\r\n\r\n", Fault::HeaderLine),
            ("OPTIONS sip:a SIP/2.0\r\n folds nothing\r\n\r\n", Fault::HeaderLine),
            ("OPTIONS sip:a SIP/2.0\r\nTo: sip:a", Fault::Truncated),
            ("OPTIONS sip:a SIP/2.0\r\nl: 9\r\n\r\nshort", Fault::ShortBody),
            ("OPTIONS sip:a SIP/2.0\r\nl: 65535\r\n\r\nshort", Fault::TooLarge),
        ];
        for (text, expected) in table {
            assert_eq!(scan(text).fault(), Some(expected), "{text}");
        }
        assert_eq!(scan("OPTIONS sip:a SIP/2.0\nl: -1\n\n").fault().map(Fault::status), Some(400));
    }

    #[test]
    fn what_continues_a_broken_line_is_not_the_header_before() {
        let message = scan("OPTIONS sip:a SIP/2.0\r\nTo: sip:a\r\nno colon\r\n ;tag=1\r\nCall-ID: c\r\n d\r\n\r\n");
        assert_eq!((message.value(Name::To), message.fault()), (Some(b"sip:a".as_slice()), Some(Fault::HeaderLine)));
        assert_eq!(message.value(Name::CallId), Some(b"c\r\n d".as_slice()));
    }

    #[test]
    fn bounds_hold() {
        let at_bound = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX));
        assert_eq!(scan(&at_bound).fault(), None);
        let above = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(scan(&above).fault(), Some(Fault::TooManyHeaders));
        let large = format!("OPTIONS sip:a SIP/2.0\r\n\r\n{}", "x".repeat(MESSAGE_SIZE_MAX));
        assert_eq!(scan(&large).fault(), Some(Fault::TooLarge));
    }

    #[test]
    fn statuses_out_of_range_are_no_status() {
        for (line, expected) in [
            ("SIP/2.0 200 OK", 200),
            ("SIP/2.0 100 ", 100),
            ("SIP/2.0 4294967301 better", 0),
            ("SIP/2.0 099 x", 0),
            ("SIP/2.0 700 x", 0),
            ("SIP/2.0 2", 0),
            ("SIP/7.0 200 OK", 0),
        ] {
            assert_eq!(
                scan(&format!("{line}\r\n\r\n")).start_line(),
                StartLine::Response { status: expected },
                "{line}"
            );
        }
    }

    #[test]
    fn repeated_singles_are_seen() {
        assert_eq!(scan("BYE sip:a SIP/2.0\r\ni: 1\r\nCall-ID: 1\r\n\r\n").repeated(), Some(Name::CallId));
        assert_eq!(scan("BYE sip:a SIP/2.0\r\nv: 1\r\nVia: 1\r\nX: 1\r\nX: 1\r\n\r\n").repeated(), None);
    }
}
