//! `[storage]`

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};

/// Where rows, keys and files are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The folder for everything the server keeps in files.
    pub data: PathBuf,
    /// `sqlite://...` or `postgres://...`; by default `sigilo.db` in the data folder. With a password only
    /// from the environment.
    pub database_url: Option<String>,
    /// A file that holds the database's address.
    pub database_url_file: Option<PathBuf>,
    /// The store of data keys; by default `keystore.db` in the data folder.
    pub keystore_url: Option<String>,
    /// A file that holds the key store's address.
    pub keystore_url_file: Option<PathBuf>,
    /// The 32 bytes that wrap the clinics' keys in the key store; by default made in the data folder.
    pub key_encryption_key_file: Option<PathBuf>,
    /// Column keys, 32 bytes each: the last encrypts, all decrypt. By default one made in the data folder.
    pub column_key_files: Vec<PathBuf>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./data"),
            database_url: None,
            database_url_file: None,
            keystore_url: None,
            keystore_url_file: None,
            key_encryption_key_file: None,
            column_key_files: Vec::new(),
        }
    }
}

impl Storage {
    pub(super) fn database_url(&self) -> Result<String> {
        self.address(self.database_url.as_deref(), self.database_url_file.as_deref(), "sigilo.db")
    }

    pub(super) fn keystore_url(&self) -> Result<String> {
        self.address(self.keystore_url.as_deref(), self.keystore_url_file.as_deref(), "keystore.db")
    }

    fn address(&self, url: Option<&str>, file: Option<&Path>, default: &str) -> Result<String> {
        match (url, file) {
            (Some(_), Some(file)) => Err(Error::internal(format!(
                "both the address and the file {} are set: keep one",
                file.display()
            ))),
            (Some(url), None) => Ok(url.to_owned()),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map(|text| text.trim().to_owned())
                .map_err(|error| Error::internal(format!("cannot read {}: {error}", file.display()))),
            (None, None) => Ok(format!("sqlite://{}", self.data.join(default).display())),
        }
    }
}
