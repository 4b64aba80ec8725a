//! Linking: how a device without an account becomes one of somebody's messaging devices.
//!
//! The new device makes up a link and shows it to an old one, which opens it on the server. What passes through the
//! server is the new device's public key and a package sealed to it; see the protocol, "Linking".

use serde::{Deserialize, Serialize};

use crate::{Base64, Base64Array, DeviceNumber, LinkId, TenantId, Timestamp, UserId, keys::SignedManifest};

/// POST /api/devices/link/, by the old device: opens the link that the new device shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BeginLink {
    /// The link, as the new device shows it.
    pub link_id: LinkId,
}

/// The link the calling device has opened: the answer of POST and GET /api/devices/link/.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnLink {
    /// The link.
    pub link_id: LinkId,
    /// From when it is not good any more.
    pub expires_at: Timestamp,
    /// The new device's X-Wing key, once it has come. Compare its SHA-256 with what the new device shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<Base64>,
    /// The number the new device gets.
    pub next_device_id: DeviceNumber,
}

/// PUT /api/devices/link/{link_id}/key/, by the new device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OfferLinkKey {
    /// An X-Wing key made for this link: 1,216 bytes.
    pub public_key: Base64,
}

/// POST /api/devices/link/{link_id}/approve/, by the old device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApproveLink {
    /// The new device's number, which must be the next.
    pub device_id: DeviceNumber,
    /// SHA-256 of the claim in the package.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub claim_sha256: Base64Array<32>,
    /// The HPKE encapsulation: 1,120 bytes.
    pub enc: Base64,
    /// The sealed package.
    pub ct: Base64,
    /// The next manifest: the one in force and the new device.
    pub manifest: SignedManifest,
}

/// GET /api/devices/link/{link_id}/, by the new device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkState {
    /// From when the link is not good any more.
    pub expires_at: Timestamp,
    /// The package, once the old device has approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<LinkedPackage>,
}

/// A package sealed to a new device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkedPackage {
    /// The clinic.
    pub clinic_id: TenantId,
    /// The account.
    pub user_id: UserId,
    /// The version of the manifest that names the new device.
    pub manifest_version: u32,
    /// The HPKE encapsulation.
    pub enc: Base64,
    /// The sealed package.
    pub ct: Base64,
}

/// POST /api/devices/link/{link_id}/claim/, by the new device: the tokens.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimLink {
    /// The claim in the package.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub claim: Base64Array<32>,
    /// A name the user recognises the device by, at most 100 characters.
    #[serde(default)]
    pub name: String,
}

impl std::fmt::Debug for ClaimLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimLink")
    }
}
