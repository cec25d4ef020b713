//! RTP packets, sequence and time arithmetic (RFC 3550, RFC 3551).
