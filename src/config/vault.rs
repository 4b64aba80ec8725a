//! `[vault]`

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};

/// Where files are kept, and what is taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vault {
    /// Where files are kept: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; by default the folder
    /// `objects` in the data folder.
    pub object_store_url: Option<String>,
    /// A file, readable by this user alone, with what the object store needs to be told, a TOML string each:
    /// `aws_access_key_id`, `aws_endpoint` and their like.
    pub object_store_options_file: Option<PathBuf>,
    /// Where uploads lie until they are whole; by default the folder `spool` in the data folder. Several servers share one.
    pub spool: Option<PathBuf>,
    /// The longest file, in bytes, before it is encrypted.
    pub max_file_bytes: u64,
    /// The longest recording of a call, in bytes, before it is encrypted.
    pub max_recording_bytes: u64,
    /// How long an upload may take from its beginning to its end, in seconds.
    pub upload_life_s: u64,
    /// How many uploads of one person may be on their way at once.
    pub max_open_uploads: u32,
    /// How long they may be together, in bytes.
    pub max_open_bytes: u64,
    /// How much is kept for each clinic, in bytes; by default as much as there is room for.
    pub max_clinic_bytes: Option<u64>,
    /// How many downloads of one person may be under way at once, on each server.
    pub max_downloads: usize,
    /// How many files are handed to the object store, or read from it, at once.
    pub transfers: usize,
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            object_store_url: None,
            object_store_options_file: None,
            spool: None,
            max_file_bytes: 10 * 1024 * 1024,
            max_recording_bytes: 1024 * 1024 * 1024,
            upload_life_s: 24 * 3600,
            max_open_uploads: 32,
            max_open_bytes: 2 * 1024 * 1024 * 1024,
            max_clinic_bytes: None,
            max_downloads: 8,
            transfers: 16,
        }
    }
}

impl Vault {
    /// The folder of uploads that are not whole yet.
    #[must_use]
    pub fn spool_dir(&self, data: &Path) -> PathBuf {
        self.spool.clone().unwrap_or_else(|| data.join("spool"))
    }

    pub(super) fn check(&self) -> Result<()> {
        let zero = [
            ("max_file_bytes", self.max_file_bytes == 0),
            ("max_recording_bytes", self.max_recording_bytes == 0),
            ("upload_life_s", self.upload_life_s == 0),
            ("max_open_uploads", self.max_open_uploads == 0),
            ("max_clinic_bytes", self.max_clinic_bytes == Some(0)),
            ("max_downloads", self.max_downloads == 0),
            ("transfers", self.transfers == 0),
        ];
        if let Some((key, _)) = zero.iter().find(|(_, wrong)| *wrong) {
            return Err(Error::internal(format!("vault.{key} must be above 0")));
        }
        let longest = self.max_file_bytes.max(self.max_recording_bytes);
        // A blob is a little longer than its file.
        if self.max_open_bytes < longest.saturating_add(longest / 1024 + 1024) {
            return Err(Error::internal(
                "vault.max_open_bytes must leave room for one file of vault.max_file_bytes and of vault.max_recording_bytes",
            ));
        }
        if self.object_store_url.is_none() && self.object_store_options_file.is_some() {
            return Err(Error::internal(
                "vault.object_store_options_file is for a vault.object_store_url: the data folder needs none",
            ));
        }
        Ok(())
    }
}
