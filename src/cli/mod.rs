//! The command line. One file a command; exit status 0: done, 1: the answer is no, 2: usage, 3: could not run.

mod admin;
pub(crate) mod bench;
mod chat;
pub mod demo;
mod doctor;
mod migrate;
mod output;
mod policy;
mod qr;
mod records;
mod scanner;
mod serve;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    Error, Result,
    config::{self, Config, Overrides},
};

/// What `--help` says of all commands.
const OVERVIEW: &str = "Example: sigilo serve

Each command has its own --help with an example.
Exit status: 0 done, 1 the answer is no, 2 wrong usage, 3 could not run.";

/// End-to-end encrypted messaging for clinics.
#[derive(Debug, Parser)]
#[command(name = "sigilo", version, propagate_version = true, max_term_width = 110, after_help = OVERVIEW)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server.
    #[command(after_help = "Example: sigilo serve --listen 127.0.0.1:8000 --data ./data")]
    Serve(serve::Serve),
    /// Looks into files in a process of its own, apart from the server.
    #[command(after_help = "Example: sigilo scanner --config sigilo.toml")]
    Scanner(scanner::Scanner),
    /// Brings the databases to this program's schema.
    #[command(after_help = "Example: sigilo migrate --check && echo current")]
    Migrate(migrate::Migrate),
    /// A conversation in the terminal: one profile is one device.
    #[command(after_help = "Example: sigilo chat --profile ~/.sigilo --activate 'sigilo://activate?v=1&...'")]
    Chat(chat::Chat),
    /// The README's story: a patient and a doctor talk, and the server is searched for what they said.
    #[command(after_help = "Example: sigilo demo --keep")]
    Demo(demo::Demo),
    /// Checks configuration, databases, keys, clock and disk, and says what to do.
    #[command(after_help = "Example: sigilo doctor --json")]
    Doctor(doctor::Doctor),
    /// Clinics, their people and what they are allowed, beside the database.
    #[command(subcommand, after_help = "Example: sigilo admin user list --clinic ejemplo")]
    Admin(admin::Admin),
    /// The clinic's root and records keys, on an offline machine.
    #[command(subcommand, after_help = "Example: sigilo records init --request request.json --out ./safe")]
    Records(records::Records),
    /// The clinic's rules.
    #[command(subcommand, after_help = "Example: sigilo policy test policies/tests --policies ./our-rules")]
    Policy(policy::Policy),
    /// Measures the server under load.
    #[command(after_help = "Example: sigilo bench relay --engine sqlite")]
    Bench(bench::Bench),
}

/// How a command ended when it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or the answer is yes. Exit status 0.
    Done,
    /// The answer is no: a check failed, a rule denied. Exit status 1.
    No,
    /// A value nobody can accept. Exit status 2, as for arguments that do not parse.
    Usage,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file [default: sigilo.toml when there is one].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen, over server.listen.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The data folder, over storage.data.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The database, over storage.database_url; without a password.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
}

impl ConfigArgs {
    /// The configuration: file, environment, command line.
    ///
    /// # Errors
    /// As [`config::load`].
    pub fn load(&self) -> Result<Config> {
        let overrides = Overrides {
            listen: self.listen,
            data: self.data.clone(),
            database_url: self.database_url.clone(),
        };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        config::load(self.config.as_deref(), environment, overrides)
    }
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    // Usage errors end here with status 2, help with 0.
    let command = Cli::parse().command;
    if let Command::Scanner(command) = command {
        // Before the runtime has threads.
        return exit(command.run());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::internal(error)),
    };
    let ended = runtime.block_on(dispatch(command));
    // A thread may still wait for a line on stdin; nothing else is under way any more.
    runtime.shutdown_background();
    exit(ended)
}

fn exit(ended: Result<Outcome>) -> ExitCode {
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Usage) => ExitCode::from(2),
        Err(error) => failed(&error),
    }
}

async fn dispatch(command: Command) -> Result<Outcome> {
    match command {
        Command::Serve(command) => command.run().await,
        Command::Scanner(_) => Err(Error::internal("a scanner begins before there are other threads")),
        Command::Migrate(command) => command.run().await,
        Command::Chat(command) => command.run().await,
        Command::Demo(command) => command.run().await,
        Command::Doctor(command) => command.run().await,
        Command::Admin(command) => command.run().await,
        Command::Records(command) => command.run(),
        Command::Policy(command) => command.run().await,
        Command::Bench(command) => command.run().await,
    }
}

/// Says why a command could not run. Denials are an answer, everything else is not.
#[expect(clippy::print_stderr, reason = "the command line speaks to its user")]
fn failed(error: &Error) -> ExitCode {
    let text = match error {
        Error::Internal(text) => text.clone(),
        other => other.to_string(),
    };
    eprintln!("sigilo: {text}");
    ExitCode::from(if matches!(error, Error::Denied(_)) { 1 } else { 3 })
}
