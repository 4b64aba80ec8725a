//! What can be said of a message without asking the database: its shape, its times, its signature.

use std::collections::HashSet;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sigilo_seal::{Commitment, Context, IdentityPublicKey, Origin, message::verify_message};
use sigilo_wire::{ErrorCode, Timestamp, conflict::ClaimProblem, message::SendMessage};

use super::{MAX_AHEAD, MAX_ATTACHMENTS, MAX_BEHIND, MAX_BODY, MAX_ENVELOPE, MAX_EXPIRY, attachments};
use crate::{Error, Result};

/// Hashes of a message whose shape and signature are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    /// SHA-256(A).
    pub context: [u8; 32],
    /// SHA-256(S).
    pub signature: [u8; 32],
    /// SHA-256(W).
    pub wrapped_key: [u8; 32],
}

/// The content is padded to this many bytes; AES-GCM adds its tag.
const PADDING: usize = 160;
const TAG: usize = 16;

/// Checks a message's shape and times.
pub(super) fn check_shape(message: &SendMessage, now: Timestamp) -> Result<()> {
    if message.body.len() > MAX_BODY {
        return Err(Error::TooLarge { limit: MAX_BODY as u64 });
    }
    if message.body.len() < PADDING + TAG || !(message.body.len() - TAG).is_multiple_of(PADDING) {
        return Err(malformed("body", "must be a multiple of 160 bytes and a 16-byte tag"));
    }
    if message.device_seq == 0 || i64::try_from(message.device_seq).is_err() {
        return Err(malformed("device_seq", "counts from 1"));
    }
    if message.message_type.needs_target() != message.target_commitment.is_some() {
        return Err(malformed(
            "target_commitment",
            "is required for edit, delete and reaction, and only there",
        ));
    }
    check_attachments(message)?;
    if message.expires_in_s.unwrap_or(0) > MAX_EXPIRY.as_secs() {
        return Err(malformed("expires_in_s", "is at most 366 days"));
    }
    check_claim(message.sent_at, now)?;
    check_envelopes(message)
}

/// Which end of the window was missed is said by a word: a device seals a message that waited too long anew.
fn check_claim(sent_at: Timestamp, now: Timestamp) -> Result<()> {
    let (reason, problem) = if sent_at < now - MAX_BEHIND {
        (ClaimProblem::TooOld, "is more than 7 days back")
    } else if sent_at > now + MAX_AHEAD {
        (ClaimProblem::TooFarAhead, "is more than 2 minutes ahead")
    } else {
        return Ok(());
    };
    let details = json!({"field": "sent_at", "reason": reason, "problem": problem, "server_time": now});
    Err(Error::invalid(ErrorCode::InvalidMessage, details))
}

/// Whose files they are is asked in the transaction that stores the message.
fn check_attachments(message: &SendMessage) -> Result<()> {
    if message.attachments.len() > MAX_ATTACHMENTS {
        return Err(malformed("attachments", "are at most 20"));
    }
    if !message.attachments.is_empty() && !message.message_type.carries_files() {
        return Err(malformed("attachments", "are for file, image, audio, video, prescription and profile"));
    }
    let mut seen = HashSet::with_capacity(message.attachments.len());
    match message.attachments.iter().find(|attachment| !seen.insert(attachment.file_id)) {
        Some(twice) => Err(attachments::refused(twice.file_id, "is named twice")),
        None => Ok(()),
    }
}

fn check_envelopes(message: &SendMessage) -> Result<()> {
    let mut seen = HashSet::with_capacity(message.envelopes.len());
    for envelope in &message.envelopes {
        if envelope.content.is_empty() || envelope.content.len() > MAX_ENVELOPE {
            return Err(malformed("envelopes", "hold 1 to 8,192 bytes each"));
        }
        if !seen.insert((envelope.user_id, envelope.device_id)) {
            return Err(malformed("envelopes", "name a device twice"));
        }
    }
    Ok(())
}

/// Checks the signature S over A, C and W.
pub(super) fn check_signature(
    origin: &Origin,
    identity: &IdentityPublicKey,
    message: &SendMessage,
) -> Result<Hashes> {
    let hashes = Hashes {
        context: Context::of_send(origin, message).digest(),
        signature: Sha256::digest(message.signature.0).into(),
        wrapped_key: Sha256::digest(message.wrapped_key.0).into(),
    };
    let commitment = Commitment(message.commitment.0);
    if verify_message(identity, &hashes.context, &commitment, &hashes.wrapped_key, &message.signature.0) {
        Ok(hashes)
    } else {
        Err(Error::invalid(ErrorCode::InvalidSignature, json!({"field": "signature"})))
    }
}

pub(super) fn malformed(field: &str, problem: &str) -> Error {
    Error::invalid(ErrorCode::InvalidMessage, json!({"field": field, "problem": problem}))
}
