//! `sigilo doctor`: everything a server needs, looked at one by one, with what to do. Changes nothing.

mod checks;
mod vault;

use clap::Args;
use serde::Serialize;

use super::{ConfigArgs, Outcome, output};
use crate::{Error, Result, clock::SystemClock};

/// Checks configuration, databases, keys, files, scanner, clock and disk, and says what to do. Exit status 1 when something is
/// wrong.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// What was found about one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    name: &'static str,
    ok: bool,
    /// What is there; when something is wrong, what to do.
    detail: String,
}

impl Finding {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: true, detail: detail.into() }
    }

    fn bad(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: false, detail: detail.into() }
    }

    fn of(name: &'static str, result: Result<String>) -> Self {
        match result {
            Ok(detail) => Self::good(name, detail),
            Err(Error::Internal(problem)) => Self::bad(name, problem),
            Err(error) => Self::bad(name, error.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    version: &'static str,
    findings: &'a [Finding],
}

impl Doctor {
    pub(super) async fn run(self) -> Result<Outcome> {
        let findings = match self.config.load() {
            Ok(config) => checks::all(&config, &SystemClock).await,
            // Without a configuration there is nothing else to look at.
            Err(error) => vec![Finding::of("configuration", Err(error))],
        };
        let ok = findings.iter().all(|finding| finding.ok);
        if self.json {
            let report = Report { ok, version: env!("CARGO_PKG_VERSION"), findings: &findings };
            output::say(serde_json::to_string_pretty(&report).map_err(Error::internal)?)?;
        } else {
            for finding in &findings {
                let mark = if finding.ok { "ok  " } else { "FAIL" };
                output::say(format_args!("{mark}  {:<14} {}", finding.name, finding.detail))?;
            }
        }
        Ok(if ok { Outcome::Done } else { Outcome::No })
    }
}
