//! One WebSocket that carries SIP, a message a frame (RFC 7118). Handshake, fragments and control frames are tungstenite's.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{interval_at, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::connection::{Activity, End, Outgoing, over};
use super::limits::Shared;
use super::{Line, Patience};
use crate::sip::Peer;
use crate::sip::framing::{PING, PONG};
use crate::sip::message::MESSAGE_SIZE_MAX;

/// The sub-protocol that both sides must name (RFC 7118 §4.1).
const SUB_PROTOCOL: &str = "sip";

/// Buffers are allocated for each connection: a message of a browser's call is a few thousand bytes.
const BUFFER_BYTES: usize = 8_192;

/// Pings of ours that a far end may leave without any sign of life.
const UNANSWERED_MAX: u32 = 1;

/// Takes the handshake of a far end that speaks SIP; refuses one that does not say so with 400.
///
/// # Errors
/// When it is no WebSocket handshake, or not for SIP.
pub(super) async fn accept<S>(stream: S) -> Result<WebSocketStream<S>, tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_SIZE_MAX)
        .max_message_size(Some(MESSAGE_SIZE_MAX))
        .max_frame_size(Some(MESSAGE_SIZE_MAX));
    tokio_tungstenite::accept_hdr_async_with_config(stream, choose, Some(config)).await
}

#[expect(clippy::result_large_err, reason = "tungstenite asks for this type")]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut names = offered.flat_map(|value| value.split(',')).map(str::trim);
    if names.any(|name| name.eq_ignore_ascii_case(SUB_PROTOCOL)) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUB_PROTOCOL));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("the sub-protocol is sip (RFC 7118)\n".to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

/// Carries SIP over `socket` until it is over, and reports the end.
pub(super) async fn converse<S>(line: Line, socket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Line { peer, outbox, stop, activity, shared, _alive, ours: _ } = line;
    let (sink, stream) = socket.split();
    let (owed, unanswered) = (Notify::new(), AtomicU32::new(0));
    let mut outgoing = Outgoing { outbox, current: None };
    let end = {
        let reading = read(stream, peer, &owed, &unanswered, &activity, &shared);
        let writing = write(sink, &mut outgoing, &owed, &unanswered, &activity, shared.settings.patience);
        tokio::select! {
            () = stop.notified() => End::Unwanted,
            end = reading => end,
            end = writing => end,
        }
    };
    over(end, "the connection was closed", peer, outgoing, &shared).await;
}

async fn read<S>(
    mut stream: SplitStream<WebSocketStream<S>>,
    peer: Peer,
    owed: &Notify,
    unanswered: &AtomicU32,
    activity: &Activity,
    shared: &Shared,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = shared.settings.patience;
    let deadline = tokio::time::Instant::now() + patience.first_message;
    let mut heard = false;
    loop {
        let next = if heard {
            stream.next().await
        } else {
            match timeout_at(deadline, stream.next()).await {
                Ok(next) => next,
                Err(_) => return End::Late,
            }
        };
        activity.touch();
        unanswered.store(0, Ordering::Relaxed);
        let bytes = match next {
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_))) | None => return End::Lost,
            Some(Err(
                tungstenite::Error::Capacity(_) | tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_),
            )) => {
                return End::Broken;
            }
            Some(Err(_)) => return End::Lost,
        };
        // Libraries for browsers keep alive with line ends too, though WebSocket has pings of its own.
        if *bytes == *PING {
            owed.notify_one();
        } else if *bytes != *PONG {
            heard = true;
            if !shared.message(peer, bytes).await {
                return End::Unwanted;
            }
        }
    }
}

async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    outgoing: &mut Outgoing,
    owed: &Notify,
    unanswered: &AtomicU32,
    activity: &Activity,
    patience: Patience,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = interval_at(tokio::time::Instant::now() + patience.ping, patience.ping);
    loop {
        let message = tokio::select! {
            parcel = outgoing.outbox.recv() => match parcel {
                // Text where it is text: that is what browsers' libraries expect.
                Some(parcel) => {
                    let bytes = outgoing.current.insert(parcel).bytes.clone();
                    Utf8Bytes::try_from(bytes.clone()).map_or_else(|_| Message::Binary(bytes), Message::Text)
                }
                None => {
                    let _ = timeout(patience.write, sink.close()).await;
                    return End::Unwanted;
                }
            },
            () = owed.notified() => Message::Text(Utf8Bytes::from_static("\r\n")),
            _ = pings.tick() => {
                if unanswered.fetch_add(1, Ordering::Relaxed) > UNANSWERED_MAX {
                    return End::Deaf;
                }
                Message::Ping(Bytes::new())
            }
        };
        match timeout(patience.write, sink.send(message)).await {
            Ok(Ok(())) => outgoing.current = None,
            Ok(Err(_)) => return End::Lost,
            Err(_) => return End::Deaf,
        }
        activity.touch();
    }
}
