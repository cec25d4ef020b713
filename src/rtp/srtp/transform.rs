//! One kind of packet's encryption and authentication: where what lies, and in which order it is done (RFC 3711 §3.1, §3.4,
//! §4.1, §4.2; RFC 7714 §8, §9). Knows no streams and no replays, and of indices only the one that it is given.

use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use ctr::CtrCore;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::flavors;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::Suite;
use super::key::SessionKeys;

/// The part of an RTCP packet that travels in clear.
pub(super) const RTCP_HEADER_LENGTH: usize = 8;

/// The E bit and the index of an SRTCP packet.
pub(super) const INDEX_LENGTH: usize = 4;

/// The bit of an SRTCP packet's index word that says that it is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// What protects one kind of packet under one session key.
pub(super) struct Transform {
    cipher: Cipher,
    /// Of 14 bytes in counter mode, of 12 in GCM, as a number.
    salt: Zeroizing<u128>,
    tag_length: usize,
}

enum Cipher {
    CounterMode(Aes128Enc, Hmac<Sha1>),
    Gcm128(AesGcm<Aes128Enc, U12>),
    Gcm256(AesGcm<Aes256Enc, U12>),
}

/// A cipher by what it can do.
enum Mode<'c> {
    Counter(&'c Aes128Enc, &'c Hmac<Sha1>),
    Gcm(&'c dyn Gcm),
}

/// A packet is not what its sender made, or was made with another key, or has no room for what must be in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forged;

impl Transform {
    /// `tag_length` is 4 or 10 in counter mode; GCM's is always 16.
    pub(super) fn new(suite: Suite, keys: &SessionKeys, tag_length: usize) -> Self {
        let salt = keys.salt.iter().take(suite.salt_length()).fold(0, |salt, byte| salt << 8 | u128::from(*byte));
        let cipher = match suite {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                Cipher::CounterMode(Aes128Enc::new((&*keys.half()).into()), Hmac::new((&*keys.authentication).into()))
            }
            Suite::AeadAes128Gcm => Cipher::Gcm128(AesGcm::new((&*keys.half()).into())),
            Suite::AeadAes256Gcm => Cipher::Gcm256(AesGcm::new((&*keys.encryption).into())),
        };
        Self { cipher, salt: Zeroizing::new(salt), tag_length }
    }

    /// Bytes of the tag.
    pub(super) fn tag_length(&self) -> usize {
        self.tag_length
    }

    /// Encrypts `packet` from `payload` up to the room for the tag at its end, and writes the tag there.
    pub(super) fn seal_rtp(&self, packet: &mut [u8], payload: usize, ssrc: u32, index: u64) -> Result<(), Forged> {
        let (clear, tag) = self.split_tag(packet)?;
        let (header, body) = clear.split_at_mut_checked(payload).ok_or(Forged)?;
        match self.cipher.mode() {
            Mode::Counter(cipher, hmac) => {
                self.counter_mode(cipher, ssrc, index, body);
                let mac = rtp_mac(hmac, clear, index).finalize().into_bytes();
                tag.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
                Ok(())
            }
            Mode::Gcm(cipher) => cipher.seal(&self.gcm_iv(ssrc, index), header, body, tag),
        }
    }

    /// Checks the tag at the end of `packet` and decrypts what lies between `payload` and it. What is refused is left as it was.
    pub(super) fn open_rtp(&self, packet: &mut [u8], payload: usize, ssrc: u32, index: u64) -> Result<(), Forged> {
        let (clear, tag) = self.split_tag(packet)?;
        match self.cipher.mode() {
            Mode::Counter(cipher, hmac) => {
                rtp_mac(hmac, clear, index).verify_truncated_left(tag).map_err(|_| Forged)?;
                self.counter_mode(cipher, ssrc, index, clear.get_mut(payload..).ok_or(Forged)?);
                Ok(())
            }
            Mode::Gcm(cipher) => {
                let (header, body) = clear.split_at_mut_checked(payload).ok_or(Forged)?;
                cipher.open(&self.gcm_iv(ssrc, index), header, body, tag)
            }
        }
    }

    /// Encrypts an RTCP packet and writes the tag and the index word into the room at its end.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<(), Forged> {
        let word = (ENCRYPTED | index).to_be_bytes();
        let (clear, trailer) = self.split_trailer(packet)?;
        let (header, body) = clear.split_first_chunk_mut::<RTCP_HEADER_LENGTH>().ok_or(Forged)?;
        match self.cipher.mode() {
            Mode::Counter(cipher, hmac) => {
                self.counter_mode(cipher, ssrc, index.into(), body);
                let mac = rtcp_mac(hmac, clear, word).finalize().into_bytes();
                trailer.iter_mut().zip(word.into_iter().chain(mac)).for_each(|(to, from)| *to = from);
                Ok(())
            }
            Mode::Gcm(cipher) => {
                let (tag, last) = trailer.split_at_mut(self.tag_length);
                last.copy_from_slice(&word);
                cipher.seal(&self.gcm_iv(ssrc, index.into()), &rtcp_associated(header, word), body, tag)
            }
        }
    }

    /// The index word of an SRTCP packet, not yet authenticated.
    pub(super) fn rtcp_word(&self, packet: &[u8]) -> Option<u32> {
        let behind = match self.cipher.mode() {
            Mode::Counter(..) => self.tag_length,
            Mode::Gcm(_) => 0,
        };
        let end = packet.len().checked_sub(behind)?;
        packet.get(..end)?.last_chunk().map(|word| u32::from_be_bytes(*word))
    }

    /// Checks an SRTCP packet and decrypts it if its `word` says that it is encrypted. What is refused may have lost its tag.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<(), Forged> {
        let (index, encrypted, word) = (u64::from(word & !ENCRYPTED), word & ENCRYPTED != 0, word.to_be_bytes());
        let (clear, trailer) = self.split_trailer(packet)?;
        match self.cipher.mode() {
            Mode::Counter(cipher, hmac) => {
                let tag = trailer.get(INDEX_LENGTH..).ok_or(Forged)?;
                rtcp_mac(hmac, clear, word).verify_truncated_left(tag).map_err(|_| Forged)?;
                if encrypted {
                    self.counter_mode(cipher, ssrc, index, clear.get_mut(RTCP_HEADER_LENGTH..).ok_or(Forged)?);
                }
                Ok(())
            }
            Mode::Gcm(cipher) => {
                let iv = self.gcm_iv(ssrc, index);
                if encrypted {
                    let (header, body) = clear.split_first_chunk_mut::<RTCP_HEADER_LENGTH>().ok_or(Forged)?;
                    return cipher.open(&iv, &rtcp_associated(header, word), body, trailer.get(..16).ok_or(Forged)?);
                }
                // RFC 7714 §9.3: all of it is associated data, and the index word follows it without the tag between them.
                let associated = clear.len() + INDEX_LENGTH;
                let tag = *trailer.first_chunk::<16>().ok_or(Forged)?;
                let start = trailer.first_chunk_mut::<INDEX_LENGTH>().ok_or(Forged)?;
                *start = word;
                cipher.open(&iv, packet.get(..associated).ok_or(Forged)?, &mut [], &tag)
            }
        }
    }

    /// What is protected, and the tag.
    fn split_tag<'p>(&self, packet: &'p mut [u8]) -> Result<(&'p mut [u8], &'p mut [u8]), Forged> {
        let end = packet.len().checked_sub(self.tag_length).ok_or(Forged)?;
        packet.split_at_mut_checked(end).ok_or(Forged)
    }

    /// The RTCP packet, and the tag with the index word.
    fn split_trailer<'p>(&self, packet: &'p mut [u8]) -> Result<(&'p mut [u8], &'p mut [u8]), Forged> {
        let end = packet.len().checked_sub(self.tag_length + INDEX_LENGTH).ok_or(Forged)?;
        packet.split_at_mut_checked(end).ok_or(Forged)
    }

    /// RFC 3711 §4.1.1. The same key stream encrypts and decrypts.
    fn counter_mode(&self, cipher: &Aes128Enc, ssrc: u32, index: u64, body: &mut [u8]) {
        let iv = (*self.salt << 16) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        let counter = CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(cipher, (&iv.to_be_bytes()).into());
        counter.apply_keystream_partial(body.into());
    }

    /// RFC 7714 §8.1 for RTP, whose index is the roll-over counter with the sequence number; §9.1 for RTCP.
    fn gcm_iv(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let [_, _, _, _, iv @ ..] = (*self.salt ^ (u128::from(ssrc) << 48) ^ u128::from(index)).to_be_bytes();
        iv
    }
}

impl Cipher {
    fn mode(&self) -> Mode<'_> {
        match self {
            Self::CounterMode(cipher, hmac) => Mode::Counter(cipher, hmac),
            Self::Gcm128(cipher) => Mode::Gcm(cipher),
            Self::Gcm256(cipher) => Mode::Gcm(cipher),
        }
    }
}

/// GCM with either key length, in place.
trait Gcm {
    /// `tag` has 16 bytes.
    fn seal(&self, iv: &[u8; 12], associated: &[u8], body: &mut [u8], tag: &mut [u8]) -> Result<(), Forged>;
    /// Leaves `body` as it was when the tag is not right.
    fn open(&self, iv: &[u8; 12], associated: &[u8], body: &mut [u8], tag: &[u8]) -> Result<(), Forged>;
}

impl<C: AeadInOut<NonceSize = U12, TagSize = aes_gcm::aead::consts::U16>> Gcm for C {
    fn seal(&self, iv: &[u8; 12], associated: &[u8], body: &mut [u8], tag: &mut [u8]) -> Result<(), Forged> {
        let made = self.encrypt_inout_detached(iv.into(), associated, body.into()).map_err(|_| Forged)?;
        tag.iter_mut().zip(made).for_each(|(to, from)| *to = from);
        Ok(())
    }

    fn open(&self, iv: &[u8; 12], associated: &[u8], body: &mut [u8], tag: &[u8]) -> Result<(), Forged> {
        let tag = tag.first_chunk::<16>().ok_or(Forged)?;
        self.decrypt_inout_detached(iv.into(), associated, body.into(), tag.into()).map_err(|_| Forged)
    }
}

/// RFC 3711 §4.2: over the packet and the roll-over counter.
fn rtp_mac(hmac: &Hmac<Sha1>, packet: &[u8], index: u64) -> Hmac<Sha1> {
    let roll_over = (index >> 16) as u32; // an index has 48 bits
    hmac.clone().chain_update(packet).chain_update(roll_over.to_be_bytes())
}

/// RFC 3711 §3.4: over the packet and its index word.
fn rtcp_mac(hmac: &Hmac<Sha1>, packet: &[u8], word: [u8; 4]) -> Hmac<Sha1> {
    hmac.clone().chain_update(packet).chain_update(word)
}

/// RFC 7714 §9.2: the header and the index word.
fn rtcp_associated(header: &[u8; RTCP_HEADER_LENGTH], word: [u8; 4]) -> [u8; RTCP_HEADER_LENGTH + INDEX_LENGTH] {
    let mut associated = [0; RTCP_HEADER_LENGTH + INDEX_LENGTH];
    associated.iter_mut().zip(header.iter().chain(&word)).for_each(|(to, from)| *to = *from);
    associated
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Hexadecimal digits, blanks between them skipped.
    pub(crate) fn bytes(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// A transform with the session keys that an RFC gives.
    fn session(suite: Suite, encryption: &str, salt: &str) -> Transform {
        let mut keys = SessionKeys::default();
        keys.encryption.iter_mut().zip(bytes(encryption)).for_each(|(to, from)| *to = from);
        keys.salt.iter_mut().zip(bytes(salt)).for_each(|(to, from)| *to = from);
        Transform::new(suite, &keys, suite.rtp_tag_length())
    }

    /// RFC 3711 appendix B.2: the key stream at its beginning and around block 0xff00.
    #[test]
    fn the_key_stream_is_that_of_the_rfc() {
        let key = "2B7E151628AED2A6ABF7158809CF4F3C";
        let transform = session(Suite::AesCm128HmacSha1_80, key, "F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
        let Mode::Counter(cipher, _) = transform.cipher.mode() else { panic!("not counter mode") };
        let mut stream = vec![0; 0xff02 * 16];
        transform.counter_mode(cipher, 0, 0, &mut stream);
        for (block, expected) in [
            (0, "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"),
            (
                0xfeff,
                "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44",
            ),
        ] {
            assert_eq!(stream[block * 16..][..48], bytes(expected), "block {block:x}");
        }
    }

    const SALT: &str = "517569642070726f2071756f";
    const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY_256: &str = "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f";
    const RTP: &str =
        "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e697320646976697361 20696e207061727465732074726573";

    fn check_rtp(suite: Suite, key: &str, payload: usize, expected: &str) {
        let (clear, transform) = (bytes(RTP), session(suite, key, SALT));
        let mut packet = [&clear[..], &[0; 16]].concat();
        assert_eq!(transform.seal_rtp(&mut packet, payload, 0x5501_a0b2, 0xf17b), Ok(()));
        assert_eq!(packet, bytes(expected));
        assert_eq!(transform.open_rtp(&mut packet, payload, 0x5501_a0b2, 0xf17b), Ok(()));
        assert_eq!(packet[..clear.len()], clear);
    }

    /// RFC 7714 §16.1.1, §16.1.2.
    #[test]
    fn rtp_under_aes_128_gcm_is_that_of_the_rfc() {
        let expected = "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833 \
            899d7f27beb16a9152cf765ee4390cce";
        check_rtp(Suite::AeadAes128Gcm, KEY_128, 12, expected);
    }

    /// RFC 7714 §16.1.3, §16.2.3: authenticated only, all of the packet is associated data.
    #[test]
    fn rtp_that_is_tagged_only_is_that_of_the_rfc() {
        check_rtp(Suite::AeadAes128Gcm, KEY_128, 50, &format!("{RTP} 22493f82d2bce397e9d79e3b19aa4216"));
        check_rtp(Suite::AeadAes256Gcm, KEY_256, 50, &format!("{RTP} a866d5910f887463067ceefec45215d4"));
    }

    /// RFC 7714 §16.2.1, §16.2.2.
    #[test]
    fn rtp_under_aes_256_gcm_is_that_of_the_rfc() {
        let expected = "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b \
            7aa3db36dfffd6b0f9bb7878d7a76c13";
        check_rtp(Suite::AeadAes256Gcm, KEY_256, 12, expected);
    }

    const RTCP: &str =
        "81c8000d4d617273 4e5450314e545032525450200000042a 0000e9304c756e61deadbeefdeadbeef deadbeefdeadbeefdeadbeef";

    fn check_rtcp(suite: Suite, key: &str, expected: &str) {
        let (clear, transform) = (bytes(RTCP), session(suite, key, SALT));
        let mut packet = [&clear[..], &[0; 20]].concat();
        assert_eq!(transform.seal_rtcp(&mut packet, 0x4d61_7273, 0x5d4), Ok(()));
        assert_eq!(packet, bytes(expected));
        assert_eq!(transform.rtcp_word(&packet), Some(ENCRYPTED | 0x5d4));
        assert_eq!(transform.open_rtcp(&mut packet, 0x4d61_7273, ENCRYPTED | 0x5d4), Ok(()));
        assert_eq!(packet[..clear.len()], clear);
    }

    /// RFC 7714 §17.1.
    #[test]
    fn rtcp_under_aes_128_gcm_is_that_of_the_rfc() {
        let expected = "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b \
            c84aa45896cf4d2fc5abf87245d9eade 800005d4";
        check_rtcp(Suite::AeadAes128Gcm, KEY_128, expected);
    }

    /// RFC 7714 §17.2.
    #[test]
    fn rtcp_under_aes_256_gcm_is_that_of_the_rfc() {
        let expected = "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad \
            1d1eb30c4446839f57ff6f6cb26ac3be 800005d4";
        check_rtcp(Suite::AeadAes256Gcm, KEY_256, expected);
    }

    /// RFC 7714 §17.3: a packet whose E bit is not set is authenticated all the same, and any other bit in it makes it another packet.
    #[test]
    fn rtcp_that_is_tagged_only_is_that_of_the_rfc() {
        let transform = session(Suite::AeadAes128Gcm, KEY_128, SALT);
        let packet = bytes(&format!("{RTCP} 841dd9683dd78ec92ae58790125f62b3 000005d4"));
        let opened = |packet: &mut [u8]| {
            let word = transform.rtcp_word(packet).unwrap();
            transform.open_rtcp(packet, 0x4d61_7273, word)
        };
        let mut right = packet.clone();
        assert_eq!(opened(&mut right), Ok(()));
        assert_eq!(right[..52], bytes(RTCP));
        for bit in 0..packet.len() * 8 {
            let mut wrong = packet.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&mut wrong), Err(Forged), "bit {bit}");
        }
    }
}
