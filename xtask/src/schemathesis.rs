//! `cargo xtask schemathesis`: what the OpenAPI document promises, asked of a real server on both engines.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::clamav::Clamd;
use crate::postgres::{Cluster, Durability};
use crate::{Usage, install, process, protoc};

/// The version whose checks `tests/schemathesis` names.
const VERSION: &str = "4.32.5";

#[derive(Debug)]
struct Options {
    seconds: u32,
    seed: u32,
}

/// Brings Schemathesis, then runs the test area of that name.
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let Options { seconds, seed } = options(arguments)?;
    protoc::bring()?;
    let program = bring()?;
    let (cluster, clamd) = (Cluster::start(Durability::Off)?, Clamd::start()?);
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "--package", "sigilo", "--test", "schemathesis", "--", "--nocapture"]);
    cargo.env("SIGILO_SCHEMATHESIS", program);
    cargo.env("SIGILO_SCHEMATHESIS_SECONDS", seconds.to_string());
    cargo.env("SIGILO_SCHEMATHESIS_SEED", seed.to_string());
    cluster.export(&mut cargo);
    clamd.export(&mut cargo);
    process::exit_code(&mut cargo)
}

/// The program in a virtual environment of its own.
fn bring() -> Result<PathBuf> {
    let folder = process::tools().join(format!("schemathesis-{VERSION}"));
    let program = folder.join("bin/schemathesis");
    if process::answer(&program, &["--version"]).is_some_and(|version| version.contains(VERSION)) {
        return Ok(program);
    }
    if process::answer("python3", &["-c", "import ensurepip, venv"]).is_none() {
        install::packages("Python's venv", &["python3-venv"])?;
    }
    let mut venv = Command::new("python3");
    process::run(venv.args(["-m", "venv", "--clear"]).arg(&folder).stdin(Stdio::null()))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    let package = format!("schemathesis=={VERSION}");
    process::run(pip.args(["install", "--quiet", "--no-input", &package]).stdin(Stdio::null()))?;
    Ok(program)
}

fn options(arguments: &[OsString]) -> Result<Options> {
    let mut options = Options { seconds: 600, seed: 1 };
    let mut rest = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = rest.next() {
        let place = match argument.as_str() {
            "--seconds" => &mut options.seconds,
            "--seed" => &mut options.seed,
            _ => return Err(Usage(format!("unknown argument {argument:?}")).into()),
        };
        let value = rest.next().and_then(|value| value.parse().ok()).filter(|value| *value > 0);
        *place = value.ok_or_else(|| Usage(format!("{argument} needs a whole number above 0")))?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_seconds_and_a_seed() {
        let parsed = options(&["--seconds".into(), "60".into(), "--seed".into(), "7".into()]).unwrap();
        assert_eq!((parsed.seconds, parsed.seed), (60, 7));
        for wrong in [&["--seconds"][..], &["--seed", "0"], &["patient"]] {
            let wrong: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert!(options(&wrong).is_err(), "{wrong:?}");
        }
    }
}
