//! The clinic's keys: admitted only under the root that the invitation pinned, never an older one again.

use std::{collections::BTreeMap, time::Duration};

use sigilo_seal::{
    Ed25519Public, KeyId, KeyPurpose, RootFingerprint, RootStatement,
    root::{KeyNeed, RootError, SignedRootStatement},
};
use sigilo_wire::{Base64Array, TenantId, Timestamp, keys};

use crate::{
    Error, Result,
    engine::Engine,
    profile::records::{ClinicKey, ClinicRecord, Home, ONLY},
};

/// The clinic's keys are fetched again after this long.
const REFRESH_AFTER: Duration = Duration::from_secs(3600);

impl Engine {
    /// The clinic, fetched again when what is known is an hour old; without a connection, what is known.
    pub(crate) async fn clinic(&self) -> Result<ClinicRecord> {
        let known: Option<ClinicRecord> = self.profile.get(ONLY).await?;
        match known {
            Some(known) if self.env.now().since(known.fetched_at) < REFRESH_AFTER => Ok(known),
            Some(known) => match self.refresh_clinic().await {
                Err(error) if error.is_transient() => Ok(known),
                other => other,
            },
            None => self.refresh_clinic().await,
        }
    }

    /// Fetches and verifies the clinic's keys.
    pub(crate) async fn refresh_clinic(&self) -> Result<ClinicRecord> {
        let answer = self.api.clinic().await?;
        let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let known: Option<ClinicRecord> = self.profile.get(ONLY).await?;
        let tenant = self.account()?.tenant;
        let admitted = admit(&answer, RootFingerprint(home.root.0), tenant, known.as_ref(), self.env.now())?;
        let step = self.profile.step();
        for key in &admitted.keys {
            step.put(key)?;
        }
        step.put(&admitted.clinic)?;
        step.commit().await?;
        Ok(admitted.clinic)
    }

    /// The receipt key named `key_id`, as it stood at `at`.
    pub(crate) async fn receipt_key(&self, key_id: KeyId, at: Timestamp) -> Result<Ed25519Public> {
        let statement = self.clinic_key(key_id).await?;
        let need =
            KeyNeed { tenant: self.account()?.tenant, purpose: KeyPurpose::Receipt, now: at, least_epoch: 0 };
        statement.check(&need).map_err(refused)?;
        statement.ed25519_key().map_err(refused)
    }

    /// The verified statement of a key of the clinic; an unknown one makes the client fetch once.
    pub(crate) async fn clinic_key(&self, key_id: KeyId) -> Result<RootStatement> {
        let mut key: Option<ClinicKey> = self.profile.get(key_id.as_bytes()).await?;
        if key.is_none() {
            self.refresh_clinic().await?;
            key = self.profile.get(key_id.as_bytes()).await?;
        }
        let key = key.ok_or_else(|| refused(format!("no statement of the root names key {key_id}")))?;
        RootStatement::decode(&key.statement.statement).map_err(refused)
    }
}

impl ClinicRecord {
    /// The statement of the records key that is in force.
    pub(crate) fn records_key(&self, tenant: TenantId, now: Timestamp) -> Result<RootStatement> {
        let purpose = KeyPurpose::Records;
        let statement =
            self.statements.get(&purpose).ok_or_else(|| refused("there is no records key in force"))?;
        let statement = RootStatement::decode(&statement.statement).map_err(refused)?;
        let least_epoch = self.epochs.get(&purpose).copied().unwrap_or(0);
        statement.check(&KeyNeed { tenant, purpose, now, least_epoch }).map_err(refused)?;
        Ok(statement)
    }
}

/// The clinic as far as its root vouches for it.
pub(crate) struct Admitted {
    pub(crate) clinic: ClinicRecord,
    pub(crate) keys: Vec<ClinicKey>,
}

/// Checks what the server says of the clinic: the root against the pin, every statement under the root, no
/// purpose behind the epoch seen before.
///
/// # Errors
/// [`Error::ClinicKeys`].
pub(crate) fn admit(
    clinic: &keys::Clinic,
    pin: RootFingerprint,
    tenant: TenantId,
    known: Option<&ClinicRecord>,
    now: Timestamp,
) -> Result<Admitted> {
    if clinic.clinic_id != tenant {
        return Err(refused("they are another clinic's"));
    }
    let root = clinic.root_public_key.ok_or_else(|| refused("they are not installed on the server yet"))?;
    let root =
        pin.admit(root.as_slice()).map_err(|_| refused("the root key is not the one on the root card"))?;
    let mut epochs = known.map(|known| known.epochs.clone()).unwrap_or_default();
    let mut statements = BTreeMap::<KeyPurpose, keys::SignedRootStatement>::new();
    let mut keys = Vec::new();
    for offered in &clinic.root_statements {
        let signed = SignedRootStatement::from(offered);
        let statement = signed.verify_signature(&root).map_err(refused)?;
        let need = KeyNeed { tenant, purpose: statement.purpose, now, least_epoch: 0 };
        match statement.check(&need) {
            Ok(()) => {
                let newest = epochs.entry(statement.purpose).or_insert(0);
                if statement.epoch >= *newest {
                    *newest = statement.epoch;
                    statements.insert(statement.purpose, offered.clone());
                }
            }
            // Of use for what was signed in its time only.
            Err(RootError::NotYetValid | RootError::Expired) => {}
            Err(other) => return Err(refused(other)),
        }
        keys.push(ClinicKey { key_id: signed.key_id(), statement: offered.clone() });
    }
    for (purpose, epoch) in known.into_iter().flat_map(|known| &known.epochs) {
        if !statements.contains_key(purpose) {
            return Err(refused(format!("the {purpose} key of epoch {epoch} is not offered any more")));
        }
    }
    let clinic = ClinicRecord {
        name: clinic.name.clone(),
        time_zone: clinic.time_zone.clone(),
        emergency_number: clinic.emergency_number.clone(),
        root_public_key: Base64Array(root.to_bytes()),
        statements,
        epochs,
        fetched_at: now,
    };
    Ok(Admitted { clinic, keys })
}

fn refused(problem: impl std::fmt::Display) -> Error {
    Error::ClinicKeys(problem.to_string())
}
