//! `sigilo serve` as a process of its own, which is killed and comes back at the same address.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use rustix::process::Pid;
use sigilo::config::Config;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// The server's process, or the place where it was.
pub struct Served {
    pub address: SocketAddr,
    config: Config,
    child: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the server's log: {:#?}", self.log.lock().unwrap());
        }
    }
}

impl Served {
    /// Starts it on these databases.
    pub fn start(config: Config, address: SocketAddr) -> Self {
        let mut served = Self { address, config, child: None, log: Arc::default() };
        served.again();
        served
    }

    /// The command, with the configuration in its environment.
    fn command(&self) -> Command {
        let storage = &self.config.storage;
        // A file that may not grow is an error of the write, as on a full disk, and not the end of the process.
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#, env!("CARGO_BIN_EXE_sigilo")]);
        command.args(["serve", "--listen", &self.address.to_string()]);
        command.env("SIGILO__STORAGE__DATA", &storage.data);
        for (name, url) in [
            ("SIGILO__STORAGE__DATABASE_URL", &storage.database_url),
            ("SIGILO__STORAGE__KEYSTORE_URL", &storage.keystore_url),
        ] {
            command.envs(url.as_ref().map(|url| (name, url)));
        }
        let limits = &self.config.limits;
        for (name, limit) in [
            ("LOGINS_PER_ADDRESS", limits.logins_per_address),
            ("LOGINS_PER_MINUTE", limits.logins_per_minute),
            ("MESSAGES_PER_MINUTE", limits.messages_per_minute),
            ("CLINICIAN_MESSAGES_PER_MINUTE", limits.clinician_messages_per_minute),
            ("REQUESTS_PER_MINUTE", limits.requests_per_minute),
            ("FILES_PER_HOUR", limits.files_per_hour),
            ("PREKEY_FETCHES_PER_MINUTE", limits.prekey_fetches_per_minute),
            ("PREKEY_FETCHES_PER_DEVICE", limits.prekey_fetches_per_device),
        ] {
            command.env(format!("SIGILO__LIMITS__{name}"), limit.to_string());
        }
        command.env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0").env("SIGILO__LOG__FORMAT", "json");
        command
    }

    /// Starts it again after it was killed.
    pub fn again(&mut self) {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.lock().unwrap().push(line);
            }
        });
        self.child = Some(child);
    }

    /// SIGKILL: no last words.
    pub async fn kill(&mut self) {
        self.pid();
        let mut child = self.child.take().unwrap();
        child.kill().await.unwrap();
    }

    /// Its process, which must not have ended.
    pub fn pid(&mut self) -> Pid {
        let child = self.child.as_mut().unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself: {:#?}", self.log.lock().unwrap());
        Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap()
    }

    /// What it said of its own faults. A database that is away is none.
    pub fn faults(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let is_fault = |line: &&String| {
            let internal =
                ["internal: ", "tried one by one", "a request failed"].iter().any(|of| line.contains(of));
            line.contains("panicked") || (line.contains(r#""level":"ERROR""#) && internal)
        };
        log.iter().filter(is_fault).cloned().collect()
    }
}
