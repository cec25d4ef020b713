//! When two SIP URIs are the same (RFC 3261 §19.1.4): a registrar has to know, for a phone may write its contact in two ways.
//!
//! The relation is not transitive: a parameter that stands in one of them only is passed over.

use super::uri::{Host, Uri, decoded, parameters};

/// Parameters that make a difference even where they stand in one URI only.
const DECISIVE: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

/// Whether two URIs lead to the same place. One that is written alike does, also with a parameter that stands twice, which none should.
#[must_use]
pub fn same(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    let equal = one.scheme == other.scheme
        && one.user.map(decoded) == other.user.map(decoded)
        && one.user_parameters == other.user_parameters
        && same_host(one.host.as_ref(), other.host.as_ref())
        && one.port == other.port
        && one.headers == other.headers
        && agrees(one.parameters, other.parameters)
        && agrees(other.parameters, one.parameters);
    equal || one == other
}

fn same_host(one: Option<&Host<'_>>, other: Option<&Host<'_>>) -> bool {
    match (one, other) {
        (Some(Host::Name(one)), Some(Host::Name(other))) => one.eq_ignore_ascii_case(other),
        (Some(one), Some(other)) if one.address().is_some() => one.address() == other.address(),
        (Some(Host::V6(one)), Some(Host::V6(other))) => one.eq_ignore_ascii_case(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Whether nothing in `ours` speaks against `theirs`.
fn agrees(ours: &[u8], theirs: &[u8]) -> bool {
    parameters(ours).all(|(name, value)| match parameters(theirs).find(|(other, _)| name.eq_ignore_ascii_case(other)) {
        Some((_, other)) => decoded(value).eq_ignore_ascii_case(&decoded(other)),
        None => !DECISIVE.iter().any(|decisive| name.eq_ignore_ascii_case(decisive.as_bytes())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs of RFC 3261 §19.1.4, and what phones write.
    #[test]
    fn the_pairs_of_the_rfc_are_told_apart() {
        let same_pairs = [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
            ("sip:a@h;x=1;x=2", "sip:a@h;x=1;x=2"),
        ];
        let different = [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@h", "sips:a@h"),
            ("sip:a@h", "sip:h"),
            ("sip:a@192.0.2.1", "sip:a@192.0.2.2"),
        ];
        let check = |(one, other): (&str, &str), expected| {
            let [one, other] = [one, other].map(|text| Uri::parse(text.as_bytes()).unwrap());
            assert_eq!((same(&one, &other), same(&other, &one)), (expected, expected), "{one:?} {other:?}");
        };
        same_pairs.into_iter().for_each(|pair| check(pair, true));
        different.into_iter().for_each(|pair| check(pair, false));
    }
}
