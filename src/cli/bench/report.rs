//! What a run found, as a table for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Transport,
    ceiling::{Echo, Storage},
    load::{Measured, Plan},
    machine::Machine,
    stats::{Percentiles, rate},
};
use crate::{Error, Result, cli::output};

/// Everything a run found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// What it was measured on.
    pub(super) machine: Machine,
    /// How.
    pub(super) settings: Settings,
    /// Frames sent back by a server that does nothing else.
    pub(super) echo_ceiling: Echo,
    /// The relay on each engine.
    pub(super) engines: Vec<Engine>,
}

/// How it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Settings {
    /// Sending and receiving devices, each this many.
    pub(super) pairs: usize,
    /// The longest time of a phase, in seconds.
    pub(super) seconds: u64,
    /// Unanswered sends of a WebSocket.
    pub(super) window: usize,
    /// The offered rate of the paced phases, in messages a second.
    pub(super) rate: f64,
    /// The length of a `send_message` frame in bytes.
    pub(super) frame_bytes: usize,
}

/// The relay on one engine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Engine {
    /// `sqlite` or `postgres`.
    pub(super) engine: &'static str,
    /// In the order they ran.
    pub(super) phases: Vec<Phase>,
    /// What a socket costs that says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idle: Option<Idle>,
    /// Bare inserts of the same rows.
    pub(super) storage_ceiling: Storage,
}

/// What a socket costs that says nothing.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Idle {
    /// How many were opened.
    pub(super) connections: usize,
    /// The server's memory before, in KiB.
    pub(super) rss_before_kib: u64,
    /// With the connections, in KiB.
    pub(super) rss_after_kib: u64,
    /// The difference for each, in KiB.
    pub(super) kib_per_connection: f64,
}

/// One way of sending.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Phase {
    /// Over what.
    pub(super) transport: Transport,
    /// The offered rate; absent when as fast as answers came.
    pub(super) offered_per_s: Option<f64>,
    /// Sends the server accepted.
    pub(super) accepted: u64,
    /// Messages that reached their receiver.
    pub(super) delivered: u64,
    /// Messages that reached it twice.
    pub(super) duplicates: u64,
    /// From the first send to the last receipt, in seconds.
    pub(super) seconds: f64,
    /// Accepted a second.
    pub(super) messages_per_s: f64,
    /// From send to receipt.
    pub(super) to_receipt: Percentiles,
    /// From send to the receiver's device.
    pub(super) to_delivery: Percentiles,
    /// From send until the sender's device knows that it was delivered.
    pub(super) to_mark: Percentiles,
    /// Processor seconds of the server's process for 1,000 messages, deliveries included.
    pub(super) server_cpu_s_per_1000: f64,
    /// The server's memory at the end, in KiB.
    pub(super) server_rss_kib: u64,
    /// WebSocket frames in and out a second; HTTP requests and answers do not count.
    pub(super) frames_per_s: f64,
    /// Messages a second, of those the bare inserts reach.
    pub(super) of_storage_ceiling: f64,
    /// Frames a second, of those the bare echo reaches.
    pub(super) of_echo_ceiling: f64,
}

/// A phase as measured, before the ceilings are known.
pub(super) struct Raw {
    /// How it was sent.
    pub(super) plan: Plan,
    /// What it came to.
    pub(super) measured: Measured,
    /// What the server's process used.
    pub(super) cpu: std::time::Duration,
    /// The server's memory at its end, in bytes.
    pub(super) resident: u64,
}

impl Raw {
    /// Set against the ceilings.
    pub(super) fn against(self, storage: &Storage, echo: &Echo) -> Phase {
        let Measured { accepted, delivered, duplicates, time, receipt, delivery, mark, .. } = self.measured;
        let messages_per_s = rate(accepted, time);
        let frames_per_s = rate(self.measured.frames_in + self.measured.frames_out, time);
        Phase {
            transport: self.plan.transport,
            offered_per_s: self.plan.rate,
            accepted,
            delivered,
            duplicates,
            seconds: time.as_secs_f64(),
            messages_per_s,
            to_receipt: receipt.percentiles(),
            to_delivery: delivery.percentiles(),
            to_mark: mark.percentiles(),
            server_cpu_s_per_1000: self.cpu.as_secs_f64() * 1_000.0 / (accepted.max(1) as f64),
            server_rss_kib: self.resident / 1024,
            frames_per_s,
            of_storage_ceiling: ratio(messages_per_s, storage.messages_per_s),
            of_echo_ceiling: ratio(frames_per_s, 2.0 * echo.echoes_per_s),
        }
    }
}

/// A report as the command's answer: its table and its JSON document, or only the latter on stdout.
///
/// # Errors
/// When it has no JSON form.
#[expect(clippy::print_stderr, reason = "the command's answer")]
pub(super) fn print(report: &impl Serialize, table: &str, only_json: bool) -> Result<()> {
    let json = serde_json::to_string_pretty(report).map_err(Error::internal)?;
    if only_json {
        eprintln!("{table}");
        output::say(json)
    } else {
        output::say(format_args!("{table}\n{json}"))
    }
}

fn ratio(ours: f64, ceiling: f64) -> f64 {
    if ceiling > 0.0 { ours / ceiling } else { 0.0 }
}

impl Report {
    /// The table.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        self.machine.write_line(text)?;
        let Settings { pairs, window, frame_bytes, .. } = self.settings;
        writeln!(text, "{pairs} pairs, {window} unanswered sends a socket, frames of {frame_bytes} bytes")?;
        let echo = &self.echo_ceiling;
        writeln!(
            text,
            "\nbare echo: {:.0} echoes/s, {} clients, {:.3} CPU s for 1,000",
            echo.echoes_per_s, echo.clients, echo.server_cpu_s_per_1000
        )?;
        for engine in &self.engines {
            engine.write_table(text)?;
        }
        Ok(())
    }
}

impl Engine {
    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let Storage { batch, messages_per_s, .. } = self.storage_ceiling;
        writeln!(
            text,
            "\n{}: bare inserts {messages_per_s:.0} messages/s, {batch} a transaction",
            self.engine
        )?;
        writeln!(
            text,
            "{:<16} {:>8} {:>8} {:>7} {:>22} {:>22} {:>9} {:>9} {:>8}",
            "", "accepted", "msg/s", "of", "to receipt ms", "to delivery ms", "CPU s", "frames/s", "of"
        )?;
        writeln!(
            text,
            "{:<16} {:>8} {:>8} {:>7} {:>22} {:>22} {:>9} {:>9} {:>8}",
            "", "", "", "inserts", "p50 p95 p99", "p50 p95 p99", "per 1,000", "", "echo"
        )?;
        for phase in &self.phases {
            let name = match phase.offered_per_s {
                Some(rate) => format!("{} at {rate:.0}/s", phase.transport),
                None => format!("{} at most", phase.transport),
            };
            let times = |p: Percentiles| format!("{:.1} {:.1} {:.1}", p.p50_ms, p.p95_ms, p.p99_ms);
            writeln!(
                text,
                "{name:<16} {:>8} {:>8.0} {:>6.0}% {:>22} {:>22} {:>9.3} {:>9.0} {:>7.0}%",
                phase.accepted,
                phase.messages_per_s,
                phase.of_storage_ceiling * 100.0,
                times(phase.to_receipt),
                times(phase.to_delivery),
                phase.server_cpu_s_per_1000,
                phase.frames_per_s,
                phase.of_echo_ceiling * 100.0,
            )?;
        }
        if let Some(idle) = &self.idle {
            writeln!(
                text,
                "idle sockets: {} take {:.1} KiB each ({} to {} KiB)",
                idle.connections, idle.kib_per_connection, idle.rss_before_kib, idle.rss_after_kib
            )?;
        }
        Ok(())
    }
}
