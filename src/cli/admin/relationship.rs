//! `sigilo admin relationship`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::RelationshipId;

use super::Beside;
use crate::{
    Error, Result,
    blocks::{self, BlockSummary},
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    relationships::{self, RelationshipSummary},
};

/// Who treats whom.
#[derive(Debug, Subcommand)]
pub enum Relationship {
    /// Lists the clinic's relationships, those revoked among them.
    #[command(after_help = "Example: sigilo admin relationship list --clinic ejemplo --json")]
    List(Which),
    /// Lists who has blocked whom, and why: nothing passes between those two in conversations of just them.
    #[command(after_help = "Example: sigilo admin relationship blocks --clinic ejemplo --json")]
    Blocks(Which),
    /// Ends what stands between a relationship's patient and clinician: new messages stop at once, history
    /// stays readable. The same appointments do not bring it back.
    #[command(after_help = "Example: sigilo admin relationship revoke --clinic ejemplo \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    Revoke {
        /// The relationship, as `list` shows it.
        id: RelationshipId,
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

impl Relationship {
    pub(super) async fn run(self) -> Result<Outcome> {
        let (Self::List(which) | Self::Blocks(which) | Self::Revoke { which, .. }) = &self;
        let beside = Beside::open(&which.config).await?;
        let came_of_it = match &self {
            Self::List(_) => which.list(&beside).await,
            Self::Blocks(_) => which.blocks(&beside).await,
            Self::Revoke { id, .. } => which.revoke(&beside, *id).await,
        };
        beside.close().await;
        finish(which.json, came_of_it)
    }
}

impl Which {
    async fn list(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = relationships::authorize_manage_relationships(&beside.app, &ctx)?;
        let found = relationships::list(&beside.app, &ctx, grant).await?;
        let mut text =
            format!("{:<36}  {:<28}  {:<28}  {:<8}  REVOKED", "ID", "PATIENT", "CLINICIAN", "BLOCKED");
        for relationship in &found {
            let RelationshipSummary { id, patient_name, clinician_name, revoked_at, blocked_by, .. } =
                relationship;
            let revoked = revoked_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
            let blocked = if blocked_by.is_empty() { "-" } else { "yes" };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{id}  {patient_name:<28}  {clinician_name:<28}  {blocked:<8}  {revoked}");
        }
        Ok(Answer { json: json!({"results": found}), text })
    }

    async fn blocks(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = relationships::authorize_manage_relationships(&beside.app, &ctx)?;
        let found = blocks::list_all(&beside.app, &ctx, grant).await?;
        let mut text = format!("{:<28}  {:<28}  {:<27}  WHY", "WHO", "BLOCKS WHOM", "SINCE");
        for BlockSummary { blocker_name, blocked_name, reason, created_at, .. } in &found {
            let reason = reason.as_deref().unwrap_or("-");
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{blocker_name:<28}  {blocked_name:<28}  {created_at}  {reason}");
        }
        Ok(Answer { json: json!({"results": found}), text })
    }

    async fn revoke(&self, beside: &Beside, id: RelationshipId) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = relationships::authorize_manage_relationships(&beside.app, &ctx)?;
        let revoked = relationships::revoke(&beside.app, &ctx, grant, id).await?;
        let text = match revoked.relationships.len() {
            0 => "Nothing stood between the two any more.".to_owned(),
            count => format!(
                "{count} revoked. {} conversations of the two take no new messages; history stays readable.",
                revoked.conversations
            ),
        };
        Ok(Answer { json: serde_json::to_value(&revoked).map_err(Error::internal)?, text })
    }
}
