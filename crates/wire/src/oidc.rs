//! Login with a clinic's own identity provider (OpenID Connect).

use serde::{Deserialize, Serialize};

use crate::account::NewDevice;

/// POST /api/auth/oidc/{provider}/token/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExchangeOidc {
    /// What the app was returned to with.
    pub code: String,
    /// The text whose SHA-256 was the `challenge` of the beginning: 43 random characters of base64url, or more.
    pub verifier: String,
    /// Of an account with a second factor: the authenticator app's code, or a recovery code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<String>,
    /// The device; without one, a new session device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<NewDevice>,
}

/// PUT /api/admin/users/{user_id}/oidc/{provider}/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BindOidc {
    /// The provider's `sub` for the person, 1 to 255 bytes.
    pub subject: String,
}

impl std::fmt::Debug for ExchangeOidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExchangeOidc")
    }
}
