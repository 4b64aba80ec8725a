//! The address of a server.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The address of a server: https, or http on this machine only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// The address of a path that begins with a slash.
    pub(crate) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// The WebSocket address of a path that begins with a slash.
    pub(crate) fn websocket(&self, path: &str) -> String {
        let url = self.join(path);
        // "http" becomes "ws" and "https" "wss".
        url.as_str().replacen("http", "ws", 1)
    }

    /// Whether it is spoken to without TLS: only on this machine.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    fn is_loopback(url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        }
    }
}

impl FromStr for ServerUrl {
    type Err = Error;

    /// # Errors
    /// [`Error::Insecure`] for a remote server without TLS, [`Error::Invitation`] for what is no address.
    fn from_str(text: &str) -> Result<Self, Error> {
        let url = Url::parse(text.trim()).map_err(|_| Error::Invitation("the server is not an address"))?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !plain || url.host_str().is_none_or(str::is_empty) {
            return Err(Error::Invitation("the server is not an address"));
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if Self::is_loopback(&url) => Ok(Self(url)),
            "http" => Err(Error::Insecure(text.trim().to_owned())),
            _ => Err(Error::Invitation("the server is not an address")),
        }
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.0.into()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_server_must_be_https() {
        for good in
            ["https://chat.example.org", "http://127.0.0.1:8000", "http://[::1]:8000/", "http://localhost"]
        {
            good.parse::<ServerUrl>().unwrap();
        }
        for bad in ["http://chat.example.org", "http://127.0.0.1.example.org", "http://10.0.0.1"] {
            assert!(matches!(bad.parse::<ServerUrl>(), Err(Error::Insecure(_))), "{bad}");
        }
        for bad in
            ["chat.example.org", "ws://127.0.0.1", "https://user:secret@chat.example.org", "https://x/?y"]
        {
            assert!(matches!(bad.parse::<ServerUrl>(), Err(Error::Invitation(_))), "{bad}");
        }
    }

    #[test]
    fn paths_join_and_become_websocket_addresses() {
        let server: ServerUrl = "https://chat.example.org/clinic/".parse().unwrap();
        assert_eq!(server.join("/api/me/?a=1").as_str(), "https://chat.example.org/clinic/api/me/?a=1");
        assert_eq!(server.websocket("/ws/chat/"), "wss://chat.example.org/clinic/ws/chat/");
    }
}
