//! Record seals: how the clinic's officers and the participants' later devices read a conversation.
//!
//! ```text
//! RK         32 random bytes, one per seal
//! aad        lp(tenant) || lp(conversation) || lp(seal_id) || lp(sender) || u8(device)
//! eseed_i    HKDF(RK, "sigilo/v1/eseed" || aad || lp(key_id_i), 64)
//! sealed_i   HPKE base mode (X-Wing, HKDF-SHA256, AES-256-GCM), encapsulation randomness eseed_i,
//!            info "sigilo/v1/seal", aad, plaintext RK
//! signature  XEdDSA(identity, "sigilo/v1/record-seal" || SHA-256(aad || i64be(created_at)
//!            || list(lp(user) || lp(identity_key) || lp(history_key_id)) || list(lp(key_id) || lp(enc) || lp(ct))))
//! ```
//! Members stand in ascending order of their user ids, each once; copies are for the records key and every
//! member's history key, each once.
//!
//! Because the encapsulation derives from RK, whoever opens one copy recomputes all of them
//! ([`RecordSeal::recheck`]): a sender cannot give the officers a copy that does not open while the
//! participants see nothing wrong. The server enforces that copies are present, participants that they are good.

use rand_core::CryptoRng;
use sigilo_wire::{ConversationId, DeviceNumber, SealId, TenantId, Timestamp, UserId};

use crate::{
    bytes::KeyId,
    context::Context,
    encode::Writer,
    identity::{IdentityPublicKey, IdentitySecret, KeyError},
    primitives::{hkdf, sha256},
    root::RootStatement,
    secret::ArchiveKey,
    xwing::{ENC_LENGTH, RANDOMNESS_LENGTH, Sealed, XWingPublic, XWingSecret},
};

const LABEL: &str = "sigilo/v1/record-seal";
const INFO: &[u8] = b"sigilo/v1/seal";
const ESEED_INFO: &[u8] = b"sigilo/v1/eseed";
/// More copies or members than any conversation has; a bound for what strangers send.
pub const MAX_COPIES: usize = 1_000;
/// The length of a copy's ciphertext in bytes: an archive key and its tag.
pub const CT_LENGTH: usize = 48;

/// Which seal: the associated data of all its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealHeader {
    /// The clinic.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The seal.
    pub seal_id: SealId,
    /// Whose messages it covers.
    pub sender: UserId,
    /// From which of their devices.
    pub device: DeviceNumber,
}

impl SealHeader {
    /// `aad`.
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.lp(self.tenant.as_bytes()).lp(self.conversation.as_bytes()).lp(self.seal_id.as_bytes());
        writer.lp(self.sender.as_bytes()).u8(self.device.get());
        writer.finish()
    }

    /// Whether a message with this context belongs under this seal.
    #[must_use]
    pub fn covers(&self, context: &Context) -> bool {
        let named = Self {
            tenant: context.tenant,
            conversation: context.conversation,
            seal_id: context.seal_id,
            sender: context.sender,
            device: context.device,
        };
        *self == named
    }
}

/// A participant as the sender saw them when the seal was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The participant.
    pub user: UserId,
    /// Their identity key.
    pub identity_key: IdentityPublicKey,
    /// The name of their history key.
    pub history_key_id: KeyId,
}

/// A key that a seal is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    key_id: KeyId,
    key: XWingPublic,
}

impl Recipient {
    /// The clinic's officers, by the records key's root statement, which the caller has verified.
    ///
    /// # Errors
    /// [`KeyError`] when the statement's key is not an X-Wing key.
    pub fn records(statement: &RootStatement) -> Result<Self, KeyError> {
        Ok(Self { key_id: statement.key_id(), key: statement.xwing_key()? })
    }

    /// A participant, by the history key of their manifest, which the caller has verified.
    #[must_use]
    pub fn history(key: XWingPublic) -> Self {
        Self { key_id: key.history_key_id(), key }
    }

    /// The key's name.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// RK sealed to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCopy {
    /// For whom.
    pub key_id: KeyId,
    /// The encapsulation, 1,120 bytes.
    pub enc: Vec<u8>,
    /// The ciphertext, 48 bytes.
    pub ct: Vec<u8>,
}

/// A record seal as it is sent and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSeal {
    /// Which seal.
    pub header: SealHeader,
    /// When it was made, as its sender claims.
    pub created_at: Timestamp,
    /// Who took part, in ascending order of their user ids.
    pub members: Vec<Member>,
    /// RK for each key.
    pub copies: Vec<SealedCopy>,
    /// XEdDSA, by the sender's identity.
    pub signature: [u8; 64],
}

/// Why a record seal is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The sender's identity did not sign it.
    #[error("the sender's identity key did not sign this record seal")]
    Signature,
    /// The members are not in ascending order, each once, or too many.
    #[error("the members of the record seal are not in order")]
    Members,
    /// Two copies have the same key id, there are too many, or one does not have the lengths of a copy.
    #[error("the copies of the record seal are not well formed")]
    Copies,
    /// There is no copy for this key.
    #[error("the record seal has no copy for key {0}")]
    NoCopy(KeyId),
    /// The copy does not open with this key, or does not hold an archive key.
    #[error("the record seal's copy for key {0} does not open")]
    DoesNotOpen(KeyId),
    /// Nothing can be sealed to this key.
    #[error("nothing can be sealed to key {0}")]
    Recipient(KeyId),
}

/// What [`RecordSeal::recheck`] found wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("record seal not valid: {} bad, {} missing, {} unexpected copies", bad.len(), missing.len(), unexpected.len())]
pub struct RecheckError {
    /// Copies that do not hold this archive key for their recipient.
    pub bad: Vec<KeyId>,
    /// Recipients without a copy.
    pub missing: Vec<KeyId>,
    /// Copies for nobody who should have one.
    pub unexpected: Vec<KeyId>,
}

impl RecordSeal {
    /// Makes a seal of a fresh `archive` key for all recipients; members are put in order.
    ///
    /// # Errors
    /// [`SealError::Members`] and [`SealError::Copies`] for duplicates, [`SealError::Recipient`].
    pub fn create<R: CryptoRng + ?Sized>(
        archive: &ArchiveKey,
        header: SealHeader,
        created_at: Timestamp,
        mut members: Vec<Member>,
        recipients: &[Recipient],
        identity: &IdentitySecret,
        rng: &mut R,
    ) -> Result<Self, SealError> {
        members.sort_by_key(|member| member.user);
        let aad = header.aad();
        let copies = recipients
            .iter()
            .map(|recipient| seal_copy(archive, &aad, recipient))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seal = Self { header, created_at, members, copies, signature: [0; 64] };
        seal.check_form()?;
        seal.signature = identity.sign(&seal.signing_input(), rng);
        Ok(seal)
    }

    /// Whether the sender's identity signed this seal, and it is well formed. The server checks this, too.
    ///
    /// # Errors
    /// [`SealError::Members`], [`SealError::Copies`], [`SealError::Signature`].
    pub fn verify_signature(&self, identity: &IdentityPublicKey) -> Result<(), SealError> {
        self.check_form()?;
        if identity.verify(&self.signing_input(), &self.signature) {
            Ok(())
        } else {
            Err(SealError::Signature)
        }
    }

    /// The keys that have a copy.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.copies.iter().map(|copy| copy.key_id)
    }

    /// The archive key, opened with the key named `key_id`.
    ///
    /// # Errors
    /// [`SealError::NoCopy`], [`SealError::DoesNotOpen`].
    pub fn open_copy(&self, key_id: KeyId, secret: &XWingSecret) -> Result<ArchiveKey, SealError> {
        let copy = self.copies.iter().find(|c| c.key_id == key_id).ok_or(SealError::NoCopy(key_id))?;
        let sealed = Sealed { enc: copy.enc.clone(), ct: copy.ct.clone() };
        let opened =
            secret.open(&sealed, INFO, &self.header.aad()).map_err(|_| SealError::DoesNotOpen(key_id))?;
        ArchiveKey::try_from(opened.as_slice()).map_err(|_| SealError::DoesNotOpen(key_id))
    }

    /// The archive key, opened with a history key.
    ///
    /// # Errors
    /// [`SealError::NoCopy`], [`SealError::DoesNotOpen`].
    pub fn open_history_copy(&self, secret: &XWingSecret) -> Result<ArchiveKey, SealError> {
        self.open_copy(secret.public().history_key_id(), secret)
    }

    /// Recomputes every copy from the archive key: whether `recipients`, and nobody else, can open this seal.
    ///
    /// # Errors
    /// [`RecheckError`] with the key ids of all copies that are bad, missing or unexpected.
    pub fn recheck(&self, archive: &ArchiveKey, recipients: &[Recipient]) -> Result<(), RecheckError> {
        let aad = self.header.aad();
        let mut wrong = RecheckError::default();
        for recipient in recipients {
            let mut copies = self.copies.iter().filter(|copy| copy.key_id == recipient.key_id).peekable();
            if copies.peek().is_none() {
                wrong.missing.push(recipient.key_id);
                continue;
            }
            // Copies are public, so an ordinary comparison gives nothing away.
            let expected = seal_copy(archive, &aad, recipient);
            if !copies.all(|copy| expected.as_ref() == Ok(copy)) {
                wrong.bad.push(recipient.key_id);
            }
        }
        let known = |id: &KeyId| recipients.iter().any(|recipient| recipient.key_id == *id);
        wrong.unexpected = self.key_ids().filter(|id| !known(id)).collect();
        if wrong == RecheckError::default() { Ok(()) } else { Err(wrong) }
    }

    /// Users about whom the seal and `view`, the reader's own list, differ: who is missing on one side, or has
    /// another identity or history key. Empty when they agree.
    #[must_use]
    pub fn members_that_differ(&self, view: &[Member]) -> Vec<UserId> {
        let only_here = self.members.iter().filter(|member| !view.contains(member));
        let only_there = view.iter().filter(|member| !self.members.contains(member));
        let mut users: Vec<_> = only_here.chain(only_there).map(|member| member.user).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// What the signature signs.
    #[must_use]
    pub fn signing_input(&self) -> Vec<u8> {
        let mut hashed = Writer::new();
        hashed.raw(&self.header.aad()).time(self.created_at);
        hashed.list(&self.members, |w, member| {
            w.lp(member.user.as_bytes())
                .lp(member.identity_key.as_bytes())
                .lp(member.history_key_id.as_bytes());
        });
        hashed.list(&self.copies, |w, copy| {
            w.lp(copy.key_id.as_bytes()).lp(&copy.enc).lp(&copy.ct);
        });
        let mut writer = Writer::statement(LABEL);
        writer.raw(&sha256(hashed.as_bytes()));
        writer.finish()
    }

    fn check_form(&self) -> Result<(), SealError> {
        let ordered = self.members.is_sorted_by(|a, b| a.user < b.user);
        if !ordered || self.members.len() > MAX_COPIES {
            return Err(SealError::Members);
        }
        let mut ids: Vec<_> = self.key_ids().collect();
        ids.sort_unstable();
        let distinct = ids.is_sorted_by(|a, b| a < b);
        let sized = self.copies.iter().all(|copy| copy.enc.len() == ENC_LENGTH && copy.ct.len() == CT_LENGTH);
        if !distinct || !sized || self.copies.len() > MAX_COPIES {
            return Err(SealError::Copies);
        }
        Ok(())
    }
}

fn seal_copy(archive: &ArchiveKey, aad: &[u8], recipient: &Recipient) -> Result<SealedCopy, SealError> {
    let mut name = Writer::new();
    name.lp(recipient.key_id.as_bytes());
    let eseed = hkdf::<RANDOMNESS_LENGTH>(archive.as_bytes(), &[ESEED_INFO, aad, name.as_bytes()]);
    let Sealed { enc, ct } = recipient
        .key
        .seal_with(&eseed, INFO, aad, archive.as_bytes())
        .map_err(|_| SealError::Recipient(recipient.key_id))?;
    Ok(SealedCopy { key_id: recipient.key_id, enc, ct })
}

#[cfg(test)]
mod tests;
