//! The UDP socket of one leg. It never blocks.
//!
//! Until the far end is known, a visit is one `recvmmsg` with sources. Connected, it is one plain `recv`, which costs a
//! third less: a stream that comes at the pace of the visits has one datagram waiting. Only when a visit found none, or
//! several, and now and then to be sure, is the queue emptied to its end.

#![expect(unsafe_code, reason = "recv into plain bytes, recvmmsg and dissolving a connection have no safe wrapper")]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};

use super::rtcp_socket::RtcpSocket;

/// Datagrams taken in one visit: 160 ms of a stream, should a tick have come late.
pub const DATAGRAMS_MAX: usize = 8;

/// Longest datagram; RTP over UDP stays below a link's 1,500 bytes. A longer one is cut and then fails as a packet.
pub const DATAGRAM_LENGTH_MAX: usize = 1_500;

/// Visits that empty the queue after one that found none or several datagrams.
const THOROUGH_VISITS: u8 = 8;

/// A visit in so many empties the queue anyway: a far end that sends faster than we visit must not fall behind.
const THOROUGH_EVERY: u8 = 16;

/// Expedited forwarding (RFC 3246) for voice, in the upper six bits of the old type of service.
const TYPE_OF_SERVICE: u32 = 46 << 2;

/// Ports tried when the system is asked for any.
const ANY_PORT_TRIES: usize = 32;

/// A bound socket, connected to its far end when that is known for sure.
#[derive(Debug)]
pub struct RtpSocket {
    socket: Socket,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    /// The socket of its RTCP.
    beside: Option<RtcpSocket>,
    /// The queue was seen empty since the connection: all that waits is from `peer`, the kernel saw to it.
    filtered: bool,
    /// Visits to come that empty the queue.
    thorough: u8,
    /// Visits until one empties the queue anyway.
    until_thorough: u8,
}

/// Room for one visit's datagrams; one serves all sockets of a thread.
#[derive(Debug)]
pub struct Inbox {
    datagrams: Box<[[u8; DATAGRAM_LENGTH_MAX]; DATAGRAMS_MAX]>,
    received: [(SocketAddr, usize); DATAGRAMS_MAX],
    count: usize,
}

impl RtpSocket {
    /// Binds a free even port of `ports` on `ip` (RFC 3550 §11), the search begun at a place that `random` chooses; with `None`, any
    /// port that the system has free.
    ///
    /// # Errors
    /// `AddrInUse` when the range has no free port, or what the system says of `ip`.
    pub fn open(ip: IpAddr, ports: Option<RangeInclusive<u16>>, random: u64) -> io::Result<Self> {
        match ports {
            Some(ports) => Self::search(ip, &ports, random, Self::bind),
            None => Self::open_any(ip),
        }
    }

    /// Binds such a port and the one above it, for RTCP, both of the range: a port that our description names is nobody else's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_pair(ip: IpAddr, ports: RangeInclusive<u16>, random: u64) -> io::Result<Self> {
        let evens = *ports.start()..=ports.end().saturating_sub(1);
        Self::search(ip, &evens, random, |address| {
            let mut socket = Self::bind(address)?;
            socket.beside = Some(RtcpSocket::beside(socket.local)?);
            Ok(socket)
        })
    }

    /// Tries the even ports of the range, each once.
    fn search(
        ip: IpAddr,
        ports: &RangeInclusive<u16>,
        random: u64,
        bind: impl Fn(SocketAddr) -> io::Result<Self>,
    ) -> io::Result<Self> {
        let first_pair = u32::from(*ports.start()).div_ceil(2);
        let pairs = (u32::from(*ports.end()) / 2 + 1).saturating_sub(first_pair);
        for step in 0..pairs {
            let pair = first_pair + ((random % u64::from(pairs)) as u32 + step) % pairs; // below 2^15 + 2^15
            let Ok(port @ 1..) = u16::try_from(pair * 2) else { continue };
            match bind(SocketAddr::new(ip, port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no free even port in {}-{}", ports.start(), ports.end())))
    }

    /// Bound by number in a second step: a socket whose port the system chose loses it when it is disconnected.
    fn open_any(ip: IpAddr) -> io::Result<Self> {
        for _ in 0..ANY_PORT_TRIES {
            let local = Self::bind(SocketAddr::new(ip, 0))?.local;
            match Self::bind(local) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.bind(&address.into())?;
        // A network that forbids marking still carries calls.
        let _ =
            if address.is_ipv4() { socket.set_tos_v4(TYPE_OF_SERVICE) } else { socket.set_tclass_v6(TYPE_OF_SERVICE) };
        let local = match address.port() {
            0 => socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?,
            _ => address,
        };
        Ok(Self { socket, local, peer: None, beside: None, filtered: false, thorough: 0, until_thorough: 0 })
    }

    /// The system's socket, for another use, and that of RTCP.
    #[must_use]
    pub fn into_sockets(self) -> (Socket, Option<RtcpSocket>) {
        (self.socket, self.beside)
    }

    /// The socket of RTCP, on the port above.
    #[must_use]
    pub fn beside(&self) -> Option<&RtcpSocket> {
        self.beside.as_ref()
    }

    /// Opens the socket of RTCP again, if it is closed and the port still free; true when it was opened.
    pub fn open_beside(&mut self) -> bool {
        let opens = self.beside.is_none();
        if opens {
            self.beside = RtcpSocket::beside(self.local).ok();
        }
        opens && self.beside.is_some()
    }

    /// Closes the socket of RTCP: the far end multiplexes, or reports nothing.
    pub fn close_beside(&mut self) {
        self.beside = None;
    }

    /// Where it receives.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What to poll for reading.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// The far end it is connected to.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Connects to the far end, so that sending is cheaper and the kernel drops strangers' datagrams; `None` opens it to everybody again.
    ///
    /// # Errors
    /// What the system says; the socket then works on as before.
    pub fn connect(&mut self, peer: Option<SocketAddr>) -> io::Result<()> {
        if let Some(peer) = peer {
            self.socket.connect(&peer.into())?;
        } else {
            disconnect(&self.socket)?;
        }
        self.peer = peer;
        self.filtered = false;
        Ok(())
    }

    /// Sends one datagram. When the queue is full, or an earlier one was refused, it is lost as on any network.
    ///
    /// # Errors
    /// What the system says, for counting only.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.peer == Some(to) {
            self.socket.send(datagram)?;
        } else {
            self.socket.send_to(datagram, &to.into())?;
        }
        Ok(())
    }

    /// Takes waiting datagrams into `inbox`, at most [`DATAGRAMS_MAX`]; none waiting, or an error, leaves it empty.
    pub fn receive(&mut self, inbox: &mut Inbox) {
        inbox.count = 0;
        if let Some(peer) = self.peer.filter(|_| self.filtered) {
            self.receive_from_peer(peer, inbox);
            return;
        }
        // An unreachable port reported for what we sent comes before the datagrams that wait.
        if let Err(error) = receive_waiting(&self.socket, inbox)
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            let _ = receive_waiting(&self.socket, inbox);
        }
        self.filtered = self.peer.is_some() && inbox.count < DATAGRAMS_MAX;
    }

    fn receive_from_peer(&mut self, peer: SocketAddr, inbox: &mut Inbox) {
        let thorough = self.thorough > 0 || self.until_thorough == 0;
        self.until_thorough = self.until_thorough.checked_sub(1).unwrap_or(THOROUGH_EVERY);
        let mut refusals = 0;
        for (datagram, place) in inbox.datagrams.iter_mut().zip(&mut inbox.received) {
            let received = loop {
                match receive_one(&self.socket, datagram) {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && refusals == 0 => refusals += 1,
                    result => break result,
                }
            };
            let Ok(length) = received else { break };
            *place = (peer, length);
            inbox.count += 1;
            if !thorough {
                break;
            }
        }
        self.thorough = if inbox.count == 1 { self.thorough.saturating_sub(1) } else { THOROUGH_VISITS };
    }
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self {
            datagrams: Box::new([[0; DATAGRAM_LENGTH_MAX]; DATAGRAMS_MAX]),
            received: [(nobody, 0); DATAGRAMS_MAX],
            count: 0,
        }
    }

    /// The datagrams of the last visit with their sources, in order; SRTP is opened where it lies.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let received = self.received.iter().zip(self.datagrams.iter_mut()).take(self.count);
        received.map(|(&(source, length), datagram)| (source, datagram.get_mut(..length).unwrap_or_default()))
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// One `recv`.
fn receive_one(socket: &Socket, datagram: &mut [u8; DATAGRAM_LENGTH_MAX]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of one buffer that outlives the call.
    let length =
        unsafe { libc::recv(socket.as_raw_fd(), datagram.as_mut_ptr().cast(), datagram.len(), libc::MSG_DONTWAIT) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// One `recvmmsg` with sources.
fn receive_waiting(socket: &Socket, inbox: &mut Inbox) -> io::Result<()> {
    let mut names: [MaybeUninit<libc::sockaddr_storage>; DATAGRAMS_MAX] = [MaybeUninit::uninit(); DATAGRAMS_MAX];
    // SAFETY: both structs are plain C data for which zeros are valid.
    let mut buffers: [libc::iovec; DATAGRAMS_MAX] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; DATAGRAMS_MAX] = unsafe { mem::zeroed() };
    let places = messages.iter_mut().zip(&mut buffers).zip(&mut names).zip(inbox.datagrams.iter_mut());
    for (((message, buffer), name), datagram) in places {
        buffer.iov_base = datagram.as_mut_ptr().cast();
        buffer.iov_len = datagram.len();
        message.msg_hdr.msg_iov = buffer;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_name = name.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = NAME_LENGTH;
    }
    // SAFETY: each header points at one iovec, each iovec at one whole buffer of the inbox, each name at a whole
    // sockaddr_storage; all of them outlive the call, and the count is theirs.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            DATAGRAMS_MAX as libc::c_uint,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    for ((message, name), place) in messages.iter().zip(&names).zip(&mut inbox.received).take(count) {
        // SAFETY: the kernel wrote `msg_namelen` bytes of an address of its family into `name`.
        let source = unsafe { read_name(name, message.msg_hdr.msg_namelen) };
        // Without a source the datagram is nobody's; the port 0 of nobody is no far end's.
        *place = (source.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))), message.msg_len as usize);
    }
    inbox.count = count.min(DATAGRAMS_MAX);
    Ok(())
}

/// Reads the address that the kernel wrote.
///
/// # Safety
/// `length` bytes of `name` are written, and are an address of the family they name.
unsafe fn read_name(name: &MaybeUninit<libc::sockaddr_storage>, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = usize::try_from(length).ok()?;
    if length < size_of::<libc::sa_family_t>() {
        return None;
    }
    let name: *const libc::sockaddr_storage = name.as_ptr();
    // SAFETY: the family is within the bytes that are written, and every pointer into a sockaddr_storage is aligned for
    // the addresses it holds.
    let family = unsafe { ptr::addr_of!((*name).ss_family).read() };
    match libc::c_int::from(family) {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: a sockaddr_in is written here.
            let address = unsafe { name.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: a sockaddr_in6 is written here.
            let address = unsafe { name.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(SocketAddr::from((ip, u16::from_be(address.sin6_port))))
        }
        _ => None,
    }
}

/// Dissolves the connection: connecting to an address of no family does that (connect(2)).
fn disconnect(socket: &Socket) -> io::Result<()> {
    // SAFETY: sockaddr is plain C data for which zeros are valid; its family 0 is AF_UNSPEC.
    let nobody: libc::sockaddr = unsafe { mem::zeroed() };
    // SAFETY: `nobody` is a whole sockaddr, and its length is given.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &nobody, size_of::<libc::sockaddr>() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const NAME_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Loopback delivers within the sending call, so one visit sees what was sent before it.
    fn received(socket: &mut RtpSocket) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut inbox = Inbox::new();
        socket.receive(&mut inbox);
        inbox.iter_mut().map(|(source, datagram)| (source, datagram.to_vec())).collect()
    }

    #[test]
    fn datagrams_come_with_their_sources_and_at_most_eight_at_once() {
        for ip in [LOOPBACK, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let Ok(mut socket) = RtpSocket::open(ip, None, 0) else {
                assert!(ip.is_ipv6(), "a machine may be without IPv6, not without IPv4");
                continue;
            };
            let phone = RtpSocket::open(ip, None, 0).unwrap();
            assert_eq!(received(&mut socket), []);
            for number in 0..10 {
                phone.send(&[number; 3], socket.local()).unwrap();
            }
            let first: Vec<_> = (0..8).map(|number| (phone.local(), vec![number; 3])).collect();
            assert_eq!(received(&mut socket), first);
            assert_eq!(received(&mut socket), [(phone.local(), vec![8; 3]), (phone.local(), vec![9; 3])]);
        }
    }

    #[test]
    fn a_connected_socket_hears_its_peer_alone_until_it_is_opened_again() {
        let mut socket = RtpSocket::open(LOOPBACK, None, 0).unwrap();
        let (phone, stranger) =
            (RtpSocket::open(LOOPBACK, None, 0).unwrap(), RtpSocket::open(LOOPBACK, None, 0).unwrap());
        stranger.send(b"early", socket.local()).unwrap();
        let local = socket.local();
        socket.connect(Some(phone.local())).unwrap();
        stranger.send(b"dropped", local).unwrap();
        phone.send(b"one", local).unwrap();
        let waiting = [(stranger.local(), b"early".to_vec()), (phone.local(), b"one".to_vec())];
        assert_eq!(received(&mut socket), waiting, "what waited before the connection keeps its source");
        phone.send(b"two", local).unwrap();
        assert_eq!(received(&mut socket), [(phone.local(), b"two".to_vec())]);
        socket.connect(None).unwrap();
        assert_eq!((socket.peer(), socket.socket.local_addr().unwrap().as_socket()), (None, Some(local)));
        stranger.send(b"three", local).unwrap();
        assert_eq!(received(&mut socket), [(stranger.local(), b"three".to_vec())]);
    }

    #[test]
    fn a_refusal_does_not_hide_what_waits() {
        let mut socket = RtpSocket::open(LOOPBACK, None, 0).unwrap();
        let phone = RtpSocket::open(LOOPBACK, None, 0).unwrap();
        let address = phone.local();
        socket.connect(Some(address)).unwrap();
        drop(phone);
        let _ = socket.send(b"nobody there", address);
        let phone = RtpSocket::bind(address).unwrap();
        phone.send(b"back", socket.local()).unwrap();
        assert_eq!(received(&mut socket), [(address, b"back".to_vec())]);
    }

    #[test]
    fn ports_are_even_free_and_in_the_range() {
        // Wherever the system has room: a range of its own choice, found by asking for a port.
        let base = RtpSocket::open(LOOPBACK, None, 0).unwrap().local().port().min(65_000);
        let range = base..=base + 9;
        let mut open: Vec<RtpSocket> = Vec::new();
        let error = loop {
            match RtpSocket::open(LOOPBACK, Some(range.clone()), 3) {
                Ok(socket) => open.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!((1..=5).contains(&open.len()), "{open:?}");
        assert!(open.iter().all(|socket| socket.local().port() % 2 == 0 && range.contains(&socket.local().port())));
        drop(open);
        // With the port above each: the odd one is of the range too, and nobody else's.
        let taken = RtpSocket::bind(SocketAddr::new(LOOPBACK, base + 3)).unwrap();
        let pairs: Vec<RtpSocket> =
            std::iter::from_fn(|| RtpSocket::open_pair(LOOPBACK, base..=base + 8, 1).ok()).take(5).collect();
        let locals: Vec<u16> = pairs.iter().map(|pair| pair.local().port()).collect();
        assert!((1..=3).contains(&pairs.len()) && pairs.iter().all(|pair| pair.beside().is_some()), "{locals:?}");
        assert!(!locals.contains(&(base + 2)) && !locals.contains(&(base + 8)), "{locals:?}");
        drop(taken);
        let inverted = RangeInclusive::new(5, 4);
        assert_eq!(RtpSocket::open(LOOPBACK, Some(inverted), 3).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
