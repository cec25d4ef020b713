//! A block of addresses, as trunks are listed: `10.1.0.0/16`, `2001:db8::/32`, `192.0.2.7`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// A block of IPv4 or IPv6 addresses. No bit behind the prefix is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Not an address at all; names are not looked up.
    #[error("«{0}» is no IP address")]
    Address(String),
    /// The prefix is no number, or longer than the address.
    #[error("«/{0}» is no prefix length of such an address")]
    Prefix(String),
    /// `10.1.2.3/16`: probably not what was meant.
    #[error("the address has bits behind its prefix; the block is {0}")]
    HostBits(Network),
}

impl Network {
    /// Every IPv4 address.
    pub const ANY_V4: Self = Self { address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), prefix: 0 };
    /// Every IPv6 address.
    pub const ANY_V6: Self = Self { address: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), prefix: 0 };

    /// The block of this one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// True for a block of all addresses of a family.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    /// Its first and its last address.
    #[must_use]
    pub fn bounds(&self) -> (IpAddr, IpAddr) {
        let last = match self.address {
            IpAddr::V4(first) => {
                let mask = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(first) | mask).into())
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((u128::from(first) | mask).into())
            }
        };
        (self.address, last)
    }

    /// True when the address lies in the block. An IPv4 address that a dual-stack socket reports as `::ffff:…` counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address_text, prefix_text) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address_text.parse().map_err(|_| NetworkError::Address(address_text.to_owned()))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix_text {
            None => bits,
            Some(text) => {
                let prefix = text.parse::<u8>().ok().filter(|prefix| *prefix <= bits);
                prefix.ok_or_else(|| NetworkError::Prefix(text.to_owned()))?
            }
        };
        let network = Self { address: masked(address, prefix), prefix };
        if network.address == address { Ok(network) } else { Err(NetworkError::HostBits(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
        ] {
            let block: Network = network.parse().unwrap();
            assert!(block.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!block.contains(outside.parse().unwrap()), "{outside} in {network}");
            let ((first, last), outside) = (block.bounds(), outside.parse::<IpAddr>().unwrap());
            assert!(
                block.contains(first) && block.contains(last) && !(first <= outside && outside <= last),
                "{network}"
            );
        }
        assert!(Network::ANY_V6.contains("2001:db8::1".parse().unwrap()));
        assert!(!Network::ANY_V6.contains("::ffff:10.0.0.1".parse().unwrap()), "IPv4 behind a dual-stack socket");
    }

    #[test]
    fn slips_are_named() {
        let error = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        assert_eq!(error("trunk.example.mx"), "«trunk.example.mx» is no IP address");
        assert_eq!(error("10.0.0.0/33"), "«/33» is no prefix length of such an address");
        assert_eq!(error("10.1.2.3/16"), "the address has bits behind its prefix; the block is 10.1.0.0/16");
    }
}
