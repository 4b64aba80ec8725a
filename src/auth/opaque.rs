//! Secrets that mean nothing in themselves: refresh tokens, invitation codes, tickets. Handed out once and
//! stored as SHA-256; their 256 random bits need no slower hash.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::{rng, rng::Entropy};

/// The longest text worth hashing: ours have 43 characters.
const MAX_LENGTH: usize = 128;

/// A fresh secret: the text to hand out and the hash to keep.
pub(crate) struct Opaque {
    /// URL-safe base64 without padding, 43 characters.
    pub(crate) text: String,
    /// SHA-256 of the text.
    pub(crate) hash: Vec<u8>,
}

impl Opaque {
    /// A new secret of 256 bits.
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let text = URL_SAFE_NO_PAD.encode(rng::secret::<32>(entropy).as_slice());
        Self { hash: hash(&text), text }
    }

    /// The hash of a text somebody presents; `None` for what cannot be one of ours.
    pub(crate) fn presented(text: &str) -> Option<Vec<u8>> {
        (!text.is_empty() && text.len() <= MAX_LENGTH).then(|| hash(text))
    }
}

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opaque")
    }
}

fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededEntropy;

    #[test]
    fn a_presented_secret_finds_the_stored_hash() {
        let entropy = SeededEntropy::new(3);
        let (one, other) = (Opaque::new(&*entropy), Opaque::new(&*entropy));
        assert_eq!(one.text.len(), 43);
        assert_ne!(one.text, other.text);
        assert_eq!(Opaque::presented(&one.text), Some(one.hash.clone()));
        assert_ne!(Opaque::presented(&other.text), Some(one.hash.clone()));
        assert_eq!(Opaque::presented(""), None);
        assert_eq!(Opaque::presented(&"x".repeat(129)), None);
        assert_eq!(format!("{one:?}"), "Opaque");
    }
}
