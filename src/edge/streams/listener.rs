//! Where others connect: taking their connections within the limits, and seeing their handshakes through.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::limits::{Seat, Shared};
use super::tls::Acceptor;
use super::{Line, connection, websocket};
use crate::sip::{Flow, Peer, Transport};

/// Connections that the kernel holds while we are busy.
const BACKLOG: i32 = 1_024;

/// How long taking connections rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(100);

/// Asks the far end's kernel whether it lives after this long without a byte, and again; a NAT's mapping stays open by it.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 5);

/// A bound address that nobody was taken from yet.
pub struct Bound {
    listener: std::net::TcpListener,
    local: SocketAddr,
    transport: Transport,
    number: u16,
}

/// Binds `address` for `transport`; port 0 takes a free one; `only_v6` leaves IPv4 to another socket at the same port. `number` is the listener's among all that the user agent knows.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr, only_v6: bool, transport: Transport, number: u16) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an engine that was stopped a moment ago do not keep this one from starting.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = std::net::TcpListener::from(socket);
    let local = listener.local_addr()?;
    Ok(Bound { listener, local, transport, number })
}

impl Bound {
    /// Where it is bound.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What is spoken there.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }
}

/// Takes connections for ever, or until the engine stops. Called within the runtime.
pub(super) fn accept_all(
    bound: Bound,
    tls: Option<Acceptor>,
    shared: Arc<Shared>,
    alive: mpsc::WeakSender<Infallible>,
) -> io::Result<impl Future<Output = ()> + Send> {
    let Bound { listener, local, transport, number } = bound;
    let listener = TcpListener::from_std(listener)?;
    Ok(async move {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    warn!(%local, %error, "no connection can be taken");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            // The engine stops.
            let Some(alive) = alive.upgrade() else { return };
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let Some(seat) = shared.seat(address.ip()) else { continue };
            let handshake = match transport {
                Transport::Udp | Transport::Tcp => None,
                Transport::Tls | Transport::Ws | Transport::Wss => {
                    match shared.handshakes.clone().try_acquire_owned() {
                        Ok(permit) => Some(permit),
                        Err(_) => {
                            shared.counts.queueing.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                    }
                }
            };
            shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
            let flow = Flow { listener: number, connection: shared.next_number() };
            let peer = Peer { transport, address, flow: Some(flow) };
            let greeting = greet(stream, peer, tls.clone(), handshake, seat, shared.clone(), alive);
            #[expect(clippy::disallowed_methods, reason = "each connection is a task")]
            drop(tokio::spawn(greeting));
        }
    })
}

/// Sees a new connection through its handshakes, then speaks SIP on it.
async fn greet(
    stream: TcpStream,
    peer: Peer,
    tls: Option<Acceptor>,
    handshake: Option<OwnedSemaphorePermit>,
    seat: Seat,
    shared: Arc<Shared>,
    alive: mpsc::Sender<Infallible>,
) {
    keep_alive(&stream);
    let patience = shared.settings.patience;
    let line = || {
        let (connection, line) = shared.connect_ends(peer, false, alive.clone());
        async { shared.opened(connection).await.then_some(line) }
    };
    let failed = |why: &dyn std::fmt::Display| {
        debug!(%peer, %why, "no handshake");
        shared.counts.handshakes.fetch_add(1, Ordering::Relaxed);
    };
    match (peer.transport, tls) {
        (Transport::Udp | Transport::Tcp, _) => {
            if let Some(line) = line().await {
                connection::converse(line, stream).await;
            }
        }
        (Transport::Ws, _) => match timeout(patience.handshake, websocket::accept(stream)).await {
            Ok(Ok(socket)) => {
                drop(handshake);
                speak(line().await, socket).await;
            }
            Ok(Err(error)) => failed(&error),
            Err(late) => failed(&late),
        },
        (Transport::Tls, Some(tls)) => match timeout(patience.handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                drop(handshake);
                if let Some(line) = line().await {
                    connection::converse(line, stream).await;
                }
            }
            Ok(Err(error)) => failed(&error),
            Err(late) => failed(&late),
        },
        (Transport::Wss, Some(tls)) => {
            let shaken = async { Ok::<_, String>(websocket::accept(tls.accept(stream).await.map_err(said)?).await) };
            match timeout(patience.handshake, shaken).await {
                Ok(Ok(Ok(socket))) => {
                    drop(handshake);
                    speak(line().await, socket).await;
                }
                Ok(Ok(Err(error))) => failed(&error),
                Ok(Err(error)) => failed(&error),
                Err(late) => failed(&late),
            }
        }
        (Transport::Tls | Transport::Wss, None) => failed(&"no certificate"),
    }
    drop(seat);
}

async fn speak<S>(line: Option<Line>, socket: tokio_tungstenite::WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Some(line) = line {
        websocket::converse(line, socket).await;
    }
}

fn said(error: io::Error) -> String {
    error.to_string()
}

/// Small messages go out at once, and a far end that vanished is noticed.
pub(super) fn keep_alive(stream: &TcpStream) {
    let (after, every, times) = KEEP_ALIVE;
    let probing = TcpKeepalive::new().with_time(after).with_interval(every).with_retries(times);
    // Without either the connection works all the same.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&probing);
}
