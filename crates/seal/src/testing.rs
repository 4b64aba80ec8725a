//! Deterministic randomness for the unit tests.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

/// A stream of its own for every test, the same on every run.
pub fn test_rng(stream: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([stream; 32])
}
