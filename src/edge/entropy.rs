//! Randomness from the operating system, the seed of everything random in the engine.

use anyhow::Context;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::ids::Ids;

/// Two bytes that nobody can foresee: the number of a question to the DNS.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn number() -> std::io::Result<u16> {
    let mut bytes = [0_u8; 2];
    SysRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(u16::from_be_bytes(bytes))
}

/// Identifiers that nobody can foresee.
///
/// # Errors
/// When the operating system gives no randomness, which no engine should go on without.
pub fn ids() -> anyhow::Result<Ids> {
    let mut seed = [0_u8; 32];
    SysRng.try_fill_bytes(&mut seed).context("the operating system gives no randomness")?;
    Ok(Ids::from_entropy(seed))
}
