//! RTCP over real sockets: a media worker reports on the port above RTP, on RTP's own port, and through ports that legs share; what
//! comes back is in the leg's last report, and a stranger's is not.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a real worker with real sockets")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use contesta::edge::media_worker::{Command, MediaWorker, Report};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::edge::shared_socket::SharedSocket;
use contesta::ids::LegId;
use contesta::media::{Event, LegReport, LegSettings};
use contesta::rtp::rtcp::{
    Cname, Compound, NtpTime, Packet, REPORT_LENGTH_MAX, Received, Sent, Session, WallClock, is_rtcp,
};
use contesta::rtp::{RtcpPath, RtpHeader, RtpTime, SequenceNumber, Ssrc};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);
const LEG: LegId = LegId(1);
const OURS: Ssrc = Ssrc(0xabcd);
const THEIRS: Ssrc = Ssrc(0xfa7);

/// A far end of our own making: RTP on one port, RTCP on the same or the next.
struct Phone {
    rtp: UdpSocket,
    rtcp: Option<UdpSocket>,
    session: Session,
    sequence: u16,
}

impl Phone {
    fn new(multiplexed: bool) -> Self {
        let (rtp, rtcp) = loop {
            let rtp = UdpSocket::bind((LOOPBACK, 0)).unwrap();
            let above = rtp.local_addr().unwrap().port().checked_add(1);
            if let Some(Ok(rtcp)) = above.map(|port| UdpSocket::bind((LOOPBACK, port))) {
                break (rtp, (!multiplexed).then_some(rtcp));
            }
        };
        rtp.set_read_timeout(Some(LOOK)).unwrap();
        let now = Instant::now();
        let clock = WallClock { instant: now, ntp: NtpTime(9_999 << 32) };
        Self { rtp, rtcp, session: Session::new(THEIRS, Cname::from_random([9; 12]), clock, 3, now), sequence: 0 }
    }

    fn local(&self) -> SocketAddr {
        self.rtp.local_addr().unwrap()
    }

    fn settings(&self) -> LegSettings {
        let rtcp = if self.rtcp.is_some() { RtcpPath::beside(self.local()) } else { RtcpPath::Multiplexed };
        LegSettings { rtcp, ssrc: OURS.0, random: 5, ..LegSettings::plain(self.local()) }
    }

    fn say(&mut self, to: SocketAddr) {
        self.sequence += 1;
        let header = RtpHeader {
            marker: false,
            payload_type: 0,
            sequence: SequenceNumber(self.sequence),
            timestamp: RtpTime(u32::from(self.sequence) * 160),
            ssrc: THEIRS,
        };
        self.rtp.send_to(&[&header.to_bytes()[..], &[0xff; 160]].concat(), to).unwrap();
    }

    /// Our next report; RTP that comes before it is answered packet by packet, as a telephone at the same pace would.
    fn hear_report(&mut self, to: SocketAddr) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 1_500];
        loop {
            assert!(Instant::now() < until, "no report came");
            // A leg that is closed says BYE and no more: both sockets are looked at in turn.
            if let Ok(length) = self.rtp.recv(&mut buffer) {
                if is_rtcp(&buffer[..length]) {
                    assert!(self.rtcp.is_none(), "a report on the port of RTP");
                    return buffer[..length].to_vec();
                }
                self.say(to);
            }
            if let Some(rtcp) = &self.rtcp {
                rtcp.set_nonblocking(true).unwrap();
                if let Ok(length) = rtcp.recv(&mut buffer) {
                    return buffer[..length].to_vec();
                }
            }
        }
    }

    /// Reports as the far end, from where it reports or from `from`.
    fn report(&mut self, to: SocketAddr, lost: i32, from: Option<&UdpSocket>) {
        let received = Received { ssrc: OURS, fraction_lost: 0, lost, highest: 99, jitter: 160 };
        let sent = Sent { packets: self.sequence.into(), octets: 0, timestamp: RtpTime(0) };
        let mut out = [0; REPORT_LENGTH_MAX];
        let length = self.session.write(Instant::now(), sent, Some(received), false, &mut out);
        let socket = from.or(self.rtcp.as_ref()).unwrap_or(&self.rtp);
        let to = if self.rtcp.is_some() { SocketAddr::new(to.ip(), to.port() + 1) } else { to };
        socket.send_to(&out[..length], to).unwrap();
    }
}

fn worker() -> (MediaWorker, Receiver<Report>) {
    let (sender, reports) = channel();
    (MediaWorker::start(0, move |report| drop(sender.send(report))).unwrap(), reports)
}

fn closed(reports: &Receiver<Report>) -> LegReport {
    loop {
        if let (_, Event::Closed(report)) = reports.recv_timeout(PATIENCE).unwrap() {
            return report;
        }
    }
}

/// Opens a leg for the phone; where the phone is to send.
fn open(worker: &MediaWorker, phone: &Phone, shared: bool) -> SocketAddr {
    let socket = RtpSocket::open_pair(LOOPBACK, 20_000..=60_000, u64::from(phone.local().port())).unwrap();
    let local = socket.local();
    if shared {
        worker.send(Command::Share { slot: 3, socket: SharedSocket::new(socket) }).unwrap();
        worker.send(Command::OpenShared { leg: LEG, slot: 3, settings: phone.settings() }).unwrap();
    } else {
        worker.send(Command::Open { leg: LEG, socket, settings: phone.settings() }).unwrap();
    }
    local
}

#[test]
fn reports_go_and_come_by_every_path() {
    for (multiplexed, shared) in [(false, false), (true, false), (false, true), (true, true)] {
        let case = format!("multiplexed {multiplexed}, shared {shared}");
        let (worker, reports) = worker();
        let mut phone = Phone::new(multiplexed);
        let local = open(&worker, &phone, shared);
        let report = phone.hear_report(local);
        let compound = Compound::parse(&report).unwrap();
        let Some(Packet::SenderReport { ssrc, info, blocks }) = compound.packets().next() else { panic!("{case}") };
        assert_eq!((ssrc, info.octets), (OURS, info.packets * 160), "{case}");
        let block = blocks.iter().next().unwrap();
        assert_eq!((block.ssrc, block.fraction_lost, block.lost), (THEIRS, 0, 0), "{case}");
        assert!(block.highest <= u32::from(phone.sequence), "{case}");
        // Theirs: heard from the far end, and not from a stranger who says the worst.
        phone.session.handle(Instant::now(), compound, report.len());
        let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        let mut impostor = Phone::new(multiplexed);
        impostor.session.rename(Ssrc(1));
        impostor.rtcp = phone.rtcp.as_ref().map(|_| UdpSocket::bind((LOOPBACK, 0)).unwrap());
        impostor.report(local, 99, Some(&stranger));
        phone.report(local, 10, None);
        // Another report of ours, so that theirs has been read; then the end, and BYE.
        phone.hear_report(local);
        worker.send(Command::Close { leg: LEG }).unwrap();
        let goodbye = phone.hear_report(local);
        let leaves = Compound::parse(&goodbye)
            .unwrap()
            .packets()
            .any(|packet| matches!(packet, Packet::Goodbye(sources) if sources.iter().eq([OURS])));
        assert!(leaves, "{case}: {goodbye:?}");
        let quality = closed(&reports).quality;
        let told = quality.reported.unwrap();
        assert_eq!((told.loss, told.jitter), (1_000, Duration::from_millis(20)), "{case}: 10 of 100");
        assert!(quality.round_trip.unwrap().longest < Duration::from_millis(500), "{case}: {quality:?}");
        assert_eq!(quality.heard.unwrap().loss, 0, "{case}");
    }
}

/// What a telephone at SDP's mercy gets when nobody listens on its port of RTCP: nothing breaks.
#[test]
fn a_far_end_without_rtcp_is_called_as_ever() {
    let (worker, reports) = worker();
    let mut phone = Phone::new(false);
    phone.rtcp = None;
    let settings = LegSettings { rtcp: RtcpPath::beside(phone.local()), ..phone.settings() };
    let socket = RtpSocket::open_pair(LOOPBACK, 20_000..=60_000, 7).unwrap();
    let local = socket.local();
    worker.send(Command::Open { leg: LEG, socket, settings }).unwrap();
    let mut buffer = [0; 1_500];
    // Past the first report, which comes after three seconds at most.
    for _ in 0..200 {
        phone.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        phone.rtp.recv(&mut buffer).unwrap();
        phone.say(local);
    }
    drop(worker);
    let report = closed(&reports);
    assert!(report.packets_sent >= 200 && report.packets_received > 150, "{report:?}");
    assert_eq!((report.quality.reported, report.quality.round_trip), (None, None));
}
