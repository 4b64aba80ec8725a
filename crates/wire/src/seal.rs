//! Record seals: how a conversation stays readable for the clinic's officers and the members' new devices.

use serde::{Deserialize, Serialize};

use crate::{
    Base64, Base64Array, ConversationId, DeviceNumber, SealId, Timestamp, UserId,
    keys::{IdentityKeyBytes, SignatureBytes},
    message::words,
};

/// A key's id: the first 16 bytes of a SHA-256 (protocol, "Root statement" and "Device manifest").
pub type KeyIdBytes = Base64Array<16>;

/// One member the seal is made for, as its maker saw them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SealMember {
    /// The member.
    pub user_id: UserId,
    /// The member's identity key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub identity_key: IdentityKeyBytes,
    /// The id of the member's history key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub history_key_id: KeyIdBytes,
}

/// The archive key sealed to one recipient key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SealCopy {
    /// The recipient key: the records key's or a history key's id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub key_id: KeyIdBytes,
    /// The X-Wing encapsulation, 1,120 bytes.
    pub enc: Base64,
    /// The sealed archive key, 48 bytes.
    pub ciphertext: Base64,
}

/// POST /api/chat/conversations/{id}/seals/ by the calling device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewSeal {
    /// The seal's id, chosen by the device.
    pub seal_id: SealId,
    /// When the device made it.
    pub created_at: Timestamp,
    /// The members, in the order of the signed list.
    pub members: Vec<SealMember>,
    /// The copies, in the order of the signed list: one for the records key, one a member's history key.
    pub copies: Vec<SealCopy>,
    /// The identity key's XEdDSA signature (protocol, "Records").
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
}

/// A stored seal: what its maker published and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seal {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its maker.
    pub sender_id: UserId,
    /// Its maker's device.
    pub device_id: DeviceNumber,
    /// The seal as published.
    pub seal: NewSeal,
    /// When the server stored it.
    pub received_at: Timestamp,
}

/// GET /api/chat/conversations/{id}/seals/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealList {
    /// Newest first.
    pub results: Vec<Seal>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

words! {
    /// What the recheck of a record seal found wrong (protocol, "Rechecking").
    SealProblem {
        /// A copy that must be there is not: the officers', a member's or the reporter's own.
        MissingCopy = "missing_copy",
        /// A copy is not what the archive key gives for its recipient.
        BadCopy = "bad_copy",
        /// A copy is for a key that is neither a member's nor the clinic's records key.
        UnexpectedCopy = "unexpected_copy",
        /// Its members, or their keys, are not those the reporter knows.
        WrongMembers = "wrong_members",
        /// Its maker did not sign it.
        BadSignature = "bad_signature",
        /// It is malformed, or the reporter's copy does not open.
        Unopenable = "unopenable",
    }
}

/// POST /api/chat/conversations/{conversation_id}/seals/{seal_id}/invalid/ by a member who found a seal bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReportSeal {
    /// What is wrong with it.
    pub problem: SealProblem,
}
