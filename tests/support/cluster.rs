//! A PostgreSQL of a test's own, which it may stop and start. Its programs and its user are those of the PostgreSQL
//! for tests.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, getuid, kill_process};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::database::server_url;

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// A cluster in a folder of its own.
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    /// The user and group that run it, when not ourselves: root may not.
    user: Option<(u32, u32)>,
    server: Option<Child>,
    mounted: bool,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(pid) = self.server.as_ref().and_then(pid) {
            // Its processes end with it; the folder goes after them.
            let _ = kill_process(pid, Signal::QUIT);
            let end = std::time::Instant::now() + START;
            while self.folder.join("data/postmaster.pid").exists() && std::time::Instant::now() < end {
                std::thread::yield_now();
            }
        }
        if self.mounted {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn pid(server: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(server.id()?).ok()?)
}

impl Cluster {
    /// Makes one and starts it. It flushes to disk as in production.
    pub async fn start() -> Self {
        Self::make(None).await
    }

    /// As [`Cluster::start`], on a disk of its own with so many MiB of room. To mount one takes root.
    pub async fn start_on_a_small_disk(mib: u32) -> Self {
        Self::make(Some(mib)).await
    }

    async fn make(mib: Option<u32>) -> Self {
        let (programs, owner) = found().await;
        let user = getuid().is_root().then_some(owner);
        // A socket's path may not be long.
        let folder = PathBuf::from(format!("/tmp/sigilo-own-pg-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        if let Some(mib) = mib {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "tmpfs"]).arg(&folder);
            assert!(mount.status().await.unwrap().success(), "a small disk cannot be mounted: only root may");
        }
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let mut cluster = Self { folder, programs, user, server: None, mounted: mib.is_some() };
        let mut make = cluster.command("initdb");
        make.args([
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--pgdata",
            "data",
        ]);
        assert!(make.status().await.unwrap().success(), "initdb");
        cluster.run().await;
        cluster
    }

    /// Its address, for [`super::Database::create_at`].
    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=postgres", self.folder.display())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the server; it takes connections when this returns.
    pub async fn run(&mut self) {
        let mut command = self.command("postgres");
        command.args(["-D", "data", "-c", "listen_addresses=", "-c", "max_connections=60", "-k"]);
        command.arg(&self.folder);
        self.server = Some(command.kill_on_drop(true).spawn().unwrap());
        let end = Instant::now() + START;
        while PgConnection::connect(&self.url()).await.is_err() {
            assert!(Instant::now() < end, "PostgreSQL does not start");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The folder it lives in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it again if it has ended by itself.
    pub async fn revive(&mut self) {
        if self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some()) {
            self.run().await;
        }
    }

    /// Ends the server: `INT` as an administrator does, `QUIT` at once, `KILL` as a crash does.
    pub async fn end(&mut self, how: Signal) {
        let mut server = self.server.take().unwrap();
        kill_process(pid(&server).unwrap(), how).unwrap();
        server.wait().await.unwrap();
    }
}

/// Where PostgreSQL's programs are, and who owns the data of the running one.
async fn found() -> (PathBuf, (u32, u32)) {
    const PROGRAMS: &str = "SELECT setting FROM pg_config WHERE name = 'BINDIR'";
    const DATA: &str = "SELECT current_setting('data_directory')";
    let mut connection = PgConnection::connect(&server_url()).await.unwrap();
    let programs: String = sqlx::query_scalar(PROGRAMS).fetch_one(&mut connection).await.unwrap();
    let data: String = sqlx::query_scalar(DATA).fetch_one(&mut connection).await.unwrap();
    let owner = fs::metadata(data).unwrap();
    (programs.into(), (owner.uid(), owner.gid()))
}
