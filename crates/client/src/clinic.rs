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
        let statement = self.find_clinic_key(key_id).await?;
        let statement =
            statement.ok_or_else(|| refused(format!("no statement of the root names key {key_id}")))?;
        let need =
            KeyNeed { tenant: self.account()?.tenant, purpose: KeyPurpose::Receipt, now: at, least_epoch: 0 };
        statement.check(&need).map_err(refused)?;
        statement.ed25519_key().map_err(refused)
    }

    /// The verified statement of a key of the clinic; an unknown one makes the client fetch once.
    pub(crate) async fn find_clinic_key(&self, key_id: KeyId) -> Result<Option<RootStatement>> {
        let mut key: Option<ClinicKey> = self.profile.get(key_id.as_bytes()).await?;
        if key.is_none() {
            self.refresh_clinic().await?;
            key = self.profile.get(key_id.as_bytes()).await?;
        }
        key.map(|key| RootStatement::decode(&key.statement.statement).map_err(refused)).transpose()
    }
}

impl ClinicRecord {
    /// What another device of the user knows of the clinic's keys. The rest is fetched before it is needed.
    pub(crate) fn not_fetched(epochs: BTreeMap<KeyPurpose, u32>) -> Self {
        Self {
            name: String::new(),
            time_zone: String::new(),
            emergency_number: String::new(),
            root_public_key: Base64Array([0; 32]),
            statements: BTreeMap::new(),
            epochs,
            fetched_at: Timestamp::from_micros(0),
        }
    }

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
/// purpose behind the epoch seen before, none withheld. A purpose whose statement is offered, but not valid now,
/// has no key in force; the others go on.
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
    let mut offers = Vec::new();
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
        offers.push(statement);
    }
    for (purpose, epoch) in known.into_iter().flat_map(|known| &known.epochs) {
        if !offers.iter().any(|offer| offer.purpose == *purpose && stands_for(offer, *epoch, now)) {
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

/// Whether an offered statement is that of the epoch seen before, or has taken its place. One whose time is still
/// to come has not: until then the other one must be offered beside it.
fn stands_for(offer: &RootStatement, epoch: u32, now: Timestamp) -> bool {
    offer.epoch == epoch || (offer.epoch > epoch && offer.not_before <= now)
}

fn refused(problem: impl std::fmt::Display) -> Error {
    Error::ClinicKeys(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Clinic, NOW};
    use sigilo_wire::keys::SignedRootStatement as Offered;

    fn offered(clinic: &Clinic) -> keys::Clinic {
        let statements = [clinic.records_statement(), clinic.receipt_statement()];
        keys::Clinic {
            clinic_id: clinic.tenant,
            name: "Clínica Centro".into(),
            slug: "centro".into(),
            time_zone: "America/Mexico_City".into(),
            hours: serde_json::json!({}),
            exceptions: Vec::new(),
            emergency_number: "911".into(),
            root_public_key: Some(clinic.root.public().to_bytes().into()),
            root_statements: statements.iter().map(|s| Offered::from(&s.sign(&clinic.root))).collect(),
            policy_set: String::new(),
            server_time: NOW,
        }
    }

    fn check(clinic: &Clinic, answer: &keys::Clinic, known: Option<&ClinicRecord>) -> Result<ClinicRecord> {
        let pin = RootFingerprint::of(&clinic.root.public());
        admit(answer, pin, clinic.tenant, known, NOW).map(|admitted| admitted.clinic)
    }

    #[test]
    fn keys_under_the_pinned_root_are_admitted() {
        let clinic = Clinic::new();
        let record = check(&clinic, &offered(&clinic), None).unwrap();
        let records = record.records_key(clinic.tenant, NOW).unwrap();
        assert_eq!(records.key_id(), clinic.records_statement().key_id());
        assert_eq!(record.epochs[&KeyPurpose::Receipt], 1);
    }

    #[test]
    fn another_root_clinic_signature_or_no_root_is_refused() {
        let clinic = Clinic::new();
        let changes: [fn(&mut keys::Clinic); 4] = [
            |a| a.root_public_key = None,
            |a| {
                a.root_public_key =
                    Some(sigilo_seal::Ed25519Secret::from_seed([7; 32]).public().to_bytes().into())
            },
            |a| a.clinic_id = TenantId::from_bytes([9; 16]),
            |a| a.root_statements[0].signature.0[0] ^= 1,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut answer = offered(&clinic);
            change(&mut answer);
            let refused = check(&clinic, &answer, None);
            assert!(matches!(refused, Err(Error::ClinicKeys(_))), "change {number}");
        }
    }

    #[test]
    fn an_older_epoch_is_refused_and_a_newer_one_taken() {
        let clinic = Clinic::new();
        let known = check(&clinic, &offered(&clinic), None).unwrap();
        let next = clinic.statement(KeyPurpose::Records, 2, clinic.records.public().as_bytes().to_vec());
        let mut newer = offered(&clinic);
        newer.root_statements.push(Offered::from(&next.sign(&clinic.root)));
        let known_newer = check(&clinic, &newer, Some(&known)).unwrap();
        assert_eq!(known_newer.records_key(clinic.tenant, NOW).unwrap().epoch, 2);
        assert!(check(&clinic, &offered(&clinic), Some(&known_newer)).is_err());
    }

    /// The clinic with these statements instead.
    fn offering(clinic: &Clinic, statements: &[&RootStatement]) -> keys::Clinic {
        let mut answer = offered(clinic);
        answer.root_statements = statements.iter().map(|s| Offered::from(&s.sign(&clinic.root))).collect();
        answer
    }

    #[test]
    fn a_key_whose_time_is_over_stops_its_own_purpose_only() {
        let clinic = Clinic::new();
        let known = check(&clinic, &offered(&clinic), None).unwrap();
        for (name, validity) in [("expired", (-2, -1)), ("not yet valid", (1, 2))] {
            let mut receipt = clinic.receipt_statement();
            let day = |number: i64| Timestamp::from_micros(NOW.micros() + number * 24 * 3_600_000_000);
            (receipt.not_before, receipt.not_after) = (day(validity.0), day(validity.1));
            let answer = offering(&clinic, &[&clinic.records_statement(), &receipt]);
            let record = check(&clinic, &answer, Some(&known)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(record.records_key(clinic.tenant, NOW).is_ok(), "{name}");
            assert!(!record.statements.contains_key(&KeyPurpose::Receipt), "{name}: no key in force");
            assert_eq!(record.epochs, known.epochs, "{name}: no way back");
        }
    }

    #[test]
    fn a_statement_that_was_seen_is_not_to_be_withheld() {
        let clinic = Clinic::new();
        let known = check(&clinic, &offered(&clinic), None).unwrap();
        let (records, receipt) = (clinic.records_statement(), clinic.receipt_statement());
        assert!(check(&clinic, &offering(&clinic, &[&records]), Some(&known)).is_err(), "no receipt key");
        // Another key stands for it once it has begun, not before.
        let mut next = clinic.statement(KeyPurpose::Records, 2, records.public_key.clone());
        assert!(check(&clinic, &offering(&clinic, &[&next, &receipt]), Some(&known)).is_ok());
        next.not_before = NOW + std::time::Duration::from_secs(1);
        assert!(check(&clinic, &offering(&clinic, &[&next, &receipt]), Some(&known)).is_err());
        let both = check(&clinic, &offering(&clinic, &[&records, &next, &receipt]), Some(&known)).unwrap();
        assert_eq!(
            both.records_key(clinic.tenant, NOW).unwrap().epoch,
            1,
            "it is still the time of the first"
        );
    }

    #[test]
    fn a_lower_epoch_does_not_come_back_when_the_higher_one_expires() {
        let clinic = Clinic::new();
        let first = clinic.records_statement();
        let mut second = clinic.statement(KeyPurpose::Records, 2, first.public_key.clone());
        let receipt = clinic.receipt_statement();
        let known = check(&clinic, &offering(&clinic, &[&first, &second, &receipt]), None).unwrap();
        assert_eq!(known.epochs[&KeyPurpose::Records], 2);
        second.not_after = NOW;
        let later = check(&clinic, &offering(&clinic, &[&first, &second, &receipt]), Some(&known)).unwrap();
        assert!(later.records_key(clinic.tenant, NOW).is_err(), "the second has expired, the first is past");
    }

    #[test]
    fn an_expired_key_is_not_in_force() {
        let clinic = Clinic::new();
        let mut old = clinic.records_statement();
        old.not_after = NOW;
        let mut answer = offered(&clinic);
        answer.root_statements[0] = Offered::from(&old.sign(&clinic.root));
        let record = check(&clinic, &answer, None).unwrap();
        assert!(record.records_key(clinic.tenant, NOW).is_err());
    }
}
