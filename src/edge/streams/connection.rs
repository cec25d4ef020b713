//! One connection that carries SIP as a stream of bytes: TCP, or TLS over it.
//!
//! A reader finds messages and hands them on, a writer empties the outbox; both are one task, and end together. What could not be
//! written is reported when the connection is over, so that it can go another way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{interval_at, timeout, timeout_at};
use tracing::debug;

use super::limits::Shared;
use super::{Line, Parcel, Patience};
use crate::edge::clock;
use crate::sip::Peer;
use crate::sip::framing::{Frame, Framer, PING, PONG};

/// Bytes read at once.
const CHUNK: usize = 8_192;

/// When bytes last went or came.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds since `began`.
    last: AtomicU64,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The far end closed it, or it broke.
    Lost,
    /// The thread that decides wants it no more, or is gone.
    Unwanted,
    /// No whole message came in time.
    Late,
    /// The stream cannot be read on.
    Broken,
    /// The far end does not read, or answers no ping any more.
    Deaf,
}

/// What reader and writer tell each other.
#[derive(Debug, Default)]
struct Pulse {
    /// The reader saw a ping: the writer owes the answer.
    owed: Notify,
    /// The writer sent a ping that has no answer yet.
    pinged: AtomicBool,
    /// An answer to a ping ever came: from then on its lack means something.
    answers: AtomicBool,
}

/// The writer's part; what is in `current` is not written whole.
pub(super) struct Outgoing {
    pub(super) outbox: mpsc::Receiver<Parcel>,
    pub(super) current: Option<Parcel>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { began: clock::now().instant, last: AtomicU64::new(0) }
    }

    pub(super) fn touch(&self) {
        let elapsed = clock::now().instant.saturating_duration_since(self.began).as_millis();
        self.last.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// Carries SIP over `stream` until it is over, and reports the end.
pub(super) async fn converse(line: Line, stream: impl AsyncRead + AsyncWrite + Send) {
    let Line { peer, ours, outbox, stop, activity, shared, _alive } = line;
    let (reader, writer) = tokio::io::split(stream);
    let pulse = Pulse::default();
    let mut outgoing = Outgoing { outbox, current: None };
    let patience = shared.settings.patience;
    let end = {
        let reading = read(reader, peer, ours, &pulse, &activity, &shared);
        let writing = write(writer, &mut outgoing, ours, &pulse, &activity, patience);
        tokio::pin!(reading, writing);
        let end = tokio::select! {
            () = stop.notified() => End::Unwanted,
            end = &mut reading => end,
            end = &mut writing => end,
        };
        if end == End::Broken {
            // The 400 that tells the far end why.
            let _ = timeout(patience.last_words, &mut writing).await;
        }
        end
    };
    over(end, "the connection was closed", peer, outgoing, &shared).await;
}

/// The last of a connection: counts why, reports what was not written, and that it is gone.
pub(super) async fn over(end: End, why: &str, peer: Peer, mut outgoing: Outgoing, shared: &Shared) {
    debug!(%peer, ?end, %why, "connection over");
    let counter = match end {
        End::Lost | End::Unwanted => None,
        End::Late => Some(&shared.counts.late),
        End::Broken => Some(&shared.counts.broken),
        End::Deaf => Some(&shared.counts.slow),
    };
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    outgoing.outbox.close();
    let mut left = outgoing.current.take().into_iter().collect::<Vec<_>>();
    left.extend(std::iter::from_fn(|| outgoing.outbox.try_recv().ok()));
    let why: Arc<str> = why.into();
    for parcel in left {
        shared.undelivered(parcel, why.clone()).await;
    }
    if let Some(flow) = peer.flow {
        shared.closed(flow).await;
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    peer: Peer,
    ours: bool,
    pulse: &Pulse,
    activity: &Activity,
    shared: &Shared,
) -> End {
    let mut framer = Framer::default();
    let mut chunk = vec![0; CHUNK];
    let patience = shared.settings.patience;
    // Whoever opened the connection has something to say; whoever we connected to may wait to be asked.
    let mut deadline = (!ours).then(|| tokio::time::Instant::now() + patience.first_message);
    let mut heard = ours;
    loop {
        let length = match deadline {
            Some(deadline) => match timeout_at(deadline, reader.read(&mut chunk)).await {
                Ok(length) => length,
                Err(_) => return End::Late,
            },
            None => reader.read(&mut chunk).await,
        };
        let Some(bytes) = length.ok().filter(|length| *length > 0).and_then(|length| chunk.get(..length)) else {
            return End::Lost;
        };
        activity.touch();
        if pulse.pinged.load(Ordering::Relaxed) {
            framer.pinged();
        }
        framer.push(bytes);
        let mut whole = false;
        while let Some(frame) = framer.next_frame() {
            match frame {
                Frame::Message(bytes) => {
                    whole = true;
                    if !shared.message(peer, bytes).await {
                        return End::Unwanted;
                    }
                }
                Frame::Ping => pulse.owed.notify_one(),
                Frame::Pong => {
                    pulse.answers.store(true, Ordering::Relaxed);
                    pulse.pinged.store(false, Ordering::Relaxed);
                }
                Frame::Broken(head) => {
                    if !head.is_empty() {
                        shared.message(peer, head).await;
                    }
                    return End::Broken;
                }
            }
        }
        heard |= whole;
        if heard {
            deadline = match (framer.is_within_message(), deadline) {
                (false, _) => None,
                // A message that was under way before goes on with the time it has left.
                (true, Some(deadline)) if !whole => Some(deadline),
                (true, _) => Some(tokio::time::Instant::now() + patience.message),
            };
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    outgoing: &mut Outgoing,
    ours: bool,
    pulse: &Pulse,
    activity: &Activity,
    patience: Patience,
) -> End {
    let mut pings = interval_at(tokio::time::Instant::now() + patience.ping, patience.ping);
    loop {
        let bytes: &[u8] = tokio::select! {
            parcel = outgoing.outbox.recv() => match parcel {
                Some(parcel) => &outgoing.current.insert(parcel).bytes,
                None => return End::Unwanted,
            },
            () = pulse.owed.notified() => PONG,
            _ = pings.tick(), if ours => {
                if pulse.pinged.swap(true, Ordering::Relaxed) && pulse.answers.load(Ordering::Relaxed) {
                    return End::Deaf;
                }
                PING
            }
        };
        let written = timeout(patience.write, async {
            writer.write_all(bytes).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => outgoing.current = None,
            Ok(Err(_)) => return End::Lost,
            Err(_) => return End::Deaf,
        }
        activity.touch();
    }
}
