//! The demo's folder, its server, and the commands an operator would type.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use crate::{Error, Result};

/// How long the demo waits for anything before it gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// In the server's environment, to prove that the memory hunt sees its memory.
pub(super) const MARKER: &str = "SIGILO-DEMO-MARKER-IN-THE-SERVERS-MEMORY";

/// Where the story plays.
pub(super) struct Stage {
    folder: Option<TempDir>,
    root: PathBuf,
    executable: PathBuf,
    server: Option<Server>,
}

/// The server's process.
pub(super) struct Server {
    child: Child,
    /// Its process id.
    pub pid: u32,
    /// Where it answers.
    pub url: String,
}

impl Stage {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sigilo-demo-").tempdir().map_err(Error::internal)?;
        let executable = std::env::current_exe().map_err(Error::internal)?;
        Ok(Self { root: folder.path().to_owned(), folder: Some(folder), executable, server: None })
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
            .command()
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0")
            .env("SIGILO__LOG__FORMAT", "json")
            .env("DEMO_MARKER", MARKER)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::internal)?;
        let pid = child.id().ok_or_else(|| Error::internal("the server ended at once"))?;
        let stderr = child.stderr.take().ok_or_else(|| Error::internal("the server has no log"))?;
        let (found, address) = oneshot::channel();
        tokio::spawn(keep_log(BufReader::new(stderr), log, found));
        let address = timeout(PATIENCE, address)
            .await
            .ok()
            .and_then(std::result::Result::ok)
            .ok_or_else(|| Error::internal("the server did not start: see logs/server.log"))?;
        Ok(self.server.insert(Server { child, pid, url: format!("http://{address}") }))
    }

    /// The running server.
    pub(super) fn server(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| Error::internal("the server is not running"))
    }

    /// Asks the server to stop, as an operator would; says whether it ended well.
    pub(super) async fn stop_server(&mut self) -> Result<bool> {
        let Some(mut server) = self.server.take() else { return Ok(true) };
        let pid = server.pid.to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().await.map_err(Error::internal)?;
        let ended = timeout(PATIENCE, server.child.wait()).await;
        Ok(asked.success() && matches!(ended, Ok(Ok(status)) if status.success()))
    }

    /// Ends what runs; removes the folder, or keeps it and says where.
    pub(super) async fn end(mut self, keep: bool) -> Option<PathBuf> {
        if let Some(mut server) = self.server.take() {
            let _ = server.child.kill().await;
        }
        let folder = self.folder.take()?;
        keep.then(|| folder.keep())
    }
}

/// Copies the server's log into a file and picks the address out of it.
async fn keep_log(
    mut stderr: BufReader<tokio::process::ChildStderr>,
    mut log: File,
    found: oneshot::Sender<String>,
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
        line.clear();
    }
}

/// A file's text, for claims about it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::internal(format!("cannot read {}: {error}", path.display())))
}
