//! The messages of one call as lines: what crossed the wire, which way, when, and what it said in few words.
//!
//! A ladder is kept while the call lasts and stored with its record, so it is small: a line a message, neither bodies nor whole headers, and
//! bounded in lines and in bytes. It keeps the first messages and the last ones: how a call began and how it ended is what
//! people ask for. No key that a caller pressed is in it, no credentials and no key of a stream (`masking`).
//!
//! A line is `after µs`, direction and transport, the far end (`=`: as in the line before), the start line, CSeq and a note, parted by
//! tabs, for each of them is printable ASCII without.

mod glance;

use std::fmt::Write as _;
use std::time::Instant;

pub use glance::Glance;

use super::masking;
use super::transport::Peer;

/// Lines that are kept from the beginning.
pub const FIRST_MAX: usize = 64;
/// Lines that are kept from the end.
pub const LAST_MAX: usize = 64;
/// Bytes of a ladder, which few long lines may reach as well.
pub const BYTES_MAX: usize = 16_384;

/// Bytes of the lines that are kept from the beginning.
const FIRST_BYTES_MAX: usize = BYTES_MAX / 2;
/// What the messages of a call that waits in a menu need.
const USUAL_BYTES: usize = 384;
/// Most characters of a start line, of CSeq, and of a note.
const WHAT_MAX: usize = 120;
const CSEQ_MAX: usize = 24;
const NOTE_MAX: usize = 240;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the far end to us.
    In,
    /// From us to the far end.
    Out,
}

/// What a call's messages were so far.
#[derive(Clone, Debug)]
pub struct Ladder {
    began: Instant,
    text: String,
    /// Lines of the beginning, and where they end; they grow no more once there are others.
    first: usize,
    first_end: usize,
    last: usize,
    left_out: u32,
    /// Whom the last line names.
    far: Option<Peer>,
}

/// One line of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung<'a> {
    /// A message.
    Message {
        /// Microseconds after the first one.
        after_us: u64,
        /// Which way it went.
        direction: Direction,
        /// What carried it, as Via has it: `UDP`.
        transport: &'a str,
        /// The far end's address.
        far: &'a str,
        /// The start line without `SIP/2.0`: `INVITE sip:*2363@192.0.2.10`, `200 OK`.
        what: &'a str,
        /// The value of CSeq: `1 INVITE`.
        cseq: &'a str,
        /// What else is worth knowing: `audio 192.0.2.20:4000 RTP/AVP PCMU`, `Warning: …`; often empty.
        note: &'a str,
    },
    /// So many messages are not kept.
    LeftOut(u32),
}

impl Ladder {
    /// No message yet; the first one comes at `began`.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        let text = String::with_capacity(USUAL_BYTES);
        Self { began, text, first: 0, first_end: 0, last: 0, left_out: 0, far: None }
    }

    /// Adds a message. `note` is what its reader knows beyond its headers.
    pub fn add(&mut self, now: Instant, direction: Direction, far: &Peer, message: &Glance<'_>, note: &str) {
        let (start, after) = (self.text.len(), now.saturating_duration_since(self.began).as_micros());
        let way = match direction {
            Direction::In => '<',
            Direction::Out => '>',
        };
        let known = self.far.is_some_and(|last| (last.transport, last.address) == (far.transport, far.address));
        let _ = match known {
            true => write!(self.text, "{after}\t{way}{}\t=\t", far.transport.name()),
            false => write!(self.text, "{after}\t{way}{}\t{}\t", far.transport.name(), far.address),
        };
        self.far = Some(*far);
        write_printable(message.start_line(), WHAT_MAX, &mut self.text);
        self.text.push('\t');
        write_printable(message.cseq(), CSEQ_MAX, &mut self.text);
        self.text.push('\t');
        let note_start = self.text.len();
        write_printable(note.as_bytes(), NOTE_MAX, &mut self.text);
        for (name, value) in message.noted() {
            let room = NOTE_MAX.saturating_sub(self.text.len() - note_start);
            if room > 2 * name.len() {
                let _ = write!(self.text, "{}{name}: ", if self.text.len() > note_start { "; " } else { "" });
                write_printable(value, room, &mut self.text);
            }
        }
        self.text.push('\n');
        self.bound(start);
    }

    /// Keeps within the bounds when the line from `start` on is new.
    fn bound(&mut self, start: usize) {
        if self.last == 0 && self.left_out == 0 && self.first < FIRST_MAX && self.text.len() <= FIRST_BYTES_MAX {
            (self.first, self.first_end) = (self.first + 1, self.text.len());
            return;
        }
        debug_assert!(start >= self.first_end);
        self.last += 1;
        while self.last > LAST_MAX || (self.text.len() > BYTES_MAX && self.last > 1) {
            let line = self.text.get(self.first_end..).and_then(|last| last.find('\n')).unwrap_or_default();
            self.text.drain(self.first_end..=self.first_end + line);
            (self.last, self.left_out) = (self.last - 1, self.left_out.saturating_add(1));
            // What the dropped line named as its far end has to stand in the next one.
            self.far = None;
        }
    }

    /// The ladder as it is stored; [`rungs`] reads it.
    #[must_use]
    pub fn into_text(mut self) -> String {
        if self.left_out > 0 {
            self.text.insert_str(self.first_end, &format!("{}\n", self.left_out));
        }
        self.text
    }
}

/// The lines of a stored ladder, in order. What is no line of one is passed over.
pub fn rungs(text: &str) -> impl Iterator<Item = Rung<'_>> {
    let mut known = "";
    text.lines().filter_map(move |line| {
        let mut fields = line.split('\t');
        let number = fields.next()?;
        let Some(way) = fields.next() else { return number.parse().ok().map(Rung::LeftOut) };
        let (direction, transport) = match way.split_at_checked(1)? {
            ("<", transport) => (Direction::In, transport),
            (">", transport) => (Direction::Out, transport),
            _ => return None,
        };
        let far = fields.next()?;
        if far != "=" {
            known = far;
        }
        let (what, cseq, note) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Rung::Message { after_us: number.parse().ok()?, direction, transport, far: known, what, cseq, note })
    })
}

/// Writes what a peer said, with everything but printable ASCII as `?`, passwords in URIs as `*`, and at most `max` characters.
fn write_printable(value: &[u8], max: usize, out: &mut String) {
    let is_plain = |byte: &u8| *byte == b' ' || byte.is_ascii_graphic();
    let cut = value.len() > max;
    let shown = value.get(..max).unwrap_or(value);
    let secret = masking::uri_passwords(value);
    if secret.is_empty() && shown.iter().all(is_plain) {
        // All of it is ASCII.
        out.push_str(std::str::from_utf8(shown).unwrap_or_default());
    } else {
        let masked = |at: usize| secret.iter().any(|range| range.contains(&at));
        out.extend(shown.iter().enumerate().map(|(at, byte)| match byte {
            _ if masked(at) => '*',
            byte if is_plain(byte) => char::from(*byte),
            _ => '?',
        }));
    }
    if cut {
        out.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    const INVITE: &str = "INVITE sip:ana:secret@192.0.2.10 SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
        Authorization: Digest response=\"0123\"\r\nReason: SIP;cause=200\r\n\r\nv=0\r\n";

    fn far(port: u16) -> Peer {
        Peer::udp(SocketAddr::from(([192, 0, 2, 20], port)))
    }

    fn ladder(messages: usize, text: &str) -> String {
        let began = Instant::now();
        let mut ladder = Ladder::new(began);
        for number in 0..messages {
            let now = began + Duration::from_millis(number as u64);
            let text = text.replace("CSeq: 1", &format!("CSeq: {number}"));
            ladder.add(now, Direction::In, &far(5060), &Glance::of(text.as_bytes()).unwrap(), "");
        }
        ladder.into_text()
    }

    #[test]
    fn a_line_says_who_what_and_when_and_no_secret() {
        let began = Instant::now();
        let mut ladder = Ladder::new(began);
        ladder.add(began, Direction::In, &far(5062), &Glance::of(INVITE.as_bytes()).unwrap(), "audio");
        let later = began + Duration::from_micros(1_250);
        let ok = "SIP/2.0 200 OK\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
        ladder.add(later, Direction::Out, &far(5062), &Glance::of(ok.as_bytes()).unwrap(), "");
        let text = ladder.into_text();
        assert_eq!(
            text,
            "0\t<UDP\t192.0.2.20:5062\tINVITE sip:ana:******@192.0.2.10\t1 INVITE\taudio; Reason: SIP;cause=200\n\
             1250\t>UDP\t=\t200 OK\t1 INVITE\t\n"
        );
        let last = rungs(&text).last().unwrap();
        let Rung::Message { after_us, direction, transport, far, what, cseq, note } = last else { panic!("{last:?}") };
        assert_eq!((after_us, direction, transport, far), (1_250, Direction::Out, "UDP", "192.0.2.20:5062"));
        assert_eq!((what, cseq, note), ("200 OK", "1 INVITE", ""));
    }

    #[test]
    fn the_first_messages_and_the_last_are_kept() {
        let text = ladder(1_000, INVITE);
        let lines: Vec<_> = rungs(&text).collect();
        assert_eq!(lines.len(), FIRST_MAX + 1 + LAST_MAX);
        assert_eq!(lines[FIRST_MAX], Rung::LeftOut(1_000 - 128));
        let number = |rung: &Rung<'_>| match rung {
            Rung::Message { cseq, .. } => cseq.split(' ').next().unwrap().parse::<usize>().unwrap(),
            Rung::LeftOut(_) => panic!("left out"),
        };
        assert_eq!((number(&lines[63]), number(&lines[65]), number(&lines[128])), (63, 936, 999));
        assert!(lines.iter().all(|rung| !matches!(rung, Rung::Message { far: "", .. })), "each line names its far end");
    }

    #[test]
    fn long_lines_stay_within_the_bytes() {
        let long = INVITE.replace("192.0.2.10", &"x".repeat(5_000)).replace("cause=200", &"\t\u{1b}ñ".repeat(2_000));
        let text = ladder(500, &long);
        assert!(text.len() <= BYTES_MAX + 16, "{} bytes", text.len());
        assert!(text.bytes().all(|byte| matches!(byte, b'\t' | b'\n' | b' ') || byte.is_ascii_graphic()));
        let (first, last) = (rungs(&text).next().unwrap(), rungs(&text).last().unwrap());
        assert!(
            matches!(first, Rung::Message { after_us: 0, .. })
                && matches!(last, Rung::Message { after_us: 499_000, .. })
        );
    }

    #[test]
    fn what_is_no_ladder_has_no_lines() {
        for text in ["", "x", "1\t?\t2", "1\t<UDP\ta", "\t\t\t\t\t\t"] {
            assert_eq!(rungs(text).count(), 0, "{text:?}");
        }
    }
}
