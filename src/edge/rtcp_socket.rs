//! The UDP sockets of RTCP, on the port above that of RTP, and how a worker hears of what comes to them.
//!
//! A far end reports each five seconds, so nobody visits these sockets in turn: one `epoll_wait` a millisecond tells a worker which
//! of all its thousands have something, and with 4,000 calls that is a quarter of a system call for each in a second. It
//! comes within a millisecond, so the round trip is as good. Far ends that multiplex (RFC 5761) need no such socket: theirs is closed as
//! soon as that is known.

#![expect(unsafe_code, reason = "epoll is not in std")]
#![expect(clippy::disallowed_types, reason = "this is the edge: it owns sockets")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::ids::LegId;

/// Datagrams taken in one visit, of all sockets together: a flood at one of these ports costs a worker no more than that.
const DATAGRAMS_MAX: usize = 16;

/// Longest datagram; a longer one is cut, and then fails as a packet.
const DATAGRAM_LENGTH_MAX: usize = 1_500;

/// One of them.
#[derive(Debug)]
pub struct RtcpSocket(UdpSocket);

impl RtcpSocket {
    /// Binds the port above this one of RTP.
    ///
    /// # Errors
    /// What the system says; there is none above 65,535.
    pub fn beside(rtp: SocketAddr) -> io::Result<Self> {
        let port = rtp.port().checked_add(1).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let address = SocketAddr::new(rtp.ip(), port);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.bind(&address.into())?;
        Ok(Self(socket.into()))
    }

    /// Sends one datagram; when it cannot be, the next report says the same.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) {
        if let Err(error) = self.0.send_to(datagram, to) {
            tracing::trace!(%error, "a report was not sent");
        }
    }
}

/// Whose datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This leg's.
    Leg(LegId),
    /// That of a leg that shares a slot's socket; its source says which.
    Slot(usize),
}

impl Whose {
    fn token(self) -> u64 {
        match self {
            Self::Leg(LegId(leg)) => leg << 1,
            Self::Slot(slot) => (slot as u64) << 1 | 1,
        }
    }

    fn of(token: u64) -> Self {
        match token & 1 {
            0 => Self::Leg(LegId(token >> 1)),
            _ => Self::Slot(usize::try_from(token >> 1).unwrap_or(usize::MAX)),
        }
    }
}

/// All sockets of RTCP of one worker.
#[derive(Debug)]
pub struct RtcpSockets {
    epoll: OwnedFd,
    /// None was ever added: nothing is asked before.
    is_empty: bool,
    datagram: Box<[u8; DATAGRAM_LENGTH_MAX]>,
}

impl RtcpSockets {
    /// None yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: it was just opened, and nobody else has it.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            is_empty: true,
            datagram: Box::new([0; DATAGRAM_LENGTH_MAX]),
        })
    }

    /// Listens to a socket, until it is closed.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, socket: &RtcpSocket, whose: Whose) -> io::Result<()> {
        let mut interest = libc::epoll_event { events: libc::EPOLLIN as u32, u64: whose.token() };
        // SAFETY: `interest` is a whole event that outlives the call.
        let result = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.0.as_raw_fd(), &raw mut interest)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        self.is_empty = false;
        Ok(())
    }

    /// Asks which sockets have something, [`DATAGRAMS_MAX`] at most, in turn when there are more.
    pub fn poll(&mut self) -> impl Iterator<Item = Whose> + use<> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; DATAGRAMS_MAX];
        let count = if self.is_empty {
            0
        } else {
            // SAFETY: the events are as many as announced and outlive the call.
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), DATAGRAMS_MAX as libc::c_int, 0) }
        };
        events.into_iter().take(usize::try_from(count).unwrap_or(0)).map(|event| Whose::of(event.u64))
    }

    /// Takes one datagram of a socket that [`poll`](Self::poll) named.
    pub fn receive(&mut self, socket: &RtcpSocket) -> Option<(SocketAddr, &mut [u8])> {
        let (length, source) = socket.0.recv_from(&mut self.datagram[..]).ok()?;
        Some((source, self.datagram.get_mut(..length)?))
    }
}
