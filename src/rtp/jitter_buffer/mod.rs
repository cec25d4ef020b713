//! The jitter buffer: packets in as the network brings them, an even 20 ms of media out each tick.
//!
//! All of it is arithmetic on RTP timestamps. A packet's *transit* is its arrival less its timestamp; the smallest transit of
//! the last seconds is the *base*, the network at its fastest. What a packet took beyond the base is its *lateness*, and the
//! [*target*](JitterBuffer::target) is the lateness that all but one packet in a hundred keep. The *depth* is how far behind the base we play:
//!
//! ```text
//!            arrivals            target              depth
//!  base ──┬──┴┴─┴────┴───────────┬───────────────────┬──────────► time that a sample spends between sender and ear
//!         fastest packet         99 % are here       it is played: in target .. target + 20 ms
//! ```
//!
//! - **Depth changes** by whole packets and while nothing is said: one more 20 ms of silence, or one packet of it left out. That is
//!   also how clock drift is taken up: 100 ppm are one such step in 200 s, which nobody hears; stretching samples would cost an
//!   overlap-add on every frame of every call for it. Where no silence comes for two seconds (music) the step is made in sound, and the
//!   concealment's overlap hides the seam.
//! - **An empty buffer** holds the cursor. If the packet was late and comes, it is played and the depth has grown by what it took;
//!   if a later one comes instead, it was lost, and what was concealed while waiting is not concealed again.
//! - **Silence that the sender announced** (comfort noise, telephone events) or made (timestamps ahead, no sequence number lost) is
//!   `Nothing`, not `Missing`; the talk spurt behind it is placed anew, a target behind the base.
//! - **Another SSRC, a timestamp that jumps by more than a second, five packets in a row behind the cursor**: a stream that starts over.
//!
//! Bounded: [`PACKETS_MAX`] packets of `payload_max` bytes, allocated once. It does not decode: see `media/hearing.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{RtpHeader, Ssrc};

mod lateness;
mod stream;

use lateness::{Base, Lateness};
use stream::Stream;

/// Packets held at most; when one more comes the oldest goes. At 10 ms a packet this is 320 ms.
pub const PACKETS_MAX: usize = 32;

/// What a stream of one codec needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterSettings {
    /// RTP timestamp units a second (8,000 for G.711 and G.722, 48,000 for Opus).
    pub clock_rate: u32,
    /// Longest payload kept; a longer one is dropped.
    pub payload_max: usize,
    /// The target is never below this.
    pub depth_min: Duration,
    /// Nor above this: what comes later is lost.
    pub depth_max: Duration,
}

impl JitterSettings {
    /// Depths for conversation: 20 to 240 ms.
    #[must_use]
    pub fn new(clock_rate: u32, payload_max: usize) -> Self {
        let (depth_min, depth_max) = (Duration::from_millis(20), Duration::from_millis(240));
        Self { clock_rate, payload_max, depth_min, depth_max }
    }
}

/// A stretch of media time, `duration` timestamp units long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout<'a> {
    /// A packet whole.
    Payload {
        /// Says how to decode it.
        payload_type: u8,
        /// Its bytes, as they came.
        payload: &'a [u8],
        /// As it was given to [`JitterBuffer::handle_packet`]; 0 for an announcement of silence.
        duration: u32,
        /// What lies between it and the packet given out before it, however that was filled meanwhile.
        before: Hole,
    },
    /// Something was said that is not here: conceal it.
    Missing {
        /// At most 20 ms.
        duration: u32,
        /// The packet right behind the one that is missing, if it has come: Opus carries a copy of what is missing in it.
        next: Option<&'a [u8]>,
    },
    /// Nothing was said, or too much is missing to conceal it.
    Nothing {
        /// At most 20 ms.
        duration: u32,
    },
}

/// A hole in a stream, in timestamp units: time that the sender has passed and no packet tells of. Sequence numbers say whether
/// there was one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hole {
    /// There was something, and it is not known what: lost, late, left out here, or of a stream that began anew.
    pub missing: u32,
    /// There was nothing: the sender paused.
    pub paused: u32,
}

/// What became of a packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It will be played.
    Kept,
    /// It will be played, as the first of another stream.
    Restarted,
    /// It has come before.
    Duplicate,
    /// What it says should have been heard by now.
    Late,
    /// Too long, or of a stream that was just left.
    Dropped,
}

/// Counts since the buffer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets left out: too long, no room, or to lessen the depth.
    pub dropped: u64,
    /// Timestamp units given out as packets.
    pub played: u64,
    /// Timestamp units given out as [`Playout::Missing`].
    pub concealed: u64,
    /// Streams that started over.
    pub restarts: u64,
}

/// One stream's buffer. [`handle_packet`](Self::handle_packet) for what comes; each 20 ms [`tick`](Self::tick), then
/// [`next`](Self::next) until it gives `None`.
#[derive(Debug)]
pub struct JitterBuffer {
    settings: JitterSettings,
    /// 20 ms in timestamp units.
    frame: i64,
    /// The moment from which `now` is counted, in timestamp units.
    origin: Option<Instant>,
    now: i64,
    /// In order of time.
    waiting: VecDeque<Waiting>,
    /// `PACKETS_MAX` places of `payload_max` bytes.
    payloads: Box<[u8]>,
    /// Bit n: place n of `payloads` is taken.
    taken: u32,
    stream: Option<Stream>,
    /// The stream before this one, and how many packets of it have come in a row since.
    left: Option<(Ssrc, u8)>,
    state: State,
    /// Time before this has been heard.
    cursor: i64,
    /// The packet given out last; `None` before a stream's first.
    given: Option<Given>,
    /// Units that the tick still has to be given; negative when a long packet reaches into the ticks to come.
    owed: i64,
    /// What was heard last was silence.
    quiet: bool,
    /// Ticks for which the depth has been wrong.
    wrong_depth: u16,
    /// A step was made in this tick.
    stepped: bool,
    lateness: Lateness,
    depth: i64,
    counts: JitterCounts,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is being said. The next packet begins a talk spurt.
    Idle,
    /// `waited`: units concealed since the buffer ran empty. `concealed`: units concealed in a row.
    Playing { waited: i64, concealed: i64 },
}

/// The packet given out last, and how much was left out behind it on purpose.
#[derive(Clone, Copy, Debug)]
struct Given {
    sequence: i64,
    end: i64,
    left_out: i64,
}

/// A packet in the buffer. Times and sequence numbers do not wrap here.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    time: i64,
    sequence: i64,
    duration: u32,
    arrival: i64,
    payload_type: u8,
    place: u8,
    length: u16,
}

impl JitterBuffer {
    /// An empty buffer; nothing is allocated after this.
    #[must_use]
    pub fn new(settings: JitterSettings) -> Self {
        let frame = i64::from(settings.clock_rate / FRAMES_A_SECOND).max(1);
        Self {
            frame,
            origin: None,
            now: 0,
            waiting: VecDeque::with_capacity(PACKETS_MAX),
            payloads: vec![0; PACKETS_MAX * settings.payload_max].into(),
            taken: 0,
            stream: None,
            left: None,
            state: State::Idle,
            cursor: i64::MIN,
            given: None,
            owed: 0,
            quiet: true,
            wrong_depth: 0,
            stepped: false,
            lateness: Lateness::new(settings.clock_rate),
            depth: 0,
            counts: JitterCounts::default(),
            settings,
        }
    }

    /// Takes a packet of audio that came at `now`. `duration` is what it plays, in timestamp units; 0 announces silence (comfort noise).
    pub fn handle_packet(&mut self, now: Instant, header: &RtpHeader, duration: u32, payload: &[u8]) -> Arrival {
        let arrival = self.units(now);
        if payload.len() > self.settings.payload_max {
            self.counts.dropped += 1;
            return Arrival::Dropped;
        }
        let (number, time) = match self.placed(header, arrival) {
            Placed::Here { number, time } => (number, time),
            Placed::Stray => {
                self.counts.dropped += 1;
                return Arrival::Dropped;
            }
            Placed::Elsewhere => {
                let restarted = self.stream.is_some();
                self.restart(header, arrival);
                return self.keep(arrival, header, (0, 0), duration, payload, restarted);
            }
        };
        let Some(stream) = &mut self.stream else { return Arrival::Dropped };
        let is_ancient = stream.number - number >= i64::from(u64::BITS);
        if !is_ancient && !stream.note(header, number, time, false) {
            self.counts.duplicates += 1;
            return Arrival::Duplicate;
        }
        stream.arrived = arrival;
        self.lateness.add(stream.base.lateness(arrival - time));
        if is_ancient || time + i64::from(duration.max(1)) <= self.cursor {
            stream.late += 1;
            if stream.late < LATE_IN_A_ROW {
                self.counts.late += 1;
                return Arrival::Late;
            }
            self.restart(header, arrival);
            return self.keep(arrival, header, (0, 0), duration, payload, true);
        }
        stream.late = 0;
        self.keep(arrival, header, (number, time), duration, payload, false)
    }

    /// Takes note of a packet of the stream that is no audio (a telephone event): its sequence number is not missing, and the sender
    /// says nothing meanwhile.
    pub fn handle_other(&mut self, header: &RtpHeader) {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == header.ssrc) else { return };
        let number = stream.number + i64::from(header.sequence.since(stream.sequence));
        let time = stream.time;
        if stream.note(header, number, time, true) && number == stream.number {
            stream.silent = true;
        }
    }

    /// Begins the next 20 ms. `quiet` says that what was heard in the last one was silence: the moment to change the depth.
    pub fn tick(&mut self, now: Instant, quiet: bool) {
        self.now = self.units(now);
        self.owed = (self.owed + self.frame).min(self.frame);
        self.quiet = quiet;
        self.stepped = false;
    }

    /// What comes next in this tick; `None` when its 20 ms are full. With packets of 20 ms this gives one result a tick, with
    /// packets of 60 ms one in three.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from the buffer")]
    pub fn next(&mut self) -> Option<Playout<'_>> {
        loop {
            if self.owed <= 0 {
                return None;
            }
            let first = self.waiting.front().copied();
            let state = self.state;
            match (state, first) {
                (State::Idle, Some(first)) if self.is_due(&first) => {
                    self.state = State::Playing { waited: 0, concealed: 0 };
                    self.cursor = first.time;
                    if let Some(stream) = &mut self.stream {
                        stream.played = first.sequence - 1;
                        stream.silent = false;
                    }
                }
                (State::Idle, _) => {
                    let duration = std::mem::take(&mut self.owed);
                    return Some(Playout::Nothing { duration: as_units(duration) });
                }
                (State::Playing { .. }, None) if self.stream.as_ref().is_none_or(|stream| stream.silent) => {
                    self.state = State::Idle;
                }
                (State::Playing { waited, concealed }, None) => {
                    if concealed >= self.frame * CONCEALED_MAX {
                        self.state = State::Idle;
                        continue;
                    }
                    let duration = std::mem::take(&mut self.owed).min(self.frame);
                    self.state = State::Playing { waited: waited + duration, concealed: concealed + duration };
                    self.counts.concealed += u64::from(as_units(duration));
                    return Some(Playout::Missing { duration: as_units(duration), next: None });
                }
                (State::Playing { waited, concealed }, Some(first)) => {
                    let gap = first.time - self.cursor;
                    if gap < self.frame / 2 {
                        match self.step(&first) {
                            Step::None => return Some(self.play(&first)),
                            Step::Lessen => {}
                            Step::Deepen => return Some(self.insert()),
                        }
                    } else if self.lost_before(&first) == 0 {
                        self.state = State::Idle;
                    } else if waited > 0 {
                        // It was lost, and concealed while we waited for it.
                        let skipped = waited.min(gap);
                        self.cursor += skipped;
                        self.state = State::Playing { waited: 0, concealed };
                    } else {
                        return Some(self.conceal(&first, gap, concealed));
                    }
                }
            }
        }
    }

    /// Lateness that 99 % of the packets keep, within the bounds of the settings.
    #[must_use]
    pub fn target(&self) -> Duration {
        self.duration(self.target_units())
    }

    /// How far behind the fastest packet we play.
    #[must_use]
    pub fn depth(&self) -> Duration {
        self.duration(self.depth.max(0))
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Which packet of which stream this is.
    fn placed(&mut self, header: &RtpHeader, arrival: i64) -> Placed {
        let Some(stream) = &mut self.stream else { return Placed::Elsewhere };
        if header.ssrc != stream.ssrc {
            // Packets of the stream before, overtaken by those of the new one, must not bring it back.
            if let Some((left, count)) = &mut self.left
                && *left == header.ssrc
            {
                *count += 1;
                if *count < STRAYS_MAX {
                    return Placed::Stray;
                }
            }
            return Placed::Elsewhere;
        }
        if let Some((_, count)) = &mut self.left {
            *count = 0;
        }
        let number = stream.number + i64::from(header.sequence.since(stream.sequence));
        let time = stream.time + i64::from(header.timestamp.since(stream.timestamp));
        let jump = i64::from(self.settings.clock_rate) * JUMP_SECONDS;
        if arrival - stream.arrived > jump * 2 {
            // A long silence: what drift has done to the base meanwhile is not known.
            stream.base = Base::new(arrival - time);
        }
        let lateness = arrival - time - stream.base.value();
        if lateness.abs() > jump { Placed::Elsewhere } else { Placed::Here { number, time } }
    }

    fn restart(&mut self, header: &RtpHeader, arrival: i64) {
        if let Some(stream) = &self.stream {
            self.counts.restarts += 1;
            if stream.ssrc != header.ssrc {
                self.left = Some((stream.ssrc, 0));
            }
        }
        self.waiting.clear();
        self.taken = 0;
        self.state = State::Idle;
        self.cursor = i64::MIN;
        self.given = None;
        self.stream = Some(Stream {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            time: 0,
            sequence: header.sequence,
            number: 0,
            seen: 1,
            other: 0,
            played: -1,
            silent: false,
            late: 0,
            base: Base::new(arrival),
            arrived: arrival,
        });
    }

    fn keep(
        &mut self,
        arrival: i64,
        header: &RtpHeader,
        (number, time): (i64, i64),
        duration: u32,
        payload: &[u8],
        restarted: bool,
    ) -> Arrival {
        if self.waiting.len() >= PACKETS_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.release(&oldest);
            self.counts.dropped += 1;
            self.cursor = self.cursor.max(oldest.end());
        }
        let place = (!self.taken).trailing_zeros();
        let start = place as usize * self.settings.payload_max; // below PACKETS_MAX: one place at least is free
        let Some(room) = self.payloads.get_mut(start..start + payload.len()) else { return Arrival::Dropped };
        room.copy_from_slice(payload);
        self.taken |= 1 << place;
        let packet = Waiting {
            time,
            sequence: number,
            duration,
            arrival,
            payload_type: header.payload_type,
            place: place as u8,           // below 32
            length: payload.len() as u16, // it fits a place, and a datagram is below 2^16
        };
        let behind =
            self.waiting.iter().rev().take_while(|other| (other.time, other.sequence) > (time, number)).count();
        self.waiting.insert(self.waiting.len() - behind, packet);
        if restarted { Arrival::Restarted } else { Arrival::Kept }
    }

    fn release(&mut self, packet: &Waiting) {
        self.taken &= !(1 << packet.place);
    }

    fn play(&mut self, packet: &Waiting) -> Playout<'_> {
        let before = self.hole_before(packet);
        self.given = Some(Given { sequence: packet.sequence, end: packet.end(), left_out: 0 });
        self.waiting.pop_front();
        self.release(packet);
        self.cursor = self.cursor.max(packet.end());
        self.owed -= i64::from(packet.duration);
        self.state = State::Playing { waited: 0, concealed: 0 };
        self.counts.played += u64::from(packet.duration);
        if let Some(stream) = &mut self.stream {
            stream.played = packet.sequence;
            stream.silent = packet.duration == 0;
        }
        let (payload_type, duration) = (packet.payload_type, packet.duration);
        Playout::Payload { payload_type, payload: self.payload(packet), duration, before }
    }

    /// The time between the packet given out last and this one, told apart by what was lost: each number that never came stands for as
    /// long as this packet plays.
    fn hole_before(&self, packet: &Waiting) -> Hole {
        let (Some(given), Some(stream)) = (&self.given, &self.stream) else {
            return Hole { missing: as_units(self.frame), paused: 0 };
        };
        let time = (packet.time - given.end).max(0);
        let lost = packet.sequence - given.sequence - 1 - stream.others_between(given.sequence, packet.sequence);
        let each = if packet.duration == 0 { self.frame } else { i64::from(packet.duration) };
        let missing = lost.max(0).saturating_mul(each).saturating_add(given.left_out).min(time);
        Hole { missing: as_units(missing), paused: as_units(time - missing) }
    }

    /// A stretch of the hole before `next`.
    fn conceal(&mut self, next: &Waiting, gap: i64, concealed: i64) -> Playout<'_> {
        let stretch = gap.min(self.owed).min(self.frame);
        self.cursor += stretch;
        self.owed -= stretch;
        let duration = as_units(stretch);
        if concealed >= self.frame * CONCEALED_MAX {
            return Playout::Nothing { duration };
        }
        self.state = State::Playing { waited: 0, concealed: concealed + stretch };
        self.counts.concealed += u64::from(duration);
        let is_behind = gap <= i64::from(next.duration).max(self.frame);
        Playout::Missing { duration, next: is_behind.then(|| self.payload(next)) }
    }

    /// 20 ms more of what is heard, so that all that follows is heard later.
    fn insert(&mut self) -> Playout<'_> {
        let duration = as_units(std::mem::take(&mut self.owed));
        self.depth += self.frame;
        self.counts.concealed += u64::from(duration);
        Playout::Missing { duration, next: None }
    }

    /// Whether the depth has to change before `first` is played. Leaves `first` out when it is too deep.
    fn step(&mut self, first: &Waiting) -> Step {
        if self.owed < self.frame {
            return Step::None; // a tick is looked at where it begins
        }
        let target = self.target_units() + (self.frame - i64::from(first.duration)).max(0);
        self.depth = self.now - first.time - self.base();
        let too_deep = self.depth - i64::from(first.duration) >= target + self.frame / 2 && first.duration > 0;
        let too_shallow = self.depth < target;
        if !too_deep && !too_shallow {
            self.wrong_depth = 0;
            return Step::None;
        }
        // The further off, the sooner a step in the midst of sound.
        let off = (self.depth - target).unsigned_abs() / self.frame.unsigned_abs();
        self.wrong_depth = self.wrong_depth.saturating_add(u16::try_from(off * off).unwrap_or(u16::MAX).max(1));
        if self.stepped || !(self.quiet || self.wrong_depth > PATIENCE) {
            return Step::None;
        }
        self.stepped = true;
        self.wrong_depth = 0;
        if too_shallow {
            return Step::Deepen;
        }
        self.waiting.pop_front();
        self.release(first);
        self.counts.dropped += 1;
        self.cursor = first.end();
        self.depth -= i64::from(first.duration);
        let missing = self.hole_before(first).missing;
        if let Some(given) = &mut self.given {
            given.sequence = first.sequence;
            given.left_out = i64::from(missing) + i64::from(first.duration);
        }
        if let Some(stream) = &mut self.stream {
            stream.played = first.sequence;
        }
        Step::Lessen
    }

    /// A talk spurt begins a target behind the base; whatever the base, not later than `depth_max` after its first packet came.
    fn is_due(&self, first: &Waiting) -> bool {
        let target = self.target_units() + (self.frame - i64::from(first.duration)).max(0);
        let longest = self.units_of(self.settings.depth_max);
        self.now - first.time - self.base() >= target || self.now - first.arrival >= longest
    }

    /// Sequence numbers between the packet played last and this one that never came.
    fn lost_before(&self, packet: &Waiting) -> i64 {
        let Some(stream) = &self.stream else { return 0 };
        (packet.sequence - stream.played - 1 - stream.others_between(stream.played, packet.sequence)).max(0)
    }

    fn payload(&self, packet: &Waiting) -> &[u8] {
        let start = usize::from(packet.place) * self.settings.payload_max;
        self.payloads.get(start..start + usize::from(packet.length)).unwrap_or_default()
    }

    fn base(&self) -> i64 {
        self.stream.as_ref().map_or(0, |stream| stream.base.value())
    }

    fn target_units(&self) -> i64 {
        let (min, max) = (self.units_of(self.settings.depth_min), self.units_of(self.settings.depth_max));
        self.lateness.percentile().clamp(min, max.max(min))
    }

    fn units(&mut self, now: Instant) -> i64 {
        let origin = *self.origin.get_or_insert(now);
        self.units_of(now.saturating_duration_since(origin))
    }

    fn units_of(&self, duration: Duration) -> i64 {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        micros.saturating_mul(i64::from(self.settings.clock_rate)) / 1_000_000
    }

    fn duration(&self, units: i64) -> Duration {
        Duration::from_micros(units.unsigned_abs() * 1_000_000 / u64::from(self.settings.clock_rate.max(1)))
    }
}

enum Placed {
    Here {
        number: i64,
        time: i64,
    },
    /// Of the stream before.
    Stray,
    /// The first packet, another SSRC, or a jump of the timestamp.
    Elsewhere,
}

enum Step {
    None,
    Deepen,
    Lessen,
}

impl Waiting {
    fn end(&self) -> i64 {
        self.time + i64::from(self.duration)
    }
}

/// Units that are positive, and of one stream.
fn as_units(units: i64) -> u32 {
    u32::try_from(units).unwrap_or(0)
}

const FRAMES_A_SECOND: u32 = 50;

/// Frames concealed in a row; beyond 100 ms there is nothing left to go by.
const CONCEALED_MAX: i64 = 5;

/// Packets in a row behind the cursor until they are believed to be where the sender is.
const LATE_IN_A_ROW: u8 = 5;

/// Packets in a row of the SSRC that was left until it is taken again.
const STRAYS_MAX: u8 = 3;

/// A timestamp that is off by more than this is another clock.
const JUMP_SECONDS: i64 = 1;

/// Ticks that a depth wrong by one frame waits for silence: 2 s.
const PATIENCE: u16 = 100;
