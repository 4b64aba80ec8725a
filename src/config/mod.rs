//! The configuration: `sigilo.toml`, each value also as `SIGILO__SECTION__KEY`. Every value has a default that
//! works on one machine. Secrets come from the environment or from files (`..._file`), nowhere else.

mod limits;
mod load;
mod log;
mod oidc;
mod policy;
mod relay;
mod scanner;
mod secrets;
mod server;
mod storage;
mod tls;
mod vault;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use limits::Limits;
pub use load::{Overrides, load};
pub use log::{Log, LogFormat};
pub use oidc::Oidc;
pub(crate) use oidc::is_loopback;
pub use policy::Policy;
pub use relay::Relay;
pub use scanner::{ClamdAddress, Mode as ScannerMode, Scanner};
pub use secrets::{Secrets, write_private};
use serde::Deserialize;
pub use server::Server;
use sigilo_seal::Ed25519Secret;
use sigilo_wire::TenantId;
pub use storage::Storage;
pub use tls::Tls;
pub use vault::Vault;
use zeroize::Zeroizing;

use crate::{
    Error, Result,
    audit::hex,
    rng::{self, Entropy},
};

/// The cost of argon2id (RFC 9106) with one lane.
#[derive(Clone, Copy, Debug)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// The least that OWASP recommends.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2 }
    }
}

/// All settings, a section a field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where rows, keys and files are.
    pub storage: Storage,
    /// Where the server listens and whom it answers.
    pub server: Server,
    /// Certificates, when the server itself ends TLS.
    pub tls: Tls,
    /// Sizes and times a request may take.
    pub limits: Limits,
    /// What it costs to guess a password. No setting: who has no account is looked for at this cost, and the time that takes
    /// is not to differ from that of those who have one.
    #[serde(skip)]
    pub password_cost: PasswordCost,
    /// The relay's queues and its writer.
    pub relay: Relay,
    /// The clinic's own rules.
    pub policy: Policy,
    /// The clinics' own identity providers, by name.
    pub oidc: BTreeMap<String, Oidc>,
    /// Where files are kept, and what is taken.
    pub vault: Vault,
    /// Who looks into files, and with what.
    pub scanner: Scanner,
    /// What is logged and how.
    pub log: Log,
}

impl Config {
    /// The defaults, with everything the server keeps in this folder.
    #[must_use]
    pub fn for_data(data: &Path) -> Self {
        Self { storage: Storage { data: data.to_owned(), ..Storage::default() }, ..Self::default() }
    }

    /// The database's address.
    ///
    /// # Errors
    /// When `database_url_file` cannot be read.
    pub fn database_url(&self) -> Result<String> {
        self.storage.database_url()
    }

    /// The key store's address.
    ///
    /// # Errors
    /// When `keystore_url_file` cannot be read.
    pub fn keystore_url(&self) -> Result<String> {
        self.storage.keystore_url()
    }

    /// Makes the data folder, readable by this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare_data_dir(&self) -> Result<()> {
        secrets::private_dir(&self.storage.data)
    }

    /// The server's own secrets: read from their files, made with mode 0600 at the first start.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is readable by others.
    pub fn secrets(&self, entropy: &dyn Entropy) -> Result<Secrets> {
        Secrets::load_or_create(&self.storage, entropy)
    }

    /// Where uploads lie until they are whole; made, readable by this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn spool_dir(&self) -> Result<PathBuf> {
        let folder = self.vault.spool_dir(&self.storage.data);
        secrets::private_dir(&folder)?;
        Ok(folder)
    }

    /// The folder files are kept in where no object store is named; made, readable by this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn objects_dir(&self) -> Result<PathBuf> {
        let folder = self.storage.data.join("objects");
        secrets::private_dir(&folder)?;
        Ok(folder)
    }

    /// What the object store needs to be told, by name; nothing where no file is named.
    ///
    /// # Errors
    /// When the file cannot be read, is readable by others, or holds anything but names and strings.
    pub fn object_store_options(&self) -> Result<BTreeMap<String, String>> {
        let Some(file) = &self.vault.object_store_options_file else { return Ok(BTreeMap::new()) };
        let text = secrets::read_private(file)?;
        // The parser's own words would quote the secret.
        let wrong = |_| Error::internal(format!("{} must hold lines of name = \"value\"", file.display()));
        toml::from_str(&text).map_err(wrong)
    }

    /// Keeps the private half of a clinic's scanner key in a file of its own, with mode 0600, which only the
    /// scan worker reads.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn write_scanner_key(&self, clinic: TenantId, seed: &[u8]) -> Result<()> {
        self.make_scanner_keys_dir()?;
        let folder = self.scanner.keys_dir(&self.storage.data);
        write_private(&folder.join(format!("{clinic}.key")), seed)
    }

    /// Makes the folder of the clinics' scanner keys, readable by this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_scanner_keys_dir(&self) -> Result<()> {
        secrets::private_dir(&self.scanner.keys_dir(&self.storage.data))
    }

    /// What a scanner of its own process shows the server; made when there is none.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn make_scanner_token(&self, entropy: &dyn Entropy) -> Result<Zeroizing<String>> {
        let file = self.scanner.token_file(&self.storage.data);
        if !file.exists() {
            let token = Zeroizing::new(hex(rng::secret::<32>(entropy).as_slice()));
            write_private(&file, token.as_bytes())?;
        }
        self.scanner_token()
    }

    /// What a scanner of its own process shows the server.
    ///
    /// # Errors
    /// When it cannot be read, or is readable by others.
    pub fn scanner_token(&self) -> Result<Zeroizing<String>> {
        let token = secrets::read_private(&self.scanner.token_file(&self.storage.data))?;
        if token.len() < 32 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::internal(
                "scanner.token_file must hold at least 32 letters and digits, and no more",
            ));
        }
        Ok(token)
    }

    /// The private half of a clinic's scanner key. Only the scan worker asks.
    ///
    /// # Errors
    /// When the file cannot be read, is readable by others, or is none.
    pub fn scanner_key(&self, clinic: TenantId) -> Result<Ed25519Secret> {
        let file = self.scanner.keys_dir(&self.storage.data).join(format!("{clinic}.key"));
        Ok(Ed25519Secret::from_seed(*secrets::load_key(&file)?))
    }

    /// Refuses settings that contradict each other or that would be unsafe.
    ///
    /// # Errors
    /// With the setting and what to do.
    pub fn check(&self) -> Result<()> {
        self.tls.check()?;
        self.limits.check()?;
        self.relay.check()?;
        self.vault.check()?;
        self.scanner.check()?;
        self.oidc.iter().try_for_each(|(name, provider)| provider.check(name))?;
        if !self.server.listen.ip().is_loopback() && !self.tls.is_on() && !self.server.behind_proxy {
            return Err(Error::internal(format!(
                "server.listen = {} is reachable from other machines without TLS: set tls.certificate_file and \
                 tls.private_key_file, or server.behind_proxy = true when a proxy ends TLS in front of it",
                self.server.listen
            )));
        }
        Ok(())
    }
}
