//! One UDP socket for many legs whose far ends differ: a carrier's trunk sends all its calls from addresses that its SDP names.
//!
//! Such legs leave and arrive in batches, for half of what a socket each would cost. Whose a datagram is, its source says, in a
//! table that is filled when a leg opens: a datagram from anyone else is counted and dropped, as the kernel does on a connected
//! socket. So no two legs with the same far end may be on one ([`edge::leg_media`](super::leg_media) sees to that), nothing
//! is learned of a far end that sends from elsewhere, and a leg behind a NAT has no business here.

#![expect(clippy::disallowed_types, reason = "an index by address that is never walked: its order does not matter")]

use std::collections::HashMap;
use std::net::SocketAddr;

use socket2::Socket;

use super::batch::{Arrivals, Outbox};
use super::rtcp_socket::RtcpSocket;
use super::rtp_socket::{DATAGRAM_LENGTH_MAX, RtpSocket};

/// Most legs of one socket; a worker has a socket for each of its twenty slots.
pub const LEGS_MAX: usize = 512;

/// Room for 20 ms of that many legs, and for a thread that comes late.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// A bound socket and whose datagrams it takes. The numbers are those of its slot's seats.
#[derive(Debug)]
pub struct SharedSocket {
    socket: Socket,
    local: SocketAddr,
    seats: HashMap<SocketAddr, usize>,
    beside: Option<RtcpSocket>,
    /// Whose RTCP it is, by where it comes from: the far end's RTP address.
    controls: HashMap<SocketAddr, SocketAddr>,
}

impl SharedSocket {
    /// Makes a leg's own socket one for many.
    #[must_use]
    pub fn new(socket: RtpSocket) -> Self {
        let local = socket.local();
        let (socket, beside) = socket.into_sockets();
        // The kernel may grant less: it then drops sooner when the thread is late.
        let _granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let seats = HashMap::with_capacity(LEGS_MAX);
        Self { socket, local, seats, beside, controls: HashMap::with_capacity(LEGS_MAX) }
    }

    /// Where it receives.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams from `far` are for this seat from now on. False when they are another's.
    pub fn seat(&mut self, far: SocketAddr, seat: usize) -> bool {
        let free = !self.seats.contains_key(&far);
        if free {
            self.seats.insert(far, seat);
        }
        free
    }

    /// The leg of `far` has moved to another seat.
    pub fn reseat(&mut self, far: SocketAddr, seat: usize) {
        if let Some(place) = self.seats.get_mut(&far) {
            *place = seat;
        }
    }

    /// Datagrams from `far` are nobody's any more.
    pub fn unseat(&mut self, far: SocketAddr) {
        self.seats.remove(&far);
        self.seat_control(far, None);
    }

    /// Whose a datagram from `source` is.
    #[must_use]
    pub fn seat_of(&self, source: SocketAddr) -> Option<usize> {
        self.seats.get(&source).copied()
    }

    /// RTCP from `control` is from now on that of the far end `far`; `None` when it has no port of its own. An address that two far ends
    /// name is the first one's.
    pub fn seat_control(&mut self, far: SocketAddr, control: Option<SocketAddr>) {
        self.controls.retain(|_, owner| *owner != far);
        if let Some(control) = control {
            self.controls.entry(control).or_insert(far);
        }
    }

    /// Whose RTCP from `source` is.
    #[must_use]
    pub fn seat_of_control(&self, source: SocketAddr) -> Option<usize> {
        self.seat_of(*self.controls.get(&source)?)
    }

    /// The socket of RTCP, on the port above.
    #[must_use]
    pub fn beside(&self) -> Option<&RtcpSocket> {
        self.beside.as_ref()
    }

    /// True while nobody has a seat.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Takes what waits, a batch at most; true when more may wait.
    pub fn receive(&self, arrivals: &mut Arrivals<DATAGRAM_LENGTH_MAX>) -> bool {
        arrivals.receive(&self.socket)
    }

    /// Sends all that waits in `outbox`; gives how many packets the system would not take.
    pub fn send<const LENGTH: usize>(&self, outbox: &mut Outbox<LENGTH>) -> usize {
        outbox.flush(&self.socket)
    }
}
