//! The catalogue: every prompt's key, Spanish text and audio.

/// All prompts of one operator, and the recorded words of `speech` behind them.
#[derive(Clone, Debug)]
pub struct Prompts {}
