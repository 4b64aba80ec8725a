//! A person of the story: `sigilo chat --json` in a process of its own, with a profile of its own.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};
use totp_rs::{Builder, Secret};

use super::stage::{PATIENCE, Stage};
use crate::{
    Error, Result,
    clock::{Clock as _, SystemClock},
};

/// A person on a device.
pub(super) struct Actor {
    /// What the story calls them.
    pub name: &'static str,
    /// Their id.
    pub user: String,
    /// The root their client has pinned, hexadecimal.
    pub root: String,
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    seen: Vec<Value>,
    /// How far the server's clock was ahead when it started.
    ahead: Duration,
}

impl Actor {
    /// Starts a person's client; activates the account when there is an invitation.
    pub(super) async fn start(
        stage: &Stage,
        name: &'static str,
        profile: &str,
        invitation: Option<&str>,
    ) -> Result<Self> {
        let activate = invitation.map(|invitation| ["--activate", invitation]);
        let mut actor = Self::launch(stage, name, profile, activate.as_ref().map_or(&[], |both| both))?;
        actor.arrives().await?;
        Ok(actor)
    }

    /// Starts a client's process.
    pub(super) fn launch(
        stage: &Stage,
        name: &'static str,
        profile: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(stage.logs()?.join(format!("{profile}.log")))
            .map_err(Error::internal)?;
        let mut command = stage.command();
        command.args(["chat", "--json", "--profile"]).arg(stage.path(profile)).args(arguments);
        let mut child = command
            .env("SIGILO_PASSPHRASE", format!("passphrase of {profile}"))
            .env("SIGILO_PASSWORD", format!("password of {profile}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::internal)?;
        let gone = || Error::internal("a client ended at once");
        let stdin = child.stdin.take().ok_or_else(gone)?;
        let stdout = BufReader::new(child.stdout.take().ok_or_else(gone)?).lines();
        let (user, root, seen) = (String::new(), String::new(), Vec::new());
        Ok(Self { name, user, root, child, stdin, stdout, seen, ahead: stage.ahead() })
    }

    /// Waits until the account is open and connected, and enrols an authenticator app where the clinic asks for one.
    pub(super) async fn arrives(&mut self) -> Result<()> {
        let first = |event: &Value| event["type"] == "ready" || event["type"] == "enrolment";
        let mut ready = self.wait("to be ready", first).await?;
        if ready["type"] == "enrolment" {
            self.types(&app_code(&text(&ready, "secret"), self.ahead)?).await?;
            ready = self.wait("to be ready", |event| event["type"] == "ready").await?;
        }
        self.user = text(&ready, "user_id");
        self.root = text(&ready, "root");
        self.wait("to be connected", |event| event["type"] == "connected").await.map(drop)
    }

    /// Types a line.
    pub(super) async fn types(&mut self, line: &str) -> Result<()> {
        let typed = format!("{line}\n");
        self.stdin
            .write_all(typed.as_bytes())
            .await
            .map_err(|_| Error::internal(format!("the client of {} has ended", self.name)))?;
        self.stdin.flush().await.map_err(Error::internal)
    }

    /// Waits for an event; those that came before and were not waited for count.
    pub(super) async fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(place) = self.seen.iter().position(&wanted) {
            return Ok(self.seen.remove(place));
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let line = timeout(left, self.stdout.next_line()).await;
            let Ok(Ok(Some(line))) = line else {
                let last = self.seen.last().map(ToString::to_string).unwrap_or_default();
                return Err(Error::internal(format!(
                    "{} waited in vain {what}; last came {last}",
                    self.name
                )));
            };
            let event: Value = serde_json::from_str(&line).map_err(Error::internal)?;
            if wanted(&event) {
                return Ok(event);
            }
            self.seen.push(event);
        }
    }

    /// Leaves; the process has ended when this returns.
    pub(super) async fn leave(mut self) -> Result<()> {
        self.types("/quit").await?;
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            _ => Err(Error::internal(format!("the client of {} did not leave cleanly", self.name))),
        }
    }
}

/// What an authenticator app shows for this secret, by a clock that is so far ahead.
pub(super) fn app_code(secret: &str, ahead: Duration) -> Result<String> {
    let secret = Secret::try_from_base32(secret).map_err(Error::internal)?;
    let app = Builder::new().with_secret(secret).build().map_err(Error::internal)?;
    let now = u64::try_from((SystemClock.now() + ahead).seconds()).map_err(Error::internal)?;
    Ok(app.generate(now).to_string())
}

/// A text of an event.
pub(super) fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_default().to_owned()
}
