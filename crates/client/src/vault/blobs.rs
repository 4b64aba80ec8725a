//! Blobs on this device: ciphertext on its way out or in, in a folder beside the profile that only its owner reads.

use std::{
    collections::HashSet,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sigilo_seal::file::io::{FileSummary, SealReader};
use sigilo_wire::UploadId;

use crate::{Error, Result};

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Blobs(PathBuf);

impl Blobs {
    /// The folder beside this profile. It is made when it is first needed.
    pub(crate) fn beside(profile: &Path) -> Self {
        let mut name = profile.as_os_str().to_owned();
        name.push(".files");
        Self(name.into())
    }

    /// Where the blob of an upload, or of a file, lies.
    pub(super) fn path(&self, name: impl std::fmt::Display) -> PathBuf {
        self.0.join(name.to_string())
    }

    /// How much of a blob is here.
    pub(super) fn length(&self, name: impl std::fmt::Display) -> u64 {
        std::fs::metadata(self.path(name)).map_or(0, |found| found.len())
    }

    pub(super) fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Deletes a blob, if it is there.
    pub(crate) fn remove(&self, name: impl std::fmt::Display) -> Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(&error)),
            _ => Ok(()),
        }
    }

    /// What the blob of an upload is called.
    pub(super) fn outgoing(upload: UploadId) -> String {
        format!("{upload}{OUTGOING}")
    }

    /// Deletes what a sealing that was cut has left, and blobs of none of these uploads.
    pub(super) fn sweep(&self, uploads: &HashSet<UploadId>) -> io::Result<()> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let kept: HashSet<String> = uploads.iter().map(|upload| Self::outgoing(*upload)).collect();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(UNSEALED) || (name.ends_with(OUTGOING) && !kept.contains(&name)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// What the names of uploads' blobs end with.
const OUTGOING: &str = ".out";
/// What a blob is called until it is whole.
const UNSEALED: &str = ".unsealed";

/// Seals what `source` gives into `blob`, which is there only when all of it is, on the disk.
pub(super) fn seal_into<R: Read>(
    mut source: SealReader<BufReader<R>>,
    blob: &Path,
) -> io::Result<FileSummary> {
    let mut name = blob.as_os_str().to_owned();
    name.push(UNSEALED);
    let unsealed = PathBuf::from(name);
    let mut file = BufWriter::with_capacity(128 * 1024, private(&unsealed)?);
    io::copy(&mut source, &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    let summary = source.finish().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    std::fs::rename(&unsealed, blob)?;
    sync_folder(blob)?;
    Ok(summary)
}

/// A new file that only its owner reads.
pub(super) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Puts on the disk that a file was renamed.
pub(super) fn sync_folder(of: &Path) -> io::Result<()> {
    match of.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The problem with a file on this device, for people.
pub(super) fn file_error(error: &io::Error) -> Error {
    Error::File(error.to_string())
}
