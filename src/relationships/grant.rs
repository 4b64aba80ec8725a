//! Relationships that the clinic's staff decide on.

use std::time::Duration;

use sigilo_wire::{
    RelationshipId, Role,
    care::{GrantRelationship, Relationship},
};

use super::{
    TEXT, manage,
    store::{self, NewGrant},
};
use crate::{
    Actor, App, Ctx, Error, Result,
    audit::Act,
    conversations, free_text, people,
    policy::{Grant, ManageRelationships},
    rng,
    storage::crypter::Place,
};

/// How far ahead a grant may end. Whoever treats a patient for longer has appointments, or a care team.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Makes a care relationship that ends by itself. It lets the clinician begin, and the patient answer.
///
/// # Errors
/// `invalid_field`, `phi_detected`; 404 when the clinic has no such people.
pub async fn grant(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    wanted: &GrantRelationship,
) -> Result<Relationship> {
    free_text::check("text", &wanted.text)?;
    if wanted.expires_at <= ctx.now || wanted.expires_at > ctx.now + LONGEST {
        return Err(Error::field("expires_at", "is to come, and at most 366 days from now"));
    }
    let (patient, clinician) = (wanted.patient_id, wanted.clinician_id);
    let id = RelationshipId::new(ctx.now, rng::bytes(&*app.entropy));
    let place = Place { row: id.as_bytes(), ..TEXT };
    let new = NewGrant {
        id,
        tenant: ctx.tenant,
        pair: (patient, clinician),
        reason: wanted.reason.as_str(),
        text_enc: app.crypter.encrypt(place, wanted.text.as_bytes(), &*app.entropy)?,
        granted_by: match &ctx.actor {
            Actor::User(caller) => Some(caller.user_id),
            Actor::Operator | Actor::Anonymous => None,
        },
        now: ctx.now,
        expires_at: wanted.expires_at,
    };
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("relationship_grant").await?;
    for (user, role, field, problem) in [
        (patient, Role::Patient, "patient_id", "is not a patient"),
        (clinician, Role::Doctor, "clinician_id", "is not a clinician"),
    ] {
        if people::person(&mut tx, ctx.tenant, user).await?.role != role {
            return Err(Error::field(field, problem));
        }
    }
    conversations::facts_changed_between(&mut tx, patient, clinician).await?;
    store::insert_grant(&mut tx, &new).await?;
    let row = store::one(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    let made = manage::shown(app, row)?;
    let act = Act::done("grant_relationship")
        .object("relationship", id)
        .object("clinician", clinician)
        .object("reason", wanted.reason)
        .object("expires_at", wanted.expires_at)
        .patient(Some(patient))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(made)
}
