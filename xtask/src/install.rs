//! Debian packages, when we may install them.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process;

/// Something is missing and could not be installed; the text says what to do.
#[derive(Debug)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Keeps Debian's package of PostgreSQL from creating and starting a cluster of its own; only its programs
/// are wanted. Read by postgresql-common while the package is being installed, removed afterwards.
const NO_MAIN_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/sigilo.conf";

/// Installs Debian packages, as root or with a sudo that asks no password.
///
/// # Errors
/// [`Missing`], with the command to type, when we may not or it did not work.
pub fn packages(what: &str, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let missing =
        |why: &str| Missing(format!("{what} is missing and {why}. Install it:  apt-get install {names}"));
    if process::answer("apt-get", &["--version"]).is_none() {
        return Err(missing("this system has no apt-get").into());
    }
    let mut command = if is_root() {
        Command::new("sh")
    } else if process::answer("sudo", &["-n", "true"]).is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Err(missing("installing needs root").into());
    };
    println!("{what} is missing: installing {names}");
    let script = install_script(packages);
    let status = command.args(["-c", &script]).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(missing("apt-get did not install it").into()),
    }
}

fn install_script(packages: &[&str]) -> String {
    let names = packages.join(" ");
    format!(
        "set -e
         export DEBIAN_FRONTEND=noninteractive
         apt-get update -qq
         if [ ! -e {NO_MAIN_CLUSTER} ]; then
             mkdir -p \"$(dirname {NO_MAIN_CLUSTER})\"
             echo 'create_main_cluster = false' > {NO_MAIN_CLUSTER}
             trap 'rm -f {NO_MAIN_CLUSTER}' EXIT
         fi
         apt-get install -y -qq --no-install-recommends {names}"
    )
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    process::answer("id", &["-u"]).as_deref() == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_valid_shell_and_names_the_packages() {
        let script = install_script(&["postgresql", "npm"]);
        assert!(script.contains("install -y -qq --no-install-recommends postgresql npm"));
        let checked = Command::new("sh").args(["-n", "-c", &script]).status().expect("sh");
        assert!(checked.success(), "{script}");
    }
}
