//! Seeing and ending relationships.

use sigilo_wire::{
    RelationshipId, UserId,
    care::{Relationship, RelationshipList, RevokedRelationships},
};

use super::{
    TEXT,
    store::{self, RelationshipRow},
};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    conversations,
    paging::Paging,
    policy::{Grant, ManageRelationships, facts},
    storage::crypter::Place,
};

/// Which relationships.
#[derive(Clone, Debug, Default)]
pub struct RelationshipFilter {
    /// This patient's.
    pub patient: Option<UserId>,
    /// This clinician's.
    pub clinician: Option<UserId>,
    /// Which part of them.
    pub paging: Paging,
}

/// The grant to manage relationships of the clinic `ctx` is for.
///
/// # Errors
/// `forbidden` for all but the operator and the clinic's admins.
pub fn authorize_manage_relationships(app: &App, ctx: &Ctx) -> Result<Grant<ManageRelationships>> {
    app.policy.decide::<ManageRelationships>(ctx, &facts::Clinic { tenant: ctx.tenant })
}

/// A page of the clinic's relationships, those that have ended among them, oldest first.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageRelationships>,
    filter: &RelationshipFilter,
) -> Result<RelationshipList> {
    let window = filter.paging.window()?;
    let after = filter.paging.place()?.unwrap_or_else(|| RelationshipId::from_bytes([0; 16]));
    let mut tx = app.db.read("relationship_list").await?;
    let people = (filter.patient, filter.clinician);
    let mut rows = store::list(&mut tx, ctx.tenant, people, after, window).await?;
    drop(tx);
    let next_cursor = window.cut(&mut rows, |row| row.relationship_id);
    let results = rows.into_iter().map(|row| shown(app, row)).collect::<Result<_>>()?;
    Ok(RelationshipList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// A row, opened.
pub(super) fn shown(app: &App, row: RelationshipRow) -> Result<Relationship> {
    let (patient, clinician) = (row.patient_id, row.clinician_id);
    let blockers = [(row.patient_blocks, patient), (row.clinician_blocks, clinician)];
    let text = Place { row: row.relationship_id.as_bytes(), ..TEXT };
    Ok(Relationship {
        id: row.relationship_id,
        kind: row.kind,
        patient_id: patient,
        patient_name: name(app, patient, &row.patient_name_enc)?,
        clinician_id: clinician,
        clinician_name: name(app, clinician, &row.clinician_name_enc)?,
        source: row.source.parse().map_err(Error::Internal)?,
        care_team_id: row.care_team_id,
        reason: row.reason.map(|word| word.parse().map_err(Error::Internal)).transpose()?,
        text: row.text_enc.map(|sealed| app.crypter.decrypt_text(text, &sealed)).transpose()?,
        created_at: row.created_at,
        starts_at: row.starts_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        blocked_by: blockers.iter().filter(|(blocks, _)| *blocks).map(|(_, who)| *who).collect(),
    })
}

/// The name of somebody of the clinic.
pub(super) fn name(app: &App, user: UserId, sealed: &[u8]) -> Result<String> {
    app.crypter.decrypt_text(Place { table: "users", row: user.as_bytes(), column: "full_name_enc" }, sealed)
}

/// Ends the relationship between a pair: this one and every other that stands between the two, whatever made it, so
/// that the decision has its effect. New messages stop at once, on open sockets, too; history stays readable.
///
/// # Errors
/// 404 when the clinic has no such relationship.
pub async fn revoke(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    id: RelationshipId,
) -> Result<RevokedRelationships> {
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
    let conversations = touched.len();
    Ok(RevokedRelationships { patient_id, clinician_id, relationships, conversations })
}
