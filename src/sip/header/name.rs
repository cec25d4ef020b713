//! Names of the headers that we read or write, long and compact (RFC 3261 §7.3.3, §20).

use std::fmt;

/// A header's name. Case does not matter, `v` is `Via`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// RFC 3261 §20.1.
    Accept,
    /// RFC 3261 §20.5.
    Allow,
    /// RFC 3261 §20.7.
    Authorization,
    /// RFC 3261 §20.8.
    CallId,
    /// RFC 3261 §20.10.
    Contact,
    /// RFC 3261 §20.14.
    ContentLength,
    /// RFC 3261 §20.15.
    ContentType,
    /// RFC 3261 §20.16.
    CSeq,
    /// RFC 5806 §4.
    Diversion,
    /// RFC 6665 §8.2.1.
    Event,
    /// RFC 3261 §20.19.
    Expires,
    /// RFC 3261 §20.20.
    From,
    /// RFC 7044 §5.
    HistoryInfo,
    /// RFC 3261 §20.22.
    MaxForwards,
    /// RFC 4028 §5.
    MinSe,
    /// RFC 3261 §20.23.
    MinExpires,
    /// RFC 7315 §4.2.
    PCalledPartyId,
    /// RFC 3261 §20.27.
    ProxyAuthenticate,
    /// RFC 3261 §20.28.
    ProxyAuthorization,
    /// RFC 3262 §7.2.
    RAck,
    /// RFC 3261 §20.30.
    RecordRoute,
    /// RFC 4488 §4.
    ReferSub,
    /// RFC 3515 §2.1.
    ReferTo,
    /// RFC 3891 §3.
    Replaces,
    /// RFC 3261 §20.32.
    Require,
    /// RFC 3261 §20.33.
    RetryAfter,
    /// RFC 3261 §20.34.
    Route,
    /// RFC 3262 §7.1.
    RSeq,
    /// RFC 4028 §4.
    SessionExpires,
    /// RFC 6665 §8.2.3.
    SubscriptionState,
    /// RFC 3261 §20.37.
    Supported,
    /// RFC 3261 §20.38.
    Timestamp,
    /// RFC 3261 §20.39.
    To,
    /// RFC 3261 §20.41.
    UserAgent,
    /// RFC 3261 §20.42.
    Via,
    /// RFC 3261 §20.44.
    WwwAuthenticate,
    /// Any other: kept, never read.
    Other,
}

impl Name {
    /// How many there are.
    pub const COUNT: usize = Self::Other as usize + 1;

    /// Reads a name.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        // As most write it is compared at once, as some do byte for byte.
        let is = |long: &str| name == long.as_bytes() || name.eq_ignore_ascii_case(long.as_bytes());
        // The length decides first: a message has a dozen names to look up, and most lengths leave one candidate.
        match name.len() {
            1 => match name {
                b"c" | b"C" => Self::ContentType,
                b"f" | b"F" => Self::From,
                b"i" | b"I" => Self::CallId,
                b"k" | b"K" => Self::Supported,
                b"l" | b"L" => Self::ContentLength,
                b"m" | b"M" => Self::Contact,
                b"o" | b"O" => Self::Event,
                b"r" | b"R" => Self::ReferTo,
                b"t" | b"T" => Self::To,
                b"v" | b"V" => Self::Via,
                b"x" | b"X" => Self::SessionExpires,
                _ => Self::Other,
            },
            2 if is("To") => Self::To,
            3 if is("Via") => Self::Via,
            4 if is("From") => Self::From,
            4 if is("CSeq") => Self::CSeq,
            4 if is("RSeq") => Self::RSeq,
            4 if is("RAck") => Self::RAck,
            5 if is("Route") => Self::Route,
            5 if is("Allow") => Self::Allow,
            5 if is("Event") => Self::Event,
            6 if is("Accept") => Self::Accept,
            6 if is("Min-SE") => Self::MinSe,
            7 if is("Call-ID") => Self::CallId,
            7 if is("Contact") => Self::Contact,
            7 if is("Expires") => Self::Expires,
            7 if is("Require") => Self::Require,
            8 if is("Refer-To") => Self::ReferTo,
            8 if is("Replaces") => Self::Replaces,
            9 if is("Diversion") => Self::Diversion,
            9 if is("Refer-Sub") => Self::ReferSub,
            9 if is("Timestamp") => Self::Timestamp,
            9 if is("Supported") => Self::Supported,
            10 if is("User-Agent") => Self::UserAgent,
            11 if is("Min-Expires") => Self::MinExpires,
            11 if is("Retry-After") => Self::RetryAfter,
            12 if is("Content-Type") => Self::ContentType,
            12 if is("Max-Forwards") => Self::MaxForwards,
            12 if is("Record-Route") => Self::RecordRoute,
            12 if is("History-Info") => Self::HistoryInfo,
            13 if is("Authorization") => Self::Authorization,
            14 if is("Content-Length") => Self::ContentLength,
            15 if is("Session-Expires") => Self::SessionExpires,
            16 if is("WWW-Authenticate") => Self::WwwAuthenticate,
            17 if is("P-Called-Party-ID") => Self::PCalledPartyId,
            18 if is("Proxy-Authenticate") => Self::ProxyAuthenticate,
            18 if is("Subscription-State") => Self::SubscriptionState,
            19 if is("Proxy-Authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }

    /// The long form.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Allow => "Allow",
            Self::Authorization => "Authorization",
            Self::CallId => "Call-ID",
            Self::Contact => "Contact",
            Self::ContentLength => "Content-Length",
            Self::ContentType => "Content-Type",
            Self::CSeq => "CSeq",
            Self::Diversion => "Diversion",
            Self::Event => "Event",
            Self::Expires => "Expires",
            Self::From => "From",
            Self::HistoryInfo => "History-Info",
            Self::MaxForwards => "Max-Forwards",
            Self::MinSe => "Min-SE",
            Self::MinExpires => "Min-Expires",
            Self::PCalledPartyId => "P-Called-Party-ID",
            Self::ProxyAuthenticate => "Proxy-Authenticate",
            Self::ProxyAuthorization => "Proxy-Authorization",
            Self::RAck => "RAck",
            Self::RecordRoute => "Record-Route",
            Self::ReferSub => "Refer-Sub",
            Self::ReferTo => "Refer-To",
            Self::Replaces => "Replaces",
            Self::Require => "Require",
            Self::RetryAfter => "Retry-After",
            Self::Route => "Route",
            Self::RSeq => "RSeq",
            Self::SessionExpires => "Session-Expires",
            Self::SubscriptionState => "Subscription-State",
            Self::Supported => "Supported",
            Self::Timestamp => "Timestamp",
            Self::To => "To",
            Self::UserAgent => "User-Agent",
            Self::Via => "Via",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::Other => "header",
        }
    }

    /// Whether a second line of this name makes the message ambiguous (RFC 3261 §7.3.1, RFC 4475 §3.3.8 and §3.3.9).
    #[must_use]
    pub fn is_single(self) -> bool {
        matches!(
            self,
            Self::CallId
                | Self::ContentLength
                | Self::ContentType
                | Self::CSeq
                | Self::From
                | Self::MaxForwards
                | Self::To
        )
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_compact_and_odd_case_are_one_name() {
        let table: [(&[&str], Name); 12] = [
            (&["Via", "v", "V", "VIA"], Name::Via),
            (&["Content-Length", "l", "content-length"], Name::ContentLength),
            (&["Content-Type", "c"], Name::ContentType),
            (&["MaX-fOrWaRdS"], Name::MaxForwards),
            (&["m", "contact"], Name::Contact),
            (&["i", "CALL-ID"], Name::CallId),
            (&["f", "FROM"], Name::From),
            (&["t", "tO"], Name::To),
            (&["x", "session-expires"], Name::SessionExpires),
            (&["r", "REFER-TO"], Name::ReferTo),
            (&["o", "Event"], Name::Event),
            (&["C%6Fntact", "", "s", "X-Via"], Name::Other),
        ];
        for (names, expected) in table {
            for name in names {
                assert_eq!(Name::of(name.as_bytes()), expected, "{name}");
            }
        }
        assert_eq!(Name::of(b"k"), Name::Supported);
        for name in [
            "Record-Route",
            "Route",
            "Require",
            "Accept",
            "Timestamp",
            "User-Agent",
            "CSeq",
            "From",
            "To",
            "Authorization",
            "Expires",
            "Min-Expires",
            "Retry-After",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "Supported",
            "WWW-Authenticate",
            "Allow",
            "Event",
            "Min-SE",
            "RAck",
            "RSeq",
            "Refer-Sub",
            "Refer-To",
            "Replaces",
            "Retry-After",
            "Session-Expires",
            "Subscription-State",
            "P-Called-Party-ID",
            "Diversion",
            "History-Info",
        ] {
            assert_eq!(Name::of(name.as_bytes()).text(), name);
        }
    }
}
