//! SIP as it crossed the wire, for Wireshark (a pcap file) and for Homer (HEPv3), where `[capture]` of `contesta.toml` asks for it.
//!
//! What is captured is masked first (`sip::masking`): a file that is sent to a carrier's support says nothing about passwords, keys of
//! streams, or digits that callers pressed. Messages of TCP, TLS and WebSocket are there in the clear, each as if it had been a datagram.
//! The signalling thread never waits: it hands messages over, and those that find the queue full are counted and left out. SIGUSR1 turns
//! it on and off (`cli/run.rs`).
#![expect(clippy::disallowed_types, reason = "the edge sends datagrams")]

mod hep;
mod pcap;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::config;
use crate::sip::ladder::Direction;
use crate::sip::masking::masked;
use crate::sip::{Peer, Transport};

/// Messages that wait for the writer: a second of 500 calls.
const QUEUE: usize = 4_096;

/// How long the last messages may take to be written when the engine stops.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The longest message that a datagram with its headers holds, in either family.
const MESSAGE_MAX: usize = 65_000;

/// One message as it crossed the wire.
struct Captured {
    at: Timestamp,
    transport: Transport,
    from: SocketAddr,
    to: SocketAddr,
    /// All of it, as it was: masked when it is written.
    message: Bytes,
}

/// Takes messages. Dropping it waits until what was taken is written, but no longer than [`LAST_WRITES`].
pub struct Capture {
    queue: Option<SyncSender<Captured>>,
    /// Closed when the writer has ended.
    ended: Receiver<()>,
    switch: Switch,
    lost: Count,
}

/// Turns a capture on and off, from any thread.
#[derive(Clone)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// On if it was off, and the other way round.
    pub fn turn(&self) {
        let was_on = self.0.fetch_xor(true, Ordering::Relaxed);
        info!("the capture of SIP is {}", if was_on { "off" } else { "on" });
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something went wrong, told each time that the number doubles.
#[derive(Default)]
struct Count(u64);

impl Count {
    fn one_more(&mut self) -> Option<u64> {
        self.0 += 1;
        self.0.is_power_of_two().then_some(self.0)
    }
}

impl Capture {
    /// Starts what the settings ask for; `None` when they ask for nothing.
    ///
    /// # Errors
    /// The file cannot be made, or there is no socket towards the collector.
    pub fn start(settings: &config::Capture) -> anyhow::Result<Option<Self>> {
        let bytes = u64::from(settings.megabytes) * 1_000_000;
        let open = |path: &Path| {
            let files = pcap::Files::create(path, bytes, settings.files);
            files.with_context(|| format!("cannot capture to {}", path.display()))
        };
        let files = settings.pcap.as_deref().map(open).transpose()?;
        let connect = |collector: SocketAddr| {
            let any: IpAddr = if collector.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(collector).map(|()| socket));
            socket.with_context(|| format!("cannot capture to {collector}"))
        };
        let collector = settings.hep.map(connect).transpose()?;
        if files.is_none() && collector.is_none() {
            return Ok(None);
        }
        let (queue, messages) = sync_channel(QUEUE);
        let (ending, ended) = sync_channel(0);
        let writer = Writer { files, collector, agent: settings.hep_id, unsent: Count::default() };
        let run = move || {
            writer.run(&messages);
            drop::<SyncSender<()>>(ending);
        };
        std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(run)
            .context("cannot start the capture's thread")?;
        let switch = Switch(Arc::new(AtomicBool::new(settings.on)));
        Ok(Some(Self { queue: Some(queue), ended, switch, lost: Count::default() }))
    }

    /// What turns it on and off.
    #[must_use]
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// Takes a message that came or goes, if it is on and there is room. `ours` is where the far end reaches us.
    pub fn take(&mut self, at: Timestamp, direction: Direction, far: &Peer, ours: SocketAddr, message: &Bytes) {
        let Some(queue) = self.queue.as_ref().filter(|_| self.switch.is_on()) else { return };
        let (from, to) = match direction {
            Direction::In => (far.address, ours),
            Direction::Out => (ours, far.address),
        };
        let captured = Captured { at, transport: far.transport, from, to, message: message.clone() };
        if let Err(TrySendError::Full(_)) = queue.try_send(captured)
            && let Some(lost) = self.lost.one_more()
        {
            warn!("the capture does not keep up: {lost} messages are not in it");
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.queue = None;
        // Nothing is ever sent: the writer's end closes it. A disk that hangs must not keep the engine from stopping.
        if self.ended.recv_timeout(LAST_WRITES) == Err(RecvTimeoutError::Timeout) {
            warn!("the capture's last messages are not written: its disk hangs");
        }
        if self.lost.0 > 0 {
            warn!("the capture did not keep up: {} messages are not in it", self.lost.0);
        }
    }
}

struct Writer {
    files: Option<pcap::Files>,
    collector: Option<UdpSocket>,
    agent: u32,
    /// Messages that could not be sent to the collector.
    unsent: Count,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Captured>) {
        loop {
            let next = match messages.try_recv() {
                Ok(captured) => Some(captured),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    // Whoever reads the file now sees all of it.
                    self.check(|files| files.flush());
                    messages.recv().ok()
                }
            };
            let Some(captured) = next else { break };
            self.write(captured);
        }
        self.check(|files| files.flush());
    }

    fn write(&mut self, captured: Captured) {
        let mut message = masked(&captured.message);
        message.truncate(MESSAGE_MAX);
        let (from, to) = one_family(captured.from, captured.to);
        if self.files.is_some() {
            let packet = pcap::packet(from, to, &message);
            self.check(|files| files.write(captured.at, &packet));
        }
        if let Some(collector) = &self.collector {
            let packet = hep::packet(&captured, from, to, self.agent, &message);
            // A collector that is away gets nothing, and nobody waits for it.
            if let Err(error) = collector.send(&packet)
                && let Some(unsent) = self.unsent.one_more()
            {
                warn!(%error, "Homer does not take what is captured: {unsent} messages so far");
            }
        }
    }

    /// A disk that is full ends the file, not the calls.
    fn check(&mut self, write: impl FnOnce(&mut pcap::Files) -> std::io::Result<()>) {
        if let Some(files) = &mut self.files
            && let Err(error) = write(files)
        {
            warn!(%error, "the capture ends here: its file cannot be written");
            self.files = None;
        }
    }
}

/// Both addresses in one family, for a packet has one: an IPv4 address beside one of IPv6 is mapped (RFC 4291 §2.5.5.2).
fn one_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let [one, other] = [from, to].map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if one.is_ipv4() == other.is_ipv4() { (one, other) } else { (mapped(one), mapped(other)) }
}

/// Seconds and microseconds since 1970.
fn seconds_and_micros(at: Timestamp) -> (u32, u32) {
    let since = Duration::from_micros(u64::try_from(at.as_microsecond()).unwrap_or_default());
    (u32::try_from(since.as_secs()).unwrap_or(u32::MAX), since.subsec_micros())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests read what was written")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const INVITE: &str = "INVITE sip:ana:geheim@h SIP/2.0\r\nCall-ID: c@h\r\nContent-Type: application/dtmf\r\n\r\n5";

    fn take(capture: &mut Capture, direction: Direction, message: &str) {
        let at = "2026-03-15T08:30:00.250001Z".parse().unwrap();
        let far = Peer::udp(SocketAddr::from(([192, 0, 2, 20], 5062)));
        let message = Bytes::copy_from_slice(message.as_bytes());
        capture.take(at, direction, &far, SocketAddr::from(([192, 0, 2, 10], 5060)), &message);
    }

    /// What the file and the collector got: all of it, in order, masked, also what was taken last before the end.
    #[test]
    fn what_is_taken_is_written_masked_to_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sip.pcap");
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let hep = Some(collector.local_addr().unwrap());
        let settings = config::Capture { pcap: Some(path.clone()), hep, ..config::Capture::default() };
        let mut capture = Capture::start(&settings).unwrap().unwrap();
        for _ in 0..50 {
            take(&mut capture, Direction::In, INVITE);
            take(&mut capture, Direction::Out, "SIP/2.0 100 Trying\r\n\r\n");
        }
        drop(capture);
        let (file, shown) = (std::fs::read(&path).unwrap(), masked(INVITE.as_bytes()));
        let packets = pcap::tests::read(&file);
        let ways: Vec<_> = packets.iter().map(|packet| (packet.from.port(), packet.to.port())).collect();
        assert_eq!(ways, [(5062, 5060), (5060, 5062)].repeat(50));
        assert!(
            packets.iter().step_by(2).all(|packet| packet.payload == shown && packet.at == (1_773_563_400, 250_001))
        );
        let mut buffer = [0; 2_000];
        for packet in packets {
            let length = collector.recv(&mut buffer).unwrap();
            assert_eq!(hep::tests::chunk(&buffer[..length], 15), packet.payload);
        }
        assert!(!String::from_utf8_lossy(&file).contains("geheim"));
        assert!(Capture::start(&config::Capture::default()).unwrap().is_none());
        let to = |path: &Path| {
            Capture::start(&config::Capture { pcap: Some(path.to_owned()), ..config::Capture::default() })
        };
        assert!(to(&path.join("below-a-file.pcap")).is_err());
        let made = folder.path().join("made");
        assert!(to(&made.join("sip.pcap")).unwrap().is_some());
        assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn it_is_turned_on_and_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sip.pcap");
        let settings = config::Capture { pcap: Some(path.clone()), on: false, ..config::Capture::default() };
        let mut capture = Capture::start(&settings).unwrap().unwrap();
        let switch = capture.switch();
        for message in ["off", "on", "off again", "on again"] {
            take(&mut capture, Direction::In, message);
            switch.turn();
        }
        drop(capture);
        let packets = pcap::tests::read(&std::fs::read(&path).unwrap());
        let payloads: Vec<_> = packets.iter().map(|packet| packet.payload.as_slice()).collect();
        assert_eq!(payloads, [&b"on"[..], b"on again"]);
    }

    /// Nobody reads the queue: what finds it full is counted, and whoever hands it over does not wait.
    #[test]
    fn a_writer_that_hangs_costs_messages_and_no_time() {
        let (queue, messages) = sync_channel(QUEUE);
        let (ending, ended) = sync_channel(0);
        let switch = Switch(Arc::new(AtomicBool::new(true)));
        let mut capture = Capture { queue: Some(queue), ended, switch, lost: Count::default() };
        for _ in 0..QUEUE + 7 {
            take(&mut capture, Direction::In, INVITE);
        }
        assert_eq!(capture.lost.0, 7);
        assert_eq!(messages.try_iter().count(), QUEUE);
        drop(ending);
    }

    #[test]
    fn what_goes_wrong_often_is_told_seldom() {
        let mut count = Count::default();
        let told: Vec<u64> = (0..100).filter_map(|_| count.one_more()).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn a_packet_has_one_family() {
        let [four, six]: [SocketAddr; 2] = ["192.0.2.1:1", "[2001:db8::1]:2"].map(|text| text.parse().unwrap());
        assert_eq!(one_family(four, four), (four, four));
        assert_eq!(one_family(four, six), ("[::ffff:192.0.2.1]:1".parse().unwrap(), six));
        let mapped = "[::ffff:192.0.2.1]:1".parse().unwrap();
        assert_eq!(one_family(mapped, four), (four, four));
    }
}
