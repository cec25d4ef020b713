//! Bytes as one URI, and as two that a line end parts.

use contesta::sip::Transport;
use contesta::sip::uri::{Uri, parameters, parse_host_port};
use contesta::sip::uri_comparison::same;

use super::lies_in;

/// A URI's parts lie in it; it is the same as itself, and whatever it is the same as is the same as it (RFC 3261 §19.1.4).
pub fn run(data: &[u8]) {
    let _any = parse_host_port(data);
    let _count = parameters(data).count();
    let mut uris = data.splitn(2, |&byte| byte == b'\n').filter_map(|line| Uri::parse(line).ok());
    let Some(one) = uris.next() else { return };
    let parts = [one.user.unwrap_or_default(), one.user_parameters, one.parameters, one.headers];
    assert!(parts.iter().all(|part| lies_in(part, data)));
    assert!(!one.user_text().contains(['\r', '\n']) || data.contains(&b'%'));
    assert!(one.all_parameters().iter().all(|(name, _)| !name.bytes().any(|byte| byte.is_ascii_uppercase())));
    let _transport = Transport::of_uri(&one);
    assert!(same(&one, &one), "not the same as itself: {one:?}");
    if let Some(other) = uris.next() {
        assert_eq!(same(&one, &other), same(&other, &one), "{one:?} and {other:?}");
    }
}
