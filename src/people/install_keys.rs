//! The clinic's keys arrive at the server: every statement is verified before one is stored.

use serde_json::json;
use sigilo_seal::{Ed25519Public, KeyPurpose, RootFingerprint, RootStatement, root::KeyNeed};
use sigilo_wire::{ErrorCode, TenantId, Timestamp, keys::SignedRootStatement};

use super::{key_files::ClinicKeys, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::{Act, hex},
    outbox::{self, Fact},
    policy::{Grant, ManageClinic},
    storage::Tx,
};

/// What installing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The installed root.
    pub root: RootFingerprint,
    /// Whether anything changed; false when these keys were installed before.
    pub changed: bool,
}

/// Installs what the offline ceremony made: the root's public key and its statements for records, moderation
/// and the server's four keys. The same file again changes nothing.
///
/// # Errors
/// `invalid_signature` or `invalid_key`, naming the statement; `already_exists` when other keys are installed;
/// 404 when the clinic does not exist.
pub async fn install_keys(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageClinic>,
    keys: &ClinicKeys,
) -> Result<Installed> {
    let statements = verify(ctx.tenant, ctx.now, keys)?;
    let root = RootFingerprint::of(&keys.root_public_key);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("clinic_install_keys").await?;
    let tenant = store::lock_tenant(&mut tx, ctx.tenant).await?.ok_or(Error::NotFound)?;
    for statement in &statements {
        require_own(&mut tx, statement).await?;
    }
    if let Some(installed) = tenant.root_key()? {
        let before = store::statements(&mut tx, ctx.tenant).await?;
        let same = installed == keys.root_public_key.to_bytes()
            && keys.statements.iter().all(|statement| before.contains(statement));
        return if same { Ok(Installed { root, changed: false }) } else { Err(others_installed()) };
    }
    store::set_root(&mut tx, ctx.tenant, &keys.root_public_key.to_bytes(), ctx.now).await?;
    for (statement, signed) in statements.iter().zip(&keys.statements) {
        store::insert_statement(&mut tx, statement, signed, ctx.now).await?;
    }
    let fact = Fact { topic: "clinic.keys_installed", data: json!({"clinic_id": ctx.tenant}) };
    outbox::publish(&mut tx, ctx.tenant, vec![fact], ctx.now);
    let act = Act::done("install_clinic_keys")
        .object("clinic", ctx.tenant)
        .object("root", hex(&root.0))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(Installed { root, changed: true })
}

fn others_installed() -> Error {
    let problem =
        "other keys are installed for this clinic; replacing them is a rotation, signed by the root";
    Error::conflict(ErrorCode::AlreadyExists, json!({"problem": problem}))
}

/// The statements, one of each purpose, each signed by the root and usable now.
fn verify(tenant: TenantId, now: Timestamp, keys: &ClinicKeys) -> Result<Vec<RootStatement>> {
    if keys.format != ClinicKeys::FORMAT {
        return Err(Error::field("format", format!("must be {}", ClinicKeys::FORMAT)));
    }
    if keys.clinic_id != tenant {
        return Err(Error::field("clinic_id", format!("these are the keys of clinic {}", keys.clinic_id)));
    }
    let statements: Vec<RootStatement> = keys
        .statements
        .iter()
        .enumerate()
        .map(|(position, signed)| verify_one(tenant, now, &keys.root_public_key, position, signed))
        .collect::<Result<_>>()?;
    for purpose in KeyPurpose::ALL {
        match statements.iter().filter(|statement| statement.purpose == purpose).count() {
            1 => {}
            count => {
                let problem = format!("{count} statements for {purpose} instead of one");
                return Err(Error::field("statements", problem));
            }
        }
    }
    Ok(statements)
}

fn verify_one(
    tenant: TenantId,
    now: Timestamp,
    root: &Ed25519Public,
    position: usize,
    signed: &SignedRootStatement,
) -> Result<RootStatement> {
    use sigilo_seal::root::RootError;
    let signed = sigilo_seal::SignedRootStatement {
        statement: signed.statement.0.clone(),
        signature: signed.signature.0,
    };
    let refused = |error: &RootError| {
        let code =
            if *error == RootError::Signature { ErrorCode::InvalidSignature } else { ErrorCode::InvalidKey };
        Error::invalid(code, json!({"statement": position, "problem": error.to_string()}))
    };
    let statement = signed.verify_signature(root).map_err(|error| refused(&error))?;
    let need = KeyNeed { tenant, purpose: statement.purpose, now, least_epoch: 1 };
    statement.check(&need).map_err(|error| refused(&error))?;
    Ok(statement)
}

/// Refuses a statement over a server key that is not this server's own.
async fn require_own(tx: &mut Tx, statement: &RootStatement) -> Result<()> {
    let RootStatement { tenant, purpose, public_key, .. } = statement;
    if purpose.is_sealed_to() || store::has_server_key(tx, *tenant, *purpose, public_key).await? {
        return Ok(());
    }
    let problem = format!("the {purpose} key is not the one this server asked to have certified");
    Err(Error::invalid(ErrorCode::InvalidKey, json!({"key": purpose, "problem": problem})))
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use sigilo_seal::Ed25519Secret;

    use super::super::{CertificationRequest, ServerKey, certify, key_files::SERVER_PURPOSES};
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    fn keys(tenant: TenantId, seed: u64) -> ClinicKeys {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let request = CertificationRequest {
            format: CertificationRequest::FORMAT.to_owned(),
            clinic_id: tenant,
            name: "Clínica Ejemplo".to_owned(),
            slug: "ejemplo".to_owned(),
            created_at: NOW,
            keys: SERVER_PURPOSES
                .map(|purpose| ServerKey { purpose, public_key: Ed25519Secret::generate(&mut rng).public() })
                .to_vec(),
        };
        certify(&request, NOW, &mut rng).unwrap().clinic_keys
    }

    #[test]
    fn what_the_ceremony_makes_verifies_and_any_change_is_refused() {
        let tenant = TenantId::from_bytes([1; 16]);
        let good = keys(tenant, 6);
        assert_eq!(verify(tenant, NOW, &good).unwrap().len(), 6);

        let code = |keys: &ClinicKeys, now| verify(tenant, now, keys).unwrap_err().code();
        let mut wrong = good.clone();
        wrong.statements.pop();
        assert_eq!(code(&wrong, NOW), ErrorCode::InvalidField, "one is missing");
        let mut wrong = good.clone();
        wrong.statements.push(good.statements[0].clone());
        assert_eq!(code(&wrong, NOW), ErrorCode::InvalidField, "one stands twice");
        let mut wrong = good.clone();
        wrong.statements[2].signature.0[0] ^= 1;
        assert_eq!(code(&wrong, NOW), ErrorCode::InvalidSignature);
        let mut wrong = good.clone();
        wrong.statements[2].statement.0[40] ^= 1;
        assert_eq!(code(&wrong, NOW), ErrorCode::InvalidSignature);
        let wrong = ClinicKeys { root_public_key: keys(tenant, 7).root_public_key, ..good.clone() };
        assert_eq!(code(&wrong, NOW), ErrorCode::InvalidSignature, "another root");
        let long_after = NOW + std::time::Duration::from_hours(6 * 365 * 24);
        assert_eq!(code(&good, long_after), ErrorCode::InvalidKey, "expired");
        assert_eq!(
            code(&keys(TenantId::from_bytes([2; 16]), 6), NOW),
            ErrorCode::InvalidField,
            "another clinic"
        );
        let wrong = ClinicKeys { clinic_id: tenant, ..keys(TenantId::from_bytes([2; 16]), 6) };
        assert_eq!(code(&wrong, NOW), ErrorCode::InvalidKey, "another clinic's statements");
    }
}
