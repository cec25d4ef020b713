//! Connections over real sockets, without the engine behind them: framing, limits, time-outs, what becomes of messages whose connection is
//! lost, WebSocket, and a certificate that changes while connections go on.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real sockets open them, and write certificates"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::config::Identity;
use contesta::edge::streams::{self, Arrival, Counts, Event, Limits, Parcel, Patience, Streams, tls};
use contesta::sip::{Flow, Listener, Listeners, Peer, Transport};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n";
const INFO: &str = "INFO sip:a@b SIP/2.0\r\nl: 5\r\nVia: SIP/2.0/TCP h\r\n\r\nhello";

/// Nothing that a test waits for takes longer, unless it never comes.
const NEVER: Duration = Duration::from_secs(20);

/// Too short for anybody who does nothing, and long enough for a busy machine to do something.
const SHORT: Duration = Duration::from_millis(300);

/// The thread that decides, its connections, and the addresses they are taken at.
struct Edge {
    streams: Streams,
    events: Receiver<Event>,
    runtime: tokio::runtime::Runtime,
    addresses: Vec<SocketAddr>,
    closed: Vec<Flow>,
    undelivered: Vec<Parcel>,
}

impl Edge {
    fn new(transports: &[Transport], patience: Patience, limits: Limits, tls: Option<&tls::Certificate>) -> Self {
        Self::trusting(transports, patience, limits, tls, None)
    }

    fn trusting(
        transports: &[Transport],
        patience: Patience,
        limits: Limits,
        tls: Option<&tls::Certificate>,
        ca: Option<&Path>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound: Vec<_> = (0..)
            .zip(transports)
            .map(|(number, transport)| streams::bind(free, false, *transport, number).unwrap())
            .collect();
        let addresses: Vec<SocketAddr> = bound.iter().map(streams::Bound::local).collect();
        let listener =
            |(address, transport): (&SocketAddr, &Transport)| Listener { transport: *transport, advertised: *address };
        let mut listeners = addresses.iter().zip(transports).map(listener);
        let nobody = Listener { transport: Transport::Udp, advertised: free };
        let listeners = Listeners::new(listeners.next().unwrap_or(nobody), listeners);
        let settings =
            streams::Settings { patience, limits, listeners, ca: ca.map(Path::to_owned), names: Mutex::default() };
        let (sender, events) = channel();
        let mut streams =
            Streams::new(settings, runtime.handle().clone(), Arc::new(move |event| sender.send(event).is_ok()));
        let acceptor = tls.map(|certificate| certificate.acceptor().unwrap());
        for bound in bound {
            streams.listen(bound, acceptor.clone()).unwrap();
        }
        Self { streams, events, runtime, addresses, closed: Vec::new(), undelivered: Vec::new() }
    }

    fn tcp() -> Self {
        Self::new(&[Transport::Tcp], Patience::default(), Limits::default(), None)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).unwrap();
        stream.set_read_timeout(Some(NEVER)).unwrap();
        stream
    }

    /// Handles one event of a task.
    fn step(&mut self) -> Option<(Peer, Bytes)> {
        let event = self.events.recv_timeout(NEVER).unwrap();
        match self.streams.handle(event) {
            Some(Arrival::Message { source, bytes }) => return Some((source, bytes)),
            Some(Arrival::Undelivered(parcel, _)) => self.undelivered.push(parcel),
            Some(Arrival::Closed(flow)) => self.closed.push(flow),
            None => {}
        }
        None
    }

    fn message(&mut self) -> (Peer, String) {
        loop {
            if let Some((source, bytes)) = self.step() {
                return (source, String::from_utf8(bytes.to_vec()).unwrap());
            }
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let said = self.step();
            assert_eq!(said, None);
        }
    }

    fn send(&mut self, destination: Peer, text: &str) {
        let parcel = Parcel { destination, bytes: Bytes::copy_from_slice(text.as_bytes()) };
        if let Some(Arrival::Undelivered(parcel, _)) = self.streams.send(parcel) {
            self.undelivered.push(parcel);
        }
    }

    fn counts(&self) -> Counts {
        self.streams.counts()
    }
}

/// Waits for what a task does without telling.
#[track_caller]
fn eventually(done: impl Fn() -> bool) {
    let deadline = Instant::now() + NEVER;
    while !done() {
        assert!(Instant::now() < deadline, "it never came to that");
        std::thread::yield_now();
    }
}

/// All that comes until the connection is closed.
fn rest(stream: &mut impl Read) -> String {
    let mut all = Vec::new();
    // A connection that was ended while we wrote may be reset.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8(all).unwrap()
}

fn read(stream: &mut impl Read, length: usize) -> String {
    let mut all = vec![0; length];
    stream.read_exact(&mut all).unwrap();
    String::from_utf8(all).unwrap()
}

/// RFC 3261 §18.3, RFC 5626 §3.5.1.
#[test]
fn messages_come_out_of_a_stream_and_answers_go_back_by_it() {
    let mut edge = Edge::tcp();
    let mut phone = edge.connect();
    for byte in OPTIONS.bytes() {
        phone.write_all(&[byte]).unwrap();
    }
    let (source, text) = edge.message();
    assert_eq!(
        (source.transport, source.address, text.as_str()),
        (Transport::Tcp, phone.local_addr().unwrap(), OPTIONS)
    );
    phone.write_all(format!("{INFO}\r\n\r\n{OPTIONS}").as_bytes()).unwrap();
    assert_eq!([edge.message().1, edge.message().1], [INFO, OPTIONS]);
    assert_eq!(read(&mut phone, 2), "\r\n", "the answer to the ping");
    edge.send(source, INFO);
    edge.send(source, OPTIONS);
    assert_eq!(read(&mut phone, INFO.len() + OPTIONS.len()), format!("{INFO}{OPTIONS}"));
    drop(phone);
    edge.until(|edge| edge.closed == [source.flow.unwrap()]);
    assert!(edge.streams.is_empty());
}

/// What is in the outbox when the engine stops is written.
#[test]
fn the_last_words_are_written_before_the_end() {
    let mut edge = Edge::tcp();
    let mut phone = edge.connect();
    phone.write_all(OPTIONS.as_bytes()).unwrap();
    let (source, _) = edge.message();
    edge.send(source, INFO);
    let Edge { streams, runtime, events, .. } = edge;
    runtime.block_on(streams.finish());
    drop(events);
    assert_eq!(rest(&mut phone), INFO);
}

/// Half-open connections and slow messages have a bounded time; whoever speaks is not disturbed by them.
#[test]
fn who_says_nothing_or_never_ends_is_shown_out() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path(), "one");
    let patience = Patience { handshake: SHORT, first_message: SHORT, message: SHORT, ..Patience::default() };
    let mut edge =
        Edge::new(&[Transport::Tcp, Transport::Tls, Transport::Ws], patience, Limits::default(), Some(&certificate));
    let mut speaks = edge.connect();
    speaks.write_all(OPTIONS.as_bytes()).unwrap();
    let (source, _) = edge.message();
    let mut silent = edge.connect();
    let mut slow = edge.connect();
    slow.write_all(&OPTIONS.as_bytes()[..40]).unwrap();
    let mut slow_later = edge.connect();
    slow_later.write_all(format!("{OPTIONS}{}", &INFO[..30]).as_bytes()).unwrap();
    let mut no_handshakes = [1, 2].map(|number: usize| TcpStream::connect(edge.addresses[number]).unwrap());
    assert_eq!(edge.message().1, OPTIONS);
    for stream in [&mut silent, &mut slow, &mut slow_later].into_iter().chain(&mut no_handshakes) {
        assert_eq!(rest(stream), "");
    }
    edge.until(|edge| edge.closed.len() == 3);
    // A handshake is counted behind the end of its connection.
    eventually(|| (edge.counts().late, edge.counts().handshakes) == (3, 2));
    edge.send(source, INFO);
    assert_eq!(read(&mut speaks, INFO.len()), INFO);
}

#[test]
fn connections_are_bounded_and_a_place_that_is_free_is_taken() {
    let limits = Limits { per_source: 2, handshakes: 1, ..Limits::default() };
    let mut edge = Edge::new(&[Transport::Tcp, Transport::Ws], Patience::default(), limits, None);
    let (mut first, mut second) = (edge.connect(), edge.connect());
    for stream in [&mut first, &mut second] {
        stream.write_all(OPTIONS.as_bytes()).unwrap();
        edge.message();
    }
    assert_eq!(rest(&mut edge.connect()), "");
    assert_eq!((edge.counts().crowded, edge.counts().accepted), (1, 2));
    drop(second);
    edge.until(|edge| edge.closed.len() == 1);
    // Its place is given back behind its last words.
    let mut third = loop {
        let mut third = edge.connect();
        let _ = third.write_all(OPTIONS.as_bytes());
        if edge.events.recv_timeout(SHORT).is_ok_and(|event| edge.streams.handle(event).is_none()) {
            break third;
        }
    };
    assert_eq!(edge.message().1, OPTIONS);
    third.write_all(INFO.as_bytes()).unwrap();
    assert_eq!(edge.message().1, INFO);
}

/// Whoever does not read what is sent to it is dropped before it costs memory; the sender hears of it.
#[test]
fn a_far_end_that_does_not_read_is_dropped() {
    let mut edge = Edge::tcp();
    let mut phone = edge.connect();
    phone.write_all(OPTIONS.as_bytes()).unwrap();
    let (source, _) = edge.message();
    let large = format!("{OPTIONS}{}", "x".repeat(60_000));
    let mut sent = 0;
    while edge.undelivered.is_empty() {
        edge.send(source, &large);
        sent += 1;
        assert!(sent < 10_000, "600 MB were taken for a far end that reads nothing");
    }
    assert_eq!((edge.counts().slow, edge.streams.len()), (1, 0));
}

/// A stream that cannot be read on is handed over as far as its head goes, answered, and closed.
#[test]
fn a_stream_without_a_length_is_answered_and_closed() {
    let mut edge = Edge::tcp();
    let head = OPTIONS.replace("Content-Length: 0\r\n", "");
    let mut phone = edge.connect();
    phone.write_all(format!("{head}{INFO}").as_bytes()).unwrap();
    let (source, text) = edge.message();
    assert_eq!(text, head);
    edge.send(source, INFO);
    assert_eq!(rest(&mut phone), INFO);
    let mut browser = edge.connect();
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(rest(&mut browser), "");
    edge.until(|edge| edge.closed.len() == 2);
    assert_eq!(edge.counts().broken, 2);
}

/// One connection for all that goes to an address, and another when that is lost (RFC 3261 §18).
#[test]
fn connections_of_ours_are_used_again_and_replaced() {
    let mut edge = Edge::tcp();
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer::new(Transport::Tcp, far.local_addr().unwrap());
    edge.send(peer, OPTIONS);
    edge.send(peer, INFO);
    let (mut first, _) = far.accept().unwrap();
    assert_eq!(read(&mut first, OPTIONS.len() + INFO.len()), format!("{OPTIONS}{INFO}"));
    first.write_all(INFO.as_bytes()).unwrap();
    let (source, _) = edge.message();
    assert_eq!((source.address, edge.streams.len()), (peer.address, 1));
    drop(first);
    edge.until(|edge| edge.closed.len() == 1);
    // The way it came by is gone, and its address is that of a listener.
    edge.send(source, OPTIONS);
    let (mut second, _) = far.accept().unwrap();
    assert_eq!(read(&mut second, OPTIONS.len()), OPTIONS);
    assert_eq!((edge.counts().dialled, edge.undelivered.len()), (2, 0));
}

/// RFC 3261 §18.2.2: an answer whose connection is lost goes to the sent-by port of the same host.
#[test]
fn an_answer_whose_connection_is_lost_goes_by_a_new_one() {
    let mut edge = Edge::tcp();
    let sent_by = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut phone = edge.connect();
    phone.write_all(OPTIONS.as_bytes()).unwrap();
    let (source, _) = edge.message();
    drop(phone);
    edge.until(|edge| edge.closed.len() == 1);
    edge.send(Peer { address: sent_by.local_addr().unwrap(), ..source }, INFO);
    let (mut again, _) = sent_by.accept().unwrap();
    assert_eq!(read(&mut again, INFO.len()), INFO);
}

#[test]
fn what_nobody_takes_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut edge = Edge::tcp();
    // A port where nobody listens: its listener is closed again.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    edge.send(Peer::new(Transport::Tcp, closed), OPTIONS);
    edge.send(Peer::new(Transport::Tcp, closed), INFO);
    edge.until(|edge| edge.undelivered.len() == 2);
    edge.send(Peer::new(Transport::Wss, closed), OPTIONS);
    assert_eq!(edge.undelivered.len(), 3, "nobody connects to a browser");
    let texts: Vec<&[u8]> = edge.undelivered.iter().map(|parcel| &*parcel.bytes).collect();
    assert_eq!(texts, [OPTIONS.as_bytes(), INFO.as_bytes(), OPTIONS.as_bytes()]);

    // A certificate that nobody whom we trust has signed.
    let shown = certificate(folder.path(), "stranger");
    let far = Edge::new(&[Transport::Tls], Patience::default(), Limits::default(), Some(&shown));
    let trusted = folder.path().join("trusted.pem");
    certificate(folder.path(), "trusted");
    let mut edge = Edge::trusting(&[Transport::Tcp], Patience::default(), Limits::default(), None, Some(&trusted));
    edge.send(Peer::new(Transport::Tls, far.addresses[0]), OPTIONS);
    edge.until(|edge| edge.undelivered.len() == 1);
}

/// Idle connections are closed, but not those that something depends on.
#[test]
fn idle_connections_are_closed_unless_they_are_needed() {
    let mut edge = Edge::tcp();
    let (mut needed, mut idle) = (edge.connect(), edge.connect());
    needed.write_all(OPTIONS.as_bytes()).unwrap();
    let (source, _) = edge.message();
    idle.write_all(OPTIONS.as_bytes()).unwrap();
    edge.message();
    let in_use: BTreeSet<Flow> = source.flow.into_iter().collect();
    let soon = edge.streams.poll_timeout().unwrap();
    edge.streams.sweep(soon, || panic!("nobody is idle yet"));
    let later = Instant::now() + Patience::default().idle + Duration::from_secs(60);
    edge.streams.sweep(later, || in_use);
    assert_eq!(rest(&mut idle), "");
    edge.until(|edge| edge.closed.len() == 1);
    edge.send(source, INFO);
    assert_eq!(read(&mut needed, INFO.len()), INFO);
    assert_eq!(edge.counts().idle, 1);
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn open_websocket(address: SocketAddr, protocol: Option<&str>) -> Result<(Socket, String), tungstenite::Error> {
    let mut request = format!("ws://{address}/").into_client_request()?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    }
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    let chosen = response.headers().get("Sec-WebSocket-Protocol").map(|name| name.to_str().unwrap().to_owned());
    Ok((socket, chosen.unwrap_or_default()))
}

/// RFC 7118 §4.1: both sides name the sub-protocol; §5: one message a frame, text or binary, without Content-Length if it likes.
#[test]
fn a_websocket_carries_one_message_a_frame() {
    let mut edge = Edge::new(&[Transport::Ws], Patience::default(), Limits::default(), None);
    let address = edge.addresses[0];
    let handle = edge.runtime.handle().clone();
    for protocol in [None, Some("mqtt")] {
        let refused = handle.block_on(open_websocket(address, protocol)).map(|(_, chosen)| chosen);
        assert!(matches!(&refused, Err(tungstenite::Error::Http(response)) if response.status() == 400), "{refused:?}");
    }
    let (mut socket, chosen) = handle.block_on(open_websocket(address, Some("xmpp, sip"))).unwrap();
    assert_eq!(chosen, "sip");
    let bare = OPTIONS.replace("Content-Length: 0\r\n", "");
    handle.block_on(socket.send(Message::Text(bare.as_str().into()))).unwrap();
    let (source, text) = edge.message();
    assert_eq!((source.transport, text.as_str()), (Transport::Ws, bare.as_str()));
    handle.block_on(socket.send(Message::Binary(Bytes::from_static(INFO.as_bytes())))).unwrap();
    assert_eq!(edge.message().1, INFO);
    edge.send(source, OPTIONS);
    let frame = handle.block_on(socket.next()).unwrap().unwrap();
    assert_eq!(frame, Message::Text(OPTIONS.into()));
    let mut unreadable = OPTIONS.as_bytes().to_vec();
    unreadable.push(0xff);
    let parcel = Parcel { destination: source, bytes: unreadable.clone().into() };
    assert!(edge.streams.send(parcel).is_none());
    let frame = handle.block_on(socket.next()).unwrap().unwrap();
    assert_eq!(frame, Message::Binary(unreadable.into()), "what is no text goes as it is");
    handle.block_on(socket.send(Message::Text("\r\n\r\n".into()))).unwrap();
    assert_eq!(
        handle.block_on(socket.next()).unwrap().unwrap(),
        Message::Text("\r\n".into()),
        "kept alive by line ends"
    );
    handle.block_on(socket.send(Message::Ping(Bytes::from_static(b"x")))).unwrap();
    assert_eq!(handle.block_on(socket.next()).unwrap().unwrap(), Message::Pong(Bytes::from_static(b"x")));
    handle.block_on(socket.close(None)).unwrap();
    edge.until(|edge| edge.closed == [source.flow.unwrap()]);
}

/// A frame larger than any message ends its connection before it is read.
#[test]
fn a_websocket_frame_has_a_bound() {
    let mut edge = Edge::new(&[Transport::Ws], Patience::default(), Limits::default(), None);
    let handle = edge.runtime.handle().clone();
    let (mut socket, _) = handle.block_on(open_websocket(edge.addresses[0], Some("sip"))).unwrap();
    let _ = handle.block_on(socket.send(Message::Text("x".repeat(70_000).into())));
    edge.until(|edge| edge.closed.len() == 1);
    assert_eq!(edge.counts().broken, 1);
}

/// Writes `name.pem` and `name.key`: a certificate that vouches for itself, for loopback.
fn write_certificate(folder: &Path, name: &str) -> (Identity, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let identity =
        Identity { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
    std::fs::write(&identity.certificate, certificate.pem()).unwrap();
    std::fs::write(&identity.key, key.serialize_pem()).unwrap();
    (identity, certificate.der().to_vec())
}

fn certificate(folder: &Path, name: &str) -> tls::Certificate {
    tls::Certificate::load(write_certificate(folder, name).0).unwrap()
}

type Secured = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// Connects trusting `ca`; gives the certificate that was shown.
async fn secure(address: SocketAddr, ca: &Path) -> std::io::Result<(Secured, Vec<u8>)> {
    let connector = tls::connector(Some(ca)).unwrap();
    let stream = tokio::net::TcpStream::connect(address).await?;
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((stream, shown))
}

/// A renewed certificate is shown from the next handshake on; connections go on, and a pair that does not fit changes nothing.
#[test]
fn a_certificate_is_replaced_while_connections_go_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let (identity, first) = write_certificate(folder.path(), "ours");
    let ca = identity.certificate.clone();
    let certificate = tls::Certificate::load(identity.clone()).unwrap();
    assert!(certificate.expires().is_some());
    let mut edge = Edge::new(&[Transport::Tls], Patience::default(), Limits::default(), Some(&certificate));
    let handle = edge.runtime.handle().clone();
    drop(handle.spawn(certificate.clone().watch()));
    let address = edge.addresses[0];
    let (mut before, shown) = handle.block_on(secure(address, &ca)).unwrap();
    assert_eq!(shown, first);
    handle.block_on(before.write_all(OPTIONS.as_bytes())).unwrap();
    let (source, text) = edge.message();
    assert_eq!((source.transport, text.as_str()), (Transport::Tls, OPTIONS));

    // Another's key first: the pair does not fit while only one of the files is replaced.
    let (other, second) = write_certificate(folder.path(), "renewed");
    std::fs::copy(&other.certificate, &identity.certificate).unwrap();
    assert!(tls::Certificate::load(identity.clone()).is_err());
    std::fs::copy(&other.key, &identity.key).unwrap();
    certificate.look();
    eventually(|| certificate.reloads() == 1);
    let (_, shown) = handle.block_on(secure(address, &ca)).unwrap();
    assert_eq!(shown, second);
    edge.send(source, INFO);
    let mut answer = vec![0; INFO.len()];
    handle.block_on(before.read_exact(&mut answer)).unwrap();
    assert_eq!(answer, INFO.as_bytes(), "a connection from before goes on");
}

/// A browser's way: WebSocket within TLS.
#[test]
fn a_secure_websocket_carries_messages_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, _) = write_certificate(folder.path(), "ours");
    let certificate = tls::Certificate::load(identity.clone()).unwrap();
    let mut edge = Edge::new(&[Transport::Wss], Patience::default(), Limits::default(), Some(&certificate));
    let handle = edge.runtime.handle().clone();
    let address = edge.addresses[0];
    let mut request = format!("wss://{address}/").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
    let (stream, _) = handle.block_on(secure(address, &identity.certificate)).unwrap();
    let (mut socket, _) = handle.block_on(tokio_tungstenite::client_async(request, stream)).unwrap();
    handle.block_on(socket.send(Message::Text(OPTIONS.into()))).unwrap();
    let (source, text) = edge.message();
    assert_eq!((source.transport, text.as_str()), (Transport::Wss, OPTIONS));
    edge.send(source, INFO);
    assert_eq!(handle.block_on(socket.next()).unwrap().unwrap(), Message::Text(INFO.into()));
}
