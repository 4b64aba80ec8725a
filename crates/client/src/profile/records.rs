//! What the profile keeps: one type a table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sigilo_seal::{Commitment, IdentityPublicKey, KeyId, KeyPurpose, XWingPublic};
use sigilo_wire::{
    Base64, Base64Array, ClientMessageId, ConversationId, DeviceId, DeviceNumber, LinkId, MessageId, Role,
    SealId, TenantId, Timestamp, UserId,
    conversation::Conversation,
    keys::{SignedManifest, SignedRootStatement},
    message::{Message, SendMessage},
    seal::{NewSeal, Seal, SealMember, SealProblem},
};

use super::Record;
pub(crate) use super::secret::SecretBytes;
use crate::{
    api::ServerUrl,
    message::{ChainVerdict, ReceiptVerdict, SealVerdict, Verification},
    outbox::Draft,
};

/// The one record of a table that has only one.
pub(crate) const ONLY: &[u8] = b"";

/// How far the activation has come. Each stage is reached by an act that may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The server may have used up the invitation.
    Invited,
    /// The package of an old device is here.
    Linked,
    /// The tokens are here, the account is known.
    Admitted,
    /// The clinic's root is checked against the pin, keys are made.
    KeysMade,
    /// The identity is published.
    IdentityPublished,
    /// The prekeys are published.
    PreKeysPublished,
    /// The manifest is published: the device can send and receive.
    Active,
}

/// Where this profile belongs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Home {
    pub(crate) server: ServerUrl,
    /// The clinic as the invitation names it.
    pub(crate) clinic: String,
    /// The pin: SHA-256 of the root public key.
    pub(crate) root: Base64Array<32>,
    pub(crate) stage: Stage,
    /// The activation request that may have reached the server: repeated as it is.
    #[serde(default)]
    pub(crate) attempt: Option<Attempt>,
    /// The link that made this device, until it is active.
    #[serde(default)]
    pub(crate) link: Option<PendingLink>,
}

/// A link whose package is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PendingLink {
    pub(crate) link_id: LinkId,
    /// For what the server gives the tokens.
    pub(crate) claim: SecretBytes,
    /// The number the old device gave this one.
    pub(crate) device: DeviceNumber,
    pub(crate) device_name: String,
}

/// An activation request under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) idempotency_key: String,
    /// The request's JSON; it holds the code and the password.
    pub(crate) request: SecretBytes,
}

/// This device's account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceNumber,
    pub(crate) device_id: DeviceId,
    pub(crate) full_name: String,
    pub(crate) role: Role,
}

/// The tokens. The refresh token is single use: it is stored before the new one is used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredTokens {
    pub(crate) access: SecretBytes,
    pub(crate) expires_at: Timestamp,
    pub(crate) refresh: SecretBytes,
}

/// The identity key of the user, and what libsignal needs to know of this device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnIdentity {
    pub(crate) secret: SecretBytes,
    pub(crate) registration_id: u32,
    pub(crate) next_pre_key_id: u32,
    pub(crate) signed_pre_key_id: u32,
    pub(crate) last_resort_kyber_id: u32,
    /// The seed of the newest history key.
    pub(crate) history_key_id: KeyId,
}

/// A history key of the user: old ones open old seals.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnHistoryKey {
    pub(crate) key_id: KeyId,
    pub(crate) seed: SecretBytes,
    pub(crate) created_at: Timestamp,
}

/// A removal of devices that was begun: the history key that takes the place of the one they know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Removal {
    pub(crate) seed: SecretBytes,
    pub(crate) created_at: Timestamp,
}

/// One of libsignal's records: a session or a prekey.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    pub(crate) device: DeviceNumber,
    pub(crate) record: SecretBytes,
}

/// An EC prekey that others may use once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OneTimePreKey {
    pub(crate) id: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) record: SecretBytes,
}

/// A signed EC prekey, the current or an earlier one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SignedPreKey {
    pub(crate) id: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) record: SecretBytes,
}

/// A Kyber prekey.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KyberPreKey {
    pub(crate) id: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) record: SecretBytes,
    /// Kept after use, because the server hands it out when the others have run out.
    pub(crate) last_resort: bool,
}

/// A base key that was used with a last-resort Kyber prekey: a second use is a replay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LastResortUse {
    pub(crate) kyber_id: u32,
    pub(crate) signed_id: u32,
    pub(crate) base_key: Base64,
}

/// What is known of the clinic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClinicRecord {
    pub(crate) name: String,
    pub(crate) time_zone: String,
    pub(crate) emergency_number: String,
    pub(crate) root_public_key: Base64Array<32>,
    /// Verified statements, the newest epoch of each purpose.
    pub(crate) statements: BTreeMap<KeyPurpose, SignedRootStatement>,
    /// The highest epoch seen of each purpose: never back.
    pub(crate) epochs: BTreeMap<KeyPurpose, u32>,
    pub(crate) fetched_at: Timestamp,
}

/// A key of the clinic that was valid when it was seen, for receipts and seals made then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClinicKey {
    pub(crate) key_id: KeyId,
    pub(crate) statement: SignedRootStatement,
}

/// A device of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContactDevice {
    pub(crate) device: DeviceNumber,
    pub(crate) registration_id: u32,
    /// Whether the server had fresh keys of it: without, it is neither required nor allowed in a send.
    pub(crate) fresh: bool,
}

/// Somebody this device exchanges messages with; also the user themselves, for their other devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) user: UserId,
    pub(crate) name: Option<String>,
    /// The identity that is used: the first seen, or confirmed since.
    pub(crate) identity: IdentityPublicKey,
    pub(crate) first_seen: Timestamp,
    /// Whether the user compared safety numbers.
    pub(crate) verified: bool,
    /// A new identity that waits for the user to confirm it.
    pub(crate) pending: Option<IdentityPublicKey>,
    /// Identities that were used before: they signed what is older.
    #[serde(default)]
    pub(crate) earlier: Vec<EarlierIdentity>,
    /// The newest manifest, signed by `identity`.
    pub(crate) manifest: Option<SignedManifest>,
    pub(crate) manifest_version: u32,
    pub(crate) history_key: Option<XWingPublic>,
    pub(crate) devices: Vec<ContactDevice>,
    /// Something said that the keys may have changed: fetch before the next send.
    pub(crate) refresh_due: bool,
}

/// An identity that somebody had before the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EarlierForm")]
pub(crate) struct EarlierIdentity {
    pub(crate) identity: IdentityPublicKey,
    /// When this device, or the one that told it, began to use another one.
    pub(crate) until: Timestamp,
}

/// As profiles have it: once without the time.
#[derive(Deserialize)]
#[serde(untagged)]
enum EarlierForm {
    Timed { identity: IdentityPublicKey, until: Timestamp },
    Key(IdentityPublicKey),
}

impl From<EarlierForm> for EarlierIdentity {
    fn from(form: EarlierForm) -> Self {
        match form {
            EarlierForm::Timed { identity, until } => Self { identity, until },
            EarlierForm::Key(identity) => Self { identity, until: Timestamp::from_micros(i64::MAX) },
        }
    }
}

/// A history key that a contact's verified manifest once named, for seals made then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContactHistoryKey {
    pub(crate) user: UserId,
    pub(crate) key_id: KeyId,
    pub(crate) public_key: XWingPublic,
}

/// A conversation, with the members the user has been shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConversationRecord {
    pub(crate) conversation: Conversation,
    pub(crate) shown_members: Vec<UserId>,
    /// Something said that it changed: fetch before the next send.
    pub(crate) refresh_due: bool,
    /// When this device learnt of it: what was before, it has not seen.
    #[serde(default)]
    pub(crate) known_since: Option<Timestamp>,
}

/// The newest message shown in a conversation, for `seen_C`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) conversation: ConversationId,
    pub(crate) conversation_seq: i64,
    pub(crate) commitment: Commitment,
}

/// A line of a conversation's timeline that is not a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TimelineEntry {
    pub(crate) conversation: ConversationId,
    pub(crate) at: Timestamp,
    pub(crate) note: crate::event::TimelineNote,
}

/// The record seal this device sends under in a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnSeal {
    pub(crate) conversation: ConversationId,
    pub(crate) seal: NewSeal,
    pub(crate) archive_key: SecretBytes,
    pub(crate) records_key_id: KeyId,
    /// Whether the server has it.
    pub(crate) published: bool,
}

/// A seal of somebody's, opened and rechecked once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SeenSeal {
    pub(crate) conversation: ConversationId,
    pub(crate) seal_id: SealId,
    pub(crate) sender: UserId,
    pub(crate) device: DeviceNumber,
    pub(crate) members: Vec<SealMember>,
    /// Absent when it could not be opened.
    pub(crate) archive_key: Option<SecretBytes>,
    pub(crate) verdict: SealVerdict,
}

/// A seal that could not be judged for want of a key: judged again when keys become known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UncheckedSeal {
    pub(crate) seal: Seal,
    /// Whose messages named it.
    pub(crate) sender: UserId,
    pub(crate) device: DeviceNumber,
    /// Whom the user saw in the conversation when it was made.
    pub(crate) shown_members: Vec<UserId>,
    /// Whom the user saw come or leave about then or since: it may be for them, and may not.
    #[serde(default)]
    pub(crate) departed: Vec<UserId>,
    /// Whether it is from before this device knew the conversation: who has left since was never seen here.
    #[serde(default)]
    pub(crate) unseen: bool,
}

/// A bad seal the server has not been told of yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SealReport {
    pub(crate) conversation: ConversationId,
    pub(crate) seal_id: SealId,
    pub(crate) problem: SealProblem,
}

/// The newest message of a device in a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) conversation: ConversationId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceNumber,
    pub(crate) device_seq: u64,
    pub(crate) commitment: Commitment,
}

/// What stands at a number of a device's chain: the first authentic word of the device on it, which stays. The
/// message with that number says it, and so does the one after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChainLink {
    pub(crate) conversation: ConversationId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceNumber,
    pub(crate) device_seq: u64,
    pub(crate) commitment: Commitment,
}

/// A message of the history, authentic or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredMessage {
    /// As the server gave it.
    pub(crate) message: Message,
    /// The content's JSON; absent when it could not be opened.
    pub(crate) content: Option<SecretBytes>,
    pub(crate) verification: Verification,
    pub(crate) seal: SealVerdict,
    pub(crate) receipt: ReceiptVerdict,
    pub(crate) chain: ChainVerdict,
    /// Whether the server has shown another message under its name since.
    #[serde(default)]
    pub(crate) contradicted: bool,
    /// Who has acknowledged it.
    pub(crate) delivered_to: Vec<UserId>,
}

impl StoredMessage {
    /// Whether it is its sender's.
    pub(crate) const fn is_authentic(&self) -> bool {
        !matches!(self.verification, Verification::NotAuthentic(_))
    }
}

/// From the server's id and from a commitment to a message of the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessageName {
    /// The message id's 16 or the commitment's 32 bytes.
    pub(crate) name: Base64,
    pub(crate) message: MessageKey,
}

/// A message in the history: each device names its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MessageKey {
    pub(crate) sender: UserId,
    pub(crate) device: DeviceNumber,
    pub(crate) client_message_id: ClientMessageId,
}

impl MessageKey {
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            sender: message.sender.user_id,
            device: message.sender.device_id,
            client_message_id: message.client_message_id,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        parts(&[self.sender.as_bytes(), &[self.device.get()], self.client_message_id.as_bytes()])
    }
}

/// A delivery mark that came before its message's acceptance did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EarlyDelivery {
    pub(crate) message: MessageId,
    pub(crate) users: Vec<UserId>,
}

/// A message whose content is to be erased.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Expiring {
    pub(crate) message: MessageKey,
    pub(crate) at: Timestamp,
}

/// A message that the server has not accepted yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutboxItem {
    pub(crate) draft: Draft,
    /// The order of writing.
    pub(crate) position: i64,
    /// Once sealed: what is sent, the envelopes included when they are made.
    pub(crate) sealed: Option<SealedItem>,
    pub(crate) repairs: u8,
    pub(crate) attempts: u32,
    /// The server refused it for good; kept to be shown.
    pub(crate) refused: bool,
    pub(crate) problem: Option<String>,
    /// When the server holds it for the opening of the conversation.
    #[serde(default)]
    pub(crate) held: Option<crate::outbox::held::HeldItem>,
    /// The user has taken it back: it is never sent again, whatever the server had of it.
    #[serde(default)]
    pub(crate) discarding: bool,
}

/// A sealed message. It stays the same over repairs that leave its context unchanged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SealedItem {
    pub(crate) request: SendMessage,
    pub(crate) content_key: SecretBytes,
    /// Whether the request's envelopes are for the devices known now.
    pub(crate) enveloped: bool,
}

/// The newest event this device has processed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) event_id: String,
}

fn parts(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

macro_rules! records {
    ($($name:ident in $table:literal: |$record:ident| key $key:expr $(, owner $owner:expr)? $(, position $position:expr)?;)*) => { $(
        impl Record for $name {
            const TABLE: &'static str = $table;
            fn key(&self) -> Vec<u8> {
                let $record = self;
                let _ = $record;
                $key
            }
            $(fn owner(&self) -> Vec<u8> {
                let $record = self;
                $owner
            })?
            $(fn position(&self) -> i64 {
                let $record = self;
                $position
            })?
        }
    )* };
}

records! {
    Home in "home": |r| key ONLY.to_vec();
    Account in "account": |r| key ONLY.to_vec();
    StoredTokens in "tokens": |r| key ONLY.to_vec();
    OwnIdentity in "identity": |r| key ONLY.to_vec();
    OwnHistoryKey in "history_key": |r| key r.key_id.as_bytes().to_vec(), position r.created_at.micros();
    Removal in "removal": |r| key ONLY.to_vec();
    Session in "session": |r| key session_key(r.user, r.device), owner r.user.as_bytes().to_vec();
    OneTimePreKey in "pre_key": |r| key r.id.to_be_bytes().to_vec(), position r.created_at.micros();
    SignedPreKey in "signed_pre_key": |r| key r.id.to_be_bytes().to_vec(), position r.created_at.micros();
    KyberPreKey in "kyber_pre_key": |r| key r.id.to_be_bytes().to_vec(), position r.created_at.micros();
    LastResortUse in "last_resort_use": |r| key last_resort_key(r.kyber_id, r.signed_id, &r.base_key);
    ClinicRecord in "clinic": |r| key ONLY.to_vec();
    ClinicKey in "clinic_key": |r| key r.key_id.as_bytes().to_vec();
    Contact in "contact": |r| key r.user.as_bytes().to_vec();
    ContactHistoryKey in "contact_history_key": |r| key parts(&[r.user.as_bytes(), r.key_id.as_bytes()]);
    ConversationRecord in "conversation": |r| key r.conversation.id.as_bytes().to_vec(),
        position r.conversation.updated_at.micros();
    Shown in "shown": |r| key r.conversation.as_bytes().to_vec();
    TimelineEntry in "timeline": |r| key parts(&[r.conversation.as_bytes(), &r.at.micros().to_be_bytes()]),
        owner r.conversation.as_bytes().to_vec(), position r.at.micros();
    OwnSeal in "own_seal": |r| key r.conversation.as_bytes().to_vec();
    SeenSeal in "seen_seal": |r| key seen_seal_key(r.conversation, r.seal_id, r.sender, r.device);
    UncheckedSeal in "unchecked_seal": |r|
        key seen_seal_key(r.seal.conversation_id, r.seal.seal.seal_id, r.sender, r.device);
    SealReport in "seal_report": |r| key parts(&[r.conversation.as_bytes(), r.seal_id.as_bytes()]);
    Chain in "chain": |r| key chain_key(r.conversation, r.user, r.device);
    ChainLink in "chain_link": |r| key chain_link_key(r.conversation, r.user, r.device, r.device_seq);
    StoredMessage in "message": |r| key MessageKey::of(&r.message).bytes(),
        owner r.message.conversation_id.as_bytes().to_vec(), position r.message.conversation_seq;
    MessageName in "message_name": |r| key r.name.0.clone();
    Expiring in "expiring": |r| key r.message.bytes(), position r.at.micros();
    EarlyDelivery in "early_delivery": |r| key r.message.as_bytes().to_vec();
    OutboxItem in "outbox": |r| key r.draft.client_message_id.as_bytes().to_vec(), position r.position;
    Cursor in "cursor": |r| key ONLY.to_vec();
}

/// The key of a [`Session`].
pub(crate) fn session_key(user: UserId, device: DeviceNumber) -> Vec<u8> {
    parts(&[user.as_bytes(), &[device.get()]])
}

/// The key of a [`LastResortUse`].
pub(crate) fn last_resort_key(kyber_id: u32, signed_id: u32, base_key: &[u8]) -> Vec<u8> {
    parts(&[&kyber_id.to_be_bytes(), &signed_id.to_be_bytes(), base_key])
}

/// The key of a [`SeenSeal`]: a seal belongs to one device's messages in one conversation.
pub(crate) fn seen_seal_key(
    conversation: ConversationId,
    seal: SealId,
    sender: UserId,
    device: DeviceNumber,
) -> Vec<u8> {
    parts(&[conversation.as_bytes(), seal.as_bytes(), sender.as_bytes(), &[device.get()]])
}

/// The key of a [`Chain`].
pub(crate) fn chain_key(conversation: ConversationId, user: UserId, device: DeviceNumber) -> Vec<u8> {
    parts(&[conversation.as_bytes(), user.as_bytes(), &[device.get()]])
}

/// The key of a [`ChainLink`].
pub(crate) fn chain_link_key(
    conversation: ConversationId,
    user: UserId,
    device: DeviceNumber,
    device_seq: u64,
) -> Vec<u8> {
    parts(&[&chain_key(conversation, user, device), &device_seq.to_be_bytes()])
}
