//! `sigilo admin relationship`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::{
    RelationshipId, Timestamp, UserId,
    care::{GrantReason, GrantRelationship, Relationship as Shown},
};

use super::Beside;
use crate::{
    Error, Result,
    blocks::{self, BlockSummary},
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    paging::Paging,
    relationships::{self, RelationshipFilter},
};

/// Who treats whom.
#[derive(Debug, Subcommand)]
pub enum Relationship {
    /// Lists the clinic's relationships, those revoked among them.
    #[command(after_help = "Example: sigilo admin relationship list --clinic ejemplo --json")]
    List(Which),
    /// Says for a time that a clinician treats a patient: the clinician may begin, and the patient answer.
    #[command(
        after_help = "Example: sigilo admin relationship grant --clinic ejemplo --patient ID --clinician ID \
        --reason cover --text 'covers in August' --expires 2026-09-01T00:00:00-06:00"
    )]
    Grant(Grant),
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

/// `sigilo admin relationship grant`
#[derive(Debug, Args)]
pub struct Grant {
    /// The patient, by id.
    #[arg(long, value_name = "ID")]
    patient: UserId,
    /// The clinician, by id.
    #[arg(long, value_name = "ID")]
    clinician: UserId,
    /// `appointment_elsewhere`, `referral`, `cover`, `second_opinion` or `care_coordination`.
    #[arg(long)]
    reason: GrantReason,
    /// Why, in words: at most 200 characters, without identifiers and diagnoses.
    #[arg(long)]
    text: String,
    /// When it ends, RFC 3339 with any offset: at most 366 days from now.
    #[arg(long, value_name = "TIME")]
    expires: Timestamp,
    #[command(flatten)]
    which: Which,
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

impl Relationship {
    pub(super) async fn run(self) -> Result<Outcome> {
        let (Self::List(which)
        | Self::Blocks(which)
        | Self::Grant(Grant { which, .. })
        | Self::Revoke { which, .. }) = &self;
        let beside = Beside::open(&which.config).await?;
        let came_of_it = match &self {
            Self::List(_) => which.list(&beside).await,
            Self::Blocks(_) => which.blocks(&beside).await,
            Self::Grant(grant) => grant.run(&beside).await,
            Self::Revoke { id, .. } => which.revoke(&beside, *id).await,
        };
        beside.close().await;
        finish(which.json, came_of_it)
    }
}

impl Grant {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.which.clinic).await?;
        let grant = relationships::authorize_manage_relationships(&beside.app, &ctx)?;
        let wanted = GrantRelationship {
            patient_id: self.patient,
            clinician_id: self.clinician,
            reason: self.reason,
            text: self.text.clone(),
            expires_at: self.expires,
        };
        let made = relationships::grant(&beside.app, &ctx, grant, &wanted).await?;
        let text = format!(
            "{} treats {} until {} ({}).",
            made.clinician_name, made.patient_name, self.expires, made.id
        );
        Ok(Answer { json: serde_json::to_value(&made).map_err(Error::internal)?, text })
    }
}

impl Which {
    async fn list(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let mut found = Vec::new();
        let mut filter = RelationshipFilter { paging: Paging::of(PAGE), ..RelationshipFilter::default() };
        loop {
            let grant = relationships::authorize_manage_relationships(&beside.app, &ctx)?;
            let page = relationships::list(&beside.app, &ctx, grant, &filter).await?;
            found.extend(page.results);
            filter.paging.cursor = page.next_cursor;
            if filter.paging.cursor.is_none() {
                break;
            }
        }
        let mut text = format!(
            "{:<36}  {:<28}  {:<28}  {:<11}  {:<8}  {:<27}  REVOKED",
            "ID", "PATIENT", "CLINICIAN", "BY", "BLOCKED", "UNTIL"
        );
        let time = |at: &Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        for Shown { id, patient_name, clinician_name, source, blocked_by, expires_at, revoked_at, .. } in
            &found
        {
            let blocked = if blocked_by.is_empty() { "-" } else { "yes" };
            let (until, revoked) = (time(expires_at), time(revoked_at));
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n{id}  {patient_name:<28}  {clinician_name:<28}  {:<11}  {blocked:<8}  {until:<27}  {revoked}",
                source.as_str()
            );
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
