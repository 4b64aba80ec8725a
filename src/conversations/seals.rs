//! Record seals (docs/PROTOCOL.md, Records): the server checks that a seal is its sender's, for exactly the
//! people who take part now and the keys they and the clinic's officers have now. Whether its copies open is
//! for those who can open them.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use sigilo_seal::{IdentityPublicKey, KeyId, KeyPurpose, Member, RecordSeal, SealHeader, SealedCopy};
use sigilo_wire::{
    Base64Array, ConversationId, DeviceNumber, ErrorCode, Timestamp, UserId,
    conflict::SealStale,
    seal::{NewSeal, Seal, SealList, SealMember},
};
use uuid::Uuid;

use super::{
    Cursor,
    store::{self, MemberKeysRow, SealRow},
};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    paging::Paging,
    people::{self, KeyInForce},
    policy::{Grant, PublishSeal, ReadSeals, SealsOf},
    relay,
    storage::Tx,
};

/// How old a seal may be when it is published: as old as a message of an offline outbox.
const MAX_BEHIND: Duration = relay::MAX_BEHIND;

/// Stores a seal of the calling device. A seal published again gets the first answer.
///
/// # Errors
/// `invalid_seal`; `seal_stale` with the key ids expected now; `keys_missing` naming who has none;
/// `clinic_keys_missing`; `already_exists` when the id is another seal's.
pub async fn publish_seal(app: &App, ctx: &Ctx, grant: Grant<PublishSeal>, new: &NewSeal) -> Result<Seal> {
    let caller = *ctx.caller()?;
    let device = caller.device_number.ok_or_else(|| {
        Error::conflict(ErrorCode::KeysMissing, json!({"problem": "a session device cannot seal"}))
    })?;
    let conversation = *grant.resource();
    let mut tx = app.db.read("publish_seal_check").await?;
    if let Some(first) = stored(&mut tx, new, (conversation, caller.user_id, device)).await? {
        return Ok(first);
    }
    let members = members(store::member_keys(&mut tx, conversation).await?)?;
    let records = people::key_in_force(&mut tx, ctx.tenant, KeyPurpose::Records, ctx.now).await?;
    drop(tx);
    check_times(new, ctx.now)?;
    let expected = expected_keys(records, &members)?;
    let identity = members
        .iter()
        .find(|member| member.user_id == caller.user_id)
        .map(|member| member.identity_key)
        .ok_or(Error::NotFound)?;
    let header =
        SealHeader { tenant: ctx.tenant, conversation, seal_id: new.seal_id, sender: caller.user_id, device };
    check_signature(&header, new, &identity.0)?;
    check_current(new, &members, &expected)?;

    let key = app.conversation_key(ctx, conversation).await?;
    let row = SealRow {
        seal_id: new.seal_id,
        conversation_id: conversation,
        sender_id: caller.user_id,
        device_number: device,
        created_at: new.created_at,
        received_at: ctx.now,
        members: serde_json::to_string(&new.members).map_err(Error::internal)?,
        copies: serde_json::to_string(&new.copies).map_err(Error::internal)?,
        signature: new.signature.0.to_vec(),
    };
    let sorted = expected.iter().map(<[u8; 16]>::as_slice).collect();
    let mut tx = app.db.begin("publish_seal").await?;
    if !store::insert_seal(&mut tx, ctx.tenant, &row, &relay::recipients_digest(&sorted)).await? {
        // The same request came twice at once.
        let first = stored(&mut tx, new, (conversation, caller.user_id, device)).await?;
        return first.ok_or_else(|| Error::Unavailable("seal".to_owned()));
    }
    let act = Act::done("publish_seal")
        .object("conversation", conversation)
        .object("seal", new.seal_id)
        .patient(store::patient(&mut tx, conversation).await?)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
    audit::write(&mut tx, ctx.tenant, vec![entry]);
    tx.commit().await?;
    render(row)
}

/// A page of a conversation's seals, newest first; for somebody who has left, of those that were made for them.
///
/// # Errors
/// `invalid_field` for a page size out of range.
pub async fn list_seals(app: &App, _ctx: &Ctx, grant: Grant<ReadSeals>, paging: &Paging) -> Result<SealList> {
    let window = paging.window()?;
    let start = (Timestamp::from_micros(i64::MAX), Uuid::max());
    let from = paging.place()?.map_or(start, |Cursor { at, id }| (at, id));
    let mut tx = app.db.read("list_seals").await?;
    let SealsOf { conversation_id, only } = *grant.resource();
    let mut rows = store::seals(&mut tx, conversation_id, only, from, window).await?;
    let cursor = |row: &store::SealRow| Cursor { at: row.received_at, id: row.seal_id.uuid() };
    let next_cursor = window.cut(&mut rows, cursor);
    let results = rows.into_iter().map(render).collect::<Result<_>>()?;
    Ok(SealList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// The seal stored under this id, when it is this one.
async fn stored(
    tx: &mut Tx,
    new: &NewSeal,
    maker: (ConversationId, UserId, DeviceNumber),
) -> Result<Option<Seal>> {
    let Some(row) = store::seal(tx, new.seal_id).await? else { return Ok(None) };
    let same_maker = (row.conversation_id, row.sender_id, row.device_number) == maker;
    if same_maker && row.signature == new.signature.0 {
        return render(row).map(Some);
    }
    Err(Error::conflict(ErrorCode::AlreadyExists, json!({"field": "seal_id"})))
}

/// Everyone with the keys they have now.
fn members(rows: Vec<MemberKeysRow>) -> Result<Vec<SealMember>> {
    let missing: Vec<UserId> = rows
        .iter()
        .filter(|row| row.identity_key.is_none() || row.history_key_id.is_none())
        .map(|row| row.user_id)
        .collect();
    if !missing.is_empty() {
        return Err(Error::conflict(ErrorCode::KeysMissing, json!({"user_ids": missing})));
    }
    rows.into_iter()
        .map(|row| {
            Ok(SealMember {
                user_id: row.user_id,
                identity_key: array(&row.identity_key.unwrap_or_default())?,
                history_key_id: array(&row.history_key_id.unwrap_or_default())?,
            })
        })
        .collect()
}

fn array<const N: usize>(bytes: &[u8]) -> Result<Base64Array<N>> {
    <[u8; N]>::try_from(bytes)
        .map(Base64Array)
        .map_err(|_| Error::internal(format!("a key column holds {} bytes, not {N}", bytes.len())))
}

/// The ids of the keys a seal is for now: the clinic's records key and every member's history key.
fn expected_keys(records: Option<KeyInForce>, members: &[SealMember]) -> Result<BTreeSet<[u8; 16]>> {
    let records = records.ok_or_else(|| Error::conflict(ErrorCode::ClinicKeysMissing, json!({})))?;
    let mut keys: BTreeSet<[u8; 16]> = members.iter().map(|member| member.history_key_id.0).collect();
    keys.insert(records.key_id);
    Ok(keys)
}

fn invalid(problem: impl std::fmt::Display) -> Error {
    Error::invalid(ErrorCode::InvalidSeal, json!({"problem": problem.to_string()}))
}

fn check_times(new: &NewSeal, now: Timestamp) -> Result<()> {
    if new.created_at > now + relay::MAX_AHEAD || now.since(new.created_at) > MAX_BEHIND {
        return Err(invalid("created_at is more than 2 minutes ahead or 7 days ago"));
    }
    Ok(())
}

/// The seal must be well formed and signed by its sender.
fn check_signature(header: &SealHeader, new: &NewSeal, identity: &[u8; 33]) -> Result<()> {
    let members = new
        .members
        .iter()
        .map(|member| {
            let identity_key = IdentityPublicKey::parse(&member.identity_key.0).map_err(invalid)?;
            let history_key_id = KeyId::from(member.history_key_id.0);
            Ok(Member { user: member.user_id, identity_key, history_key_id })
        })
        .collect::<Result<_>>()?;
    let copies = new
        .copies
        .iter()
        .map(|copy| SealedCopy {
            key_id: KeyId::from(copy.key_id.0),
            enc: copy.enc.0.clone(),
            ct: copy.ciphertext.0.clone(),
        })
        .collect();
    let seal = RecordSeal {
        header: *header,
        created_at: new.created_at,
        members,
        copies,
        signature: new.signature.0,
    };
    let identity = IdentityPublicKey::parse(identity).map_err(Error::internal)?;
    seal.verify_signature(&identity).map_err(invalid)
}

/// The seal must be for exactly those who take part now and the keys they have now.
fn check_current(new: &NewSeal, members: &[SealMember], expected: &BTreeSet<[u8; 16]>) -> Result<()> {
    // Both lists are in order of user ids: the signature check refuses another order.
    let copies: BTreeSet<[u8; 16]> = new.copies.iter().map(|copy| copy.key_id.0).collect();
    if new.members == members && copies == *expected {
        return Ok(());
    }
    let expected_key_ids = expected.iter().copied().map(Base64Array).collect();
    let details = serde_json::to_value(SealStale { expected_key_ids }).map_err(Error::internal)?;
    Err(Error::conflict(ErrorCode::SealStale, details))
}

fn render(row: SealRow) -> Result<Seal> {
    Ok(Seal {
        conversation_id: row.conversation_id,
        sender_id: row.sender_id,
        device_id: row.device_number,
        seal: NewSeal {
            seal_id: row.seal_id,
            created_at: row.created_at,
            members: serde_json::from_str(&row.members).map_err(Error::internal)?,
            copies: serde_json::from_str(&row.copies).map_err(Error::internal)?,
            signature: array(&row.signature)?,
        },
        received_at: row.received_at,
    })
}
