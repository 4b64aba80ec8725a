//! The measured programs, each a child process of its own: this program again, as server or as echo.

use std::{collections::VecDeque, path::Path, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::Mutex,
    task::JoinHandle,
    time::timeout,
};

use super::machine;
use crate::{Error, Result};

/// How long a child may take to say where it listens.
const START: Duration = Duration::from_secs(60);
/// How long a child may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(20);
/// How many of its last lines are shown when it fails.
const KEPT_LINES: usize = 40;

/// A running child.
pub(super) struct Running {
    /// `host:port`.
    pub(super) address: String,
    pid: u32,
    child: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Running {
    /// `sigilo serve` on a data folder and a database, on a free port, with further settings as environment variables.
    ///
    /// What a small clinic is protected by is a setting; the load of hundreds of clients from one address is
    /// let in by settings, never around them.
    pub(super) async fn serve(data: &Path, database_url: &str, settings: &[(&str, String)]) -> Result<Self> {
        let mut command = this_program()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        // Addresses may hold passwords: not on the command line.
        command.env("SIGILO__STORAGE__DATABASE_URL", database_url);
        command.env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0");
        command.env("SIGILO__LOG__FORMAT", "json");
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self::start(command, listening).await
    }

    /// The bare server of [`super::echo`], which gives out a file if there is one.
    pub(super) async fn echo(file: Option<&Path>) -> Result<Self> {
        let mut command = this_program()?;
        command.args(["bench", "echo"]);
        if let Some(file) = file {
            command.arg("--file").arg(file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self::start(command, |line| line.strip_prefix(super::echo::LISTENING).map(str::to_owned)).await
    }

    async fn start(mut command: Command, address: fn(&str) -> Option<String>) -> Result<Self> {
        let mut child = command.kill_on_drop(true).spawn().map_err(Error::internal)?;
        let pid = child.id().ok_or_else(|| Error::internal("a child ended at once"))?;
        let stderr = child.stderr.take().ok_or_else(|| Error::internal("a child has no stderr"))?;
        let lines = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT_LINES)));
        let (found, mut listening) = tokio::sync::mpsc::channel(1);
        let kept = Arc::clone(&lines);
        let reader = tokio::spawn(async move {
            keep_lines(stderr, &kept, |line| {
                if let Some(address) = address(line) {
                    // Only the first is waited for.
                    let _ = found.try_send(address);
                }
            })
            .await;
        });
        let address = timeout(START, listening.recv()).await.ok().flatten();
        let mut running = Self { address: address.unwrap_or_default(), pid, child, lines, reader };
        if running.address.is_empty() {
            return Err(running.failure("did not start").await);
        }
        Ok(running)
    }

    /// The processor time it has used.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        machine::cpu_time(self.pid)
    }

    /// Its memory, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        machine::resident(self.pid)
    }

    /// The most memory it ever had, in bytes.
    pub(super) fn peak(&self) -> Result<u64> {
        machine::peak(self.pid)
    }

    /// Ends it as an operator would, with SIGTERM.
    ///
    /// # Errors
    /// When it does not end well, with its last lines.
    pub(super) async fn stop(mut self) -> Result<()> {
        // The standard library sends only SIGKILL; every system has a shell that sends others.
        let asked = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid)).status().await;
        if !asked.is_ok_and(|status| status.success()) {
            return Err(self.failure("was gone before it was asked to stop").await);
        }
        match timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failure(&format!("ended with {status}")).await),
            _ => Err(self.failure("did not stop").await),
        }
    }

    /// What went wrong, with the child's last lines.
    async fn failure(&mut self, what: &str) -> Error {
        let _ = self.child.kill().await;
        // Its end closes the pipe: then every line has been read.
        let _ = timeout(STOP, &mut self.reader).await;
        let lines: Vec<String> = self.lines.lock().await.iter().cloned().collect();
        Error::internal(format!("the child process {what}; its last lines:\n{}", lines.join("\n")))
    }
}

fn this_program() -> Result<Command> {
    std::env::current_exe().map(Command::new).map_err(Error::internal)
}

/// The address in the server's line that says so.
fn listening(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    (event.get("message")? == "listening").then(|| event.get("address")?.as_str().map(str::to_owned))?
}

async fn keep_lines(
    from: impl AsyncRead + Unpin,
    kept: &Mutex<VecDeque<String>>,
    mut each: impl FnMut(&str),
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        each(&line);
        let mut kept = kept.lock().await;
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_says_where_it_listens() {
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:4711","tls":false}"#;
        assert_eq!(listening(line).as_deref(), Some("127.0.0.1:4711"));
        assert_eq!(listening(r#"{"message":"stopping"}"#), None);
        assert_eq!(listening("listening on 127.0.0.1:1"), None);
    }

    #[tokio::test]
    async fn the_last_lines_are_kept() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        let kept = Mutex::default();
        let mut count = 0;
        keep_lines(text.as_bytes(), &kept, |_| count += 1).await;
        assert_eq!(count, 100);
        let kept = kept.into_inner();
        assert_eq!(kept.len(), KEPT_LINES);
        assert_eq!(kept.back().unwrap(), "99");
    }
}
