//! The second factor of an account, and proofs of who is asking.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// GET /api/auth/mfa/
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MfaStatus {
    /// Whether logins need a code.
    pub enrolled: bool,
    /// Whether the clinic requires it of the account's role: until then its tokens serve to enrol, and for nothing
    /// else.
    #[serde(default)]
    pub required: bool,
    /// Since when.
    pub enrolled_at: Option<Timestamp>,
    /// How many recovery codes were not used yet.
    pub recovery_codes_left: u32,
    /// Until when this device may do what needs a recent proof; absent when it is over.
    pub verified_until: Option<Timestamp>,
}

/// POST /api/auth/mfa/enroll/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolment {
    /// The secret for an authenticator app, base32 (RFC 4648) without padding: for those who cannot scan.
    pub secret: String,
    /// The same for a QR code: `otpauth://totp/...`, HMAC-SHA-1, 6 digits, 30 seconds (RFC 6238).
    pub uri: String,
    /// Seconds in which a code must confirm it.
    pub expires_in: u64,
}

/// POST /api/auth/mfa/confirm/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfirmMfa {
    /// The code the authenticator app shows.
    pub code: String,
}

/// The answer of POST /api/auth/mfa/confirm/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoveryCodes {
    /// Ten codes, each good once in place of the app's. Shown here and never again.
    pub recovery_codes: Vec<String>,
}

/// POST /api/auth/mfa/verify/: exactly one of the two.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VerifyMfa {
    /// The authenticator's code or a recovery code, of an account with a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The password, of an account without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// The answer of POST /api/auth/mfa/verify/
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verified {
    /// Until when this device may do what needs a recent proof.
    pub verified_until: Timestamp,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrolment")
    }
}

impl std::fmt::Debug for ConfirmMfa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConfirmMfa")
    }
}

impl std::fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecoveryCodes({})", self.recovery_codes.len())
    }
}

impl std::fmt::Debug for VerifyMfa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyMfa")
    }
}
