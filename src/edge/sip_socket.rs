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
    /// Binds `address`; port 0 takes a free one; `only_v6` leaves IPv4 to another socket at the same port.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr, only_v6: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // The kernel may grant less; a smaller buffer works, it only drops sooner under a flood.
        let _granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
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

/// The address of this machine that a far end of this family would see: the one its default route uses, or loopback without a route.
/// Nothing is sent.
#[must_use]
pub fn own_address(v6: bool) -> IpAddr {
    // Addresses that are reserved for documentation (RFC 5737, RFC 3849): connecting a datagram socket sends nothing.
    let (far, loopback): (IpAddr, IpAddr) = if v6 {
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into())
    } else {
        (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into())
    };
    address_towards(SocketAddr::new(far, 9)).unwrap_or(loopback)
}
