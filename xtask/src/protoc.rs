//! `protoc`, which libsignal's build calls: the one of the crate `protoc-bin-vendored`, at a stable path.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use crate::process;

/// Puts `protoc` at `target/tools/protoc`, where `.cargo/config.toml` points PROTOC. An unchanged one is left
/// alone, so that builds which watch it are not repeated.
pub fn bring() -> Result<()> {
    let vendored =
        protoc_bin_vendored::protoc_bin_path().context("no protoc for this machine; set PROTOC")?;
    let folder = process::tools();
    let target = folder.join("protoc");
    let size = |path| fs::metadata(path).map(|metadata| metadata.len());
    if size(&target).ok() == Some(size(&vendored).context("cannot read the vendored protoc")?) {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // Renamed into place: a build that runs at the same time sees the whole file or none.
    let partial = folder.join(format!("protoc.{}", std::process::id()));
    fs::copy(&vendored, &partial).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    fs::rename(&partial, &target).with_context(|| format!("cannot write {}", target.display()))
}
