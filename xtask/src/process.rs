//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

/// The folder of the workspace.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where programs brought by xtask live. It stays put whatever CARGO_TARGET_DIR says, because
/// `.cargo/config.toml` names `target/tools/protoc`.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The cargo that started us, in the workspace's folder, with nothing to read from.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    forget_our_package(&mut command);
    command
}

/// Removes what `cargo run` told this process about the xtask package. Build scripts that watch such variables
/// would otherwise run again each time a command is started by hand instead of by xtask, or the other way round.
pub fn forget_our_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_our_package) {
            command.env_remove(name);
        }
    }
}

fn is_about_our_package(variable: &str) -> bool {
    matches!(variable, "LD_LIBRARY_PATH" | "OUT_DIR" | "XTASK_HOST")
        || ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Shows the command and runs it; an error unless it exits with 0.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs the command and returns its exit status as ours.
pub fn exit_code(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// What the command prints on stdout, without surrounding white space; `None` when it cannot be started or fails.
pub fn answer(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program's name and arguments, for people.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("rust-toolchain.toml").is_file());
    }

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 7"])).expect_err("must fail");
        assert!(error.to_string().contains("sh -c exit 7") && error.to_string().contains('7'), "{error}");
    }

    #[test]
    fn the_toolchains_own_variables_are_kept() {
        assert!(is_about_our_package("CARGO_PKG_VERSION"));
        assert!(is_about_our_package("CARGO_MANIFEST_DIR"));
        // A build script of ring watches it: with ours, ring and all above it were built anew.
        assert!(is_about_our_package("OUT_DIR"));
        for kept in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "PROTOC", "PATH"] {
            assert!(!is_about_our_package(kept), "{kept}");
        }
    }
}
