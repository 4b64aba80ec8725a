//! What the clinic's people do for others: new identities for those whose devices are lost.

use serde::{Deserialize, Serialize};

use crate::{Base64Array, IdentityResetId, TenantId, Timestamp, UserId};

/// POST /api/admin/users/{user_id}/identity-reset/: what another person has to approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskedReset {
    /// What is approved by this id.
    pub reset_id: IdentityResetId,
    /// Whose identity.
    pub user_id: UserId,
    /// Who asked.
    pub requested_by: UserId,
    /// From when it cannot be approved any more.
    pub expires_at: Timestamp,
}

/// POST /api/admin/identity-resets/{reset_id}/approve/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApproveReset {
    /// SHA-256 of the clinic's root key, from the root card in the approver's hand.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub root: Base64Array<32>,
}

/// The invitation to hand to the person, and to nobody else. The code is shown this once.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResetInvitation {
    /// Whose new identity.
    pub user_id: UserId,
    /// The clinic.
    pub clinic_id: TenantId,
    /// The single-use code.
    pub code: String,
    /// From when it is not good any more.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for ResetInvitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetInvitation").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}
