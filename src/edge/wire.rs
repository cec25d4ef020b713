//! SIP to one far end, for tests of it: a datagram socket, or connections with their runtime.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::pki_types::ServerName;

use crate::edge::inbox::{self, inbox};
use crate::edge::sip_socket::SipSocket;
use crate::edge::streams::{self, Arrival, Event as StreamEvent, Limits, Parcel, Patience, Streams};
use crate::sip::{self, Listeners, Peer, Transport};

/// Whom to speak to, and as whom.
#[derive(Clone, Debug)]
pub struct WireTo {
    /// Where requests go: UDP, TCP or TLS.
    pub destination: Peer,
    /// The name that the far end's certificate must hold; `None`: its address.
    pub name: Option<String>,
    /// Certificates that are trusted; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Our own address.
    pub address: IpAddr,
}

/// What SIP to one far end goes over.
pub enum Wire {
    /// One socket.
    Datagrams(SipSocket),
    /// One connection, and those that the far end opens.
    Connection(Box<Connection>),
}

/// What TCP or TLS needs.
pub struct Connection {
    streams: Streams,
    inbox: inbox::Inbox<StreamEvent>,
    _runtime: tokio::runtime::Runtime,
}

/// Events of the one connection that may wait for the phone.
const EVENTS_MAX: usize = 1_024;

impl Wire {
    /// Opens what is needed; nothing is connected yet. The listeners are what a user agent says of itself.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn open(to: &WireTo) -> io::Result<(Self, Listeners)> {
        let transport = to.destination.transport;
        let own = |port| sip::Listener { transport, advertised: SocketAddr::new(to.address, port) };
        if transport == Transport::Udp {
            let socket = SipSocket::bind(SocketAddr::new(to.address, 0), false)?;
            let listeners = Listeners::new(own(socket.local()?.port()), []);
            return Ok((Self::Datagrams(socket), listeners));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Over TCP the far end may connect to us, as when our own connection breaks; without a certificate nobody can by TLS.
        let bound = match transport {
            Transport::Tcp => Some(streams::bind(SocketAddr::new(to.address, 0), false, transport, 0)?),
            Transport::Udp | Transport::Tls | Transport::Ws | Transport::Wss => None,
        };
        let port = bound.as_ref().map_or(transport.default_port(), |bound| bound.local().port());
        let listeners = Listeners::new(own(port), []);
        let name = to.name.clone().and_then(|name| ServerName::try_from(name).ok());
        let settings = streams::Settings {
            patience: Patience::default(),
            limits: Limits { unread: EVENTS_MAX, ..Limits::default() },
            listeners: listeners.clone(),
            ca: to.ca.clone(),
            names: Mutex::new(name.map(|name| (to.destination.address, name)).into_iter().collect()),
        };
        let (sender, inbox) = inbox(EVENTS_MAX)?;
        let report = Arc::new(move |event| sender.send(event));
        let mut streams = Streams::new(settings, runtime.handle().clone(), report);
        if let Some(bound) = bound {
            streams.listen(bound, None)?;
        }
        Ok((Self::Connection(Box::new(Connection { streams, inbox, _runtime: runtime })), listeners))
    }

    /// What to poll for reading.
    pub fn descriptor(&self) -> RawFd {
        match self {
            Self::Datagrams(socket) => socket.descriptor(),
            Self::Connection(connection) => connection.inbox.descriptor(),
        }
    }

    /// All that came.
    pub fn receive(&mut self) -> Vec<Arrival> {
        match self {
            Self::Datagrams(socket) => {
                let message = |(source, bytes)| Arrival::Message { source: Peer::udp(source), bytes };
                std::iter::from_fn(|| socket.receive()).map(message).collect()
            }
            Self::Connection(connection) => {
                let Connection { streams, inbox, .. } = &mut **connection;
                inbox.take(EVENTS_MAX).into_iter().filter_map(|event| streams.handle(event)).collect()
            }
        }
    }

    /// Sends a message; what cannot be sent at once comes back.
    pub fn send(&mut self, destination: Peer, bytes: Bytes) -> Option<Arrival> {
        match self {
            Self::Datagrams(socket) => {
                socket.send(destination.address, &bytes);
                None
            }
            Self::Connection(connection) => connection.streams.send(Parcel { destination, bytes }),
        }
    }
}
