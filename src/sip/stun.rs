//! STUN Binding requests on the SIP port (RFC 5389 §6, §7.3.1; RFC 5626 §3.5.2, §4.4.2): how a phone keeps its way through a NAT open over
//! UDP, and learns when its address has changed. Nothing else of STUN is spoken here.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// The answer to a Binding request: where it came from. `None` for anything else.
#[must_use]
pub fn answer(request: &[u8], source: SocketAddr) -> Option<Bytes> {
    let (header, rest) = request.split_at_checked(HEADER_LENGTH)?;
    let (start, transaction) = header.split_at_checked(8)?;
    let [0, 1, high, low, cookie @ ..] = start else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if *cookie != MAGIC_COOKIE || length != rest.len() || length % 4 != 0 {
        return None;
    }
    let mut value = vec![0];
    // XOR-MAPPED-ADDRESS (RFC 5389 §15.2): the port with half the cookie, the address with the cookie and the transaction.
    let mask = MAGIC_COOKIE.iter().chain(transaction);
    let [first, second, ..] = MAGIC_COOKIE;
    let port = source.port() ^ u16::from_be_bytes([first, second]);
    let address = match source.ip().to_canonical() {
        IpAddr::V4(address) => {
            value.push(1);
            address.octets().to_vec()
        }
        IpAddr::V6(address) => {
            value.push(2);
            address.octets().to_vec()
        }
    };
    value.extend(port.to_be_bytes());
    value.extend(address.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    let length = u16::try_from(value.len()).ok()?;
    let mut answer = vec![1, 1];
    answer.extend((length + 4).to_be_bytes());
    answer.extend(MAGIC_COOKIE);
    answer.extend(transaction);
    answer.extend([0, 0x20]);
    answer.extend(length.to_be_bytes());
    answer.extend(value);
    Some(answer.into())
}

const HEADER_LENGTH: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";

    /// RFC 5769 §2.2 and §2.3: 192.0.2.1:32853 and 2001:db8:1234:5678:11:2233:4455:6677, port 32853.
    #[test]
    fn the_answer_says_where_the_request_came_from() {
        let transaction = b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let request = [b"\0\x01\0\x04\x21\x12\xa4\x42", &transaction[..], b"\x80\x22\0\0"].concat();
        let v4 = answer(&request, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(v4[..8], *b"\x01\x01\0\x0c\x21\x12\xa4\x42");
        assert_eq!(v4[8..20], *transaction);
        assert_eq!(v4[20..], *b"\0\x20\0\x08\0\x01\xa1\x47\xe1\x12\xa6\x43");
        let v6 = answer(&request, "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()).unwrap();
        assert_eq!(
            v6[20..],
            *b"\0\x20\0\x14\0\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9"
        );
    }

    #[test]
    fn nothing_else_is_answered() {
        let source = "192.0.2.1:5060".parse().unwrap();
        assert!(answer(REQUEST, source).is_some());
        for other in [
            &b""[..],
            b"\r\n\r\n",
            &REQUEST[..19],
            &[REQUEST, b"x"].concat(),
            b"\x01\x01\0\0\x21\x12\xa4\x42abcdefghijkl",
            b"\0\x01\0\0\x21\x12\xa4\x43abcdefghijkl",
            b"\0\x01\0\x04\x21\x12\xa4\x42abcdefghijkl",
        ] {
            assert_eq!(answer(other, source), None);
        }
    }
}
