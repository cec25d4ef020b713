//! Record-Route and Route (RFC 3261 §20.30, §20.34): the proxies that a dialog's requests pass.

use super::address::Address;
use super::{Malformed, Name};
use crate::sip::uri::Uri;

/// Most proxies a dialog may pass; a longer Record-Route is refused, so that a peer cannot fill memory.
pub const ROUTES_MAX: usize = 16;

/// One proxy of a route set, kept for the dialog's life: the URI as the proxy wrote it, parameters and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(Box<[u8]>);

impl Route {
    /// Reads a Record-Route header's value behind what `routes` holds.
    ///
    /// # Errors
    /// [`Malformed`] when it breaks the grammar or there are more than [`ROUTES_MAX`].
    pub fn read_into(value: &[u8], routes: &mut Vec<Self>) -> Result<(), Malformed> {
        Address::parse_list(Name::RecordRoute, value, |address| routes.push(Self(address.uri_text.into())))?;
        if routes.len() > ROUTES_MAX {
            return Err(Malformed { header: Name::RecordRoute, what: "too many proxies" });
        }
        Ok(())
    }

    /// The URI; `None` cannot happen for a route that was read, but costs nothing to say.
    #[must_use]
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(&self.0).ok()
    }

    /// The URI as text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// Whether the proxy wants its URI in Route, not in the Request-URI (`lr`, RFC 3261 §16.12.1.1).
    #[must_use]
    pub fn is_loose(&self) -> bool {
        self.uri().is_some_and(|uri| uri.has_parameter("lr"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_several_lines_keep_their_order() {
        let mut routes = Vec::new();
        Route::read_into(b"<sip:p1.example.com;lr>, <sip:p2.example.com>;x=y", &mut routes).unwrap();
        Route::read_into(b"Proxy <sip:p3.example.com;LR=on>", &mut routes).unwrap();
        let texts: Vec<_> =
            routes.iter().map(|route| (std::str::from_utf8(route.text()).unwrap(), route.is_loose())).collect();
        let expected =
            [("sip:p1.example.com;lr", true), ("sip:p2.example.com", false), ("sip:p3.example.com;LR=on", true)];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_record_route_that_never_ends_is_refused() {
        let value = vec!["<sip:p;lr>"; ROUTES_MAX].join(",");
        let mut routes = Vec::new();
        assert!(Route::read_into(value.as_bytes(), &mut routes).is_ok());
        assert!(Route::read_into(b"<sip:one.more;lr>", &mut routes).is_err());
    }
}
