//! A socket of the load generator: what arrives carries the kernel's own stamp, so that a generator that is late itself does not
//! measure its own lateness.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::edge::batch::{self, Arrivals, Outbox};

/// Room for what arrives between two visits; the kernel takes memory for it only as it fills.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A bound socket that never blocks.
pub struct Port {
    socket: Socket,
    local: SocketAddr,
    /// Its only far end, once it is known.
    peer: Option<SocketAddr>,
    /// Datagrams that its queue had no room for.
    overflows: u32,
}

impl Port {
    /// Binds any free port of `ip`.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(ip: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::new(ip, 0);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // The kernel may grant less; what then overflows is counted.
        let _granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        batch::ask_for_stamps(&socket)?;
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, local, peer: None, overflows: 0 })
    }

    /// Where it receives.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Makes `peer` its only far end: sending is cheaper, and nobody else is heard.
    ///
    /// # Errors
    /// What the system says; the port then stays open to everybody.
    pub fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(&peer.into())?;
        self.peer = Some(peer);
        Ok(())
    }

    /// Sends one datagram; false when the system would not take it.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> bool {
        let sent =
            if self.peer == Some(to) { self.socket.send(datagram) } else { self.socket.send_to(datagram, &to.into()) };
        sent.is_ok()
    }

    /// Sends all that waits in `outbox`; gives how many the system would not take.
    pub fn send_all<const LENGTH: usize>(&self, outbox: &mut Outbox<LENGTH>) -> usize {
        outbox.flush(&self.socket)
    }

    /// Takes what waits, a batch at most. True when more may wait.
    pub fn receive<const LENGTH: usize>(&mut self, arrivals: &mut Arrivals<LENGTH>) -> bool {
        let more = arrivals.receive(&self.socket);
        self.overflows = arrivals.overflows().unwrap_or(self.overflows);
        more
    }

    /// Datagrams that its queue had no room for: lost here, not at the far end.
    pub fn overflows(&self) -> u32 {
        self.overflows
    }
}
