//! Where a far end takes the RTCP that belongs to a stream.

use std::net::SocketAddr;

/// Which way RTCP goes to a far end, as its description says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpPath {
    /// Both ends said `a=rtcp-mux`: it goes with RTP, over one socket, to wherever RTP goes (RFC 5761 §5.1.1).
    Multiplexed,
    /// To an address of its own: that of `a=rtcp` (RFC 3605), else the port above that of RTP (RFC 3550 §11). Symmetric RTP says
    /// nothing of it. Ours comes to the port above our own.
    At(SocketAddr),
    /// Nowhere: the far end gives it no bandwidth (RFC 3556 §2), or there is no port above that of RTP.
    Nowhere,
}

impl RtcpPath {
    /// The way when nothing is said: beside the RTP that `remote` receives.
    #[must_use]
    pub fn beside(remote: SocketAddr) -> Self {
        let above = remote.port().checked_add(1).filter(|_| remote.port() != 0);
        above.map_or(Self::Nowhere, |port| Self::At(SocketAddr::new(remote.ip(), port)))
    }

    /// The address of its own that it has.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(*address),
            Self::Multiplexed | Self::Nowhere => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_is_the_port_above() {
        let beside = |remote: &str| RtcpPath::beside(remote.parse().unwrap());
        assert_eq!(beside("192.0.2.1:4000"), RtcpPath::At("192.0.2.1:4001".parse().unwrap()));
        assert_eq!(beside("[2001:db8::1]:65535"), RtcpPath::Nowhere);
        assert_eq!(beside("192.0.2.1:0"), RtcpPath::Nowhere);
    }
}
