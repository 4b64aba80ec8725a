//! The people the caller may start a conversation with, and why.

use sigilo_wire::{
    Role, UserId,
    conversation::{Contact, ContactList, ConversationType},
};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::{
    company,
    store::{self, CandidateQuery, CandidateRow},
};
use crate::{
    App, Ctx, Error, Result,
    paging::Paging,
    policy::{
        Grant, ListContacts, Person, StartConversation,
        facts::{People, Start, Ties},
    },
    storage::crypter::Place,
};

/// Which contacts are wanted.
#[derive(Clone, Debug, Default)]
pub struct ContactFilter {
    /// With this role.
    pub role: Option<Role>,
    /// Whose name has this in it, in any case and with or without accents.
    pub name: Option<String>,
    /// Which part of them.
    pub paging: Paging,
}

/// How many candidates are read at a time. Names are encrypted, so a search by name reads on until a page is
/// full.
const BATCH: i64 = 200;
/// A request looks at no more candidates than about this many; the next page goes on from there.
const MAX_LOOKED_AT: usize = 2_000;

/// A page of contacts, in order of their ids. The rules decide on each.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn contacts(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ListContacts>,
    filter: &ContactFilter,
) -> Result<ContactList> {
    let window = filter.paging.window()?;
    let caller = Person::caller(ctx)?;
    let name = filter.name.as_ref().map(|name| folded(name.trim())).unwrap_or_default();
    let mut after = filter.paging.place()?.unwrap_or_else(|| UserId::from_bytes([0; 16]));
    let mut passed_over = window.offset;
    let mut tx = app.db.read("contacts").await?;
    let ties = store::ties::of(&mut tx, ctx.tenant, *grant.resource(), ctx.now).await?;
    let shown = company::shown(app, &mut tx, caller.id).await?;
    let (mut found, mut looked_at, mut stopped_at) = (Vec::new(), 0, None);
    'pages: loop {
        let query = CandidateQuery {
            tenant: ctx.tenant,
            after,
            caller: caller.id,
            role: filter.role.map_or("", Role::as_str),
            circle: circle(caller.role),
            now: ctx.now,
            limit: BATCH,
        };
        let rows = store::candidates(&mut tx, &query).await?;
        looked_at += rows.len();
        let last_batch = i64::try_from(rows.len()).map_err(Error::internal)? < BATCH;
        for row in rows {
            after = row.user_id;
            let target = store::person(ctx.tenant, row.user_id, &row.role, &row.status)?;
            let Some(contact) = contact(app, ctx, (caller, target), &ties, row, &name)? else { continue };
            if passed_over > 0 {
                passed_over -= 1;
                continue;
            }
            found.push(contact);
            if i64::try_from(found.len()).map_err(Error::internal)? == window.limit {
                break 'pages;
            }
        }
        if last_batch {
            break;
        }
        if looked_at >= MAX_LOOKED_AT {
            stopped_at = Some(after);
            break;
        }
    }
    let next_found = window.cut(&mut found, |contact| contact.user_id);
    for contact in &mut found {
        contact.presence = shown.get(&contact.user_id).copied();
    }
    let next_cursor = next_found.or_else(|| stopped_at.map(|user: UserId| user.to_string()));
    Ok(ContactList { results: found, has_more: next_cursor.is_some(), next_cursor })
}

/// Among whom somebody of this role has contacts, beside those in care.
const fn circle(role: Role) -> &'static str {
    match role {
        Role::Admin => "everyone",
        Role::Doctor => "staff",
        _ => "",
    }
}

/// As names are compared: without case and accents.
fn folded(name: &str) -> String {
    name.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

/// The contact, if the name fits and a conversation of some type is allowed.
fn contact(
    app: &App,
    ctx: &Ctx,
    (caller, target): (Person, Person),
    ties: &Ties,
    row: CandidateRow,
    name: &str,
) -> Result<Option<Contact>> {
    let place = Place { table: "users", row: target.id.as_bytes(), column: "full_name_enc" };
    let full_name = app.crypter.decrypt_text(place, &row.full_name_enc)?;
    if !folded(&full_name).contains(name) {
        return Ok(None);
    }
    let both = [caller, target];
    let (people, by_appointment) = (People::of(caller.id, &both, ties), ties.by_appointment(&both));
    let (mut types, mut why) = (Vec::new(), Vec::new());
    for kind in ConversationType::ALL.iter().copied() {
        let facts = Start { caller, kind, targets: vec![target], people, by_appointment };
        match app.policy.decide::<StartConversation>(ctx, &facts) {
            Ok(grant) => {
                if types.is_empty() {
                    why = grant.basis().policies.to_vec();
                }
                types.push(kind);
            }
            Err(Error::Denied(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let (user_id, role, speciality) = (target.id, target.role, row.speciality);
    let care =
        ties.care.between(caller.id, target.id).chain(ties.care.between(target.id, caller.id)).collect();
    let contact = Contact { user_id, name: full_name, role, speciality, types, why, care, presence: None };
    Ok((!contact.types.is_empty()).then_some(contact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_accents() {
        assert_eq!(folded("Dra. María-José NÚÑEZ"), "dra. maria-jose nunez");
        // The same name in its other spelling: a letter and a combining accent.
        assert_eq!(folded("I\u{301}n\u{303}igo"), folded("ÍÑIGO"));
    }
}
