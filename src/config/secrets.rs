//! The server's own secrets: the key-encryption key of the key store and the column keys, in files with mode
//! 0600 that the server makes at its first start.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use zeroize::Zeroizing;

use super::Storage;
use crate::{Error, Result, rng, rng::Entropy, storage::crypter::Key};

/// Keys the server needs to start.
pub struct Secrets {
    /// Wraps the tenant keys of the key store.
    pub key_encryption_key: Key,
    /// Encrypt columns: the first encrypts, all decrypt.
    pub column_keys: Vec<(u8, Key)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    pub(super) fn load_or_create(storage: &Storage, entropy: &dyn Entropy) -> Result<Self> {
        let folder = storage.data.join("keys");
        private_dir(&folder)?;
        let key_encryption_key = match &storage.key_encryption_key_file {
            Some(file) => load_key(file)?,
            None => load_or_create_key(&folder.join("key-encryption.key"), entropy)?,
        };
        let mut column_keys = Vec::with_capacity(1);
        for (number, file) in (1u8..).zip(&storage.column_key_files) {
            // The newest, which is the last, encrypts: it goes first.
            column_keys.insert(0, (number, load_key(file)?));
        }
        if column_keys.is_empty() {
            column_keys.push((1, load_or_create_key(&folder.join("columns-1.key"), entropy)?));
        }
        Ok(Self { key_encryption_key, column_keys })
    }
}

/// Makes a folder only this user can enter.
pub(super) fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::internal(format!("cannot make the folder {}: {error}", path.display())))
}

/// Writes a file only this user can read; it must not exist yet.
///
/// # Errors
/// When it exists or cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let fail = |error: std::io::Error| Error::internal(format!("cannot write {}: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn load_or_create_key(path: &Path, entropy: &dyn Entropy) -> Result<Key> {
    if !path.exists() {
        write_private(path, rng::secret::<32>(entropy).as_slice())?;
    }
    load_key(path)
}

/// The text of a file only this user can read.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = bytes_of(path)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| Error::internal(format!("{} is no text in UTF-8", path.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}

pub(super) fn load_key(path: &Path) -> Result<Key> {
    <[u8; 32]>::try_from(bytes_of(path)?.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| Error::internal(format!("{} must hold exactly 32 bytes", path.display())))
}

fn bytes_of(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let fail = |error: std::io::Error| Error::internal(format!("cannot read {}: {error}", path.display()));
    if fs::metadata(path).map_err(fail)?.permissions().mode() & 0o077 != 0 {
        return Err(Error::internal(format!("{} is readable by others: chmod 600 it", path.display())));
    }
    fs::read(path).map(Zeroizing::new).map_err(fail)
}
