//! The offline ceremony: root, records and moderation keys, and the root's statements. Pure: a request, a time
//! and randomness go in, files' contents come out.

use std::time::Duration;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sigilo_seal::{Ed25519Secret, KeyPurpose, RootFingerprint, RootStatement, XWingSecret};
use sigilo_wire::{Base64, Base64Array, TenantId, Timestamp, keys::SignedRootStatement};

use super::{
    key_files::{CertificationRequest, ClinicKeys},
    root_card::RootCard,
};

/// Keys count from a day before the ceremony: the offline machine's clock may be ahead of the server's.
const CLOCKS_DIFFER_BY: Duration = Duration::from_hours(24);
/// How long the keys may be used: five years, well beyond the rotation officers should practise.
const KEY_LIFE: Duration = Duration::from_hours(5 * 365 * 24);

/// What the ceremony makes.
pub struct Ceremony {
    /// Public, for the server.
    pub clinic_keys: ClinicKeys,
    /// Secret, for the officers' safe.
    pub private_keys: PrivateKeys,
    /// Public, for the wall.
    pub card: RootCard,
}

/// `private-keys.json`: everything a thief would want. Never on the server.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateKeys {
    /// `sigilo/v1/private-keys`.
    pub format: String,
    /// The clinic.
    pub clinic_id: TenantId,
    /// The root's Ed25519 seed.
    pub root: Base64Array<32>,
    /// The records key's X-Wing seed.
    pub records: Base64Array<32>,
    /// The moderation key's X-Wing seed.
    pub moderation: Base64Array<32>,
}

impl PrivateKeys {
    /// What `format` says.
    pub const FORMAT: &'static str = "sigilo/v1/private-keys";
}

impl std::fmt::Debug for PrivateKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKeys")
    }
}

impl Drop for PrivateKeys {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        for seed in [&mut self.root.0, &mut self.records.0, &mut self.moderation.0] {
            seed.zeroize();
        }
    }
}

impl std::fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ceremony").field("card", &self.card).finish_non_exhaustive()
    }
}

/// Makes the clinic's keys and signs a statement for each, the server's four included.
///
/// # Errors
/// What is wrong with the request, for a person.
pub fn certify<R: CryptoRng + ?Sized>(
    request: &CertificationRequest,
    now: Timestamp,
    rng: &mut R,
) -> Result<Ceremony, String> {
    request.check()?;
    let root = Ed25519Secret::generate(rng);
    let (records, moderation) = (XWingSecret::generate(rng), XWingSecret::generate(rng));
    let tenant = request.clinic_id;
    let sign = |purpose, public_key: &[u8]| {
        let statement = RootStatement {
            tenant,
            purpose,
            epoch: 1,
            not_before: now - CLOCKS_DIFFER_BY,
            not_after: now + KEY_LIFE,
            public_key: public_key.to_vec(),
        };
        let signed = statement.sign(&root);
        SignedRootStatement { statement: Base64(signed.statement), signature: Base64Array(signed.signature) }
    };
    let mut statements = vec![
        sign(KeyPurpose::Records, records.public().as_bytes()),
        sign(KeyPurpose::Moderation, moderation.public().as_bytes()),
    ];
    statements.extend(request.keys.iter().map(|key| sign(key.purpose, &key.public_key.to_bytes())));
    Ok(Ceremony {
        card: RootCard { clinic: tenant, root: RootFingerprint::of(&root.public()) },
        clinic_keys: ClinicKeys {
            format: ClinicKeys::FORMAT.to_owned(),
            clinic_id: tenant,
            root_public_key: root.public(),
            statements,
        },
        private_keys: PrivateKeys {
            format: PrivateKeys::FORMAT.to_owned(),
            clinic_id: tenant,
            root: Base64Array(*root.seed()),
            records: Base64Array(*records.seed()),
            moderation: Base64Array(*moderation.seed()),
        },
    })
}
