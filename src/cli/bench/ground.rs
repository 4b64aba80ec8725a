//! What every run stands on: a fresh data folder and database, a clinic with its people, messages sealed and signed
//! beforehand, and sockets that are held open.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use tempfile::TempDir;

use super::{
    load::LoadPair,
    machine,
    process::Running,
    progress::Progress,
    provision::{self, Provisioned},
    report::Idle,
    sign::{self, Frame},
    socket::Socket,
    store,
};
use crate::{
    App, Error, Result,
    clock::{Clock as _, SystemClock},
    config::Config,
    rng::{self, SystemEntropy},
    shutdown,
};

/// Where a run makes its data.
#[derive(Debug, Args)]
pub(super) struct Ground {
    /// Where the data folder is made, on the disk to be measured [default: the folder for temporary files].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A PostgreSQL server on which databases may be made. A password belongs into the environment.
    #[arg(long, value_name = "URL", env = "SIGILO_TEST_POSTGRES", hide_env_values = true)]
    database_url: Option<String>,
}

/// The databases to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EngineChoice {
    Sqlite,
    Postgres,
    Both,
}

impl EngineChoice {
    /// Their names.
    pub(super) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &["sqlite"],
            Self::Postgres => &["postgres"],
            Self::Both => &["sqlite", "postgres"],
        }
    }
}

/// Sockets that are open before the idle ones are counted: what the first of a kind costs is not theirs.
const WARM_UP: usize = 32;

/// An engine's data folder and databases.
pub(super) struct Stores {
    /// The engine's name.
    pub(super) engine: &'static str,
    /// The data folder.
    pub(super) folder: TempDir,
    /// The database's address.
    pub(super) url: String,
    postgres: Option<(String, String)>,
}

impl Stores {
    /// Makes a data folder and a database.
    ///
    /// # Errors
    /// When PostgreSQL is wanted and no server is named.
    pub(super) async fn make(engine: &'static str, ground: &Ground) -> Result<Self> {
        let parent = ground.data.clone().unwrap_or_else(std::env::temp_dir);
        let folder =
            tempfile::Builder::new().prefix("sigilo-bench-").tempdir_in(parent).map_err(Error::internal)?;
        if engine == "sqlite" {
            let url = format!("sqlite://{}", folder.path().join("sigilo.db").display());
            return Ok(Self { engine, folder, url, postgres: None });
        }
        let server = ground.database_url.as_deref().ok_or_else(|| {
            Error::internal("give a PostgreSQL server as --database-url or in SIGILO_TEST_POSTGRES, or run 'cargo xtask bench'")
        })?;
        let name = format!("sigilo_bench_{}", std::process::id());
        let url = store::create_database(server, &name).await?;
        Ok(Self { engine, folder, url, postgres: Some((server.to_owned(), name)) })
    }

    /// Removes the database; the folder goes by itself.
    pub(super) async fn remove(self) -> Result<()> {
        match &self.postgres {
            Some((server, name)) => store::drop_database(server, name).await,
            None => Ok(()),
        }
    }
}

/// Refuses a run that would need more open files than are allowed.
pub(super) fn check_open_files(pairs: u16, idle: u32) -> Result<()> {
    let needed = u64::from(idle) + 3 * u64::from(pairs) + 100 + WARM_UP as u64;
    let limit = machine::open_files_limit();
    if needed > limit {
        return Err(Error::internal(format!(
            "{needed} open files are needed and {limit} allowed: run 'ulimit -n {needed}' first, or ask for fewer \
             pairs or idle sockets"
        )));
    }
    Ok(())
}

/// Makes the clinic with its pairs, conversations for idle sockets, and `messages` messages a pair.
pub(super) async fn prepare(
    stores: &Stores,
    (pairs, idle): (u16, u32),
    messages: usize,
    progress: &Progress,
) -> Result<(Provisioned, Vec<LoadPair>)> {
    let mut config = Config::for_data(stores.folder.path());
    config.storage.database_url = Some(stores.url.clone());
    // Everybody is activated from one place, as fast as it goes.
    config.limits.logins_per_address = u32::MAX;
    config.limits.logins_per_minute = u32::MAX;
    let (phase, watch) = shutdown::channel();
    let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy), watch).await?;
    let idle = usize::try_from(idle).map_err(Error::internal)?;
    let idle = if idle == 0 { 0 } else { idle + WARM_UP };
    let made = provision::provision(&app, pairs.into(), idle, progress).await;
    phase.send_replace(shutdown::Phase::Stopped);
    app.close().await;
    let made = Arc::new(made?);
    let chains = sign_all(&made, messages, progress).await?;
    let pairs = made
        .pairs
        .iter()
        .zip(chains)
        .map(|(pair, frames)| LoadPair {
            sender_token: pair.sender.token.clone(),
            receiver_token: pair.receiver.token.clone(),
            path: format!("/api/chat/conversations/{}/messages/", pair.conversation),
            frames: frames.into(),
            sent: 0,
        })
        .collect();
    let made = Arc::into_inner(made).ok_or_else(|| Error::internal("the clinic is still in use"))?;
    Ok((made, pairs))
}

/// Opens the idle sockets and says what they cost; they are open as long as they are kept. `None` without any.
pub(super) async fn hold_idle(
    server: &Running,
    made: &Provisioned,
    progress: &Progress,
) -> Result<Option<(Idle, Vec<Socket>)>> {
    if made.idle.is_empty() {
        return Ok(None);
    }
    let step = progress.step("idle sockets", made.idle.len());
    let mut open = Vec::with_capacity(made.idle.len());
    let mut before = server.resident()?;
    for (token, conversation) in &made.idle {
        if open.len() == WARM_UP {
            before = server.resident()?;
        }
        let path = format!("/ws/chat/{conversation}/");
        open.push(Socket::open_device(&server.address, &path, token).await?);
        step.inc(1);
    }
    let after = server.resident()?;
    step.finish_and_clear();
    let connections = open.len() - WARM_UP;
    let idle = Idle {
        connections,
        rss_before_kib: before / 1024,
        rss_after_kib: after / 1024,
        kib_per_connection: after.saturating_sub(before) as f64 / 1024.0 / connections as f64,
    };
    Ok(Some((idle, open)))
}

/// Seals and signs every pair's messages, on all cores.
async fn sign_all(made: &Arc<Provisioned>, count: usize, progress: &Progress) -> Result<Vec<Vec<Frame>>> {
    let step = progress.step("messages to seal and sign", made.pairs.len() * count);
    let now = SystemClock.now();
    let tasks: Vec<_> = (0..made.pairs.len())
        .map(|number| {
            let (made, step) = (Arc::clone(made), step.clone());
            let seed = rng::bytes(&SystemEntropy);
            tokio::task::spawn_blocking(move || {
                let pair = made.pairs.get(number).ok_or_else(|| Error::internal("a pair is gone"))?;
                let frames = sign::chain(made.tenant, pair, count, now, seed)?;
                step.inc(count as u64);
                Ok::<_, Error>(frames)
            })
        })
        .collect();
    let mut chains = Vec::with_capacity(tasks.len());
    for task in tasks {
        chains.push(task.await.map_err(Error::internal)??);
    }
    step.finish_and_clear();
    Ok(chains)
}
