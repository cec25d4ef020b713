//! A worker thread and its legs over real sockets on loopback. Nothing sleeps: each step waits for the packet or report
//! that must come.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the far end is a real socket")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use contesta::audio::Clip;
use contesta::audio::g711::Law;
use contesta::dtmf::{Digit, Road};
use contesta::edge::media_worker::{Command, MediaWorker, Report};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::{LegId, PlayId};
use contesta::media::{Event, LegSettings, Segment};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LEG: LegId = LegId(1);
const PATIENCE: Duration = Duration::from_secs(10);

struct Story {
    worker: MediaWorker,
    reports: Receiver<Report>,
}

/// The far end of one leg.
struct Phone {
    socket: UdpSocket,
    sequence: u16,
}

impl Story {
    fn new() -> Self {
        let (sender, reports) = channel();
        let worker = MediaWorker::start(0, move |report| drop(sender.send(report))).unwrap();
        Self { worker, reports }
    }

    /// A leg whose SDP names an address that never answers; the phone behind it speaks from its own.
    fn open(&self, leg: LegId, described: Option<&str>) -> Phone {
        let phone = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = RtpSocket::open(LOOPBACK, None, 0).unwrap();
        phone.connect(socket.local()).unwrap();
        let remote = described.map_or(phone.local_addr().unwrap(), |described| described.parse().unwrap());
        self.worker.send(Command::Open { leg, socket, settings: settings(remote) }).unwrap();
        Phone { socket: phone, sequence: 0 }
    }

    fn report(&self) -> Report {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }
}

impl Phone {
    fn hear(&self) -> (RtpHeader, Vec<u8>) {
        let mut packet = [0; 2000];
        let length = self.socket.recv(&mut packet).unwrap();
        let (header, payload) = RtpHeader::parse(&packet[..length]).unwrap();
        (header, packet[payload].to_vec())
    }

    fn say(&mut self, payload_type: u8, payload: &[u8]) {
        self.sequence += 1;
        let header = RtpHeader {
            marker: false,
            payload_type,
            sequence: SequenceNumber(self.sequence),
            timestamp: RtpTime(u32::from(self.sequence) * 160),
            ssrc: Ssrc(7),
        };
        self.socket.send(&[&header.to_bytes(), payload].concat()).unwrap();
    }
}

fn settings(remote: std::net::SocketAddr) -> LegSettings {
    LegSettings { ssrc: 5, first_sequence: 100, first_timestamp: 1000, ..LegSettings::plain(remote) }
}

fn clip(sample: i16, samples: usize) -> Box<[Segment]> {
    Box::new([Segment::Clip(Arc::new(Clip::from_pcm(&vec![sample; samples])))])
}

#[test]
fn a_leg_speaks_each_20_ms_plays_and_closes_with_its_totals() {
    let story = Story::new();
    let begun = Instant::now();
    let phone = story.open(LEG, None);
    assert_eq!(story.worker.legs(), 1);
    let first = phone.hear().0;
    assert_eq!((first.sequence, first.timestamp, first.ssrc), (SequenceNumber(100), RtpTime(1000), Ssrc(5)));
    story.worker.send(Command::Play { leg: LEG, play: PlayId(9), segments: clip(8000, 800) }).unwrap();
    let mut payloads = Vec::new();
    for index in 1..50_u16 {
        let (header, payload) = phone.hear();
        assert_eq!(header.sequence, SequenceNumber(100 + index));
        assert_eq!(header.timestamp, RtpTime(1000 + 160 * u32::from(index)));
        payloads.push(payload);
    }
    // A thread may be late, never early: the fiftieth packet leaves 980 ms after the first.
    assert!(begun.elapsed() >= Duration::from_millis(980), "{:?}", begun.elapsed());
    let heard: Vec<u8> = payloads.concat().into_iter().filter(|&byte| byte != 0xff).collect();
    assert_eq!(heard, vec![Clip::from_pcm(&[8000]).g711(Law::Mu)[0]; 800]);
    assert_eq!(story.report(), (LEG, Event::Played(PlayId(9))));
    story.worker.send(Command::Close { leg: LEG }).unwrap();
    let (LEG, Event::Closed(totals)) = story.report() else { panic!("the leg's last event") };
    assert!(totals.packets_sent >= 50 && totals.packets_received == 0, "{totals:?}");
    assert_eq!(story.worker.legs(), 0);
}

#[test]
fn a_phone_behind_a_nat_is_learned_then_locked_and_its_digits_are_answered() {
    let story = Story::new();
    let mut phone = story.open(LEG, Some("127.99.99.99:9"));
    phone.say(0, &[0xff; 160]);
    assert_eq!(story.report(), (LEG, Event::Learned(phone.socket.local_addr().unwrap())));
    for _ in 0..20 {
        phone.hear();
        phone.say(0, &[0xff; 160]);
    }
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let leg_address = phone.socket.peer_addr().unwrap();
    let header = RtpHeader {
        marker: true,
        payload_type: 101,
        sequence: SequenceNumber(1),
        timestamp: RtpTime(0),
        ssrc: Ssrc(66),
    };
    stranger.send_to(&[&header.to_bytes()[..], &[9, 10, 0, 160]].concat(), leg_address).unwrap();
    phone.say(101, &[5, 10, 0, 160]);
    assert_eq!(
        story.report(),
        (LEG, Event::Digit(Digit::from_event(5).unwrap(), Road::TelephoneEvent)),
        "and not the stranger's 9"
    );
    story.worker.send(Command::Play { leg: LEG, play: PlayId(1), segments: clip(1000, 160) }).unwrap();
    let answer = std::iter::from_fn(|| Some(phone.hear())).take(5).find(|(header, _)| header.marker);
    assert_eq!(answer.unwrap().1, vec![Clip::from_pcm(&[1000]).g711(Law::Mu)[0]; 160]);
}

#[test]
fn many_legs_share_the_frame_and_all_are_served() {
    let story = Story::new();
    let phones: Vec<Phone> = (0..60).map(|leg| story.open(LegId(leg), None)).collect();
    for phone in &phones {
        let sequences: Vec<u16> = (0..10).map(|_| phone.hear().0.sequence.0).collect();
        assert_eq!(sequences, (100..110).collect::<Vec<_>>());
    }
    drop(story.worker);
    let mut closed: Vec<LegId> = story.reports.iter().map(|(leg, _)| leg).collect();
    closed.sort();
    assert_eq!(closed, (0..60).map(LegId).collect::<Vec<_>>());
}

#[test]
fn keys_pressed_by_one_leg_reach_another() {
    let story = Story::new();
    let [caller, callee] = [RtpSocket::open(LOOPBACK, None, 0).unwrap(), RtpSocket::open(LOOPBACK, None, 0).unwrap()];
    let (to_caller, to_callee) = (settings(caller.local()), settings(callee.local()));
    story.worker.send(Command::Open { leg: LegId(1), socket: caller, settings: to_callee }).unwrap();
    story.worker.send(Command::Open { leg: LegId(2), socket: callee, settings: to_caller }).unwrap();
    for key in "*2363".chars() {
        let (digit, length) = (Digit::from_char(key).unwrap(), Duration::from_millis(50));
        story.worker.send(Command::Press { leg: LegId(1), digit, length }).unwrap();
    }
    let keys: String = (0..5)
        .map(|_| match story.report() {
            (LegId(2), Event::Digit(digit, _)) => digit.as_char(),
            report => panic!("{report:?}"),
        })
        .collect();
    assert_eq!(keys, "*2363");
}

#[test]
fn commands_for_a_leg_that_is_gone_do_nothing() {
    let story = Story::new();
    let phone = story.open(LEG, None);
    story.worker.send(Command::Close { leg: LEG }).unwrap();
    story.worker.send(Command::Stop { leg: LEG }).unwrap();
    story.worker.send(Command::Close { leg: LEG }).unwrap();
    story.worker.send(Command::Play { leg: LEG, play: PlayId(1), segments: clip(1, 1) }).unwrap();
    drop(story.worker);
    assert_eq!(story.reports.iter().count(), 1, "closed once");
    drop(phone);
}
