//! The pcap file: its header, a record a packet, packets of IP and UDP made up around what was said, and files that take turns.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::seconds_and_micros;

/// `LINKTYPE_RAW`: each record begins with an IP header.
const LINK_TYPE: u32 = 101;
/// UDP, in the headers of IP.
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const HOPS: u8 = 64;

/// The file that is written, and the ones before it: `sip.pcap`, then `sip.pcap.1` and so on, the oldest last.
pub(super) struct Files {
    path: PathBuf,
    out: BufWriter<File>,
    written: u64,
    /// A file that has grown beyond this makes room for the next one.
    bytes: u64,
    /// How many there are at most, the one that is written included.
    files: u32,
}

impl Files {
    /// Begins a file. One that is there already is kept as the one before.
    pub(super) fn create(path: &Path, bytes: u64, files: u32) -> io::Result<Self> {
        // Such a folder is the engine's own: what callers say is for nobody else.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        shift(path, files)?;
        let mut all = Self { path: path.to_owned(), out: BufWriter::new(open(path)?), written: 0, bytes, files };
        all.begin()?;
        Ok(all)
    }

    pub(super) fn write(&mut self, at: Timestamp, packet: &[u8]) -> io::Result<()> {
        let (seconds, micros) = seconds_and_micros(at);
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        for word in [seconds, micros, length, length] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(packet)?;
        self.written += 16 + u64::from(length);
        if self.written >= self.bytes {
            self.out.flush()?;
            shift(&self.path, self.files)?;
            self.out = BufWriter::new(open(&self.path)?);
            self.begin()?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn begin(&mut self) -> io::Result<()> {
        let [magic, version, offset, accuracy, longest, link] =
            [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, LINK_TYPE];
        for word in [magic, version, offset, accuracy, longest, link] {
            self.out.write_all(&u32::to_le_bytes(word))?;
        }
        self.written = 24;
        Ok(())
    }
}

/// What callers say is nobody's business but the owner's.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Moves each file to the next number; the last one goes.
fn shift(path: &Path, files: u32) -> io::Result<()> {
    let numbered = |number: u32| match number {
        0 => path.to_owned(),
        number => PathBuf::from(format!("{}.{number}", path.display())),
    };
    for number in (1..files).rev() {
        match std::fs::rename(numbered(number - 1), numbered(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A message within UDP within IP (RFC 768, RFC 791, RFC 8200). Both addresses are of one family, the message is shorter than
/// [`MESSAGE_MAX`](super::MESSAGE_MAX).
pub(super) fn packet(from: SocketAddr, to: SocketAddr, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_HEADER + message.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut udp = Vec::with_capacity(UDP_HEADER + message.len());
    udp.extend_from_slice(&from.port().to_be_bytes());
    udp.extend_from_slice(&to.port().to_be_bytes());
    udp.extend_from_slice(&length);
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(message);
    let (mut ip, addresses) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = u16::try_from(20 + udp.len()).unwrap_or(u16::MAX).to_be_bytes();
            // Version and words of the header, service, length; identification, no fragments; hops, protocol, checksum.
            let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, HOPS, UDP, 0, 0];
            let addresses = [from.octets(), to.octets()].concat();
            ip.extend_from_slice(&addresses);
            let sum = checksum(&[&ip]).to_be_bytes();
            ip.splice(10..12, sum);
            (ip, addresses)
        }
        (from, to) => {
            let six = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let addresses = [six(from), six(to)].concat();
            let mut ip = vec![0x60, 0, 0, 0, length[0], length[1], UDP, HOPS];
            ip.extend_from_slice(&addresses);
            (ip, addresses)
        }
    };
    let sum = checksum(&[&addresses, &[0, UDP], &length, &udp]);
    // RFC 768: a sum of zero is sent as all ones, for zero says that there is none.
    udp.splice(6..8, if sum == 0 { 0xffff_u16 } else { sum }.to_be_bytes());
    ip.extend_from_slice(&udp);
    ip
}

/// The Internet's checksum (RFC 1071). All parts but the last are of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    };
    let mut sum = parts.iter().flat_map(|part| part.chunks(2)).map(word).fold(0_u32, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::disallowed_methods, reason = "the tests read what was written")]

    use super::*;

    /// A packet of a file.
    #[derive(Debug, PartialEq)]
    pub(in super::super) struct Packet {
        pub(in super::super) at: (u32, u32),
        pub(in super::super) from: SocketAddr,
        pub(in super::super) to: SocketAddr,
        pub(in super::super) payload: Vec<u8>,
    }

    /// Reads a file from its bytes alone, checksums and lengths and all.
    pub(in super::super) fn read(file: &[u8]) -> Vec<Packet> {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4), word(20)), (0xa1b2_c3d4, 0x0004_0002, 101));
        let (mut at, mut packets) = (24, Vec::new());
        while at < file.len() {
            let (seconds, micros, length) = (word(at), word(at + 4), word(at + 8) as usize);
            assert_eq!(word(at + 12) as usize, length);
            let ip = &file[at + 16..at + 16 + length];
            let (head, [from, to]): (usize, [IpAddr; 2]) = match ip[0] >> 4 {
                4 => {
                    assert_eq!(sum(&ip[..20]), 0xffff, "the header's checksum");
                    assert_eq!((usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip[9]), (length, 17));
                    (20, [12, 16].map(|at| <[u8; 4]>::try_from(&ip[at..at + 4]).unwrap().into()))
                }
                6 => {
                    assert_eq!((usize::from(u16::from_be_bytes([ip[4], ip[5]])), ip[6]), (length - 40, 17));
                    (40, [8, 24].map(|at| <[u8; 16]>::try_from(&ip[at..at + 16]).unwrap().into()))
                }
                other => panic!("IP version {other}"),
            };
            let udp = &ip[head..];
            let field = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
            assert_eq!(usize::from(field(4)), udp.len());
            let addresses = if head == 20 { &ip[12..20] } else { &ip[8..40] };
            let pseudo = [addresses, &[0, 17], &udp[4..6], udp].concat();
            assert_eq!(sum(&pseudo), 0xffff, "the checksum of UDP");
            let (from, to) = (SocketAddr::new(from, field(0)), SocketAddr::new(to, field(2)));
            packets.push(Packet { at: (seconds, micros), from, to, payload: udp[8..].to_vec() });
            at += 16 + length;
        }
        packets
    }

    /// Adds in one's complement, slowly.
    fn sum(bytes: &[u8]) -> u32 {
        let mut sum: u32 = 0;
        for (at, byte) in bytes.iter().enumerate() {
            sum += u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
        }
        sum
    }

    #[test]
    fn packets_of_both_families_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        let mut files = Files::create(&path, u64::MAX, 2).unwrap();
        let pairs = [("192.0.2.20:5062", "192.0.2.10:5060"), ("[2001:db8::1]:5060", "[2001:db8::2]:65535")];
        let pairs = pairs.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()));
        let payloads = ["".as_bytes(), b"o", b"odd", b"even", &[0xff; 65_000]];
        let mut expected = Vec::new();
        for (from, to) in pairs {
            for payload in payloads {
                files.write("2026-03-15T08:30:00.250001Z".parse().unwrap(), &packet(from, to, payload)).unwrap();
                expected.push(Packet { at: (1_773_563_400, 250_001), from, to, payload: payload.to_vec() });
            }
        }
        files.flush().unwrap();
        assert!(read(&std::fs::read(&path).unwrap()) == expected);
    }

    #[test]
    fn files_take_turns_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sip.pcap");
        std::fs::write(&path, "of the run before").unwrap();
        let mut files = Files::create(&path, 300, 3).unwrap();
        assert_eq!(std::fs::read(folder.path().join("sip.pcap.1")).unwrap(), b"of the run before");
        let [from, to] = ["192.0.2.20:5062", "192.0.2.10:5060"].map(|text| text.parse().unwrap());
        for number in 0..20_u8 {
            files.write(Timestamp::UNIX_EPOCH, &packet(from, to, &[number; 100])).unwrap();
        }
        files.flush().unwrap();
        let kept = |name: &str| -> Vec<u8> {
            read(&std::fs::read(folder.path().join(name)).unwrap()).iter().map(|packet| packet.payload[0]).collect()
        };
        assert_eq!((kept("sip.pcap.2"), kept("sip.pcap.1")), (vec![16, 17], vec![18, 19]));
        assert_eq!((kept("sip.pcap"), std::fs::read_dir(folder.path()).unwrap().count()), (vec![], 3));
    }
}
