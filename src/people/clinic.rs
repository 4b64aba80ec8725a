//! A clinic and the server's keys for it.

use sigilo_seal::{Ed25519Secret, KeyPurpose};
use sigilo_wire::{ErrorCode, TenantId, hours::Weekly, keys::Clinic};

use super::{
    SecondFactorRule, Settings,
    key_files::{CertificationRequest, SERVER_PURPOSES, ServerKey},
    store::{self, NewTenant, TenantRow},
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::{Act, hex},
    hours,
    policy::{Grant, ManageClinic, facts},
    rng::EntropyRng,
    storage::{Tx, crypter::Place},
};

/// What a new clinic is called and when it is open.
#[derive(Clone, Debug)]
pub struct NewClinic {
    /// Its name, 1 to 200 characters.
    pub name: String,
    /// Its short name for logins: lower-case letters, digits and hyphens, 2 to 40 of them, beginning with a
    /// letter.
    pub slug: String,
    /// Its IANA time zone.
    pub time_zone: String,
    /// When conversations with patients are open.
    pub hours: Weekly,
    /// The local emergency number.
    pub emergency_number: String,
    /// Whether the roles that need a second factor must enrol one.
    pub second_factor: SecondFactorRule,
}

/// The grant to create the clinic `ctx` is for, or to install its keys.
///
/// # Errors
/// `forbidden` for all but the operator.
pub fn authorize_manage_clinic(app: &App, ctx: &Ctx) -> Result<Grant<ManageClinic>> {
    app.policy.decide::<ManageClinic>(ctx, &facts::Clinic { tenant: ctx.tenant })
}

/// Makes the clinic with the id `ctx.tenant`, and the server's keys for it: ledger, receipt and export under
/// column encryption in the database, the scanner's private half in a file only the scan worker reads. Gives
/// what the clinic's root has to certify.
///
/// # Errors
/// `invalid_field`; `already_exists` when the slug is taken; when the scanner's file cannot be written.
pub async fn create_clinic(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageClinic>,
    new: &NewClinic,
) -> Result<CertificationRequest> {
    check(new)?;
    let tenant = ctx.tenant;
    let hours = serde_json::to_string(&new.hours).map_err(Error::internal)?;
    let settings = Settings { second_factor: new.second_factor, ..Settings::default() }.to_text()?;
    let key = app.clinic_key(ctx, tenant).await?;
    let mut rng = EntropyRng(&*app.entropy);
    let secrets = SERVER_PURPOSES.map(|purpose| (purpose, Ed25519Secret::generate(&mut rng)));
    let mut tx = app.db.begin("clinic_create").await?;
    let row = NewTenant {
        slug: &new.slug,
        name: &new.name,
        time_zone: &new.time_zone,
        hours: &hours,
        emergency_number: &new.emergency_number,
        settings: &settings,
    };
    if !store::insert_tenant(&mut tx, tenant, &row, ctx.now).await? {
        let details = serde_json::json!({"field": "slug", "value": new.slug});
        return Err(Error::conflict(ErrorCode::AlreadyExists, details));
    }
    for (purpose, secret) in &secrets {
        keep(app, &mut tx, ctx, *purpose, secret).await?;
    }
    let act = Act::done("create_clinic").object("clinic", tenant).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(CertificationRequest {
        format: CertificationRequest::FORMAT.to_owned(),
        clinic_id: tenant,
        name: new.name.clone(),
        slug: new.slug.clone(),
        created_at: ctx.now,
        keys: secrets
            .iter()
            .map(|(purpose, secret)| ServerKey { purpose: *purpose, public_key: secret.public() })
            .collect(),
    })
}

/// Keeps one of the server's keys where it belongs.
async fn keep(app: &App, tx: &mut Tx, ctx: &Ctx, purpose: KeyPurpose, secret: &Ed25519Secret) -> Result<()> {
    let public = secret.public().to_bytes();
    let private = if purpose == KeyPurpose::Scanner {
        // Written before the commit: a file without a clinic harms nobody, a clinic without it cannot scan.
        app.config.write_scanner_key(ctx.tenant, secret.seed().as_slice())?;
        None
    } else {
        let place = Place { table: "server_keys", row: &public, column: "private_key" };
        Some(app.crypter.encrypt(place, secret.seed().as_slice(), &*app.entropy)?)
    };
    store::insert_server_key(tx, ctx.tenant, purpose, &public, private.as_deref(), ctx.now).await
}

/// The clinic of an id or a slug.
///
/// # Errors
/// 404 when there is none.
pub async fn clinic_id(app: &App, clinic: &str) -> Result<TenantId> {
    let mut tx = app.db.read("clinic_find").await?;
    let row = match clinic.parse::<TenantId>() {
        Ok(id) => store::tenant(&mut tx, id).await?,
        Err(_) => store::tenant_by_slug(&mut tx, clinic).await?,
    };
    row.map(|row| row.tenant_id).ok_or(Error::NotFound)
}

/// The caller's clinic: its times, its root and what the root says. Everyone in the clinic may know it.
///
/// # Errors
/// When the database is away.
pub async fn get_clinic(app: &App, ctx: &Ctx) -> Result<Clinic> {
    ctx.caller()?;
    let mut tx = app.db.read("clinic").await?;
    let row = store::tenant(&mut tx, ctx.tenant).await?.ok_or(Error::NotFound)?;
    let hours = hours::of_clinic(&mut tx, ctx.tenant, ctx.now).await?;
    let root_statements = store::statements(&mut tx, ctx.tenant).await?;
    Ok(Clinic {
        root_public_key: row.root_key()?.map(Into::into),
        clinic_id: row.tenant_id,
        name: row.name,
        slug: row.slug,
        time_zone: hours.time_zone,
        hours: serde_json::to_value(hours.weekly).map_err(Error::internal)?,
        exceptions: hours.exceptions,
        emergency_number: row.emergency_number,
        root_statements,
        policy_set: hex(&app.policy.set_hash()),
        server_time: ctx.now,
    })
}

impl TenantRow {
    /// The installed root key.
    pub(super) fn root_key(&self) -> Result<Option<[u8; 32]>> {
        self.root_public_key
            .as_deref()
            .map(|key| <[u8; 32]>::try_from(key).map_err(|_| Error::internal("a root key of a wrong length")))
            .transpose()
    }
}

fn check(new: &NewClinic) -> Result<()> {
    super::check_name("name", &new.name)?;
    let slug = new.slug.as_bytes();
    let good = (2..=40).contains(&slug.len())
        && slug.first().is_some_and(u8::is_ascii_lowercase)
        && slug.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        // An id in the place of a slug would name two clinics.
        && new.slug.parse::<TenantId>().is_err();
    if !good {
        let how = "2 to 40 lower-case letters, digits and hyphens, beginning with a letter";
        return Err(Error::field("slug", how));
    }
    super::check_time_zone(&new.time_zone)?;
    let number = &new.emergency_number;
    if number.is_empty() || number.len() > 20 || !number.bytes().all(|b| b.is_ascii_digit() || b == b'+') {
        return Err(Error::field("emergency_number", "1 to 20 digits"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clinic() -> NewClinic {
        NewClinic {
            name: "Clínica Ejemplo".to_owned(),
            slug: "ejemplo".to_owned(),
            time_zone: "America/Mexico_City".to_owned(),
            hours: crate::hours::every_day("08:00-22:00").unwrap(),
            emergency_number: "911".to_owned(),
            second_factor: SecondFactorRule::default(),
        }
    }

    #[test]
    fn a_clinic_has_a_usable_name_zone_and_number() {
        check(&clinic()).unwrap();
        let refused = |change: fn(&mut NewClinic)| {
            let mut new = clinic();
            change(&mut new);
            check(&new).unwrap_err().details()["field"].as_str().unwrap().to_owned()
        };
        assert_eq!(refused(|new| new.name.clear()), "name");
        for wrong in ["x", "Ejemplo", "1a", "a_b", "ejempló", "a1a1a1a1-0000-7000-8000-000000000000"] {
            let mut new = clinic();
            wrong.clone_into(&mut new.slug);
            assert!(check(&new).is_err(), "{wrong}");
        }
        assert_eq!(refused(|new| new.time_zone = "America/Mexico".to_owned()), "time_zone");
        assert_eq!(refused(|new| new.emergency_number = "nine".to_owned()), "emergency_number");
    }
}
