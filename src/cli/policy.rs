//! `sigilo policy`: the rules, what they would say, and what was signed of their decisions.

mod explain;
mod receipt;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Outcome, output};
use crate::{
    Result,
    policy::{
        Policy as Rules,
        cases::{self, Failure},
        domain,
        source::{Problem, Source},
    },
};

/// The clinic's rules.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Says whether the rules are valid; where not, file, line and reason.
    #[command(after_help = "Example: sigilo policy validate --policies ./our-rules")]
    Validate(Which),
    /// Asks every case of a folder's *.json files; exit status 1 when one is answered otherwise.
    #[command(after_help = "Example: sigilo policy test policies/tests")]
    Test {
        /// The folder of cases.
        cases: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Prints, as Markdown, who may write where, start what with whom and fetch whose keys, and which rule refuses what:
    /// asked of the rules themselves.
    #[command(after_help = "Example: sigilo policy table --policies ./our-rules")]
    Table(Which),
    /// Says what the rules would say to an act of somebody at some time, and why: on the facts of the database, doing
    /// nothing. Exit status 1 when they would refuse it.
    #[command(
        after_help = "Example: sigilo policy explain --clinic ejemplo --actor ID --action send_message \
        --resource CONVERSATION --at 2026-12-24T23:00:00-06:00"
    )]
    Explain(explain::Explain),
    /// Says whether the clinic's server signed that it took a message, or refused an act: when, and by which rules. Needs
    /// no server; exit status 1 when it did not.
    #[command(
        after_help = "Example: sigilo policy verify-receipt message.json --clinic-keys safe/clinic-keys.json"
    )]
    VerifyReceipt(receipt::VerifyReceipt),
}

/// Which rules, and how to answer.
#[derive(Debug, Args)]
pub struct Which {
    /// Rules to add to the program's, or to put in their place.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

impl Policy {
    pub(super) async fn run(self) -> Result<Outcome> {
        match self {
            Self::Validate(which) => {
                let source = which.source()?;
                let problems = source.check().err().unwrap_or_default();
                which.report_problems(&source, &problems)
            }
            Self::Test { cases, which } => {
                let source = which.source()?;
                if let Err(problems) = source.check() {
                    return which.report_problems(&source, &problems);
                }
                let cases = cases::read_dir(&cases)?;
                let failures = cases::run(&Rules::new(&source)?, &cases);
                which.report_failures(cases.len(), &failures)
            }
            Self::Table(which) => {
                let source = which.source()?;
                if let Err(problems) = source.check() {
                    return which.report_problems(&source, &problems);
                }
                which.print_tables(&Rules::new(&source)?)?;
                Ok(Outcome::Done)
            }
            Self::Explain(command) => command.run().await,
            Self::VerifyReceipt(command) => command.run(),
        }
    }
}

impl Which {
    fn source(&self) -> Result<Source> {
        let source = Source::embedded();
        match &self.policies {
            Some(dir) => source.with_dir(dir),
            None => Ok(source),
        }
    }

    fn print_tables(&self, rules: &Rules) -> Result<()> {
        let rows = domain::rows(rules)?;
        let (start, keys) = (domain::start_table(rules)?, domain::keys_table(rules)?);
        if self.json {
            let tables = json!({"start_conversation": start, "fetch_keys": keys});
            output::say(json!({"conditions": domain::CONDITIONS, "rows": rows, "tables": tables}))
        } else {
            let write = domain::table(&rows);
            output::say(format_args!(
                "## Writing a message\n\n{write}\n## Starting a conversation\n\n{start}\n## Fetching keys\n\n{keys}"
            ))
        }
    }

    fn report_problems(&self, source: &Source, problems: &[Problem]) -> Result<Outcome> {
        let rules = source.rules.len();
        if self.json {
            output::say(json!({"valid": problems.is_empty(), "rules": rules, "problems": problems}))?;
        } else {
            for problem in problems {
                output::say(problem)?;
            }
            output::say(format_args!("{rules} rules, {} problems", problems.len()))?;
        }
        Ok(if problems.is_empty() { Outcome::Done } else { Outcome::No })
    }

    fn report_failures(&self, cases: usize, failures: &[Failure]) -> Result<Outcome> {
        if self.json {
            output::say(json!({"cases": cases, "failures": failures}))?;
        } else {
            for failure in failures {
                output::say(format_args!("{}: {}", failure.name, failure.problem))?;
            }
            output::say(format_args!("{cases} cases, {} failures", failures.len()))?;
        }
        Ok(if failures.is_empty() { Outcome::Done } else { Outcome::No })
    }
}
