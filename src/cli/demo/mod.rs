//! `sigilo demo`: the README's story on a real server with real clients, each in a process of its own, and then
//! the question what the server knows of it.

mod actor;
mod bundle;
pub(super) mod clock;
mod devices;
mod evening;
mod files;
mod glass;
pub mod hunt;
mod identity;
mod line;
mod lines;
mod narrator;
mod night;
mod pdf;
mod stage;
pub(crate) mod store;
mod story;
mod together;

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use crate::Result;
use lines::Dialogue;
use narrator::Narrator;
use stage::Stage;

/// A patient and a doctor exchange messages that the server provably cannot read.
#[derive(Debug, Args)]
pub struct Demo {
    /// Keeps the folder with everything the demo made.
    #[arg(long)]
    keep: bool,
    /// What they say: the first long dialogue of a CSV file with a column `dialogue` of `Doctor: ...` and
    /// `Patient: ...` lines [default: lines of the demo's own].
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// One JSON document on stdout; the story goes to stderr.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(super) async fn run(self) -> Result<Outcome> {
        let dialogue = Dialogue::of(self.lines.as_deref())?;
        let mut stage = Stage::new()?;
        let mut narrator = Narrator::new(self.json, stage.scans());
        let told = story::tell(&mut stage, &mut narrator, &dialogue).await;
        if let Err(error) = &told {
            narrator.failed(&error.to_string());
        }
        let good = told.is_ok() && narrator.all_checked();
        let kept = stage.end(self.keep || !good).await;
        narrator.end(good, kept.as_deref());
        Ok(if good { Outcome::Done } else { Outcome::No })
    }
}
