//! The demo's folder, its server, and the commands an operator would type.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use chrono::{DateTime, Timelike as _, Utc};
use chrono_tz::America::Mexico_City;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{oneshot, watch},
    time::timeout,
};

use super::clock;
use crate::{
    Error, Result,
    clock::{Clock as _, SystemClock},
};

/// How long the demo waits for anything before it gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The variable that names the clamd of the demo: the path of its socket. `cargo xtask demo` sets it.
pub(super) const CLAMD: &str = "SIGILO_TEST_CLAMD";

/// In the server's environment, to prove that the memory hunt sees its memory.
pub(super) const MARKER: &str = "SIGILO-DEMO-MARKER-IN-THE-SERVERS-MEMORY";

/// Where the story plays.
pub(super) struct Stage {
    folder: Option<TempDir>,
    root: PathBuf,
    executable: PathBuf,
    server: Option<Server>,
    scanner: Option<Child>,
    /// Where clamd listens, if one does.
    clamd: Option<String>,
    /// How far the server's clock was turned ahead.
    ahead: Duration,
}

/// The server's process.
pub(super) struct Server {
    child: Child,
    /// Where it takes turns of its clock.
    stdin: ChildStdin,
    /// How many it has taken.
    turns: watch::Receiver<usize>,
    /// Its process id.
    pub pid: u32,
    /// Where it answers.
    pub url: String,
}

impl Stage {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(clock::PREFIX).tempdir().map_err(Error::internal)?;
        std::fs::write(folder.path().join(clock::MARK), "").map_err(Error::internal)?;
        let executable = std::env::current_exe().map_err(Error::internal)?;
        let (root, ahead) = (folder.path().to_owned(), Duration::ZERO);
        let clamd = std::env::var(CLAMD).ok();
        Ok(Self { root, folder: Some(folder), executable, server: None, scanner: None, clamd, ahead })
    }

    /// Whether there is a clamd, so that files are scanned.
    pub(super) const fn scans(&self) -> bool {
        self.clamd.is_some()
    }

    /// A path in the demo's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The server's data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.path("server")
    }

    /// The folder of the logs.
    pub(super) fn logs(&self) -> Result<PathBuf> {
        let folder = self.path("logs");
        std::fs::create_dir_all(&folder).map_err(Error::internal)?;
        Ok(folder)
    }

    /// This program, as a child with nothing of the caller's settings.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SIGILO_") {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.root).kill_on_drop(true);
        command
    }

    /// Runs a command as the operator would type it; gives its JSON.
    pub(super) async fn operator(&self, arguments: &[&str], beside_database: bool) -> Result<Value> {
        self.operator_as(arguments, beside_database, &[]).await
    }

    /// The same, with what is asked of somebody who logs in.
    pub(super) async fn operator_as(
        &self,
        arguments: &[&str],
        beside_database: bool,
        secrets: &[(&str, &str)],
    ) -> Result<Value> {
        let mut command = self.command();
        command.args(arguments).arg("--json").envs(secrets.iter().copied());
        if beside_database {
            command.arg("--data").arg(self.data());
        }
        let run = command.stdin(Stdio::null()).output();
        let said = timeout(PATIENCE, run).await.map_err(Error::internal)?.map_err(Error::internal)?;
        let typed = format!("sigilo {}", arguments.join(" "));
        if !said.status.success() {
            let why = String::from_utf8_lossy(&said.stderr);
            return Err(Error::internal(format!("'{typed}' failed: {}", why.trim())));
        }
        serde_json::from_slice(&said.stdout)
            .map_err(|error| Error::internal(format!("'{typed}' did not answer in JSON: {error}")))
    }

    /// Starts the server on a free port and waits until it answers.
    pub(super) async fn start_server(&mut self) -> Result<&Server> {
        let log = File::create(self.logs()?.join("server.log")).await.map_err(Error::internal)?;
        let mut child = self
            .beside_scanner()
            .args(["serve", "--demo-clock", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0")
            .env("SIGILO__LOG__FORMAT", "json")
            .env("DEMO_MARKER", MARKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::internal)?;
        let pid = child.id().ok_or_else(|| Error::internal("the server ended at once"))?;
        let stderr = child.stderr.take().ok_or_else(|| Error::internal("the server has no log"))?;
        let stdin = child.stdin.take().ok_or_else(|| Error::internal("the server takes no turns"))?;
        let (found, address) = oneshot::channel();
        let (turned, turns) = watch::channel(0);
        tokio::spawn(keep_log(BufReader::new(stderr), log, (found, turned)));
        let address = timeout(PATIENCE, address)
            .await
            .ok()
            .and_then(std::result::Result::ok)
            .ok_or_else(|| Error::internal("the server did not start: see logs/server.log"))?;
        Ok(self.server.insert(Server { child, stdin, turns, pid, url: format!("http://{address}") }))
    }

    /// A command in which files are looked into by a process of its own: the server never has their content.
    fn beside_scanner(&self) -> Command {
        let nobody = || self.path("clamd.sock").display().to_string();
        let mut command = self.command();
        command
            .env("SIGILO__SCANNER__MODE", "separate")
            .env("SIGILO__SCANNER__CLAMD", self.clamd.clone().unwrap_or_else(nobody));
        command
    }

    /// Starts the scanner of a server that runs.
    pub(super) fn start_scanner(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.logs()?.join("scanner.log"));
        let mut command = self.beside_scanner();
        command.arg("scanner").env("SIGILO__STORAGE__DATA", self.data());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.map_err(Error::internal)?);
        self.scanner = Some(command.spawn().map_err(Error::internal)?);
        Ok(())
    }

    /// Asks it to stop.
    pub(super) async fn stop_scanner(&mut self) -> Result<()> {
        let Some(mut scanner) = self.scanner.take() else { return Ok(()) };
        if ends(&mut scanner).await? {
            return Ok(());
        }
        Err(Error::internal("the scanner did not stop cleanly: see logs/scanner.log"))
    }

    /// The running server.
    pub(super) fn server(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| Error::internal("the server is not running"))
    }

    /// Turns the server's clock ahead; it has taken the turn when this returns.
    pub(super) async fn turn_clock(&mut self, by: Duration) -> Result<()> {
        let server = self.server.as_mut().ok_or_else(|| Error::internal("the server is not running"))?;
        let before = *server.turns.borrow();
        let turn = format!("{}\n", by.as_secs());
        server.stdin.write_all(turn.as_bytes()).await.map_err(Error::internal)?;
        server.stdin.flush().await.map_err(Error::internal)?;
        let taken = timeout(PATIENCE, server.turns.wait_for(|turns| *turns > before)).await;
        taken.map_err(Error::internal)?.map_err(Error::internal)?;
        self.ahead += Duration::from_secs(by.as_secs());
        Ok(())
    }

    /// Turns it to the next time at which the clinic's clock shows this.
    pub(super) async fn turn_clock_to(&mut self, hour: u32, minute: u32) -> Result<()> {
        const DAY: u32 = 24 * 3600;
        let now = self.now()?.with_timezone(&Mexico_City);
        let shown = now.num_seconds_from_midnight();
        let wait = (hour * 3600 + minute * 60 + DAY - shown) % DAY;
        self.turn_clock(Duration::from_secs(u64::from(wait))).await
    }

    /// What the server's clock shows.
    pub(super) fn now(&self) -> Result<DateTime<Utc>> {
        let seconds = (SystemClock.now() + self.ahead).seconds();
        DateTime::from_timestamp(seconds, 0).ok_or_else(|| Error::internal("the clock shows no time"))
    }

    /// How far the server's clock is ahead.
    pub(super) const fn ahead(&self) -> Duration {
        self.ahead
    }

    /// Asks the server to stop, as an operator would; says whether it ended well.
    pub(super) async fn stop_server(&mut self) -> Result<bool> {
        let Some(mut server) = self.server.take() else { return Ok(true) };
        ends(&mut server.child).await
    }

    /// Ends what runs; removes the folder, or keeps it and says where.
    pub(super) async fn end(mut self, keep: bool) -> Option<PathBuf> {
        if let Some(mut server) = self.server.take() {
            let _ = server.child.kill().await;
        }
        if let Some(mut scanner) = self.scanner.take() {
            let _ = scanner.kill().await;
        }
        let folder = self.folder.take()?;
        keep.then(|| folder.keep())
    }
}

/// Asks a process to stop; says whether it ended well.
async fn ends(child: &mut Child) -> Result<bool> {
    let Some(pid) = child.id() else { return Ok(false) };
    let asked = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
    let ended = timeout(PATIENCE, child.wait()).await;
    Ok(asked.map_err(Error::internal)?.success() && matches!(ended, Ok(Ok(status)) if status.success()))
}

/// Copies the server's log into a file; picks the address and the turns of the clock out of it.
async fn keep_log(
    mut stderr: BufReader<tokio::process::ChildStderr>,
    mut log: File,
    (found, turned): (oneshot::Sender<String>, watch::Sender<usize>),
) {
    let mut found = Some(found);
    let mut line = String::new();
    while matches!(stderr.read_line(&mut line).await, Ok(read) if read > 0) {
        if log.write_all(line.as_bytes()).await.is_err() || log.flush().await.is_err() {
            return;
        }
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if event["message"] == "listening"
            && let Some(found) = found.take()
        {
            let _ = found.send(event["address"].as_str().unwrap_or_default().to_owned());
        }
        if event["message"] == clock::TURNED {
            turned.send_modify(|turns| *turns += 1);
        }
        line.clear();
    }
}

/// A file's text, for claims about it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::internal(format!("cannot read {}: {error}", path.display())))
}
