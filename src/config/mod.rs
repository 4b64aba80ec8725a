//! The configuration: `sigilo.toml`, overridden by `SIGILO__SECTION__KEY`. Every value has a default that
//! works on one machine.

mod secrets;

use std::path::PathBuf;

pub use secrets::Secrets;

use crate::{Result, rng::Entropy};

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder for everything the server keeps in files.
    pub data: PathBuf,
    /// `sqlite://...` or `postgres://...`; by default `sigilo.db` in the data folder.
    pub database_url: Option<String>,
    /// The store of data keys; by default `keystore.db` in the data folder.
    pub keystore_url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { data: PathBuf::from("./data"), database_url: None, keystore_url: None }
    }
}

impl Config {
    /// The database's address.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data.join("sigilo.db").display()))
    }

    /// The key store's address.
    #[must_use]
    pub fn keystore_url(&self) -> String {
        self.keystore_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data.join("keystore.db").display()))
    }

    /// Makes the data folder, readable by this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare_data_dir(&self) -> Result<()> {
        secrets::private_dir(&self.data)
    }

    /// The server's own secrets: read from their files, made with mode 0600 at the first start.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is readable by others.
    pub fn secrets(&self, entropy: &dyn Entropy) -> Result<Secrets> {
        Secrets::load_or_create(&self.data, entropy)
    }
}
