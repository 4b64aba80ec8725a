//! What the `details` of a refused send carry, so that a device can repair it and send again.
//!
//! A device treats them as hints only: they make it fetch again and apply its own checks, they never name
//! recipients for it.

use serde::{Deserialize, Serialize};

use crate::{
    Base64Array, DeviceNumber, UserId,
    message::{CommitmentBytes, words},
    seal::KeyIdBytes,
};

words! {
    /// `details.reason` of 422 `invalid_message` on the field `sent_at`.
    ClaimProblem {
        /// Further back than the server takes: a message that waited is sealed anew.
        TooOld = "too_old",
        /// Further ahead than the server takes: the clock is wrong.
        TooFarAhead = "too_far_ahead",
    }
}

/// A messaging device of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceRef {
    /// The user.
    pub user_id: UserId,
    /// The device.
    pub device_id: DeviceNumber,
}

/// Details of 409 `device_mismatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceMismatch {
    /// Current devices without an envelope.
    pub missing: Vec<DeviceRef>,
    /// Envelopes for devices that are not, or no longer, to get one.
    pub extra: Vec<DeviceRef>,
    /// Envelopes made for an earlier registration id of the device.
    pub stale: Vec<DeviceRef>,
}

/// Details of 409 `seal_stale`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealStale {
    /// The ids of the keys a seal must be made for now.
    pub expected_key_ids: Vec<KeyIdBytes>,
}

/// Details of 409 `chain_gap`: the newest message of this device that the server has in the conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainState {
    /// Its number; 0 when there is none.
    pub device_seq: u64,
    /// Its commitment; absent when there is none.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub commitment: Option<CommitmentBytes>,
}

/// Details of 409 `manifest_conflict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManifestConflict {
    /// The newest version the server has; 0 when there is none.
    pub current_version: u32,
    /// SHA-256 of its statement, which the next one names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub current_sha256: Option<Base64Array<32>>,
}
