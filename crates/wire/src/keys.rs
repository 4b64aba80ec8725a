//! The key server: what devices publish and fetch.

use serde::{Deserialize, Serialize};

use crate::{Base64, Base64Array, DeviceNumber, Timestamp, UserId, message::RecipientEnvelope};

/// An identity key: libsignal's serialization, type byte 0x05 and 32 bytes.
pub type IdentityKeyBytes = Base64Array<33>;
/// An EC prekey: type byte 0x05 and 32 bytes.
pub type PreKeyBytes = Base64Array<33>;
/// A Kyber1024 prekey: type byte 0x08 and 1,568 bytes.
pub type KyberPreKeyBytes = Base64Array<1569>;
/// An XEdDSA or Ed25519 signature.
pub type SignatureBytes = Base64Array<64>;

/// PUT /api/keys/identity/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PutIdentity {
    /// The new identity key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub identity_key: IdentityKeyBytes,
    /// For a change: the old identity's XEdDSA signature of
    /// `"sigilo/v1/identity-change" || lp(tenant) || lp(user) || lp(new identity key)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub signature_by_previous: Option<SignatureBytes>,
}

/// The answer of PUT /api/keys/identity/
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Identity {
    /// Whose.
    pub user_id: UserId,
    /// The identity key in force.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub identity_key: IdentityKeyBytes,
    /// Counts the user's identities from 1.
    pub identity_seq: u32,
}

/// A signed EC prekey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedPreKey {
    /// The device's number for this key.
    pub key_id: u32,
    /// The public key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub public_key: PreKeyBytes,
    /// The identity key's signature of the serialized public key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
}

/// A signed Kyber prekey, one-time or last-resort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KyberPreKey {
    /// The device's number for this key.
    pub key_id: u32,
    /// The public key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub public_key: KyberPreKeyBytes,
    /// The identity key's signature of the serialized public key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
}

/// A one-time EC prekey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PreKey {
    /// The device's number for this key.
    pub key_id: u32,
    /// The public key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub public_key: PreKeyBytes,
}

/// PUT /api/keys/ for the calling device. A non-empty list replaces that set, an absent one leaves it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PutKeys {
    /// libsignal's registration id: 1..=16380.
    pub registration_id: u32,
    /// The signed EC prekey; required at the first publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_pre_key: Option<SignedPreKey>,
    /// The Kyber prekey used when the one-time ones have run out; required at the first publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_resort_kyber_pre_key: Option<KyberPreKey>,
    /// One-time EC prekeys, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_keys: Vec<PreKey>,
    /// One-time Kyber prekeys, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kyber_pre_keys: Vec<KyberPreKey>,
}

/// GET /api/keys/ and the answer of PUT /api/keys/.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyCounts {
    /// One-time EC prekeys left.
    pub pre_key_count: u32,
    /// One-time Kyber prekeys left.
    pub kyber_pre_key_count: u32,
    /// Whole days since the signed prekey was published; absent before the first publication.
    pub signed_pre_key_age_days: Option<u32>,
}

/// POST /api/keys/check/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckKeys {
    /// SHA-256(identity_key || u64be(signed id) || signed key || u64be(last-resort id) || last-resort key).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub digest: Base64Array<32>,
}

/// A signed device manifest: PUT /api/devices/manifest/ and in bundles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// The statement's bytes (protocol, "Device manifest").
    pub statement: Base64,
    /// The identity key's XEdDSA signature of the statement.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
}

/// PUT /api/devices/manifest/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PutManifest {
    /// The statement's bytes (protocol, "Device manifest").
    pub statement: Base64,
    /// The identity key's XEdDSA signature of the statement.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
    /// With a new history key: the key for each other device of the user that the manifest names, encrypted in the
    /// session with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history_key_envelopes: Vec<RecipientEnvelope>,
}

impl PutManifest {
    /// Without a new history key.
    #[must_use]
    pub fn of(manifest: SignedManifest) -> Self {
        let SignedManifest { statement, signature } = manifest;
        Self { statement, signature, history_key_envelopes: Vec::new() }
    }
}

/// GET /api/keys/{user_id}/manifest/ and the answer of PUT /api/devices/manifest/: who somebody's devices are,
/// without taking one-time keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserManifest {
    /// Whose devices these are.
    pub user_id: UserId,
    /// The user's identity key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub identity_key: IdentityKeyBytes,
    /// The user's newest manifest.
    pub manifest: SignedManifest,
}

/// GET /api/keys/{user_id}/{device_id or *}/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyBundles {
    /// Whose keys these are.
    pub user_id: UserId,
    /// The user's identity key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub identity_key: IdentityKeyBytes,
    /// The user's newest manifest.
    pub manifest: SignedManifest,
    /// One bundle a device with fresh keys.
    pub devices: Vec<DeviceBundle>,
}

/// What a sender needs to open a session with one device. Each one-time key is given to one caller only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceBundle {
    /// The device.
    pub device_id: DeviceNumber,
    /// libsignal's registration id.
    pub registration_id: u32,
    /// The signed EC prekey.
    pub signed_pre_key: SignedPreKey,
    /// A one-time Kyber prekey, or the last-resort one when they have run out.
    pub kyber_pre_key: KyberPreKey,
    /// A one-time EC prekey while there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_key: Option<PreKey>,
    /// Whether `kyber_pre_key` is the last-resort one.
    pub kyber_is_last_resort: bool,
}

/// One root statement with the root's Ed25519 signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedRootStatement {
    /// The statement's bytes (protocol, "Root statement").
    pub statement: Base64,
    /// The root key's Ed25519 signature.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
}

/// GET /api/clinic/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Clinic {
    /// The clinic.
    pub clinic_id: crate::TenantId,
    /// The clinic's name.
    pub name: String,
    /// The clinic's short name, for logins.
    pub slug: String,
    /// IANA time zone.
    pub time_zone: String,
    /// Weekly chat hours: `{"mon":[["08:00","22:00"]], ...}` in the clinic's time zone.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub hours: serde_json::Value,
    /// Dates from today on with hours of their own: holidays, closures.
    #[serde(default)]
    pub exceptions: Vec<crate::hours::DayException>,
    /// The local emergency number.
    pub emergency_number: String,
    /// The clinic root's Ed25519 public key. Clients compare it with the pin of the invitation.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub root_public_key: Option<Base64Array<32>>,
    /// Signed statements for the clinic's keys.
    pub root_statements: Vec<SignedRootStatement>,
    /// SHA-256 of the policy set in force, hex.
    pub policy_set: String,
    /// The server's clock.
    pub server_time: Timestamp,
}
