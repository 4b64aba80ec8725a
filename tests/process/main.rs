//! The executable as operators meet it: exit statuses, signals, TLS, what it writes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod accounts;
mod appointments;
mod bench;
mod clinics;
mod commands;
mod doctor;
mod identity;
mod logs;
mod people;
mod signals;
mod tls;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

/// The executable with a clean environment, its data in `folder`.
fn sigilo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigilo"));
    command.args(arguments).current_dir(folder).env_clear().env("SIGILO__STORAGE__DATA", folder.join("data"));
    command
}

/// Runs a command to its end.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    sigilo(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// `sigilo serve` as a process of its own, killed if the test ends early.
struct Served {
    child: Child,
    log: BufReader<ChildStderr>,
    seen: String,
    address: SocketAddr,
}

impl Served {
    /// Starts it on free ports, with JSON logs, and waits until it says where it listens.
    fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = sigilo(folder, &["serve", "--listen", "127.0.0.1:0"])
            .env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0")
            .env("SIGILO__LOG__FORMAT", "json")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut served = Self { child, log, seen: String::new(), address: SocketAddr::from(([0; 4], 0)) };
        let listening = served.until("listening");
        served.address = listening["address"].as_str().unwrap().parse().unwrap();
        served
    }

    /// Reads the log up to an event with this message.
    fn until(&mut self, message: &str) -> serde_json::Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "ended before {message:?}: {}", self.seen);
            self.seen.push_str(&line);
            let event: serde_json::Value = serde_json::from_str(&line).expect("a JSON event");
            if event["message"] == message {
                return event;
            }
        }
    }

    /// Sends a signal.
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; gives the status and the whole log.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut log = std::mem::take(&mut self.seen);
        self.log.read_to_string(&mut log).unwrap();
        (status.code(), log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
