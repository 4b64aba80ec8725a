//! One message: how it is sealed, and what a receiver checks.
//!
//! ```text
//! CK    32 random bytes, for one (A, content) only
//! body  AES-256-GCM(HKDF(CK, "sigilo/v1/body" || SHA-256(A)), nonce 0^12, padded content, aad = A)
//! C     HMAC-SHA256(HKDF(CK, "sigilo/v1/commit"), SHA-256(A) || SHA-256(body))
//! W     AES-256-GCM(HKDF(RK, "sigilo/v1/wrap" || C), nonce 0^12, CK, aad = C)
//! S     XEdDSA(identity, "sigilo/v1/message" || SHA-256(A) || C || SHA-256(W))
//! envelope, per recipient device: the libsignal message of u8(1) || CK || C
//! ```
//!
//! `C` is needed because AES-GCM does not commit to its key: without it, one body could be made that opens to
//! two different texts, one for the patient and another for the archive. `W` is checked by the participants,
//! because the server cannot open it.
//!
//! Forward secrecy of CK is that of the libsignal session for whoever has the envelope, and none for whoever
//! has the archive key RK.

use rand_core::CryptoRng;
use sigilo_wire::{DeviceNumber, UserId};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    bytes::Commitment,
    content::Content,
    context::Context,
    encode::{DecodeError, Reader, Writer},
    identity::{IdentityPublicKey, IdentitySecret},
    padding,
    primitives::{aead_open, aead_seal, hkdf, hmac_sha256, sha256},
    secret::{ArchiveKey, ContentKey, opaque_debug},
};

/// The length of `W` in bytes.
pub const WRAPPED_KEY_LENGTH: usize = 48;
/// The length of a message envelope's plaintext in bytes.
pub const ENVELOPE_LENGTH: usize = 65;

const BODY_INFO: &[u8] = b"sigilo/v1/body";
const COMMIT_INFO: &[u8] = b"sigilo/v1/commit";
const WRAP_INFO: &[u8] = b"sigilo/v1/wrap";
const MESSAGE_LABEL: &str = "sigilo/v1/message";
const MESSAGE_ENVELOPE: u8 = 1;

/// Encrypts content, given as JSON, into a body.
#[must_use]
pub fn seal_body(key: &ContentKey, context: &Context, content_json: &[u8]) -> Vec<u8> {
    let a = context.encode();
    let body_key = hkdf::<32>(key.as_bytes(), &[BODY_INFO, &sha256(&a)]);
    aead_seal(&body_key, &padding::pad(content_json), &a)
}

/// Decrypts a body into content as JSON. It proves nothing alone: see [`open_message`].
///
/// # Errors
/// [`NotAuthentic::Body`] when key, context or body is another, [`NotAuthentic::Padding`].
pub fn open_body(
    key: &ContentKey,
    context: &Context,
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    let a = context.encode();
    let body_key = hkdf::<32>(key.as_bytes(), &[BODY_INFO, &sha256(&a)]);
    let padded = aead_open(&body_key, body, &a).ok_or(NotAuthentic::Body)?;
    let content = padding::unpad(&padded).map_err(|_| NotAuthentic::Padding)?;
    Ok(Zeroizing::new(content.to_vec()))
}

/// `C`: binds context and body to the one key.
#[must_use]
pub fn commitment(key: &ContentKey, context: &Context, body: &[u8]) -> Commitment {
    let commit_key = hkdf::<32>(key.as_bytes(), &[COMMIT_INFO]);
    Commitment(hmac_sha256(&commit_key, &[&context.digest(), &sha256(body)]))
}

/// `W`: the content key under the archive key.
#[must_use]
pub fn wrap_key(archive: &ArchiveKey, commitment: &Commitment, key: &ContentKey) -> [u8; WRAPPED_KEY_LENGTH] {
    let wrap_key = hkdf::<32>(archive.as_bytes(), &[WRAP_INFO, commitment.as_bytes()]);
    let mut wrapped = [0; WRAPPED_KEY_LENGTH];
    wrapped.copy_from_slice(&aead_seal(&wrap_key, key.as_bytes(), commitment.as_bytes()));
    wrapped
}

/// The content key in `W`.
///
/// # Errors
/// [`NotAuthentic::WrappedKey`] when `W` was not made with this archive key for this commitment.
pub fn unwrap_key(
    archive: &ArchiveKey,
    commitment: &Commitment,
    wrapped: &[u8; WRAPPED_KEY_LENGTH],
) -> Result<ContentKey, NotAuthentic> {
    let wrap_key = hkdf::<32>(archive.as_bytes(), &[WRAP_INFO, commitment.as_bytes()]);
    let opened = aead_open(&wrap_key, wrapped, commitment.as_bytes()).ok_or(NotAuthentic::WrappedKey)?;
    ContentKey::try_from(opened.as_slice()).map_err(|_| NotAuthentic::WrappedKey)
}

/// What `S` signs: `"sigilo/v1/message" || SHA-256(A) || C || SHA-256(W)`.
#[must_use]
pub fn signing_input(
    context_digest: &[u8; 32],
    commitment: &Commitment,
    wrapped_key_sha256: &[u8; 32],
) -> Vec<u8> {
    let mut writer = Writer::statement(MESSAGE_LABEL);
    writer.raw(context_digest).raw(commitment.as_bytes()).raw(wrapped_key_sha256);
    writer.finish()
}

/// `S`.
#[must_use]
pub fn sign_message<R: CryptoRng + ?Sized>(
    identity: &IdentitySecret,
    context_digest: &[u8; 32],
    commitment: &Commitment,
    wrapped_key_sha256: &[u8; 32],
    rng: &mut R,
) -> [u8; 64] {
    identity.sign(&signing_input(context_digest, commitment, wrapped_key_sha256), rng)
}

/// Whether `S` is the identity's signature over these hashes. The server checks this, too.
#[must_use]
pub fn verify_message(
    identity: &IdentityPublicKey,
    context_digest: &[u8; 32],
    commitment: &Commitment,
    wrapped_key_sha256: &[u8; 32],
    signature: &[u8; 64],
) -> bool {
    identity.verify(&signing_input(context_digest, commitment, wrapped_key_sha256), signature)
}

/// What a libsignal message to one device carries: `u8(1) || CK || C`.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The content key.
    pub key: ContentKey,
    /// Which message it opens.
    pub commitment: Commitment,
}

opaque_debug!(Envelope);

impl Envelope {
    /// The plaintext to hand to libsignal.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(ENVELOPE_LENGTH));
        bytes.push(MESSAGE_ENVELOPE);
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(self.commitment.as_bytes());
        bytes
    }

    /// Reads the plaintext that libsignal opened.
    ///
    /// # Errors
    /// [`DecodeError`] unless it is exactly 65 bytes beginning with 1.
    pub fn decode(plaintext: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(plaintext);
        if reader.u8()? != MESSAGE_ENVELOPE {
            return Err(DecodeError::Value("envelope type"));
        }
        let key = ContentKey::from_bytes(reader.array()?);
        let commitment = Commitment(reader.array()?);
        reader.finish()?;
        Ok(Self { key, commitment })
    }
}

/// A message as it is sent and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedMessage {
    /// The fields of `A`.
    pub context: Context,
    /// The encrypted content.
    pub body: Vec<u8>,
    /// `C`.
    pub commitment: Commitment,
    /// `S`.
    pub signature: [u8; 64],
    /// `W`.
    pub wrapped_key: [u8; WRAPPED_KEY_LENGTH],
}

/// Who a libsignal session says the sender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPeer {
    /// The session's user.
    pub user: UserId,
    /// The session's device.
    pub device: DeviceNumber,
    /// The identity key the session was made with.
    pub identity: IdentityPublicKey,
}

/// Why a message is shown as "not authentic": the first check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthentic {
    /// The libsignal session is with another user or device than the message names.
    #[error("the message names another sender than the session it came through")]
    Sender,
    /// `S` is not the sender's signature over this context, commitment and wrapped key.
    #[error("the sender did not sign this message")]
    Signature,
    /// `C` is not the commitment of this key, context and body, or not the one the envelope names.
    #[error("the message's commitment does not match its key and body")]
    Commitment,
    /// The body does not open with this key and context.
    #[error("the message's body does not open")]
    Body,
    /// The body's padding is not the protocol's.
    #[error("the message's padding is not valid")]
    Padding,
    /// `W` does not open with the record seal's key, or gives another content key: the archive would read
    /// something else, or nothing.
    #[error("the archive's copy of the message's key is not the message's key")]
    WrappedKey,
}

/// Seals a message: everything a sender computes but the libsignal encryption of the envelope.
///
/// `key` must be fresh for this context and content.
#[must_use]
pub fn seal_message<R: CryptoRng + ?Sized>(
    key: &ContentKey,
    context: Context,
    content: &Content,
    archive: &ArchiveKey,
    identity: &IdentitySecret,
    rng: &mut R,
) -> (SealedMessage, Envelope) {
    let body = seal_body(key, &context, &content.to_json());
    let commitment = commitment(key, &context, &body);
    let wrapped_key = wrap_key(archive, &commitment, key);
    let signature = sign_message(identity, &context.digest(), &commitment, &sha256(&wrapped_key), rng);
    let envelope = Envelope { key: key.clone(), commitment };
    (SealedMessage { context, body, commitment, signature, wrapped_key }, envelope)
}

/// Opens a message that came through a libsignal session; `archive` is the key of the record seal that the
/// message names. Gives the content as JSON: see [`Content::parse`].
///
/// # Errors
/// The first check that fails, in the protocol's order: the session's user and device, `S`, `C`, the body, and
/// that `W` holds the same content key.
pub fn open_message(
    message: &SealedMessage,
    peer: &SessionPeer,
    envelope: &Envelope,
    archive: &ArchiveKey,
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    if (message.context.sender, message.context.device) != (peer.user, peer.device) {
        return Err(NotAuthentic::Sender);
    }
    message.check_signature(&peer.identity)?;
    if !bool::from(envelope.commitment.ct_eq(&message.commitment)) {
        return Err(NotAuthentic::Commitment);
    }
    message.check_commitment(&envelope.key)?;
    let content = open_body(&envelope.key, &message.context, &message.body)?;
    let archived = unwrap_key(archive, &message.commitment, &message.wrapped_key)?;
    if archived == envelope.key { Ok(content) } else { Err(NotAuthentic::WrappedKey) }
}

/// Opens a message from the history, without an envelope: on a new device, or in an officer's tool. `identity`
/// is the sender's at the time. Gives the content as JSON.
///
/// # Errors
/// The first check that fails: `S`, `W`, `C`, the body.
pub fn open_archived(
    message: &SealedMessage,
    identity: &IdentityPublicKey,
    archive: &ArchiveKey,
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    message.check_signature(identity)?;
    let key = unwrap_key(archive, &message.commitment, &message.wrapped_key)?;
    message.check_commitment(&key)?;
    open_body(&key, &message.context, &message.body)
}

impl SealedMessage {
    /// Whether `S` is the identity's: what the server checks before it accepts a message.
    ///
    /// # Errors
    /// [`NotAuthentic::Signature`].
    pub fn check_signature(&self, identity: &IdentityPublicKey) -> Result<(), NotAuthentic> {
        let (digest, wrapped) = (self.context.digest(), sha256(&self.wrapped_key));
        if verify_message(identity, &digest, &self.commitment, &wrapped, &self.signature) {
            Ok(())
        } else {
            Err(NotAuthentic::Signature)
        }
    }

    fn check_commitment(&self, key: &ContentKey) -> Result<(), NotAuthentic> {
        let expected = commitment(key, &self.context, &self.body);
        if bool::from(expected.ct_eq(&self.commitment)) { Ok(()) } else { Err(NotAuthentic::Commitment) }
    }
}

#[cfg(test)]
mod tests;
