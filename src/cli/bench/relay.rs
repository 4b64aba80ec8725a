//! `sigilo bench relay`
//!
//! For each engine: a fresh data folder, a clinic and its pairs; every message sealed and signed beforehand;
//! then the server as a child process, idle sockets, and the phases. At the end, with the server gone, bare
//! inserts into the same database.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    Transport,
    ceiling::{self, Echo},
    ground::{self, EngineChoice, Ground, Stores},
    load::{self, Plan},
    machine::Machine,
    process::Running,
    progress::Progress,
    report::{self, Engine, Idle, Raw, Report, Settings},
    sign::Frame,
};
use crate::{Error, Result, cli::Outcome, clock::SystemClock};

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
    #[command(flatten)]
    ground: Ground,
    /// Only the JSON document on stdout; the table goes to stderr.
    #[arg(long)]
    json: bool,
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
impl Relay {
    pub(super) async fn run(self) -> Result<Outcome> {
        let progress = Progress::new();
        ground::check_open_files(self.pairs, self.idle.into())?;
        let mut runs = Vec::new();
        for engine in self.engine.names() {
            let stores = Stores::make(engine, &self.ground).await?;
            let ran = self.run_on(&stores, &progress).await;
            let removed = stores.remove().await;
            runs.push(ran?);
            removed?;
        }
        let report = self.report(runs, &progress).await?;
        report::print(&report, &report.table(), self.json)?;
        let complete = report
            .engines
            .iter()
            .flat_map(|engine| &engine.phases)
            .all(|phase| phase.delivered == phase.accepted && phase.duplicates == 0);
        Ok(if complete { Outcome::Done } else { Outcome::No })
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

    async fn run_on(&self, stores: &Stores, progress: &Progress) -> Result<Ran> {
        progress.say(&format!("on {}", stores.engine));
        let plans = self.plans();
        let messages = plans.iter().map(|plan| plan.messages).sum();
        let (made, mut pairs) =
            ground::prepare(stores, (self.pairs, self.idle.into()), messages, progress).await?;
        let frame_bytes = pairs.first().and_then(|pair| pair.frames.first()).map_or(0, Frame::len);

        let server = Running::serve(stores.folder.path(), &stores.url, &[]).await?;
        // The sockets are open until the server has ended.
        let (idle, _open) = ground::hold_idle(&server, &made, progress).await?.unzip();
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
