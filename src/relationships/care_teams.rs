//! Care teams: every clinician of one treats every patient assigned to it, while both are there.

use sigilo_wire::{
    CareTeamId, ErrorCode, RelationshipId, Role, Timestamp, UserId,
    care::{CarePeriod, CareTeam, CareTeamList, CareTeamMember, CareTeamSummary, NewCareTeam},
};

use super::{
    manage::name,
    store::care_teams::{self as store, MemberRow, NewPair, Pair, TeamRow},
};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    conversations, free_text,
    paging::Paging,
    people,
    policy::{Basis, Grant, ManageRelationships},
    rng,
    storage::{Tx, crypter::Place},
};

/// On which side of a care team somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who treats.
    Clinician,
    /// Who is treated.
    Patient,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Clinician => "clinician",
            Self::Patient => "patient",
        }
    }

    const fn role(self) -> Role {
        match self {
            Self::Clinician => Role::Doctor,
            Self::Patient => Role::Patient,
        }
    }

    /// The most people on it: the relationships of a team are one for each pair.
    const fn most(self) -> usize {
        match self {
            Self::Clinician => 50,
            Self::Patient => 2_000,
        }
    }
}

const NAME: Place<'static> = Place { table: "care_teams", row: &[], column: "name_enc" };

/// A page of the clinic's teams, those that have ended among them, oldest first.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list_care_teams(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageRelationships>,
    paging: &Paging,
) -> Result<CareTeamList> {
    let window = paging.window()?;
    let after = paging.place()?.unwrap_or_else(|| CareTeamId::from_bytes([0; 16]));
    let mut tx = app.db.read("care_teams").await?;
    let mut rows = store::list(&mut tx, ctx.tenant, after, window).await?;
    drop(tx);
    let next_cursor = window.cut(&mut rows, |row| row.team.care_team_id);
    let summary = |row: store::CountedRow| {
        let TeamRow { care_team_id, created_at, ended_at, .. } = row.team;
        let (clinicians, patients) = (row.clinicians, row.patients);
        let name = team_name(app, &row.team)?;
        Ok(CareTeamSummary { care_team_id, name, created_at, ended_at, clinicians, patients })
    };
    let results = rows.into_iter().map(summary).collect::<Result<_>>()?;
    Ok(CareTeamList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// A team with its people.
///
/// # Errors
/// 404 when the clinic has no such team.
pub async fn care_team(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageRelationships>,
    id: CareTeamId,
) -> Result<CareTeam> {
    let mut tx = app.db.read("care_team").await?;
    let team = store::by_id(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    let (patients, clinicians): (Vec<MemberRow>, Vec<MemberRow>) =
        store::members(&mut tx, id).await?.into_iter().partition(|row| row.side == Side::Patient.as_str());
    drop(tx);
    let shown = |rows: Vec<MemberRow>| rows.into_iter().map(|row| member(app, row)).collect::<Result<_>>();
    Ok(CareTeam {
        care_team_id: id,
        name: team_name(app, &team)?,
        created_at: team.created_at,
        ended_at: team.ended_at,
        clinicians: shown(clinicians)?,
        patients: shown(patients)?,
    })
}

fn team_name(app: &App, team: &TeamRow) -> Result<String> {
    app.crypter.decrypt_text(Place { row: team.care_team_id.as_bytes(), ..NAME }, &team.name_enc)
}

fn member(app: &App, row: MemberRow) -> Result<CareTeamMember> {
    let name = name(app, row.user_id, &row.full_name_enc)?;
    let MemberRow { user_id, starts_at, ends_at, .. } = row;
    Ok(CareTeamMember { user_id, name, starts_at, ends_at })
}

/// Makes a team without people.
///
/// # Errors
/// `invalid_field`, `phi_detected` for the name.
pub async fn create_care_team(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    wanted: &NewCareTeam,
) -> Result<CareTeam> {
    free_text::check("name", &wanted.name)?;
    let id = CareTeamId::new(ctx.now, rng::bytes(&*app.entropy));
    let place = Place { row: id.as_bytes(), ..NAME };
    let name_enc = app.crypter.encrypt(place, wanted.name.as_bytes(), &*app.entropy)?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("care_team_create").await?;
    store::insert(&mut tx, id, ctx.tenant, &name_enc, ctx.now).await?;
    let act = Act::done("create_care_team").object("care_team", id).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(CareTeam {
        care_team_id: id,
        name: wanted.name.clone(),
        created_at: ctx.now,
        ended_at: None,
        clinicians: Vec::new(),
        patients: Vec::new(),
    })
}

/// Puts somebody into a team, or changes from when to when they are in it. With everybody of the other side they are in
/// a care relationship while both are there; that counts at once, on open sockets, too. What a person has revoked stays
/// revoked until one of the two is taken out and put in again.
///
/// # Errors
/// `invalid_field`; 404 when the clinic has no such team or person; `already_settled` when the team was ended.
pub async fn put_care_team_member(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    id: CareTeamId,
    (side, user): (Side, UserId),
    period: &CarePeriod,
) -> Result<CareTeamMember> {
    let (starts, ends) = (period.starts_at.unwrap_or(ctx.now), period.ends_at);
    if ends.is_some_and(|ends| ends <= starts || ends <= ctx.now) {
        return Err(Error::field("ends_at", "is after the beginning, and to come"));
    }
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("care_team_put").await?;
    lock_standing(&mut tx, ctx, id).await?;
    if people::person(&mut tx, ctx.tenant, user).await?.role != side.role() {
        return Err(Error::field("user_id", format!("is not a {}", side.as_str())));
    }
    let revoked = store::revoke_of_member(&mut tx, id, user, ctx.now).await?;
    conversations::facts_changed_of(&mut tx, user).await?;
    store::put_member(&mut tx, id, side.as_str(), user, (starts, ends)).await?;
    let members = store::members(&mut tx, id).await?;
    let (same, other): (Vec<MemberRow>, Vec<MemberRow>) =
        members.into_iter().partition(|row| row.side == side.as_str());
    if same.len() > side.most() {
        let problem = format!("would be one more than the {} a care team may have", side.most());
        return Err(Error::field("user_id", problem));
    }
    let joined = same.into_iter().find(|row| row.user_id == user).ok_or(Error::NotFound)?;
    let decided = store::decided(&mut tx, id, user).await?;
    let stands = |row: &&MemberRow| {
        !decided.iter().any(|(_, patient, clinician)| [*patient, *clinician].contains(&row.user_id))
    };
    let made: Vec<NewPair> =
        other.iter().filter(stands).filter_map(|row| pair(app, ctx, side, &joined, row)).collect();
    store::insert_relationships(&mut tx, (ctx.tenant, id), &made, ctx.now).await?;
    let mut notes = Notes::new(ctx, id, grant.basis());
    notes.add("revoke_relationship", &revoked);
    let made: Vec<Pair> = made.iter().map(|pair| (pair.id, pair.patient, pair.clinician)).collect();
    notes.add("make_relationship", &made);
    let act = Act::done("put_care_team_member")
        .object("care_team", id)
        .object(side.as_str(), user)
        .object("starts_at", starts)
        .object("ends_at", ends.map_or_else(|| "open".to_owned(), |ends| ends.to_string()));
    notes.acts.push(act.about(side.role(), user).by(grant.basis()));
    notes.write(app, &mut tx, &key)?;
    tx.commit().await?;
    member(app, joined)
}

/// Takes somebody out of a team. What the team made of them ends at once, unless something else makes it, too.
///
/// # Errors
/// 404 when they are not in it.
pub async fn remove_care_team_member(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    id: CareTeamId,
    (side, user): (Side, UserId),
) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("care_team_remove").await?;
    store::lock(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    if !store::remove_member(&mut tx, id, side.as_str(), user).await? {
        return Err(Error::NotFound);
    }
    let revoked = store::revoke_of_member(&mut tx, id, user, ctx.now).await?;
    store::forget_decided(&mut tx, id, user).await?;
    conversations::facts_changed_of(&mut tx, user).await?;
    let mut notes = Notes::new(ctx, id, grant.basis());
    notes.add("revoke_relationship", &revoked);
    let act = Act::done("remove_care_team_member").object("care_team", id).object(side.as_str(), user);
    notes.acts.push(act.about(side.role(), user).by(grant.basis()));
    notes.write(app, &mut tx, &key)?;
    tx.commit().await?;
    Ok(())
}

/// Ends a team, and what it made. It stays in the list.
///
/// # Errors
/// 404 when the clinic has no such team; `already_settled` when it was ended before.
pub async fn end_care_team(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    id: CareTeamId,
) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("care_team_end").await?;
    lock_standing(&mut tx, ctx, id).await?;
    store::end(&mut tx, id, ctx.now).await?;
    let revoked = store::revoke_of_team(&mut tx, id, ctx.now).await?;
    // Each of these relationships is one of a clinician, and there are fewer of those.
    let mut clinicians: Vec<UserId> = revoked.iter().map(|(_, _, clinician)| *clinician).collect();
    clinicians.sort_unstable();
    clinicians.dedup();
    conversations::facts_changed_of_many(&mut tx, &clinicians).await?;
    let mut notes = Notes::new(ctx, id, grant.basis());
    notes.add("revoke_relationship", &revoked);
    notes.acts.push(Act::done("end_care_team").object("care_team", id).by(grant.basis()));
    notes.write(app, &mut tx, &key)?;
    tx.commit().await?;
    Ok(())
}

/// Holds a team that was not ended.
async fn lock_standing(tx: &mut Tx, ctx: &Ctx, id: CareTeamId) -> Result<()> {
    match store::lock(tx, ctx.tenant, id).await?.ok_or(Error::NotFound)? {
        None => Ok(()),
        Some(ended_at) => {
            let details = serde_json::json!({"problem": "the care team was ended", "ended_at": ended_at});
            Err(Error::conflict(ErrorCode::AlreadySettled, details))
        }
    }
}

/// What two people of a team are to each other, if they are there at the same time at all.
fn pair(app: &App, ctx: &Ctx, side: Side, joined: &MemberRow, other: &MemberRow) -> Option<NewPair> {
    let (starts, ends) = together(joined, other);
    if ends.is_some_and(|ends| ends <= starts.max(ctx.now)) {
        return None;
    }
    let (patient, clinician) = match side {
        Side::Clinician => (other.user_id, joined.user_id),
        Side::Patient => (joined.user_id, other.user_id),
    };
    let id = RelationshipId::new(ctx.now, rng::bytes(&*app.entropy));
    Some(NewPair { id, patient, clinician, starts, ends })
}

/// While both are there.
fn together(a: &MemberRow, b: &MemberRow) -> (Timestamp, Option<Timestamp>) {
    let ends = a.ends_at.into_iter().chain(b.ends_at).min();
    (a.starts_at.max(b.starts_at), ends)
}

/// The audit entries of a change: one for each relationship, in which its patient finds it.
struct Notes<'a> {
    ctx: &'a Ctx,
    team: CareTeamId,
    basis: &'a Basis,
    acts: Vec<Act<'a>>,
}

impl<'a> Notes<'a> {
    const fn new(ctx: &'a Ctx, team: CareTeamId, basis: &'a Basis) -> Self {
        Self { ctx, team, basis, acts: Vec::new() }
    }

    fn add(&mut self, act: &'static str, pairs: &[Pair]) {
        self.acts.extend(pairs.iter().map(|(id, patient, clinician)| {
            Act::done(act)
                .object("relationship", id)
                .object("care_team", self.team)
                .object("clinician", clinician)
                .patient(Some(*patient))
                .by(self.basis)
        }));
    }

    fn write(&self, app: &App, tx: &mut Tx, key: &crate::storage::keystore::DataKey) -> Result<()> {
        let prepare = |act| audit::prepare(self.ctx, act, key, None, &*app.entropy);
        let entries = self.acts.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        audit::write(tx, self.ctx.tenant, entries);
        Ok(())
    }
}
