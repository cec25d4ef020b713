//! The UDP socket that SIP arrives at.
#![expect(clippy::disallowed_types, reason = "the edge owns the sockets")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

/// Room for a burst of INVITEs while the signalling thread is busy.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// The largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// A bound, non-blocking socket.
pub struct SipSocket {
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl SipSocket {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // The kernel may grant less; a smaller buffer works, it only drops sooner under a flood.
        let _granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: socket.into(), buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What to poll for reading.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// The next datagram, if one waits. Errors of earlier sends (ICMP unreachable) are passed over.
    pub fn receive(&mut self) -> Option<(SocketAddr, Bytes)> {
        loop {
            match self.socket.recv_from(&mut self.buffer) {
                Ok((length, source)) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    return Some((source, Bytes::copy_from_slice(bytes)));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends one datagram. A failure is logged at `debug`: SIP's own retransmission is the answer to it.
    pub fn send(&self, destination: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.socket.send_to(bytes, destination) {
            tracing::debug!(peer = %destination, %error, "a datagram was not sent");
        }
    }
}

/// The address of this machine that packets to `far` leave from. Nothing is sent.
///
/// # Errors
/// When there is no route to it.
pub fn address_towards(far: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect(far)?;
    Ok(probe.local_addr()?.ip())
}

/// The address of this machine that a far end would see: the one its default route uses, or loopback without a route.
/// Nothing is sent.
#[must_use]
pub fn own_address() -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // 192.0.2.0/24 is reserved for documentation (RFC 5737): connecting a datagram socket sends nothing.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    probe.map_or(loopback, |address| address.ip())
}
