//! Warning (RFC 3261 §20.43) with code 399: why we refused, for the peer's operator.

use std::net::SocketAddr;

use super::reason::write_quoted;

/// Writes `399 agent "text"`.
pub fn write(agent: SocketAddr, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("399 {agent} \"").as_bytes());
    write_quoted(text, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_quoted() {
        let mut out = Vec::new();
        write("192.0.2.1:5060".parse().unwrap(), "no \"codec\" in common", &mut out);
        assert_eq!(out, br#"399 192.0.2.1:5060 "no \"codec\" in common""#);
    }
}
