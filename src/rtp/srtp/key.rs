//! Master keys, and the session keys derived from them (RFC 3711 §4.3, RFC 7714 §11).
//!
//! A master key is wiped when it is dropped and never shown: `Debug` names its suite only.

use std::fmt;

use aes::{Aes128Enc, Aes256Enc};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

use super::Suite;
use super::transform::Transform;
use crate::ids::Ids;

/// Bytes of the longest key with its salt: AES-256 with the 12 bytes of GCM.
const MATERIAL_MAX: usize = 44;

/// Bytes of the HMAC-SHA1 key (RFC 3711 §5.2).
const AUTHENTICATION_KEY_LENGTH: usize = 20;

/// How many packets a key may protect; SRTP and SRTCP are counted apart, and the first to reach its end ends both
/// (RFC 3711 §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// At most 2^48.
    pub rtp: u64,
    /// At most 2^31.
    pub rtcp: u64,
}

impl Lifetime {
    /// What the indices allow, and what holds when nothing is said (RFC 3711 §3.2.1).
    pub const MAX: Self = Self { rtp: 1 << 48, rtcp: 1 << 31 };

    /// `packets` of either kind, as SDES states it (RFC 4568 §6.1).
    #[must_use]
    pub fn of(packets: u64) -> Self {
        Self { rtp: packets.min(Self::MAX.rtp), rtcp: packets.min(Self::MAX.rtcp) }
    }
}

/// The keys of the two directions of a leg, under one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// What we send is protected with.
    pub ours: MasterKey,
    /// What the far end sends is protected with.
    pub theirs: MasterKey,
}

/// The secret that one end's packets are protected with: the key, and behind it the salt.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    lifetime: Lifetime,
    material: [u8; MATERIAL_MAX],
}

impl MasterKey {
    /// A key for `suite` from its bytes and those of its salt, in this order, as `inline:` carries them (RFC 4568 §6.1).
    /// `None` when they are not exactly as many as the suite asks for.
    #[must_use]
    pub fn new(suite: Suite, material: &[u8], lifetime: Lifetime) -> Option<Self> {
        if material.len() != suite.key_length() + suite.salt_length() {
            return None;
        }
        let mut key = Self { suite, lifetime, material: [0; MATERIAL_MAX] };
        key.material.get_mut(..material.len())?.copy_from_slice(material);
        Some(key)
    }

    /// A key that nobody can foresee, as good as the seed of `ids`.
    #[must_use]
    pub fn random(suite: Suite, ids: &mut Ids) -> Self {
        let mut key = Self { suite, lifetime: Lifetime::MAX, material: [0; MATERIAL_MAX] };
        let (material, _) = key.material.split_at_mut(suite.key_length() + suite.salt_length());
        ids.fill(material);
        key
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// How long it holds.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The key and the salt, for `inline:`. Not for logs.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        self.material.split_at(self.suite.key_length() + self.suite.salt_length()).0
    }

    /// What protects RTP under this key, and what protects RTCP.
    pub(super) fn transforms(&self) -> (Transform, Transform) {
        (self.transform(LABEL_RTP), self.transform(LABEL_RTCP))
    }

    /// `first` is the label of the encryption key; those of authentication and salt follow (RFC 3711 §4.3.2).
    fn transform(&self, first: u8) -> Transform {
        let mut keys = SessionKeys::default();
        self.derive(first, keys.encryption.split_at_mut(self.suite.key_length()).0);
        self.derive(first + 1, keys.authentication.split_at_mut(AUTHENTICATION_KEY_LENGTH).0);
        self.derive(first + 2, keys.salt.split_at_mut(self.suite.salt_length()).0);
        let tag_length = if first == LABEL_RTP { self.suite.rtp_tag_length() } else { self.suite.rtcp_tag_length() };
        Transform::new(self.suite, &keys, tag_length)
    }

    /// Fills `out` with the key stream of the master key at `label` (RFC 3711 §4.3.3; the key derivation rate is 0).
    fn derive(&self, label: u8, out: &mut [u8]) {
        let (key, salt) = self.material().split_at(self.suite.key_length());
        // RFC 7714 §11: the 12 bytes of a GCM salt stand in front, zeros fill up the 14.
        let mut block = [0; 16];
        block.iter_mut().zip(salt).for_each(|(to, from)| *to = *from);
        block[LABEL_PLACE] ^= label;
        out.fill(0);
        // The key is 16 or 32 bytes long: one of the two ciphers takes it.
        if let Ok(mut stream) = Ctr128BE::<Aes128Enc>::new_from_slices(key, &block) {
            stream.apply_keystream(out);
        } else if let Ok(mut stream) = Ctr128BE::<Aes256Enc>::new_from_slices(key, &block) {
            stream.apply_keystream(out);
        }
    }
}

/// What one kind of packet is protected with; wiped when dropped. Shorter keys end in zeros.
pub(super) struct SessionKeys {
    pub(super) encryption: Zeroizing<[u8; 32]>,
    /// HMAC-SHA1 fills its key up to a block with zeros (RFC 2104 §2).
    pub(super) authentication: Zeroizing<[u8; 64]>,
    pub(super) salt: Zeroizing<[u8; 14]>,
}

impl Default for SessionKeys {
    fn default() -> Self {
        Self {
            encryption: Zeroizing::new([0; 32]),
            authentication: Zeroizing::new([0; 64]),
            salt: Zeroizing::new([0; 14]),
        }
    }
}

impl SessionKeys {
    /// The first half of the encryption key: all of it for AES-128.
    pub(super) fn half(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(std::array::from_fn(|place| self.encryption[place]))
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

/// Two ends have the same secret. In constant time, though nobody can measure a comparison of one's own keys.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.material.iter().zip(&other.material).fold(0, |bits, (one, two)| bits | (one ^ two));
        (self.suite, self.lifetime, differing) == (other.suite, other.lifetime, 0)
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, …)", self.suite)
    }
}

/// RFC 3711 §4.3.2: labels 0, 1, 2 for the encryption key, the authentication key and the salt of RTP.
const LABEL_RTP: u8 = 0;

/// Labels 3, 4, 5 for those of RTCP.
const LABEL_RTCP: u8 = 3;

/// The label stands in front of the 48-bit index, both aligned to the end of the 14-byte salt.
const LABEL_PLACE: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::srtp::transform::tests::bytes;

    /// The master key and salt of RFC 3711 appendix B.3.
    const MATERIAL: &str = "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6";

    fn derived(key: &MasterKey, label: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0xff; length];
        key.derive(label, &mut out);
        out
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &bytes(MATERIAL), Lifetime::MAX).unwrap();
        assert_eq!(derived(&key, 0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(&key, 2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        let authentication = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE \
            E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576";
        assert_eq!(derived(&key, 1, 80), bytes(authentication));
    }

    #[test]
    fn material_of_another_length_is_no_key() {
        for suite in Suite::ALL {
            let length = suite.key_length() + suite.salt_length();
            for wrong in [0, length - 1, length + 1, 200] {
                assert_eq!(MasterKey::new(suite, &vec![7; wrong], Lifetime::MAX), None, "{suite} {wrong}");
            }
            let key = MasterKey::new(suite, &vec![7; length], Lifetime::MAX).unwrap();
            assert_eq!(key.material(), vec![7; length]);
        }
    }

    #[test]
    fn a_key_is_random_equal_to_itself_and_not_shown() {
        let mut ids = Ids::from_seed(1);
        for suite in Suite::ALL {
            let (one, two) = (MasterKey::random(suite, &mut ids), MasterKey::random(suite, &mut ids));
            assert!(one == one.clone() && one != two);
            assert!(one.material().iter().any(|byte| *byte != 0));
            assert_eq!(format!("{one:?}"), format!("MasterKey({suite}, …)"));
        }
    }
}
