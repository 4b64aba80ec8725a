//! What is kept and signed of a refusal.
//!
//! The audit log gets an entry of each refused act. An act's own `authorize_*` function writes it with what it knows of the
//! objects ([`super::audited`]); what no such function wrote is written here, when the answer leaves. Then the clinic's
//! receipt key signs who was refused what, by which rules, in answer to which request.

use sigilo_seal::{Decision as Statement, decision::DENIED};
use sigilo_wire::{Base64Array, ErrorCode, UserId, anomaly::AnomalyKind, policy::Decision};

use super::{Action as _, Basis, Connect, HandleEmergency, SendMessage, UseTokens};
use crate::{
    Actor, App, Ctx, Denial, Error, Result, anomalies,
    audit::{self, Act},
};

/// Writes the audit entry of a refused act; gives its leaf.
pub(super) async fn note(
    app: &App,
    ctx: &Ctx,
    (act, denial): (&str, &Denial),
    patient: Option<UserId>,
    objects: &[(&'static str, String)],
) -> Result<[u8; 32]> {
    let basis = Basis { policies: denial.policies.clone().into(), policy_set: denial.policy_set };
    let mut act = Act::denied(act).patient(patient).by(&basis);
    for (kind, id) in objects {
        act = act.object(kind, id);
    }
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
    let mut tx = app.db.begin("audit_denial").await?;
    let leaf = entry.leaf;
    audit::write(&mut tx, ctx.tenant, vec![entry]);
    tx.commit().await?;
    Ok(leaf)
}

/// Signs a refusal by the rules for the person who asked; everything else stays as it is, as does a refusal in a clinic
/// whose keys are not installed. `request` is the hash of what was asked ([`sigilo_seal::decision::request_hash`]).
///
/// An error of the database takes the refusal's place when its audit entry cannot be written.
pub async fn sign(app: &App, error: Error, request: impl FnOnce() -> [u8; 32]) -> Error {
    let Error::Denied(mut denial) = error else { return error };
    let Some(refused) = denial.refused.clone() else { return Error::Denied(denial) };
    let Actor::User(caller) = refused.ctx.actor else { return Error::Denied(denial) };
    let ctx = &refused.ctx;
    let not_let_in = [Connect::NAME, UseTokens::NAME].contains(&refused.act);
    let leaf = match refused.leaf {
        Some(leaf) => leaf,
        None => {
            // Who is not let in has not come to the count of requests; each of these writes an entry that stays.
            if not_let_in && let Err(error) = app.limits.clinics.request(&app.db, ctx).await {
                return error;
            }
            match note(app, ctx, (refused.act, &denial), None, &[]).await {
                Ok(leaf) => leaf,
                Err(error) => return error,
            }
        }
    };
    // Whoever comes at the wrong hour, or is not let in yet, does not try what they may not do; and a message may be refused
    // because of what others did meanwhile: a block, a suspension, an emergency that is closed.
    let tries = ![SendMessage::NAME, HandleEmergency::NAME].contains(&refused.act);
    if tries && denial.code != ErrorCode::OutsideChatHours && !not_let_in {
        let (user, device) = (caller.user_id, Some(caller.device_id));
        anomalies::notice(app, ctx, AnomalyKind::RepeatedDenials, user, device).await;
    }
    let key = match app.receipt_keys.get(app, ctx).await {
        Ok(key) => key,
        Err(error) => {
            if error.code() != ErrorCode::ClinicKeysMissing {
                tracing::warn!(request_id = %ctx.request, %error, "a refusal is not signed");
            }
            return Error::Denied(denial);
        }
    };
    let statement = Statement {
        tenant: ctx.tenant,
        actor: caller.user_id,
        device: caller.device_id,
        action: refused.act.to_owned(),
        request_sha256: request(),
        outcome: DENIED.to_owned(),
        policies: denial.policies.clone(),
        policy_set_hash: denial.policy_set,
        decided_at: ctx.now,
        audit_leaf: leaf,
    };
    let signature = statement.sign(&key.secret);
    denial.decision = Some(Box::new(Decision {
        actor_id: statement.actor,
        device_id: statement.device,
        action: statement.action,
        request_sha256: Base64Array(statement.request_sha256),
        outcome: statement.outcome,
        policies: statement.policies,
        policy_set: Base64Array(statement.policy_set_hash),
        decided_at: statement.decided_at,
        audit_leaf: Base64Array(leaf),
        key_id: Base64Array(key.key_id.0),
        signature: Base64Array(signature),
    }));
    Error::Denied(denial)
}
