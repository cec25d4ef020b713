//! Randomness from the operating system, the seed of everything random in the engine.

use anyhow::Context;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::ids::Ids;

/// Identifiers that nobody can foresee.
///
/// # Errors
/// When the operating system gives no randomness, which no engine should go on without.
pub fn ids() -> anyhow::Result<Ids> {
    let mut seed = [0_u8; 32];
    SysRng.try_fill_bytes(&mut seed).context("the operating system gives no randomness")?;
    Ok(Ids::from_entropy(seed))
}
