//! `sigilo demo`: the README's story on a real server with real clients, each in a process of its own, and then
//! the question what the server knows of it.

mod actor;
mod bundle;
pub mod hunt;
mod lines;
mod narrator;
mod stage;
pub(crate) mod store;
mod story;

use clap::Args;

use super::Outcome;
use crate::Result;
use narrator::Narrator;
use stage::Stage;

/// A patient and a doctor exchange messages that the server provably cannot read.
#[derive(Debug, Args)]
pub struct Demo {
    /// Keeps the folder with everything the demo made.
    #[arg(long)]
    keep: bool,
    /// One JSON document on stdout; the story goes to stderr.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(super) async fn run(self) -> Result<Outcome> {
        let mut narrator = Narrator::new(self.json);
        let mut stage = Stage::new()?;
        let told = story::tell(&mut stage, &mut narrator).await;
        if let Err(error) = &told {
            narrator.failed(&error.to_string());
        }
        let good = told.is_ok() && narrator.all_checked();
        let kept = stage.end(self.keep || !good).await;
        narrator.end(good, kept.as_deref());
        Ok(if good { Outcome::Done } else { Outcome::No })
    }
}
