//! Passwords under argon2id (RFC 9106) with the parameters OWASP recommends: 19 MiB, 2 passes, 1 lane.
//!
//! Hashing runs beside the async threads, a few at a time: the memory it takes is bounded however many people
//! log in at once, and a crowd beyond that is told to come back instead of waiting without end.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use serde_json::json;
use sigilo_wire::{ErrorCode, UserId};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::store;
use crate::{Error, Result, config::PasswordCost, rng, rng::Entropy, storage::Tx};

/// The fewest characters of a password.
pub const MIN_CHARACTERS: usize = 12;
/// The most bytes of a password: far above any passphrase, far below a nuisance.
pub const MAX_BYTES: usize = 1_024;

/// Hashes computed at once.
const AT_ONCE: usize = 4;
/// Callers waiting or computing before others are told to come back.
const ADMITTED: usize = 64;

/// Hashes and verifies passwords.
pub struct Passwords {
    cost: PasswordCost,
    computing: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// The hash of a password nobody has: verifying against it takes as long as against a real one, so the
    /// time of an answer does not tell which accounts exist.
    nobody: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

impl Passwords {
    /// Ready to hash; computes one hash.
    ///
    /// # Errors
    /// Only when argon2 refuses its parameters.
    pub fn new(cost: PasswordCost, entropy: &dyn Entropy) -> Result<Self> {
        let nobody = hash(cost, rng::secret::<32>(entropy).as_slice(), rng::bytes(entropy))?;
        Ok(Self {
            cost,
            computing: Arc::new(Semaphore::new(AT_ONCE)),
            admitted: Arc::new(Semaphore::new(ADMITTED)),
            nobody,
        })
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// `weak_password`, `invalid_field` when it is over-long, `unavailable` in a crowd.
    pub async fn hash(&self, password: &str, entropy: &dyn Entropy) -> Result<String> {
        check("password", password)?;
        let password = Zeroizing::new(password.to_owned());
        let (cost, salt) = (self.cost, rng::bytes(entropy));
        self.compute(move || hash(cost, password.as_bytes(), salt)).await?
    }

    /// Whether this is the password of `stored`. Without an account (`None`) it takes as long and says no.
    ///
    /// # Errors
    /// `unavailable` in a crowd.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool> {
        // Over-long passwords belong to nobody; argon2 need not read them.
        let possible = stored.is_some() && password.len() <= MAX_BYTES;
        let stored = stored.unwrap_or(&self.nobody).to_owned();
        let password = Zeroizing::new(if possible { password.to_owned() } else { String::new() });
        let matches = self.compute(move || verify(password.as_bytes(), &stored)).await?;
        Ok(matches && possible)
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _admitted = self
            .admitted
            .try_acquire()
            .map_err(|_| Error::Unavailable("too many log-ins at once".to_owned()))?;
        let computing = Arc::clone(&self.computing).acquire_owned().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller who goes away does not free memory still in use.
            let _computing = computing;
            work()
        })
        .await
        .map_err(Error::internal)
    }
}

/// Refuses passwords that are too short to be good or too long to be meant.
pub(super) fn check(field: &str, password: &str) -> Result<()> {
    if password.len() > MAX_BYTES {
        return Err(Error::field(field, format!("at most {MAX_BYTES} bytes")));
    }
    if password.chars().count() < MIN_CHARACTERS {
        return Err(Error::invalid(ErrorCode::WeakPassword, json!({"min_characters": MIN_CHARACTERS})));
    }
    Ok(())
}

/// The hash of an account's password, to verify against.
pub(crate) async fn password_of(tx: &mut Tx, user: UserId) -> Result<Option<String>> {
    store::password(tx, user).await
}

fn hash(cost: PasswordCost, password: &[u8], salt: [u8; 16]) -> Result<String> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(Error::internal)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password_with_salt(password, &salt).map_err(Error::internal)?;
    Ok(hash.to_string())
}

fn verify(password: &[u8], stored: &str) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else {
        tracing::error!("a stored password hash is not a PHC string");
        return false;
    };
    // Algorithm and cost come from the stored hash, so that old hashes stay good when the cost rises.
    Argon2::default().verify_password(password, &stored).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededEntropy;

    #[tokio::test]
    async fn the_right_password_verifies_and_others_do_not() {
        let entropy = SeededEntropy::new(4);
        let passwords = Passwords::new(PasswordCost::default(), &*entropy).unwrap();
        let stored = passwords.hash("correct horse battery", &*entropy).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse battery", Some(&stored)).await.unwrap());
        assert!(!passwords.verify("correct horse batterz", Some(&stored)).await.unwrap());
        assert!(!passwords.verify("correct horse battery", None).await.unwrap());
        assert!(!passwords.verify("correct horse battery", Some("not a hash")).await.unwrap());
        let again = passwords.hash("correct horse battery", &*entropy).await.unwrap();
        assert_ne!(stored, again, "every hash has its own salt");
    }

    #[test]
    fn short_and_over_long_passwords_are_refused() {
        assert_eq!(check("new", "elevenchars").unwrap_err().code(), ErrorCode::WeakPassword);
        assert_eq!(check("new", &"x".repeat(1_025)).unwrap_err().code(), ErrorCode::InvalidField);
        // Twelve characters, more bytes.
        check("new", "ñandúñandúña").unwrap();
        check("new", &"x".repeat(1_024)).unwrap();
    }

    #[tokio::test]
    async fn a_crowd_is_told_to_come_back() {
        let entropy = SeededEntropy::new(5);
        let passwords = Passwords::new(PasswordCost::default(), &*entropy).unwrap();
        let _everybody = passwords.admitted.acquire_many(64).await.unwrap();
        let refused = passwords.verify("correct horse battery", None).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
    }
}
