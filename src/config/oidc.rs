//! `[oidc.NAME]`

use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::secrets;
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
    /// A file with the client's secret, which only this user can read; without one the server is a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The address of `/api/auth/oidc/NAME/callback/` as browsers reach it, as it is registered with the provider.
    pub callback: String,
    /// Where apps may be returned to, each exactly.
    pub returns: Vec<String>,
}

impl Oidc {
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let fail = |problem: String| Err(Error::internal(format!("oidc.{name}.{problem}")));
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(word) {
            return Err(Error::internal(format!("oidc.{name}: a name is 1 to 40 of a-z, 0-9 and -")));
        }
        if !Url::parse(&self.issuer).is_ok_and(|url| is_plain(&url) && url.query().is_none()) {
            return fail(format!(
                "issuer = {:?} is not an https:// address without '?' and '#'",
                self.issuer
            ));
        }
        // A callback of its own for each provider: an answer of one cannot pass for another's.
        let path = format!("/api/auth/oidc/{name}/callback/");
        let ours = |url: &Url| is_plain(url) && url.query().is_none() && url.path().ends_with(&path);
        if !Url::parse(&self.callback).is_ok_and(|url| ours(&url)) {
            return fail(format!(
                "callback = {:?} is not an https:// address that ends in {path}",
                self.callback
            ));
        }
        if self.client_id.is_empty() {
            return fail("client_id is empty".to_owned());
        }
        let an_app = |url: &Url| match url.scheme() {
            "http" | "https" => is_plain(url),
            // What a browser would run, or read on its own machine.
            scheme => !["javascript", "data", "file", "blob", "about", "view-source"].contains(&scheme),
        };
        let returns = |to: &String| Url::parse(to).is_ok_and(|url| url.fragment().is_none() && an_app(&url));
        if self.returns.is_empty() {
            return fail("returns names no address of an app".to_owned());
        }
        if let Some(to) = self.returns.iter().find(|to| !returns(to)) {
            return fail(format!(
                "returns: {to:?} is not an https:// address, nor an app's own, without '#'"
            ));
        }
        Ok(())
    }

    /// Whether its issuer is an `http://` address of this machine, for development.
    #[must_use]
    pub fn is_in_the_open(&self) -> bool {
        Url::parse(&self.issuer).is_ok_and(|url| is_loopback(&url))
    }

    /// The client's secret.
    ///
    /// # Errors
    /// When its file cannot be read, or is readable by others.
    pub fn client_secret(&self) -> Result<Option<Zeroizing<String>>> {
        let Some(file) = &self.client_secret_file else { return Ok(None) };
        let mut text = secrets::read_private(file)?;
        let length = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(length);
        Ok(Some(text))
    }
}

/// An address that is asked by TLS, or in the open on this machine, with no name and password in it and no fragment.
fn is_plain(url: &Url) -> bool {
    let anonymous = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" || is_loopback(url)) && anonymous && url.fragment().is_none()
}

/// Whether it is an `http://` address of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hospital() -> Oidc {
        Oidc {
            clinic: "ejemplo".to_owned(),
            issuer: "https://id.hospital.example/realm".to_owned(),
            client_id: "sigilo".to_owned(),
            client_secret_file: None,
            callback: "https://chat.hospital.example/api/auth/oidc/hospital/callback/".to_owned(),
            returns: vec!["sigilo://oidc".to_owned(), "https://chat.hospital.example/app?from=id".to_owned()],
        }
    }

    #[test]
    fn providers_are_reached_by_tls_or_on_this_machine() {
        hospital().check("hospital").unwrap();
        for issuer in ["http://127.0.0.1:8080", "http://[::1]:8080/realm", "http://localhost"] {
            let provider = Oidc { issuer: issuer.to_owned(), ..hospital() };
            provider.check("hospital").unwrap();
            assert!(provider.is_in_the_open());
        }
        for issuer in [
            "http://id.hospital.example",
            "http://localhost.hospital.example",
            "http://127.0.0.1.hospital.example",
            "http://127.0.0.1@id.hospital.example",
            "https://user:secret@id.hospital.example",
            "https://id.hospital.example/?a=b",
            "https://id.hospital.example/#a",
            "ftp://id.hospital.example",
            "id.hospital.example",
            "",
        ] {
            let provider = Oidc { issuer: issuer.to_owned(), ..hospital() };
            assert!(provider.check("hospital").is_err(), "{issuer}");
            assert!(!provider.is_in_the_open(), "{issuer}");
        }
    }

    #[test]
    fn each_provider_has_a_callback_of_its_own() {
        for callback in [
            "https://chat.hospital.example/api/auth/oidc/another/callback/",
            "http://chat.hospital.example/api/auth/oidc/hospital/callback/",
            "https://chat.hospital.example/api/auth/oidc/hospital/callback/?a=b",
            "https://chat.hospital.example/",
        ] {
            let provider = Oidc { callback: callback.to_owned(), ..hospital() };
            assert!(provider.check("hospital").is_err(), "{callback}");
        }
        for name in ["", "Hospital", "a/b", "a.b", "é", &"a".repeat(41)] {
            assert!(hospital().check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn apps_are_returned_to_where_no_browser_runs_what_stands_there() {
        for to in [
            "javascript:alert(1)",
            "data:text/html,a",
            "file:///etc",
            "http://chat.hospital.example/",
            "https://chat.hospital.example@evil.example/#a",
            "sigilo://oidc#a",
            "/app",
            "",
        ] {
            let provider = Oidc { returns: vec!["sigilo://oidc".to_owned(), to.to_owned()], ..hospital() };
            assert!(provider.check("hospital").is_err(), "{to}");
        }
        assert!(Oidc { returns: Vec::new(), ..hospital() }.check("hospital").is_err());
    }

    #[test]
    fn a_secret_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        secrets::write_private(&file, b"a secret\r\n").unwrap();
        let provider = Oidc { client_secret_file: Some(file.clone()), ..hospital() };
        assert_eq!(provider.client_secret().unwrap().unwrap().as_str(), "a secret");
        assert!(!format!("{provider:?}").contains("a secret"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(provider.client_secret().is_err());
    }
}
