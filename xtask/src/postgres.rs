//! A private PostgreSQL cluster that never outlives the command it was started for.
//!
//! A second process of this program, the guard, makes the cluster, starts it and waits for the end of its
//! standard input, a pipe held by the first process. However the first one ends (done, failed, Ctrl-C, killed),
//! the kernel closes the pipe, and the guard stops the server and removes its files. PostgreSQL refuses to run
//! as root, so root starts it as another user.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{install, process};

/// The name of the command that runs [`guard`]; not for people.
pub const GUARD: &str = "postgres-guard";
/// The variable that tells tests which PostgreSQL to use: a URL of sqlx. When it is set already, its server
/// is used and no cluster is started.
pub const VARIABLE: &str = "SIGILO_TEST_POSTGRES";
const SUPERUSER: &str = "postgres";
/// The oldest major version the server supports.
const OLDEST: u32 = 14;
/// Longest path of a Unix socket, in bytes, that every system takes.
const LONGEST_SOCKET: usize = 100;

/// Whether commits wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production.
    On,
    /// Faster; a crash of the machine (not of the server) may corrupt the cluster.
    Off,
}

/// A running cluster; dropping it stops the server and removes the files.
pub struct Cluster {
    guard: Option<Child>,
    url: String,
}

impl Cluster {
    /// Starts a cluster, installing PostgreSQL first when it is missing and we may.
    ///
    /// # Errors
    /// [`install::Missing`] when there is no PostgreSQL; otherwise when it does not start.
    pub fn start(durability: Durability) -> Result<Self> {
        if let Ok(url) = std::env::var(VARIABLE) {
            println!("using the PostgreSQL that {VARIABLE} names");
            return Ok(Self { guard: None, url });
        }
        programs()?;
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.arg(GUARD);
        if durability == Durability::On {
            command.arg("--durable");
        }
        // Its own process group: Ctrl-C must not end the guard before it has cleaned up.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut guard = command.spawn().context("cannot start the guard of PostgreSQL")?;
        let mut url = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output).read_line(&mut url).context("cannot hear from the guard of PostgreSQL")?;
        }
        let url = url.trim_end().to_owned();
        if url.is_empty() {
            guard.wait().context("cannot wait for the guard of PostgreSQL")?;
            bail!("PostgreSQL did not start; its messages are above");
        }
        Ok(Self { guard: Some(guard), url })
    }

    /// Tells a command where the server is: for our tests, and for PostgreSQL's own programs.
    pub fn export(&self, command: &mut Command) {
        command.env(VARIABLE, &self.url);
        if let Some(socket) = self.url.split_once("host=").and_then(|(_, rest)| rest.split('&').next()) {
            command.env("PGHOST", socket).env("PGUSER", SUPERUSER).env("PGDATABASE", "postgres");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            if let Err(error) = guard.wait() {
                eprintln!("xtask: cannot wait for PostgreSQL to stop: {error}");
            }
        }
    }
}

/// The process that owns the server: prints its URL on one line, serves until its standard input ends.
///
/// # Errors
/// When the cluster cannot be made or started; what PostgreSQL said is in the error.
pub fn guard(durability: Durability) -> Result<()> {
    let files = Files::create()?;
    let server = Server::start(&programs()?, &files, durability)?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", files.url())
        .and_then(|()| output.flush())
        .context("nobody waits for the cluster")?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("cannot wait for the end")?;
    drop(server);
    Ok(())
}

/// The folder of the cluster and its socket, removed on drop.
struct Files {
    folder: PathBuf,
    user: Option<User>,
}

/// The user the server runs as, when not as ourselves.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Files {
    /// Makes a new folder that only the server's user (and root) may enter.
    fn create() -> Result<Self> {
        let user = server_user()?;
        let mut refusals = String::new();
        for parent in [PathBuf::from("/tmp"), std::env::temp_dir()] {
            match new_folder(&parent, user) {
                Ok(folder) => return Ok(Self { folder, user }),
                Err(error) => write!(refusals, "\n{}: {error}", parent.display())?,
            }
        }
        bail!("no folder for PostgreSQL's socket and files:{refusals}")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user={SUPERUSER}", self.folder.display())
    }

    /// A command of PostgreSQL, run as the server's user.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null()).env_remove("PGDATA");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("xtask: cannot remove {}: {error}", self.folder.display());
        }
    }
}

fn new_folder(parent: &Path, user: Option<User>) -> std::io::Result<PathBuf> {
    for attempt in 0_u32.. {
        let folder = parent.join(format!("sigilo-pg-{}-{attempt}", std::process::id()));
        if folder.as_os_str().len() + "/.s.PGSQL.5432".len() > LONGEST_SOCKET {
            return Err(std::io::Error::other("its path is too long for a Unix socket"));
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                if let Some(user) = user {
                    chown(&folder, Some(user.uid), Some(user.gid))?;
                }
                return Ok(folder);
            }
        }
    }
    Err(std::io::Error::other("every name is taken"))
}

/// Root needs somebody else to run the server: Debian's `postgres`, or `nobody`.
fn server_user() -> Result<Option<User>> {
    if !install::is_root() {
        return Ok(None);
    }
    let id = |flag: &str, name: &str| process::answer("id", &[flag, name])?.parse::<u32>().ok();
    for name in ["postgres", "nobody"] {
        if let (Some(uid), Some(gid)) = (id("-u", name), id("-g", name)) {
            return Ok(Some(User { uid, gid }));
        }
    }
    bail!("PostgreSQL cannot run as root, and there is neither a user postgres nor nobody")
}

/// A started server, stopped on drop.
struct Server<'a> {
    files: &'a Files,
    control: PathBuf,
    postgres: Child,
}

impl<'a> Server<'a> {
    /// Makes the cluster, starts the server and returns once it takes connections.
    fn start(programs: &Path, files: &'a Files, durability: Durability) -> Result<Self> {
        let data = files.data();
        let mut initdb = files.command(&programs.join("initdb"));
        initdb.args(["--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        quietly(initdb.arg("--pgdata").arg(&data))?;
        let mut configuration = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        configuration.write_all(settings(&files.folder, durability).as_bytes())?;
        let mut command = files.command(&programs.join("postgres"));
        command.arg("-D").arg(&data).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut postgres = command.spawn().context("cannot start postgres")?;
        let said = postgres.stderr.take();
        let server = Self { files, control: programs.join("pg_ctl"), postgres };
        if let Some(said) = said {
            wait_until_ready(BufReader::new(said))?;
        }
        Ok(server)
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let mut stop = self.files.command(&self.control);
        stop.args(["stop", "--mode=immediate", "--no-wait", "--silent"])
            .arg("--pgdata")
            .arg(self.files.data());
        // It fails when the server has ended by itself, and then there is nothing to wait for either.
        let stopped =
            quietly(&mut stop).and_then(|()| self.postgres.wait().context("cannot wait for postgres"));
        if let Err(error) = stopped {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// Reads what the server says until it takes connections. The rest is read by a thread and dropped, because a
/// server whose messages nobody reads would stop once the pipe is full.
fn wait_until_ready(mut said: impl BufRead + Send + 'static) -> Result<()> {
    let mut messages = String::new();
    while said.read_line(&mut messages).context("cannot read what postgres says")? > 0 {
        if messages.ends_with("database system is ready to accept connections\n") {
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return Ok(());
        }
    }
    bail!("postgres ended:\n{}", messages.trim_end())
}

/// Runs a command to its end and shows what it said only in the error.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", process::shown(command)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("`{}` failed:\n{}", process::shown(command), String::from_utf8_lossy(&said).trim_end());
    }
    Ok(())
}

/// What we add to `postgresql.conf`: reachable through the socket in `folder` alone, and enough connections for
/// many pools at once.
fn settings(folder: &Path, durability: Durability) -> String {
    let mut settings = format!(
        "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 400\nshared_buffers = 128MB\n",
        folder.display()
    );
    if durability == Durability::Off {
        settings.push_str("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n");
    }
    settings
}

/// The folder of PostgreSQL's programs; installs them when there are none.
///
/// # Errors
/// [`install::Missing`] when there are none and they could not be installed.
pub fn programs() -> Result<PathBuf> {
    if let Some(folder) = newest(candidates()) {
        return Ok(folder);
    }
    install::packages(&format!("PostgreSQL {OLDEST} or later"), &["postgresql"])?;
    let missing = || install::Missing(format!("apt-get installed no PostgreSQL {OLDEST} or later"));
    Ok(newest(candidates()).ok_or_else(missing)?)
}

/// Folders that may hold the programs: those of PATH, then where Debian, Red Hat and Homebrew put them.
fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local", "pgsql"),
    ] {
        let versions = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(
            versions
                .filter(|version| version.file_name().to_string_lossy().starts_with(prefix))
                .map(|version| version.path().join("bin")),
        );
    }
    folders
}

/// The candidate with the newest supported version; the first of equals. Links are followed, because a folder of
/// PATH may link to `initdb` alone.
fn newest(candidates: Vec<PathBuf>) -> Option<PathBuf> {
    let mut best: Option<(u32, PathBuf)> = None;
    for candidate in candidates {
        let Ok(initdb) = candidate.join("initdb").canonicalize() else { continue };
        let Some(folder) = initdb.parent() else { continue };
        if !folder.join("pg_ctl").is_file() || !folder.join("postgres").is_file() {
            continue;
        }
        let Some(version) = process::answer(&initdb, &["--version"]).as_deref().and_then(major) else {
            continue;
        };
        if version >= OLDEST && best.as_ref().is_none_or(|(known, _)| version > *known) {
            best = Some((version, folder.to_owned()));
        }
    }
    best.map(|(_, folder)| folder)
}

/// The major version in `initdb (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)` or `initdb (PostgreSQL) 18beta1`.
fn major(answer: &str) -> Option<u32> {
    let (_, version) = answer.split_once("(PostgreSQL) ")?;
    let digits =
        version.find(|c: char| !c.is_ascii_digit()).map_or(version, |end| version.get(..end).unwrap_or(""));
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("initdb (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(major("initdb (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("initdb (PostgreSQL) 17"), Some(17));
        assert_eq!(major("initdb (PostgreSQL) devel"), None);
        assert_eq!(major("something else 15"), None);
    }

    #[test]
    fn only_the_short_lived_cluster_skips_the_disk() {
        let folder = Path::new("/tmp/example");
        assert!(settings(folder, Durability::Off).contains("fsync = off"));
        assert!(!settings(folder, Durability::On).contains("fsync"));
        for durability in [Durability::On, Durability::Off] {
            let settings = settings(folder, durability);
            assert!(settings.contains("listen_addresses = ''\n"));
            assert!(settings.contains("unix_socket_directories = '/tmp/example'\n"));
        }
    }

    #[test]
    fn postgresqls_own_programs_find_the_cluster() {
        let cluster = Cluster { guard: None, url: "postgres:///postgres?host=/tmp/x&user=postgres".into() };
        let mut command = Command::new("psql");
        cluster.export(&mut command);
        let exported: Vec<_> = command
            .get_envs()
            .map(|(name, value)| format!("{}={}", name.display(), value.unwrap_or_default().display()))
            .collect();
        assert!(exported.contains(&"PGHOST=/tmp/x".to_owned()), "{exported:?}");
        assert!(exported.iter().any(|variable| variable.starts_with(VARIABLE)), "{exported:?}");
    }

    #[test]
    fn a_server_that_ends_is_an_error_with_its_messages() {
        let said = "LOG:  starting PostgreSQL 15.13\nFATAL:  could not create lock file\n";
        let error = wait_until_ready(said.as_bytes()).expect_err("never ready");
        assert!(error.to_string().contains("could not create lock file"), "{error}");
        wait_until_ready(&b"LOG:  database system is ready to accept connections\nLOG:  more\n"[..]).unwrap();
    }

    #[test]
    fn a_folder_too_long_for_a_socket_is_refused() {
        let parent = PathBuf::from(format!("/tmp/{}", "x".repeat(LONGEST_SOCKET)));
        let error = new_folder(&parent, None).expect_err("must be refused");
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
