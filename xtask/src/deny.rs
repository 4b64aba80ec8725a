//! Dependencies: known vulnerabilities, licences, bans and sources, by cargo-deny (rules and reasons in
//! `deny.toml`).
//!
//! cargo-deny wants its advisory database as a git clone it fetched itself, in a folder named for the URL. A
//! plain snapshot in `../shared/advisory-db` is dressed up as one, so that the check also works without a
//! network (docs/decisions/0001-advisories-without-a-network.md).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::install::Missing;
use crate::process;

/// The version whose folder naming [`DATABASE`] copies and whose rules `deny.toml` follows.
const VERSION: &str = "0.20.2";
/// `db-path` of `deny.toml`.
const DATABASES: &str = "target/advisory-db";
/// The folder cargo-deny derives from the URL of the RustSec database: its last part and a hash.
const DATABASE: &str = "advisory-db-3157b0e258782691";
/// The snapshot, relative to the workspace.
const SNAPSHOT: &str = "../shared/advisory-db";

/// Checks all dependencies.
///
/// # Errors
/// When a check fails. Having no advisories at all is not an error; it is said.
pub fn check() -> Result<()> {
    let tool = tool()?;
    // Licences and sources need the manifests of all platforms; cargo fetches those that are missing.
    process::run(&mut command(&tool, &["--locked", "check", "bans", "licenses", "sources"]))?;
    if !prepare_advisories(&tool)? {
        return Ok(());
    }
    process::run(&mut command(&tool, &["--locked", "--offline", "check", "advisories"]))
}

/// cargo-deny in exactly our version: from PATH, from `target/tools`, or built there.
///
/// # Errors
/// [`Missing`] when it cannot be built.
pub fn tool() -> Result<PathBuf> {
    let built = process::tools().join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), built.clone()] {
        if process::answer(&candidate, &["--version"]).is_some_and(|answer| is_version(&answer)) {
            return Ok(candidate);
        }
    }
    let mut cargo = process::cargo();
    cargo.args([
        "install",
        "cargo-deny",
        "--locked",
        "--quiet",
        "--force",
        "--version",
        &format!("={VERSION}"),
    ]);
    cargo.arg("--root").arg(process::tools());
    // It runs for seconds: building it without its whole-program optimization saves two minutes.
    for (setting, value) in [("LTO", "off"), ("OPT_LEVEL", "0"), ("CODEGEN_UNITS", "256")] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    match process::run(&mut cargo) {
        Ok(()) => Ok(built),
        Err(error) => {
            Err(Missing(format!("cargo-deny {VERSION} is missing and could not be built: {error:#}")).into())
        }
    }
}

fn is_version(answer: &str) -> bool {
    answer.strip_prefix("cargo-deny ") == Some(VERSION)
}

fn command(tool: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command.arg("--workspace").args(arguments).current_dir(process::root()).stdin(Stdio::null());
    process::forget_our_package(&mut command);
    command
}

/// Puts an advisory database where cargo-deny looks; says which one. False when there is none to be had.
fn prepare_advisories(tool: &Path) -> Result<bool> {
    let database = process::root().join(DATABASES).join(DATABASE);
    let snapshot = process::root().join(SNAPSHOT);
    if let Ok(snapshot) = snapshot.join("crates").canonicalize() {
        dress_up(&snapshot, &database)?;
        let newest = newest_date(&snapshot).unwrap_or_else(|| "unknown".into());
        println!("advisories: the snapshot {SNAPSHOT}, newest entry of {newest}");
        return Ok(true);
    }
    if database.join("crates").is_symlink() {
        fs::remove_dir_all(&database).with_context(|| format!("cannot remove {}", database.display()))?;
    }
    println!("advisories: no snapshot in {SNAPSHOT}, fetching the database of rustsec.org");
    if process::run(&mut command(tool, &["fetch", "db"])).is_ok() {
        return Ok(true);
    }
    println!("advisories: NOT CHECKED, there is neither {SNAPSHOT} nor a network");
    Ok(false)
}

/// Makes the snapshot look like a clone fetched just now. Its age is not judged by cargo-deny but shown, because
/// nobody can make an offline snapshot newer by running the check again.
fn dress_up(snapshot: &Path, database: &Path) -> Result<()> {
    match fs::remove_dir_all(database) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", database.display()));
        }
        _ => {}
    }
    fs::create_dir_all(database.join(".git"))?;
    fs::write(database.join(".git/FETCH_HEAD"), "")?;
    symlink(snapshot, database.join("crates")).with_context(|| format!("cannot write {}", database.display()))
}

/// The latest `date = "2026-08-20"` of all advisories, which lie in one folder for each crate.
fn newest_date(snapshot: &Path) -> Option<String> {
    let folders = fs::read_dir(snapshot).ok()?.flatten();
    let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten();
    files.filter_map(|file| date_of(&fs::read_to_string(file.path()).ok()?)).max()
}

fn date_of(advisory: &str) -> Option<String> {
    advisory.lines().find_map(|line| Some(line.strip_prefix("date = \"")?.strip_suffix('"')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_will_do() {
        assert!(is_version("cargo-deny 0.20.2"));
        for other in ["cargo-deny 0.20.1", "cargo-deny 0.20.20", "cargo-deny", ""] {
            assert!(!is_version(other), "{other}");
        }
    }

    #[test]
    fn reads_the_date_of_an_advisory() {
        let advisory = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0069\"\ndate = \"2026-02-11\"\n```\n";
        assert_eq!(date_of(advisory).as_deref(), Some("2026-02-11"));
        assert_eq!(date_of("date = 2026"), None);
    }

    #[test]
    fn the_configuration_agrees_about_the_database() {
        let configuration = fs::read_to_string(process::root().join("deny.toml")).expect("deny.toml");
        assert!(configuration.contains(&format!("db-path = \"{DATABASES}\"")));
    }
}
