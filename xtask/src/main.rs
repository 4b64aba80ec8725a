//! The project's own commands, run as `cargo xtask COMMAND`; `cargo xtask --help` lists them.
//!
//! A fresh Debian with git, curl, a C compiler and Rust is enough to start: the commands bring or install the
//! rest, or say exactly what to install.
//!
//! Reading order: [`gate`] is `cargo xtask test`, phase by phase; [`process`] runs other programs;
//! [`protoc`], [`postgres`], [`clamav`], [`node`], [`gdb`] and [`deny`] are the programs the phases need; [`tally`] counts
//! tests.
//!
//! Exit status: 0 done, 1 a check or test failed, 2 usage, 3 something is missing that could not be installed.

mod clamav;
mod deny;
mod fuzz;
mod gate;
mod gdb;
mod help;
mod install;
mod node;
mod postgres;
mod process;
mod protoc;
mod schemathesis;
mod tally;

use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::clamav::Clamd;
use crate::install::Missing;
use crate::postgres::{Cluster, Durability};

/// Conversations between patients and doctors, relative to the workspace.
const DIALOGUES: &str = "../shared/data/mts-dialog/MTS-Dialog-ValidationSet.csv";

/// The command line was not understood; the text says why.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            if error.downcast_ref::<Usage>().is_some() {
                eprintln!("xtask: `cargo xtask --help` lists the commands");
                ExitCode::from(2)
            } else if error.downcast_ref::<Missing>().is_some() {
                ExitCode::from(3)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn dispatch(arguments: &[OsString]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{}", help::OVERVIEW);
        return Ok(ExitCode::from(2));
    };
    let command = command.to_str().unwrap_or_default();
    // Only as the first argument: later ones may be meant for the program that `demo`, `bench` or `pg` runs.
    let known = matches!(command, "setup" | "test" | "demo" | "bench" | "fuzz" | "schemathesis" | "pg");
    if known && rest.first().is_some_and(|first| first == "--help" || first == "-h") {
        print!("{}", help::of(command));
        return Ok(ExitCode::SUCCESS);
    }
    match command {
        "setup" => setup(rest),
        "test" => gate::run(durability(rest)?),
        "demo" => demo(rest),
        "bench" => bench(rest),
        "fuzz" => fuzz::run(rest),
        "schemathesis" => schemathesis::run(rest),
        "pg" => with_services(rest),
        postgres::GUARD => postgres::guard(durability(rest)?).map(|()| ExitCode::SUCCESS),
        clamav::GUARD => clamav::guard().map(|()| ExitCode::SUCCESS),
        "--help" | "-h" | "help" => {
            print!("{}", help::OVERVIEW);
            Ok(ExitCode::SUCCESS)
        }
        unknown => Err(Usage(format!("unknown command {unknown:?}")).into()),
    }
}

fn setup(arguments: &[OsString]) -> Result<ExitCode> {
    if let Some(unknown) = arguments.first() {
        return Err(Usage(format!("setup takes no argument, got {unknown:?}")).into());
    }
    gate::setup()?;
    deny::tool()?;
    println!("everything `cargo xtask test` needs is here");
    Ok(ExitCode::SUCCESS)
}

/// Reads the only option `test` and the guard know.
fn durability(arguments: &[OsString]) -> Result<Durability> {
    match arguments {
        [] => Ok(Durability::Off),
        [option] if option == "--durable" => Ok(Durability::On),
        [unknown, ..] => Err(Usage(format!("unknown argument {unknown:?}")).into()),
    }
}

/// Builds the server, showing cargo's progress, and runs `sigilo demo` beside a private clamd. The terminal is the
/// demo's own.
fn demo(arguments: &[OsString]) -> Result<ExitCode> {
    const SIGILO: [&str; 5] = ["--locked", "--package", "sigilo", "--bin", "sigilo"];
    protoc::bring()?;
    eprintln!("xtask: building sigilo; the first build takes some minutes, later ones seconds");
    let built = process::cargo().arg("build").args(SIGILO).status().context("cannot start cargo")?;
    if !built.success() {
        bail!("sigilo was not built ({built})");
    }
    let mut cargo = process::cargo();
    cargo.arg("run").args(SIGILO).args(["--quiet", "--", "demo"]).args(arguments).stdin(Stdio::inherit());
    cargo.args(dialogue(arguments));
    let clamd = Clamd::start()?;
    clamd.export(&mut cargo);
    process::exit_code(&mut cargo)
}

/// The real dialogues beside the project, for a demo that was not told what to say; says what it found.
fn dialogue(arguments: &[OsString]) -> Vec<OsString> {
    let told = |argument: &OsString| argument.to_string_lossy().starts_with("--lines");
    if arguments.iter().any(told) {
        return Vec::new();
    }
    let file = process::root().join(DIALOGUES);
    if !file.is_file() {
        eprintln!("xtask: no {DIALOGUES} here: the demo's people say lines of its own");
        return Vec::new();
    }
    eprintln!("xtask: the demo's people say a dialogue of {DIALOGUES} (MTS-Dialog, CC BY 4.0)");
    vec!["--lines".into(), file.into()]
}

/// `sigilo bench` in release, with a PostgreSQL that flushes to disk as in production.
fn bench(arguments: &[OsString]) -> Result<ExitCode> {
    protoc::bring()?;
    let cluster = Cluster::start(Durability::On)?;
    let mut cargo = process::cargo();
    cargo.args(["run", "--locked", "--release", "--package", "sigilo", "--bin", "sigilo", "--", "bench"]);
    cargo.args(arguments);
    let clamd = Clamd::start()?;
    cluster.export(&mut cargo);
    clamd.export(&mut cargo);
    process::exit_code(&mut cargo)
}

fn with_services(arguments: &[OsString]) -> Result<ExitCode> {
    let (durability, rest) = match arguments {
        [option, rest @ ..] if option == "--durable" => (Durability::On, rest),
        rest => (Durability::Off, rest),
    };
    let [separator, program, program_arguments @ ..] = rest else {
        return Err(Usage("pg needs a command: cargo xtask pg -- psql".into()).into());
    };
    if separator != "--" {
        return Err(Usage(format!("unknown argument {separator:?}; the command goes after --")).into());
    }
    protoc::bring()?;
    let (cluster, clamd) = (Cluster::start(durability)?, Clamd::start()?);
    let mut command = Command::new(program);
    command.args(program_arguments);
    process::forget_our_package(&mut command);
    cluster.export(&mut command);
    clamd.export(&mut command);
    process::exit_code(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<ExitCode> {
        dispatch(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error() {
        for arguments in [
            &["tset"][..],
            &["test", "--fast"],
            &["test", "--durable", "again"],
            &["setup", "now"],
            &["fuzz", "--seconds"],
            &["fuzz", "nothing"],
            &["schemathesis", "--seed", "0"],
            &["pg"],
            &["pg", "--"],
            &["pg", "psql", "-l"],
        ] {
            let error = run(arguments).expect_err("must be refused");
            assert!(error.downcast_ref::<Usage>().is_some(), "{arguments:?}: {error:#}");
        }
    }

    #[test]
    fn a_demo_that_was_told_what_to_say_says_that() {
        for told in [&["--lines", "mine.csv"][..], &["--keep", "--lines=mine.csv"]] {
            let told: Vec<OsString> = told.iter().map(OsString::from).collect();
            assert!(dialogue(&told).is_empty(), "{told:?}");
        }
    }

    #[test]
    fn durable_is_the_only_option() {
        assert!(matches!(durability(&[]), Ok(Durability::Off)));
        assert!(matches!(durability(&["--durable".into()]), Ok(Durability::On)));
    }
}
