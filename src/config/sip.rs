//! `[sip]`: where and how SIP is spoken.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::load::{advertised, one_of, set, waiting};
use crate::document::{Fields, Place};
use crate::fault::Fault;

/// Where SIP is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sip {
    /// UDP addresses to listen at.
    pub listen: Vec<SocketAddr>,
    /// TCP addresses; `None`: the same as UDP (RFC 3261 §18.2.1).
    pub listen_tcp: Option<Vec<SocketAddr>>,
    /// TLS addresses.
    pub listen_tls: Vec<SocketAddr>,
    /// WebSocket addresses, in the clear: for a proxy in front that ends the TLS.
    pub listen_ws: Vec<SocketAddr>,
    /// Secure WebSocket addresses, for browsers.
    pub listen_wss: Vec<SocketAddr>,
    /// What we show at TLS and secure WebSocket addresses; present when there is one.
    pub identity: Option<Identity>,
    /// Certificates that we trust when we connect by TLS; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Connections at the same time.
    pub connections: u32,
    /// Connections from one address (one /64 of IPv6) at the same time.
    pub connections_per_source: u32,
    /// A connection that no call depends on is closed after this long without a byte.
    pub idle: Duration,
    /// The address that far ends reach us at, when it is not the one they send to: behind a NAT.
    pub advertised: Option<IpAddr>,
    /// Name servers for the names of gateways; none: those of the system.
    pub nameservers: Vec<SocketAddr>,
    /// What a request from an address of no trunk gets.
    pub strangers: Strangers,
    /// How long a session lasts without a refresh (RFC 4028); `None`: only where the far end asks for a timer.
    pub session: Option<Duration>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM: ours first, then those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// What a request from an address of no trunk gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// 403 Forbidden.
    Refuse,
    /// Nothing at all: a scanner learns nothing.
    Ignore,
}

/// No session may be shorter (RFC 4028 §4), and a longer one is none.
const SESSION_MIN: Duration = Duration::from_secs(90);
const SESSION_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Ports of SIP that stand among the «bad ports» of the Fetch Standard: browsers open no connection to them.
const BLOCKED_BY_BROWSERS: [u16; 2] = [5060, 5061];

/// Most name servers: each that is silent is waited for, twice.
const NAMESERVERS_MAX: usize = 8;

/// Where name servers listen when no port is written.
const DNS_PORT: u16 = 53;

impl Sip {
    /// TCP addresses to listen at.
    #[must_use]
    pub fn tcp(&self) -> &[SocketAddr] {
        self.listen_tcp.as_deref().unwrap_or(&self.listen)
    }
}

impl Default for Sip {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060))],
            listen_tcp: None,
            listen_tls: Vec::new(),
            listen_ws: Vec::new(),
            listen_wss: Vec::new(),
            identity: None,
            ca: None,
            connections: 4_096,
            connections_per_source: 256,
            idle: Duration::from_secs(600),
            advertised: None,
            nameservers: Vec::new(),
            strangers: Strangers::Refuse,
            session: Some(Duration::from_secs(1_800)),
        }
    }
}

pub(super) fn read(fields: &mut Fields<'_>, sip: &mut Sip, faults: &mut Vec<Fault>) {
    let before = faults.len();
    // Who already listens at a TCP port: TCP, TLS and both WebSockets share them.
    let mut taken: Vec<(SocketAddr, &'static str)> = Vec::new();
    let udp = addresses(fields, "listen", faults);
    let streams = ["listen_tcp", "listen_tls", "listen_ws", "listen_wss"].map(|key| addresses(fields, key, faults));
    for (other, key) in udp.iter().flatten() {
        if udp.iter().flatten().filter(|(address, _)| address == other).count() > 1 && other.port() != 0 {
            faults.push(key.fault(format!("{other} stands here twice")));
        }
    }
    let [tcp, tls, ws, wss] = &streams;
    if tcp.is_none() {
        let follows = udp.as_ref().map_or(sip.listen.clone(), |udp| udp.iter().map(|(address, _)| *address).collect());
        taken.extend(
            follows.into_iter().map(|address| (address, "TCP, which follows «listen» while there is no «listen_tcp»")),
        );
    }
    for (places, name) in [(tcp, "TCP"), (tls, "TLS"), (ws, "WebSocket"), (wss, "secure WebSocket")] {
        for (address, place) in places.iter().flatten() {
            if let Some((_, other)) = taken.iter().find(|(other, _)| other == address && other.port() != 0) {
                faults.push(place.fault(format!("{address} is taken by {other} already")));
            }
            taken.push((*address, name));
        }
    }
    for (address, place) in [ws, wss].into_iter().flatten().flatten() {
        if BLOCKED_BY_BROWSERS.contains(&address.port()) {
            let fault = place.fault(format!("browsers connect to no WebSocket at port {}", address.port()));
            faults.push(fault.suggest("any other port, like 8443, or 443 where nothing else listens there"));
        }
    }
    identity(fields, sip, faults);
    let (certificate, key) = (fields.name("certificate"), fields.name("key"));
    for (address, place) in [tls, wss].into_iter().flatten().flatten() {
        if certificate.is_none() && key.is_none() {
            let fault = place.fault(format!("TLS at {address} needs a certificate"));
            faults.push(fault.suggest("certificate = \"chain.pem\" and key = \"key.pem\" in [sip]"));
        }
    }
    let only = |places: Option<Vec<(SocketAddr, Place<'_>)>>| {
        places.map(|places| places.into_iter().map(|(address, _)| address).collect::<Vec<_>>())
    };
    let [tcp, tls, ws, wss] = streams;
    set(&mut sip.listen, only(udp));
    sip.listen_tcp = only(tcp);
    set(&mut sip.listen_tls, only(tls));
    set(&mut sip.listen_ws, only(ws));
    set(&mut sip.listen_wss, only(wss));
    if [&sip.listen, sip.tcp(), &sip.listen_tls, &sip.listen_ws, &sip.listen_wss].iter().all(|list| list.is_empty())
        && faults.len() == before
    {
        faults.push(fields.place().fault("nobody can call where nothing listens"));
    }
    sip.ca = fields.text("ca", faults).map(PathBuf::from);
    let mut count = |key| {
        let count = fields.optional(key).and_then(|place| place.integer_in(1..=1_000_000, faults));
        count.and_then(|count| u32::try_from(count).ok())
    };
    set(&mut sip.connections, count("connections"));
    set(&mut sip.connections_per_source, count("connections_per_source"));
    set(&mut sip.idle, waiting(fields, "idle", faults));
    sip.advertised = advertised(fields, faults);
    if let Some(place) = fields.optional("nameservers") {
        let servers = place.texts(faults);
        if servers.len() > NAMESERVERS_MAX {
            faults.push(place.fault(format!("expected {NAMESERVERS_MAX} name servers at most")));
        }
        for (text, place) in servers {
            let bare = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
            match text.parse().or(bare) {
                Ok(address) => sip.nameservers.push(address),
                Err(_) => faults.push(place.fault("expected an address like \"10.0.0.53\" or \"10.0.0.53:5353\"")),
            }
        }
    }
    let strangers = [("refuse", Strangers::Refuse), ("ignore", Strangers::Ignore)];
    set(&mut sip.strangers, one_of(fields.optional("strangers"), &strangers, faults));
    set(&mut sip.session, session(fields, faults));
}

/// `"30m"` or `"never"`.
fn session(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Option<Option<Duration>> {
    let place = fields.optional("session")?;
    if place.text(&mut Vec::new()) == Some("never") {
        return Some(None);
    }
    let duration = place.duration(faults)?;
    if !(SESSION_MIN..=SESSION_MAX).contains(&duration) {
        faults.push(place.fault("a session lasts for 90 s at least (RFC 4028 §4), and for a day at most"));
    }
    Some(Some(duration))
}

fn identity(fields: &mut Fields<'_>, sip: &mut Sip, faults: &mut Vec<Fault>) {
    let certificate = fields.optional("certificate");
    let key = fields.optional("key");
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            if let (Some(certificate), Some(key)) = (certificate.text(faults), key.text(faults)) {
                sip.identity = Some(Identity { certificate: certificate.into(), key: key.into() });
            }
        }
        (Some(place), None) => faults.push(place.fault("a certificate needs its «key»")),
        (None, Some(place)) => faults.push(place.fault("a key needs its «certificate»")),
        (None, None) => {}
    }
}

/// One address or a list of them, with their places; `None` when the key is not there.
fn addresses<'a>(
    fields: &mut Fields<'a>,
    key: &'static str,
    faults: &mut Vec<Fault>,
) -> Option<Vec<(SocketAddr, Place<'a>)>> {
    let place = fields.optional(key)?;
    let texts = if place.is_list() {
        place.texts(faults)
    } else {
        place.text(faults).map(|text| (text, place)).into_iter().collect()
    };
    let mut read = Vec::new();
    for (text, place) in texts {
        match text.parse() {
            Ok(address) => read.push((address, place)),
            Err(_) => faults.push(place.fault("expected an address and port like \"0.0.0.0:5060\" or \"[::]:5060\"")),
        }
    }
    Some(read)
}
