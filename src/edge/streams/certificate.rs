//! When a certificate expires: the one field of X.509 that ops have to be warned of (RFC 5280 §4.1.2.5). Everything else about
//! certificates is rustls's business.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Tags of DER that stand on the way to the validity.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last moment that a certificate is valid; `None` for bytes that are no certificate.
#[must_use]
pub fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (_, mut certificate) = take(&mut &*der, SEQUENCE)?;
    let (_, mut signed) = take(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        take(&mut signed, VERSION)?;
    }
    take(&mut signed, INTEGER)?; // serial number
    take(&mut signed, SEQUENCE)?; // signature algorithm
    take(&mut signed, SEQUENCE)?; // issuer
    let (_, mut validity) = take_any(&mut signed).filter(|(tag, _)| *tag == SEQUENCE)?;
    take_any(&mut validity)?; // not before
    let (tag, time) = take_any(&mut validity)?;
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // RFC 5280 §4.1.2.5.1: two digits of the year, from 1950 to 2049.
        UTC_TIME if text.get(..2)?.parse::<u8>().ok()? < 50 => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// Reads one element that must have this tag.
fn take<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<(u8, &'a [u8])> {
    take_any(bytes).filter(|(found, _)| *found == tag)
}

/// Reads one element: its tag and its contents.
fn take_any<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        ..0x80 => (usize::from(first), rest),
        // The long form: so many bytes of length follow, most significant first.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        0x80 | 0x85.. => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((tag, contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(["sip.example.com".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(1_999, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(year, month, day);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    /// RFC 5280 §4.1.2.5: two digits of the year until 2049, four from then on.
    #[test]
    fn the_end_is_read_in_both_forms() {
        for (date, expected) in [
            ((2_031, 2, 3), "2031-02-03T00:00:00Z"),
            ((1_999, 12, 31), "1999-12-31T00:00:00Z"),
            ((2_049, 12, 31), "2049-12-31T00:00:00Z"),
            ((2_050, 1, 1), "2050-01-01T00:00:00Z"),
        ] {
            let found = not_after(&certificate(date.0, date.1, date.2)).map(|end| end.to_string());
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_cut_certificate_has_no_end() {
        let whole = certificate(2_031, 2, 3);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "{length} bytes");
        }
    }
}
