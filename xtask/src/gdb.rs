//! gdb, whose `gcore` writes the core dump that the hunt for plaintext searches.

use anyhow::Result;

use crate::install::{self, Missing};
use crate::process;

/// Installs gdb when it is missing; gives its version.
///
/// # Errors
/// [`Missing`] when it is not there and could not be installed.
pub fn bring() -> Result<String> {
    if let Some(version) = version() {
        return Ok(version);
    }
    install::packages("gdb", &["gdb"])?;
    Ok(version().ok_or_else(|| Missing("apt-get installed gdb, but it does not run".into()))?)
}

/// The first line gdb says about itself.
fn version() -> Option<String> {
    process::answer("gdb", &["--version"])?.lines().next().map(str::to_owned)
}
