//! `sigilo admin quarantine`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_seal::{ScanResult, Verdict};
use sigilo_wire::{
    FileId,
    vault::{FileStatus, StoredFile},
};

use super::Beside;
use crate::{
    Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    paging::Paging,
    vault::quarantine,
};

/// Files that were found infected.
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// Lists the files that were found infected and are not destroyed, with what was found.
    #[command(after_help = "Example: sigilo admin quarantine list --clinic ejemplo --json")]
    List(Which),
    /// Destroys a file that was found infected, for good: nobody reads it any more, in backups neither. To call a
    /// finding false takes two moderators, each on a device of their own.
    #[command(after_help = "Example: sigilo admin quarantine destroy --clinic ejemplo \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    Destroy {
        /// The file, as `list` shows it.
        id: FileId,
        #[command(flatten)]
        which: Which,
    },
}

/// Which clinic, and how to answer.
#[derive(Debug, Args)]
pub struct Which {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How many are read at a time.
const PAGE: usize = 100;

impl Quarantine {
    pub(super) async fn run(self) -> Result<Outcome> {
        let (Self::List(which) | Self::Destroy { which, .. }) = &self;
        let beside = Beside::open(&which.config).await?;
        let came_of_it = match &self {
            Self::List(_) => which.list(&beside).await,
            Self::Destroy { id, .. } => which.destroy(&beside, *id).await,
        };
        beside.close().await;
        finish(which.json, came_of_it)
    }
}

impl Which {
    async fn list(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = quarantine::authorize_manage(&beside.app, &ctx).await?;
        let mut found = Vec::new();
        let mut paging = Paging::of(PAGE);
        loop {
            let page = quarantine::list(&beside.app, &ctx, &grant, &paging).await?;
            found.extend(page.results);
            paging.cursor = page.next_cursor;
            if paging.cursor.is_none() {
                break;
            }
        }
        let mut text = String::new();
        for file in &found {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", line(file));
        }
        if found.is_empty() {
            text.push_str("No file of this clinic is in quarantine.");
        }
        Ok(Answer {
            json: json!({"clinic_id": ctx.tenant, "files": found}),
            text: text.trim_end().to_owned(),
        })
    }

    async fn destroy(&self, beside: &Beside, id: FileId) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = quarantine::authorize_manage(&beside.app, &ctx).await?;
        quarantine::destroy(&beside.app, &ctx, &grant, id).await?;
        Ok(Answer {
            json: json!({"file_id": id, "destroyed": true}),
            text: format!(
                "{id} is destroyed. Those who take part are told when their devices next hear from the server."
            ),
        })
    }
}

/// A file for a person: which, what was found, what was said of it.
fn line(file: &StoredFile) -> String {
    let verdict = file.verdict.as_ref().and_then(|said| Verdict::decode(&said.statement.0).ok());
    let found = match verdict.as_ref().map(|verdict| &verdict.result) {
        Some(ScanResult::Infected(name)) => name.as_str(),
        _ => "?",
    };
    let said = match (file.status, file.releases.len()) {
        (FileStatus::Active, _) => ", released by two moderators",
        (_, 1..) => ", called false by one moderator",
        _ => "",
    };
    let id = file.file_id;
    format!(
        "{id}  {found}  {}, {} bytes, uploaded {} by {}{said}",
        file.mime_type, file.length, file.uploaded_at, file.uploader_id
    )
}
