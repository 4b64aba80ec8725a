//! `sigilo bench relay`
//!
//! For each engine: a fresh data folder, a clinic and its pairs; every message sealed and signed beforehand;
//! then the server as a child process, idle sockets, and the phases. At the end, with the server gone, bare
//! inserts into the same database.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use tempfile::TempDir;

use super::{
    Transport,
    ceiling::{self, Echo},
    load::{self, LoadPair, Plan},
    machine::{self, Machine},
    process::Running,
    progress::Progress,
    provision::{self, Provisioned},
    report::{Engine, Idle, Raw, Report, Settings},
    sign::{self, Frame},
    socket::Socket,
    store,
};
use crate::{
    App, Error, Result,
    cli::Outcome,
    clock::{Clock as _, SystemClock},
    config::Config,
    rng::{self, SystemEntropy},
    shutdown,
};

/// Sends and delivers messages between pairs of devices, beside what storage and sockets can do at best.
#[derive(Debug, Args)]
pub(super) struct Relay {
    /// The databases to run on.
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: EngineChoice,
    /// How messages are sent.
    #[arg(long, value_enum, default_value = "both")]
    transport: TransportChoice,
    /// How many pairs of a sending and a receiving device.
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: u16,
    /// The longest time of each phase.
    #[arg(long, value_name = "S", default_value = "10", value_parser = clap::value_parser!(u16).range(1..=120))]
    seconds: u16,
    /// Unanswered sends of a WebSocket.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=64))]
    window: u16,
    /// Messages a second of the paced phases, which show times without queues; 0 leaves them out.
    #[arg(long, value_name = "N", default_value = "200")]
    rate: u32,
    /// Idle sockets to hold open; 0 leaves them out.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    idle: u16,
    /// The most messages a pair sends in a phase [default: enough for its time].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    messages: Option<u32>,
    /// Where the data folder is made, on the disk to be measured [default: the folder for temporary files].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A PostgreSQL server on which databases may be made. A password belongs into the environment.
    #[arg(long, value_name = "URL", env = "SIGILO_TEST_POSTGRES", hide_env_values = true)]
    database_url: Option<String>,
    /// Only the JSON document on stdout; the table goes to stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineChoice {
    Sqlite,
    Postgres,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TransportChoice {
    Ws,
    Http,
    Both,
}

/// Without a number of messages, as many are made as this many a second would use up.
const MADE_FOR_A_SECOND: u32 = 4_000;
/// The bare inserts and the echo need no longer to settle.
const CEILING: Duration = Duration::from_secs(5);
/// Sockets that are open before the idle ones are counted: what the first of a kind costs is not theirs.
const WARM_UP: usize = 32;

/// An engine's data folder and databases.
struct Stores {
    engine: &'static str,
    folder: TempDir,
    url: String,
    postgres: Option<(String, String)>,
}

impl Relay {
    pub(super) async fn run(self) -> Result<Outcome> {
        let progress = Progress::new();
        self.check_open_files()?;
        // The HTTP client's TLS library wants to know; nothing here uses TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut runs = Vec::new();
        for engine in self.engines() {
            let stores = self.stores(engine).await?;
            let ran = self.run_on(&stores, &progress).await;
            let removed = stores.remove().await;
            runs.push(ran?);
            removed?;
        }
        let report = self.report(runs, &progress).await?;
        self.print(&report)?;
        let complete = report
            .engines
            .iter()
            .flat_map(|engine| &engine.phases)
            .all(|phase| phase.delivered == phase.accepted && phase.duplicates == 0);
        Ok(if complete { Outcome::Done } else { Outcome::No })
    }

    fn engines(&self) -> Vec<&'static str> {
        match self.engine {
            EngineChoice::Sqlite => vec!["sqlite"],
            EngineChoice::Postgres => vec!["postgres"],
            EngineChoice::Both => vec!["sqlite", "postgres"],
        }
    }

    /// The phases, in order: each transport at most, then at the rate.
    fn plans(&self) -> Vec<Plan> {
        let transports: &[Transport] = match self.transport {
            TransportChoice::Ws => &[Transport::Ws],
            TransportChoice::Http => &[Transport::Http],
            TransportChoice::Both => &[Transport::Ws, Transport::Http],
        };
        let paced = (self.rate > 0).then(|| f64::from(self.rate));
        let rates = [Some(None), paced.map(Some)];
        let plan = |transport: Transport, rate: Option<f64>| {
            let a_second = rate.map_or(f64::from(MADE_FOR_A_SECOND), f64::from);
            let enough = (a_second * f64::from(self.seconds) / f64::from(self.pairs)).ceil() as usize + 1;
            Plan {
                transport,
                time: Duration::from_secs(self.seconds.into()),
                window: self.window.into(),
                rate,
                messages: self.messages.map_or(enough, |messages| messages as usize),
            }
        };
        transports
            .iter()
            .flat_map(|transport| rates.iter().flatten().map(|rate| plan(*transport, *rate)))
            .collect()
    }

    fn check_open_files(&self) -> Result<()> {
        let needed = u64::from(self.idle) + 3 * u64::from(self.pairs) + 100 + WARM_UP as u64;
        let limit = machine::open_files_limit();
        if needed > limit {
            return Err(Error::internal(format!(
                "{needed} open files are needed and {limit} allowed: run 'ulimit -n {needed}' first, or give \
                 fewer --pairs or --idle"
            )));
        }
        Ok(())
    }

    async fn stores(&self, engine: &'static str) -> Result<Stores> {
        let parent = self.data.clone().unwrap_or_else(std::env::temp_dir);
        let folder =
            tempfile::Builder::new().prefix("sigilo-bench-").tempdir_in(parent).map_err(Error::internal)?;
        if engine == "sqlite" {
            let url = format!("sqlite://{}", folder.path().join("sigilo.db").display());
            return Ok(Stores { engine, folder, url, postgres: None });
        }
        let server = self.database_url.clone().ok_or_else(|| {
            Error::internal("give a PostgreSQL server as --database-url or in SIGILO_TEST_POSTGRES, or run 'cargo xtask bench relay'")
        })?;
        let name = format!("sigilo_bench_{}", std::process::id());
        let url = store::create_database(&server, &name).await?;
        Ok(Stores { engine, folder, url, postgres: Some((server, name)) })
    }

    async fn run_on(&self, stores: &Stores, progress: &Progress) -> Result<Ran> {
        progress.say(&format!("on {}", stores.engine));
        let plans = self.plans();
        let (made, mut pairs) = self.prepare(stores, &plans, progress).await?;
        let frame_bytes = pairs.first().and_then(|pair| pair.frames.first()).map_or(0, Frame::len);

        let server = Running::serve(stores.folder.path(), &stores.url).await?;
        let idle = self.hold_idle(&server, &made, progress).await?;
        let mut phases = Vec::with_capacity(plans.len());
        for plan in plans {
            let pace = plan.rate.map_or_else(|| "at most".to_owned(), |rate| format!("at {rate}/s"));
            progress.say(&format!("{} {pace}, {} s", plan.transport, self.seconds));
            let before = server.cpu_time()?;
            let measured = load::run(&server.address, &mut pairs, &plan).await?;
            let cpu = server.cpu_time()?.saturating_sub(before);
            phases.push(Raw { plan, measured, cpu, resident: server.resident()? });
        }
        server.stop().await?;
        progress.say(&format!("bare inserts, {} s", self.ceiling_time().as_secs()));
        let storage = ceiling::storage(&stores.url, &made, &SystemClock, self.ceiling_time()).await?;
        let machine = Machine::here(stores.folder.path());
        Ok(Ran { machine, frame_bytes, engine: stores.engine, phases, idle, storage })
    }

    /// Makes the clinic and every message the phases may send.
    async fn prepare(
        &self,
        stores: &Stores,
        plans: &[Plan],
        progress: &Progress,
    ) -> Result<(Provisioned, Vec<LoadPair>)> {
        let mut config = Config::for_data(stores.folder.path());
        config.storage.database_url = Some(stores.url.clone());
        let (phase, watch) = shutdown::channel();
        let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy), watch).await?;
        let idle = usize::from(self.idle);
        let idle = if idle == 0 { 0 } else { idle + WARM_UP };
        let made = provision::provision(&app, self.pairs.into(), idle, progress).await;
        phase.send_replace(shutdown::Phase::Stopped);
        app.close().await;
        let made = Arc::new(made?);
        let count = plans.iter().map(|plan| plan.messages).sum();
        let chains = sign_all(&made, count, progress).await?;
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

    async fn hold_idle(
        &self,
        server: &Running,
        made: &Provisioned,
        progress: &Progress,
    ) -> Result<Option<Idle>> {
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
        Ok(Some(Idle {
            connections,
            rss_before_kib: before / 1024,
            rss_after_kib: after / 1024,
            kib_per_connection: after.saturating_sub(before) as f64 / 1024.0 / connections as f64,
        }))
    }

    fn ceiling_time(&self) -> Duration {
        CEILING.min(Duration::from_secs(self.seconds.into()))
    }

    async fn report(&self, runs: Vec<Ran>, progress: &Progress) -> Result<Report> {
        let first = runs.first().ok_or_else(|| Error::internal("no engine ran"))?;
        let (machine, frame_bytes) = (first.machine.clone(), first.frame_bytes);
        progress.say(&format!("bare echo, {} s", self.ceiling_time().as_secs()));
        let clients = 2 * usize::from(self.pairs);
        let echo = ceiling::echo(clients, self.window.into(), frame_bytes, self.ceiling_time()).await?;
        Ok(Report {
            machine,
            settings: Settings {
                pairs: self.pairs.into(),
                seconds: self.seconds.into(),
                window: self.window.into(),
                rate: self.rate.into(),
                frame_bytes,
            },
            echo_ceiling: echo,
            engines: runs.into_iter().map(|ran| ran.against(&echo)).collect(),
        })
    }

    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command's answer")]
    fn print(&self, report: &Report) -> Result<()> {
        let json = serde_json::to_string_pretty(report).map_err(Error::internal)?;
        if self.json {
            eprintln!("{}", report.table());
            println!("{json}");
        } else {
            println!("{}\n{json}", report.table());
        }
        Ok(())
    }
}

/// One engine's run.
struct Ran {
    machine: Machine,
    frame_bytes: usize,
    engine: &'static str,
    phases: Vec<Raw>,
    idle: Option<Idle>,
    storage: ceiling::Storage,
}

impl Ran {
    fn against(self, echo: &Echo) -> Engine {
        Engine {
            engine: self.engine,
            phases: self.phases.into_iter().map(|phase| phase.against(&self.storage, echo)).collect(),
            idle: self.idle,
            storage_ceiling: self.storage,
        }
    }
}

impl Stores {
    async fn remove(self) -> Result<()> {
        match &self.postgres {
            Some((server, name)) => store::drop_database(server, name).await,
            None => Ok(()),
        }
    }
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
