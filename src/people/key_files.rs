//! The files that travel between the server and the offline machine: public halves only.

use serde::{Deserialize, Serialize};
use sigilo_seal::{Ed25519Public, KeyPurpose};
use sigilo_wire::{TenantId, Timestamp, keys::SignedRootStatement};

/// The purposes of the server's own keys.
pub(super) const SERVER_PURPOSES: [KeyPurpose; 4] =
    [KeyPurpose::Ledger, KeyPurpose::Receipt, KeyPurpose::Scanner, KeyPurpose::Export];

/// `request.json`: the server's public keys, to be certified by the clinic's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificationRequest {
    /// `sigilo/v1/certification-request`.
    pub format: String,
    /// The clinic.
    pub clinic_id: TenantId,
    /// Its name, for the root card.
    pub name: String,
    /// Its short name.
    pub slug: String,
    /// When the server made the request.
    pub created_at: Timestamp,
    /// One key of each of the server's purposes.
    pub keys: Vec<ServerKey>,
}

/// One of the server's public keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerKey {
    /// Ledger, receipt, scanner or export.
    pub purpose: KeyPurpose,
    /// Ed25519.
    pub public_key: Ed25519Public,
}

/// `clinic-keys.json`: the root's public key and its statements, for the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClinicKeys {
    /// `sigilo/v1/clinic-keys`.
    pub format: String,
    /// The clinic.
    pub clinic_id: TenantId,
    /// The root's Ed25519 public key.
    pub root_public_key: Ed25519Public,
    /// One statement of each purpose.
    pub statements: Vec<SignedRootStatement>,
}

impl CertificationRequest {
    /// What `format` says.
    pub const FORMAT: &'static str = "sigilo/v1/certification-request";

    /// Refuses a request that is not for exactly the server's four keys.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn check(&self) -> Result<(), String> {
        if self.format != Self::FORMAT {
            return Err(format!("this is not a certification request: its format is '{}'", self.format));
        }
        for purpose in SERVER_PURPOSES {
            match self.keys.iter().filter(|key| key.purpose == purpose).count() {
                1 => {}
                count => return Err(format!("the request has {count} {purpose} keys instead of one")),
            }
        }
        if self.keys.len() != SERVER_PURPOSES.len() {
            return Err("the request has keys that are not the server's".to_owned());
        }
        Ok(())
    }
}

impl ClinicKeys {
    /// What `format` says.
    pub const FORMAT: &'static str = "sigilo/v1/clinic-keys";
}
