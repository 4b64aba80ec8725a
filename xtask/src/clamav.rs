//! A private ClamAV daemon that never outlives the command it was started for, guarded as [`crate::postgres`] is.
//!
//! It knows one signature, the test file of antivirus makers: no package ships the real ones. Its files are in a
//! folder of memory where there is one, because a daemon that is killed leaves there what it looked at.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{install, process};

/// The name of the command that runs [`guard`]; not for people.
pub const GUARD: &str = "clamav-guard";
/// The variable that tells tests and the demo where the daemon listens: the path of its socket. When it is set already,
/// that daemon is used and none is started.
pub const VARIABLE: &str = "SIGILO_TEST_CLAMD";
/// How long it may take to listen.
const START: Duration = Duration::from_secs(60);

/// The test file of antivirus makers, as a signature in hexadecimal digits. In pieces: whole, it would be found in here.
const SIGNATURE: [&str; 4] = [
    "58354f2150254041505b345c505a58353428505e2937434329377d24",
    "45494341522d5354414e444152442d",
    "414e544956495255532d544553542d",
    "46494c452124482b482a",
];

/// A running daemon; dropping it stops it and removes its files.
pub struct Clamd {
    guard: Option<Child>,
    socket: String,
}

impl Clamd {
    /// Starts a daemon, installing ClamAV first when it is missing and we may.
    ///
    /// # Errors
    /// [`install::Missing`] when there is no ClamAV; otherwise when it does not start.
    pub fn start() -> Result<Self> {
        if let Ok(socket) = std::env::var(VARIABLE) {
            println!("using the clamd that {VARIABLE} names");
            return Ok(Self { guard: None, socket });
        }
        program()?;
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        // Its own process group: Ctrl-C must not end the guard before it has cleaned up.
        command.arg(GUARD).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut guard = command.spawn().context("cannot start the guard of clamd")?;
        let mut socket = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output).read_line(&mut socket).context("cannot hear from the guard of clamd")?;
        }
        let socket = socket.trim_end().to_owned();
        if socket.is_empty() {
            guard.wait().context("cannot wait for the guard of clamd")?;
            bail!("clamd did not start; its messages are above");
        }
        Ok(Self { guard: Some(guard), socket })
    }

    /// Tells a command where the daemon is: for our tests, and for a server that is started.
    pub fn export(&self, command: &mut Command) {
        command.env(VARIABLE, &self.socket);
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            if let Err(error) = guard.wait() {
                eprintln!("xtask: cannot wait for clamd to stop: {error}");
            }
        }
    }
}

/// The process that owns the daemon: prints its socket on one line, keeps it until its standard input ends.
///
/// # Errors
/// When it cannot be started; what it said is in the error.
pub fn guard() -> Result<()> {
    let files = Files::create()?;
    let daemon = Daemon::start(&program()?, &files)?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", files.socket().display())
        .and_then(|()| output.flush())
        .context("nobody waits for clamd")?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("cannot wait for the end")?;
    drop(daemon);
    Ok(())
}

/// The folder of its configuration, signatures, socket and temporary files; removed on drop.
struct Files {
    folder: PathBuf,
    user: Option<(u32, u32)>,
}

impl Files {
    fn create() -> Result<Self> {
        let user = daemon_user();
        let shm = PathBuf::from("/dev/shm");
        let parents = [shm, PathBuf::from("/tmp")];
        let made = parents.iter().find_map(|parent| {
            let folder = parent.join(format!("sigilo-clamd-{}", std::process::id()));
            DirBuilder::new().mode(0o700).create(&folder).ok().map(|()| folder)
        });
        let files = Self { folder: made.context("no folder for clamd's files")?, user };
        for name in ["database", "temporary"] {
            DirBuilder::new().mode(0o700).create(files.folder.join(name))?;
        }
        fs::write(files.folder.join("database/development.ndb"), signatures())?;
        fs::write(files.configuration(), configuration(&files.folder))?;
        for name in ["", "database", "temporary", "database/development.ndb", "clamd.conf"] {
            let path = files.folder.join(name);
            if let Some((uid, gid)) = files.user {
                chown(&path, Some(uid), Some(gid))?;
            }
        }
        // Who runs the tests reaches the socket as the daemon's user or as root.
        fs::set_permissions(&files.folder, Permissions::from_mode(0o700))?;
        Ok(files)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("clamd.conf")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("clamd.sock")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("xtask: cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// Root lends it Debian's own user, or nobody's.
fn daemon_user() -> Option<(u32, u32)> {
    let id = |flag: &str, name: &str| process::answer("id", &[flag, name])?.parse::<u32>().ok();
    let found = ["clamav", "nobody"].iter().find_map(|name| Some((id("-u", name)?, id("-g", name)?)));
    found.filter(|_| install::is_root())
}

/// One signature, looked for in files of every type, anywhere.
fn signatures() -> String {
    format!("Sigilo.Development.Test:0:*:{}\n", SIGNATURE.concat())
}

/// As `docs/OPERATIONS.md` has it for production, with files of its own. A key that clamd does not know is fatal to it.
fn configuration(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "Foreground yes\n\
         DatabaseDirectory {}\n\
         TemporaryDirectory {}\n\
         LocalSocket {}\n\
         LocalSocketMode 600\n\
         StreamMaxLength 1100M\n\
         MaxFileSize 100M\n\
         MaxScanSize 400M\n\
         MaxScanTime 120000\n\
         AlertExceedsMax yes\n\
         AlertEncrypted yes\n\
         MaxThreads 12\n\
         MaxQueue 100\n\
         CommandReadTimeout 30\n\
         ReadTimeout 60\n",
        at("database"),
        at("temporary"),
        at("clamd.sock"),
    )
}

/// A started daemon, stopped on drop.
struct Daemon(Child);

impl Daemon {
    fn start(program: &Path, files: &Files) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("--config-file").arg(files.configuration()).current_dir(&files.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        if let Some((uid, gid)) = files.user {
            command.uid(uid).gid(gid);
        }
        let mut daemon = Self(command.spawn().context("cannot start clamd")?);
        let end = Instant::now() + START;
        while UnixStream::connect(files.socket()).is_err() {
            if let Some(status) = daemon.0.try_wait()? {
                bail!("clamd ended with {status}");
            }
            if Instant::now() > end {
                bail!("clamd does not listen after {} seconds", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It fails when the daemon has ended by itself.
        let _ = self.0.kill();
        if let Err(error) = self.0.wait() {
            eprintln!("xtask: cannot wait for clamd: {error}");
        }
    }
}

/// The daemon's program; installs it when there is none.
///
/// # Errors
/// [`install::Missing`] when there is none and it could not be installed.
pub fn program() -> Result<PathBuf> {
    if let Some(program) = found() {
        return Ok(program);
    }
    install::packages("ClamAV", &["clamav-daemon"])?;
    let missing = || install::Missing("apt-get installed no clamd".into());
    Ok(found().ok_or_else(missing)?)
}

/// clamd in PATH, or where Debian and Homebrew put it.
fn found() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"].map(PathBuf::from));
    let programs = folders.into_iter().map(|folder| folder.join("clamd"));
    programs.into_iter().find(|program| process::answer(program, &["--version"]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_of_the_test_file_of_68_bytes() {
        let digits = SIGNATURE.concat();
        assert!(digits.len() == 136 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digits}");
    }

    #[test]
    fn what_it_cannot_look_into_is_said() {
        let configuration = configuration(Path::new("/tmp/example"));
        for line in ["AlertExceedsMax yes\n", "AlertEncrypted yes\n", "LocalSocket /tmp/example/clamd.sock\n"]
        {
            assert!(configuration.contains(line), "{line}");
        }
        assert!(!configuration.contains("TCPSocket"));
    }
}
