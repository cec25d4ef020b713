//! Connections that we open: to where a request of ours goes, and to whom an answer is owed whose connection is lost.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{End, Outgoing, converse, over};
use super::listener::keep_alive;
use super::{Line, tls};
use crate::sip::Transport;

/// Connects and speaks SIP; everything in the outbox comes back when there is no connection to be had.
pub(super) async fn connect(line: Line) {
    let (peer, shared) = (line.peer, line.shared.clone());
    let patience = shared.settings.patience.connect;
    let why = match timeout(patience, TcpStream::connect(peer.address)).await {
        Ok(Ok(stream)) => {
            keep_alive(&stream);
            match peer.transport {
                Transport::Tls => match timeout(patience, secure(&line, stream)).await {
                    Ok(Ok(stream)) => {
                        shared.counts.dialled.fetch_add(1, Ordering::Relaxed);
                        return converse(line, stream).await;
                    }
                    Ok(Err(why)) => why,
                    Err(_) => no_answer(patience),
                },
                // The others are never dialled.
                Transport::Udp | Transport::Tcp | Transport::Ws | Transport::Wss => {
                    shared.counts.dialled.fetch_add(1, Ordering::Relaxed);
                    return converse(line, stream).await;
                }
            }
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => no_answer(patience),
    };
    over(End::Lost, &why, peer, Outgoing { outbox: line.outbox, current: None }, &shared).await;
}

fn no_answer(patience: Duration) -> String {
    format!("no answer in {patience:?}")
}

async fn secure(line: &Line, stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let settings = &line.shared.settings;
    let connector = tls::connector(settings.ca.as_deref()).map_err(|error| format!("{error:#}"))?;
    let name = settings.names.lock().unwrap_or_else(PoisonError::into_inner).get(&line.peer.address).cloned();
    let name = name.unwrap_or_else(|| address_name(line.peer.address));
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

/// For a host that is known by its address alone: that must stand in its certificate.
fn address_name(address: SocketAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.ip().into())
}
