//! Seeing and ending relationships.

use serde::Serialize;
use sigilo_wire::{RelationshipId, Timestamp, UserId};

use super::store;
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    conversations,
    policy::{Grant, ManageRelationships, facts},
    storage::crypter::Place,
};

/// A relationship, for those who manage them.
#[derive(Clone, Debug, Serialize)]
pub struct RelationshipSummary {
    /// The relationship.
    pub id: RelationshipId,
    /// `care`.
    pub kind: String,
    /// The patient.
    pub patient_id: UserId,
    /// Their name.
    pub patient_name: String,
    /// The clinician.
    pub clinician_id: UserId,
    /// Their name.
    pub clinician_name: String,
    /// Where it comes from: `appointment`.
    pub source: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, if that is known.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Which of the two have blocked the other: then nothing passes between them, whatever stands here.
    pub blocked_by: Vec<UserId>,
}

/// What a revocation ended.
#[derive(Clone, Debug, Serialize)]
pub struct Revoked {
    /// The patient.
    pub patient_id: UserId,
    /// The clinician.
    pub clinician_id: UserId,
    /// The relationships that stood until now.
    pub relationships: Vec<RelationshipId>,
    /// How many conversations take no new messages between the two.
    pub conversations: usize,
}

/// How many are read at a time.
const BATCH: i64 = 500;

/// The grant to manage relationships of the clinic `ctx` is for.
///
/// # Errors
/// `forbidden` for all but the operator and the clinic's admins.
pub fn authorize_manage_relationships(app: &App, ctx: &Ctx) -> Result<Grant<ManageRelationships>> {
    app.policy.decide::<ManageRelationships>(ctx, &facts::Clinic { tenant: ctx.tenant })
}

/// Every relationship of the clinic, those revoked among them, oldest first.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageRelationships>,
) -> Result<Vec<RelationshipSummary>> {
    let mut tx = app.db.read("relationship_list").await?;
    let mut after = RelationshipId::from_bytes([0; 16]);
    let mut all = Vec::new();
    loop {
        let rows = store::list(&mut tx, ctx.tenant, after, BATCH).await?;
        let Some(last) = rows.last() else { return Ok(all) };
        after = last.relationship_id;
        for row in rows {
            let (patient, clinician) = (row.patient_id, row.clinician_id);
            let blockers = [(row.patient_blocks, patient), (row.clinician_blocks, clinician)];
            all.push(RelationshipSummary {
                id: row.relationship_id,
                kind: row.kind,
                patient_id: row.patient_id,
                patient_name: name(app, row.patient_id, &row.patient_name_enc)?,
                clinician_id: row.clinician_id,
                clinician_name: name(app, row.clinician_id, &row.clinician_name_enc)?,
                source: row.source,
                created_at: row.created_at,
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                blocked_by: blockers.iter().filter(|(blocks, _)| *blocks).map(|(_, who)| *who).collect(),
            });
        }
    }
}

fn name(app: &App, user: UserId, sealed: &[u8]) -> Result<String> {
    app.crypter.decrypt_text(Place { table: "users", row: user.as_bytes(), column: "full_name_enc" }, sealed)
}

/// Ends the relationship between a pair: this one and every other that stands between the two, so that the
/// decision has its effect. New messages stop at once, on open sockets, too; history stays readable.
///
/// # Errors
/// 404 when the clinic has no such relationship.
pub async fn revoke(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    id: RelationshipId,
) -> Result<Revoked> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("relationship_revoke").await?;
    let pair = store::pair(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    let (patient_id, clinician_id) = pair;
    let relationships = store::revoke_pair(&mut tx, ctx.tenant, pair, ctx.now).await?;
    let touched = conversations::facts_changed_between(&mut tx, patient_id, clinician_id).await?;
    let ended: Vec<String> = relationships.iter().map(ToString::to_string).collect();
    let act = Act::done("revoke_relationship")
        .object("relationship", ended.join(" "))
        .object("clinician", clinician_id)
        .patient(Some(patient_id))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(Revoked { patient_id, clinician_id, relationships, conversations: touched.len() })
}
