//! Every address of `[sip]` that far ends reach us at, opened.

use std::io;
use std::net::SocketAddr;

use crate::config::Config;
use crate::edge::sip_socket::{self, SipSocket};
use crate::edge::streams::{self, Bound};
use crate::sip::{Listener, Listeners, Transport};

/// What is listened at. The number of a socket among `sockets` is that of its listener; those of streams follow.
pub struct Listening {
    /// UDP.
    pub sockets: Vec<SipSocket>,
    /// Everything else.
    pub streams: Vec<Bound>,
    /// What peers are told.
    pub listeners: Listeners,
    /// Where each is bound.
    pub bound: Vec<(Transport, SocketAddr)>,
}

/// Ports that the system gives for UDP may be taken for TCP: so often another is asked for.
const PAIRS_TRIED: usize = 16;

/// Opens all, or says which cannot be.
///
/// # Errors
/// The address, and what the system says of it.
pub fn open(config: &Config) -> Result<Listening, (SocketAddr, io::Error)> {
    let sip = &config.sip;
    // RFC 3261 §18.2.1: TCP at the same port as UDP, also when the system chooses it.
    let mut tried = 0;
    let (sockets, mut tcp) = loop {
        let sockets = datagram_sockets(&sip.listen)?;
        let follows: io::Result<Vec<SocketAddr>> = sockets.iter().map(SipSocket::local).collect();
        let addresses = match (&sip.listen_tcp, follows) {
            (Some(addresses), _) => addresses.clone(),
            (None, Ok(follows)) => follows,
            (None, Err(error)) => return Err((first(sip.tcp()), error)),
        };
        tried += 1;
        match streams(&addresses, Transport::Tcp, sockets.len()) {
            Ok(tcp) => break (sockets, tcp),
            Err((_, error)) if may_differ(sip.listen_tcp.is_none(), &sip.listen, &error) && tried < PAIRS_TRIED => {}
            Err(error) => return Err(error),
        }
    };
    for (addresses, transport) in
        [(&sip.listen_tls, Transport::Tls), (&sip.listen_ws, Transport::Ws), (&sip.listen_wss, Transport::Wss)]
    {
        tcp.extend(streams(addresses, transport, sockets.len() + tcp.len())?);
    }
    let mut bound = Vec::new();
    for (socket, address) in sockets.iter().zip(&sip.listen) {
        bound.push((Transport::Udp, socket.local().map_err(|error| (*address, error))?));
    }
    bound.extend(tcp.iter().map(|stream| (stream.transport(), stream.local())));
    let told = |&(transport, local)| Listener { transport, advertised: advertised(config, local) };
    let mut all = bound.iter().map(told);
    // The settings are read so that there is one at least.
    let nobody = || Listener { transport: Transport::Udp, advertised: SocketAddr::from(([0, 0, 0, 0], 0)) };
    let listeners = Listeners::new(all.next().unwrap_or_else(nobody), all);
    Ok(Listening { sockets, streams: tcp, listeners, bound })
}

fn may_differ(follows: bool, udp: &[SocketAddr], error: &io::Error) -> bool {
    follows && error.kind() == io::ErrorKind::AddrInUse && udp.iter().all(|address| address.port() == 0)
}

fn first(addresses: &[SocketAddr]) -> SocketAddr {
    addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn datagram_sockets(addresses: &[SocketAddr]) -> Result<Vec<SipSocket>, (SocketAddr, io::Error)> {
    let bind = |&address| SipSocket::bind(address, shares_port(address, addresses)).map_err(|error| (address, error));
    addresses.iter().map(bind).collect()
}

fn streams(
    addresses: &[SocketAddr],
    transport: Transport,
    before: usize,
) -> Result<Vec<Bound>, (SocketAddr, io::Error)> {
    let bind = |(&address, number): (&SocketAddr, usize)| {
        let number = u16::try_from(number).map_err(|_| (address, io::ErrorKind::InvalidInput.into()))?;
        streams::bind(address, shares_port(address, addresses), transport, number).map_err(|error| (address, error))
    };
    addresses.iter().zip(before..).map(bind).collect()
}

/// Whether an IPv4 address of the list has the same port, which an IPv6 socket would otherwise take too.
fn shares_port(address: SocketAddr, all: &[SocketAddr]) -> bool {
    all.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

/// The address that peers reach us at: as configured for its family, or the bound one, or the one of the default route.
fn advertised(config: &Config, local: SocketAddr) -> SocketAddr {
    let address = match config.sip.advertised {
        Some(address)
            if address.is_ipv4() == local.is_ipv4() || local.ip().is_unspecified() && config.sip.listen.len() == 1 =>
        {
            address
        }
        Some(_) | None if local.ip().is_unspecified() => sip_socket::own_address(local.is_ipv6()),
        Some(_) | None => local.ip(),
    };
    SocketAddr::new(address, local.port())
}
