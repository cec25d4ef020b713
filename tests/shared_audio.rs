//! Legs that share sockets, on a real worker over loopback: whose packet is whose, who is dropped, and who gets its own. Nothing
//! sleeps: each step waits for the packet or report that must come.

#![expect(clippy::disallowed_types, reason = "the far ends are real sockets")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use contesta::dtmf::{Digit, Road};
use contesta::edge::leg_media::LegMedia;
use contesta::edge::media_worker::{MediaWorker, Report, SLOTS, SLOTS_AHEAD};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::LegId;
use contesta::media::{Event, LegSettings};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

struct Story {
    legs: LegMedia,
    reports: Receiver<Report>,
}

/// The far end of one leg, or of several.
struct Phone {
    socket: UdpSocket,
    sequence: u16,
}

impl Story {
    fn new() -> Self {
        let (sender, reports) = channel();
        let worker = MediaWorker::start(0, move |report| drop(sender.send(report))).unwrap();
        Self { legs: LegMedia::new(vec![worker]), reports }
    }

    /// A leg of a trunk that shares; gives where it receives.
    fn open(&mut self, leg: u64, phone: &Phone) -> SocketAddr {
        let far = phone.address();
        let local = self.legs.open(LegId(leg), Some(far), bind).unwrap();
        self.legs.start(LegId(leg), settings(leg, far), None).unwrap();
        local
    }

    fn report(&self) -> Report {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }

    /// Ends a leg and gives its totals.
    fn close(&mut self, leg: u64) -> contesta::media::LegReport {
        self.legs.close(LegId(leg)).unwrap();
        let (closed, Event::Closed(totals)) = self.report() else { panic!("the leg's last event") };
        assert_eq!(closed, LegId(leg));
        self.legs.closed(closed);
        totals
    }
}

impl Phone {
    fn new() -> Self {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, sequence: 0 }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn hear(&self) -> (SocketAddr, RtpHeader) {
        let mut packet = [0; 2_000];
        let (length, source) = self.socket.recv_from(&mut packet).unwrap();
        (source, RtpHeader::parse(&packet[..length]).unwrap().0)
    }

    /// A key, in one packet.
    fn press(&mut self, key: u8, to: SocketAddr) {
        self.sequence += 1;
        let header = RtpHeader {
            marker: true,
            payload_type: 101,
            sequence: SequenceNumber(self.sequence),
            timestamp: RtpTime(u32::from(self.sequence) * 8_000),
            ssrc: Ssrc(7),
        };
        self.socket.send_to(&[&header.to_bytes()[..], &[key, 10, 0, 160]].concat(), to).unwrap();
    }
}

fn bind() -> std::io::Result<RtpSocket> {
    RtpSocket::open(LOOPBACK, None, 0)
}

fn settings(leg: u64, remote: SocketAddr) -> LegSettings {
    LegSettings { ssrc: leg as u32, first_sequence: 1, first_timestamp: 1, ..LegSettings::plain(remote) }
}

fn digit(key: u8) -> Event {
    Event::Digit(Digit::from_event(key).unwrap(), Road::TelephoneEvent)
}

#[test]
fn many_legs_share_a_few_ports_and_each_hears_its_own_far_end() {
    let mut story = Story::new();
    let mut phones: Vec<Phone> = (0..60).map(|_| Phone::new()).collect();
    let locals: Vec<SocketAddr> = (0..60).zip(&phones).map(|(leg, phone)| story.open(leg, phone)).collect();
    let ports: BTreeSet<SocketAddr> = locals.iter().copied().collect();
    assert!(ports.len() <= SLOTS, "{} ports for 60 legs", ports.len());
    for (leg, (phone, local)) in phones.iter().zip(&locals).enumerate() {
        for number in 1..=5 {
            let (source, header) = phone.hear();
            assert_eq!((source, header.ssrc, header.sequence), (*local, Ssrc(leg as u32), SequenceNumber(number)));
        }
    }
    // Backwards, so that seats are taken up from behind.
    for leg in (0..60).rev().step_by(2) {
        story.close(leg as u64);
    }
    for leg in (0..60).step_by(2) {
        phones[leg].press((leg % 10) as u8, locals[leg]);
        assert_eq!(story.report(), (LegId(leg as u64), digit((leg % 10) as u8)));
        assert_eq!(story.close(leg as u64).digits, 1);
    }
}

/// A stranger who knows the port is counted and changes nothing; the far end is heard from its first packet on.
#[test]
fn a_stranger_is_dropped_and_counted() {
    let mut story = Story::new();
    let (mut phone, mut stranger) = (Phone::new(), Phone::new());
    let local = story.open(1, &phone);
    for _ in 0..10 {
        stranger.press(9, local);
    }
    phone.press(5, local);
    assert_eq!(story.report(), (LegId(1), digit(5)), "and none of the stranger's");
    for _ in 0..10 {
        phone.hear();
    }
    let totals = story.close(1);
    assert_eq!((totals.packets_received, totals.packets_ignored), (1, 0));
    assert_eq!(story.legs.packets_strange(), 10);
}

/// Two legs with one far end are told apart by our ports alone: never are they on the same socket. When all slots have
/// that far end, the next leg gets a socket of its own.
#[test]
fn equal_far_ends_never_share_a_socket() {
    let mut story = Story::new();
    let mut phone = Phone::new();
    let legs = SLOTS as u64 + 1;
    let locals: Vec<SocketAddr> = (0..legs).map(|leg| story.open(leg, &phone)).collect();
    assert_eq!(locals.iter().collect::<BTreeSet<_>>().len(), locals.len());
    for (leg, local) in locals.iter().enumerate() {
        phone.press((leg % 10) as u8, *local);
        assert_eq!(story.report(), (LegId(leg as u64), digit((leg % 10) as u8)));
    }
    assert_eq!(story.close(3).digits, 1);
    let again = story.open(99, &phone);
    assert_eq!(again, locals[3], "the place that was given back");
    phone.press(7, again);
    assert_eq!(story.report(), (LegId(99), digit(7)));
}

/// What a re-INVITE from elsewhere comes to: a socket of the leg's own, the same stream, and its old place for another.
#[test]
fn a_leg_that_moves_gets_its_own_socket_and_its_stream_goes_on() {
    let mut story = Story::new();
    let (here, mut there) = (Phone::new(), Phone::new());
    let shared = story.open(1, &here);
    let first = here.hear().1;
    let own = story.legs.open(LegId(1), None, bind).unwrap();
    assert_ne!(own, shared);
    assert_eq!(story.legs.open(LegId(1), None, bind).unwrap(), own, "one is enough");
    story.legs.retarget(LegId(1), settings(1, there.address())).unwrap();
    let (source, header) = there.hear();
    assert_eq!((source, header.ssrc), (own, first.ssrc));
    let packets = header.sequence.since(first.sequence);
    assert_eq!(header.timestamp.since(first.timestamp), i32::from(packets) * 160, "one clock throughout");
    there.press(3, own);
    assert_eq!(story.report(), (LegId(1), digit(3)));
    let taken: Vec<SocketAddr> = (2..2 + SLOTS_AHEAD as u64).map(|leg| story.open(leg, &here)).collect();
    assert!(taken.iter().all(|local| *local != own), "{taken:?}");
    story.close(1);
}
