//! Importing what a file says, in transactions of a bounded size. A file may be imported again at any time,
//! also after a crash in the middle: what is there already stays as it is.

use std::collections::BTreeMap;

use serde::Serialize;
use sigilo_wire::{AppointmentId, RelationshipId, Role, UserId};

use super::{
    AppointmentRecord, AppointmentStatus, Identifier, PersonRecord, Records, Refused,
    store::{self, AppointmentRow, PersonRow},
};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act, Prepared, hex},
    conversations,
    policy::{Basis, Grant, ManageRelationships},
    rng,
    storage::{Tx, crypter::Place, keystore::DataKey},
};

/// How many records one transaction takes.
const BATCH: usize = 200;

/// What an import did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ImportReport {
    /// People the clinic did not know.
    pub persons_created: usize,
    /// People whose name or speciality was another.
    pub persons_updated: usize,
    /// People who were as the file says.
    pub persons_unchanged: usize,
    /// Appointments (of one patient with one clinician) the clinic did not know.
    pub appointments_created: usize,
    /// Appointments whose status or times were others.
    pub appointments_updated: usize,
    /// Appointments that were as the file says.
    pub appointments_unchanged: usize,
    /// Relationships made.
    pub relationships_made: usize,
    /// Relationships that ended because their appointment did.
    pub relationships_revoked: usize,
    /// Entries and rows that were not taken, and why.
    pub refused: Vec<Refused>,
    /// Resource types or columns that were passed over.
    pub passed_over: BTreeMap<String, usize>,
}

/// One batch under way.
struct Batch<'a> {
    app: &'a App,
    ctx: &'a Ctx,
    basis: &'a Basis,
    key: &'a DataKey,
    tx: &'a mut Tx,
    report: &'a mut ImportReport,
    entries: Vec<Prepared>,
}

/// Imports people and appointments, and makes or ends the relationships that follow.
///
/// # Errors
/// When the clinic is not there (404) or the database refuses: what earlier batches did stays, and the file can
/// be imported again.
pub async fn import(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    records: Records,
) -> Result<ImportReport> {
    let Records { sha256, persons, appointments, refused, passed_over } = records;
    let mut report = ImportReport { refused, passed_over, ..ImportReport::default() };
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    for chunk in persons.chunks(BATCH) {
        let mut tx = begin(app, ctx).await?;
        let mut batch = Batch::new(app, ctx, grant.basis(), &key, &mut tx, &mut report);
        for person in chunk {
            batch.person(person).await?;
        }
        batch.finish();
        tx.commit().await?;
    }
    for chunk in appointments.chunks(BATCH) {
        let mut tx = begin(app, ctx).await?;
        let mut batch = Batch::new(app, ctx, grant.basis(), &key, &mut tx, &mut report);
        for appointment in chunk {
            batch.appointment(appointment).await?;
        }
        batch.finish();
        tx.commit().await?;
    }
    report.refused.sort_by_key(|refused| refused.row);
    let mut tx = begin(app, ctx).await?;
    let act = Act::done("import_appointments")
        .object("file_sha256", hex(&sha256))
        .object("persons", persons.len())
        .object("appointments", appointments.len())
        .object("refused", report.refused.len())
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(report)
}

async fn begin(app: &App, ctx: &Ctx) -> Result<Tx> {
    let mut tx = app.db.begin("import_appointments").await?;
    if store::lock_clinic(&mut tx, ctx.tenant).await? { Ok(tx) } else { Err(Error::NotFound) }
}

impl<'a> Batch<'a> {
    const fn new(
        app: &'a App,
        ctx: &'a Ctx,
        basis: &'a Basis,
        key: &'a DataKey,
        tx: &'a mut Tx,
        report: &'a mut ImportReport,
    ) -> Self {
        Self { app, ctx, basis, key, tx, report, entries: Vec::new() }
    }

    /// Writes the batch's audit entries.
    fn finish(self) {
        audit::write(self.tx, self.ctx.tenant, self.entries);
    }

    fn note(&mut self, act: Act<'_>) -> Result<()> {
        let entry = audit::prepare(self.ctx, &act, self.key, None, &*self.app.entropy)?;
        self.entries.push(entry);
        Ok(())
    }

    fn refuse(&mut self, row: usize, resource: &str, problem: &str) {
        self.report.refused.push(Refused::new(row, resource, problem));
    }

    async fn person(&mut self, record: &PersonRecord) -> Result<()> {
        let resource = if record.role == Role::Patient { "Patient" } else { "Practitioner" };
        let mut known: Option<PersonRow> = None;
        for identifier in &record.identifiers {
            let Some(found) = store::person(self.tx, self.ctx.tenant, identifier).await? else { continue };
            if known.as_ref().is_some_and(|known| known.user_id != found.user_id) {
                self.refuse(record.row, resource, "its identifiers belong to different people");
                return Ok(());
            }
            known = Some(found);
        }
        if known.as_ref().is_some_and(|known| known.role != record.role.as_str()) {
            self.refuse(record.row, resource, "its identifier belongs to a person with another role");
            return Ok(());
        }
        let user = match known {
            Some(known) => self.update_person(record, &known).await?,
            None => self.create_person(record).await?,
        };
        for identifier in &record.identifiers {
            store::insert_identifier(self.tx, self.ctx.tenant, identifier, user, self.ctx.now).await?;
        }
        Ok(())
    }

    async fn create_person(&mut self, record: &PersonRecord) -> Result<UserId> {
        let user = UserId::new(self.ctx.now, rng::bytes(&*self.app.entropy));
        let name = self.seal_name(user, &record.name)?;
        let place = (self.ctx.tenant, record.role);
        let speciality = record.speciality.as_deref();
        store::insert_person(self.tx, user, place, &name, speciality, self.ctx.now).await?;
        let patient = (record.role == Role::Patient).then_some(user);
        let basis = self.basis;
        self.note(Act::done("import_person").object("user", user).patient(patient).by(basis))?;
        self.report.persons_created += 1;
        Ok(user)
    }

    /// The file's name counts until the person has an account; from then on it is theirs to change.
    async fn update_person(&mut self, record: &PersonRecord, known: &PersonRow) -> Result<UserId> {
        let user = known.user_id;
        let place = Place { table: "users", row: user.as_bytes(), column: "full_name_enc" };
        let name = self.app.crypter.decrypt_text(place, &known.full_name_enc)?;
        let renamed = name != record.name && matches!(known.status.as_str(), "person" | "invited");
        let speciality = record.speciality.as_deref().or(known.speciality.as_deref());
        if !renamed && speciality == known.speciality.as_deref() {
            self.report.persons_unchanged += 1;
            return Ok(user);
        }
        let name = if renamed { &record.name } else { &name };
        let sealed = self.seal_name(user, name)?;
        store::update_person(self.tx, user, &sealed, speciality).await?;
        let patient = (record.role == Role::Patient).then_some(user);
        let basis = self.basis;
        self.note(Act::done("update_person").object("user", user).patient(patient).by(basis))?;
        self.report.persons_updated += 1;
        Ok(user)
    }

    fn seal_name(&self, user: UserId, name: &str) -> Result<Vec<u8>> {
        let place = Place { table: "users", row: user.as_bytes(), column: "full_name_enc" };
        self.app.crypter.encrypt(place, name.as_bytes(), &*self.app.entropy)
    }

    async fn appointment(&mut self, record: &AppointmentRecord) -> Result<()> {
        let Some(patients) = self.resolve(record, &record.patients, Role::Patient).await? else {
            return Ok(());
        };
        let Some(clinicians) = self.resolve(record, &record.clinicians, Role::Doctor).await? else {
            return Ok(());
        };
        let known = store::appointments(self.tx, self.ctx.tenant, &record.identifier).await?;
        let pairs: Vec<(UserId, UserId)> =
            patients.iter().flat_map(|patient| clinicians.iter().map(|doctor| (*patient, *doctor))).collect();
        for pair in &pairs {
            let row = known.iter().find(|row| (row.patient_id, row.clinician_id) == *pair);
            self.pair(record, *pair, row).await?;
        }
        // The appointment is with somebody else now: with those it was with, it is off.
        for row in known.iter().filter(|row| !pairs.contains(&(row.patient_id, row.clinician_id))) {
            self.end(row).await?;
        }
        Ok(())
    }

    /// The people behind identifiers; `None`, with the reason in the report, when one is not known.
    async fn resolve(
        &mut self,
        record: &AppointmentRecord,
        identifiers: &[Identifier],
        role: Role,
    ) -> Result<Option<Vec<UserId>>> {
        let mut users = Vec::with_capacity(identifiers.len());
        for identifier in identifiers {
            match store::person(self.tx, self.ctx.tenant, identifier).await? {
                Some(person) if person.role == role.as_str() => users.push(person.user_id),
                _ => {
                    let problem = format!("names a {role} this clinic does not know");
                    self.refuse(record.row, "Appointment", &problem);
                    return Ok(None);
                }
            }
        }
        users.sort_unstable();
        users.dedup();
        Ok(Some(users))
    }

    /// One patient with one clinician.
    async fn pair(
        &mut self,
        record: &AppointmentRecord,
        pair: (UserId, UserId),
        known: Option<&AppointmentRow>,
    ) -> Result<()> {
        let (status, times, now) = (record.status.as_str(), (record.starts_at, record.ends_at), self.ctx.now);
        let id = match known {
            None => {
                let id = AppointmentId::new(now, rng::bytes(&*self.app.entropy));
                store::insert_appointment(self.tx, id, self.ctx.tenant, pair, record, now).await?;
                self.report.appointments_created += 1;
                id
            }
            Some(row) if row.status == status && (row.starts_at, row.ends_at) == times => {
                self.report.appointments_unchanged += 1;
                row.appointment_id
            }
            Some(row) => {
                store::update_appointment(self.tx, row.appointment_id, status, times, now).await?;
                self.report.appointments_updated += 1;
                row.appointment_id
            }
        };
        if !record.status.is_care() {
            return self.revoke(id, pair).await;
        }
        if store::is_settled(self.tx, id).await? {
            return Ok(());
        }
        let relationship = RelationshipId::new(now, rng::bytes(&*self.app.entropy));
        store::insert_relationship(self.tx, relationship, self.ctx.tenant, pair, id, now).await?;
        self.changed("make_relationship", relationship, pair).await?;
        self.report.relationships_made += 1;
        Ok(())
    }

    async fn end(&mut self, row: &AppointmentRow) -> Result<()> {
        let cancelled = AppointmentStatus::Cancelled.as_str();
        if row.status != cancelled {
            let times = (row.starts_at, row.ends_at);
            store::update_appointment(self.tx, row.appointment_id, cancelled, times, self.ctx.now).await?;
            self.report.appointments_updated += 1;
        }
        self.revoke(row.appointment_id, (row.patient_id, row.clinician_id)).await
    }

    async fn revoke(&mut self, appointment: AppointmentId, pair: (UserId, UserId)) -> Result<()> {
        for relationship in store::revoke_of_appointment(self.tx, appointment, self.ctx.now).await? {
            self.changed("revoke_relationship", relationship, pair).await?;
            self.report.relationships_revoked += 1;
        }
        Ok(())
    }

    /// Grants of the pair's conversations are stale from here on.
    async fn changed(
        &mut self,
        act: &'static str,
        relationship: RelationshipId,
        (patient, clinician): (UserId, UserId),
    ) -> Result<()> {
        conversations::facts_changed_between(self.tx, patient, clinician).await?;
        let basis = self.basis;
        let act = Act::done(act)
            .object("relationship", relationship)
            .object("clinician", clinician)
            .patient(Some(patient))
            .by(basis);
        self.note(act)
    }
}
