//! Safety numbers: what two people compare to know that nobody is between them.
//!
//! libsignal's fingerprint, version 2, 5,200 iterations of SHA-512, over both identity keys; the stable ids are
//! the 16 raw bytes of the user ids.

use libsignal_protocol::{Fingerprint, IdentityKey};
use sigilo_seal::IdentityPublicKey;
use sigilo_wire::UserId;

use crate::{Error, Result, engine::Engine, profile::records::Contact};

const VERSION: u32 = 2;
const ITERATIONS: u32 = 5_200;

/// A safety number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetyNumber {
    /// 60 digits, the same for both people.
    pub digits: String,
    /// What a QR code carries; compared with [`SafetyNumber::matches`].
    pub scannable: Vec<u8>,
    /// Whether the user has compared it before.
    pub verified: bool,
    /// Whether it is of a new identity key that waits for confirmation.
    pub changed: bool,
}

impl SafetyNumber {
    /// The digits in twelve groups of five.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        (0..12).filter_map(|group| self.digits.get(group * 5..group * 5 + 5)).collect()
    }

    /// Whether the other person's QR code shows the same two keys.
    ///
    /// # Errors
    /// [`Error::Answer`] when it is not a safety number of this version.
    pub fn matches(&self, scanned: &[u8]) -> Result<bool> {
        let own = libsignal_protocol::ScannableFingerprint::deserialize(&self.scannable);
        let own = own.map_err(|error| Error::internal(error.to_string()))?;
        own.compare(scanned).map_err(|error| Error::Answer(error.to_string()))
    }
}

/// The safety number between two people.
///
/// # Errors
/// [`Error::Internal`], which cannot happen with parsed keys.
pub fn safety_number(
    own: (UserId, &IdentityPublicKey),
    other: (UserId, &IdentityPublicKey),
) -> Result<SafetyNumber> {
    let key = |key: &IdentityPublicKey| IdentityKey::decode(key.as_bytes());
    let fingerprint = Fingerprint::new(
        VERSION,
        ITERATIONS,
        own.0.as_bytes(),
        &key(own.1)?,
        other.0.as_bytes(),
        &key(other.1)?,
    )
    .map_err(Error::internal)?;
    Ok(SafetyNumber {
        digits: fingerprint.display.to_string(),
        scannable: fingerprint.scannable.serialize().map_err(Error::internal)?,
        verified: false,
        changed: false,
    })
}

impl Engine {
    /// The safety number with somebody; of the new identity key when one waits for confirmation.
    pub(crate) async fn safety_number(&self, user: UserId) -> Result<SafetyNumber> {
        let contact = match self.profile.get::<Contact>(user.as_bytes()).await? {
            Some(contact) => contact,
            None => self.contact(user).await?,
        };
        let own = self.identity().await?.public();
        let identity = contact.pending.unwrap_or(contact.identity);
        let number = safety_number((self.account()?.user, &own), (user, &identity))?;
        let changed = contact.pending.is_some();
        Ok(SafetyNumber { verified: contact.verified && !changed, changed, ..number })
    }
}

#[cfg(test)]
mod tests {
    use sigilo_seal::IdentitySecret;

    use super::*;

    #[test]
    fn both_people_see_the_same_digits_and_scan_each_other() {
        let (ana, maria) =
            (IdentitySecret::from_bytes([1; 32]).public(), IdentitySecret::from_bytes([2; 32]).public());
        let (ana_id, maria_id) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let at_ana = safety_number((ana_id, &ana), (maria_id, &maria)).unwrap();
        let at_maria = safety_number((maria_id, &maria), (ana_id, &ana)).unwrap();
        assert_eq!(at_ana.digits, at_maria.digits);
        assert_eq!(at_ana.groups().len(), 12);
        assert!(at_ana.matches(&at_maria.scannable).unwrap());
        let other = IdentitySecret::from_bytes([3; 32]).public();
        let at_other = safety_number((maria_id, &other), (ana_id, &ana)).unwrap();
        assert_ne!(at_ana.digits, at_other.digits);
        assert!(!at_ana.matches(&at_other.scannable).unwrap());
    }
}
