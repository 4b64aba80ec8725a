//! `[oidc.NAME]`

use std::path::PathBuf;

use serde::Deserialize;

use crate::{Error, Result};

/// A clinic's own identity provider (OpenID Connect). Its name stands in the addresses of the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The clinic, by id or slug.
    pub clinic: String,
    /// The provider's issuer, exactly as it says it itself.
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// A file with the client's secret; without one the server is a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The address of `/api/auth/oidc/NAME/callback/` as browsers reach it, as it is registered with the provider.
    pub callback: String,
    /// Where apps may be returned to, each exactly.
    pub returns: Vec<String>,
    /// Whose second factor counts.
    #[serde(default)]
    pub second_factor: OidcSecondFactor,
}

/// Whose second factor counts after a login with a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OidcSecondFactor {
    /// The account's own is asked for, when it has one.
    #[default]
    Own,
    /// The provider's, when its `amr` says that there was one; otherwise the account's own.
    Provider,
}

impl Oidc {
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let fail = |problem: String| Err(Error::internal(format!("oidc.{name}.{problem}")));
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(word) {
            return Err(Error::internal(format!("oidc.{name}: a name is 1 to 40 of a-z, 0-9 and -")));
        }
        for (key, url) in [("issuer", &self.issuer), ("callback", &self.callback)] {
            let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
            if !url.starts_with("https://") && !loopback.iter().any(|start| url.starts_with(start)) {
                return fail(format!("{key} is an https:// address"));
            }
        }
        if self.returns.is_empty() || self.returns.iter().any(|to| to.contains('#') || !to.contains(':')) {
            return fail("returns names at least one address of an app, without a fragment".to_owned());
        }
        Ok(())
    }

    /// The client's secret.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn client_secret(&self) -> Result<Option<String>> {
        let Some(file) = &self.client_secret_file else { return Ok(None) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::internal(format!("cannot read {}: {error}", file.display())))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}
