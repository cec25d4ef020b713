//! `a=crypto`: the keys of SRTP, in the description itself (RFC 4568 §9).
//!
//! ```text
//! a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^31 WSH=128
//!          │ suite                   key and salt in base 64 ┘             │      └ what may be ignored
//!          └ by this the answer names the line it takes                    └ packets that the key may protect
//! ```
//!
//! A line that asks for what [`srtp`](crate::rtp::srtp) does not do is as good as absent: a master key identifier, several keys, a key
//! derivation rate, streams that are not encrypted or not authenticated, keys for FEC, and every parameter that nobody knows and that does not
//! say by its `-` that it may be ignored (RFC 4568 §6.3.7).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::rtp::srtp::{Lifetime, MasterKey, Suite};

/// A line that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crypto {
    /// Unique within its stream.
    pub(super) tag: u32,
    /// What its writer's packets are protected with.
    pub(super) key: MasterKey,
}

impl Crypto {
    /// Reads what stands behind `a=crypto:`. `None` for a line that cannot or must not be used.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, keys) = (words.next()?, words.next()?, words.next()?);
        if tag.len() > TAG_DIGITS_MAX || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let suite = Suite::from_name(suite)?;
        words.all(may_be_ignored).then_some(())?;
        Some(Self { tag: tag.parse().ok()?, key: parse_key(suite, keys)? })
    }

    /// Writes the whole line.
    pub(super) fn write(&self, out: &mut String) {
        let _ = write!(out, "a=crypto:{} {} inline:", self.tag, self.key.suite());
        BASE64.encode_string(self.key.material(), out);
        out.push_str("\r\n");
    }
}

/// Reads `inline:KEY|LIFETIME` (RFC 4568 §6.1).
fn parse_key(suite: Suite, keys: &str) -> Option<MasterKey> {
    // Several keys are told apart by the identifier that each packet then carries.
    let (method, key) = keys.split_once(':').filter(|_| !keys.contains(';'))?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut parts = key.split('|');
    let material = Zeroizing::new(BASE64.decode(parts.next()?).ok()?);
    let lifetime = match (parts.next(), parts.next()) {
        (None, _) => Lifetime::MAX,
        (Some(lifetime), None) => parse_lifetime(lifetime)?,
        // `|1:4`, a master key identifier.
        (Some(_), Some(_)) => return None,
    };
    MasterKey::new(suite, &material, lifetime)
}

/// Reads `2^31` or `2147483648`: at least one packet, at most as many as there are indices. An identifier (`1:4`) is none.
fn parse_lifetime(text: &str) -> Option<Lifetime> {
    let packets = match text.strip_prefix("2^") {
        Some(exponent) => 1_u64.checked_shl(exponent.parse().ok()?)?,
        None => text.parse().ok()?,
    };
    (1..=Lifetime::MAX.rtp).contains(&packets).then(|| Lifetime::of(packets))
}

/// Session parameters that change nothing: the hint of a replay window, of which ours is as good as any, and what its writer marked.
fn may_be_ignored(parameter: &str) -> bool {
    let window = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("WSH"));
    match window {
        Some((_, size)) => size.parse().is_ok_and(|size: u32| size >= WINDOW_HINT_MIN),
        None => parameter.len() > 1 && parameter.starts_with('-'),
    }
}

/// With padding or without: not everybody writes it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// RFC 4568 §9.1.
const TAG_DIGITS_MAX: usize = 9;

/// RFC 4568 §6.3.6.
const WINDOW_HINT_MIN: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;

    /// 30 bytes.
    const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn every_suite_is_written_and_read_back() {
        let mut ids = Ids::from_seed(3);
        for (suite, length) in Suite::ALL.into_iter().zip([60, 40, 40, 40]) {
            let ours = Crypto { tag: 7, key: MasterKey::random(suite, &mut ids) };
            let mut line = String::new();
            ours.write(&mut line);
            let written = line.strip_prefix(&format!("a=crypto:7 {suite} inline:")).unwrap();
            assert_eq!(written.trim_end().len(), length, "{line}");
            let value = line.trim_end().strip_prefix("a=crypto:").unwrap();
            assert_eq!(Crypto::parse(value), Some(ours.clone()));
            assert_eq!(Crypto::parse(&value.replace('=', "")), Some(ours), "without padding");
        }
    }

    /// RFC 4568 §6.1, §6.3, §9.
    #[test]
    fn what_changes_the_protocol_is_not_taken_and_what_does_not_is() {
        fn read(line: &str) -> Option<(u32, Lifetime)> {
            Crypto::parse(line).map(|crypto| (crypto.tag, crypto.key.lifetime()))
        }
        let suite = "AES_CM_128_HMAC_SHA1_80";
        let with = |behind: &str| read(&format!("1 {suite} {KEY}{behind}"));
        let taken = |packets| Some((1, Lifetime::of(packets)));
        for (behind, expected) in [
            ("", Some((1, Lifetime::MAX))),
            ("|2^20", taken(1 << 20)),
            ("|2^48", Some((1, Lifetime::MAX))),
            ("|1048576", taken(1 << 20)),
            ("|1", taken(1)),
            ("|0", None),
            ("|2^49", None),
            ("|2^64", None),
            ("|2^-1", None),
            ("|", None),
            ("|1:4", None),
            ("|2^20|1:4", None),
            ("|2^20|", None),
            (";inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|2:4", None),
            (" WSH=128", Some((1, Lifetime::MAX))),
            (" wsh=64 -NEW=9", Some((1, Lifetime::MAX))),
            (" WSH=63", None),
            (" WSH", None),
            (" KDR=0", None),
            (" UNENCRYPTED_SRTP", None),
            (" UNENCRYPTED_SRTCP", None),
            (" UNAUTHENTICATED_SRTP", None),
            (" FEC_ORDER=FEC_SRTP", None),
            (" FEC_KEY=inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", None),
            (" NEW=9", None),
            (" -", None),
        ] {
            assert_eq!(with(behind), expected, "{behind}");
        }
        assert_eq!(read(&format!("999999999 {} {KEY}", suite.to_lowercase())), Some((999_999_999, Lifetime::MAX)));
        for (tag, suite, key) in [
            ("1234567890", suite, KEY),
            ("-1", suite, KEY),
            ("x", suite, KEY),
            ("1", "F8_128_HMAC_SHA1_80", KEY),
            ("1", "AEAD_AES_128_GCM", KEY),
            ("1", suite, "inline:"),
            ("1", suite, "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSo"),
            ("1", suite, "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSo*"),
            ("1", suite, "clear:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"),
            ("1", suite, "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"),
            ("1", suite, ""),
            ("", "", ""),
        ] {
            assert_eq!(read(&format!("{tag} {suite} {key}")), None, "{tag} {suite} {key}");
        }
    }

    #[test]
    fn a_line_shows_no_key() {
        let line = Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}")).unwrap();
        assert_eq!(format!("{line:?}"), "Crypto { tag: 1, key: MasterKey(AES_CM_128_HMAC_SHA1_80, …) }");
    }
}
