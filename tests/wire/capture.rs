//! What is captured while the engine runs: a file that tcpdump reads, and what Homer is told, with nothing secret in either.

#![expect(clippy::disallowed_types, reason = "the collector and the far end are sockets")]

use std::fs::File;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::support::{Engine, Folder, signal, text};

/// Round trips that a signal may take to reach the engine.
const ROUND_TRIPS_MAX: u32 = 10_000;

/// Row 7 of what is to be seen: by switch, masked, readable by others; turned off and on by SIGUSR1.
#[test]
fn tcpdump_and_homer_see_what_was_said_and_no_secret() {
    let folder = Folder::new("capture");
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (settings, pcap) = (folder.path().join("settings.toml"), folder.path().join("sip.pcap"));
    let homer = collector.local_addr().unwrap();
    std::fs::write(&settings, format!("[capture]\nhep = '{homer}'\nhep_id = 77\n")).unwrap();
    let arguments = ["--config", settings.to_str().unwrap(), "--capture", pcap.to_str().unwrap()];
    let engine = Engine::start_with(folder.path(), &arguments);
    let phone = Phone::new(&engine);

    phone.ask("REGISTER", "r", "Authorization: Digest username=\"ana\", realm=\"contesta\", nonce=\"x\", uri=\"sip:h\", response=\"beef01\"\r\n", "");
    phone.ask("INFO", "i", "Content-Type: application/dtmf-relay\r\n", "Signal=7\r\nDuration=777\r\n");
    phone.turn(&engine, "the capture of SIP is off");
    phone.ask("OPTIONS", "unseen", "", "");
    phone.turn(&engine, "the capture of SIP is on");
    phone.ask("OPTIONS", "last", "", "");
    assert!(engine.stop());

    // Each packet's checksums are told of where they are wrong.
    let dump = Command::new("tcpdump").args(["-r", "-", "-n", "-vv", "-A"]).stdin(File::open(&pcap).unwrap()).output();
    let dump = dump.expect("tcpdump: scripts/test installs it");
    let shown = text(&dump);
    assert!(dump.status.success() && !shown.contains("bad udp cksum") && !shown.contains("truncated"), "{shown}");
    let own = phone.socket.local_addr().unwrap();
    let arrow = |from: &str, to: &str| format!("{}.{} > {}.{}", host(from), port(from), host(to), port(to));
    let (there, back) = (arrow(&own.to_string(), &phone.engine), arrow(&phone.engine, &own.to_string()));
    assert!(shown.contains(&there) && shown.contains(&back), "{there}, {back}: {shown}");
    for seen in
        ["REGISTER sip:", "INFO sip:", "response=\"******\"", "username=\"ana\"", "Signal=", "branch=z9hG4bKlast"]
    {
        assert_eq!(shown.contains(seen), seen != "Signal=", "{seen}: {shown}");
    }
    for secret in ["beef01", "777", "z9hG4bKunseen"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }

    let mut told = Vec::new();
    let mut buffer = [0; 4_096];
    while !told.iter().any(|message: &String| message.contains("z9hG4bKlast") && message.starts_with("SIP/2.0 200")) {
        let length = collector.recv(&mut buffer).unwrap();
        let chunks = chunks(&buffer[..length]);
        let value = |wanted| chunks.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value.as_slice());
        assert_eq!(
            (value(1), value(2), value(11)),
            (Some(&[2][..]), Some(&[17][..]), Some(&[1][..])),
            "IPv4, UDP, SIP"
        );
        assert_eq!((value(3), value(12)), (Some(&[127, 0, 0, 1][..]), Some(&77_u32.to_be_bytes()[..])));
        assert_eq!(value(17), Some(&b"capture"[..]), "what its messages are found by");
        let ports = [value(7), value(8)].map(|port| port.unwrap().to_vec());
        assert!(ports.contains(&own.port().to_be_bytes().to_vec()) && ports[0] != ports[1]);
        told.push(String::from_utf8(value(15).unwrap().to_vec()).unwrap());
    }
    let told = told.join("\n");
    assert!(told.contains("response=\"******\"") && told.contains("SIP/2.0 481"), "{told}");
    assert!(!told.contains("beef01") && !told.contains("777") && !told.contains("z9hG4bKunseen"), "{told}");
}

/// Type and value of each chunk of a HEPv3 packet: six bytes of vendor, type and length, and what it says.
fn chunks(packet: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let word = |at: usize| u16::from_be_bytes(packet[at..at + 2].try_into().unwrap());
    assert_eq!((&packet[..4], usize::from(word(4))), (&b"HEP3"[..], packet.len()));
    let (mut at, mut chunks) = (6, Vec::new());
    while at < packet.len() {
        let length = usize::from(word(at + 4));
        chunks.push((word(at + 2), packet[at + 6..at + length].to_vec()));
        at += length;
    }
    chunks
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').unwrap().0
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// A far end that asks and waits.
struct Phone {
    socket: UdpSocket,
    engine: String,
}

impl Phone {
    fn new(engine: &Engine) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect(&engine.sip).unwrap();
        Self { socket, engine: engine.sip.clone() }
    }

    fn ask(&self, method: &str, branch: &str, headers: &str, body: &str) {
        let (own, engine, length) = (self.socket.local_addr().unwrap(), &self.engine, body.len());
        let request = format!(
            "{method} sip:{engine} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:ana@{own}>;tag=a\r\nTo: <sip:ana@{engine}>{}\r\nCall-ID: capture\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:ana@{own}>\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
            if method == "INFO" { ";tag=gone" } else { "" }
        );
        self.socket.send(request.as_bytes()).unwrap();
        self.socket.recv(&mut [0; 4_096]).unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
    }

    /// Sends SIGUSR1, and waits by asking until the engine says so.
    fn turn(&self, engine: &Engine, said: &str) {
        signal(engine.pid(), libc::SIGUSR1);
        let round = (0..ROUND_TRIPS_MAX).find(|round| {
            self.ask("OPTIONS", &format!("{}{round}", said.len()), "", "");
            engine.log().contains(said)
        });
        assert!(round.is_some(), "{}", engine.log());
    }
}
