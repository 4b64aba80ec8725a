//! Padding of message content, so that a body's length tells little.
//!
//! ```text
//! padded  JSON || 0x80 || zeros, to the next multiple of 160 bytes (ISO/IEC 7816-4)
//! ```

use zeroize::Zeroizing;

/// Padded content is a multiple of this many bytes.
pub const BLOCK: usize = 160;
const MARK: u8 = 0x80;

/// The padding is not the one [`pad`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the padding is not valid")]
pub struct InvalidPadding;

/// `content`, padded with 1 to 160 bytes.
#[must_use]
pub fn pad(content: &[u8]) -> Zeroizing<Vec<u8>> {
    // The length is reserved first: a vector that grows leaves copies of the content behind.
    let length = (content.len() / BLOCK + 1) * BLOCK;
    let mut padded = Zeroizing::new(Vec::with_capacity(length));
    padded.extend_from_slice(content);
    padded.push(MARK);
    padded.resize(length, 0);
    padded
}

/// The content without its padding.
///
/// # Errors
/// [`InvalidPadding`] unless [`pad`] would have written exactly these bytes.
pub fn unpad(padded: &[u8]) -> Result<&[u8], InvalidPadding> {
    let mark = padded.iter().rposition(|byte| *byte != 0).ok_or(InvalidPadding)?;
    let (content, tail) = padded.split_at_checked(mark).ok_or(InvalidPadding)?;
    let minimal = padded.len() == (content.len() / BLOCK + 1) * BLOCK;
    if tail.first() == Some(&MARK) && minimal { Ok(content) } else { Err(InvalidPadding) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn padding_is_removed_and_hides_the_length(content in proptest::collection::vec(any::<u8>(), 0..700)) {
            let padded = pad(&content);
            prop_assert_eq!(padded.len() % BLOCK, 0);
            prop_assert!(padded.len() > content.len() && padded.len() - content.len() <= BLOCK);
            prop_assert_eq!(unpad(&padded), Ok(content.as_slice()));
        }

        #[test]
        fn only_what_pad_writes_is_accepted(padded in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(content) = unpad(&padded) {
                let again = pad(content);
                prop_assert_eq!(again.as_slice(), padded.as_slice());
            }
        }
    }

    #[test]
    fn other_padding_is_refused() {
        let mut too_long = pad(b"{}").to_vec();
        too_long.resize(2 * BLOCK, 0);
        let mut no_mark = vec![0; BLOCK];
        no_mark[..2].copy_from_slice(b"{}");
        let mut odd = pad(b"{}").to_vec();
        odd.pop();
        for wrong in [too_long, no_mark, odd, vec![0; BLOCK], vec![]] {
            assert_eq!(unpad(&wrong), Err(InvalidPadding));
        }
    }
}
