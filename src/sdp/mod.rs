//! Session descriptions: parse an offer, choose an answer, write both (RFC 8866, RFC 3264).
