//! Digits that prove who calls, as a table keeps them: not the digits, but what a key makes of them.
//!
//! Four digits are ten thousand guesses, so no hash alone hides them from whoever reads the database or a copy of it. What hides
//! them is a key that is not in the database ([`crate::edge::secret_key`]): HMAC-SHA-256 (RFC 2104, FIPS 180-4) over the
//! digits and the row they belong to, so that two customers with the same digits do not look alike.

use std::fmt;

use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Seals secrets and compares digits with sealed ones.
#[derive(Clone)]
pub struct SecretKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    /// Tells keys apart without telling anything of them.
    name: String,
}

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Where a secret stands: the same digits elsewhere are sealed otherwise.
#[derive(Clone, Copy, Debug)]
pub struct SecretPlace<'a> {
    /// Operator id.
    pub operator: &'a str,
    /// Table name.
    pub table: &'a str,
    /// The row's key ([`crate::store::row_key`]).
    pub row: &'a str,
    /// Column name.
    pub column: &'a str,
}

impl SecretKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let named = mac(&bytes, &["contesta: the name of this key"]).finalize().into_bytes();
        Self { name: hex(named.get(..4).unwrap_or_default()), bytes }
    }

    /// What a table keeps of these digits: `s1:<name of the key>:<64 hexadecimal digits>`.
    #[must_use]
    pub fn seal(&self, place: SecretPlace<'_>, digits: &str) -> String {
        format!("{VERSION}:{}:{}", self.name, hex(&self.over(place, digits).finalize().into_bytes()))
    }

    /// Whether these digits are the sealed ones.
    ///
    /// # Errors
    /// They cannot be compared: the cell is not sealed, or by another key.
    pub fn opens(&self, place: SecretPlace<'_>, sealed: &str, digits: &str) -> anyhow::Result<bool> {
        let SecretPlace { operator, table, column, .. } = place;
        let again = || format!("«{column}» of the table {table}: contesta import --operator {operator} {table}");
        let mut parts = sealed.split(':');
        let (Some(VERSION), Some(name), Some(code), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("a secret is stored as it was imported, not sealed; import {}", again());
        };
        if name != self.name {
            bail!(
                "a secret is sealed with another key ({name}) than ours ({}); bring that key, or import {}",
                self.name,
                again()
            );
        }
        let code = unhex(code).with_context(|| format!("a sealed secret is damaged; import {}", again()))?;
        Ok(self.over(place, digits).verify_slice(&code).is_ok())
    }

    fn over(&self, place: SecretPlace<'_>, digits: &str) -> Hmac<Sha256> {
        let SecretPlace { operator, table, row, column } = place;
        mac(&self.bytes, &[operator, table, row, column, digits])
    }
}

/// Never the key itself.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Each part with its length before it: no two lists of parts look alike.
fn mac(key: &[u8; KEY_BYTES], parts: &[&str]) -> Hmac<Sha256> {
    // A key shorter than SHA-256's block is filled up with zeros (RFC 2104 §2).
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte = *key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac
}

/// Two lower-case digits a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of an even number of hexadecimal digits.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The first way of sealing.
const VERSION: &str = "s1";

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: SecretPlace<'_> =
        SecretPlace { operator: "beneleit", table: "accounts", row: "2221234567", column: "ultimos4" };

    #[test]
    fn only_the_right_digits_of_the_right_row_open_a_secret() {
        let key = SecretKey::new([7; KEY_BYTES]);
        let sealed = key.seal(PLACE, "4821");
        assert!(!sealed.contains("4821") && sealed.len() == 2 + 1 + 8 + 1 + 64, "{sealed}");
        assert!(key.opens(PLACE, &sealed, "4821").unwrap());
        for digits in ["4822", "482", "48210", ""] {
            assert!(!key.opens(PLACE, &sealed, digits).unwrap(), "{digits}");
        }
        for other in [
            SecretPlace { row: "2225550101", ..PLACE },
            SecretPlace { operator: "bluepoint", ..PLACE },
            SecretPlace { table: "cuentas", ..PLACE },
            SecretPlace { column: "nip", ..PLACE },
            // The same letters, cut elsewhere.
            SecretPlace { table: "account", row: "s2221234567", ..PLACE },
        ] {
            assert_ne!(key.seal(other, "4821"), sealed, "{other:?}");
            assert!(!key.opens(other, &sealed, "4821").unwrap(), "{other:?}");
        }
        assert_eq!(key.seal(PLACE, "4821"), sealed, "the same at every import");
    }

    /// A wrong key must not look like wrong digits: they would be counted against the customer.
    #[test]
    fn what_cannot_be_compared_is_an_error_and_no_wrong_guess() {
        let (key, other) = (SecretKey::new([7; KEY_BYTES]), SecretKey::new([8; KEY_BYTES]));
        let sealed = other.seal(PLACE, "4821");
        let why = |sealed: &str| key.opens(PLACE, sealed, "4821").unwrap_err().to_string();
        assert!(why(&sealed).starts_with("a secret is sealed with another key"), "{}", why(&sealed));
        assert!(why(&sealed).ends_with("contesta import --operator beneleit accounts"), "{}", why(&sealed));
        assert!(why("4821").starts_with("a secret is stored as it was imported"), "{}", why("4821"));
        assert!(!why("4821").contains("4821"));
        let own = key.seal(PLACE, "4821");
        assert!(why(own.get(..own.len() - 1).unwrap()).starts_with("a sealed secret is damaged"));
        assert!(!format!("{key:?}").contains("07"));
    }
}
