//! The clamd for tests, and daemons of a test's own, which it may stop and kill.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::vault::LONG;

/// The socket of the clamd that was started for the tests.
pub fn socket() -> PathBuf {
    let socket = std::env::var_os("SIGILO_TEST_CLAMD").expect(
        "SIGILO_TEST_CLAMD is not set: run the tests with 'cargo xtask test', or one with 'cargo xtask pg -- cargo test ...'",
    );
    socket.into()
}

/// A daemon in a folder of its own, of the program, the user and the signatures of the one for tests.
pub struct Clamd {
    folder: PathBuf,
    program: PathBuf,
    user: Option<(u32, u32)>,
    daemon: Option<Child>,
}

impl Drop for Clamd {
    fn drop(&mut self) {
        if let Some(pid) = self.daemon.as_ref().and_then(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn pid(daemon: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(daemon.id()?).ok()?)
}

impl Clamd {
    /// Makes its folder; it does not run yet.
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let theirs = socket();
        let running = UnixStream::connect(&theirs).await.expect("the clamd of SIGILO_TEST_CLAMD runs");
        let peer = running.peer_cred().unwrap();
        let program = fs::read_link(format!("/proc/{}/exe", peer.pid().unwrap())).unwrap();
        let user = getuid().is_root().then_some((peer.uid(), peer.gid()));
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let folder = PathBuf::from(format!("/tmp/sigilo-own-clamd-{}-{number}", std::process::id()));
        let theirs = theirs.parent().unwrap();
        for name in ["", "database", "temporary"] {
            DirBuilder::new().mode(0o700).create(folder.join(name)).unwrap();
        }
        let configuration = fs::read_to_string(theirs.join("clamd.conf")).unwrap();
        let (from, to) = (theirs.to_str().unwrap(), folder.to_str().unwrap());
        fs::write(folder.join("clamd.conf"), configuration.replace(from, to)).unwrap();
        for signatures in fs::read_dir(theirs.join("database")).unwrap() {
            let signatures = signatures.unwrap();
            fs::copy(signatures.path(), folder.join("database").join(signatures.file_name())).unwrap();
        }
        let clamd = Self { folder, program, user, daemon: None };
        clamd.give_away();
        clamd
    }

    /// Makes one and starts it.
    pub async fn start() -> Self {
        let mut clamd = Self::new().await;
        clamd.run().await;
        clamd
    }

    fn give_away(&self) {
        let Some((uid, gid)) = self.user else { return };
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            chown(&folder, Some(uid), Some(gid)).unwrap();
            for file in fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    chown(&path, Some(uid), Some(gid)).unwrap();
                }
            }
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("clamd.sock")
    }

    /// The folder of what it looks at.
    pub fn temporary(&self) -> PathBuf {
        self.folder.join("temporary")
    }

    /// Takes its signatures away, or gives them back.
    pub fn set_signatures(&self, there: bool) {
        let (kept, used) = (self.folder.join("kept.ndb"), self.folder.join("database/development.ndb"));
        let (from, to) = if there { (kept, used) } else { (used, kept) };
        fs::rename(from, to).unwrap();
    }

    /// Starts it; it listens when this returns.
    pub async fn run(&mut self) {
        self.spawn();
        let end = Instant::now() + LONG;
        while !listens(&self.socket()).await {
            assert!(Instant::now() < end, "clamd does not start");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it and waits until it ends by itself.
    pub async fn run_to_end(&mut self) {
        self.spawn();
        let mut daemon = self.daemon.take().unwrap();
        tokio::time::timeout(LONG, daemon.wait()).await.expect("clamd ends").unwrap();
    }

    fn spawn(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("--config-file").arg(self.folder.join("clamd.conf")).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        self.daemon = Some(command.kill_on_drop(true).spawn().unwrap());
    }

    /// Ends it as a crash does.
    pub async fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        kill_process(pid(&daemon).unwrap(), Signal::KILL).unwrap();
        daemon.wait().await.unwrap();
    }

    /// It takes no step until [`Self::wake`].
    pub fn hang(&self) {
        kill_process(pid(self.daemon.as_ref().unwrap()).unwrap(), Signal::STOP).unwrap();
    }

    pub fn wake(&self) {
        kill_process(pid(self.daemon.as_ref().unwrap()).unwrap(), Signal::CONT).unwrap();
    }
}

async fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}
