//! Calling a finding false.

use serde_json::json;
use sigilo_seal::{
    Release, ReleaseNeed, ReleaseStatement, SignedReleaseStatement, Verdict, release::ReleaseError,
};
use sigilo_wire::{
    ErrorCode, FileId, Role, UserId,
    event::EventType,
    vault::{FileChanged, ScanStatus, SignedRelease, StoredFile},
};

use super::store::{self, SignedRow};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    conversations, keys, mfa, people,
    policy::{self, Grant, Looked, Person, ReleaseFile, facts::Other},
    storage::Tx,
    vault::{
        files::{self, File, RELEASERS},
        scan,
    },
};

/// The grant to call a finding on a file false.
///
/// # Errors
/// `forbidden` to all but moderators, and to whoever uploaded it; 404 when the clinic has no such file.
pub async fn authorize_release(app: &App, ctx: &Ctx, file: FileId) -> Result<Grant<ReleaseFile>> {
    // Whoever is no moderator does not learn which files there are.
    super::authorize_manage(app, ctx).await?;
    let mut tx = app.db.read("release_authorize").await?;
    let row = files::get(&mut tx, ctx.tenant, file).await?.row;
    drop(tx);
    let (facts, patient) = load(app, ctx, row.uploader_id).await?;
    let decision = app.policy.decide::<ReleaseFile>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("file", file.to_string())]).await
}

/// What the rules would say to releasing a file of this person, and the patient it concerns.
///
/// # Errors
/// 404 when the clinic has no such person.
pub(crate) async fn look_release(app: &App, ctx: &Ctx, uploader: UserId) -> Result<(Looked, Option<UserId>)> {
    let (facts, patient) = load(app, ctx, uploader).await?;
    Ok((app.policy.look::<ReleaseFile>(ctx, &facts)?, patient))
}

async fn load(app: &App, ctx: &Ctx, uploader: UserId) -> Result<(Other, Option<UserId>)> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("release_person").await?;
    let target = people::person(&mut tx, ctx.tenant, uploader).await?;
    Ok((Other { caller, target }, (target.role == Role::Patient).then_some(uploader)))
}

/// Keeps a moderator's word that the newest finding on a file is false. With the second one the file is given out.
///
/// # Errors
/// `step_up_required`; `invalid_field` for a statement that is none, or another person's, or about another file;
/// `invalid_signature`; `already_settled` when the newest verdict is another one or needs no release, or the caller or
/// somebody with the caller's key has said so already; `file_not_available` when it is destroyed; `keys_missing`.
pub async fn release(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<ReleaseFile>,
    file: FileId,
    said: &SignedRelease,
) -> Result<StoredFile> {
    let caller = ctx.caller()?.user_id;
    let said = SignedReleaseStatement { statement: said.statement.0.clone(), signature: said.signature.0 };
    let statement = ReleaseStatement::decode(&said.statement).map_err(|error| refusal(&error.into()))?;
    if statement.signer != caller {
        return Err(Error::field("statement", "is another person's"));
    }
    let mut tx = app.db.read("release_read").await?;
    let row = files::get(&mut tx, ctx.tenant, file).await?.row;
    drop(tx);
    let conversation = row.conversation_id;
    let patient = conversations::patient_of(app, ctx, conversation).await?;
    let key = app.conversation_key(ctx, conversation).await?;

    let mut tx = app.db.begin("release_file").await?;
    mfa::require_recent(&mut tx, ctx, grant).await?;
    scan::store::lock_file(&mut tx, ctx.tenant, file).await?;
    let found = files::get(&mut tx, ctx.tenant, file).await?;
    if found.row.uploader_id != *grant.resource() {
        return Err(Error::internal("a grant to release a file was used for another person's"));
    }
    let verdict = newest(&found)?;
    let need = ReleaseNeed { verdict: &verdict, uploader: found.row.uploader_id };
    let identity = keys::identity_of(&mut tx, ctx.tenant, caller).await?;
    said.verify(&need, &identity).map_err(|error| refusal(&error))?;
    let standing = standing(&mut tx, ctx, file, &need, &verdict).await?;
    match standing.as_slice() {
        [] => {}
        [row] if row.signer_id != caller => {
            let other = keys::identity_of(&mut tx, ctx.tenant, row.signer_id).await?;
            let both = Release { first: signed(row)?, second: said.clone() };
            both.verify(&need, [&other, &identity]).map_err(|error| refusal(&error))?;
        }
        _ => return Err(settled("this was said already")),
    }
    store::insert(&mut tx, &statement, &said, ctx.now).await?;
    let released = files::get(&mut tx, ctx.tenant, file).await?;
    let mut devices = Vec::new();
    if released.releases.len() >= RELEASERS {
        let change = FileChanged { file_id: file, virus_scan: ScanStatus::Infected };
        let scanned = EventType::FileScanned;
        devices = conversations::file_changed(&mut tx, ctx, conversation, scanned, change).await?;
    }
    let act = Act::done("release_file")
        .object("conversation", conversation)
        .object("file", file)
        .object("verdict", audit::hex(&statement.verdict_sha256))
        .object("signed_by", released.releases.len())
        .patient(patient)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
    audit::write(&mut tx, ctx.tenant, vec![entry]);
    tx.commit().await?;
    app.hub.wake(&devices);
    released.shown(ctx.now)
}

/// The verdict that counts.
fn newest(found: &File) -> Result<Verdict> {
    if found.row.destroyed_at.is_some() {
        let details = json!({"virus_scan": found.scan()?});
        return Err(Error::conflict(ErrorCode::FileNotAvailable, details));
    }
    let Some(statement) = &found.row.verdict_statement else {
        return Err(settled("there is no finding to call false"));
    };
    Verdict::decode(statement).map_err(Error::internal)
}

/// What was said of this verdict and still counts. The word of somebody who is no moderator any more, or has another
/// identity key by now, is dropped: no device would take it.
async fn standing(
    tx: &mut Tx,
    ctx: &Ctx,
    file: FileId,
    need: &ReleaseNeed<'_>,
    verdict: &Verdict,
) -> Result<Vec<SignedRow>> {
    let digest = verdict.digest();
    let mut standing = Vec::new();
    for row in store::signed(tx, file, &digest).await? {
        let signer = people::person(tx, ctx.tenant, row.signer_id).await?;
        let identity = keys::identity_of(tx, ctx.tenant, row.signer_id).await;
        let good = identity.is_ok_and(|key| signed(&row).is_ok_and(|said| said.verify(need, &key).is_ok()));
        if good && signer.active && signer.role == Role::Moderator {
            standing.push(row);
        } else {
            store::drop_release(tx, file, row.signer_id, &digest).await?;
        }
    }
    Ok(standing)
}

fn signed(row: &SignedRow) -> Result<SignedReleaseStatement> {
    let signature = <[u8; 64]>::try_from(row.signature.as_slice())
        .map_err(|_| Error::internal("a stored release's signature has the wrong length"))?;
    Ok(SignedReleaseStatement { statement: row.statement.clone(), signature })
}

fn settled(problem: impl std::fmt::Display) -> Error {
    Error::conflict(ErrorCode::AlreadySettled, json!({"problem": problem.to_string()}))
}

fn refusal(error: &ReleaseError) -> Error {
    match error {
        ReleaseError::Malformed(_) | ReleaseError::OtherFile | ReleaseError::Uploader => {
            Error::field("statement", error)
        }
        ReleaseError::Signature => {
            let details = json!({"key": "signature", "problem": error.to_string()});
            Error::invalid(ErrorCode::InvalidSignature, details)
        }
        ReleaseError::OtherVerdict | ReleaseError::NothingToRelease | ReleaseError::OnePerson => {
            settled(error)
        }
    }
}
