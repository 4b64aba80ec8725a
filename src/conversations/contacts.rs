//! The people the caller may start a conversation with, and why.

use sigilo_wire::{
    Role, UserId,
    conversation::{Contact, ContactList, ConversationType},
};

use super::{
    not_a_cursor, page_limit,
    store::{self, CandidateQuery, CandidateRow},
};
use crate::{
    App, Ctx, Error, Result,
    policy::{
        Grant, ListContacts, Person, StartConversation,
        facts::{People, Start},
    },
    storage::crypter::Place,
};

/// Which contacts are wanted.
#[derive(Clone, Debug, Default)]
pub struct ContactFilter {
    /// With this role.
    pub role: Option<Role>,
    /// Whose name has this in it, in any case.
    pub name: Option<String>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// How many, 1..=100.
    pub page_size: usize,
}

/// How many candidates are read at a time. Names are encrypted, so a search by name reads on until a page is
/// full.
const BATCH: i64 = 200;

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
    let wanted = page_limit(filter.page_size)?;
    let caller = Person::caller(ctx)?;
    let name = filter.name.as_ref().map(|name| name.trim().to_lowercase()).unwrap_or_default();
    let mut after = match &filter.cursor {
        Some(cursor) => cursor.parse().map_err(|_| not_a_cursor())?,
        None => UserId::from_bytes([0; 16]),
    };
    let mut tx = app.db.read("contacts").await?;
    let care = store::care_of(&mut tx, ctx.tenant, *grant.resource(), ctx.now).await?;
    let mut found = Vec::new();
    'pages: loop {
        let query = CandidateQuery {
            tenant: ctx.tenant,
            after,
            caller: caller.id,
            role: filter.role.map_or("", Role::as_str),
            staff: matches!(caller.role, Role::Doctor | Role::Admin),
            now: ctx.now,
            limit: BATCH,
        };
        let rows = store::candidates(&mut tx, &query).await?;
        let last_batch = i64::try_from(rows.len()).map_err(Error::internal)? < BATCH;
        for row in rows {
            after = row.user_id;
            let target = store::person(ctx.tenant, row.user_id, &row.role, &row.status)?;
            let people = People::of(caller.id, &[caller, target], &care);
            found.extend(contact(app, ctx, caller, target, people, row, &name)?);
            if i64::try_from(found.len()).map_err(Error::internal)? == wanted {
                break 'pages;
            }
        }
        if last_batch {
            break;
        }
    }
    let has_more = found.len() > filter.page_size;
    found.truncate(filter.page_size);
    let next_cursor = found.last().filter(|_| has_more).map(|contact| contact.user_id.to_string());
    Ok(ContactList { results: found, next_cursor, has_more })
}

/// The contact, if the name fits and a direct conversation is allowed.
fn contact(
    app: &App,
    ctx: &Ctx,
    caller: Person,
    target: Person,
    people: People,
    row: CandidateRow,
    name: &str,
) -> Result<Option<Contact>> {
    let place = Place { table: "users", row: target.id.as_bytes(), column: "full_name_enc" };
    let full_name = app.crypter.decrypt_text(place, &row.full_name_enc)?;
    if !full_name.to_lowercase().contains(name) {
        return Ok(None);
    }
    let facts = Start { caller, kind: ConversationType::Direct, targets: vec![target], people };
    match app.policy.decide::<StartConversation>(ctx, &facts) {
        Ok(grant) => Ok(Some(Contact {
            user_id: target.id,
            name: full_name,
            role: target.role,
            speciality: row.speciality,
            why: grant.basis().policies.to_vec(),
        })),
        Err(Error::Denied(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
