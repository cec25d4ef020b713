//! Bytes as an offer to us, and as the answer to an offer of ours: the first byte says under which terms.

use std::net::SocketAddr;

use contesta::ids::Ids;
use contesta::sdp::{self, Local, Offer, SrtpPolicy, Terms};

/// What we answer is a description with as many streams as the offer's, and what was agreed on can be agreed on again within the
/// call.
pub fn run(data: &[u8]) {
    let Some((choice, description)) = data.split_first() else { return };
    let policies = [SrtpPolicy::Off, SrtpPolicy::Offered, SrtpPolicy::Required];
    let terms = Terms { srtp: policies[usize::from(*choice) % policies.len()], ..Terms::default() };
    let family: std::net::IpAddr =
        if choice & 0x80 == 0 { [192, 0, 2, 10].into() } else { "2001:db8::a".parse().unwrap() };
    let local = Local { address: SocketAddr::new(family, 4_000), session: 7, version: 1, terms: &terms, source: None };
    let mut ids = Ids::from_seed(4_566);
    let ours = sdp::offer(&local, None, &mut ids);
    let agreed = ours.read_answer(description).ok();
    if let Some(agreed) = &agreed {
        let later = sdp::offer(&Local { version: 2, ..local }, Some(agreed), &mut ids);
        Offer::parse(&later.sdp).expect("our second offer is a description");
    }
    let Ok(offer) = Offer::parse(description) else { return };
    let _only = offer.only_audio();
    let Ok((answer, negotiated)) = sdp::answer(&offer, &local, None, &mut ids) else { return };
    let streams =
        |text: &[u8]| String::from_utf8_lossy(text).lines().filter(|line| line.trim_start().starts_with("m=")).count();
    Offer::parse(&answer).expect("our answer is a description");
    assert_eq!(streams(&answer), streams(description), "RFC 3264 §6: as many streams");
    // 0.0.0.0 is a hold of the old kind, whatever the family.
    let remote = negotiated.remote;
    assert!(
        remote.is_ipv4() == local.address.is_ipv4() || remote.ip().is_unspecified() && !negotiated.send,
        "{remote}"
    );
    let again = sdp::answer(&offer, &Local { version: 2, ..local }, Some(&negotiated), &mut ids);
    let (_, kept) = again.expect("the same offer is taken again");
    assert_eq!(
        (kept.codec, kept.payload_type, kept.remote),
        (negotiated.codec, negotiated.payload_type, negotiated.remote)
    );
}
