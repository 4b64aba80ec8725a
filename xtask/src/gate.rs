//! `cargo xtask test`: every check and test, in phases, cheapest answer first.

use std::io::BufReader;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clamav::Clamd;
use crate::install::Missing;
use crate::postgres::{Cluster, Durability};
use crate::tally::Tally;
use crate::{clamav, deny, gdb, node, postgres, process, protoc};

/// One phase: what it is called, what to do when it fails, and the work.
struct Phase {
    name: &'static str,
    advice: &'static str,
    work: fn(&mut Gate) -> Result<()>,
}

const PHASES: &[Phase] = &[
    Phase { name: "setup", advice: "see the message above, then run again", work: |_| setup() },
    Phase { name: "format", advice: "run `cargo fmt --all` and commit", work: |_| format() },
    Phase {
        name: "clippy",
        advice: "fix the lints above; suppress one only with a reason",
        work: |_| clippy(),
    },
    Phase {
        name: "documentation",
        advice: "fix the documentation comments above",
        work: |_| documentation(),
    },
    Phase { name: "build tests", advice: "fix the compile errors above", work: |_| build_tests() },
    Phase {
        name: "test",
        advice: "one test alone: `cargo xtask pg -- cargo test -p PACKAGE NAME`",
        work: Gate::test,
    },
    Phase {
        name: "dependencies",
        advice: "update or replace the crate; an exception in deny.toml needs a reason",
        work: |_| deny::check(),
    },
];

/// What one phase leaves for later ones and for the report.
struct Gate {
    durability: Durability,
    /// Set once tests have run.
    tally: Option<Tally>,
}

/// Runs all phases and reports.
///
/// # Errors
/// [`Missing`] when a phase lacked a program that could not be installed. Failing checks are reported, with an
/// exit status of 1.
pub fn run(durability: Durability) -> Result<ExitCode> {
    let mut gate = Gate { durability, tally: None };
    let mut times: Vec<(&'static str, Duration)> = Vec::new();
    let mut failure = None;
    for phase in PHASES {
        println!("\n== {}", phase.name);
        let start = Instant::now();
        let result = (phase.work)(&mut gate);
        times.push((phase.name, start.elapsed()));
        if let Err(error) = result {
            failure = Some((phase, error));
            break;
        }
    }
    println!("\n{}", table(&times, failure.is_some()));
    if let Some((phase, error)) = &failure
        && error.downcast_ref::<Missing>().is_none()
    {
        println!("{} failed: {error:#}\nwhat to do: {}\n", phase.name, phase.advice);
    }
    if let Some(tally) = &gate.tally {
        for line in &tally.lines {
            println!("{line}");
        }
        println!("{} passed, {} failed", tally.passed, tally.failed);
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some((_, error)) if error.downcast_ref::<Missing>().is_some() => Err(error),
        Some(_) => Ok(ExitCode::FAILURE),
    }
}

/// Brings what building and testing need; cargo-deny comes later, with its own phase.
pub fn setup() -> Result<()> {
    protoc::bring()?;
    println!("PostgreSQL: {}", postgres::programs()?.display());
    println!("clamd: {}", clamav::program()?.display());
    println!("gdb: {}", gdb::bring()?);
    node::prepare()
}

fn format() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    process::run(&mut cargo)
}

fn documentation() -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut cargo)
}

fn build_tests() -> Result<()> {
    process::run(process::cargo().args(["test", "--locked", "--workspace", "--no-run"]))
}

impl Gate {
    /// Runs all tests beside a private PostgreSQL and clamd, counting as they report.
    fn test(&mut self) -> Result<()> {
        let (cluster, clamd) = (Cluster::start(self.durability)?, Clamd::start()?);
        let mut cargo = process::cargo();
        cargo.args(["test", "--locked", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped());
        cluster.export(&mut cargo);
        clamd.export(&mut cargo);
        println!("$ {}", process::shown(&cargo));
        let mut child = cargo.spawn().context("cannot start cargo")?;
        let tally = self.tally.insert(Tally::default());
        if let Some(output) = child.stdout.take() {
            tally.follow(BufReader::new(output), std::io::stdout())?;
        }
        let status = child.wait().context("cannot wait for cargo")?;
        if !status.success() && tally.failed == 0 {
            // Counted, so that the last line never says that nothing failed.
            tally.failed = 1;
            bail!("a test program ended without a summary ({status}); it is counted as one failed test");
        }
        if !status.success() {
            bail!("{} of {} tests: {}", tally.failed, tally.failed + tally.passed, tally.failures.join(", "));
        }
        if tally.ignored > 0 {
            bail!("{} tests are marked ignored; nothing is skipped here: run or remove them", tally.ignored);
        }
        Ok(())
    }
}

/// The seconds of each phase and their sum.
fn table(times: &[(&str, Duration)], failed: bool) -> String {
    let mut rows: Vec<String> =
        times.iter().map(|(name, time)| format!("{name:<16}{:>8.1} s", time.as_secs_f64())).collect();
    if let (true, Some(last)) = (failed, rows.last_mut()) {
        last.push_str("  FAILED");
    }
    let sum: Duration = times.iter().map(|(_, time)| *time).sum();
    rows.push(format!("{:<16}{:>8.1} s", "all", sum.as_secs_f64()));
    rows.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_phase_that_failed() {
        let times = [("setup", Duration::from_millis(1_250)), ("clippy", Duration::from_secs(70))];
        assert_eq!(
            table(&times, true),
            "setup                1.2 s\nclippy              70.0 s  FAILED\nall                 71.2 s\n"
        );
        assert!(!table(&times, false).contains("FAILED"));
    }
}
