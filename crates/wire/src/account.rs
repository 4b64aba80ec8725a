//! Accounts, devices and tokens.

use serde::{Deserialize, Serialize};

use crate::{
    DeviceId, DeviceNumber, Role, TenantId, Timestamp, UserId,
    message::words,
    presence::{Privacy, PrivacyChange},
};

words! {
    /// What a device may do.
    DeviceKind {
        /// Has keys, stands in the manifest, reads and writes content.
        Messaging = "messaging",
        /// No keys and no content: consoles, command lines.
        Session = "session",
    }
}

/// How a device introduces itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// The kind.
    pub kind: DeviceKind,
    /// A name the user recognises it by, at most 100 characters.
    #[serde(default)]
    pub name: String,
    /// At a login: the messaging device logging in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
}

/// POST /api/auth/activate/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Activate {
    /// The clinic, by id or slug.
    pub clinic: String,
    /// The invitation's code.
    pub code: String,
    /// The password to log in with later: at least 12 characters.
    pub password: String,
    /// The device.
    pub device: NewDevice,
}

impl NewDevice {
    /// A new session, as a login without a device makes.
    #[must_use]
    pub const fn session() -> Self {
        Self { kind: DeviceKind::Session, name: String::new(), device_id: None }
    }
}

/// POST /api/auth/login/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The clinic, by id or slug.
    pub clinic: String,
    /// The e-mail address of the account, unique within the clinic.
    pub email: String,
    /// The password.
    pub password: String,
    /// Of an account with a second factor: the authenticator app's code, or a recovery code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<String>,
    /// The device; without one, a new session device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<NewDevice>,
}

/// POST /api/auth/refresh/ and /api/auth/logout/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    /// The newest refresh token of the device.
    pub refresh_token: String,
}

/// POST /api/auth/password/change/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The present password.
    pub current: String,
    /// The new one: at least 12 characters.
    pub new: String,
}

/// POST /api/auth/password/reset/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// The clinic, by id or slug.
    pub clinic: String,
    /// The code the clinic gave.
    pub code: String,
    /// The new password: at least 12 characters.
    pub new_password: String,
}

/// The answer of activation, login and refresh.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// An EdDSA JWT for `Authorization: Bearer`.
    pub access_token: String,
    /// Seconds until it expires.
    pub expires_in: u64,
    /// Opaque, single use: the next refresh returns another.
    pub refresh_token: String,
    /// The clinic.
    pub clinic_id: TenantId,
    /// The account.
    pub user_id: UserId,
    /// The device the tokens are bound to.
    pub device: Device,
}

/// A device as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// A messaging device's number in the protocol.
    pub device_id: Option<DeviceNumber>,
    /// The kind.
    pub kind: DeviceKind,
    /// The user's name for it.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub last_seen_at: Timestamp,
    /// Whether it is the calling device.
    pub current: bool,
}

/// GET /api/devices/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceList {
    /// The devices, oldest first.
    pub results: Vec<Device>,
}

/// POST /api/auth/ws-ticket/
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WsTicket {
    /// For `?token=` of a WebSocket URL; single use.
    pub ticket: String,
    /// Seconds until it expires.
    pub expires_in: u64,
}

/// GET /api/me/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Me {
    /// The account.
    pub user_id: UserId,
    /// The clinic.
    pub clinic_id: TenantId,
    /// The role.
    pub role: Role,
    /// The name.
    pub full_name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// A BCP 47 language tag.
    pub locale: Option<String>,
    /// An IANA time zone.
    pub time_zone: Option<String>,
    /// What others may notice of them.
    #[serde(default)]
    pub privacy: Privacy,
    /// The device the token is bound to.
    pub device: Device,
}

/// PUT /api/me/: absent fields stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    /// A new name, 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// A BCP 47 language tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// An IANA time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What others may notice.
    #[serde(default)]
    pub privacy: PrivacyChange,
}

impl std::fmt::Debug for Activate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Activate").field("clinic", &self.clinic).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("clinic", &self.clinic).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ChangePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChangePassword")
    }
}

impl std::fmt::Debug for ResetPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetPassword").field("clinic", &self.clinic).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken")
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WsTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WsTicket")
    }
}
