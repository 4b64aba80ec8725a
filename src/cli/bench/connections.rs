//! `sigilo bench connections`
//!
//! What thousands of silent sockets cost: the server's memory for each, and what becomes of the times of those who
//! talk. The same load runs twice on the same server, without the silent sockets and with them.

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{
    Transport,
    ground::{self, EngineChoice, Ground, Stores},
    load::{self, Measured, Plan},
    machine::Machine,
    process::Running,
    progress::Progress,
    report::{self, Idle},
    stats::Percentiles,
};
use crate::{Error, Result, cli::Outcome};

/// Holds thousands of silent sockets open: the memory each takes, and the delivery times beside them.
#[derive(Debug, Args)]
pub(super) struct Connections {
    /// The databases to run on.
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: EngineChoice,
    /// How many silent sockets, each authenticated.
    #[arg(long, value_name = "N", default_value = "20000", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: u32,
    /// How many pairs of a sending and a receiving device talk.
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: u16,
    /// Messages a second of all pairs together.
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The time of each of the two phases.
    #[arg(long, value_name = "S", default_value = "10", value_parser = clap::value_parser!(u16).range(1..=120))]
    seconds: u16,
    #[command(flatten)]
    ground: Ground,
    /// Only the JSON document on stdout; the table goes to stderr.
    #[arg(long)]
    json: bool,
}

/// Everything a run found.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    pairs: u16,
    rate: u32,
    engines: Vec<Engine>,
}

/// One engine's run.
#[derive(Debug, Serialize)]
struct Engine {
    engine: &'static str,
    idle: Idle,
    /// Without the silent sockets.
    before: Phase,
    /// With them.
    beside: Phase,
    /// The median time to delivery with them, of that without.
    delivery_ratio: f64,
}

/// The talking pairs' times.
#[derive(Clone, Copy, Debug, Serialize)]
struct Phase {
    accepted: u64,
    delivered: u64,
    to_receipt: Percentiles,
    to_delivery: Percentiles,
    /// Processor seconds of the server's process in each second of the phase.
    server_cpu_share: f64,
}

impl Connections {
    pub(super) async fn run(self) -> Result<Outcome> {
        let progress = Progress::new();
        ground::check_open_files(self.pairs, self.connections)?;
        let mut report = None;
        for engine in self.engine.names() {
            let stores = Stores::make(engine, &self.ground).await?;
            let ran = self.run_on(&stores, &progress).await;
            let machine = Machine::here(stores.folder.path());
            let removed = stores.remove().await;
            let (pairs, rate) = (self.pairs, self.rate);
            let report = report.get_or_insert_with(|| Report { machine, pairs, rate, engines: Vec::new() });
            report.engines.push(ran?);
            removed?;
        }
        let report = report.ok_or_else(|| Error::internal("no engine ran"))?;
        report::print(&report, &report.table(), self.json)?;
        let phases = report.engines.iter().flat_map(|engine| [engine.before, engine.beside]);
        let complete = phases.into_iter().all(|phase| phase.accepted == phase.delivered);
        Ok(if complete { Outcome::Done } else { Outcome::No })
    }

    async fn run_on(&self, stores: &Stores, progress: &Progress) -> Result<Engine> {
        progress.say(&format!("on {}", stores.engine));
        let (rate, seconds) = (f64::from(self.rate), f64::from(self.seconds));
        let plan = Plan {
            transport: Transport::Ws,
            time: Duration::from_secs(self.seconds.into()),
            window: 8,
            rate: Some(rate),
            messages: (rate * seconds / f64::from(self.pairs)).ceil() as usize + 1,
        };
        let people = (self.pairs, self.connections);
        let (made, mut pairs) = ground::prepare(stores, people, 2 * plan.messages, progress).await?;
        let server = Running::serve(stores.folder.path(), &stores.url, &[]).await?;
        let mut phase = async |name: &str| {
            progress.say(&format!("{name}, {} s", self.seconds));
            let before = server.cpu_time()?;
            let measured = load::run(&server.address, &mut pairs, &plan).await?;
            let cpu = server.cpu_time()?.saturating_sub(before);
            Ok::<_, Error>(Phase::of(measured, cpu))
        };
        let before = phase("without them").await?;
        let held = ground::hold_idle(&server, &made, progress).await?;
        let (idle, open) = held.ok_or_else(|| Error::internal("there are no idle sockets"))?;
        let beside = phase("beside them").await?;
        drop(open);
        server.stop().await?;
        let delivery_ratio = beside.to_delivery.p50_ms / before.to_delivery.p50_ms;
        Ok(Engine { engine: stores.engine, idle, before, beside, delivery_ratio })
    }
}

impl Phase {
    fn of(measured: Measured, cpu: Duration) -> Self {
        Self {
            accepted: measured.accepted,
            delivered: measured.delivered,
            to_receipt: measured.receipt.percentiles(),
            to_delivery: measured.delivery.percentiles(),
            server_cpu_share: cpu.as_secs_f64() / measured.time.as_secs_f64().max(f64::EPSILON),
        }
    }
}

impl Report {
    fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        self.machine.write_line(text)?;
        for engine in &self.engines {
            let Engine { engine, idle, before, beside, delivery_ratio } = engine;
            writeln!(
                text,
                "\n{engine}: {} silent sockets take {:.1} KiB each ({} to {} KiB)",
                idle.connections, idle.kib_per_connection, idle.rss_before_kib, idle.rss_after_kib
            )?;
            let times = |p: Percentiles| format!("{:.1} {:.1} {:.1}", p.p50_ms, p.p95_ms, p.p99_ms);
            for (name, phase) in [("without them", before), ("beside them", beside)] {
                writeln!(
                    text,
                    "{name:<13} {}/s: to receipt {} ms, to delivery {} ms (p50 p95 p99), {:.2} CPU s a second",
                    self.rate,
                    times(phase.to_receipt),
                    times(phase.to_delivery),
                    phase.server_cpu_share
                )?;
            }
            writeln!(text, "delivery beside them takes {delivery_ratio:.2} times as long (p50)")?;
        }
        Ok(())
    }
}
