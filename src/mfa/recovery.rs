//! Recovery codes: 100 random bits each, in an alphabet made for copying by hand (Crockford's base32), stored
//! as SHA-256. That many bits need no slower hash.

use sha2::{Digest as _, Sha256};

use crate::{rng, rng::Entropy};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code, five bits each.
const LENGTH: usize = 20;
/// Characters between dashes.
const GROUP: usize = 5;

/// A fresh code: the text to hand out, in groups.
pub(super) fn fresh(entropy: &dyn Entropy) -> String {
    let random = rng::secret::<LENGTH>(entropy);
    let mut text = String::with_capacity(LENGTH + LENGTH / GROUP);
    for (place, byte) in random.iter().enumerate() {
        if place > 0 && place % GROUP == 0 {
            text.push('-');
        }
        // 32 divides 256: every character is as likely.
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    text
}

/// The hash of a code as somebody typed it; `None` for what cannot be one.
pub(super) fn presented(text: &str) -> Option<Vec<u8>> {
    // Longer ones are not read to their end.
    let typed = text.chars().take(4 * LENGTH).filter(|c| !c.is_whitespace() && *c != '-');
    let code: String = typed
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    let good = code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
    good.then(|| Sha256::digest(code.as_bytes()).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededEntropy;

    #[test]
    fn a_code_is_known_however_it_is_copied() {
        let entropy = SeededEntropy::new(6);
        let (one, other) = (fresh(&*entropy), fresh(&*entropy));
        assert_eq!(one.len(), 23, "{one}");
        let hash = presented(&one).unwrap();
        assert_ne!(presented(&other).unwrap(), hash);
        for copied in [one.to_lowercase(), one.replace('-', " "), one.replace('0', "o").replace('1', "l")] {
            assert_eq!(presented(&copied).as_ref(), Some(&hash), "{copied}");
        }
        for wrong in ["", "123456", &one[1..], &format!("{one}0"), &one.replace('-', "U")] {
            assert_eq!(presented(wrong), None, "{wrong}");
        }
    }
}
