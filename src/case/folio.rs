//! The folio: ten digits that can be keyed, with a check digit, that cannot be guessed from the last one.

/// A case's number: the operator's prefix digit, eight random digits, one check digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folio(String);
