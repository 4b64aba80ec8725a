//! node and npm, for the interoperation test that runs Signal's official npm client, for the OpenID provider that the
//! tests of logins run, and for the server of the S3 API that those of the vault run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::Result;

use crate::install::{self, Missing};
use crate::process;

/// `engines.node` of `tests/interop/package.json`: the oldest major version Signal's client is tested with here.
const OLDEST: u32 = 20;

/// What needs node, each with its own packages.
const FOLDERS: [&str; 3] = ["tests/interop", "tests/oidc", "tests/s3"];

/// Installs node, npm and the packages of [`FOLDERS`]; nothing when none of them has a package.json.
///
/// # Errors
/// [`Missing`] when they are not there and could not be installed, or are too old.
pub fn prepare() -> Result<()> {
    let folders = FOLDERS.map(|folder| process::root().join(folder));
    let folders: Vec<_> =
        folders.into_iter().filter(|folder| folder.join("package.json").is_file()).collect();
    if folders.is_empty() {
        return Ok(());
    }
    // One after the other: some packages of node bring npm along and conflict with Debian's own npm.
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        if process::answer(program, &["--version"]).is_none() {
            install::packages(program, &[package])?;
        }
    }
    let version = process::answer("node", &["--version"]).unwrap_or_default();
    if major(&version).is_none_or(|major| major < OLDEST) {
        return Err(Missing(format!(
            "node {OLDEST} or later is needed, and this is {version:?}. Install it from Debian 13, nodesource.com or \
             nodejs.org, first in PATH"
        ))
        .into());
    }
    for folder in folders.iter().filter(|folder| !is_current(folder)) {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder).stdin(Stdio::null());
        process::run(&mut npm)?;
    }
    Ok(())
}

/// Whether npm wrote its list of what is installed after the lock file last changed.
fn is_current(folder: &Path) -> bool {
    let written = |file: &str| -> Option<SystemTime> { folder.join(file).metadata().ok()?.modified().ok() };
    match (written("node_modules/.package-lock.json"), written("package-lock.json")) {
        (Some(installed), Some(locked)) => installed >= locked,
        _ => false,
    }
}

/// The major version in `v20.19.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("v20.19.2"), Some(20));
        assert_eq!(major("v8.1.0"), Some(8));
        for other in ["20.19.2", "", "version"] {
            assert_eq!(major(other), None, "{other}");
        }
    }

    #[test]
    fn the_oldest_version_is_the_packages_own() {
        let package = std::fs::read_to_string(process::root().join("tests/interop/package.json")).unwrap();
        assert!(package.contains(&format!("\"node\": \">={OLDEST}\"")), "{package}");
    }
}
