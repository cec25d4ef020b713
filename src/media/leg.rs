//! One leg: a far end's packets in, one packet out each 20 ms for as long as the leg lives (one SSRC, continuous
//! sequence numbers and timestamps; what plays is switched behind them).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::audio::{Codec, Frame};
use crate::dtmf::{Digit, Road, TelephoneEvents};
use crate::ids::PlayId;
use crate::rtp::rtcp::{Sent, is_rtcp};
use crate::rtp::srtp::{RTP_OVERHEAD_MAX, Refused};
use crate::rtp::{HEADER_LENGTH, RtpHeader, RtpTime, SequenceNumber, Ssrc};

use super::bridge::Voice;
use super::control::{CONTROL_LENGTH_MAX, Control};
use super::hearing::{Content, Hearing};
use super::one_way::{self, OneWay, Watch};
use super::player::Player;
use super::presses::{Presses, Pressing};
use super::protection::{Protection, Stream};
use super::quality::{Measured, Quality};
use super::reception::{Losses, Reception};
use super::source::{Source, Verdict};
use super::speaking::{Music, Speaking};
use super::{Event, LegReport, LegSettings, Segment};

/// Samples, and in G.711 bytes, of a frame: 20 ms.
pub const FRAME_SAMPLES: usize = 160;

/// Longest packet that a leg sends, protected or not.
pub const MAX_PACKET: usize = HEADER_LENGTH + FRAME_SAMPLES + RTP_OVERHEAD_MAX;

/// A packet of RTCP to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket {
    /// Its bytes.
    pub length: usize,
    /// Where it goes.
    pub destination: SocketAddr,
    /// It leaves through the socket of RTP, or else through the one beside it.
    pub is_multiplexed: bool,
}

/// One leg's media. Hand it each datagram of its socket, call [`tick`](Self::tick) each 20 ms, and then
/// [`control`](Self::control).
#[derive(Debug)]
pub struct Leg {
    settings: LegSettings,
    /// When the stream is SRTP.
    protection: Option<Box<Protection>>,
    source: Source,
    reception: Reception,
    telephone_events: TelephoneEvents,
    /// While somebody listens.
    hearing: Option<Box<Hearing>>,
    /// When RTP came last; the leg's beginning before the first.
    heard: Instant,
    /// The last packet said that silence follows.
    is_silence_announced: bool,
    /// Nothing is heard, and that was found to be a fault.
    is_unheard: bool,
    watch: Box<Watch>,
    control: Box<Control>,
    /// When the control has something to do.
    control_due: Instant,
    silence_reported: bool,
    player: Player,
    speaking: Option<Box<Speaking>>,
    /// Who needs what this leg hears.
    listeners: Listeners,
    /// A packet of a telephone event came since the last tick, or the tones of a key went on in it.
    key_heard: bool,
    presses: Presses,
    sequence: SequenceNumber,
    timestamp: RtpTime,
    /// The last frame was silence because nothing played: what comes next is a talk spurt.
    quiet: bool,
    packets_sent: u64,
    octets_sent: u64,
    packets_ignored: u64,
    packets_forged: u64,
    /// Packets that came too late to be heard, of ears that are gone.
    packets_late: u64,
    one_way: u32,
    digits: u32,
}

/// Who listens to a leg.
#[derive(Clone, Copy, Debug, Default)]
struct Listeners {
    bridge: bool,
    recording: bool,
}

impl Leg {
    /// A leg whose first packet leaves with the first tick.
    #[must_use]
    pub fn new(settings: LegSettings, now: Instant) -> Self {
        let protection = settings.srtp.as_deref().cloned().map(|keys| Box::new(Protection::new(keys)));
        // A receiver who misses the first packets must not miss a roll-over with them (RFC 3711 §3.3.1).
        let sequence = settings.first_sequence & if protection.is_some() { u16::MAX >> 1 } else { u16::MAX };
        let control = Box::new(Control::new(&settings, sequence, now));
        let mut watch = Box::new(Watch::default());
        watch.expect(now, settings.both_ways, 0);
        let mut leg = Self {
            source: Source::new(settings.remote, settings.peer),
            reception: Reception::new(settings.codec.clock_rate(), now),
            telephone_events: TelephoneEvents::new(settings.event_clock_rate),
            hearing: None,
            heard: now,
            is_silence_announced: false,
            is_unheard: false,
            watch,
            control_due: control.poll_timeout(),
            control,
            silence_reported: false,
            player: Player::new(settings.opus),
            speaking: None,
            listeners: Listeners::default(),
            key_heard: false,
            presses: Presses::default(),
            sequence: SequenceNumber(sequence),
            timestamp: RtpTime(settings.first_timestamp),
            quiet: true,
            packets_sent: 0,
            octets_sent: 0,
            packets_ignored: 0,
            packets_forged: 0,
            packets_late: 0,
            one_way: 0,
            digits: 0,
            protection,
            settings,
        };
        leg.settle();
        leg
    }

    /// Takes one datagram that came from `source`. Anything may be in it. SRTP is opened in place; gives the RTP packet, if it is
    /// the far end's and of what was negotiated.
    pub fn handle_packet<'p>(
        &mut self,
        now: Instant,
        source: SocketAddr,
        packet: &'p mut [u8],
        out: &mut Vec<Event>,
    ) -> Option<&'p [u8]> {
        let packet = self.open(source, packet)?;
        let Ok((header, payload)) = RtpHeader::parse(packet) else {
            self.take_control(now, source, packet, false, out);
            return None;
        };
        let Some(content) = Content::of(header.payload_type, &self.settings) else {
            self.packets_ignored += 1;
            if self.source.handle_sign_of_life(now, source) {
                self.hear(now, false, out);
            }
            return None;
        };
        match self.source.handle_packet(now, source) {
            Verdict::Heard => {}
            Verdict::Moved => out.push(Event::Learned(source)),
            Verdict::Ignored => {
                self.packets_ignored += 1;
                return None;
            }
        }
        let payload = packet.get(payload).unwrap_or_default();
        self.hear(now, content.announces_silence(self.settings.codec, payload), out);
        self.reception.handle_packet(now, &header, content != Content::TelephoneEvent);
        if let Some(hearing) = &mut self.hearing {
            hearing.handle_packet(now, &header, content, payload);
        }
        if content == Content::TelephoneEvent {
            self.key_heard = true;
            let digits = &mut self.digits;
            self.telephone_events.handle_packet(&header, payload, |digit| {
                *digits = digits.saturating_add(1);
                out.push(Event::Digit(digit, Road::TelephoneEvent));
            });
        }
        Some(packet)
    }

    /// What came, authenticated and decrypted when the stream is SRTP: RTP, or RTCP on the same port. What fails is counted and
    /// does nothing else: it is no sign of life, nor does media go where it came from.
    pub fn open<'p>(&mut self, source: SocketAddr, packet: &'p mut [u8]) -> Option<&'p [u8]> {
        // A stranger is not worth any cryptography.
        if self.protection.is_some() && self.source.locked().is_some_and(|locked| locked != source) {
            self.packets_ignored += 1;
            return None;
        }
        self.decipher(packet)
    }

    fn decipher<'p>(&mut self, packet: &'p mut [u8]) -> Option<&'p [u8]> {
        let Some(protection) = &mut self.protection else { return Some(packet) };
        match protection.open(packet) {
            Ok(length) => packet.get(..length),
            Err(refused) => {
                self.packets_ignored += 1;
                self.packets_forged += u64::from(refused != Refused::Replayed);
                None
            }
        }
    }

    /// Protects an RTCP packet in the first `length` bytes of `packet` when the stream is SRTP, which needs
    /// [`RTCP_OVERHEAD_MAX`](crate::rtp::srtp::RTCP_OVERHEAD_MAX) bytes more. Gives its length; `None`: it must not be sent.
    pub fn protect_rtcp(&mut self, packet: &mut [u8], length: usize) -> Option<usize> {
        match &mut self.protection {
            Some(protection) => protection.protect_rtcp(packet, length),
            None => Some(length),
        }
    }

    /// Makes the packet of the next 20 ms and gives its length; `None` when the far end wants no media or there is no
    /// address to send to. A play goes on meanwhile, as it would be heard.
    pub fn tick(&mut self, now: Instant, packet: &mut [u8; MAX_PACKET], out: &mut Vec<Event>) -> Option<usize> {
        self.source.handle_time(now);
        let quiet = now.saturating_duration_since(self.heard);
        self.report_silence(quiet, out);
        if quiet >= one_way::QUIET_MAX {
            self.look_for_one_way(now, out);
        }
        if let Some(hearing) = &mut self.hearing {
            let (presses, digits) = (&self.presses, &mut self.digits);
            hearing.tick(now, |digit| {
                if !presses.echoes(now, digit) {
                    *digits = digits.saturating_add(1);
                    out.push(Event::Digit(digit, Road::InBand));
                }
            });
            self.key_heard |= hearing.is_pressed();
        }
        let timestamp = self.timestamp;
        self.timestamp = timestamp.plus(self.settings.codec.frame_units());
        let (head, body) = packet.split_at_mut(HEADER_LENGTH);
        let (body, _) = body.split_at_mut(FRAME_SAMPLES);
        let LegSettings { codec, telephone_event, event_clock_rate, .. } = self.settings;
        let event_clock = telephone_event.map(|_| event_clock_rate);
        let pressing = self.presses.next(now, timestamp, codec, event_clock, &mut self.player, body).filter(|press| {
            // What a re-INVITE took away in the midst of a press.
            matches!(press, Pressing::Tones(_)) || telephone_event.is_some()
        });
        if let (Some(_), Some(speaking)) = (pressing, &mut self.speaking) {
            speaking.press();
        }
        let (marker, payload_type, timestamp, length) = match (pressing, telephone_event) {
            (Some(Pressing::Event(press)), Some(payload_type)) => {
                body.iter_mut().zip(press.payload).for_each(|(to, from)| *to = from);
                (press.marker, payload_type, press.timestamp, press.payload.len())
            }
            (Some(Pressing::Tones(length)), _) => {
                (std::mem::take(&mut self.quiet), self.settings.payload_type, timestamp, length)
            }
            (Some(Pressing::Event(_)) | None, _) => {
                let speaks = self.player.is_playing() || self.speaking.as_ref().is_some_and(|leg| leg.is_speaking());
                let marker = self.quiet && speaks;
                self.quiet = !speaks;
                let filled = match &mut self.speaking {
                    Some(speaking) => speaking.fill(&mut self.player, body),
                    None => self.player.fill(codec, body),
                };
                out.extend(filled.played.map(Event::Played));
                (marker, self.settings.payload_type, timestamp, filled.length)
            }
        };
        let destination = self.source.destination();
        if !self.settings.send || destination.port() == 0 || destination.ip().is_unspecified() {
            return None;
        }
        let (sequence, ssrc) = (self.sequence, Ssrc(self.settings.ssrc));
        head.copy_from_slice(&RtpHeader { marker, payload_type, sequence, timestamp, ssrc }.to_bytes());
        self.sequence = sequence.next();
        self.octets_sent += length as u64;
        let length = HEADER_LENGTH + length;
        let length = match &mut self.protection {
            Some(protection) => protection.protect(packet, length)?,
            None => length,
        };
        self.packets_sent += 1;
        Some(length)
    }

    /// Takes one datagram that came to the port of RTCP. Anything may be in it; SRTCP is opened in place.
    pub fn handle_control(&mut self, now: Instant, source: SocketAddr, packet: &mut [u8], out: &mut Vec<Event>) {
        // Under SRTP, RTP that lost its way would be opened as such: it is not what this port is for. Nor is a stranger worth any
        // cryptography.
        if !is_rtcp(packet) || !self.control.may_be_from(source, &self.source) {
            self.packets_ignored += 1;
        } else if let Some(packet) = self.decipher(packet) {
            self.take_control(now, source, packet, true, out);
        }
    }

    /// Writes the report that is due, if one is: to be asked after each tick, of the same moment.
    pub fn control(&mut self, now: Instant, packet: &mut [u8; CONTROL_LENGTH_MAX]) -> Option<ControlPacket> {
        if now < self.control_due {
            return None;
        }
        let is_due = self.control.is_due(now, self.packets_sent);
        let written = is_due.then(|| self.write_control(now, false, packet)).flatten();
        self.control_due = self.control.poll_timeout();
        written
    }

    /// Writes the leg's last report, with BYE; `None` when nobody knows of its stream.
    pub fn farewell(&mut self, now: Instant, packet: &mut [u8; CONTROL_LENGTH_MAX]) -> Option<ControlPacket> {
        self.write_control(now, true, packet)
    }

    /// Where packets go.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.source.destination()
    }

    /// The only source that is heard, once learning is over: the socket may be connected to it.
    #[must_use]
    pub fn locked(&self) -> Option<SocketAddr> {
        self.source.locked()
    }

    /// The leg is in a bridge from now on, or in none: what it hears is wanted there ([`heard`](Self::heard)), and what it is given
    /// before each tick is said ([`give`](Self::give)).
    pub fn bridge(&mut self, on: bool) {
        self.listeners.bridge = on;
        self.settle();
    }

    /// True while the leg is in a bridge.
    #[must_use]
    pub fn is_bridged(&self) -> bool {
        self.listeners.bridge
    }

    /// Begins or ends keeping what is said and heard as samples, for a recording.
    pub fn record(&mut self, on: bool) {
        self.listeners.recording = on;
        self.settle();
        if let Some(speaking) = &mut self.speaking {
            speaking.record(on);
        }
    }

    /// Plays music for ever behind the prompts, or none; the same music goes on where it stopped.
    pub fn play_music(&mut self, music: Option<Music>) {
        if music.is_some() || self.speaking.is_some() {
            self.speaking().play_music(music);
        }
    }

    /// What a bridge says to this leg in the next tick.
    pub fn give(&mut self, voice: Voice<'_>) {
        if let Some(speaking) = &mut self.speaking {
            speaking.bridge(voice);
        }
    }

    /// The negotiated codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.settings.codec
    }

    /// The payload that [`heard`](Self::heard) was decoded from, if it is exactly one.
    #[must_use]
    pub fn heard_payload(&self) -> Option<&[u8]> {
        self.hearing.as_ref().and_then(|hearing| hearing.payload())
    }

    /// What was said in the last tick, as the far end decodes it; `None` while nothing is recorded.
    #[must_use]
    pub fn said(&self) -> Option<&Frame> {
        self.speaking.as_ref().and_then(|speaking| speaking.said())
    }

    /// True while a key of the far end is down: once after each packet of a telephone event, and after each tick in which its tones
    /// were heard.
    pub fn take_key(&mut self) -> bool {
        std::mem::take(&mut self.key_heard)
    }

    fn speaking(&mut self) -> &mut Speaking {
        self.speaking.get_or_insert_with(|| Box::new(Speaking::new(self.settings.codec, self.settings.opus)))
    }

    /// Has an ear while somebody listens, or keys can come as tones only: what comes is decoded for nobody else, and only beginning
    /// allocates. A voice, once it was needed, stays.
    fn settle(&mut self) {
        let Listeners { bridge, recording } = self.listeners;
        let tones = self.settings.telephone_event.is_none();
        if bridge || recording {
            self.speaking();
        }
        if !(tones || bridge || recording) {
            self.close_ear();
            return;
        }
        let codec = self.settings.codec;
        let hearing = match self.hearing.take() {
            Some(hearing) if hearing.codec() == codec => hearing,
            Some(hearing) => {
                self.packets_late += hearing.counts().late;
                Box::new(hearing.in_codec(codec))
            }
            None => Box::new(Hearing::new(codec)),
        };
        self.hearing.insert(hearing).listen_for(tones, bridge || recording);
    }

    fn close_ear(&mut self) {
        if let Some(hearing) = self.hearing.take() {
            self.packets_late += hearing.counts().late;
        }
    }

    /// What was heard in the 20 ms of the last [`tick`](Self::tick): samples put in order, what is lost concealed, pauses filled
    /// with comfort noise. `None` while neither a bridge nor a recording listens; silence until the far end speaks.
    #[must_use]
    pub fn heard(&self) -> Option<&Frame> {
        let Listeners { bridge, recording } = self.listeners;
        self.hearing.as_ref().filter(|_| bridge || recording).map(|hearing| hearing.heard())
    }

    /// Plays `segments` from the next tick on, in place of what plays. Nothing to play is reported as played at once.
    pub fn play(&mut self, play: PlayId, segments: Box<[Segment]>, out: &mut Vec<Event>) {
        if !self.player.start(play, segments) {
            out.push(Event::Played(play));
        }
    }

    /// Plays nothing any more; the play that ends is not reported.
    pub fn stop(&mut self) {
        self.player.stop();
    }

    /// Presses a key for `length` when those before it are done; what plays waits meanwhile. It goes out as a telephone event
    /// (see [`Press::new`](crate::dtmf::Press::new)), or as tones where those were not negotiated. False when too many wait.
    pub fn press(&mut self, digit: Digit, length: Duration) -> bool {
        self.presses.press(digit, length)
    }

    /// True while keys are being pressed or wait to be.
    #[must_use]
    pub fn is_pressing(&self) -> bool {
        self.presses.is_pressing()
    }

    /// How the far end's keys come, and ours go, besides INFO.
    #[must_use]
    pub fn road(&self) -> Road {
        if self.settings.telephone_event.is_some() { Road::TelephoneEvent } else { Road::InBand }
    }

    /// New settings after a re-INVITE. Our stream goes on: its SSRC, sequence and timestamp are not taken from `settings`. Only when
    /// keys change after a roll-over of the sequence numbers does it get another SSRC, because no far end could know of the roll-over.
    /// Learning opens again when the address in the SDP is another one than before.
    pub fn retarget(&mut self, settings: LegSettings, now: Instant) {
        self.source.describe(settings.remote);
        self.control.describe(settings.rtcp);
        self.reception.change_clock(settings.codec.clock_rate());
        if settings.event_clock_rate != self.settings.event_clock_rate {
            self.telephone_events = TelephoneEvents::new(settings.event_clock_rate);
        }
        if let Some(speaking) = &mut self.speaking {
            speaking.change_codec(settings.codec, settings.opus);
        }
        self.player.wish(settings.opus);
        let mut ssrc = self.settings.ssrc;
        match (&mut self.protection, settings.srtp.as_deref().cloned()) {
            (Some(protection), Some(keys)) => {
                if protection.rekey(keys) == Stream::BeginsAnew {
                    // As random as the one before.
                    ssrc = ssrc.wrapping_add(1);
                }
            }
            (protection, keys) => *protection = keys.map(|keys| Box::new(Protection::new(keys))),
        }
        self.control.rename(Ssrc(ssrc));
        self.settings = LegSettings { ssrc, ..settings };
        self.settle();
        // A hold may have kept the far end quiet.
        self.heard = now;
        self.silence_reported = false;
        self.watch.expect(now, self.settings.both_ways, self.packets_sent);
        self.is_unheard = self.watch.is_unheard();
    }

    /// The totals so far.
    #[must_use]
    pub fn report(&self) -> LegReport {
        LegReport {
            packets_received: self.reception.packets(),
            packets_sent: self.packets_sent,
            packets_lost: self.reception.losses().lost,
            packets_ignored: self.packets_ignored,
            packets_forged: self.packets_forged,
            digits: self.digits,
            codec: Some(self.settings.codec),
            srtp: self.settings.srtp.as_ref().map(|keys| keys.ours.suite()),
            quality: self.quality(),
        }
    }

    fn quality(&self) -> Quality {
        let codec = self.settings.codec;
        let round_trip = self.control.round_trip();
        let hearing = self.hearing.as_ref();
        let late = self.packets_late + hearing.map_or(0, |hearing| hearing.counts().late);
        let Losses { expected, lost, bursts } = self.reception.losses();
        let heard = Measured {
            // What comes too late to be heard is as good as lost.
            losses: Losses { expected, lost: (lost + late).min(expected), bursts: bursts + late },
            jitter: self.reception.jitter(),
            round_trip: round_trip.map_or(Duration::ZERO, |trip| trip.mean),
            buffer: hearing.map(|hearing| hearing.depth()),
        };
        Quality { round_trip, heard: heard.rate(codec), reported: self.control.reported(codec), one_way: self.one_way }
    }

    fn hear(&mut self, now: Instant, announces_silence: bool, out: &mut Vec<Event>) {
        self.heard = now;
        self.silence_reported = false;
        self.is_silence_announced = announces_silence;
        if std::mem::take(&mut self.is_unheard) {
            out.extend(self.watch.hear(now).map(Event::OneWay));
        }
    }

    /// Nothing has been heard for [`one_way::QUIET_MAX`] at least.
    fn look_for_one_way(&mut self, now: Instant, out: &mut Vec<Event>) {
        if self.is_unheard {
            return;
        }
        let stopped = self.reception.packets() > 0;
        let is_excused = self.is_silence_announced || self.reception.pauses();
        if let Some(mut unheard) = self.watch.tick(now, self.heard, stopped, is_excused) {
            self.is_unheard = true;
            let described = Some(self.settings.remote).filter(|remote| one_way::is_private(remote.ip()));
            unheard.private = described.filter(|_| !stopped && !self.source.has_moved());
            self.find(OneWay::Unheard(unheard), out);
        }
    }

    fn find(&mut self, found: OneWay, out: &mut Vec<Event>) {
        self.one_way += u32::from(found.is_fault());
        out.push(Event::OneWay(found));
    }

    fn take_control(&mut self, now: Instant, from: SocketAddr, packet: &[u8], is_beside: bool, out: &mut Vec<Event>) {
        let heard = self.reception.ssrc();
        let taken = match is_rtcp(packet) {
            true => self.control.handle(now, from, packet, is_beside, &self.source, heard),
            false => None,
        };
        let Some(learned) = taken else {
            self.packets_ignored += 1;
            return;
        };
        if learned.collision && self.protection.is_none() {
            self.control.change_ssrc();
            // RFC 3550 §8.2. With two ends there is no third to whom the old number would have to be taken back.
            self.settings.ssrc = self.control.ssrc().0;
        }
        if learned.is_report {
            let report = one_way::Heard {
                sent: learned.sender.map(|info| info.packets),
                received: self.reception.packets(),
                highest: learned.block.map(|block| block.highest),
                packets_sent: self.packets_sent,
                destination: self.source.destination(),
            };
            if let Some(found) = self.watch.handle_report(now, report) {
                self.find(found, out);
            }
        }
        if learned.goodbye {
            self.reception.end_stream();
        }
    }

    fn write_control(
        &mut self,
        now: Instant,
        goodbye: bool,
        packet: &mut [u8; CONTROL_LENGTH_MAX],
    ) -> Option<ControlPacket> {
        let received = self.reception.report();
        self.control.hear(received.is_some());
        // The packet of the last tick began now.
        let timestamp = RtpTime(self.timestamp.0.wrapping_sub(self.settings.codec.frame_units()));
        let sent = Sent { packets: self.packets_sent, octets: self.octets_sent, timestamp };
        let length = self.control.write(now, sent, received, goodbye, packet)?;
        let length = match &mut self.protection {
            Some(protection) => protection.protect_rtcp(packet, length)?,
            None => length,
        };
        let destination = self.control.destination(&self.source)?;
        Some(ControlPacket { length, destination, is_multiplexed: self.control.is_multiplexed() })
    }

    fn report_silence(&mut self, quiet: Duration, out: &mut Vec<Event>) {
        if !self.silence_reported && self.settings.silent_after.is_some_and(|limit| quiet >= limit) {
            self.silence_reported = true;
            out.push(Event::Silent);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audio::{Clip, Codec};
    use crate::media::Listener;

    const PHONE: &str = "192.0.2.1:4000";

    /// A leg, its clock, and what it said and sent.
    struct Story {
        leg: Leg,
        now: Instant,
        events: Vec<Event>,
        sequence: u16,
    }

    impl Story {
        fn new() -> Self {
            Self::with(|_| {})
        }

        fn with(change: impl Fn(&mut LegSettings)) -> Self {
            let mut settings = settings();
            change(&mut settings);
            #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
            let now = Instant::now();
            Self { leg: Leg::new(settings, now), now, events: Vec::new(), sequence: 0 }
        }

        fn tick(&mut self) -> Option<(RtpHeader, Vec<u8>)> {
            let mut packet = [0; MAX_PACKET];
            let length = self.leg.tick(self.now, &mut packet, &mut self.events);
            self.now += Duration::from_millis(20);
            length.map(|length| {
                let (header, payload) = RtpHeader::parse(&packet[..length]).unwrap();
                (header, packet[payload].to_vec())
            })
        }

        /// A packet from `source` with the next sequence number.
        fn packet(&mut self, source: &str, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
            self.sequence += 1;
            let header = RtpHeader {
                marker,
                payload_type,
                sequence: SequenceNumber(self.sequence),
                timestamp: RtpTime(timestamp),
                ssrc: Ssrc(9),
            };
            let mut packet = [&header.to_bytes(), payload].concat();
            self.leg.handle_packet(self.now, source.parse().unwrap(), &mut packet, &mut self.events);
        }

        fn events(&mut self) -> Vec<Event> {
            std::mem::take(&mut self.events)
        }
    }

    fn settings() -> LegSettings {
        LegSettings {
            ssrc: 0xabcd,
            first_sequence: u16::MAX,
            first_timestamp: u32::MAX - 159,
            silent_after: Some(Duration::from_secs(1)),
            ..LegSettings::plain(PHONE.parse().unwrap())
        }
    }

    fn clip(samples: usize) -> Box<[Segment]> {
        Box::new([Segment::Clip(Arc::new(Clip::from_pcm(&vec![1000; samples])))])
    }

    /// Pain 14: sources change behind one stream, which never jumps.
    #[test]
    fn one_stream_leaves_the_leg_whatever_plays() {
        let mut story = Story::new();
        let mut headers = vec![story.tick().unwrap().0];
        story.leg.play(PlayId(1), clip(400), &mut story.events);
        headers.extend((0..2).map(|_| story.tick().unwrap().0));
        assert_eq!(story.events(), []);
        headers.push(story.tick().unwrap().0);
        assert_eq!(story.events(), [Event::Played(PlayId(1))], "with the third frame, half full");
        headers.push(story.tick().unwrap().0);
        for (index, header) in headers.iter().enumerate() {
            let expected = RtpHeader {
                marker: index == 1,
                payload_type: 0,
                sequence: SequenceNumber(u16::MAX.wrapping_add(index as u16)),
                timestamp: RtpTime((u32::MAX - 159).wrapping_add(160 * index as u32)),
                ssrc: Ssrc(0xabcd),
            };
            assert_eq!(*header, expected, "{index}");
        }
    }

    #[test]
    fn a_new_play_replaces_the_old_and_only_the_new_is_reported() {
        let mut story = Story::new();
        story.leg.play(PlayId(1), clip(16_000), &mut story.events);
        story.tick();
        story.leg.play(PlayId(2), clip(160), &mut story.events);
        story.tick();
        assert_eq!(story.events(), [Event::Played(PlayId(2))]);
        story.leg.play(PlayId(3), Box::new([]), &mut story.events);
        assert_eq!(story.events(), [Event::Played(PlayId(3))], "nothing to play");
        story.leg.play(PlayId(4), clip(16_000), &mut story.events);
        story.leg.stop();
        assert_eq!(story.tick().unwrap().1, [0xff; 160]);
        assert_eq!(story.events(), []);
    }

    #[test]
    fn a_digit_is_reported_at_its_first_packet_and_counted_once() {
        let mut story = Story::new();
        for index in 0..5 {
            story.packet(PHONE, 101, index == 0, 8000, &[5, 10, 0, 160 + index]);
        }
        assert_eq!(story.events(), [Event::Digit(Digit::from_event(5).unwrap(), Road::TelephoneEvent)]);
        assert_eq!(story.leg.report().digits, 1);
    }

    #[test]
    fn media_follows_the_phone_and_strangers_are_counted() {
        let mut story = Story::with(|settings| settings.remote = "192.168.1.10:4000".parse().unwrap());
        story.packet("203.0.113.9:7", 0, false, 0, &[0xff; 160]);
        let phone: SocketAddr = "203.0.113.9:7".parse().unwrap();
        assert_eq!((story.events(), story.leg.destination()), (vec![Event::Learned(phone)], phone));
        for timestamp in 1..5 {
            story.tick();
            story.packet("203.0.113.9:7", 0, false, timestamp * 160, &[0xff; 160]);
        }
        assert_eq!(story.leg.locked(), Some(phone));
        story.packet("198.51.100.1:1", 101, true, 0, &[5, 10, 0, 160]);
        story.packet("203.0.113.9:7", 34, false, 0, &[0; 100]); // a payload type that was not negotiated
        story.leg.handle_packet(story.now, phone, &mut b"GET / HTTP/1.1".to_vec(), &mut story.events);
        assert_eq!(story.events(), []);
        let report = story.leg.report();
        let expected = LegReport {
            packets_received: 5,
            packets_sent: 4,
            packets_ignored: 3,
            codec: Some(Codec::Pcmu),
            quality: report.quality,
            ..LegReport::default()
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn silence_is_reported_once_until_rtp_comes_again() {
        let mut story = Story::new();
        let mut silent_at = Vec::new();
        for frame in 0..200 {
            if frame == 100 {
                story.packet(PHONE, 0, false, 0, &[0xff; 160]);
            }
            story.tick();
            silent_at.extend(story.events().iter().map(|event| (frame, event.clone())));
        }
        assert_eq!(silent_at, [(50, Event::Silent), (150, Event::Silent)]);
    }

    #[test]
    fn comfort_noise_is_a_sign_of_life() {
        let mut story = Story::new();
        for _ in 0..10 {
            (0..40).for_each(|_| drop(story.tick()));
            story.packet(PHONE, 13, false, 0, &[60]);
        }
        assert_eq!(story.events(), []);
    }

    #[test]
    fn on_hold_nothing_is_sent_and_the_play_goes_on() {
        let mut story = Story::with(|settings| settings.send = false);
        story.leg.play(PlayId(1), clip(320), &mut story.events);
        assert_eq!((story.tick(), story.tick()), (None, None));
        assert_eq!(story.events(), [Event::Played(PlayId(1))]);
        let resumed = LegSettings { codec: Codec::Pcma, payload_type: 8, ssrc: 1, first_sequence: 1, ..settings() };
        story.leg.retarget(resumed, story.now);
        let (header, payload) = story.tick().unwrap();
        assert_eq!((header.ssrc, header.sequence, header.payload_type), (Ssrc(0xabcd), SequenceNumber(u16::MAX), 8));
        assert_eq!((header.timestamp, payload), (RtpTime(160), vec![0xd5; 160]), "two frames of time have passed");
        let mut story = Story::with(|settings| settings.remote = "0.0.0.0:4000".parse().unwrap());
        assert_eq!(story.tick(), None, "there is no address to send to");
    }

    /// One leg presses keys, another reads them.
    #[test]
    fn keys_pressed_by_one_leg_are_read_by_another() {
        let (mut caller, mut callee) = (Story::new(), Story::new());
        let mut listener = Listener::new(Codec::Pcmu, 0);
        for key in "*2363#".chars() {
            assert!(caller.leg.press(Digit::from_char(key).unwrap(), Duration::from_millis(100)));
        }
        let mut frames = 0;
        while caller.leg.is_pressing() {
            let (header, payload) = caller.tick().unwrap();
            let mut packet = [&header.to_bytes(), &payload[..]].concat();
            let heard = callee.leg.handle_packet(callee.now, PHONE.parse().unwrap(), &mut packet, &mut callee.events);
            listener.handle_packet(heard.unwrap());
            frames += 1;
        }
        let keys: String = callee
            .events()
            .iter()
            .map(|event| match event {
                Event::Digit(digit, _) => digit.as_char(),
                Event::Played(_)
                | Event::Silent
                | Event::Learned(_)
                | Event::OneWay(_)
                | Event::Bridged { .. }
                | Event::Closed(_) => '?',
            })
            .collect();
        assert_eq!((keys.as_str(), callee.leg.report().packets_lost), ("*2363#", 0));
        assert_eq!(frames, 6 * 7 + 5 * 3 + 1, "seven packets a press, three frames between two, one to see the end");
    }

    #[test]
    fn a_leg_is_small() {
        assert!(size_of::<Leg>() < 1_280, "{}", size_of::<Leg>());
    }
}
