//! Taking one message: its shape, the sender's signature, the data key; then the writer.

use std::sync::Arc;

use serde_json::json;
use sigilo_seal::Origin;
use sigilo_wire::{
    ConversationId, DeviceNumber, ErrorCode, MessageId, TenantId,
    message::{Accepted, Deliver, Held, RecipientEnvelope, SendMessage, Taken},
};
use tokio::sync::oneshot;

use super::{
    held,
    receipts::ReceiptKey,
    store,
    validate::{self, Hashes},
};
use crate::{
    App, Caller, Ctx, Error, Result,
    conversations::{self, Snapshot},
    policy::Basis,
    rng,
    storage::keystore::DataKey,
};

/// A checked message on its way to the writer.
pub(super) struct Submission {
    pub ctx: Ctx,
    pub tenant: TenantId,
    pub sender: Caller,
    /// The sender's device number.
    pub device: DeviceNumber,
    pub conversation: ConversationId,
    /// What the decision was made on; the plan refuses it when it is of the past.
    pub snapshot: Arc<Snapshot>,
    pub basis: Basis,
    pub message: Arc<SendMessage>,
    pub hashes: Hashes,
    pub message_id: MessageId,
    /// Whether it was held under this id until now, and is to be stored only if it still is.
    pub held: bool,
    pub data_key: DataKey,
    pub receipt_key: Arc<ReceiptKey>,
    /// The body under the data key.
    pub body: Vec<u8>,
    /// W under the data key.
    pub wrapped_key: Vec<u8>,
}

impl Submission {
    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        let envelope = |envelope: &RecipientEnvelope| size_of::<RecipientEnvelope>() + envelope.content.len();
        let envelopes: usize = self.message.envelopes.iter().map(envelope).sum();
        size_of::<Self>() + 2 * self.body.len() + envelopes
    }
}

/// A message that is stored already, or that the writer has taken; resolves after the commit.
pub enum Pending {
    /// It was stored before.
    Stored(Box<Accepted>),
    /// The writer has it.
    Taken(oneshot::Receiver<Result<Accepted>>),
    /// It waits for the chat hours to open.
    Held(Box<Held>),
}

impl Pending {
    /// The answer, once the message is on the disk.
    ///
    /// # Errors
    /// What refused the message, or `unavailable` when it could not be stored: then nothing was.
    pub async fn taken(self) -> Result<Taken> {
        match self {
            Self::Held(held) => Ok(Taken::Held(*held)),
            Self::Stored(accepted) => Ok(Taken::Accepted(*accepted)),
            Self::Taken(answer) => {
                let answer = answer.await.unwrap_or_else(|_| Err(Error::Unavailable("relay".to_owned())));
                answer.map(Taken::Accepted)
            }
        }
    }
}

impl From<Taken> for Pending {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::Held(held) => Self::Held(Box::new(held)),
            Taken::Accepted(accepted) => Self::Stored(Box::new(accepted)),
        }
    }
}

/// Marks a decision made on facts that have changed since: the caller decides again.
const FACTS_CHANGED: &str = "facts_changed";

pub(super) fn facts_changed() -> Error {
    Error::Unavailable(FACTS_CHANGED.to_owned())
}

/// Whether a message was refused only because the facts of its grant had changed by commit time. Decide again
/// and submit again.
#[must_use]
pub fn is_facts_changed(error: &Error) -> bool {
    matches!(error, Error::Unavailable(what) if what == FACTS_CHANGED)
}

/// Whether [`send`] may do better than [`begin_send`] did: the facts had changed, or what the device has waiting for the
/// opening may have to go first.
#[must_use]
pub fn may_try_again(error: &Error) -> bool {
    is_facts_changed(error) || error.code() == ErrorCode::ChainGap
}

/// How often a decision is made again because its facts changed before the commit.
pub(super) const DECISIONS: usize = 3;

/// Sends a message: the first answer again when it is stored already, otherwise the clinic's rules decide and
/// the writer stores it and queues its envelopes. Answers after the commit. Both gateways send through here.
///
/// # Errors
/// Those of [`conversations::authorize_send`]; `invalid_*` for a malformed message, `conflict` codes that say
/// how to repair it, `rate_limited`, `unavailable` when it could not be stored.
pub async fn send(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
) -> Result<Taken> {
    send_counting(app, ctx, conversation, message, Counting::Once).await
}

/// As [`send`], for a message that [`begin_send`] has counted and [`may_try_again`] gave back.
///
/// # Errors
/// As [`send`].
pub async fn send_again(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
) -> Result<Taken> {
    send_counting(app, ctx, conversation, message, Counting::Done).await
}

/// Whether a message still counts for how many its device may send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Once,
    Done,
}

async fn send_counting(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
    mut counting: Counting,
) -> Result<Taken> {
    let mut ctx = ctx.clone();
    for _ in 1..DECISIONS {
        let pending = begin(app, &ctx, conversation, Arc::clone(&message), counting).await;
        counting = Counting::Done;
        match async { pending?.taken().await }.await {
            // Time may be what has changed.
            Err(error) if is_facts_changed(&error) => ctx.now = app.clock.now(),
            // The opening has come, and the server has not looked yet.
            Err(error)
                if error.code() == ErrorCode::ChainGap
                    && held::release_for(app, &ctx, conversation).await? => {}
            answer => return answer,
        }
    }
    begin(app, &ctx, conversation, message, counting).await?.taken().await
}

/// As [`send`], but comes back as soon as the writer has the message: sockets keep the order of their messages
/// and do not wait for one commit before reading the next. When the answer is [`is_facts_changed`], [`send`]
/// decides again.
///
/// # Errors
/// Those of [`send`] that are known before the writer sees the message.
pub async fn begin_send(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
) -> Result<Pending> {
    begin(app, ctx, conversation, message, Counting::Once).await
}

async fn begin(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
    counting: Counting,
) -> Result<Pending> {
    let mut taken = begin_submit(app, ctx, conversation, Arc::clone(&message), counting).await;
    if taken.as_ref().is_err_and(may_be_of_the_past) {
        app.snapshots.forget(conversation);
        taken = begin_submit(app, ctx, conversation, Arc::clone(&message), Counting::Done).await;
    }
    let refusal = match taken {
        Err(Error::Unavailable(what)) => return Err(Error::Unavailable(what)),
        Err(refusal) => refusal,
        taken => return taken,
    };
    // What was accepted stays accepted, whatever the rules and the clock say by now.
    let mut tx = app.db.read("relay_stored").await?;
    let stored = store::stored_as(&mut tx, vec![message.client_message_id]).await?;
    drop(tx);
    if let Some(stored) = stored.get(&(ctx.caller()?.device_id, message.client_message_id)) {
        match stored.repeat(conversation, &message) {
            Ok(accepted) => return Ok(Pending::Stored(Box::new(accepted))),
            Err(conflict) if !matches!(refusal, Error::Denied(_)) => return Err(conflict),
            // A rule's word comes before what is wrong with the message.
            Err(_) => {}
        }
    }
    if matches!(refusal, Error::RateLimited { .. }) {
        return Err(refusal);
    }
    // What is refused, or held, was not counted yet; each costs a look and most an entry.
    if counting == Counting::Once && matches!(refusal, Error::Denied(_) | Error::NotFound) {
        app.limits.clinics.message(&app.db, ctx).await?;
    }
    if refusal.code() == ErrorCode::OutsideChatHours && message.deliver == Deliver::WhenOpen {
        return held::hold(app, ctx, conversation, message).await.map(|held| Pending::Held(Box::new(held)));
    }
    Err(conversations::audit_denied_send(app, ctx, conversation, refusal).await)
}

/// Whether a message was refused for a key that may have been published since the snapshot was kept.
fn may_be_of_the_past(refusal: &Error) -> bool {
    matches!(refusal.code(), ErrorCode::InvalidSignature | ErrorCode::KeysMissing)
}

/// Decides on a message, counts it, checks it and hands it to the writer. Messages of an emergency are not counted.
async fn begin_submit(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
    counting: Counting,
) -> Result<Pending> {
    let (grant, snapshot) = conversations::authorize_send(app, ctx, conversation).await?;
    if counting == Counting::Once && !snapshot.is_emergency() {
        app.limits.clinics.message(&app.db, ctx).await?;
    }
    let decided = Decided { basis: grant.basis().clone(), snapshot, held: None };
    let submission = prepare(app, ctx, conversation, message, decided).await?;
    let (answer, pending) = oneshot::channel();
    app.writer.send(Box::new(submission), answer).await?;
    Ok(Pending::Taken(pending))
}

/// Why a message may be sent, and on which facts.
pub(super) struct Decided {
    pub basis: Basis,
    pub snapshot: Arc<Snapshot>,
    /// The id under which it was held until now: then its shape and times were checked before.
    pub held: Option<MessageId>,
}

/// Checks all of a message that needs no database, and encrypts it for the disk.
///
/// # Errors
/// What is wrong with the message; when a store is away.
pub(super) async fn prepare(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
    decided: Decided,
) -> Result<Submission> {
    let sender = *ctx.caller()?;
    let Decided { basis, snapshot, held } = decided;
    let device = sender.device_number.ok_or_else(|| {
        Error::conflict(ErrorCode::KeysMissing, json!({"problem": "a session device cannot send"}))
    })?;
    if held.is_none() {
        validate::check_shape(&message, ctx.now)?;
    }
    let missing =
        || Error::conflict(ErrorCode::KeysMissing, json!({"problem": "publish an identity key first"}));
    let identity =
        snapshot.member(sender.user_id).and_then(|member| member.identity_key).ok_or_else(missing)?;
    let origin = Origin { tenant: ctx.tenant, conversation, sender: sender.user_id, device };
    let hashes = validate::check_signature(&origin, &identity, &message)?;

    let data_key = app.conversation_key(ctx, conversation).await?;
    let receipt_key = app.receipt_keys.get(app, ctx).await?;
    let message_id = held.unwrap_or_else(|| MessageId::new(ctx.now, rng::bytes(&*app.entropy)));
    let row = message_id.as_bytes();
    let body = data_key.seal("body", row, &message.body, &*app.entropy)?;
    let wrapped_key = data_key.seal("wrapped_key", row, &message.wrapped_key.0, &*app.entropy)?;
    Ok(Submission {
        ctx: ctx.clone(),
        tenant: ctx.tenant,
        sender,
        device,
        conversation,
        snapshot,
        basis,
        message,
        hashes,
        message_id,
        held: held.is_some(),
        data_key,
        receipt_key,
        body,
        wrapped_key,
    })
}

#[cfg(test)]
impl Submission {
    /// A submission of a user's first device as the plan sees it; keys and hashes are made up.
    pub(super) fn for_tests(
        tenant: TenantId,
        device_id: sigilo_wire::DeviceId,
        user_id: sigilo_wire::UserId,
        message: SendMessage,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let sender = Caller {
            user_id,
            role: sigilo_wire::Role::Patient,
            active: true,
            device_id,
            kind: sigilo_wire::account::DeviceKind::Messaging,
            device_number: Some(DeviceNumber::FIRST),
        };
        let now = message.sent_at;
        Self {
            ctx: Ctx {
                tenant,
                actor: crate::Actor::User(sender),
                request: sigilo_wire::RequestId::new(now, [0; 10]),
                now,
                address: None,
            },
            tenant,
            sender,
            device: DeviceNumber::FIRST,
            conversation: snapshot.id(),
            snapshot,
            basis: Basis { policies: [].into(), policy_set: [0; 32] },
            message: Arc::new(message),
            hashes: Hashes { context: [0; 32], signature: [0; 32], wrapped_key: [0; 32] },
            message_id: MessageId::new(now, [0; 10]),
            held: false,
            data_key: DataKey::for_tests(),
            receipt_key: Arc::new(ReceiptKey {
                secret: sigilo_seal::Ed25519Secret::from_seed([1; 32]),
                key_id: sigilo_seal::KeyId([0; 16]),
                until: now,
            }),
            body: Vec::new(),
            wrapped_key: Vec::new(),
        }
    }
}
