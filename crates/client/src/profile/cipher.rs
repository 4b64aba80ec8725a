//! The keys of a profile.
//!
//! ```text
//! KEK      argon2id(passphrase, salt, 64 MiB, 3 passes), or the 32-byte key the caller keeps elsewhere
//! master   32 random bytes, kept as AES-256-GCM(HKDF(KEK, "sigilo/v1/profile-kek"), nonce, master)
//! value    AES-256-GCM(HKDF(master, "sigilo/v1/profile-value"), nonce, value, aad = lp(table) || lp(lookup)
//!          || lp(owner) || i64be(position))
//! lookup   HMAC-SHA256(HKDF(master, "sigilo/v1/profile-lookup"), lp(table) || lp(key))
//! ```
//!
//! What it does not hide: how many rows a table has, which rows belong together, and their order.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sigilo_seal::{
    encode::Writer,
    value::{NONCE_LENGTH, ValueCipher},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Error, Result, env::Env};

/// What opens a profile.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub enum Unlock {
    /// A passphrase a person types.
    Passphrase(String),
    /// A key kept elsewhere, for instance by the operating system's keychain.
    Key([u8; 32]),
}

impl std::fmt::Debug for Unlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unlock")
    }
}

impl From<&str> for Unlock {
    fn from(passphrase: &str) -> Self {
        Self::Passphrase(passphrase.to_owned())
    }
}

impl From<String> for Unlock {
    fn from(passphrase: String) -> Self {
        Self::Passphrase(passphrase)
    }
}

impl From<[u8; 32]> for Unlock {
    fn from(key: [u8; 32]) -> Self {
        Self::Key(key)
    }
}

/// How the key is made from a passphrase, and the master key under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Random, for argon2id.
    pub(super) salt: Vec<u8>,
    /// Nonce and ciphertext of the master key.
    pub(super) wrapped: Vec<u8>,
}

/// The cipher of an open profile.
pub(super) struct Cipher {
    values: ValueCipher,
    lookups: Zeroizing<[u8; 32]>,
}

/// Where a value stands. It is bound to its place: moved elsewhere, it does not open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) lookup: &'a [u8],
    pub(super) owner: &'a [u8],
    pub(super) position: i64,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        let mut aad = Writer::new();
        aad.lp(self.table.as_bytes()).lp(self.lookup).lp(self.owner).i64be(self.position);
        aad.finish()
    }
}

impl Cipher {
    /// A new master key under `unlock`.
    pub(super) fn create(unlock: &Unlock, env: &Env) -> Result<(Self, Header)> {
        let salt = env.bytes::<16>();
        let master = env.secret::<32>();
        let kek = key_encryption_key(unlock, &salt)?;
        let wrapped = encrypt(&ValueCipher::new(&kek), env.bytes(), master.as_slice(), &salt)?;
        Ok((Self::of(&master), Header { salt: salt.to_vec(), wrapped }))
    }

    /// Opens the master key.
    pub(super) fn open(unlock: &Unlock, header: &Header) -> Result<Self> {
        let kek = key_encryption_key(unlock, &header.salt)?;
        let master =
            ValueCipher::new(&kek).open(&header.wrapped, &header.salt).ok_or(Error::WrongPassphrase)?;
        let master: Zeroizing<[u8; 32]> =
            Zeroizing::new(master.as_slice().try_into().map_err(|_| Error::WrongPassphrase)?);
        Ok(Self::of(&master))
    }

    fn of(master: &[u8; 32]) -> Self {
        Self {
            values: ValueCipher::new(&derive(master, b"sigilo/v1/profile-value")),
            lookups: derive(master, b"sigilo/v1/profile-lookup"),
        }
    }

    /// The name a key has on disk.
    pub(super) fn lookup(&self, table: &str, key: &[u8]) -> [u8; 32] {
        let mut input = Writer::new();
        input.lp(table.as_bytes()).lp(key);
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.lookups.as_slice()).expect("any key length");
        mac.update(input.as_bytes());
        mac.finalize().into_bytes().into()
    }

    pub(super) fn encrypt(
        &self,
        place: &Place<'_>,
        nonce: [u8; NONCE_LENGTH],
        value: &[u8],
    ) -> Result<Vec<u8>> {
        encrypt(&self.values, nonce, value, &place.aad())
    }

    pub(super) fn decrypt(&self, place: &Place<'_>, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.values
            .open(stored, &place.aad())
            .ok_or_else(|| Error::Profile(format!("a row of {} was altered", place.table)))
    }
}

/// The memory and passes of argon2id: 64 MiB and 3, RFC 9106's second recommendation with one lane.
fn key_encryption_key(unlock: &Unlock, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    match unlock {
        Unlock::Key(given) => key.copy_from_slice(given),
        Unlock::Passphrase(passphrase) => {
            let params = argon2::Params::new(64 * 1024, 3, 1, Some(32)).map_err(Error::internal)?;
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
                .map_err(Error::internal)?;
        }
    }
    Ok(derive(&key, b"sigilo/v1/profile-kek"))
}

fn derive(key: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes")]
    Hkdf::<Sha256>::new(None, key).expand(info, derived.as_mut_slice()).expect("32 bytes");
    derived
}

fn encrypt(cipher: &ValueCipher, nonce: [u8; NONCE_LENGTH], plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
    cipher.seal(nonce, plaintext, aad).ok_or_else(|| Error::internal("a value is too long to encrypt"))
}
