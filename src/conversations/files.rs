//! Who may put files into a conversation and read them, and telling those who take part of a file.

use serde_json::json;
use sigilo_wire::{
    AppointmentId, ConversationId, DeviceId, FileId, UserId, conversation::ConversationType,
    event::EventType, vault::FileChanged,
};

use super::{
    notify::{News, announce},
    participants::load,
    store::{self, members},
};
use crate::{
    App, Ctx, Error, Result,
    policy::{self, AnswerConsent, Grant, ReadFile, UploadFile, facts::FileReader},
    storage::Tx,
};

/// The grant to put a file into a conversation, the patient it concerns, and whether it is an emergency.
///
/// # Errors
/// `not_found` when the caller does not take part; the rules' denial.
pub(crate) async fn authorize_upload(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<(Grant<UploadFile>, Option<UserId>, bool)> {
    let facts = load(app, ctx, id).await?;
    let base = facts.of(ctx.caller()?.user_id)?;
    let decision =
        app.policy.decide::<UploadFile>(ctx, &base).map_err(|refusal| facts.explain(ctx.now, refusal));
    let objects = [("conversation", id.to_string())];
    let grant = policy::audited(app, ctx, decision, facts.patient, &objects).await?;
    Ok((grant, facts.patient, base.kind == ConversationType::Emergency))
}

/// What the rules ask about a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileFacts {
    /// The file.
    pub(crate) file: FileId,
    /// Where it is read.
    pub(crate) conversation: ConversationId,
    /// Who uploaded it.
    pub(crate) uploader: UserId,
    /// Whether the patient allows others to open it, or nobody has to ask.
    pub(crate) agreed: bool,
}

/// The grant to read a file, and the patient it concerns.
///
/// # Errors
/// `not_found` when the caller does not take part; the rules' denial.
pub(crate) async fn authorize_read_file(
    app: &App,
    ctx: &Ctx,
    about: FileFacts,
) -> Result<(Grant<ReadFile>, Option<UserId>)> {
    let facts = load(app, ctx, about.conversation).await?;
    let caller = ctx.caller()?.user_id;
    let base = facts.of(caller)?;
    let FileFacts { file, conversation, uploader, agreed } = about;
    let asked = FileReader { base, file, uploader: uploader == caller, agreed };
    let decision = app.policy.decide::<ReadFile>(ctx, &asked);
    let objects = [("conversation", conversation.to_string()), ("file", file.to_string())];
    Ok((policy::audited(app, ctx, decision, facts.patient, &objects).await?, facts.patient))
}

/// The grant to say whether others may open files of a conversation that need the patient's consent.
///
/// # Errors
/// `not_found` when the caller does not take part; the rules' denial.
pub(crate) async fn authorize_consent(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<Grant<AnswerConsent>> {
    let facts = load(app, ctx, id).await?;
    let decision = app.policy.decide::<AnswerConsent>(ctx, &facts.of(ctx.caller()?.user_id)?);
    policy::audited(app, ctx, decision, facts.patient, &[("conversation", id.to_string())]).await
}

/// Holds a conversation as it is until the commit, if its facts are still of this version.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn hold(tx: &mut Tx, id: ConversationId, version: i64) -> Result<bool> {
    Ok(members::held_version(tx, id).await? == Some(version))
}

/// Queues an event about a file for the devices of those who take part, but for the calling one, and publishes the fact.
/// Gives the devices to wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn file_changed(
    tx: &mut Tx,
    ctx: &Ctx,
    id: ConversationId,
    r#type: EventType,
    change: FileChanged,
) -> Result<Vec<DeviceId>> {
    let topic = match r#type {
        EventType::FileShared => "file.shared",
        EventType::FileScanned => "file.scanned",
        EventType::FileRecalled => "file.recalled",
        _ => return Err(Error::internal(format!("{} says nothing of a file to everybody", r#type.as_str()))),
    };
    let devices = store::devices(tx, id).await?;
    Ok(announce(tx, ctx, id, devices, News { r#type, topic, data: json!(change) }))
}

/// The patient of an appointment of the clinic.
///
/// # Errors
/// When the database is away.
pub(crate) async fn patient_of_appointment(
    tx: &mut Tx,
    ctx: &Ctx,
    appointment: AppointmentId,
) -> Result<Option<UserId>> {
    Ok(store::appointment(tx, ctx.tenant, appointment).await?.map(|(patient, _)| patient))
}
