//! What carries SIP, and who is at its other end (RFC 3261 §18, RFC 5626 for flows, RFC 7118 for WebSocket).
//!
//! A [`Peer`] stands wherever a message comes from or goes to. It names the way before the place: a connection that is open is used as
//! long as it lasts, and only without one is the address connected to (RFC 3261 §18.2.2). The edge owns sockets and
//! connections; here are only their names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::uri::{Scheme, Uri};

/// What messages travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream within TLS.
    Tls,
    /// WebSocket frames (RFC 7118).
    Ws,
    /// WebSocket frames within TLS.
    Wss,
}

/// Names one way that messages come and go: a datagram socket, or one connection (RFC 5626 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Which of [`Listeners`] the far end knows us by.
    pub listener: u16,
    /// Which connection; never used again once it is closed. 0 for a datagram socket.
    pub connection: u64,
}

/// A far end: where a message came from, or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// What carries the message.
    pub transport: Transport,
    /// The far end's address. For a connection that is gone, where to open the next one.
    pub address: SocketAddr,
    /// The way it came by, or should go by; `None`: whichever leads there.
    pub flow: Option<Flow>,
}

/// An address that peers reach us at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub transport: Transport,
    /// The address that we advertise in Via and Contact: what peers can reach, not necessarily what the socket is bound to.
    pub advertised: SocketAddr,
}

/// Every address that peers reach us at; at least one. A [`Flow`] counts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners(Vec<Listener>, Vec<Reached>);

/// Far ends that reach us at an address of their own: by a tunnel, or behind a NAT that others are not behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The first and the last address of the network that they are in.
    pub from: (IpAddr, IpAddr),
    /// Where they reach us; `None`: where everybody does, whatever wider networks say.
    pub at: Option<IpAddr>,
}

impl Transport {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether what is sent arrives, or the connection breaks: then nothing is sent twice (RFC 3261 §17).
    #[must_use]
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// Whether messages have to be found in a stream of bytes, by their Content-Length (RFC 3261 §18.3).
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// As Via has it (RFC 3261 §20.42, RFC 7118 §5.2.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The port when none is written (RFC 3261 §19.1.2, RFC 7118 §5.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// What a URI asks for: `Ok(None)` when it leaves it open (RFC 3263 §4.1).
    ///
    /// # Errors
    /// The value of a `transport` parameter that we do not speak.
    pub fn of_uri<'a>(uri: &Uri<'a>) -> Result<Option<Self>, &'a [u8]> {
        let secure = uri.scheme == Scheme::Sips;
        let Some(value) = uri.parameter("transport") else { return Ok(secure.then_some(Self::Tls)) };
        let known = [
            ("udp", Self::Udp),
            ("tcp", if secure { Self::Tls } else { Self::Tcp }),
            ("tls", Self::Tls),
            ("ws", if secure { Self::Wss } else { Self::Ws }),
            ("wss", Self::Wss),
        ];
        let found = known.into_iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
        // RFC 3261 §26.2.2: nothing carries a SIPS URI in the clear.
        found.map(|(_, transport)| Some(transport)).filter(|found| !(secure && *found == Some(Self::Udp))).ok_or(value)
    }

    /// The `transport` parameter of our Contact; UDP needs none. A SIPS URI says by itself that there is TLS.
    #[must_use]
    pub fn parameter(self, sips: bool) -> Option<&'static str> {
        match (self, sips) {
            (Self::Udp, _) => None,
            (Self::Tcp, _) | (Self::Tls, true) => Some("tcp"),
            // Deprecated by RFC 5630 §3.1.4, and what every phone that registers by `sip:` over TLS writes and understands.
            (Self::Tls, false) => Some("tls"),
            (Self::Ws | Self::Wss, _) => Some("ws"),
        }
    }
}

impl Peer {
    /// A far end reached by datagrams, from whichever socket leads there.
    #[must_use]
    pub fn udp(address: SocketAddr) -> Self {
        Self::new(Transport::Udp, address)
    }

    /// A far end that no connection is known to.
    #[must_use]
    pub fn new(transport: Transport, address: SocketAddr) -> Self {
        Self { transport, address, flow: None }
    }
}

impl fmt::Display for Peer {
    /// `udp:192.0.2.1:5060`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        };
        write!(f, "{scheme}:{}", self.address)
    }
}

impl Listeners {
    /// `first`, then `others`.
    #[must_use]
    pub fn new(first: Listener, others: impl IntoIterator<Item = Listener>) -> Self {
        Self(std::iter::once(first).chain(others).collect(), Vec::new())
    }

    /// All of them, in the order of [`Flow::listener`].
    pub fn iter(&self) -> impl Iterator<Item = Listener> {
        self.0.iter().copied()
    }

    /// The number of the one that a new connection to `peer`, or a datagram without a flow, is sent for: of its transport and
    /// address family, else of its transport. `None` when we do not listen on that transport.
    #[must_use]
    pub fn towards(&self, peer: &Peer) -> Option<u16> {
        let family = |listener: &Listener| listener.advertised.is_ipv4() == peer.address.ip().to_canonical().is_ipv4();
        let find = |wanted: &dyn Fn(&Listener) -> bool| {
            let mut numbered = (0..).zip(&self.0);
            numbered.find(|(_, listener)| listener.transport == peer.transport && wanted(listener))
        };
        find(&family).or_else(|| find(&|_| true)).map(|(number, _)| number)
    }

    /// Where `peer` reaches us: what our Via and Contact say to it.
    #[must_use]
    pub fn advertised_to(&self, peer: &Peer) -> SocketAddr {
        let number = peer.flow.map(|flow| flow.listener).or_else(|| self.towards(peer)).unwrap_or_default();
        let listener = self.0.get(usize::from(number)).or(self.0.first());
        let own = listener.map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |listener| listener.advertised);
        let far = peer.address.ip().to_canonical();
        let reached = self.1.iter().find(|reached| reached.from.0 <= far && far <= reached.from.1);
        let at = reached.and_then(|reached| reached.at).filter(|at| at.is_ipv4() == own.is_ipv4());
        SocketAddr::new(at.unwrap_or(own.ip()), own.port())
    }

    /// Far ends that reach us elsewhere; the first network that holds one counts.
    pub fn set_reached(&mut self, reached: Vec<Reached>) {
        self.1 = reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3263 §4.1, RFC 7118 §5.2.2, RFC 5630 §3.1.4.
    #[test]
    fn a_uri_asks_for_a_transport_or_leaves_it_open() {
        let table = [
            ("sip:a@b", Ok(None)),
            ("sip:a@b;transport=UDP", Ok(Some(Transport::Udp))),
            ("sip:a@b;transport=tcp", Ok(Some(Transport::Tcp))),
            ("sip:a@b;lr;transport=tls", Ok(Some(Transport::Tls))),
            ("sip:a@b;transport=ws", Ok(Some(Transport::Ws))),
            ("sip:a@b;transport=wss", Ok(Some(Transport::Wss))),
            ("sips:a@b", Ok(Some(Transport::Tls))),
            ("sips:a@b;transport=tcp", Ok(Some(Transport::Tls))),
            ("sips:a@b;transport=ws", Ok(Some(Transport::Wss))),
            ("sips:a@b;transport=udp", Err(&b"udp"[..])),
            ("sip:a@b;transport=sctp", Err(b"sctp")),
            ("tel:+522226057239", Ok(None)),
        ];
        for (text, expected) in table {
            assert_eq!(Transport::of_uri(&Uri::parse(text.as_bytes()).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn each_far_end_sees_the_address_of_its_own_way() {
        let listener = |transport, advertised: &str| Listener { transport, advertised: advertised.parse().unwrap() };
        let listeners = Listeners::new(
            listener(Transport::Udp, "192.0.2.10:5060"),
            [
                listener(Transport::Udp, "[2001:db8::10]:5060"),
                listener(Transport::Tcp, "192.0.2.10:5070"),
                listener(Transport::Tcp, "203.0.113.10:5070"),
            ],
        );
        let seen = |peer: Peer| listeners.advertised_to(&peer).to_string();
        let far: SocketAddr = "198.51.100.1:5060".parse().unwrap();
        assert_eq!(seen(Peer::udp(far)), "192.0.2.10:5060");
        assert_eq!(seen(Peer::udp("[2001:db8::1]:5060".parse().unwrap())), "[2001:db8::10]:5060");
        assert_eq!(seen(Peer::new(Transport::Tcp, far)), "192.0.2.10:5070");
        let other = Flow { listener: 3, connection: 9 };
        assert_eq!(seen(Peer { flow: Some(other), ..Peer::new(Transport::Tcp, far) }), "203.0.113.10:5070");
        assert_eq!(seen(Peer::new(Transport::Tls, far)), "192.0.2.10:5060", "better the wrong port than none");
        assert_eq!(listeners.towards(&Peer::new(Transport::Tls, far)), None);
        let mut listeners = listeners;
        let network = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
        listeners.set_reached(vec![
            Reached { from: network("198.51.100.2", "198.51.100.2"), at: None },
            Reached { from: network("198.51.100.0", "198.51.100.255"), at: Some([203, 0, 113, 7].into()) },
        ]);
        let seen = |address: &str| listeners.advertised_to(&Peer::udp(address.parse().unwrap())).to_string();
        assert_eq!(seen("198.51.100.1:5060"), "203.0.113.7:5060");
        assert_eq!(seen("[::ffff:198.51.100.1]:5060"), "203.0.113.7:5060");
        assert_eq!(
            (seen("198.51.100.2:5060"), seen("198.51.101.1:5060")),
            ("192.0.2.10:5060".into(), "192.0.2.10:5060".into())
        );
    }
}
