//! Who is on call when.

use std::collections::BTreeMap;

use sigilo_wire::{
    Role, ShiftId, Timestamp, UserId,
    emergency::{NewShift, OnCallMember, Roster, SetEscalation, Shift},
};

use super::{ESCALATE_AFTER_S, MAX_TIERS, store};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    people,
    policy::{self, Grant, ManageOnCall, facts},
    rng,
    storage::Tx,
};

/// The most people who are called, so that they and the patient fit in one conversation.
const MAX_CALLED: usize = crate::conversations::MAX_PARTICIPANTS - 1;

/// Who has a shift at an instant (its beginning counts, its end does not), in order of tiers and ids. Somebody with
/// several shifts is of the first of their tiers.
#[must_use]
pub fn on_call(shifts: &[Shift], at: Timestamp) -> Vec<OnCallMember> {
    let mut tiers: BTreeMap<UserId, u32> = BTreeMap::new();
    for shift in shifts.iter().filter(|s| s.from <= at && s.until.is_none_or(|until| at < until)) {
        let tier = tiers.entry(shift.user_id).or_insert(shift.tier);
        *tier = shift.tier.min(*tier);
    }
    let mut members: Vec<OnCallMember> =
        tiers.into_iter().map(|(user_id, tier)| OnCallMember { user_id, tier }).collect();
    members.sort_by_key(|member| (member.tier, member.user_id));
    members
}

/// Those of them who can be reached, their tiers numbered from 1 without gaps: a tier nobody is left of is no pause.
pub(super) fn called(on_call: &[OnCallMember], reachable: &[UserId]) -> Vec<OnCallMember> {
    let mut called: Vec<OnCallMember> = Vec::new();
    let (mut tier, mut last) = (0, None);
    for member in on_call.iter().filter(|member| reachable.contains(&member.user_id)).take(MAX_CALLED) {
        if last != Some(member.tier) {
            (tier, last) = (tier + 1, Some(member.tier));
        }
        called.push(OnCallMember { user_id: member.user_id, tier });
    }
    called
}

/// The grant to see and change the roster of the clinic `ctx` is for, and to see its emergencies.
///
/// # Errors
/// `forbidden` for all but the operator and the clinic's admins.
pub async fn authorize_manage(app: &App, ctx: &Ctx) -> Result<Grant<ManageOnCall>> {
    let decision = app.policy.decide::<ManageOnCall>(ctx, &facts::Clinic { tenant: ctx.tenant });
    policy::audited(app, ctx, decision, None, &[("clinic", ctx.tenant.to_string())]).await
}

/// The roster from now on, and who would be called now.
///
/// # Errors
/// When the database refuses.
pub async fn roster(app: &App, ctx: &Ctx, _grant: Grant<ManageOnCall>) -> Result<Roster> {
    let mut tx = app.db.read("on_call_roster").await?;
    let shifts = store::shifts(&mut tx, ctx.tenant, ctx.now).await?;
    let reachable = store::reachable(&mut tx, ctx.tenant).await?;
    let all = on_call(&shifts, ctx.now);
    let unreachable = all.iter().map(|member| member.user_id).filter(|user| !reachable.contains(user));
    Ok(Roster {
        on_call_now: called(&all, &reachable),
        unreachable_now: unreachable.collect(),
        escalate_after_s: escalate_after(&mut tx, ctx).await?,
        shifts,
    })
}

/// How long each tier has to acknowledge, in seconds.
pub(super) async fn escalate_after(tx: &mut Tx, ctx: &Ctx) -> Result<u32> {
    Ok(people::settings(tx, ctx.tenant).await?.escalate_after_s.unwrap_or(ESCALATE_AFTER_S))
}

/// Adds a shift.
///
/// # Errors
/// `invalid_field`; 404 when the clinic has no such person.
pub async fn add_shift(app: &App, ctx: &Ctx, grant: Grant<ManageOnCall>, new: &NewShift) -> Result<Shift> {
    if !(1..=MAX_TIERS).contains(&new.tier) {
        return Err(Error::field("tier", "is 1 to 5"));
    }
    let from = new.from.unwrap_or(ctx.now);
    if new.until.is_some_and(|until| until <= from || until <= ctx.now) {
        return Err(Error::field("until", "is after the beginning, and to come"));
    }
    let shift_id = ShiftId::new(ctx.now, rng::bytes(&*app.entropy));
    let shift = Shift { shift_id, user_id: new.user_id, tier: new.tier, from, until: new.until };
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("on_call_add").await?;
    let role = store::role(&mut tx, ctx.tenant, new.user_id).await?.ok_or(Error::NotFound)?;
    if role != Role::Doctor.as_str() {
        return Err(Error::field("user_id", "is not a clinician"));
    }
    store::insert_shift(&mut tx, ctx.tenant, &shift, ctx.now).await?;
    let until = new.until.map_or_else(|| "open".to_owned(), |until| until.to_string());
    let act = Act::done("add_on_call_shift")
        .object("shift", shift_id)
        .object("clinician", new.user_id)
        .object("tier", new.tier)
        .object("from", from)
        .object("until", until);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await?;
    Ok(shift)
}

/// Takes a shift away. Emergencies that are open stay as they are.
///
/// # Errors
/// 404 when the clinic has no such shift.
pub async fn remove_shift(app: &App, ctx: &Ctx, grant: Grant<ManageOnCall>, shift: ShiftId) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("on_call_remove").await?;
    let user = store::delete_shift(&mut tx, ctx.tenant, shift).await?.ok_or(Error::NotFound)?;
    let act = Act::done("remove_on_call_shift").object("shift", shift).object("clinician", user);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await
}

/// Changes how long each tier of the emergencies to come has to acknowledge.
///
/// # Errors
/// `invalid_field` unless it is one minute to one hour.
pub async fn set_escalation(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOnCall>,
    change: &SetEscalation,
) -> Result<()> {
    let seconds = change.escalate_after_s;
    if !(60..=3600).contains(&seconds) {
        return Err(Error::field("escalate_after_s", "is 60 to 3600"));
    }
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("on_call_settings").await?;
    people::change_settings(&mut tx, ctx.tenant, |settings| settings.escalate_after_s = Some(seconds))
        .await?;
    let act = Act::done("change_settings").object("clinic", ctx.tenant).object("escalate_after_s", seconds);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u8) -> UserId {
        UserId::from_bytes([n; 16])
    }

    fn shift(n: u8, tier: u32, from: i64, until: Option<i64>) -> Shift {
        Shift {
            shift_id: ShiftId::from_bytes([n; 16]),
            user_id: user(n),
            tier,
            from: Timestamp::from_micros(from),
            until: until.map(Timestamp::from_micros),
        }
    }

    fn at(shifts: &[Shift], micros: i64) -> Vec<(u8, u32)> {
        let members = on_call(shifts, Timestamp::from_micros(micros));
        members.iter().map(|member| (member.user_id.as_bytes()[0], member.tier)).collect()
    }

    #[test]
    fn a_shift_begins_with_its_first_instant_and_ends_before_its_last() {
        let shifts = [shift(1, 1, 10, Some(20)), shift(2, 1, 20, Some(30)), shift(3, 2, 0, None)];
        assert_eq!(at(&shifts, 9), [(3, 2)]);
        assert_eq!(at(&shifts, 10), [(1, 1), (3, 2)]);
        assert_eq!(at(&shifts, 19), [(1, 1), (3, 2)]);
        assert_eq!(at(&shifts, 20), [(2, 1), (3, 2)]);
        assert_eq!(at(&shifts, 30), [(3, 2)]);
    }

    #[test]
    fn somebody_with_two_shifts_is_called_once_and_first() {
        let shifts = [shift(1, 3, 0, None), shift(1, 1, 5, Some(6)), shift(2, 2, 0, None)];
        assert_eq!(at(&shifts, 4), [(2, 2), (1, 3)]);
        assert_eq!(at(&shifts, 5), [(1, 1), (2, 2)]);
    }

    #[test]
    fn a_tier_nobody_is_left_of_is_no_pause() {
        let shifts = [shift(1, 1, 0, None), shift(2, 2, 0, None), shift(3, 2, 0, None), shift(4, 5, 0, None)];
        let all = on_call(&shifts, Timestamp::from_micros(0));
        let tiers = |reachable: &[u8]| {
            let reachable: Vec<UserId> = reachable.iter().map(|n| user(*n)).collect();
            let called = called(&all, &reachable);
            called.iter().map(|member| (member.user_id.as_bytes()[0], member.tier)).collect::<Vec<_>>()
        };
        assert_eq!(tiers(&[1, 2, 3, 4]), [(1, 1), (2, 2), (3, 2), (4, 3)]);
        assert_eq!(tiers(&[3, 4]), [(3, 1), (4, 2)]);
        assert_eq!(tiers(&[]), []);
    }
}
