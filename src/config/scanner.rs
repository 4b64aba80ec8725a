//! `[scanner]`

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{Error, Result};

/// Where Debian's clamd listens.
const DEBIAN: &str = "/var/run/clamav/clamd.ctl";

/// Who looks into files, and with what.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scanner {
    /// Whether the server looks into files itself, or `sigilo scanner` does.
    pub mode: Mode,
    /// Where clamd listens: the path of a Unix socket, or an address and port; by default where Debian's does.
    pub clamd: Option<String>,
    /// How many files are looked into at once. clamd's MaxThreads should be above it.
    pub concurrency: usize,
    /// How long clamd may take to accept a connection, in seconds.
    pub connect_timeout_s: u64,
    /// How long clamd may take to take 64 KiB, in seconds.
    pub write_timeout_s: u64,
    /// How long clamd may take to answer when it has all of a file, in seconds. clamd's MaxScanTime should be below it.
    pub verdict_timeout_s: u64,
    /// How long one file may take in all, in seconds.
    pub total_timeout_s: u64,
    /// The folder of the clinics' scanner keys; by default the folder `scanner` in the data folder.
    pub keys: Option<PathBuf>,
    /// The Unix socket between the server and `sigilo scanner`; by default `scanner.sock` in the data folder.
    pub socket: Option<PathBuf>,
    /// A file, readable by its user alone, with what `sigilo scanner` shows the server; by default `scanner.token` in the
    /// data folder, made by the server.
    pub token_file: Option<PathBuf>,
}

/// Where files are looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// In the server's own process.
    #[default]
    InProcess,
    /// In a process of its own, `sigilo scanner`: the server never has a scanner key or a file's content in its memory.
    Separate,
}

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClamdAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port, on a network where nobody else can reach it: what is sent there is not encrypted.
    Tcp(SocketAddr),
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            mode: Mode::InProcess,
            clamd: None,
            concurrency: 4,
            connect_timeout_s: 5,
            write_timeout_s: 30,
            verdict_timeout_s: 150,
            total_timeout_s: 600,
            keys: None,
            socket: None,
            token_file: None,
        }
    }
}

impl Scanner {
    /// Where clamd listens.
    ///
    /// # Errors
    /// When the setting is neither a path nor an address.
    pub fn address(&self) -> Result<ClamdAddress> {
        let text = self.clamd.as_deref().unwrap_or(DEBIAN);
        if Path::new(text).is_absolute() {
            return Ok(ClamdAddress::Unix(text.into()));
        }
        text.parse().map(ClamdAddress::Tcp).map_err(|_| {
            let what = "must be the whole path of a Unix socket, or an address and port as 127.0.0.1:3310";
            Error::internal(format!("scanner.clamd {what}"))
        })
    }

    /// The folder of the clinics' scanner keys.
    #[must_use]
    pub fn keys_dir(&self, data: &Path) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| data.join("scanner"))
    }

    /// The Unix socket between the server and a scanner of its own process.
    #[must_use]
    pub fn socket(&self, data: &Path) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| data.join("scanner.sock"))
    }

    /// What a scanner of its own process shows the server.
    #[must_use]
    pub fn token_file(&self, data: &Path) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| data.join("scanner.token"))
    }

    /// How long clamd may take to accept a connection.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s)
    }

    /// How long clamd may take to take 64 KiB.
    #[must_use]
    pub const fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.write_timeout_s)
    }

    /// How long clamd may take to answer when it has all of a file.
    #[must_use]
    pub const fn verdict_timeout(&self) -> Duration {
        Duration::from_secs(self.verdict_timeout_s)
    }

    /// How long one file may take in all.
    #[must_use]
    pub const fn total_timeout(&self) -> Duration {
        Duration::from_secs(self.total_timeout_s)
    }

    pub(super) fn check(&self) -> Result<()> {
        let zero = [
            ("concurrency", self.concurrency == 0),
            ("connect_timeout_s", self.connect_timeout_s == 0),
            ("write_timeout_s", self.write_timeout_s == 0),
            ("verdict_timeout_s", self.verdict_timeout_s == 0),
            ("total_timeout_s", self.total_timeout_s == 0),
        ];
        if let Some((key, _)) = zero.iter().find(|(_, wrong)| *wrong) {
            return Err(Error::internal(format!("scanner.{key} must be above 0")));
        }
        self.address().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamd_is_a_whole_path_or_an_address() {
        let at = |text: &str| Scanner { clamd: Some(text.into()), ..Scanner::default() }.address();
        assert_eq!(at("/run/c.sock").unwrap(), ClamdAddress::Unix("/run/c.sock".into()));
        assert_eq!(at("127.0.0.1:3310").unwrap(), ClamdAddress::Tcp(([127, 0, 0, 1], 3310).into()));
        assert_eq!(Scanner::default().address().unwrap(), ClamdAddress::Unix(DEBIAN.into()));
        for wrong in ["", "clamd.ctl", "clamd:3310", "null"] {
            assert!(at(wrong).is_err(), "{wrong:?}");
        }
    }
}
