//! What a run found, as a table for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::load::Cost;
use crate::{
    cli::bench::{machine::Machine, stats::Percentiles},
    scanner::EngineState,
};

/// What is aimed at.
pub(super) const AIMS: Aims = Aims { of_clamd: 0.9, of_bare_work: 0.6, bytes_per_upload: 1024 * 1024 };

/// See [`AIMS`].
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Aims {
    /// Files with their scan, of those that clamd alone looks into: at least.
    of_clamd: f64,
    /// Files with a scan without an engine, of those that the bare work gets through: at least.
    of_bare_work: f64,
    /// The memory of an upload under way: at most.
    bytes_per_upload: i64,
}

/// Everything a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// What looked into the files: without signatures of the maker it is faster.
    pub(super) clamd: EngineState,
    pub(super) settings: Settings,
    pub(super) aims: Aims,
    pub(super) engines: Vec<Engine>,
}

/// How it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Settings {
    /// Files of a round.
    pub(super) files: u16,
    /// The length of a file in bytes, before it is encrypted.
    pub(super) bytes: u64,
    /// Files uploaded, and files looked into, at once.
    pub(super) at_once: u16,
    /// Uploads held open.
    pub(super) held: u16,
    /// Downloads of one file.
    pub(super) downloads: u16,
    /// What the noise was made from.
    pub(super) seed: u64,
}

/// One engine's run.
#[derive(Debug, Serialize)]
pub(super) struct Engine {
    pub(super) engine: &'static str,
    /// From a file's first byte to clamd's verdict; the ceiling is clamd alone.
    pub(super) scan: Compared,
    /// From a file's first byte to a verdict without an engine; the ceiling is the bare work.
    pub(super) without_engine: Compared,
    pub(super) memory: Memory,
    pub(super) download: Download,
}

/// Ours and what could be at best, in turns.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    /// The median.
    bytes_per_s: f64,
    /// The median.
    ceiling_bytes_per_s: f64,
    /// The median of the rounds' shares.
    of_ceiling: f64,
    rounds: Vec<Round>,
}

/// One turn of each.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Round {
    /// Ours, in bytes of the files before they are encrypted.
    pub(super) bytes_per_s: f64,
    /// The ceiling.
    pub(super) ceiling_bytes_per_s: f64,
}

impl Compared {
    pub(super) fn of(rounds: Vec<Round>) -> Self {
        Self {
            bytes_per_s: median(rounds.iter().map(|round| round.bytes_per_s)),
            ceiling_bytes_per_s: median(rounds.iter().map(|round| round.ceiling_bytes_per_s)),
            of_ceiling: median(rounds.iter().map(|round| round.bytes_per_s / round.ceiling_bytes_per_s)),
            rounds,
        }
    }
}

/// The one in the middle; of an even number, the middle of the two. Zero when there is none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    } else {
        at(middle)
    }
}

/// What uploads cost that have stopped half way.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    uploads: u16,
    rss_before_kib: u64,
    rss_after_kib: u64,
    bytes_per_upload: i64,
    /// The most the server ever had until all files had their verdicts.
    peak_rss_kib: u64,
}

impl Memory {
    pub(super) fn of(uploads: u16, cost: &Cost, peak_rss_kib: u64) -> Self {
        let grown = cost.after.cast_signed() - cost.before.cast_signed();
        Self {
            uploads,
            rss_before_kib: cost.before / 1024,
            rss_after_kib: cost.after / 1024,
            bytes_per_upload: grown / i64::from(uploads.max(1)),
            peak_rss_kib,
        }
    }
}

/// From the request for a file to its first byte.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Download {
    /// Of the vault.
    pub(super) first_byte: Percentiles,
    /// Of a bare server that gives out a file as it is.
    pub(super) bare_first_byte: Percentiles,
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
        let Settings { files, bytes, at_once, seed, .. } = self.settings;
        writeln!(text, "{files} files of {bytes} bytes a round, {at_once} at once, seed {seed}")?;
        let signatures =
            if self.clamd.official { &self.clamd.database } else { "none of the maker's signatures" };
        writeln!(text, "{}, {signatures}", self.clamd.engine)?;
        for engine in &self.engines {
            self.write_engine(engine, text)?;
        }
        Ok(())
    }

    fn write_engine(&self, found: &Engine, text: &mut String) -> std::fmt::Result {
        let Engine { engine, scan, without_engine, memory, download } = found;
        writeln!(text, "\n{engine:<30} {:>8} {:>8} {:>7} {:>7}", "MB/s", "ceiling", "of it", "aim")?;
        for (name, compared, aim) in [
            ("to clamd's verdict", scan, self.aims.of_clamd),
            ("to a verdict without engine", without_engine, self.aims.of_bare_work),
        ] {
            let Compared { bytes_per_s, ceiling_bytes_per_s, of_ceiling, .. } = compared;
            writeln!(
                text,
                "{name:<30} {:>8.1} {:>8.1} {:>6.0}% {:>6.0}% {}",
                bytes_per_s / 1e6,
                ceiling_bytes_per_s / 1e6,
                of_ceiling * 100.0,
                aim * 100.0,
                met(*of_ceiling >= aim)
            )?;
        }
        let kib = |bytes: i64| bytes as f64 / 1024.0;
        writeln!(
            text,
            "{} uploads held open half way take {:.1} KiB each ({} to {} KiB); at most {:.0}: {}",
            memory.uploads,
            kib(memory.bytes_per_upload),
            memory.rss_before_kib,
            memory.rss_after_kib,
            kib(self.aims.bytes_per_upload),
            met(memory.bytes_per_upload <= self.aims.bytes_per_upload)
        )?;
        writeln!(text, "the server's memory was {} KiB at most", memory.peak_rss_kib)?;
        for (name, times) in [("vault", download.first_byte), ("bare server", download.bare_first_byte)] {
            let Percentiles { p50_ms, p99_ms, max_ms, .. } = times;
            writeln!(
                text,
                "first byte, {name:<12} {p50_ms:>8.2} {p99_ms:>8.2} {max_ms:>8.2} ms (p50 p99 max)"
            )?;
        }
        Ok(())
    }
}

const fn met(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_round_does_not_count() {
        let round = |ours, ceiling| Round { bytes_per_s: ours, ceiling_bytes_per_s: ceiling };
        let compared = Compared::of(vec![round(1.0, 10.0), round(9.0, 10.0), round(10.0, 20.0)]);
        assert_eq!(
            (compared.bytes_per_s, compared.ceiling_bytes_per_s, compared.of_ceiling),
            (9.0, 10.0, 0.5)
        );
        let even = Compared::of(vec![round(1.0, 2.0), round(2.0, 2.0)]);
        assert_eq!(even.of_ceiling, 0.75);
        assert_eq!(Compared::of(Vec::new()).of_ceiling, 0.0);
    }
}
