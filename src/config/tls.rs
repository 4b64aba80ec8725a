//! `[tls]`

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};

/// Certificates, when the server itself ends TLS (1.3 only). SIGHUP reads them again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate and its chain, PEM.
    pub certificate_file: Option<PathBuf>,
    /// The private key, PEM.
    pub private_key_file: Option<PathBuf>,
}

impl Tls {
    /// Whether the server ends TLS.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.certificate_file.is_some() && self.private_key_file.is_some()
    }

    /// Certificate and key, when both are set.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.certificate_file.as_deref().zip(self.private_key_file.as_deref())
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.certificate_file.is_some() == self.private_key_file.is_some() {
            return Ok(());
        }
        Err(Error::internal("TLS needs both tls.certificate_file and tls.private_key_file"))
    }
}
