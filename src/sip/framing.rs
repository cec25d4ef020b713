//! Messages out of a stream of bytes (RFC 3261 §18.3, §7.5), and the line ends between them that keep a connection alive
//! (RFC 5626 §3.5.1).
//!
//! Over a stream Content-Length alone says where the next message begins. A message without it, or with one that cannot be true,
//! leaves nobody who knows: it is the last of its connection, and is handed on as far as its headers go, so that its sender
//! learns why ([`Fault`](super::message::Fault)). A WebSocket brings one message a frame and needs none of this (RFC 7118 §5).

use bytes::{Buf, Bytes, BytesMut};

use super::cursor::trim;
use super::header::{Name, content_length};
use super::message::{Lines, MESSAGE_SIZE_MAX, read_field};

/// Longest start line, in bytes: what does not come to its end by then is not SIP.
pub const START_LINE_MAX: usize = 4_096;
/// Longest start line and headers together, in bytes; Record-Route and Via of many hops fill a tenth of it.
pub const HEAD_MAX: usize = 32_768;

/// What came, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message.
    Message(Bytes),
    /// The far end asks whether we live: answer with [`PONG`].
    Ping,
    /// The far end lives: the answer to the [`PING`] we told of with [`Framer::pinged`].
    Pong,
    /// The last that this stream can be read for: start line and headers of a message whose end nobody knows, empty when it is nothing
    /// that SIP would answer. Answer it, then close the connection.
    Broken(Bytes),
}

/// Asks the far end whether it lives.
pub const PING: &[u8] = b"\r\n\r\n";
/// Answers a [`PING`].
pub const PONG: &[u8] = b"\r\n";

/// Finds messages in the bytes of one connection. It never holds more than one message of [`MESSAGE_SIZE_MAX`] and what was pushed
/// behind it.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    state: State,
    /// A line end came that may be the first half of a ping.
    half_ping: bool,
    /// We pinged; the next line end is the answer.
    pinged: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Between messages.
    #[default]
    Between,
    /// In the start line or the headers; the first `seen` bytes hold no end of them.
    Head { seen: usize, in_start_line: bool },
    /// The message ends after `length` bytes.
    Body { length: usize },
    /// Nothing more can be read.
    Broken,
}

impl Framer {
    /// Adds what came. Take all frames out before the next chunk, so that the buffer stays small.
    pub fn push(&mut self, chunk: &[u8]) {
        if !matches!(self.state, State::Broken) {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// A [`PING`] of ours was sent.
    pub fn pinged(&mut self) {
        self.pinged = true;
    }

    /// Whether a message has begun to come and is not whole yet.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        matches!(self.state, State::Head { .. } | State::Body { .. })
    }

    /// The next frame, if it is whole.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            match self.state {
                State::Between => {
                    if let Some(frame) = self.take_line_ends()? {
                        return Some(frame);
                    }
                }
                State::Head { seen, in_start_line } => {
                    if let Some(broken) = self.read_head(seen, in_start_line)? {
                        return Some(broken);
                    }
                }
                State::Body { length } => {
                    if self.buffer.len() < length {
                        return None;
                    }
                    self.state = State::Between;
                    return Some(Frame::Message(self.take(length)));
                }
                State::Broken => return None,
            }
        }
    }

    /// Takes one line end from between messages. `None` when more has to come, `Some(None)` when it meant nothing, or when a
    /// message begins.
    fn take_line_ends(&mut self) -> Option<Option<Frame>> {
        let length = match &*self.buffer {
            [] | [b'\r'] => return None,
            [b'\r', b'\n', ..] => PONG.len(),
            // RFC 3261 §7.5 knows CRLF alone; a bare line feed is passed over, and is no ping.
            [b'\n', ..] => {
                self.buffer.advance(1);
                return Some(None);
            }
            [..] => {
                self.half_ping = false;
                self.state = State::Head { seen: 0, in_start_line: true };
                return Some(None);
            }
        };
        self.buffer.advance(length);
        if std::mem::take(&mut self.pinged) {
            return Some(Some(Frame::Pong));
        }
        self.half_ping = !self.half_ping;
        Some((!self.half_ping).then_some(Frame::Ping))
    }

    /// Looks for the end of the head. `None` when more has to come, `Some(None)` when the head is whole.
    fn read_head(&mut self, mut seen: usize, mut in_start_line: bool) -> Option<Option<Frame>> {
        while let Some(at) = self.buffer.get(seen..).and_then(|rest| rest.iter().position(|&byte| byte == b'\n')) {
            let line_end = seen + at + 1;
            if in_start_line {
                let line = self.buffer.get(..line_end).unwrap_or_default();
                if line_end > START_LINE_MAX || !line.windows(4).any(|window| window == b"SIP/") {
                    return Some(Some(self.give_up(0)));
                }
                in_start_line = false;
            }
            let end = match self.buffer.get(line_end..).unwrap_or_default() {
                [b'\n', ..] => line_end + 1,
                [b'\r', b'\n', ..] => line_end + 2,
                [] | [b'\r'] => {
                    // Whether the next line is empty is not known yet: look at this line end again.
                    self.state = State::Head { seen: line_end - 1, in_start_line };
                    return self.check_head(in_start_line);
                }
                [..] => {
                    seen = line_end;
                    continue;
                }
            };
            if end > HEAD_MAX {
                return Some(Some(self.give_up(HEAD_MAX)));
            }
            let body = content_length(self.buffer.get(..end).unwrap_or_default());
            return match body.and_then(|body| end.checked_add(body)).filter(|length| *length <= MESSAGE_SIZE_MAX) {
                Some(length) => {
                    self.state = State::Body { length };
                    Some(None)
                }
                None => Some(Some(self.give_up(end))),
            };
        }
        self.state = State::Head { seen: self.buffer.len(), in_start_line };
        self.check_head(in_start_line)
    }

    /// More has to come, unless there is too much already.
    fn check_head(&mut self, in_start_line: bool) -> Option<Option<Frame>> {
        if in_start_line && self.buffer.len() > START_LINE_MAX {
            return Some(Some(self.give_up(0)));
        }
        (self.buffer.len() > HEAD_MAX).then(|| Some(self.give_up(HEAD_MAX)))
    }

    /// The stream is over; its last message goes out as far as `head`.
    fn give_up(&mut self, head: usize) -> Frame {
        self.state = State::Broken;
        let head = self.take(head);
        self.buffer = BytesMut::new();
        Frame::Broken(head)
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.buffer.split_to(length.min(self.buffer.len())).freeze()
    }
}

/// The body's length as the head says; `None` when it does not say, says it twice, or says no number.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = Lines::new(head);
    let mut found = None;
    let mut here = false;
    lines.next();
    while let Some(line) = lines.next() {
        let text = line.of(head);
        // RFC 3261 §7.3.1: a line that begins with a blank continues the one before.
        if let Some(b' ' | b'\t') = text.first() {
            if here {
                let (start, _) = found?;
                found = Some((start, line.end()));
            }
            continue;
        }
        let field = read_field(text, line.start()).filter(|field| field.name() == Name::ContentLength);
        here = field.is_some();
        if let Some(field) = field {
            if found.is_some() {
                return None;
            }
            found = Some((field.value().start(), field.value().end()));
        }
    }
    let (start, end) = found?;
    content_length::parse(trim(head.get(start..end)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;

    const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n";
    const INFO: &str = "INFO sip:a@b SIP/2.0\r\nl:\r\n 5 \r\nVia: SIP/2.0/TCP h\r\n\r\nhello";

    fn message(text: &str) -> Frame {
        Frame::Message(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn broken(text: &str) -> Frame {
        Frame::Broken(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// All frames of `stream` cut into chunks of `size` bytes.
    fn frames(stream: &[u8], size: usize) -> Vec<Frame> {
        let mut framer = Framer::default();
        let mut all = Vec::new();
        for chunk in stream.chunks(size) {
            framer.push(chunk);
            all.extend(std::iter::from_fn(|| framer.next_frame()));
        }
        all
    }

    /// Every cut gives the same frames: byte by byte, in odd pieces, and many messages at once.
    #[track_caller]
    fn check(stream: &str, expected: &[Frame]) {
        for size in [1, 2, 3, 7, 64, stream.len().max(1)] {
            assert_eq!(frames(stream.as_bytes(), size), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        check("", &[]);
        check(OPTIONS, &[message(OPTIONS)]);
        check(&format!("{OPTIONS}{INFO}{OPTIONS}"), &[message(OPTIONS), message(INFO), message(OPTIONS)]);
        let bare = "BYE sip:a@b SIP/2.0\nContent-Length: 2\n\nok";
        check(&format!("{bare}{OPTIONS}"), &[message(bare), message(OPTIONS)]);
        let response = "SIP/2.0 200 OK\r\nCONTENT-LENGTH : 0\r\n\r\n";
        check(&format!("\n{response}"), &[message(response)]);
        check(&OPTIONS[..OPTIONS.len() - 1], &[]);
        check(&INFO[..INFO.len() - 1], &[]);
    }

    /// RFC 5626 §3.5.1; RFC 3261 §7.5 for line ends that mean nothing.
    #[test]
    fn line_ends_between_messages_keep_alive() {
        check("\r\n\r\n", &[Frame::Ping]);
        check("\r\n", &[]);
        check(&format!("{OPTIONS}\r\n\r\n\r\n\r\n"), &[message(OPTIONS), Frame::Ping, Frame::Ping]);
        check(&format!("\r\n{OPTIONS}\r\n\r\n"), &[message(OPTIONS), Frame::Ping]);
        check(&format!("\r\n\r\n\r\n{OPTIONS}"), &[Frame::Ping, message(OPTIONS)]);

        let mut framer = Framer::default();
        framer.pinged();
        framer.push(PONG);
        assert_eq!(framer.next_frame(), Some(Frame::Pong));
        framer.push(PING);
        assert_eq!((framer.next_frame(), framer.next_frame()), (Some(Frame::Ping), None));
    }

    /// RFC 3261 §18.3: Content-Length must be there, and true.
    #[test]
    fn a_message_whose_end_is_unknown_is_the_last() {
        for length in
            ["", "Content-Length: x\r\n", "l: -1\r\n", "l: 1\r\nl: 1\r\n", "l: 65535\r\n", "l: 99999999999\r\n"]
        {
            let head = format!("OPTIONS sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n{length}\r\n");
            check(&format!("{OPTIONS}{head}{OPTIONS}"), &[message(OPTIONS), broken(&head)]);
        }
    }

    /// A line that continues another header is no Content-Length, whatever it looks like: two readers of one stream must not part here.
    #[test]
    fn what_continues_another_header_is_no_length() {
        let head = "OPTIONS sip:a@b SIP/2.0\r\nContent-Type: text/plain\r\n Content-Length: 5\r\n\r\n";
        check(&format!("{head}hello{OPTIONS}"), &[broken(head)]);
        let whole = head.replace("\r\n\r\n", "\r\nl: 5\r\n\r\nhello");
        check(&format!("{whole}{OPTIONS}"), &[message(&whole), message(OPTIONS)]);
    }

    #[test]
    fn what_is_not_sip_is_not_answered() {
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[broken("")]);
        check("\u{16}\u{3}\u{1}\n", &[broken("")]);
        check(&"x".repeat(START_LINE_MAX + 1), &[broken("")]);
    }

    #[test]
    fn bounds_hold() {
        let start = "OPTIONS sip:a@b SIP/2.0\r\n";
        let head = |fill: usize| {
            let rest = "X: \r\nContent-Length: 0\r\n\r\n";
            format!("{start}X: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(fill - start.len() - rest.len()))
        };
        let at_bound = head(HEAD_MAX);
        assert_eq!(frames(at_bound.as_bytes(), at_bound.len()), [message(&at_bound)]);
        let above = head(HEAD_MAX + 1);
        for size in [1_000, above.len()] {
            let all = frames(above.as_bytes(), size);
            assert!(matches!(&all[..], [Frame::Broken(head)] if head.len() == HEAD_MAX), "{size}");
        }
        let endless = format!("{start}{}", "X: y\r\n".repeat(HEAD_MAX));
        let mut framer = Framer::default();
        for chunk in endless.as_bytes().chunks(1_000) {
            framer.push(chunk);
            let _ = framer.next_frame();
            assert!(framer.buffer.len() <= HEAD_MAX + 1_000);
        }
        assert!(!framer.is_within_message());

        let body = MESSAGE_SIZE_MAX - format!("{start}Content-Length: 65000\r\n\r\n").len();
        let whole = format!("{start}Content-Length: {body}\r\n\r\n{}", "z".repeat(body));
        assert_eq!(whole.len(), MESSAGE_SIZE_MAX);
        assert_eq!(frames(whole.as_bytes(), 4_096), [message(&whole)]);
    }

    /// A message that never ends is known to be one, so that its sender can be given a time.
    #[test]
    fn a_slow_message_is_seen_to_be_under_way() {
        let mut framer = Framer::default();
        framer.push(b"\r\n");
        assert_eq!((framer.next_frame(), framer.is_within_message()), (None, false));
        for part in [&INFO[..10], &INFO[10..40]] {
            framer.push(part.as_bytes());
            assert_eq!((framer.next_frame(), framer.is_within_message()), (None, true));
        }
        framer.push(&INFO.as_bytes()[40..]);
        assert_eq!((framer.next_frame(), framer.is_within_message()), (Some(message(INFO)), false));
    }

    /// Streams with bytes changed, taken out and put in: the same frames for every cut, never more in memory than the bound.
    #[test]
    fn mutated_streams_are_read_alike_however_they_are_cut() {
        let mut dice = Ids::from_seed(18);
        let mut below = |bound: usize| usize::try_from(dice.below(bound as u64)).unwrap();
        let plain = format!("{OPTIONS}\r\n\r\n{INFO}{INFO}\r\n{OPTIONS}");
        for round in 0..2_000 {
            let mut stream = plain.clone().into_bytes();
            for _ in 0..=below(4) {
                let at = below(stream.len().max(1));
                if stream.is_empty() {
                    break;
                }
                match below(4) {
                    0 => stream[at] = u8::try_from(below(256)).unwrap(),
                    1 => drop(stream.drain(at..(at + below(9)).min(plain.len()).min(stream.len()))),
                    2 => stream.insert(at, b"\r\n:0 "[below(5)]),
                    _ => stream.truncate(at + 1),
                }
            }
            let whole = frames(&stream, usize::MAX);
            for size in [1, 1 + below(90)] {
                assert_eq!(frames(&stream, size), whole, "round {round} in chunks of {size}: {stream:?}");
            }
        }
    }
}
