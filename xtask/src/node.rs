//! node and npm, for the interoperation test that runs Signal's official npm client.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::Result;

use crate::{install, process};

/// Installs node, npm and the packages of `tests/interop`; nothing when that folder has no package.json.
pub fn prepare() -> Result<()> {
    let folder = process::root().join("tests/interop");
    if !folder.join("package.json").is_file() {
        return Ok(());
    }
    if [process::answer("node", &["--version"]), process::answer("npm", &["--version"])].contains(&None) {
        install::packages("node", &["nodejs", "npm"])?;
    }
    if is_current(&folder) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).stdin(Stdio::null());
    process::run(&mut npm)
}

/// Whether npm wrote its list of what is installed after the lock file last changed.
fn is_current(folder: &Path) -> bool {
    let written = |file: &str| -> Option<SystemTime> { folder.join(file).metadata().ok()?.modified().ok() };
    match (written("node_modules/.package-lock.json"), written("package-lock.json")) {
        (Some(installed), Some(locked)) => installed >= locked,
        _ => false,
    }
}
